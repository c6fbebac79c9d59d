"""COSE_Encrypt for several recipients, each with an HPKE key (draft-ietf-cose-hpke-27 §3.3).

The content is encrypted once with a fresh key, and that key for each recipient by HPKE (RFC 9180)
in base mode: with MLKEM768-X25519, which also whoever records today and has a quantum computer
later does not open, or with X25519.  HPKE says nothing about who encrypted: sign what matters.

The other mode of the draft, integrated encryption, takes additional authenticated data of HPKE,
for which `cryptography` has no public interface.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose import values
from stack.cose.messages import (
    IV_BYTES,
    KEY_BYTES,
    HeaderPair,
    decode_message,
    encode_message,
    make_headers,
    open_content,
    read_headers,
    seal_content,
)
from stack.cose.numbers import Algorithm, HeaderLabel, KeyCurve, KeyParameter, KeyType
from stack.cose.values import Label, Value

Kem: TypeAlias = Literal["MLKEM768-X25519", "X25519"]

TAG_ENCRYPT = 96
RECIPIENTS_MAX = 1000
"""Recipients of one message."""

TRIED_MAX = 8
"""Recipients without or with our key id whose key is tried: each costs a decapsulation."""

_SECTION = "RFC 9052 §5.1"
_KEY = "draft-ietf-cose-hpke §3.4"
_PRIVATE_BYTES = 32
_MLKEM_BYTES = 1184
_PUBLIC_BYTES: dict[str, int] = {"MLKEM768-X25519": _MLKEM_BYTES + 32, "X25519": 32}
_RAW: dict[Kem, KeyParameter] = {
    "MLKEM768-X25519": KeyParameter.PUB,
    "X25519": KeyParameter.X,
}
_SENDING: dict[str, Algorithm] = {
    "MLKEM768-X25519": Algorithm.HPKE_MLKEM768_X25519_KE,
    "X25519": Algorithm.HPKE_4_KE,
}
_SUITES: dict[Algorithm, tuple[Kem, hpke.Suite, int]] = {
    Algorithm.HPKE_MLKEM768_X25519_KE: (
        "MLKEM768-X25519",
        hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.SHAKE256, hpke.AEAD.AES_256_GCM),
        1088 + 32,
    ),
    Algorithm.HPKE_3_KE: (
        "X25519",
        hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM),
        32,
    ),
    Algorithm.HPKE_4_KE: (
        "X25519",
        hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305),
        32,
    ),
}
"""KEM, suite, and octets of the encapsulated key."""


@dataclass(frozen=True)
class HpkePublicKey:
    """Whom something is encrypted for.  `raw`: as HPKE serialises it, 1,216 or 32 octets.  Raises
    `LocalError` for another number of octets."""

    kem: Kem
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != _PUBLIC_BYTES.get(self.kem):
            raise LocalError(f"no public key of {self.kem}: {len(self.raw)} octets")

    @classmethod
    def from_cose_key(cls, data: Buffer) -> HpkePublicKey:
        """Of a COSE_Key.  Raises `DecodeError` for what is none, or of another kind."""
        found = values.decode(data, _KEY)
        if isinstance(found, Mapping):
            for kem, label in _RAW.items():
                raw = found.get(label)
                if isinstance(raw, bytes) and len(raw) == _PUBLIC_BYTES[kem]:
                    key = cls(kem, raw)
                    if all(found.get(name) == value for name, value in key._required().items()):
                        return key
        raise DecodeError("a COSE_Key that is none of HPKE with MLKEM768-X25519 or X25519", _KEY)

    def _required(self) -> dict[Label, Value]:
        if self.kem == "X25519":
            return {
                KeyParameter.KTY: KeyType.OKP,
                KeyParameter.CRV: KeyCurve.X25519,
                KeyParameter.X: self.raw,
            }
        return {
            KeyParameter.KTY: KeyType.AKP,
            KeyParameter.ALG: _SENDING[self.kem],
            KeyParameter.PUB: self.raw,
        }

    @cached_property
    def key_id(self) -> bytes:
        """The thumbprint of the COSE_Key, 32 octets (RFC 9679)."""
        return hashlib.sha256(values.encode(self._required())).digest()

    def cose_key(self) -> bytes:
        """The COSE_Key with key id and algorithm."""
        more: dict[Label, Value] = {
            KeyParameter.KID: self.key_id,
            KeyParameter.ALG: _SENDING[self.kem],
        }
        return values.encode({**self._required(), **more})

    def check(self) -> None:
        """Raises `SecurityError` for octets that are no key: nothing can be encrypted for these."""
        _wrap(bytes(KEY_BYTES[Algorithm.A256GCM]), self, Algorithm.A256GCM, b"")

    def _key(self) -> Any:
        if self.kem == "X25519":
            return x25519.X25519PublicKey.from_public_bytes(self.raw)
        return hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_BYTES]),
            x25519.X25519PublicKey.from_public_bytes(self.raw[_MLKEM_BYTES:]),
        )


@dataclass(frozen=True)
class HpkePrivateKey:
    """Who can open it.  `raw`: 32 octets, for MLKEM768-X25519 the seed of both keys.  Raises
    `LocalError` for another number of octets."""

    kem: Kem
    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.kem not in _PUBLIC_BYTES or len(self.raw) != _PRIVATE_BYTES:
            raise LocalError(f"no private key of {self.kem}: {len(self.raw)} octets")

    @classmethod
    def generate(cls, entropy: Entropy, kem: Kem = "MLKEM768-X25519") -> HpkePrivateKey:
        """A fresh key."""
        return cls(kem, entropy(_PRIVATE_BYTES))

    @cached_property
    def public(self) -> HpkePublicKey:
        """The other half."""
        kem, dh = self._halves
        raw = dh.public_key().public_bytes_raw()
        return HpkePublicKey(
            self.kem, raw if kem is None else kem.public_key().public_bytes_raw() + raw
        )

    @cached_property
    def _halves(self) -> tuple[mlkem.MLKEM768PrivateKey | None, x25519.X25519PrivateKey]:
        if self.kem == "X25519":
            return None, x25519.X25519PrivateKey.from_private_bytes(self.raw)
        # draft-irtf-cfrg-concrete-hybrid-kems: one seed, expanded
        seeds = hashlib.shake_256(self.raw).digest(96)
        dh = x25519.X25519PrivateKey.from_private_bytes(seeds[64:])
        return mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), dh

    def _key(self) -> Any:
        kem, dh = self._halves
        return dh if kem is None else hpke.MLKEM768X25519PrivateKey(kem, dh)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A COSE_recipient: the content's key, for one."""

    headers: HeaderPair
    ciphertext: bytes

    def unwrap(self, key: HpkePrivateKey, alg: Value, extra_info: bytes = b"") -> bytes:
        """The key of content that is encrypted with `alg`.  Raises `SecurityError` when this is
        for somebody else, or was changed."""
        self.headers.check()
        ek = self.headers.unprotected.get(HeaderLabel.EK)
        for number, (kem, suite, size) in _SUITES.items():
            if (self.headers.alg, key.kem) != (number, kem):
                continue
            if not isinstance(ek, bytes) or len(ek) != size:
                break
            info = _info(alg, self.headers, extra_info)
            try:
                return suite.decrypt(ek + self.ciphertext, key._key(), info)
            except (InvalidTag, ValueError):
                break
        raise SecurityError("no key for the one at hand in a COSE_recipient, or it was changed")


