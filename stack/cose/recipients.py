"""Recipients of a message: how the key of its content reaches each (RFC 9052 §5.1, §8.5).

A message has two layers at most here: its content and its recipients
(draft-ietf-dtn-bpsec-cose §3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cryptography.hazmat.primitives.hashes import (
    SHA256,
    SHA384,
    SHA512,
    SHA512_256,
    Hash,
    HashAlgorithm,
)

from stack.core.errors import DecodeError, SecurityError
from stack.cose.messages import HeaderPair, Headers, read_headers
from stack.cose.numbers import Algorithm, HeaderLabel
from stack.cose.values import Label, Value

RECIPIENTS_MAX = 1000
"""Recipients of one message."""

TRIED_MAX = 10
"""Recipients that may be for a key whose key is tried: each costs an agreement or decapsulation."""

DIRECT = frozenset(
    {
        Algorithm.DIRECT,
        Algorithm.DIRECT_HKDF_SHA_256,
        Algorithm.DIRECT_HKDF_SHA_512,
        Algorithm.ECDH_ES_HKDF_256,
        Algorithm.ECDH_ES_HKDF_512,
        Algorithm.ECDH_SS_HKDF_256,
        Algorithm.ECDH_SS_HKDF_512,
    }
)
"""What makes the content's key itself, so that there is one recipient (RFC 9052 §8.5.1, §8.5.4)."""

_SECTION = "RFC 9052 §5.1"
_THUMBPRINTS: dict[int, tuple[HashAlgorithm, int]] = {
    -15: (SHA256(), 8),
    -16: (SHA256(), 32),
    -17: (SHA512_256(), 32),
    -43: (SHA384(), 48),
    -44: (SHA512(), 64),
}
"""Hashes of certificates, and how many of their octets count (RFC 9054 §3)."""

_SHA_256 = -16


class Content(NamedTuple):
    """What a recipient's key is for."""

    alg: Value
    """The algorithm of the content."""

    size: int
    """Octets of its key."""

    extra_info: bytes = b""
    """What HPKE binds beside that (draft-ietf-cose-hpke-27 §3.3.1)."""

    other: bytes | None = None
    """What a KDF binds beside that: `other` of SuppPubInfo (RFC 9053 §5.2)."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A COSE_recipient: the content's key, for one."""

    headers: HeaderPair
    ciphertext: bytes

    @property
    def alg(self) -> Value:
        """The algorithm, of either header: key wrap and RSA authenticate none (RFC 9052 §5.4)."""
        return self.headers.get(HeaderLabel.ALG)


class OpeningKey(Protocol):
    """A key that opens what is for it."""

    def is_named(self, headers: HeaderPair) -> bool:
        """Whether a recipient with these headers may be for this key."""
        ...

    def key_for(self, recipient: Recipient, content: Content) -> bytes:
        """The content's key.  Raises `SecurityError` when this is for somebody else, or was
        changed."""
        ...


class SealingKey(Protocol):
    """A key for which something is encrypted."""

    @property
    def alg(self) -> Algorithm:
        """How the content's key is to reach it."""
        ...

    def recipient(self, content: Content, secret: bytes) -> tuple[Value, bytes]:
        """The recipient, and the content's key: `secret`, but where `alg` is one of `DIRECT`.
        Raises `SecurityError` for a key that is none."""
        ...


def names(headers: HeaderPair, key_id: bytes | None, certificate: bytes = b"") -> bool:
    """Whether headers may name the key with this id (None: it may have any), or of this
    certificate (DER; RFC 9360 §2).  What names nothing may be for everybody."""
    kid, x5t = headers.get(HeaderLabel.KID), headers.get(HeaderLabel.X5T)
    chain = headers.get(HeaderLabel.X5CHAIN)
    if kid is not None and key_id is not None:
        return kid == key_id
    if x5t is not None:
        return bool(certificate) and is_thumbprint(x5t, certificate)
    if chain is not None:
        leaf = chain[0] if isinstance(chain, list) and chain else chain
        return bool(certificate) and leaf == certificate
    return True


def thumbprint(certificate: bytes) -> Value:
    """The COSE_CertHash of a certificate in DER, with SHA-256 (RFC 9360 §2)."""
    return [_SHA_256, _digest(_SHA_256, certificate)]


def is_thumbprint(value: Value, certificate: bytes) -> bool:
    """Whether a COSE_CertHash is of this certificate."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    alg, digest = value
    return isinstance(alg, int) and alg in _THUMBPRINTS and digest == _digest(alg, certificate)


def _digest(alg: int, certificate: bytes) -> bytes:
    algorithm, size = _THUMBPRINTS[alg]
    digest = Hash(algorithm)
    digest.update(certificate)
    return digest.finalize()[:size]


def named(key_id: bytes, certificate: bytes) -> dict[Label, Value]:
    """How a recipient is named: by its certificate where it has one
    (draft-ietf-dtn-bpsec-cose §3.6)."""
    if certificate:
        return {HeaderLabel.X5T: thumbprint(certificate)}
    return {HeaderLabel.KID: key_id} if key_id else {}


def read_recipients(found: Value) -> tuple[Recipient, ...]:
    """The recipients of a message.  Raises `DecodeError`."""
    if not isinstance(found, list) or not 0 < len(found) <= RECIPIENTS_MAX:
        raise DecodeError(f"recipients that are no array of 1 to {RECIPIENTS_MAX}", _SECTION)
    recipients = tuple(map(_recipient, found))
    if len(recipients) > 1 and not DIRECT.isdisjoint(one.alg for one in recipients):
        raise DecodeError("several recipients, of which one has no key of its own", "RFC 9052 §8.5")
    return recipients


def _recipient(found: Value) -> Recipient:
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[2], bytes):
        raise DecodeError("a recipient that is no array of 3 with a key", _SECTION)
    recipient = Recipient(read_headers(found[0], found[1], _SECTION), found[2])
    if recipient.alg in DIRECT and recipient.ciphertext:
        raise DecodeError("a key where none is sent", "RFC 9053 §6.1")
    return recipient


def content_keys(
    recipients: Sequence[Recipient], key: OpeningKey, content: Content, more: Headers
) -> Sequence[bytes]:
    """The keys that `key` has of the recipients that may be for it, `TRIED_MAX` at most.  Raises
    `SecurityError` for none."""
    every = [Recipient(one.headers.extended(more), one.ciphertext) for one in recipients]
    mine = [one for one in every if key.is_named(one.headers)]
    found = []
    for recipient in mine[:TRIED_MAX]:
        try:
            recipient.headers.check()
            found.append(key.key_for(recipient, content))
        except SecurityError:
            continue
    if not found:
        raise SecurityError("this message is not for the key at hand, or was changed")
    return found
