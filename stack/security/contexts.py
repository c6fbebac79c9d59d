"""The default security contexts of RFC 9173 as pure functions over blocks.

Nothing here chooses keys or policy, and nothing here is random: the caller gives key and IV.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeGuard

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes, hmac, keywrap
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.asb import (
    CONTEXT_BCB_AES_GCM,
    CONTEXT_BIB_HMAC_SHA2,
    SecurityBlock,
    encode_asb,
)
from stack.wire.bundle import (
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    REPLICATE,
    REPORT_UNPROCESSED,
    CanonicalBlock,
    PrimaryBlock,
    encode_primary,
    is_deterministic,
)

# RFC 9173 §3.3: parameters of BIB-HMAC-SHA2
BIB_SHA_VARIANT = 1
BIB_WRAPPED_KEY = 2
BIB_SCOPE = 3
BIB_RESULT_HMAC = 1

# RFC 9173 §4.3: parameters of BCB-AES-GCM
BCB_IV = 1
BCB_AES_VARIANT = 2
BCB_WRAPPED_KEY = 3
BCB_SCOPE = 4
BCB_RESULT_TAG = 1

# RFC 9173 §3.3.3, §4.3.4: what else is authenticated
SCOPE_PRIMARY = 0x01
SCOPE_TARGET_HEADER = 0x02
SCOPE_SECURITY_HEADER = 0x04
SCOPE_ALL = SCOPE_PRIMARY | SCOPE_TARGET_HEADER | SCOPE_SECURITY_HEADER
SCOPE_MAX = 65_535

HMAC_256 = 5
HMAC_384 = 6
HMAC_512 = 7
A128GCM = 1
A256GCM = 3

PARAMETERS = {
    CONTEXT_BIB_HMAC_SHA2: {BIB_SHA_VARIANT, BIB_WRAPPED_KEY, BIB_SCOPE},
    CONTEXT_BCB_AES_GCM: {
        BCB_IV,
        BCB_AES_VARIANT,
        BCB_WRAPPED_KEY,
        BCB_SCOPE,
    },
}
"""Those of RFC 9173 §3.3 and §4.3.  What we do not understand may change the meaning of the rest,
so a block with other parameters is not used."""

SHA_DEFAULT = HMAC_384
AES_DEFAULT = A256GCM

IV_BYTES = 12
"""RFC 9173 §4.3.1: 8 to 16 octets, 12 recommended; the only length that GCM uses as it is."""

TAG_BYTES = 16
"""RFC 9173 §4.4: the tag is always 128 bits."""

KEY_BYTES = {A128GCM: 16, A256GCM: 32}

_HASHES: dict[int, Callable[[], hashes.HashAlgorithm]] = {
    HMAC_256: hashes.SHA256,
    HMAC_384: hashes.SHA384,
    HMAC_512: hashes.SHA512,
}

KEYED_MAX = 1024
"""Prepared HMACs and ciphers kept; preparing one costs as much as a kilobyte of data."""

FRAMES_MAX = 1024
"""Flows of which the constant parts of BCBs are kept."""

PRIMARIES_MAX = 256
"""Primary blocks kept in deterministic encoding: each operation on a bundle asks for its own."""

_ASSIGNED = REPLICATE | REPORT_UNPROCESSED | DELETE_UNPROCESSED | DISCARD_UNPROCESSED

Target = PrimaryBlock | CanonicalBlock


def hmac_sha2(
    key: bytes,
    variant: int,
    scope: int,
    primary: PrimaryBlock,
    target: Target,
    security: CanonicalBlock,
) -> bytes:
    """The HMAC of one target of a BIB (RFC 9173 §3.7).  Raises `SecurityError`."""
    mac = _keyed(key, variant).copy()
    mac.update(_associated(scope, primary, target, security))
    if isinstance(target, PrimaryBlock):
        # The primary block has no block-type-specific data: it enters as a byte string, as the
        # computation of RFC 9173 §A.3 shows.
        mac.update(cbor.bstr(canonical_primary(target)))
    else:
        mac.update(cbor.head(cbor.BSTR, len(target.data)))
        mac.update(target.data)
    return mac.finalize()


@lru_cache(maxsize=KEYED_MAX)
def _keyed(key: bytes, variant: int) -> hmac.HMAC:
    """An HMAC that has taken in its key alone."""
    algorithm = _HASHES.get(variant)
    if algorithm is None:
        raise SecurityError(f"unknown SHA variant {variant} (RFC 9173 §3.3.1)")
    return hmac.HMAC(key, algorithm())


@lru_cache(maxsize=KEYED_MAX)
def cipher(key: bytes) -> AESGCM:
    """AES-GCM that has taken in its key alone."""
    return AESGCM(key)


def forget_keys() -> None:
    """Let go of all that was prepared of keys."""
    _keyed.cache_clear()
    cipher.cache_clear()


def hmac_matches(expected: bytes, computed: bytes) -> bool:
    """Compare in constant time; a truncated HMAC does not match."""
    return constant_time.bytes_eq(expected, computed)


def encrypt(
    cipher: AESGCM,
    iv: bytes,
    scope: int,
    primary: PrimaryBlock,
    target: CanonicalBlock,
    security: CanonicalBlock,
) -> bytes:
    """The ciphertext of one target of a BCB, its tag at the end (RFC 9173 §4.8.1)."""
    return cipher.encrypt(iv, target.data, _associated(scope, primary, target, security))


def decrypt(
    cipher: AESGCM,
    iv: bytes,
    scope: int,
    primary: PrimaryBlock,
    target: CanonicalBlock,
    security: CanonicalBlock,
    tag: bytes = b"",
) -> bytes:
    """The plaintext of one target (RFC 9173 §4.8.2).  `tag` when it is a result of its own.

    Raises `SecurityError` when it does not authenticate.
    """
    data: Buffer = target.data if not tag else b"".join((target.data, tag))
    if len(data) < TAG_BYTES or not 8 <= len(iv) <= 16:
        raise SecurityError("ciphertext or IV has an impossible length (RFC 9173 §4.3.1, §4.4)")
    try:
        return cipher.decrypt(iv, data, _associated(scope, primary, target, security))
    except InvalidTag:
        raise SecurityError("AES-GCM tag does not match: wrong key or altered octets") from None


def unwrap_key(kek: bytes, wrapped: bytes) -> bytes:
    """A key out of its AES key wrap (RFC 9173 §3.3.2, §4.3.3; RFC 3394).  `SecurityError`."""
    try:
        return keywrap.aes_key_unwrap(kek, wrapped)
    except (keywrap.InvalidUnwrap, ValueError):
        raise SecurityError("the wrapped key does not open with this key") from None


def is_scope(value: object) -> TypeGuard[int]:
    """Whether a parameter can be scope flags (RFC 9173 §3.3.3, §4.3.4)."""
    return isinstance(value, int) and value <= SCOPE_MAX


def binds(scope: int) -> bool:
    """Whether a scope has the primary block, without which targets and security block could be
    those of another bundle, and the target's header, without which what was secured of one block
    could be put in the place of another one (RFC 9173 §3.3.3, §4.3.4)."""
    wanted = SCOPE_PRIMARY | SCOPE_TARGET_HEADER
    return scope & wanted == wanted


def _associated(
    scope: int, primary: PrimaryBlock, target: Target, security: CanonicalBlock
) -> bytes:
    """What RFC 9173 §3.7 and §4.7.2 put before, or beside, the target's data."""
    parts = [cbor.uint(scope & SCOPE_ALL)]  # reserved flags count as 0
    if scope & SCOPE_PRIMARY and target is not primary:
        parts.append(canonical_primary(primary))
    if scope & SCOPE_TARGET_HEADER and isinstance(target, CanonicalBlock):
        parts.append(_header(target))
    if scope & SCOPE_SECURITY_HEADER:
        parts.append(_header(security))
    return b"".join(parts)