@dataclass(frozen=True, slots=True)
class Encrypt:
    """A COSE_Encrypt, not opened yet."""

    headers: HeaderPair
    ciphertext: bytes | None
    """None: detached."""

    recipients: tuple[Recipient, ...]

    def open(
        self,
        key: HpkePrivateKey,
        *,
        external_aad: Buffer = b"",
        extra_info: bytes = b"",
        ciphertext: bytes | None = None,
    ) -> bytes:
        """The content, or what `ciphertext` has, which was detached.  Raises `SecurityError` when
        it is not for `key`, not there, or changed."""
        self.headers.check()
        content = self.ciphertext if ciphertext is None else ciphertext
        if content is None or (ciphertext is not None and self.ciphertext is not None):
            raise SecurityError("the content of this COSE_Encrypt is detached, or there twice")
        mine = key.public.key_id
        named = [one for one in self.recipients if one.headers.kid in (mine, b"")]
        for recipient in named[:TRIED_MAX]:
            try:
                secret = recipient.unwrap(key, self.headers.alg, extra_info)
            except SecurityError:
                continue
            return open_content("Encrypt", self.headers, secret, external_aad, content)
        raise SecurityError("this COSE_Encrypt is not for the key at hand, or was changed")


def encrypt_for(
    plain: bytes,
    recipients: Sequence[HpkePublicKey],
    entropy: Entropy,
    *,
    external_aad: Buffer = b"",
    extra_info: bytes = b"",
) -> bytes:
    """A COSE_Encrypt that each of `recipients` opens.  `external_aad` and `extra_info` (of the key
    schedule) do not travel: who opens has to know them.  Raises `LocalError` for no recipient or
    too many, and `SecurityError` for a key that is no key."""
    headers, sealed, wrapped = _seal(plain, recipients, entropy, external_aad, extra_info)
    return encode_message(TAG_ENCRYPT, headers, sealed, wrapped)


