"""What signs and verifies segments of LTP: the ciphersuites of RFC 5327 §2.1, and one of ours.

AES-GMAC (NIST SP 800-38D) costs a tenth of HMAC-SHA1, and gives its secret away when one key and
nonce serve two segments.  So no two signers have a key in common: each draws a salt of 96 random
bits when it begins, and signs with HKDF-SHA256 of the link's key and that salt.  The nonce is the
deterministic construction of §8.2.1, a field that is fixed, and a count of segments from 0 on.
Nothing of it outlives the signer, so neither a restart nor a backup nor a copy of the disk brings a
nonce back; 2^32 salts of one link's key keep within the chance of 2^-32 that SP 800-38D §8 allows.

The KeyID has the salt behind it, and the authentication value is the count and the tag.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.core.train import Buffer

HMAC_SHA1_80: Final = 0
RSA_SHA256: Final = 1
AES_GMAC: Final = 192
NULL: Final = 255
"""Ciphersuites (RFC 5327 §2.1); AES-GMAC is ours, of those for private use (192 to 254)."""

NULL_KEY: Final = bytes.fromhex("c37b7e6492584340bed12207808941155068f738")
"""What everybody knows: the NULL ciphersuite is a checksum, and proves nothing."""

HMAC_BYTES: Final = 10
"""HMAC-SHA1 cut to 80 bits."""

SALT_BYTES: Final = 12
COUNT_BYTES: Final = 4
TAG_BYTES: Final = 16
_FIXED: Final = bytes(8)
"""The fixed field of a nonce: a key has one signer, so there is nothing to tell apart."""

_INFO: Final = b"Orbitferry LTP AES-GMAC signer"

Sign = Callable[[Sequence[Buffer]], bytes]
"""The authentication values of segments up to there, one after another."""

Check = Callable[[Sequence[Buffer], Buffer], bool]
"""Whether the second argument is the authentication values of the first, one after another."""


@dataclass(frozen=True, slots=True)
class AuthKey:
    """A key of a ciphersuite.  `id`, the KeyID field, may be empty; `value_bytes` is the length of
    an authentication value."""

    suite: int
    id: bytes
    value_bytes: int
    checker: Callable[[bytes], Check]
    """What verifies that which was signed with a salt."""

    signer: Callable[[bytes], Sign] | None
    """What signs with a salt; None where only the public half is known."""

    salt_bytes: int = 0
    """Octets of a salt, which travels behind the KeyID: `SALT_BYTES`, or none."""

    signs_max: int = sys.maxsize
    """Segments that a signer may sign."""

    def __repr__(self) -> str:
        return f"AuthKey({self.suite}, {self.id.hex()!r})"  # nothing of a secret


def gmac_key(secret: bytes, key_id: bytes = b"") -> AuthKey:
    """A key of ciphersuite 192."""

    def cipher(salt: bytes) -> AESGCM:
        return AESGCM(HKDF(hashes.SHA256(), 32, salt, _INFO).derive(secret))

    def signer(salt: bytes) -> Sign:
        mac, counts = cipher(salt).encrypt, itertools.count()

        def sign(segments: Sequence[Buffer]) -> bytes:
            values: list[bytes] = []
            for data, number in zip(segments, counts, strict=False):
                # Raises OverflowError after 2^32 segments: no count comes twice.
                count = number.to_bytes(COUNT_BYTES, "big")
                values += count, mac(_FIXED + count, b"", data)
            return b"".join(values)

        return sign

    def checker(salt: bytes) -> Check:
        mac = cipher(salt).encrypt

        def check(signed: Sequence[Buffer], values: Buffer) -> bool:
            expected: list[Buffer] = []
            at = 0
            for data in signed:
                count = values[at : at + COUNT_BYTES]
                at += COUNT_BYTES + TAG_BYTES
                expected += count, mac(_FIXED + count, b"", data)
            return hmac.compare_digest(b"".join(expected), values)

        return check

    limit = 1 << 8 * COUNT_BYTES
    return AuthKey(AES_GMAC, key_id, COUNT_BYTES + TAG_BYTES, checker, signer, SALT_BYTES, limit)


def hmac_key(secret: bytes, key_id: bytes = b"", suite: int = HMAC_SHA1_80) -> AuthKey:
    """A key of ciphersuite 0."""
    block = secret if len(secret) <= 64 else hashlib.sha1(secret, usedforsecurity=False).digest()
    block = block.ljust(64, b"\0")
    # RFC 2104 with both pads absorbed once: a copy costs less than an HMAC object.
    inner = hashlib.sha1(bytes(octet ^ 0x36 for octet in block), usedforsecurity=False)
    outer = hashlib.sha1(bytes(octet ^ 0x5C for octet in block), usedforsecurity=False)

    def value(data: Buffer) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(data)
        second.update(first.digest())
        return second.digest()[:HMAC_BYTES]

    def sign(segments: Sequence[Buffer]) -> bytes:
        return b"".join(map(value, segments))

    def check(signed: Sequence[Buffer], values: Buffer) -> bool:
        return hmac.compare_digest(sign(signed), values)

    return AuthKey(suite, key_id, HMAC_BYTES, lambda _: check, lambda _: sign)


def null_key() -> AuthKey:
    """Ciphersuite 255: it finds damage, and stops nobody."""
    return hmac_key(NULL_KEY, suite=NULL)


def rsa_key(
    public: RSAPublicKey, private: RSAPrivateKey | None = None, key_id: bytes = b""
) -> AuthKey:
    """A key of ciphersuite 1: RSA with PKCS #1 v1.5 padding over SHA-256."""
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    value_bytes = (public.key_size + 7) // 8

    def check(signed: Sequence[Buffer], values: Buffer) -> bool:
        try:
            for index, data in enumerate(signed):
                value = bytes(values[index * value_bytes : (index + 1) * value_bytes])
                public.verify(value, bytes(data), scheme, digest)
        except InvalidSignature:
            return False
        return True

    signer = None
    if private is not None:
        owner = private

        def signer(_: bytes) -> Sign:
            return lambda segments: b"".join(
                owner.sign(bytes(data), scheme, digest) for data in segments
            )

    return AuthKey(RSA_SHA256, key_id, value_bytes, lambda _: check, signer)
