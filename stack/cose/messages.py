"""COSE_Sign1, COSE_Mac0 and COSE_Encrypt0 (RFC 9052 §4 to §6).

Each has two headers: the protected one is part of what is signed, and has the algorithm; the
other is not.  With `detached` content travels elsewhere, and `payload` brings it back.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha384, sha512
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.train import Buffer
from stack.cose import values
from stack.cose.keys import SigningKey, VerifyingKey
from stack.cose.numbers import Algorithm, HeaderLabel
from stack.cose.values import Label, Value
from stack.wire import cbor

Headers: TypeAlias = Mapping[Label, Value]

TAG_ENCRYPT0 = 16
TAG_MAC0 = 17
TAG_SIGN1 = 18

IV_BYTES = 12
"""Octets of the IV of AES-GCM and ChaCha20/Poly1305 (RFC 9053 §4.1, §4.3)."""

UNDERSTOOD = frozenset(
    {HeaderLabel.ALG, HeaderLabel.CRIT, HeaderLabel.CONTENT_TYPE, HeaderLabel.KID, HeaderLabel.IV}
)
"""What a `crit` header may name (RFC 9052 §3.1)."""

_HASHES: dict[int, tuple[Any, int]] = {
    Algorithm.HMAC_256_64: (sha256, 8),
    Algorithm.HMAC_256_256: (sha256, 32),
    Algorithm.HMAC_384_384: (sha384, 48),
    Algorithm.HMAC_512_512: (sha512, 64),
}
"""Hash and octets of the tag (RFC 9053 §3.1)."""

MAC_BYTES: dict[int, int] = {alg: int(digest().digest_size) for alg, (digest, _) in _HASHES.items()}
"""Octets of the key of each HMAC, where it is derived or wrapped (RFC 9053 §3.1)."""

KEY_BYTES: dict[int, int] = {
    Algorithm.A128GCM: 16,
    Algorithm.A192GCM: 24,
    Algorithm.A256GCM: 32,
    Algorithm.CHACHA20_POLY1305: 32,
}
"""Octets of the key of each cipher."""


@dataclass(frozen=True, slots=True)
class HeaderPair:
    """The two headers of a message or recipient, decoded; `encoded` is the protected one as it
    came, empty when it says nothing."""

    protected: Headers
    unprotected: Headers
    encoded: bytes

    @property
    def alg(self) -> Value:
        """The algorithm, which has to be in the protected header."""
        return self.protected.get(HeaderLabel.ALG)

    @property
    def algorithm(self) -> str:
        """The algorithm in words."""
        alg = self.alg
        if not isinstance(alg, int | str):
            return "no algorithm in the protected header"
        return f"algorithm {alg!r}"

    @property
    def kid(self) -> bytes:
        """The key id of either header; empty without one."""
        found = self.get(HeaderLabel.KID)
        return found if isinstance(found, bytes) else b""

    def get(self, label: Label) -> Value:
        """A parameter of either header."""
        return self.protected.get(label, self.unprotected.get(label))

    def extended(self, more: Headers) -> HeaderPair:
        """With additional headers that are not protected, where it has not its own."""
        own = {**self.unprotected, **self.protected}
        added = {label: value for label, value in more.items() if label not in own}
        if not added:
            return self
        return HeaderPair(self.protected, {**self.unprotected, **added}, self.encoded)

    def check(self) -> None:
        """Raises `SecurityError` where a parameter that is critical is not understood."""
        critical = self.protected.get(HeaderLabel.CRIT, ())
        assert isinstance(critical, Sequence)
        if not UNDERSTOOD.issuperset(critical):
            raise SecurityError("a critical header parameter is not understood (RFC 9052 §3.1)")


def make_headers(protected: Headers, unprotected: Headers) -> HeaderPair:
    """The headers of a message that is made here.  Raises `LocalError` for a label in both."""
    if set(protected) & set(unprotected):
        raise LocalError("a header parameter is protected and unprotected (RFC 9052 §3)")
    return HeaderPair(protected, unprotected, values.encode(protected) if protected else b"")


def read_headers(encoded: Value, unprotected: Value, section: str) -> HeaderPair:
    """The headers of a message that was decoded.  Raises `DecodeError`."""
    if not isinstance(encoded, bytes) or not isinstance(unprotected, Mapping):
        raise DecodeError("headers that are no byte string and map", section)
    protected = values.decode(encoded, section) if encoded else {}
    if not isinstance(protected, Mapping):
        raise DecodeError("a protected header that is no map", section)
    if protected.keys() & unprotected.keys():
        raise DecodeError("a header parameter that is protected and unprotected", "RFC 9052 §3")
    if HeaderLabel.CRIT in unprotected:
        raise DecodeError("crit outside the protected header", "RFC 9052 §3.1")
    found = {**protected, **unprotected}
    critical = found.get(HeaderLabel.CRIT, [HeaderLabel.CRIT])
    if not (isinstance(critical, list) and critical and all(map(values.is_label, critical))):
        raise DecodeError("crit that is no array of labels", "RFC 9052 §3.1")
    if not values.is_label(found.get(HeaderLabel.ALG, 0)):
        raise DecodeError("an algorithm that is neither integer nor text", "RFC 9052 §3.1")
    if HeaderLabel.IV in found and HeaderLabel.PARTIAL_IV in found:
        raise DecodeError("IV and Partial IV", "RFC 9052 §3.1")
    return HeaderPair(protected, unprotected, encoded if protected else b"")


def encode_message(tag: int | None, headers: HeaderPair, *rest: Value) -> bytes:
    """A message: its headers and what else it has, with or without its tag."""
    body = values.encode([headers.encoded, headers.unprotected, *rest])
    return body if tag is None else cbor.head(cbor.TAG, tag) + body


def decode_message(
    data: Buffer, tag: int, count: int, section: str
) -> tuple[HeaderPair, list[Value]]:
    """Headers and the rest of a message of so many parts, with this tag or none.  Raises
    `DecodeError`."""
    major, value, start = cbor.read_head(data, 0)
    if major == cbor.TAG:
        if value != tag:
            raise DecodeError(f"CBOR tag {value} in place of {tag}", section, 0)
        data = memoryview(data)[start:]
    found = values.decode(data, section)
    if not isinstance(found, list) or len(found) != count:
        raise DecodeError(f"a message that is no array of {count}", section)
    return read_headers(found[0], found[1], section), found[2:]


def _read(data: Buffer, tag: int, count: int, section: str) -> tuple[Any, ...]:
    """The headers of a message, and its parts, which are byte strings; the first may be null
    (detached)."""
    headers, parts = decode_message(data, tag, count, section)
    content, *rest = parts
    if not all(isinstance(part, bytes) for part in (rest if content is None else parts)):
        raise DecodeError("content, signature or tag that is no byte string", section)
    return headers, *parts


def structure(
    context: str, headers: HeaderPair, external_aad: Buffer, *more: bytes | None
) -> bytes:
    """Sig_structure, MAC_structure or Enc_structure (RFC 9052 §4.4, §6.3, §5.3)."""
    parts: list[Value] = [context, headers.encoded, bytes(external_aad)]
    return values.encode([*parts, *more])


def attached(own: bytes | None, payload: bytes | None) -> bytes:
    """The content of a message, its own or the one that was detached.  Raises `SecurityError` for
    none, and for both."""
    if own is None and payload is None:
        raise SecurityError("the content of this message is detached, and was not given")
    if own is not None and payload is not None:
        raise SecurityError("this message has content of its own beside the one given")
    return own if own is not None else payload or b""


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1, not verified yet."""

    headers: HeaderPair
    payload: bytes | None
    signature: bytes

    def verify(
        self, key: VerifyingKey, *, external_aad: Buffer = b"", payload: bytes | None = None
    ) -> bytes:
        """The payload, signed by the owner of `key`.  Raises `SecurityError` otherwise."""
        self.headers.check()
        if self.headers.alg not in key.algs:
            raise SecurityError(f"{self.headers.algorithm}, and the key is of {key.alg.name}")
        content = attached(self.payload, payload)
        data = structure("Signature1", self.headers, external_aad, content)
        key.verify(self.signature, data, self.headers.alg)
        return content


