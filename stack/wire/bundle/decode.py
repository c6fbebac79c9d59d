"""Octets to bundles (RFC 9171 §4), bounded, without a copy of any block's data.

The typical bundle has heads of one octet, so these are taken apart in line; whatever is larger goes
through `stack.wire.cbor`.  A read past the end of the buffer shows as `IndexError` or
`struct.error`, which the public functions turn into `DecodeError`.  An `offset` below 0 is the
caller's mistake, a `LocalError`.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from stack.core.errors import DecodeError, LocalError
from stack.core.limits import BUNDLE_BYTES_MAX
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle.heads import (
    HEAD_BYTES_MAX,
    LONG_HEADS,
    OPEN,
    TIMESTAMP,
    head_end,
    known_head,
    read_head,
    read_uint,
)
from stack.wire.bundle.types import (
    BUNDLE_AGE,
    CRC_16,
    CRC_32,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    NO_FRAGMENT,
    PAYLOAD,
    PREVIOUS_NODE,
    REPORT_ANY,
    REPORT_UNPROCESSED,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
)
from stack.wire.crc import crc16_x25, crc32c

BLOCKS_MAX = 256
"""Blocks of one bundle beside the primary: a bundle with more is an attack on the agent's time."""

LEADING_BYTES = 256
"""Octets in which a typical bundle has its primary block and its extension blocks."""

_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from
_CRC_FIELD_BYTES = (0, 3, 5)
"""Octets of the CRC field, its head included, by CRC type (RFC 9171 §4.2.1)."""

_ZERO_2 = bytes(2)
_ZERO_4 = bytes(4)
_ZERO_2_BREAK = _ZERO_2 + cbor.BREAK
_ZERO_4_BREAK = _ZERO_4 + cbor.BREAK
_NEXT_BLOCK = re.compile(rb"[\x85\x86](?:\x01\x01|\x0b|\x0c)").search
"""Where, most likely, the first block begins that is of its bundle alone: the payload, or one of
BPSec."""

_ONCE = frozenset((PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT))  # RFC 9171 §4.4.1, §4.4.2, §4.4.3


class Mode(enum.Enum):
    """How much of RFC 9171 §4 a decoder insists on."""

    STRICT = "strict"
    """Everything."""

    LENIENT = "lenient"
    """Also take heads that are not in their shortest form, a bundle whose outer array has a
    definite length, and contradictory processing flags: all that other nodes are known to get
    wrong and that leaves the meaning clear.  What comes in so goes out with the same octets.

    And extension blocks that are all numbered 0, as ION 4.1 writes them when it fragments or
    copies a bundle: they get free numbers here, and go out with these."""


STRICT = Mode.STRICT
LENIENT = Mode.LENIENT


def decode_bundle(data: Buffer, *, offset: int = 0, mode: Mode = Mode.STRICT) -> tuple[Bundle, int]:
    """Read the bundle at `offset`: (bundle, offset of the octet after it).

    The data and `encoded` of the blocks are views into `data`, which must not change while the
    bundle lives.  Raises `DecodeError` for anything that RFC 9171 §4 does not allow in this mode,
    a CRC that does not match included (§5.6 step 3 wants the bundle deleted for either).
    """
    if offset < 0:
        raise LocalError("negative offset")
    strict = mode is Mode.STRICT
    view = memoryview(data)
    try:
        first = data[offset]
        count: int | None = None
        if first == 0x9F:
            opening = cbor.ARRAY_OPEN
            position = offset + 1
        elif strict:
            raise DecodeError("a bundle is an indefinite-length array", "RFC 9171 §4.1", offset)
        else:
            items, position = cbor.read_array(data, offset, False)
            if not 2 <= items <= BLOCKS_MAX + 1:
                raise DecodeError(f"{items} blocks in a bundle", "RFC 9171 §4.1", offset)
            count = items - 1
            opening = bytes(view[offset:position])
        # What a bundle begins with is quicker to read as octets of its own: they are few.
        leading = bytes(view[position : position + LEADING_BYTES])
        known = NO_RUN
        try:
            primary, size = _primary(leading, 0, strict)
            if count is None and (found := _NEXT_BLOCK(leading, size)):
                known = _known_run(leading[size : found.start()], strict) or NO_RUN
            position += size
        except (DecodeError, IndexError, StructError):  # as a whole, that says what is wrong where
            primary, position = _primary(data, position, strict)
        blocks, position = _blocks(data, view, position, count, strict, known)
    except (IndexError, StructError):
        raise DecodeError("truncated bundle", "RFC 9171 §4.1", len(data)) from None
    if position - offset > BUNDLE_BYTES_MAX:
        raise DecodeError("bundle too large", "limits.BUNDLE_BYTES_MAX", offset)
    if strict:
        _check_flags(primary, blocks, offset)
    else:
        blocks = _numbered(blocks)
    return Bundle(primary, blocks, opening), position


