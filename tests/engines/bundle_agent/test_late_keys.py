"""Bundles for here whose key may be on its way: they wait for it, each is delivered once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.engines.bundle_agent.parts import Parts
from stack.ports.security import Opened
from stack.ports.store import NO_ROOM, Committed, Place
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.security.reasons import FAILED
from stack.wire.bundle import IS_FRAGMENT, Bundle, encode_bundle, fragment_bundle
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


def test_what_waited_is_delivered_once_though_copies_come_later() -> None:
    """Whether it is opened here, or after a restart."""
    for restarts in (False, True):
        at, security = late()
        wire = waits(at, 1)
        if restarts:
            security.comes = True
            at = Desk(security=security, store=at.store)
        else:
            comes(at, security)
        assert at.got == [b"open the valve"]
        assert at.arrive(wire) == 0
        assert at.got == [b"open the valve"]
        assert not list(at.store.scan())
        assert at.agent.counters["delivered"] == 1


def test_what_waited_is_a_duplicate_of_a_copy_that_came_with_the_key() -> None:
    at, security = late()
    wire = waits(at, 1)
    security.comes = True
    assert at.arrive(wire)
    comes(at, security)
    assert at.got == [b"open the valve"]
    assert not list(at.store.scan())


def test_what_the_store_cannot_take_now_waits_on() -> None:
    """It is in the place of nothing before it is stored."""
    for whole in (True, False):
        at, security = late()
        waits(at, 1)
        at.listens = False
        comes(at, security)
        (ref,) = at.agent.waiting.take("app", 1)
        (wire,) = at.store.load([ref])
        assert wire is not None
        assert at.agent.open(ref, wire, NOW) is None
        ops = at.agent.take_ops()
        if whole:
            assert at.agent.refused(ops) == []
        else:
            at.agent.committed(ops, Committed([NO_ROOM], []), NOW)
        at.listens = True
        at.agent.retry(NOW)
        at.run_pending(NOW)
        assert at.got == [b"open the valve"]
        assert not list(at.store.scan())


def test_what_cannot_be_let_go_of_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    at, security = late()
    waits(at, 1)
    waits(at, 2)
    real = Parts._proved

    def proved(self: Parts, ref: int, known: bool, now_ms: int) -> None:
        if ref == 1:
            raise ValueError("planted")
        real(self, ref, known, now_ms)

    monkeypatch.setattr(Parts, "_proved", proved)
    comes(at, security)
    assert len(at.got) == 2
    assert at.agent.counters["failures"] == 1
    assert [old.place for old in at.store.scan()] == [Place.QUARANTINE]


def alone(payload: bytes) -> Bundle:
    """A fragment that is all of its unit."""
    sealed = keyed().protect(bundle_for(HERE + "app", payload))
    length = len(payload)
    flags = sealed.primary.flags | IS_FRAGMENT
    primary = replace(
        sealed.primary, flags=flags, fragment_offset=0, total_adu_length=length, encoded=None
    )
    return Bundle(primary, sealed.blocks)


@pytest.mark.parametrize("parts", [1, 3])
def test_parts_wait_for_their_key_too(parts: int) -> None:
    """Also one that is the whole unit by itself: no key has told that it is forged."""
    at, security = late()
    payload = b"open the valve" * 100
    sealed = keyed().protect(bundle_for(HERE + "app", payload))
    for one in [alone(payload)] if parts == 1 else fragment_bundle(sealed, 700):
        assert at.arrive(one)
    for _ in range(3):
        at.agent.retry(NOW)
        at.run_pending(NOW)
    assert at.agent.counters["fragments_contradicted"] == 0
    assert len(list(at.store.scan())) == parts
    assert at.agent.counters["reassembly_failed"] == 1, "no key has come since"
    comes(at, security)
    assert at.got == [payload]
    assert not list(at.store.scan())


def test_a_part_that_is_forged_goes_when_the_key_has_come() -> None:
    at, security = late()
    genuine = alone(b"open the valve")
    forged = replace(genuine.payload, data=bytes(14), encoded=None)
    assert at.arrive(Bundle(genuine.primary, (*genuine.blocks[:-1], forged)))
    assert len(list(at.store.scan())) == 1
    comes(at, security)
    assert at.got == []
    assert not list(at.store.scan())
