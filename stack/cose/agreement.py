"""Key agreement by elliptic curves: ECDH on P-256, P-384, P-521 and X25519, whose secret gives the
content's key, or one that wraps it (RFC 9053 §6.3, §6.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.sansio import Entropy
from stack.cose import values
from stack.cose.kdf import check_fresh, derive, kdf_context
from stack.cose.keys import fresh_on, point_map, read_point
from stack.cose.messages import HeaderPair, make_headers
from stack.cose.numbers import Algorithm, HeaderLabel, KeyCurve, KeyParameter, KeyType
from stack.cose.recipients import Content, Recipient, is_thumbprint, named, names
from stack.cose.values import Label, Value
from stack.cose.wrapping import WRAPPING_BYTES, unwrap, wrap

_Public: TypeAlias = ec.EllipticCurvePublicKey | x25519.X25519PublicKey
_Private: TypeAlias = ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_SECTION = "RFC 9053 §6.3"

_METHODS: dict[Algorithm, tuple[HashAlgorithm, bool, Algorithm | None]] = {
    Algorithm.ECDH_ES_HKDF_256: (SHA256(), False, None),
    Algorithm.ECDH_ES_HKDF_512: (SHA512(), False, None),
    Algorithm.ECDH_SS_HKDF_256: (SHA256(), True, None),
    Algorithm.ECDH_SS_HKDF_512: (SHA512(), True, None),
    Algorithm.ECDH_ES_A128KW: (SHA256(), False, Algorithm.A128KW),
    Algorithm.ECDH_ES_A192KW: (SHA256(), False, Algorithm.A192KW),
    Algorithm.ECDH_ES_A256KW: (SHA256(), False, Algorithm.A256KW),
    Algorithm.ECDH_SS_A128KW: (SHA256(), True, Algorithm.A128KW),
    Algorithm.ECDH_SS_A192KW: (SHA256(), True, Algorithm.A192KW),
    Algorithm.ECDH_SS_A256KW: (SHA256(), True, Algorithm.A256KW),
}
"""Hash of HKDF, whether the sender's key is static, and what wraps the content's key."""


class AgreementPublicKey:
    """Whom something is encrypted for, or who has encrypted it."""

    def __init__(self, key: _Public, key_id: bytes = b"", certificate: bytes = b"") -> None:
        """`key_id`: by default the thumbprint (RFC 9679); `certificate`: in DER, where there is
        one.  Raises `LocalError` for a key of another kind."""
        if isinstance(key, ec.EllipticCurvePublicKey):
            if key.curve.name not in _CURVES:
                raise LocalError(f"no key agreement on curve {key.curve.name}")
        elif not isinstance(key, x25519.X25519PublicKey):
            raise LocalError(f"no key of key agreement: {type(key).__name__}")
        self.key = key
        self.key_id = key_id or hashlib.sha256(values.encode(self.as_map())).digest()
        self.certificate = certificate

    @classmethod
    def from_map(cls, found: Mapping[Label, Value]) -> AgreementPublicKey:
        """Of a COSE_Key, decoded.  Raises `DecodeError`."""
        x = found.get(KeyParameter.X)
        try:
            if (found.get(KeyParameter.KTY), found.get(KeyParameter.CRV)) == (
                KeyType.OKP,
                KeyCurve.X25519,
            ) and isinstance(x, bytes):
                return cls(x25519.X25519PublicKey.from_public_bytes(x))
            return cls(read_point(found))
        except ValueError:
            raise DecodeError("a COSE_Key that is no point", _SECTION) from None

    def as_map(self) -> dict[Label, Value]:
        """What must be in its COSE_Key."""
        if isinstance(self.key, ec.EllipticCurvePublicKey):
            return point_map(self.key)
        return {
            KeyParameter.KTY: KeyType.OKP,
            KeyParameter.CRV: KeyCurve.X25519,
            KeyParameter.X: self.key.public_bytes_raw(),
        }

    def has_sent(self, headers: HeaderPair) -> bool:
        """Whether headers name this as the sender's static key (RFC 9053 §6.3.1, RFC 9360 §3)."""
        chain = headers.get(HeaderLabel.X5CHAIN_SENDER)
        leaf = chain[0] if isinstance(chain, list) and chain else chain
        kid, x5t = headers.get(HeaderLabel.STATIC_KEY_ID), headers.get(HeaderLabel.X5T_SENDER)
        own = self.certificate
        return kid == self.key_id or bool(own and (leaf == own or is_thumbprint(x5t, own)))