def decode_primary(
    data: Buffer, offset: int = 0, *, mode: Mode = Mode.STRICT
) -> tuple[PrimaryBlock, int]:
    """Read a primary block alone: (block, offset of the octet after it).  Raises `DecodeError`."""
    if offset < 0:
        raise LocalError("negative offset")
    try:
        return _primary(data, offset, mode is Mode.STRICT)
    except (IndexError, StructError):
        raise DecodeError("truncated primary block", "RFC 9171 §4.3.1", len(data)) from None


def decode_block(
    data: Buffer, offset: int = 0, *, mode: Mode = Mode.STRICT
) -> tuple[CanonicalBlock, int]:
    """Read a canonical block alone: (block, offset of the octet after it).  Raises
    `DecodeError`."""
    if offset < 0:
        raise LocalError("negative offset")
    try:
        return _block(data, memoryview(data), offset, mode is Mode.STRICT)
    except (IndexError, StructError):
        raise DecodeError("truncated block", "RFC 9171 §4.3.2", len(data)) from None


def _primary(data: Buffer, start: int, strict: bool) -> tuple[PrimaryBlock, int]:
    """RFC 9171 §4.3.1."""
    end = data.find(TIMESTAMP, start) if isinstance(data, bytes) else -1
    if end < 0:
        end = head_end(data, start)
    head = known_head(bytes(data[start:end]), strict) if end - start <= HEAD_BYTES_MAX else None
    if head is None:
        head = read_head(data, start, strict)
    count, flags, crc_type, destination, source, report_to, size, plain = head
    position = start + size
    pair = data[position]
    position += 1
    if pair not in (0x82, 0x9F):
        items, position = cbor.read_array(data, position - 1, strict)
        if items != 2:
            raise DecodeError("a timestamp is a pair of numbers", "RFC 9171 §4.2.7", position)
    creation_ms, position = read_uint(data, position, strict)
    sequence, position = read_uint(data, position, strict)
    if pair == 0x9F:
        position = _break(data, position)
    lifetime_ms, position = read_uint(data, position, strict)
    fragment_offset = total_adu_length = None
    if flags & IS_FRAGMENT:
        fragment_offset, position = read_uint(data, position, strict)
        total_adu_length, position = read_uint(data, position, strict)
    if crc_type:
        position = _check_crc(data, start, position, crc_type, strict)
    if count == OPEN:
        position = _break(data, position)
    primary = PrimaryBlock(
        destination,
        source,
        report_to,
        creation_ms,
        sequence,
        lifetime_ms,
        flags,
        crc_type,
        fragment_offset,
        total_adu_length,
        7,
        bytes(data[start:position]),
        plain and pair == 0x82,  # as the rest is where it is read strictly
    )
    return primary, position


class _Run(NamedTuple):
    """Extension blocks that come just so, one after the other, in many bundles."""

    blocks: tuple[CanonicalBlock, ...]
    seen: frozenset[int]
    """Their numbers, and the complements of types that come only once."""

    size: int
    """Octets that they take."""


NO_RUN = _Run((), frozenset(), 0)


