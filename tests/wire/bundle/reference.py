"""A second, slow encoder of bundles, written another way, to compare with.

CBOR comes from cbor2 or, to make legal but unusual forms, from `wide`; CRCs are computed from
their polynomials.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import cbor2

from stack.core.eid import Eid
from stack.wire.bundle import Bundle, CanonicalBlock, PrimaryBlock

Item = int | bytes | str | list["Item"]
Dump = Callable[[Item], bytes]


@functools.cache
def _table(reflected_polynomial: int) -> list[int]:
    """The register after shifting out each octet, bit by bit."""
    table = []
    for octet in range(256):
        register = octet
        for _ in range(8):
            register = register >> 1 ^ (reflected_polynomial if register & 1 else 0)
        table.append(register)
    return table


def crc_bits(data: bytes, width: int, reflected_polynomial: int) -> int:
    """A reflected CRC with all ones before and after."""
    table = _table(reflected_polynomial)
    ones = (1 << width) - 1
    register = ones
    for octet in data:
        register = register >> 8 ^ table[(register ^ octet) & 0xFF]
    return register ^ ones


def crc(data: bytes, crc_type: int) -> bytes:
    """RFC 9171 §4.2.1: X-25 has the polynomial 0x1021, Castagnoli 0x1EDC6F41, both reflected."""
    if crc_type == 1:
        return crc_bits(data, 16, 0x8408).to_bytes(2, "big")
    return crc_bits(data, 32, 0x82F63B78).to_bytes(4, "big")


def canonical(item: Item) -> bytes:
    """Core deterministic encoding, by cbor2."""
    return bytes(cbor2.dumps(item, canonical=True))


def wide(item: Item) -> bytes:
    """Legal encoding with every head in nine octets, never the shortest form."""
    if isinstance(item, int):
        return b"\x1b" + item.to_bytes(8, "big")
    if isinstance(item, bytes):
        return b"\x5b" + len(item).to_bytes(8, "big") + item
    if isinstance(item, str):
        return b"\x7b" + len(item).to_bytes(8, "big") + item.encode()
    return b"\x9b" + len(item).to_bytes(8, "big") + b"".join(wide(part) for part in item)


def eid_item(eid: Eid) -> Item:
    """An EID as a tree."""
    if isinstance(eid.ssp, tuple):
        allocator, node, service = eid.ssp
        return [2, [allocator * 2**32 + node, service]]
    assert isinstance(eid.ssp, str)
    return [1, 0 if eid.ssp == "none" else eid.ssp]


def with_crc(fields: list[Item], crc_type: int, dump: Dump) -> bytes:
    """A block from its fields, with its CRC computed over itself with the field zeroed."""
    if not crc_type:
        return dump(fields)
    size = 2 * crc_type
    zeroed = dump([*fields, bytes(size)])
    closing = b"\xff" if zeroed[0] == 0x9F else b""  # counts too (RFC 9171 §4.3.1, §4.3.2)
    return zeroed[: -size - len(closing)] + crc(zeroed, crc_type) + closing


def encode_primary(primary: PrimaryBlock, dump: Dump = canonical) -> bytes:
    fields: list[Item] = [
        7,
        primary.flags,
        primary.crc_type,
        eid_item(primary.destination),
        eid_item(primary.source),
        eid_item(primary.report_to),
        [primary.creation_ms, primary.sequence],
        primary.lifetime_ms,
    ]
    if primary.fragment_offset is not None and primary.total_adu_length is not None:
        fields += [primary.fragment_offset, primary.total_adu_length]
    return with_crc(fields, primary.crc_type, dump)


def encode_block(block: CanonicalBlock, dump: Dump = canonical) -> bytes:
    fields: list[Item] = [block.type, block.number, block.flags, block.crc_type, bytes(block.data)]
    return with_crc(fields, block.crc_type, dump)


def encode(bundle: Bundle, dump: Dump = canonical) -> bytes:
    blocks = [encode_primary(bundle.primary, dump)]
    blocks += [encode_block(block, dump) for block in bundle.blocks]
    return b"\x9f" + b"".join(blocks) + b"\xff"


def encode_definite(bundle: Bundle, dump: Dump = canonical) -> bytes:
    """The same blocks in an outer array of definite length, which RFC 9171 §4.1 does not allow."""
    count = 1 + len(bundle.blocks)
    head = dump([0] * count)[: -count * len(dump(0))]
    return head + encode(bundle, dump)[1:-1]