def seal_for(
    plain: Buffer, recipient: HpkePublicKey, entropy: Entropy, *, external_aad: Buffer = b""
) -> tuple[bytes, bytes]:
    """A COSE_Encrypt for one whose content travels elsewhere, without its tag, and that content.
    Raises as `encrypt_for`."""
    headers, sealed, wrapped = _seal(plain, [recipient], entropy, external_aad, b"")
    return encode_message(None, headers, None, wrapped), sealed


def _seal(
    plain: Buffer,
    recipients: Sequence[HpkePublicKey],
    entropy: Entropy,
    external_aad: Buffer,
    extra_info: bytes,
) -> tuple[HeaderPair, bytes, list[Value]]:
    if not 0 < len(recipients) <= RECIPIENTS_MAX:
        raise LocalError(f"{len(recipients)} recipients: 1 to {RECIPIENTS_MAX} fit in a message")
    alg = Algorithm.A256GCM
    secret = entropy(KEY_BYTES[alg])
    headers = make_headers({HeaderLabel.ALG: alg}, {HeaderLabel.IV: entropy(IV_BYTES)})
    sealed = seal_content("Encrypt", headers, secret, external_aad, plain)
    return headers, sealed, [_wrap(secret, key, alg, extra_info) for key in recipients]


def _info(alg: Value, headers: HeaderPair, extra_info: bytes) -> bytes:
    """Recipient_structure (draft-ietf-cose-hpke-27 §3.3.1)."""
    return values.encode(["HPKE Recipient", alg, headers.encoded, extra_info])


def _wrap(secret: bytes, key: HpkePublicKey, alg: Algorithm, extra_info: bytes) -> Value:
    named = _SENDING[key.kem]
    _, suite, size = _SUITES[named]
    headers = make_headers({HeaderLabel.ALG: named, HeaderLabel.KID: key.key_id}, {})
    try:
        sealed = suite.encrypt(secret, key._key(), _info(alg, headers, extra_info))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SecurityError(f"nothing can be encrypted for this key: {error}") from None
    return [headers.encoded, {HeaderLabel.EK: sealed[:size]}, sealed[size:]]


def decode_encrypt(data: Buffer) -> Encrypt:
    """A COSE_Encrypt, tagged or not, of one layer of recipients.  Raises `DecodeError`."""
    headers, (content, found) = decode_message(data, TAG_ENCRYPT, 4, _SECTION)
    if not isinstance(content, bytes | None) or not isinstance(found, list):
        raise DecodeError(
            "content that is no byte string, or recipients that are no array", _SECTION
        )
    if not 0 < len(found) <= RECIPIENTS_MAX:
        raise DecodeError(f"{len(found)} recipients", _SECTION)
    return Encrypt(headers, content, tuple(_recipient(one) for one in found))


def _recipient(found: Value) -> Recipient:
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[2], bytes):
        raise DecodeError("a recipient that is no array of 3 with a key", _SECTION)
    return Recipient(read_headers(found[0], found[1], _SECTION), found[2])
