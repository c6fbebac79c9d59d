"""Records of ACME node id validation are signed and never encrypted (RFC 9891 §3.3, §3.4): who is
validated may have nothing yet to encrypt with, and who is on the way may look."""

from __future__ import annotations

from collections.abc import Iterable

from stack.core.errors import DecodeError
from stack.ports.security import Opened, Security
from stack.security.reasons import MISSING, UNEXPECTED
from stack.security.rules import PolicyRule
from stack.wire.bundle import (
    ACK_REQUESTED,
    IS_ADMIN,
    AcmeChallenge,
    Bundle,
    decode_acme_record,
    is_acme_record,
)


def signing_rules(rules: Iterable[PolicyRule], *, certified: bool) -> tuple[PolicyRule, ...]:
    """The rules for such records: what an operator's say of signatures, such as who vouches for
    whom (RFC 9891 §4), and where they say nothing a BIB of the source over payload and primary
    block, with its own key where it is `certified`."""
    context = "cose-sign" if certified else "rfc9173"
    return (
        *(rule for rule in rules if rule.service != "confidentiality"),
        PolicyRule(role="source", service="integrity", context=context),
        PolicyRule(role="acceptor", service="integrity"),
    )


class SignedRecords:
    """BPSec, but for these records.  Implements `stack.ports.security.Security`."""

    def __init__(self, inner: Security, signing: Security) -> None:
        """`signing` goes by `signing_rules`."""
        self._inner = inner
        self._signing = signing

    def protect(self, bundle: Bundle) -> Bundle:
        """As BPSec does; a record is signed."""
        return (self._signing if _is_record(bundle) else self._inner).protect(bundle)

    def open(self, bundle: Bundle) -> Opened:
        """As BPSec does; a record has to be signed, together with its primary block, to have been
        in clear, and to be marked as what it is."""
        if not _is_record(bundle):
            opened = self._inner.open(bundle)
            if opened.bundle is not None and _is_record(opened.bundle):
                return Opened(False, None, "a node id validation that was encrypted", UNEXPECTED)
            return opened
        opened = self._signing.open(bundle)
        if opened.bundle is None:
            return opened
        if not opened.proven:
            words = "nothing signs a node id validation and its primary block"
            return Opened(False, None, words, MISSING)
        if not _is_marked(opened.bundle):
            return Opened(False, None, "no challenge, and no response, of a node id", UNEXPECTED)
        return opened

    def verify(self, bundle: Bundle) -> Opened:
        """As BPSec does."""
        return self._inner.verify(bundle)

    def secure(self, bundle: Bundle) -> Opened:
        """As BPSec does."""
        return self._inner.secure(bundle)


def _is_record(bundle: Bundle) -> bool:
    return bool(bundle.primary.flags & IS_ADMIN) and is_acme_record(bundle.payload.data)


def _is_marked(bundle: Bundle) -> bool:
    """Whether the flag that tells a challenge from a response says what the record does."""
    try:
        record = decode_acme_record(bundle.payload.data)
    except DecodeError:
        return False
    return isinstance(record, AcmeChallenge) == bool(bundle.primary.flags & ACK_REQUESTED)
