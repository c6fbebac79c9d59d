"""Security as the bundle agent sees it: functions over whole bundles."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from stack.wire.bundle import Bundle


class Opened(NamedTuple):
    """The outcome of verifying and decrypting a bundle at its destination or a verifier.

    `bundle` holds the plain payload when `ok`; otherwise it must not be used, `failure` says why
    in words for an operator and `reason` is the status report reason code (RFC 9172 §7.1:
    12 missing, 13 unknown, 14 unexpected, 15 failed, 16 conflicting security operation).
    """

    ok: bool
    bundle: Bundle | None
    failure: str = ""
    reason: int = 0
    later: bool = False
    """What would open it may be on its way here: it is worth keeping."""
    proven: bool = True
    """Whether security has proven it; False: rules let it come in clear."""


class Security(Protocol):
    """Applies and removes BPSec according to a node's key file and policy."""

    def protect(self, bundle: Bundle) -> Bundle:
        """Add the security blocks that policy asks for, as security source.  Raises
        `SecurityError` when the key that policy names is not there: nothing leaves in clear."""
        ...

    def open(self, bundle: Bundle) -> Opened:
        """Verify and decrypt as acceptor.  Never raises for what a peer sent."""
        ...

    def verify(self, bundle: Bundle) -> Opened:
        """Verify and accept (RFC 9172 §5.1) what policy asks of a bundle, or a fragment, that
        passes through: whether it may go on, and in which form; `bundle` is None for that in which
        it came.  Never raises for what a peer sent."""
        ...

    def secure(self, bundle: Bundle) -> Opened:
        """Add what policy asks of this node to a bundle that passes through (RFC 9172 §3), after
        `verify`; likewise.  Raises `SecurityError` where this node cannot: its sender keeps it."""
        ...
