"""COSE_Encrypt, COSE_Mac and COSE_Sign: messages of two layers, for several recipients or by
several signers (RFC 9052 §5.1, §6.1, §4.1).

The content's key reaches each recipient in its way (`recipients.py`).  Public keys say nothing
about who encrypts for them: sign what matters.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose.keys import SigningKey, VerifyingKey
from stack.cose.messages import (
    IV_BYTES,
    KEY_BYTES,
    MAC_BYTES,
    HeaderPair,
    Headers,
    attached,
    decode_message,
    encode_message,
    mac_of,
    make_headers,
    open_content,
    read_headers,
    seal_content,
    signed_by,
    structure,
)
from stack.cose.numbers import Algorithm, HeaderLabel
from stack.cose.recipients import (
    DIRECT,
    RECIPIENTS_MAX,
    Content,
    OpeningKey,
    Recipient,
    SealingKey,
    content_keys,
    read_recipients,
)
from stack.cose.values import Value

TAG_ENCRYPT = 96
TAG_MAC = 97
TAG_SIGN = 98

SIGNERS_MAX = 16
"""Signatures of one message."""

_NONE: Headers = {}


@dataclass(frozen=True, slots=True)
class Encrypt:
    """A COSE_Encrypt, not opened yet."""

    headers: HeaderPair
    ciphertext: bytes | None
    """None: detached."""

    recipients: tuple[Recipient, ...]

    def open(
        self,
        key: OpeningKey,
        *,
        external_aad: Buffer = b"",
        extra_info: bytes = b"",
        other: bytes | None = None,
        ciphertext: bytes | None = None,
        additional: Headers = _NONE,
    ) -> bytes:
        """The content, or what `ciphertext` has, which was detached.  `extra_info` and `other`: see
        `Content`; `additional`: headers of recipients that have not their own.  Raises
        `SecurityError` when it is not for `key`, not there, or changed."""
        self.headers.check()
        content = attached(self.ciphertext, ciphertext)
        alg = self.headers.alg
        size = KEY_BYTES.get(alg) if isinstance(alg, int) else None
        if size is None:
            raise SecurityError(f"content with {self.headers.algorithm}, which is not known here")
        wanted = Content(alg, size, extra_info, other)
        for secret in content_keys(self.recipients, key, wanted, additional):
            try:
                return open_content("Encrypt", self.headers, secret, external_aad, content)
            except SecurityError:
                continue
        raise SecurityError("the content does not open with the key that is sent along")


@dataclass(frozen=True, slots=True)
class Mac:
    """A COSE_Mac, not verified yet."""

    headers: HeaderPair
    payload: bytes | None
    tag: bytes
    recipients: tuple[Recipient, ...]

    def verify(
        self,
        key: OpeningKey,
        *,
        external_aad: Buffer = b"",
        other: bytes | None = None,
        payload: bytes | None = None,
        additional: Headers = _NONE,
    ) -> bytes:
        """The payload, authenticated under a key that `key` has of a recipient.  Raises
        `SecurityError` otherwise."""
        self.headers.check()
        content = attached(self.payload, payload)
        wanted = Content(self.headers.alg, _mac_size(self.headers), other=other)
        for secret in content_keys(self.recipients, key, wanted, additional):
            made = mac_of("MAC", secret, self.headers, external_aad, content)
            if hmac.compare_digest(made, self.tag):
                return content
        raise SecurityError("the tag of a COSE_Mac does not verify")


@dataclass(frozen=True, slots=True)
class CoseSignature:
    """A COSE_Signature: that of one signer."""

    headers: HeaderPair
    signature: bytes


@dataclass(frozen=True, slots=True)
class Sign:
    """A COSE_Sign, not verified yet."""

    headers: HeaderPair
    payload: bytes | None
    signatures: tuple[CoseSignature, ...]

    def verify(
        self,
        index: int,
        key: VerifyingKey,
        *,
        external_aad: Buffer = b"",
        payload: bytes | None = None,
    ) -> bytes:
        """The payload, of which the signature of this index is by the owner of `key`.  Raises
        `SecurityError` otherwise."""
        one = self.signatures[index]
        self.headers.check()
        one.headers.check()
        if one.headers.alg not in key.algs:
            raise SecurityError(f"{one.headers.algorithm}, and the key is of {key.alg.name}")
        content = attached(self.payload, payload)
        data = _signed(self.headers, one.headers, external_aad, content)
        key.verify(one.signature, data, one.headers.alg)
        return content


def _signed(body: HeaderPair, signer: HeaderPair, external_aad: Buffer, content: bytes) -> bytes:
    """Sig_structure of one signer of several (RFC 9052 §4.4)."""
    return structure("Signature", body, signer.encoded, bytes(external_aad), content)


def _mac_size(headers: HeaderPair) -> int:
    """Octets of the key of a MAC: those of its hash (RFC 9053 §3.1)."""
    alg = headers.alg
    if not isinstance(alg, int) or alg not in MAC_BYTES:
        raise SecurityError(f"a COSE_Mac with {headers.algorithm}: no HMAC")
    return MAC_BYTES[alg]


def _for_each(
    recipients: Sequence[SealingKey], content: Content, secret: bytes
) -> tuple[Value, bytes]:
    """The recipients, and the content's key.  Raises `LocalError` for none, too many, or several of
    which one makes the key itself."""
    if not 0 < len(recipients) <= RECIPIENTS_MAX:
        raise LocalError(f"{len(recipients)} recipients: 1 to {RECIPIENTS_MAX} fit in a message")
    if len(recipients) > 1 and any(one.alg in DIRECT for one in recipients):
        raise LocalError("a key that is none of its own has one recipient (RFC 9052 §8.5)")
    made = [one.recipient(content, secret) for one in recipients]
    return [recipient for recipient, _ in made], made[0][1]


def seal_to(
    plain: Buffer,
    recipients: Sequence[SealingKey],
    secret: bytes,
    iv: bytes,
    *,
    external_aad: Buffer = b"",
    extra_info: bytes = b"",
    other: bytes | None = None,
    tagged: bool = False,
) -> tuple[bytes, bytes]:
    """A COSE_Encrypt with AES-GCM of 256 bits whose content travels elsewhere, and that content.
    `secret`: a fresh key of 32 octets, of which nothing comes where the only recipient makes the
    key itself.  Raises `LocalError` and `SecurityError` as `encrypt_for`."""
    alg = Algorithm.A256GCM
    content = Content(alg, KEY_BYTES[alg], extra_info, other)
    headers, sealed, made = _seal(plain, recipients, secret, iv, external_aad, content)
    return encode_message(TAG_ENCRYPT if tagged else None, headers, None, made), sealed


def _seal(
    plain: Buffer,
    recipients: Sequence[SealingKey],
    secret: bytes,
    iv: bytes,
    external_aad: Buffer,
    content: Content,
) -> tuple[HeaderPair, bytes, Value]:
    made, key = _for_each(recipients, content, secret)
    headers = make_headers({HeaderLabel.ALG: content.alg}, {HeaderLabel.IV: iv})
    return headers, seal_content("Encrypt", headers, key, external_aad, plain), made


def encrypt_for(
    plain: bytes,
    recipients: Sequence[SealingKey],
    entropy: Entropy,
    *,
    external_aad: Buffer = b"",
    extra_info: bytes = b"",
) -> bytes:
    """A COSE_Encrypt that each of `recipients` opens.  `external_aad` and `extra_info` (of the key
    schedule) do not travel: who opens has to know them.  Raises `LocalError` for no recipient or
    too many, and `SecurityError` for a key that is no key."""
    content = Content(Algorithm.A256GCM, KEY_BYTES[Algorithm.A256GCM], extra_info)
    secret, iv = entropy(content.size), entropy(IV_BYTES)
    headers, sealed, made = _seal(plain, recipients, secret, iv, external_aad, content)
    return encode_message(TAG_ENCRYPT, headers, sealed, made)


def seal_for(
    plain: Buffer,
    recipient: SealingKey,
    entropy: Entropy,
    *,
    external_aad: Buffer = b"",
    other: bytes | None = None,
) -> tuple[bytes, bytes]:
    """A COSE_Encrypt for one whose content travels elsewhere, without its tag, and that content.
    Raises as `encrypt_for`."""
    secret, iv = entropy(KEY_BYTES[Algorithm.A256GCM]), entropy(IV_BYTES)
    return seal_to(plain, [recipient], secret, iv, external_aad=external_aad, other=other)


def mac_for(
    payload: bytes,
    recipients: Sequence[SealingKey],
    secret: bytes,
    alg: Algorithm = Algorithm.HMAC_384_384,
    *,
    external_aad: Buffer = b"",
    other: bytes | None = None,
    detached: bool = False,
    tagged: bool = True,
) -> bytes:
    """A COSE_Mac (RFC 9052 §6.1) with HMAC.  `secret`: a fresh key of as many octets as the hash
    has, as in `seal_to`.  Raises as `encrypt_for`, and `SecurityError` for another algorithm."""
    headers = make_headers({HeaderLabel.ALG: alg}, {})
    made, key = _for_each(recipients, Content(alg, _mac_size(headers), other=other), secret)
    tag = mac_of("MAC", key, headers, external_aad, payload)
    content = None if detached else payload
    return encode_message(TAG_MAC if tagged else None, headers, content, tag, made)


def sign_by(
    payload: bytes,
    keys: Sequence[SigningKey],
    *,
    external_aad: Buffer = b"",
    detached: bool = False,
    tagged: bool = True,
) -> bytes:
    """A COSE_Sign (RFC 9052 §4.1).  Raises `LocalError` for no signer or too many."""
    if not 0 < len(keys) <= SIGNERS_MAX:
        raise LocalError(f"{len(keys)} signers: 1 to {SIGNERS_MAX} fit in a message")
    body = make_headers({}, {})
    made: list[Value] = []
    for key in keys:
        headers = signed_by(key, {}, {})
        signature = key.sign(_signed(body, headers, external_aad, payload))
        made.append([headers.encoded, headers.unprotected, signature])
    content = None if detached else payload
    return encode_message(TAG_SIGN if tagged else None, body, content, made)


def decode_encrypt(data: Buffer) -> Encrypt:
    """A COSE_Encrypt, tagged or not, of one layer of recipients.  Raises `DecodeError`."""
    section = "RFC 9052 §5.1"
    headers, (content, found) = decode_message(data, TAG_ENCRYPT, 4, section)
    if not isinstance(content, bytes | None):
        raise DecodeError("content that is no byte string", section)
    return Encrypt(headers, content, read_recipients(found))


def decode_mac(data: Buffer) -> Mac:
    """A COSE_Mac, tagged or not, of one layer of recipients.  Raises `DecodeError`."""
    section = "RFC 9052 §6.1"
    headers, (content, tag, found) = decode_message(data, TAG_MAC, 5, section)
    if not isinstance(content, bytes | None) or not isinstance(tag, bytes):
        raise DecodeError("content or tag that is no byte string", section)
    return Mac(headers, content, tag, read_recipients(found))


def decode_sign(data: Buffer) -> Sign:
    """A COSE_Sign, tagged or not.  Raises `DecodeError`."""
    section = "RFC 9052 §4.1"
    headers, (content, found) = decode_message(data, TAG_SIGN, 4, section)
    if not isinstance(content, bytes | None):
        raise DecodeError("content that is no byte string", section)
    if not isinstance(found, list) or not 0 < len(found) <= SIGNERS_MAX:
        raise DecodeError(f"signatures that are no array of 1 to {SIGNERS_MAX}", section)
    return Sign(headers, content, tuple(_signature(one, section) for one in found))


def _signature(found: Value, section: str) -> CoseSignature:
    if not isinstance(found, list) or len(found) != 3 or not isinstance(found[2], bytes):
        raise DecodeError("a signature that is no array of 3 with octets", section)
    return CoseSignature(read_headers(found[0], found[1], section), found[2])
