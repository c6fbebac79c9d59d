"""Bundles damaged at random that reach deep: heads, lengths and CRCs are right."""

from __future__ import annotations

from interop.strategies import raw as r
from interop.strategies.bundle import bundles
from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from interop.strategies.mutation import EDGES, change
from interop.strategies.raw import RawBlock, RawBundle, crc_field
from stack.core.errors import DecodeError
from stack.wire import cbor
from stack.wire.bundle import CRC_16, CRC_32, Bundle, encode_bundle

_ODD = (*range(24), 192, 255, *(1 << bit for bit in range(8, 64)), (1 << 64) - 1)
"""Flags, numbers and types of blocks."""


@strategy
def mutated_bundles(choose: Choices, *, bundle: Source[Bundle] | None = None) -> bytes:
    """A bundle, of `bundle` or of any kind, damaged inside its blocks, or in its octets with
    CRCs computed anew."""
    whole = choose.draw(bundle) if bundle is not None else choose.prepared(bundles.make)
    if choose.flip(4):
        octets = encode_bundle(whole)
        return bundle_crcs(change(octets, (octets,), choose))
    raw = RawBundle.of(whole)
    for _ in choose.many(1, 3):
        _damage(raw, choose)
    return raw.encode()


def bundle_crcs(octets: bytes) -> bytes:
    """A `Repair`: the octets with the CRCs that the blocks must have, as far as there are blocks
    to be found."""
    data = bytearray(octets)
    try:
        position = cbor.read_head(data, 0, strict=False)[2] if data[:1] != b"\x9f" else 1
        first = True
        while position < len(data) and data[position] != 0xFF:
            end = cbor.skip_item(data, position, strict=False)
            _repair(data, position, end, r.CRC_TYPE if first else r.BLOCK_CRC_TYPE)
            position, first = end, False
    except DecodeError:
        pass  # from here on nothing can be told apart
    return bytes(data)


def _repair(data: bytearray, start: int, end: int, crc_type_at: int) -> None:
    """Write the right CRC into a block of definite length that has a place for one."""
    if data[start] >> 5 != cbor.ARRAY or data[start] & 0x1F > 23:
        return
    fields = [start + 1]
    for _ in range(data[start] & 0x1F):
        fields.append(cbor.skip_item(data, fields[-1], strict=False))
    if len(fields) < crc_type_at + 3:
        return
    crc_type = data[fields[crc_type_at]]
    crc = fields[-2]
    if crc_type in (CRC_16, CRC_32) and end - crc == 1 + 2 * crc_type and data[crc] >> 5 == 2:
        data[crc:end] = crc_field(bytes(data[start:crc]), crc_type)


def _damage(raw: RawBundle, choose: Choices) -> None:
    at = choose.integer(0, len(raw.blocks) - 1)
    block = raw.blocks[at]
    index = choose.integer(0, len(block.fields) - 1)
    if at and (index == r.DATA or choose.flip()):
        _content(block, choose)
    elif choose.flip(8):
        other = choose.integer(0, len(raw.blocks) - 1)
        raw.blocks[at], raw.blocks[other] = raw.blocks[other], raw.blocks[at]
    elif at or index not in (r.DESTINATION, r.SOURCE, r.REPORT_TO, r.TIMESTAMP):
        block.fields[index] = cbor.uint(choose.pick(_ODD))
        _retype(block, index, at)
    else:
        item = block.fields[index]
        block.fields[index] = change(item, EDGES, choose)


def _retype(block: RawBlock, index: int, at: int) -> None:
    """The CRC is that of the type which the block names."""
    if index == (r.BLOCK_CRC_TYPE if at else r.CRC_TYPE):
        named = block.fields[index][0]
        block.crc_type = named if named <= CRC_32 else CRC_32


def _content(block: RawBlock, choose: Choices) -> None:
    try:
        content, _ = cbor.read_bstr(block.fields[r.DATA], 0)
    except (DecodeError, IndexError):
        return  # another change has already been there
    block.fields[r.DATA] = cbor.bstr(change(bytes(content), EDGES, choose))
