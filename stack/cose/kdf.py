"""The key derivation of COSE: HKDF over a context that both sides know (RFC 9053 §5)."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.core.errors import SecurityError
from stack.cose import values
from stack.cose.messages import HeaderPair
from stack.cose.numbers import HeaderLabel
from stack.cose.values import Value

PARTIES = (
    (HeaderLabel.PARTY_U_IDENTITY, HeaderLabel.PARTY_U_NONCE, HeaderLabel.PARTY_U_OTHER),
    (HeaderLabel.PARTY_V_IDENTITY, HeaderLabel.PARTY_V_NONCE, HeaderLabel.PARTY_V_OTHER),
)
"""What a recipient may say of its sender (U) and of itself (V)."""


def kdf_context(alg: Value, size: int, headers: HeaderPair, other: bytes | None = None) -> bytes:
    """COSE_KDF_Context (RFC 9053 §5.2) for a key of `size` octets of `alg`, with what the
    recipient's `headers` say of the parties, and `other` of the application.  Raises
    `SecurityError` for parties that are not of their form."""
    public: list[Value] = [8 * size, headers.encoded]
    if other is not None:
        public.append(other)
    return values.encode([alg, *(_party(headers, labels) for labels in PARTIES), public])


def _party(headers: HeaderPair, labels: tuple[HeaderLabel, ...]) -> Value:
    found: list[Value] = [headers.get(label) for label in labels]
    identity, nonce, other = found
    numeric = isinstance(nonce, int) and not isinstance(nonce, bool)
    if not (
        isinstance(identity, bytes | None)
        and isinstance(other, bytes | None)
        and (numeric or isinstance(nonce, bytes | None))
    ):
        raise SecurityError("a party of a key derivation that is not of its form (RFC 9053 §5.2)")
    return found


def derive(
    secret: bytes, digest: HashAlgorithm, headers: HeaderPair, context: bytes, size: int
) -> bytes:
    """`size` octets of HKDF of a secret, with the recipient's salt (RFC 9053 §5.1).  Raises
    `SecurityError` for a salt of another form."""
    salt = headers.get(HeaderLabel.SALT)
    if not isinstance(salt, bytes | None):
        raise SecurityError("a salt that is no byte string (RFC 9053 §5.1)")
    return HKDF(digest, size, salt, context).derive(secret)


def check_fresh(headers: HeaderPair) -> None:
    """Raises `SecurityError` where nothing makes the derived keys of one secret differ (RFC 9053
    §6.1.2, §6.3)."""
    for label in (HeaderLabel.SALT, HeaderLabel.PARTY_U_NONCE):
        if headers.get(label) not in (None, b""):
            return
    raise SecurityError("a key derived from a lasting secret without salt or nonce (RFC 9053 §6)")