def sign1(
    payload: bytes,
    key: SigningKey,
    *,
    protected: Headers | None = None,
    unprotected: Headers | None = None,
    external_aad: Buffer = b"",
    detached: bool = False,
    tagged: bool = True,
) -> bytes:
    """A COSE_Sign1 (RFC 9052 §4.2).  `alg` is added to the protected header, and `kid` to the
    other unless a header has one."""
    headers = signed_by(key, protected or {}, unprotected or {})
    signature = key.sign(structure("Signature1", headers, external_aad, payload))
    return encode_message(
        TAG_SIGN1 if tagged else None, headers, None if detached else payload, signature
    )


def signed_by(key: SigningKey, protected: Headers, unprotected: Headers) -> HeaderPair:
    """The headers of a signature."""
    protected = {HeaderLabel.ALG: key.alg, **protected}
    if HeaderLabel.KID not in protected:
        unprotected = {HeaderLabel.KID: key.key_id, **unprotected}
    return make_headers(protected, unprotected)


def decode_sign1(data: Buffer) -> Sign1:
    """A COSE_Sign1, tagged or not.  Raises `DecodeError`."""
    return Sign1(*_read(data, TAG_SIGN1, 4, "RFC 9052 §4.2"))


@dataclass(frozen=True, slots=True)
class Mac0:
    """A COSE_Mac0, not verified yet."""

    headers: HeaderPair
    payload: bytes | None
    tag: bytes

    def verify(
        self, secret: bytes, *, external_aad: Buffer = b"", payload: bytes | None = None
    ) -> bytes:
        """The payload, authenticated under `secret`.  Raises `SecurityError` otherwise."""
        self.headers.check()
        content = attached(self.payload, payload)
        wanted = mac_of("MAC0", secret, self.headers, external_aad, content)
        if not hmac.compare_digest(wanted, self.tag):
            raise SecurityError("the tag of a COSE_Mac0 does not verify")
        return content


