"""Valid BPSec (RFC 9172) with the default contexts of RFC 9173: security blocks, secured bundles.

Everything opens with `KEYS`: an implementation to be tested is given them beforehand.  What breaks
a rule is in `interop.strategies.nearly_bpsec`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import keywrap

from interop.strategies.bundle import bundles, eids
from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from stack.core.value import quick
from stack.security import Key, contexts
from stack.wire.asb import (
    CONTEXT_BCB_AES_GCM,
    CONTEXT_BIB_HMAC_SHA2,
    Pair,
    SecurityBlock,
    encode_asb,
)
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    DELETE_UNPROCESSED,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    as_encoded,
    encode_bundle,
)

HMAC_KEY: Final = bytes(range(48))
AES_128_KEY: Final = bytes(range(16))
AES_256_KEY: Final = bytes(range(100, 132))
KEY_ENCRYPTION_KEY: Final = bytes(range(200, 232))

KEYS: Final = (
    Key("hmac", "hmac", HMAC_KEY),
    Key("aes-128", "aes", AES_128_KEY),
    Key("aes-256", "aes", AES_256_KEY),
    Key("kek", "kek", KEY_ENCRYPTION_KEY),
)
"""With which all secured bundles open, whoever sends them."""

_HASH_BYTES = {contexts.HMAC_256: 32, contexts.HMAC_384: 48, contexts.HMAC_512: 64}
_AES = {contexts.A128GCM: AES_128_KEY, contexts.A256GCM: AES_256_KEY}
_WRAPPED = 64
"""Keys of each length that travel wrapped."""

_PAYLOAD = 1


@quick
@dataclass(frozen=True, slots=True)
class Secured:
    """A bundle with security blocks, and what comes out when it is opened with `KEYS`."""

    bundle: Bundle
    plain: Bundle

    @property
    def encoded(self) -> bytes:
        """The octets that travel."""
        return encode_bundle(self.bundle)


# ---- abstract security blocks


@strategy
def security_blocks(choose: Choices) -> SecurityBlock:
    """The abstract security block of a BIB or a BCB (RFC 9172 §3.6), its values of no meaning."""
    targets = tuple(dict.fromkeys(choose.uint(8) for _ in choose.many(1, 5)))
    parameters: list[Pair]
    if choose.flip():
        context = CONTEXT_BIB_HMAC_SHA2
        size = choose.pick(tuple(_HASH_BYTES.values()))
        parameters = [(contexts.BIB_SHA_VARIANT, choose.integer(5, 7))]
    else:
        context, size = CONTEXT_BCB_AES_GCM, contexts.TAG_BYTES
        parameters = [(contexts.BCB_IV, choose.octets(8, 16))]
    scope = contexts.BIB_SCOPE if context == CONTEXT_BIB_HMAC_SHA2 else contexts.BCB_SCOPE
    parameters.append((scope, choose.integer(0, 7)))
    kept = tuple(pair for pair in parameters if choose.flip())
    results = tuple(((1, choose.octets(size, size)),) for _ in targets)
    return SecurityBlock(targets, context, eids.make(choose), kept, results)


@strategy
def encoded_security_blocks(choose: Choices) -> bytes:
    """The octets of such blocks: the data of a BIB or BCB."""
    return encode_asb(security_blocks.make(choose))


# ---- secured bundles


@strategy
def secured_bundles(
    choose: Choices,
    *,
    payload: Source[bytes] | None = None,
    signed: bool = True,
    sealed: bool = True,
    plain: Source[Bundle] | None = None,
) -> Secured:
    """A bundle some of whose blocks are signed and some encrypted, among them the payload unless
    `signed` or `sealed` are false: then none is.

    All variants of RFC 9173: hashes, key lengths, scopes, keys as agreed or wrapped, parameters
    left out where they have their defaults, tags as results or at the end of the ciphertext.
    `plain` is what is to be secured, if not any bundle with `payload`.
    """
    bare = None
    if plain:
        bundle = choose.draw(plain)
    elif payload:
        bundle = bundles.make(choose, payload, kind="whole")
    else:
        bundle, bare = choose.prepared(_with_bare)
    numbers = [0, *(block.number for block in bundle.blocks[:-1])]
    sign = {number for number in numbers if choose.flip()} | {_PAYLOAD} if signed else set()
    seal = {number for number in numbers[1:] if choose.flip()} | {_PAYLOAD} if sealed else set()
    work = Securing(bundle, choose, bare)
    # RFC 9173 §3.8.1, §4.8.1: what is signed or encrypted loses its CRC first.
    work.without_crc(sign | seal)
    bundle = work.bundle()
    # RFC 9172 §3.9: who encrypts a signed block encrypts the BIB too, and so that alone.
    if sign - seal:
        work.sign(sorted(sign - seal))
    # Who insists on both takes no payload that could be of another bundle (RFC 9173 §3.3.3).
    bib = work.sign(sorted(sign & seal), bound=True) if sign & seal else 0
    for number in sorted(seal | {bib} - {0}):
        work.seal(number)
    return Secured(work.bundle(), bundle)


def _with_bare(choose: Choices) -> tuple[Bundle, PrimaryBlock]:
    """A bundle, and its primary block without a CRC, both with their octets: nearly all operations
    on it ask for them."""
    bundle = bundles.make(choose, kind="whole")
    primary = as_encoded(bundle.primary)
    return Bundle(primary, bundle.blocks), as_encoded(_bare(primary))


def _bare(primary: PrimaryBlock) -> PrimaryBlock:
    return dataclasses.replace(primary, crc_type=CRC_NONE, encoded=None)


@strategy
def encoded_secured_bundles(
    choose: Choices,
    *,
    payload: Source[bytes] | None = None,
    signed: bool = True,
    sealed: bool = True,
) -> bytes:
    """The octets of such bundles."""
    return secured_bundles.make(choose, payload=payload, signed=signed, sealed=sealed).encoded


@functools.cache
def _wrapped(size: int, number: int) -> tuple[bytes, bytes]:
    """A key, and how it travels: prepared, as to do so costs more than to sign."""
    key = hashlib.shake_128(bytes((size, number))).digest(size)
    return key, keywrap.aes_key_wrap(KEY_ENCRYPTION_KEY, key)


@functools.lru_cache(maxsize=256)
def _header(kind: int, number: int, flags: int) -> CanonicalBlock:
    """A security block before it has its data: there are few."""
    return CanonicalBlock(kind, number, flags, b"")


class Securing:
    """A bundle to which security operations are added, one after the other.  `bare` is its primary
    block without a CRC, if that is known."""

    def __init__(self, bundle: Bundle, choose: Choices, bare: PrimaryBlock | None = None) -> None:
        self.primary = bundle.primary
        self._bare = bare
        self.blocks = {block.number: block for block in bundle.blocks}
        self._choose = choose

    def bundle(self) -> Bundle:
        """As it is now: the payload block is the last."""
        blocks = [block for number, block in self.blocks.items() if number != _PAYLOAD]
        return Bundle(self.primary, (*blocks, self.blocks[_PAYLOAD]))

    def without_crc(self, numbers: set[int]) -> None:
        """Take the CRCs of blocks off."""
        for number in numbers - {0}:
            block = self.blocks[number]
            if block.crc_type:
                self.blocks[number] = CanonicalBlock(
                    block.type, number, block.flags, block.data, CRC_NONE
                )
        if 0 in numbers:
            self.primary = self._bare or _bare(self.primary)

    def sign(self, targets: list[int], *, number: int | None = None, bound: bool = False) -> int:
        """Add a BIB over blocks that are there (RFC 9173 §3): its number.  `bound`: its scope has
        the primary block and the header of the target."""
        choose = self._choose
        variant, scope = choose.integer(5, 7), 7 - choose.integer(0, 7)
        if bound:
            scope |= contexts.SCOPE_PRIMARY | contexts.SCOPE_TARGET_HEADER
        key, wrapped = self._key(HMAC_KEY)
        number = number or self._free()
        flags = choose.pick((0, REPLICATE, DELETE_UNPROCESSED))
        header = _header(BLOCK_INTEGRITY, number, flags)
        results = [
            contexts.hmac_sha2(key, variant, scope, self.primary, self._block(target), header)
            for target in targets
        ]
        parameters: list[Pair] = []
        if self._is_told(variant, contexts.SHA_DEFAULT):
            parameters.append((contexts.BIB_SHA_VARIANT, variant))
        if wrapped:
            parameters.append((contexts.BIB_WRAPPED_KEY, wrapped))
        if self._is_told(scope, contexts.SCOPE_ALL):
            parameters.append((contexts.BIB_SCOPE, scope))
        pairs = tuple(((contexts.BIB_RESULT_HMAC, result),) for result in results)
        self._put(header, self._asb(targets, CONTEXT_BIB_HMAC_SHA2, parameters, pairs))
        return number

    def seal(self, target: int, *, flags: int | None = None) -> int:
        """Encrypt a block that is there, and add the BCB (RFC 9173 §4): its number.  It has the
        `flags` that RFC 9172 §3.8 lets it have, or these."""
        choose = self._choose
        variant = choose.pick((contexts.A256GCM, contexts.A128GCM))
        scope = 7 - choose.integer(0, 7)
        key, wrapped = self._key(_AES[variant])
        iv_bytes = choose.pick((12, 12, 8, 16))
        iv = choose.octets(iv_bytes, iv_bytes)
        number = self._free()
        # RFC 9172 §3.8: replicated in every fragment when the payload is a target
        if flags is None:
            flags = REPLICATE if target == _PAYLOAD else choose.pick((0, REPLICATE))
        header = _header(BLOCK_CONFIDENTIALITY, number, flags)
        block = self.blocks[target]
        sealed = contexts.encrypt(contexts.cipher(key), iv, scope, self.primary, block, header)
        result: tuple[Pair, ...] = ()
        if choose.flip():
            sealed, tag = sealed[: -contexts.TAG_BYTES], sealed[-contexts.TAG_BYTES :]
            result = ((contexts.BCB_RESULT_TAG, tag),)
        self.blocks[target] = CanonicalBlock(
            block.type, block.number, block.flags, sealed, block.crc_type
        )
        parameters: list[Pair] = [(contexts.BCB_IV, iv)]
        if self._is_told(variant, contexts.AES_DEFAULT):
            parameters.append((contexts.BCB_AES_VARIANT, variant))
        if wrapped:
            parameters.append((contexts.BCB_WRAPPED_KEY, wrapped))
        if self._is_told(scope, contexts.SCOPE_ALL):
            parameters.append((contexts.BCB_SCOPE, scope))
        self._put(header, self._asb([target], CONTEXT_BCB_AES_GCM, parameters, (result,)))
        return number

    def _block(self, number: int) -> PrimaryBlock | CanonicalBlock:
        return self.blocks[number] if number else self.primary

    def _key(self, agreed: bytes) -> tuple[bytes, bytes]:
        """The key to use, and how it travels if it is not the one agreed upon."""
        if not self._choose.flip(4):
            return agreed, b""
        return _wrapped(len(agreed), self._choose.integer(0, _WRAPPED - 1))

    def _is_told(self, value: int, default: int) -> bool:
        """Whether a parameter is there: it may be left out if it has its default."""
        return value != default or not self._choose.flip()

    def _free(self) -> int:
        """The smallest block number from 2 that is free."""
        number = 2
        while number in self.blocks:
            number += 1
        return number

    def _asb(
        self,
        targets: list[int],
        context: int,
        parameters: list[Pair],
        results: tuple[tuple[Pair, ...], ...],
    ) -> SecurityBlock:
        source = self.primary.source
        if self._choose.flip():
            source = source.node
        return SecurityBlock(tuple(targets), context, source, tuple(parameters), results)

    def _put(self, header: CanonicalBlock, asb: SecurityBlock) -> None:
        self.blocks[header.number] = CanonicalBlock(
            header.type, header.number, header.flags, encode_asb(asb)
        )