def _header(block: CanonicalBlock) -> bytes:
    # Reserved and unassigned flags count as 0: they may change in transit (RFC 9172 §4).
    flags = block.flags & _ASSIGNED
    if block.type < 24 and block.number < 24:
        return bytes((block.type, block.number, flags))
    return cbor.uint(block.type) + cbor.uint(block.number) + cbor.uint(flags)


def canonical_primary(primary: PrimaryBlock) -> bytes:
    """The primary block in deterministic encoding (RFC 9172 §4)."""
    encoded = primary.encoded
    if encoded is None:
        eids = (primary.destination, primary.source, primary.report_to)
        return _encoded(primary, tuple(eid.encoded for eid in eids))
    return encoded if primary.plain else _deterministic(encoded)


@lru_cache(maxsize=PRIMARIES_MAX)
def _encoded(primary: PrimaryBlock, eids: tuple[bytes | None, ...]) -> bytes:
    """`eids` is what is not seen where blocks are compared: in which octets EIDs came that are the
    same."""
    return encode_primary(primary)


@lru_cache(maxsize=PRIMARIES_MAX)
def _deterministic(primary: bytes) -> bytes:
    return primary if is_deterministic(primary) else cbor.deterministic(primary, strict=False)


@lru_cache(maxsize=FRAMES_MAX)
def bcb_frame(source: Eid, key_bytes: int, scope: int, target: int) -> tuple[bytes, bytes]:
    """What the BCB-AES-GCMs of a flow have in common as `stack.security.source` makes them: the
    octets before the IV, and those from there to the tag, with which they end.  The source is in
    our encoding, in whichever it came: EIDs that are the same are so here.  Raises `LocalError` for
    an EID that cannot be written."""
    variant = A128GCM if key_bytes == KEY_BYTES[A128GCM] else A256GCM
    iv, tag = b"\xff" * IV_BYTES, bytes(TAG_BYTES)
    asb = SecurityBlock(
        (target,),
        CONTEXT_BCB_AES_GCM,
        Eid(source.scheme, source.ssp),
        ((BCB_IV, iv), (BCB_AES_VARIANT, variant), (BCB_SCOPE, scope)),
        (((BCB_RESULT_TAG, tag),),),
    )
    before, _, rest = encode_asb(asb).rpartition(iv)  # no number in an EID is so long
    return before, rest[: -len(tag)]