def mac0(
    payload: bytes,
    secret: bytes,
    alg: Algorithm = Algorithm.HMAC_256_256,
    *,
    protected: Headers | None = None,
    unprotected: Headers | None = None,
    external_aad: Buffer = b"",
    detached: bool = False,
    tagged: bool = True,
) -> bytes:
    """A COSE_Mac0 (RFC 9052 §6.2) with HMAC.  Raises `SecurityError` for another algorithm."""
    headers = make_headers({HeaderLabel.ALG: alg, **(protected or {})}, unprotected or {})
    tag = mac_of("MAC0", secret, headers, external_aad, payload)
    return encode_message(TAG_MAC0 if tagged else None, headers, None if detached else payload, tag)


def mac_of(
    context: str, secret: bytes, headers: HeaderPair, external_aad: Buffer, content: bytes
) -> bytes:
    """The tag of a MAC (RFC 9052 §6.3).  Raises `SecurityError` where headers name no HMAC."""
    alg = headers.alg
    if not isinstance(alg, int) or alg not in _HASHES:
        raise SecurityError(f"{headers.algorithm}: no HMAC")
    digest, size = _HASHES[alg]
    data = structure(context, headers, external_aad, content)
    return hmac.digest(secret, data, digest)[:size]


def decode_mac0(data: Buffer) -> Mac0:
    """A COSE_Mac0, tagged or not.  Raises `DecodeError`."""
    return Mac0(*_read(data, TAG_MAC0, 4, "RFC 9052 §6.2"))


@dataclass(frozen=True, slots=True)
class Encrypt0:
    """A COSE_Encrypt0, not opened yet."""

    headers: HeaderPair
    ciphertext: bytes | None

    def open(
        self,
        secret: bytes,
        *,
        external_aad: Buffer = b"",
        ciphertext: bytes | None = None,
        base_iv: bytes = b"",
    ) -> bytes:
        """What was encrypted under `secret`.  `base_iv`: the key's, for a message that has the
        rest of its IV only (RFC 9052 §3.1).  Raises `SecurityError`."""
        self.headers.check()
        content = attached(self.ciphertext, ciphertext)
        return open_content("Encrypt0", self.headers, secret, external_aad, content, base_iv)


