"""Bundles for here whose key may be on its way: they wait for it, each is delivered once."""

from __future__ import annotations

from stack.ports.security import Opened
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.security.reasons import FAILED
from stack.wire.bundle import Bundle, encode_bundle
from tests.engines.bundle_agent.desk import KEYS, Desk, keyed
from tests.engines.bundle_agent.harness import HERE, NOW, bundle_for

MANY = 1100


class Late(BpSec):
    """A key may be on its way; what is forged, no key opens."""

    comes = False

    def open(self, bundle: Bundle) -> Opened:
        if self.comes:
            return super().open(bundle)
        return Opened(False, None, "no such key", FAILED, later=True)


def late() -> tuple[Desk, Late]:
    security = Late(KeyRing(KEYS), bytes, SecurityPolicy())
    return Desk(security=security), security


def waits(at: Desk, sequence: int) -> bytes:
    """A bundle that has come before its key, twice: the first time its sender kept it."""
    made = bundle_for(HERE + "app", b"open the valve", sequence=sequence)
    wire = encode_bundle(keyed().protect(made))
    assert [at.arrive(wire) is None for _ in range(2)] == [True, False]
    assert at.got == []
    return wire


def comes(at: Desk, security: Late) -> None:
    security.comes = True
    at.agent.keys_changed()
    for _ in range(len(at.agent.entries) // 50 + 1):
        at.run_pending(NOW)


def test_however_many_wait_none_is_deleted_for_the_others() -> None:
    at, security = late()
    for sequence in range(1, MANY + 1):
        waits(at, sequence)
    assert at.agent.counters["dropped_security"] == MANY  # each the first time
    comes(at, security)
    assert len(at.got) == MANY
