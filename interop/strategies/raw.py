"""A bundle as fields that can be anything: for what no encoder would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stack.core.eid import Eid
from stack.wire import cbor
from stack.wire.bundle import (
    CRC_16,
    CRC_32,
    CRC_NONE,
    IS_FRAGMENT,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    encode_eid,
)
from stack.wire.crc import crc16_x25, crc32c

# Fields of a primary block (RFC 9171 §4.3.1) and of others (§4.3.2)
VERSION, FLAGS, CRC_TYPE, DESTINATION, SOURCE, REPORT_TO, TIMESTAMP, LIFETIME, OFFSET, TOTAL = (
    range(10)
)
TYPE, NUMBER, BLOCK_FLAGS, BLOCK_CRC_TYPE, DATA = range(5)


@dataclass(slots=True)
class RawBlock:
    """A block as its encoded fields, without its CRC field, which comes last."""

    fields: list[bytes]
    crc_type: int
    """Of the CRC that is computed; the field that names the type is another thing."""

    head: bytes | None = None
    """Of the array, if it is not to be that of as many fields as there are."""

    crc: bytes | None = None
    """The CRC field with its head, if it is not to be what it must be."""

    closing: bytes = b""

    def encode(self) -> bytes:
        """The octets, with a CRC that is right unless `crc` says otherwise."""
        crc = self.crc
        has_crc = bool(self.crc_type) if crc is None else bool(crc)
        head = self.head
        if head is None:
            head = cbor.head(cbor.ARRAY, len(self.fields) + has_crc)
        octets = head + b"".join(self.fields)
        if crc is None:
            crc = crc_field(octets, self.crc_type, self.closing)
        return octets + crc + self.closing


def crc_field(octets: bytes, crc_type: int, closing: bytes = b"") -> bytes:
    """The CRC field that ends a block whose other octets these are (RFC 9171 §4.2.1)."""
    if crc_type == CRC_16:
        return b"\x42" + crc16_x25(octets + b"\x42\0\0" + closing).to_bytes(2, "big")
    if crc_type == CRC_32:
        return b"\x44" + crc32c(octets + b"\x44\0\0\0\0" + closing).to_bytes(4, "big")
    return b""


@dataclass(slots=True)
class RawBundle:
    """A bundle as blocks that can be anything, in any order and number."""

    blocks: list[RawBlock]
    """The primary block is the first."""

    opening: bytes = cbor.ARRAY_OPEN
    closing: bytes = cbor.BREAK
    between: list[bytes] = field(default_factory=list)
    """Other items, before the last block."""

    @staticmethod
    def of(bundle: Bundle) -> RawBundle:
        """A bundle in its fields."""
        return RawBundle([_primary(bundle.primary), *map(raw_block, bundle.blocks)])

    @property
    def primary(self) -> RawBlock:
        """The primary block."""
        return self.blocks[0]

    @property
    def payload(self) -> RawBlock:
        """The last block."""
        return self.blocks[-1]

    @property
    def extensions(self) -> Sequence[RawBlock]:
        """What is between them."""
        return self.blocks[1:-1]

    def encode(self) -> bytes:
        """The octets."""
        blocks = [block.encode() for block in self.blocks]
        parts = (self.opening, *blocks[:-1], *self.between, *blocks[-1:], self.closing)
        return b"".join(parts)


def _primary(block: PrimaryBlock) -> RawBlock:
    eids: tuple[Eid, ...] = (block.destination, block.source, block.report_to)
    stamp = cbor.array((cbor.uint(block.creation_ms), cbor.uint(block.sequence)))
    fields = [
        *map(cbor.uint, (block.version, block.flags, block.crc_type)),
        *map(encode_eid, eids),
        stamp,
        cbor.uint(block.lifetime_ms),
    ]
    if block.flags & IS_FRAGMENT:
        fields += map(cbor.uint, (block.fragment_offset or 0, block.total_adu_length or 0))
    return RawBlock(fields, block.crc_type)


def raw_block(block: CanonicalBlock) -> RawBlock:
    """A canonical block in its fields."""
    numbers = (block.type, block.number, block.flags, block.crc_type)
    return RawBlock([*map(cbor.uint, numbers), cbor.bstr(block.data)], block.crc_type)


def extension(kind: int, number: int, data: bytes, flags: int = 0) -> RawBlock:
    """An extension block without CRC."""
    return raw_block(CanonicalBlock(kind, number, flags, data, CRC_NONE))