def _blocks(
    data: Buffer, view: memoryview, position: int, count: int | None, strict: bool, known: _Run
) -> tuple[tuple[CanonicalBlock, ...], int]:
    """The canonical blocks, and where the bundle ends (RFC 9171 §4.1); it begins with those that
    are `known`.

    There are `count` of them, or with None as many as come before the break.
    """
    blocks = list(known.blocks)
    seen = set(known.seen)
    position += known.size
    for _ in range((count or BLOCKS_MAX) - len(blocks)):
        start = position
        if data[start] == 0xFF:
            break
        # Most likely an extension block that came just so in the bundle before this one.
        size = data[start + 5] - 0x40
        if 0 <= size < 24 and data[start + 1] != PAYLOAD and data[start + 4] <= CRC_32:
            position = start + 6 + size + _CRC_FIELD_BYTES[data[start + 4]]
        elif data[start + 1] == 0x18 and data[start + 6] == 0x58 and data[start + 5] <= CRC_32:
            # of a private type (§9.1), as data policies are
            position = start + 8 + data[start + 7] + _CRC_FIELD_BYTES[data[start + 5]]
        block = None
        if position > start:
            block = _known_block(bytes(view[start:position]), strict)
        if block is None:
            block, position = _block(data, view, start, strict)
        blocks.append(block)
        if block.type == PAYLOAD:
            if block.number != 1:
                raise DecodeError("payload block not numbered 1", "RFC 9171 §4.1", start)
            if count is None and data[position] == 0xFF:
                return tuple(blocks), position + 1
            if len(blocks) == count:
                return tuple(blocks), position
            raise DecodeError("payload block not last", "RFC 9171 §4.1", start)
        _note(block, seen, strict, start)
    raise DecodeError("no payload block, or too many blocks", "RFC 9171 §4.1", position)


def _note(block: CanonicalBlock, seen: set[int], strict: bool, start: int) -> None:
    """Check what an extension block must not share with those that are `seen`."""
    kind, number = block.type, block.number
    if (number < 2 or number in seen) and (number or strict):
        raise DecodeError(f"block number {number} again or reserved", "RFC 9171 §4.1", start)
    seen.add(number)
    if kind in _ONCE:
        if ~kind in seen:
            raise DecodeError(f"second block of type {kind}", "RFC 9171 §4.4", start)
        seen.add(~kind)


@lru_cache(maxsize=4096)
def _known_run(encoded: bytes, strict: bool) -> _Run | None:
    """Extension blocks that are just these octets, or None unless all is well with them."""
    blocks: list[CanonicalBlock] = []
    seen: set[int] = set()
    position = 0
    try:
        while position < len(encoded):
            _, end = _block(encoded, memoryview(encoded), position, strict)
            block = _known_block(encoded[position:end], strict)
            if block is None or block.type == PAYLOAD:
                return None
            _note(block, seen, strict, position)
            blocks.append(block)
            position = end
    except (DecodeError, IndexError, StructError):
        return None
    return _Run(tuple(blocks), frozenset(seen), len(encoded))


def _numbered(blocks: tuple[CanonicalBlock, ...]) -> tuple[CanonicalBlock, ...]:
    """The blocks of a bundle, those numbered 0 with free numbers instead.  No security block can
    have meant one of them: its target 0 is the primary block (RFC 9172 §3.6)."""
    if all(block.number for block in blocks):
        return blocks
    taken = {block.number for block in blocks}
    free = (number for number in range(2, 2 * BLOCKS_MAX + 2) if number not in taken)
    return tuple(
        block
        if block.number
        else CanonicalBlock(block.type, next(free), block.flags, block.data, block.crc_type)
        for block in blocks
    )


