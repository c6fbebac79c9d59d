"""Recipients with whom a secret is shared, and such with an RSA key: the content's key wrapped,
derived, used as it is, or encrypted (RFC 9053 §6.1, §6.2; RFC 8230 §3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from stack.core.errors import LocalError, SecurityError
from stack.cose.kdf import check_fresh, derive, kdf_context
from stack.cose.keys import VerifyingKey, check_rsa
from stack.cose.messages import HeaderPair, make_headers
from stack.cose.numbers import Algorithm, HeaderLabel
from stack.cose.recipients import Content, Recipient, named, names
from stack.cose.values import Label, Value

SharedUse = Literal["wrap", "derive", "direct"]

WRAPPING_BYTES = {Algorithm.A128KW: 16, Algorithm.A192KW: 24, Algorithm.A256KW: 32}
"""Octets of the key of each AES key wrap (RFC 3394)."""

_WRAPPED_MORE = 8
_DERIVING: dict[Algorithm, HashAlgorithm] = {
    Algorithm.DIRECT_HKDF_SHA_256: SHA256(),
    Algorithm.DIRECT_HKDF_SHA_512: SHA512(),
}
_OAEP: dict[Algorithm, HashAlgorithm] = {
    Algorithm.RSAES_OAEP_SHA_256: SHA256(),
    Algorithm.RSAES_OAEP_SHA_512: SHA512(),
}


def wrap(key: bytes, secret: bytes) -> bytes:
    """A content's key, wrapped."""
    return aes_key_wrap(key, secret)


def unwrap(key: bytes, wrapped: bytes, size: int) -> bytes:
    """A content's key of `size` octets.  Raises `SecurityError` for what this does not unwrap."""
    try:
        if len(wrapped) != size + _WRAPPED_MORE:
            raise InvalidUnwrap
        return aes_key_unwrap(key, wrapped)
    except (InvalidUnwrap, ValueError):
        raise SecurityError("a wrapped key that does not unwrap") from None


@dataclass(frozen=True)
class SharedSecret:
    """A secret that sender and recipient share, and what it is used for.  `key_id`: where it has
    one; else any may be meant.  Raises `LocalError` for one that wraps, and is no key of AES."""

    use: SharedUse
    secret: bytes = field(repr=False)
    key_id: bytes = b""
    salt: bytes = b""
    """For a recipient that is made: never twice with one secret."""

    def __post_init__(self) -> None:
        if self.use == "wrap" and len(self.secret) not in WRAPPING_BYTES.values():
            raise LocalError(f"no key of AES key wrap: {len(self.secret)} octets")

    @property
    def alg(self) -> Algorithm:
        """See `stack.cose.recipients.SealingKey`."""
        if self.use == "wrap":
            return next(alg for alg, size in WRAPPING_BYTES.items() if size == len(self.secret))
        return Algorithm.DIRECT if self.use == "direct" else Algorithm.DIRECT_HKDF_SHA_512

    def is_named(self, headers: HeaderPair) -> bool:
        """See `stack.cose.recipients.OpeningKey`."""
        return names(headers, self.key_id or None)

    def key_for(self, recipient: Recipient, content: Content) -> bytes:
        """See `stack.cose.recipients.OpeningKey`."""
        headers, alg = recipient.headers, recipient.alg
        if self.use == "derive":
            for method in _DERIVING:
                if headers.alg == method:
                    return self._derived(method, headers, content)
        elif alg == self.alg and not headers.protected:
            if self.use == "wrap":
                return unwrap(self.secret, recipient.ciphertext, content.size)
            if len(self.secret) == content.size:
                return self.secret
        raise SecurityError("a recipient with whom a secret is shared for another use")

    def _derived(self, alg: Algorithm, headers: HeaderPair, content: Content) -> bytes:
        check_fresh(headers)
        context = kdf_context(content.alg, content.size, headers, content.other)
        return derive(self.secret, _DERIVING[alg], headers, context, content.size)

    def recipient(self, content: Content, secret: bytes) -> tuple[Value, bytes]:
        """See `stack.cose.recipients.SealingKey`."""
        mine = named(self.key_id, b"")
        if self.use == "derive":
            mine[HeaderLabel.SALT] = self.salt
            headers = make_headers({HeaderLabel.ALG: self.alg}, mine)
            derived = self._derived(self.alg, headers, content)
            return [headers.encoded, headers.unprotected, b""], derived
        unprotected: dict[Label, Value] = {HeaderLabel.ALG: self.alg, **mine}
        if self.use == "direct":
            return [b"", unprotected, b""], self.secret
        return [b"", unprotected, wrap(self.secret, secret)], secret


class RsaPublicKey:
    """Whom something is encrypted for, with RSAES-OAEP."""

    def __init__(
        self,
        key: rsa.RSAPublicKey,
        key_id: bytes = b"",
        certificate: bytes = b"",
        alg: Algorithm = Algorithm.RSAES_OAEP_SHA_512,
    ) -> None:
        """`key_id`: by default the thumbprint (RFC 9679).  Raises `LocalError` for a key of a size
        that is not used."""
        check_rsa(key)
        self.key = key
        self.key_id = key_id or VerifyingKey(key).thumbprint
        self.certificate = certificate
        self.alg = alg

    def recipient(self, content: Content, secret: bytes) -> tuple[Value, bytes]:
        """See `stack.cose.recipients.SealingKey`."""
        unprotected = {HeaderLabel.ALG: self.alg, **named(self.key_id, self.certificate)}
        return [b"", unprotected, self.key.encrypt(secret, _oaep(self.alg))], secret


class RsaPrivateKey:
    """Who can open it."""

    def __init__(
        self, key: rsa.RSAPrivateKey, key_id: bytes = b"", certificate: bytes = b""
    ) -> None:
        """Raises `LocalError` for a key of a size that is not used."""
        self.key = key
        self.public = RsaPublicKey(key.public_key(), key_id, certificate)

    def __repr__(self) -> str:
        return f"RsaPrivateKey({self.public.key_id.hex()[:16]})"

    def is_named(self, headers: HeaderPair) -> bool:
        """See `stack.cose.recipients.OpeningKey`."""
        return names(headers, self.public.key_id, self.public.certificate)

    def key_for(self, recipient: Recipient, content: Content) -> bytes:
        """See `stack.cose.recipients.OpeningKey`."""
        for alg in _OAEP:
            if recipient.alg == alg and not recipient.headers.protected:
                try:
                    found = self.key.decrypt(recipient.ciphertext, _oaep(alg))
                except ValueError:
                    break
                if len(found) == content.size:
                    return found
        raise SecurityError("no key for the RSA key at hand in a recipient, or it was changed")


def _oaep(alg: Algorithm) -> padding.OAEP:
    """RFC 8230 §3: one hash for the label, which is empty, and for the mask."""
    return padding.OAEP(padding.MGF1(_OAEP[alg]), _OAEP[alg], None)