class AgreementPrivateKey:
    """Who can open it.  With `senders`, also what was made with their static keys."""

    def __init__(
        self,
        key: _Private,
        key_id: bytes = b"",
        certificate: bytes = b"",
        senders: tuple[AgreementPublicKey, ...] = (),
    ) -> None:
        """Raises `LocalError` for a key of another kind."""
        self.key = key
        self.public = AgreementPublicKey(key.public_key(), key_id, certificate)
        self.senders = senders

    def __repr__(self) -> str:
        return f"AgreementPrivateKey({self.public.key_id.hex()[:16]})"

    def secret(self, other: AgreementPublicKey) -> bytes:
        """What this key and another have in common.  Raises `SecurityError` for keys of two
        curves, and for a point that gives no secret."""
        mine, theirs = self.key, other.key
        try:
            if isinstance(mine, x25519.X25519PrivateKey):
                if isinstance(theirs, x25519.X25519PublicKey):
                    return mine.exchange(theirs)
            elif isinstance(theirs, ec.EllipticCurvePublicKey):
                return mine.exchange(ec.ECDH(), theirs)
        except ValueError:
            pass
        raise SecurityError("a key agreement of keys that do not belong to one curve")

    def is_named(self, headers: HeaderPair) -> bool:
        """See `stack.cose.recipients.OpeningKey`."""
        return names(headers, self.public.key_id, self.public.certificate)

    def key_for(self, recipient: Recipient, content: Content) -> bytes:
        """See `stack.cose.recipients.OpeningKey`."""
        headers, alg = recipient.headers, recipient.headers.alg
        if not isinstance(alg, int) or alg not in _METHODS:
            raise SecurityError(f"no key agreement: {headers.algorithm}")
        method = Algorithm(alg)
        agreed = _agreed(method, self, self._sender(headers, _METHODS[method][1]), headers, content)
        if _METHODS[method][2] is None:
            return agreed
        return unwrap(agreed, recipient.ciphertext, content.size)

    def _sender(self, headers: HeaderPair, static: bool) -> AgreementPublicKey:
        label = HeaderLabel.STATIC_KEY if static else HeaderLabel.EPHEMERAL_KEY
        found = headers.get(label)
        if isinstance(found, Mapping):
            try:
                return AgreementPublicKey.from_map(found)
            except DecodeError as error:
                raise SecurityError(str(error)) from None
        for sender in self.senders if static and found is None else ():
            if sender.has_sent(headers):
                return sender
        raise SecurityError("a key agreement whose sender's key is not said or not known")


def fresh_for(recipient: AgreementPublicKey, entropy: Entropy) -> AgreementPrivateKey:
    """An ephemeral key on the curve of a recipient."""
    if isinstance(recipient.key, ec.EllipticCurvePublicKey):
        return AgreementPrivateKey(fresh_on(recipient.key.curve, entropy))
    return AgreementPrivateKey(x25519.X25519PrivateKey.from_private_bytes(entropy(32)))


@dataclass(frozen=True)
class AgreedWith:
    """A key for whose owner something is encrypted by agreement.  `sender`: a key that is used
    once, or this node's static one, as `alg` says; `salt` never comes twice with static keys."""

    to: AgreementPublicKey
    sender: AgreementPrivateKey
    salt: bytes = b""
    alg: Algorithm = Algorithm.ECDH_ES_HKDF_512

    @cached_property
    def headers(self) -> HeaderPair:
        """The recipient's headers."""
        public = self.sender.public
        sender: dict[Label, Value] = {HeaderLabel.EPHEMERAL_KEY: public.as_map()}
        if _METHODS[self.alg][1]:
            sender = {HeaderLabel.STATIC_KEY_ID: public.key_id}
            if public.certificate:
                sender = {HeaderLabel.X5T_SENDER: named(b"", public.certificate)[HeaderLabel.X5T]}
        salt: dict[Label, Value] = {HeaderLabel.SALT: self.salt} if self.salt else {}
        mine = named(self.to.key_id, self.to.certificate)
        return make_headers({HeaderLabel.ALG: self.alg}, {**mine, **sender, **salt})

    def recipient(self, content: Content, secret: bytes) -> tuple[Value, bytes]:
        """See `stack.cose.recipients.SealingKey`."""
        agreed = _agreed(self.alg, self.sender, self.to, self.headers, content)
        parts: list[Value] = [self.headers.encoded, self.headers.unprotected]
        if _METHODS[self.alg][2] is None:
            return [*parts, b""], agreed
        return [*parts, wrap(agreed, secret)], secret


def _agreed(
    alg: Algorithm,
    mine: AgreementPrivateKey,
    other: AgreementPublicKey,
    headers: HeaderPair,
    content: Content,
) -> bytes:
    """The key that is agreed upon: of the content, or one that wraps it."""
    digest, static, wrapping = _METHODS[alg]
    if static:
        check_fresh(headers)
    use, size = content.alg, content.size
    if wrapping is not None:
        use, size = wrapping, WRAPPING_BYTES[wrapping]
    context = kdf_context(use, size, headers, content.other)
    return derive(mine.secret(other), digest, headers, context, size)
