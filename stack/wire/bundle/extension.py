"""The extension blocks that every node knows (RFC 9171 §4.4), and the priority block.

Makers give a block with a number of its own among these; use `dataclasses.replace` or
`free_number` where the bundle has that number already.  Parsers take the block and raise
`DecodeError`; they ask for the shortest form of each number, as RFC 9171 §4.1 does.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor
from stack.wire.bundle.eids import EID_BYTES_MAX, decode_eid, encode_eid
from stack.wire.bundle.types import (
    BUNDLE_AGE,
    CRC_NONE,
    HOP_COUNT,
    PREVIOUS_NODE,
    PRIORITY,
    REPLICATE,
    CanonicalBlock,
)

HOP_LIMIT_MAX = 255
"""RFC 9171 §4.4.3: the hop limit is 1 to 255."""

AGE_MS_MAX = (1 << 64) - 1
"""The largest age that there is a form for."""


def previous_node(node: Eid, *, number: int = 2, crc_type: int = CRC_NONE) -> CanonicalBlock:
    """The node that forwarded the bundle here (RFC 9171 §4.4.1)."""
    return CanonicalBlock(PREVIOUS_NODE, number, 0, encode_eid(node), crc_type)


def parse_previous_node(block: CanonicalBlock, *, strict: bool = True) -> Eid:
    """The node named by a previous node block; not `strict`, numbers may be longer than need be."""
    # Most bundles come from the same few nodes.
    if len(block.data) > EID_BYTES_MAX:
        raise DecodeError("endpoint identifier too long", "RFC 9171 §4.4.1")
    return _node(bytes(block.data), strict)


@lru_cache(maxsize=1024)
def _node(data: bytes, strict: bool) -> Eid:
    eid, end = decode_eid(data, strict=strict)
    if end != len(data):
        raise DecodeError("octets after the block's content", "RFC 9171 §4.4.1", end)
    if not eid.is_singleton:
        raise DecodeError("a previous node is no group", "RFC 9171 §4.4.1, §4.2.5.2")
    return eid


def bundle_age(age_ms: int, *, number: int = 3, crc_type: int = CRC_NONE) -> CanonicalBlock:
    """Milliseconds since the bundle was made (RFC 9171 §4.4.2); goes with every fragment.  An age
    beyond what 64 bits hold stays at their end: such a bundle has expired in any case."""
    age_ms = min(age_ms, AGE_MS_MAX)
    return CanonicalBlock(BUNDLE_AGE, number, REPLICATE, cbor.uint(age_ms), crc_type)


def parse_bundle_age(block: CanonicalBlock) -> int:
    """Milliseconds in a bundle age block."""
    age_ms, end = cbor.read_uint(block.data, 0)
    _whole(block, end, "RFC 9171 §4.4.2")
    return age_ms


def hop_count(
    limit: int, count: int, *, number: int = 4, crc_type: int = CRC_NONE
) -> CanonicalBlock:
    """How often the bundle may be and was forwarded (RFC 9171 §4.4.3); goes with every fragment.
    Raises `LocalError` for a limit outside 1..255 or a negative count."""
    if not 1 <= limit <= HOP_LIMIT_MAX:
        raise LocalError(f"hop limit {limit} outside 1..{HOP_LIMIT_MAX}")
    data = cbor.array((cbor.uint(limit), cbor.uint(count)))
    return CanonicalBlock(HOP_COUNT, number, REPLICATE, data, crc_type)


_HOPS_BYTES_MAX = 20
"""An array of two integers of 64 bits and its break; nothing longer is worth remembering."""


def parse_hop_count(block: CanonicalBlock) -> tuple[int, int]:
    """(limit, count) of a hop count block.  The count may be over the limit: it then says that the
    bundle is to be deleted.  Raises `DecodeError`."""
    # Most bundles of a flow have come equally far.
    if len(block.data) > _HOPS_BYTES_MAX:
        raise DecodeError("a hop count is a pair of numbers", "RFC 9171 §4.4.3")
    return _hops(bytes(block.data))


@lru_cache(maxsize=1024)
def _hops(data: bytes) -> tuple[int, int]:
    try:
        return _read_hops(data)
    except cbor.IndefiniteLength:
        return _read_hops(cbor.deterministic(data))


def _read_hops(data: bytes) -> tuple[int, int]:
    pair, offset = cbor.read_array(data, 0)
    if pair != 2:
        raise DecodeError("a hop count is a pair of numbers", "RFC 9171 §4.4.3")
    limit, offset = cbor.read_uint(data, offset)
    count, end = cbor.read_uint(data, offset)
    if end != len(data):
        raise DecodeError("octets after the block's content", "RFC 9171 §4.4.3", end)
    if not 1 <= limit <= HOP_LIMIT_MAX:
        raise DecodeError(f"hop limit {limit} outside 1..{HOP_LIMIT_MAX}", "RFC 9171 §4.4.3")
    return limit, count


def priority_block(
    priority: int, *, kind: int = PRIORITY, number: int = 5, crc_type: int = CRC_NONE
) -> CanonicalBlock:
    """The local priority, larger goes first, in a block of the private type `kind`; goes with
    every fragment."""
    return CanonicalBlock(kind, number, REPLICATE, cbor.uint(priority), crc_type)


def parse_priority(block: CanonicalBlock) -> int:
    """The number in a priority block; any value, for the reader to bound."""
    priority, end = cbor.read_uint(block.data, 0)
    _whole(block, end, "RFC 9171 §9.1")
    return priority


def free_number(blocks: Iterable[CanonicalBlock]) -> int:
    """The smallest block number from 2 that none of a bundle's blocks has."""
    taken = {block.number for block in blocks}
    number = 2
    while number in taken:
        number += 1
    return number


def _whole(block: CanonicalBlock, end: int, section: str) -> None:
    if end != len(block.data):
        raise DecodeError("octets after the block's content", section, end)
