"""Recipients of COSE_Encrypt who have HPKE keys (draft-ietf-cose-hpke-27 §3.3).

The content is encrypted once with a fresh key, and that key for each recipient by HPKE (RFC 9180)
in base mode: with MLKEM768-X25519, which also whoever records today and has a quantum computer
later does not open, or with X25519.  HPKE says nothing about who encrypted: sign what matters.

The other mode of the draft, integrated encryption, takes additional authenticated data of HPKE,
for which `cryptography` has no public interface.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
from stack.cose.messages import KEY_BYTES, HeaderPair, make_headers
from stack.cose.numbers import Algorithm, HeaderLabel, KeyCurve, KeyParameter, KeyType
from stack.cose.recipients import Content, Recipient, names
from stack.cose.values import Label, Value

Kem: TypeAlias = Literal["MLKEM768-X25519", "X25519"]

_KEY = "draft-ietf-cose-hpke §3.4"
_PRIVATE_BYTES = 32
_MLKEM_BYTES = 1184
_PUBLIC_BYTES: dict[str, int] = {"MLKEM768-X25519": _MLKEM_BYTES + 32, "X25519": 32}
_RAW: dict[Kem, KeyParameter] = {
    "MLKEM768-X25519": KeyParameter.PUB,
    "X25519": KeyParameter.X,
}
_SENDING: dict[Kem, Algorithm] = {
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
        size = KEY_BYTES[Algorithm.A256GCM]
        self.recipient(Content(Algorithm.A256GCM, size), bytes(size))

    @property
    def alg(self) -> Algorithm:
        """See `stack.cose.recipients.SealingKey`."""
        return _SENDING[self.kem]

    def recipient(self, content: Content, secret: bytes) -> tuple[Value, bytes]:
        """See `stack.cose.recipients.SealingKey`."""
        _, suite, size = _SUITES[self.alg]
        headers = make_headers({HeaderLabel.ALG: self.alg, HeaderLabel.KID: self.key_id}, {})
        try:
            sealed = suite.encrypt(secret, self._key(), _info(headers, content))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SecurityError(f"nothing can be encrypted for this key: {error}") from None
        return [headers.encoded, {HeaderLabel.EK: sealed[:size]}, sealed[size:]], secret

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

    def is_named(self, headers: HeaderPair) -> bool:
        """See `stack.cose.recipients.OpeningKey`."""
        return names(headers, self.public.key_id)

    def key_for(self, recipient: Recipient, content: Content) -> bytes:
        """See `stack.cose.recipients.OpeningKey`."""
        headers = recipient.headers
        ek = headers.unprotected.get(HeaderLabel.EK)
        for number, (kem, suite, size) in _SUITES.items():
            if (headers.alg, self.kem) != (number, kem):
                continue
            if not isinstance(ek, bytes) or len(ek) != size:
                break
            try:
                return suite.decrypt(
                    ek + recipient.ciphertext, self._key(), _info(headers, content)
                )
            except (InvalidTag, ValueError):
                break
        raise SecurityError("no key for the one at hand in a COSE_recipient, or it was changed")

    def _key(self) -> Any:
        kem, dh = self._halves
        return dh if kem is None else hpke.MLKEM768X25519PrivateKey(kem, dh)


def _info(headers: HeaderPair, content: Content) -> bytes:
    """Recipient_structure (draft-ietf-cose-hpke-27 §3.3.1)."""
    return values.encode(["HPKE Recipient", content.alg, headers.encoded, content.extra_info])