def encrypt0(
    plain: bytes,
    secret: bytes,
    iv: bytes,
    alg: Algorithm = Algorithm.A256GCM,
    *,
    protected: Headers | None = None,
    unprotected: Headers | None = None,
    external_aad: Buffer = b"",
    tagged: bool = True,
) -> bytes:
    """A COSE_Encrypt0 (RFC 9052 §5.2).  `iv`: 12 octets, never twice under one key."""
    headers = make_headers(
        {HeaderLabel.ALG: alg, **(protected or {})}, {HeaderLabel.IV: iv, **(unprotected or {})}
    )
    sealed = seal_content("Encrypt0", headers, secret, external_aad, plain)
    return encode_message(TAG_ENCRYPT0 if tagged else None, headers, sealed)


def seal0(
    plain: Buffer, secret: bytes, iv: bytes, *, external_aad: Buffer = b""
) -> tuple[bytes, bytes]:
    """A COSE_Encrypt0 whose content travels elsewhere, without its tag, and that content, under
    AES-GCM with 256 or 128 bits.  `iv`: 12 octets, never twice under one key."""
    alg = Algorithm.A256GCM if len(secret) == KEY_BYTES[Algorithm.A256GCM] else Algorithm.A128GCM
    headers = make_headers({HeaderLabel.ALG: alg}, {HeaderLabel.IV: iv})
    sealed = seal_content("Encrypt0", headers, secret, external_aad, plain)
    return encode_message(None, headers, None), sealed


def decode_encrypt0(data: Buffer) -> Encrypt0:
    """A COSE_Encrypt0, tagged or not.  Raises `DecodeError`."""
    return Encrypt0(*_read(data, TAG_ENCRYPT0, 3, "RFC 9052 §5.2"))


def _cipher(
    headers: HeaderPair, secret: bytes, base_iv: bytes
) -> tuple[AESGCM | ChaCha20Poly1305, bytes]:
    """The cipher that headers name, and their IV."""
    alg, iv = headers.alg, headers.get(HeaderLabel.IV)
    partial = headers.get(HeaderLabel.PARTIAL_IV)
    if isinstance(partial, bytes) and len(partial) <= len(base_iv):
        padded = partial.rjust(len(base_iv), b"\0")
        iv = bytes(one ^ other for one, other in zip(base_iv, padded, strict=True))
    if not isinstance(alg, int) or len(secret) != KEY_BYTES.get(alg):
        raise SecurityError(f"content with {headers.algorithm}, which the key does not fit")
    if not isinstance(iv, bytes) or len(iv) != IV_BYTES:
        raise SecurityError(f"content encrypted with an IV that has not {IV_BYTES} octets")
    chacha = alg == Algorithm.CHACHA20_POLY1305
    return (ChaCha20Poly1305(secret) if chacha else AESGCM(secret)), iv


def seal_content(
    context: str,
    headers: HeaderPair,
    secret: bytes,
    external_aad: Buffer,
    plain: Buffer,
    base_iv: bytes = b"",
) -> bytes:
    """The content of a message, encrypted as its headers say (RFC 9052 §5.3).  Raises
    `SecurityError` for an algorithm, key or IV that does not fit."""
    cipher, iv = _cipher(headers, secret, base_iv)
    return cipher.encrypt(iv, bytes(plain), structure(context, headers, external_aad))


def open_content(
    context: str,
    headers: HeaderPair,
    secret: bytes,
    external_aad: Buffer,
    sealed: Buffer,
    base_iv: bytes = b"",
) -> bytes:
    """What `seal_content` has sealed.  Raises `SecurityError`."""
    cipher, iv = _cipher(headers, secret, base_iv)
    try:
        return cipher.decrypt(iv, bytes(sealed), structure(context, headers, external_aad))
    except InvalidTag:
        raise SecurityError("the content does not open with this key") from None
