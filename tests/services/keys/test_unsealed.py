"""What goes without BPSec is what key services send one another, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.ports.security import Opened
from stack.security.reasons import MISSING
from stack.services.keys.service import Unsealed
from stack.wire.bundle import Bundle
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
