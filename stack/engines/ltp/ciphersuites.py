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
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.core.train import Buffer
from stack.engines.ltp.gmac import COUNT_BYTES, TAG_BYTES, GmacChecker, GmacSigner
from stack.engines.ltp.trains import Octets

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
_INFO: Final = b"Orbitferry LTP AES-GMAC signer"


class Signs(NamedTuple):
    """What signs."""

    one: Callable[[Buffer], bytes]
    """The authentication value of a segment."""

    run: Callable[[Octets], None]
    """Writes the values of as many segments as there are rows at the end of each."""


class Checks(NamedTuple):
    """What verifies."""

    one: Callable[[Buffer, Buffer], bool]
    """Whether the second argument is the authentication value of the first."""

    run: Callable[[Octets, Octets], bool]
    """Whether each row of the second argument is the value of that row of the first."""


@dataclass(frozen=True, slots=True)
class AuthKey:
    """A key of a ciphersuite.  `id`, the KeyID field, may be empty; `value_bytes` is the length of
    an authentication value."""

    suite: int
    id: bytes
    value_bytes: int
    checker: Callable[[bytes], Checks]
    """What verifies that which was signed with a salt."""

    signer: Callable[[bytes], Signs] | None
    """What signs with a salt; None where only the public half is known."""

    salt_bytes: int = 0
    """Octets of a salt, which travels behind the KeyID: `SALT_BYTES`, or none."""

    signs_max: int = sys.maxsize
    """Segments that a signer may sign."""

    def __repr__(self) -> str:
        return f"AuthKey({self.suite}, {self.id.hex()!r})"  # nothing of a secret


def gmac_key(secret: bytes, key_id: bytes = b"") -> AuthKey:
    """A key of ciphersuite 192."""

    def derived(salt: bytes) -> bytes:
        return HKDF(hashes.SHA256(), 32, salt, _INFO).derive(secret)

    def signer(salt: bytes) -> Signs:
        made = GmacSigner(derived(salt))
        return Signs(made.one, made.run)

    def checker(salt: bytes) -> Checks:
        made = GmacChecker(derived(salt))
        return Checks(made.one, made.run)

    value_bytes, limit = COUNT_BYTES + TAG_BYTES, 1 << 8 * COUNT_BYTES
    return AuthKey(AES_GMAC, key_id, value_bytes, checker, signer, SALT_BYTES, limit)


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

    def check(segment: Buffer, found: Buffer) -> bool:
        return hmac.compare_digest(value(segment), found)

    def sign_run(rows: Octets) -> None:
        rows[:, -HMAC_BYTES:] = _values(value, rows[:, :-HMAC_BYTES])

    def check_run(segments: Octets, values: Octets) -> bool:
        return hmac.compare_digest(_values(value, segments).data, values.tobytes())

    signs, checks = Signs(value, sign_run), Checks(check, check_run)
    return AuthKey(suite, key_id, HMAC_BYTES, lambda _: checks, lambda _: signs)


def _values(value: Callable[[Buffer], bytes], segments: Octets) -> Octets:
    values = b"".join([value(row.data) for row in segments])
    return np.frombuffer(values, np.uint8).reshape(len(segments), -1)


def null_key() -> AuthKey:
    """Ciphersuite 255: it finds damage, and stops nobody."""
    return hmac_key(NULL_KEY, suite=NULL)


def rsa_key(
    public: RSAPublicKey, private: RSAPrivateKey | None = None, key_id: bytes = b""
) -> AuthKey:
    """A key of ciphersuite 1: RSA with PKCS #1 v1.5 padding over SHA-256."""
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    value_bytes = (public.key_size + 7) // 8

    def check(segment: Buffer, value: Buffer) -> bool:
        try:
            public.verify(bytes(value), bytes(segment), scheme, digest)
        except InvalidSignature:
            return False
        return True

    def check_run(segments: Octets, values: Octets) -> bool:
        return all(map(check, map(bytes, segments), map(bytes, values)))

    checks, signer = Checks(check, check_run), None
    if private is not None:
        owner = private

        def sign(segment: Buffer) -> bytes:
            return owner.sign(bytes(segment), scheme, digest)

        def sign_run(rows: Octets) -> None:
            rows[:, -value_bytes:] = _values(sign, rows[:, :-value_bytes])

        def signer(_: bytes) -> Signs:
            return Signs(sign, sign_run)

    return AuthKey(RSA_SHA256, key_id, value_bytes, lambda _: checks, signer)
