"""What goes without BPSec is what key services send one another, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.core.train import Buffer
from stack.engines.bundle_agent import Shares
from stack.ports.security import Opened
from stack.security.reasons import MISSING
from stack.services.keys.service import Unsealed
from stack.wire.bundle import Bundle, CanonicalBlock, PrimaryBlock
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW
from tests.security.test_bpsec import plain


class Strict:
    """BPSec that has no keys, and lets nothing pass."""

    def protect(self, bundle: Bundle) -> Bundle:
        raise SecurityError("no key")

    def secure(self, bundle: Bundle) -> Opened:
        return Opened(False, None, "no key", MISSING)

    verify = open = secure


def between(source: str, destination: str) -> Bundle:
    bundle = plain(b"what an application says", source=Eid.parse(source))
    primary = replace(bundle.primary, destination=Eid.parse(destination), encoded=None)
    return Bundle(primary, bundle.blocks)


@pytest.mark.parametrize(
    ("own", "source", "destination", "leaves", "passes"),
    [
        ("keys", "dtn://a/keys", "dtn://b/key-authority", True, True),
        ("keys", "dtn://a/keys", "ipn:7.70", True, True),
        ("69", "ipn:3.69", "dtn://b/key-authority", True, True),
        # The application that has the name of a service which does not run here:
        ("keys", "dtn://a/key-authority", "dtn://b/keys", False, True),
        # The numbers of ipn nodes are names of applications elsewhere, and the other way round:
        ("keys", "dtn://a/69", "dtn://b/70", False, False),
        ("keys", "dtn://a/70", "ipn:7.70", False, False),
        ("keys", "dtn://a/keys", "dtn://b/69", False, False),
        ("keys", "dtn://a/keys", "dtn://b/files", False, False),
        ("keys", "dtn://a/files", "dtn://b/keys", False, False),
    ],
)
def test_what_leaves_and_passes_unsealed(
    own: str, source: str, destination: str, leaves: bool, passes: bool
) -> None:
    security = Unsealed(Strict(), {own: lambda *_: None})
    bundle = between(source, destination)
    if leaves:
        assert security.protect(bundle) is bundle
    else:
        with pytest.raises(SecurityError, match="no key"):
            security.protect(bundle)
    assert security.verify(bundle).ok == passes
    assert security.secure(bundle).ok == passes


def recorded(payload: Buffer, source: str) -> None:
    """The signature of a message is that of its node: so is that of an old one."""
    if bytes(payload) not in (b"grant 1", b"grant 2"):
        raise SecurityError("forged")


def message(payload: bytes) -> Bundle:
    """All under one identity, which whoever sends them chooses."""
    source, here = Eid.parse("dtn://authority/key-authority"), Eid.parse(HERE + "app")
    primary = PrimaryBlock(here, source, Eid.NONE, NOW, 5, 60_000)
    return Bundle(primary, (CanonicalBlock(1, 1, 0, payload),))


def test_a_recorded_message_takes_nobodys_place() -> None:
    """Neither that of the new one whose identity somebody has put on it, nor in the store what is
    kept for others."""
    shares = Shares((NEXT,), 1 << 26, 1 << 10, 0.5)
    desk = Desk(security=Unsealed(Strict(), {"app": recorded}), shares=shares, listens=False)
    assert desk.arrive(message(b"grant 3"), neighbour=NEXT) is None
    for payload in (b"grant 1", b"grant 2"):
        assert desk.arrive(message(payload), neighbour=NEXT)
        assert desk.arrive(message(payload), neighbour=NEXT) == 0
    assert shares.held() == 0
    assert shares.held(NEXT) > 0
    desk.agent.register("app")
    desk.listens = True
    desk.run_pending(NOW)
    assert desk.got == [b"grant 1", b"grant 2"]
    assert shares.held(NEXT) == 0