def _block(data: Buffer, view: memoryview, start: int, strict: bool) -> tuple[CanonicalBlock, int]:
    """RFC 9171 §4.3.2."""
    count = data[start] - 0x80
    position = start + 1
    if count in LONG_HEADS:
        count, position = cbor.read_array(data, start, strict)
    kind = data[position]
    number = data[position + 1]
    flags = data[position + 2]
    crc_type = data[position + 3]
    if kind < 24 and number < 24 and flags < 24 and crc_type < 24:
        position += 4
    else:
        kind, position = read_uint(data, position, strict)
        number, position = read_uint(data, position, strict)
        flags, position = read_uint(data, position, strict)
        crc_type, position = read_uint(data, position, strict)
    if crc_type > CRC_32:
        raise DecodeError(f"unknown CRC type {crc_type}", "RFC 9171 §4.2.1", start)
    if count != (6 if crc_type else 5) and count != OPEN:
        raise DecodeError(f"not a block, or {count} fields", "RFC 9171 §4.3.2", start)
    size = data[position] - 0x40
    if 0 <= size < 24:
        position += 1
    elif size == 24 and data[position + 1] >= 24:
        size = data[position + 1]
        position += 2
    elif size == 25 and data[position + 1]:
        size = _U16(data, position + 1)[0]
        position += 3
    else:
        major, size, position = cbor.read_head(data, position, strict)
        if major != cbor.BSTR or size == cbor.INDEFINITE:
            raise DecodeError(
                "block data is no definite-length byte string", "RFC 9171 §4.3.2", start
            )
    begin = position
    position += size
    if position > len(data):
        raise IndexError
    block_data = view[begin:position]
    if crc_type:
        position = _check_crc(view, start, position, crc_type, strict)
    if count == OPEN:
        position = _break(data, position)
    block = CanonicalBlock(kind, number, flags, block_data, crc_type, view[start:position])
    return block, position


@lru_cache(maxsize=4096)
def _known_block(encoded: bytes, strict: bool) -> CanonicalBlock | None:
    """A small block, or None unless it is just these octets and all is well with it.

    Blocks are immutable, so that the bundles of a flow can share those that are alike.
    """
    try:
        block, end = _block(encoded, memoryview(encoded), 0, strict)
    except (DecodeError, IndexError, StructError):
        return None
    if end != len(encoded):
        return None
    kind, number, flags, crc_type = block.type, block.number, block.flags, block.crc_type
    # Octets that all of them share: who looks something up by them has their hash at hand.
    return CanonicalBlock(kind, number, flags, bytes(block.data), crc_type, encoded)


def _break(data: Buffer, position: int) -> int:
    """Pass by the end of an array of indefinite length."""
    if data[position] != 0xFF:
        raise DecodeError("more items than the array can have", "RFC 9171 §4.1", position)
    return position + 1


def _check_crc(data: Buffer, start: int, position: int, crc_type: int, strict: bool) -> int:
    """Verify the CRC field at `position` over the block from `start`: the offset after it.

    The break of a block of indefinite length counts (RFC 9171 §4.3.1, §4.3.2).
    """
    first = data[position]
    position += 1
    if first != (0x42 if crc_type == CRC_16 else 0x44):
        major, size, position = cbor.read_head(data, position - 1, strict)
        if major != cbor.BSTR or size != 2 * crc_type:
            raise DecodeError("CRC field of the wrong size", "RFC 9171 §4.2.2", position)
    if crc_type == CRC_16:
        zeros = _ZERO_2 if data[start] != 0x9F else _ZERO_2_BREAK
        good = _U16(data, position)[0] == crc16_x25(zeros, crc16_x25(data[start:position]))
        end = position + 2
    else:
        zeros = _ZERO_4 if data[start] != 0x9F else _ZERO_4_BREAK
        good = _U32(data, position)[0] == crc32c(zeros, crc32c(data[start:position]))
        end = position + 4
    if not good:
        raise DecodeError("CRC does not match", "RFC 9171 §4.2.2", start)
    return end


def _check_flags(primary: PrimaryBlock, blocks: tuple[CanonicalBlock, ...], offset: int) -> None:
    """Flags that contradict each other (RFC 9171 §4.2.3, §4.2.4)."""
    flags = primary.flags
    anonymous = primary.source.is_null
    if not flags & IS_ADMIN and not anonymous:
        return
    if flags & REPORT_ANY:
        raise DecodeError("status reports asked for where forbidden", "RFC 9171 §4.2.3", offset)
    if anonymous and (not flags & NO_FRAGMENT or flags & IS_FRAGMENT):
        raise DecodeError("anonymous bundle that may be fragmented", "RFC 9171 §4.2.3", offset)
    if any(block.flags & REPORT_UNPROCESSED for block in blocks):
        raise DecodeError("block report asked for where forbidden", "RFC 9171 §4.2.4", offset)
