"""Bundles to octets (RFC 9171 §4): deterministic, and byte-exact for what came from the wire."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from stack.core.errors import LocalError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle.eids import encode_eid
from stack.wire.bundle.types import (
    CRC_16,
    CRC_32,
    CRC_NONE,
    IS_FRAGMENT,
    PAYLOAD,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
)
from stack.wire.crc import crc16_x25, crc32c

_U16 = Struct(">H").pack
_U32 = Struct(">I").pack
_HEAD_U8 = Struct(">BB").pack
_HEAD_U16 = Struct(">BH").pack
_HEAD_U64 = Struct(">BQ").pack

CRC_HEADS = (b"", b"\x42", b"\x44")
"""Head of the CRC field by CRC type (RFC 9171 §4.2.1)."""

_, _BSTR_2, _BSTR_4 = CRC_HEADS
# RFC 9171 §4.3.1, §4.3.2 with erratum 8043: the CRC is computed with zeros in its own field, whose
# head counts as it is.
_ZERO_2 = bytes(2)
_ZERO_4 = bytes(4)


def encode_bundle(bundle: Bundle) -> bytes:
    """The octets of a bundle, ready to send.

    Blocks that have `encoded` are sent as they came.  Raises `LocalError` when the payload block is
    not last, block numbers repeat, or a field cannot be encoded.
    """
    blocks = bundle.blocks
    if not blocks or blocks[-1].type != PAYLOAD:
        raise LocalError("the last block of a bundle is its payload block")
    if len({block.number for block in blocks}) != len(blocks):
        raise LocalError("block numbers of a bundle must differ")
    primary = bundle.primary
    parts: list[Buffer] = [cbor.ARRAY_OPEN, primary.encoded or encode_primary(primary)]
    append = parts.append
    for block in blocks:
        if block.encoded is not None:
            append(block.encoded)
        else:
            _append_block(block, append)
    if bundle.opening == cbor.ARRAY_OPEN:
        append(cbor.BREAK)
    elif cbor.read_array(bundle.opening, 0, strict=False)[0] == len(blocks) + 1:
        parts[0] = bundle.opening  # read leniently, and passed on as it came
    else:
        append(cbor.BREAK)
    return b"".join(parts)


def encode_primary(primary: PrimaryBlock) -> bytes:
    """The octets of a primary block (RFC 9171 §4.3.1).  Raises `LocalError`."""
    if primary.encoded is not None:
        return primary.encoded
    return _stamped(*_around(primary), primary.creation_ms, primary.sequence, primary.crc_type)


def as_encoded(primary: PrimaryBlock) -> PrimaryBlock:
    """A primary block with its octets.  Raises `LocalError`."""
    if primary.encoded is not None:
        return primary
    return PrimaryTemplate(primary).stamped(primary.creation_ms, primary.sequence)


class PrimaryTemplate:
    """Primary blocks that differ in creation timestamp alone, as those of a flow do: all else of
    them is encoded once."""

    __slots__ = ("_after", "_before", "_like", "_plain")

    def __init__(self, like: PrimaryBlock) -> None:
        """Raises `LocalError`."""
        self._like = like
        self._before, self._after = _around(like)
        # All else is in deterministic encoding.
        eids = (like.destination, like.source, like.report_to)
        self._plain = not any(eid.encoded for eid in eids)

    def stamped(self, creation_ms: int, sequence: int) -> PrimaryBlock:
        """The one made then, with its octets.  Raises `LocalError`."""
        like = self._like
        return PrimaryBlock(
            like.destination,
            like.source,
            like.report_to,
            creation_ms,
            sequence,
            like.lifetime_ms,
            like.flags,
            like.crc_type,
            like.fragment_offset,
            like.total_adu_length,
            like.version,
            _stamped(self._before, self._after, creation_ms, sequence, like.crc_type),
            self._plain,
        )


def _around(primary: PrimaryBlock) -> tuple[bytes, bytes]:
    """The octets before the numbers of the creation timestamp, and those behind up to the CRC."""
    flags = primary.flags
    crc_type = primary.crc_type
    count = 8
    tail = b""
    if flags & IS_FRAGMENT:
        if primary.fragment_offset is None or primary.total_adu_length is None:
            raise LocalError("a fragment needs its offset and total length")
        count = 10
        tail = cbor.uint(primary.fragment_offset) + cbor.uint(primary.total_adu_length)
    if primary.version != 7 or not CRC_NONE <= crc_type <= CRC_32:
        raise LocalError(f"bundle version {primary.version} with CRC type {crc_type}")
    before = b"".join(
        (
            bytes((0x81 + count if crc_type else 0x80 + count, 7)),
            bytes((flags,)) if 0 <= flags < 24 else cbor.uint(flags),
            bytes((crc_type,)),
            encode_eid(primary.destination),
            encode_eid(primary.source),
            encode_eid(primary.report_to),
            b"\x82",
        )
    )
    return before, b"".join((cbor.uint(primary.lifetime_ms), tail, CRC_HEADS[crc_type]))


def _stamped(before: bytes, after: bytes, creation_ms: int, sequence: int, crc_type: int) -> bytes:
    if 0x1_0000_0000 <= creation_ms <= cbor.UINT_MAX:
        time = _HEAD_U64(0x1B, creation_ms)
    else:
        time = cbor.uint(creation_ms)
    body = b"".join((before, time, cbor.uint(sequence), after))
    return body + checksum(body, crc_type) if crc_type else body


def checksum(octets: bytes, crc_type: int, closing: bytes = b"") -> bytes:
    """The CRC of a block: over the octets before it, zeros in its own place, and the break that
    closes a block of indefinite length."""
    if crc_type == CRC_32:
        return _U32(crc32c(_ZERO_4 + closing, crc32c(octets)))
    return _U16(crc16_x25(_ZERO_2 + closing, crc16_x25(octets)))


def encode_block(block: CanonicalBlock) -> bytes:
    """The octets of a canonical block (RFC 9171 §4.3.2).  Raises `LocalError`."""
    if block.encoded is not None:
        return bytes(block.encoded)
    parts: list[Buffer] = []
    _append_block(block, parts.append)
    return b"".join(parts)


def _append_block(block: CanonicalBlock, append: Callable[[Buffer], None]) -> None:
    """Encode a block in pieces, without a copy of its data."""
    crc_type = block.crc_type
    data = block.data
    head = _block_head(block.type, block.number, block.flags, crc_type, len(data))
    append(head)
    append(data)
    if crc_type == CRC_32:
        append(_BSTR_4)
        append(_U32(crc32c(b"\x44\0\0\0\0", crc32c(data, crc32c(head)))))
    elif crc_type == CRC_16:
        append(_BSTR_2)
        append(_U16(crc16_x25(b"\x42\0\0", crc16_x25(data, crc16_x25(head)))))


def _block_head(kind: int, number: int, flags: int, crc_type: int, size: int) -> bytes:
    """Everything of a block before its data."""
    if not CRC_NONE <= crc_type <= CRC_32:
        raise LocalError(f"unknown CRC type {crc_type}")
    first = 0x86 if crc_type else 0x85
    if 0 <= kind < 24 and 0 <= number < 24 and 0 <= flags < 24:
        if size < 24:
            return bytes((first, kind, number, flags, crc_type, 0x40 | size))
        head = bytes((first, kind, number, flags, crc_type))
    else:
        head = b"".join(
            (
                bytes((first,)),
                cbor.uint(kind),
                cbor.uint(number),
                cbor.uint(flags),
                b"%c" % crc_type,
            )
        )
    if size < 24:
        return head + bytes((0x40 | size,))
    if size < 0x100:
        return head + _HEAD_U8(0x58, size)
    if size < 0x10000:
        return head + _HEAD_U16(0x59, size)
    return head + cbor.head(cbor.BSTR, size)
