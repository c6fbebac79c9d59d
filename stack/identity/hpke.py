"""Keys to which secrets are sealed (HPKE, RFC 9180): hybrid MLKEM768-X25519, which stays closed
when either of its two parts is broken, or X25519 alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from stack.core.errors import SecurityError

X25519: Final = 0x0020
"""DHKEM(X25519, HKDF-SHA256) (RFC 9180 §7.1)."""

MLKEM768_X25519: Final = 0x647A
"""The hybrid, in the registry of HPKE KEM identifiers."""

MLKEM_PUBLIC_BYTES: Final = 1184

_SUITES = {
    X25519: hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    MLKEM768_X25519: hpke.Suite(
        hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM
    ),
}


@dataclass(frozen=True, slots=True)
class HpkePublicKey:
    """A key to seal to; `octets` are those of the ML-KEM key, if any, and of the X25519 key."""

    kem: int
    octets: bytes = field(repr=False)

    @property
    def key(self) -> X25519PublicKey | hpke.MLKEM768X25519PublicKey:
        """As the library takes it.  Raises `SecurityError` for what is none."""
        try:
            if self.kem == X25519:
                return X25519PublicKey.from_public_bytes(self.octets)
            if self.kem == MLKEM768_X25519:
                return hpke.MLKEM768X25519PublicKey(
                    MLKEM768PublicKey.from_public_bytes(self.octets[:MLKEM_PUBLIC_BYTES]),
                    X25519PublicKey.from_public_bytes(self.octets[MLKEM_PUBLIC_BYTES:]),
                )
        except ValueError:
            raise SecurityError("no HPKE public key") from None
        raise SecurityError(f"HPKE with KEM {self.kem:#06x} is not known")

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Seal, so that only the holder of the private key can open it, for the same `info`.
        Raises `SecurityError`."""
        return _SUITES[self.kem].encrypt(plaintext, self.key, info)


@dataclass(frozen=True, slots=True)
class HpkePrivateKey:
    """The private key of a node; without `mlkem` X25519 alone."""

    x25519: X25519PrivateKey = field(repr=False)
    mlkem: MLKEM768PrivateKey | None = field(default=None, repr=False)

    @classmethod
    def generate(cls, *, hybrid: bool = True) -> HpkePrivateKey:
        """A fresh one."""
        mlkem = MLKEM768PrivateKey.generate() if hybrid else None
        return cls(X25519PrivateKey.generate(), mlkem)

    @property
    def key(self) -> X25519PrivateKey | hpke.MLKEM768X25519PrivateKey:
        """As the library takes it."""
        if self.mlkem is None:
            return self.x25519
        return hpke.MLKEM768X25519PrivateKey(self.mlkem, self.x25519)

    @property
    def public(self) -> HpkePublicKey:
        """What others seal to."""
        octets = self.x25519.public_key().public_bytes_raw()
        if self.mlkem is None:
            return HpkePublicKey(X25519, octets)
        return HpkePublicKey(MLKEM768_X25519, self.mlkem.public_key().public_bytes_raw() + octets)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What was sealed to this key for `info`.  Raises `SecurityError`."""
        try:
            return _SUITES[self.public.kem].decrypt(sealed, self.key, info)
        except (InvalidTag, ValueError):
            raise SecurityError("not sealed to this key, or damaged") from None
