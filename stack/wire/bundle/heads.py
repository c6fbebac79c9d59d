"""What a primary block begins with (RFC 9171 §4.3.1): the same in all bundles of a flow, so that it
is looked up as a whole."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from stack.core.eid import SCHEME_DTN, Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle.eids import UINT_WIDTH, decode_eid, is_plain
from stack.wire.bundle.types import CRC_32, IS_FRAGMENT

HEAD_BYTES_MAX = 256
"""Longest beginning of a primary block that is looked up as a whole."""

LONG_HEADS = range(24, 28)
"""What the head of an array gives as its number of items when that follows in further octets."""

OPEN = 0x1F
"""What the head of an array of indefinite length gives as its number of items."""

TIMESTAMP = b"\x82\x1b\x00\x00\x00"
"""What a creation timestamp begins with: its time fits into five octets, and takes eight."""

_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from


def is_deterministic(primary: bytes) -> bool:
    """Whether the octets of a primary block are in deterministic encoding (RFC 8949 §4.2.1), as
    those of nearly all are; of some rare forms that are, it is denied."""
    try:
        position = head_end(primary, 0)
        numbers = _plain_head(primary[:position])
        if not numbers or primary[position] != 0x82:
            return False
        position += 1
        for _ in range(numbers):
            _, position = read_uint(primary, position, True)
    except (DecodeError, IndexError, StructError):
        return False
    return primary[position : position + 1] in (b"", b"\x42", b"\x44")


@lru_cache(maxsize=4096)
def _plain_head(encoded: bytes) -> int:
    """How many numbers follow in the timestamp and after it, if these octets are a whole head in
    deterministic encoding; else 0."""
    head = known_head(encoded, True)
    if head is None or not head.plain:
        return 0
    return 5 if head.flags & IS_FRAGMENT else 3


def read_uint(data: Buffer, position: int, strict: bool) -> tuple[int, int]:
    """An unsigned integer, quickly for the forms that times, flags and private types come in."""
    first = data[position]
    if first < 24:
        return first, position + 1
    if first == 0x18 and data[position + 1] >= 24:
        return data[position + 1], position + 2
    if first == 0x1B:
        value: int = _U64(data, position + 1)[0]
        if value > 0xFFFF_FFFF or not strict:
            return value, position + 9
    elif first == 0x1A:
        value = _U32(data, position + 1)[0]
        if value > 0xFFFF or not strict:
            return value, position + 5
    return cbor.read_uint(data, position, strict)


class Head(NamedTuple):
    """What a primary block begins with: the same in all bundles of a flow."""

    fields: int
    flags: int
    crc_type: int
    destination: Eid
    source: Eid
    report_to: Eid
    size: int
    """Octets that it takes."""

    plain: bool
    """Whether they are known to be in deterministic encoding, all but the count of fields."""


def read_head(data: Buffer, start: int, strict: bool) -> Head:
    """Read one, whatever it begins with.  Raises `DecodeError`, or `IndexError` or `struct.error`
    where the octets end."""
    count = data[start] - 0x80
    position = start + 1
    if count in LONG_HEADS:
        count, position = cbor.read_array(data, start, strict)
    version, position = read_uint(data, position, strict)
    if not (8 <= count <= 11 or count == OPEN) or version != 7:
        raise DecodeError("not a primary block of version 7", "RFC 9171 §4.3.1", start)
    flags, position = read_uint(data, position, strict)
    crc_type, position = read_uint(data, position, strict)
    if crc_type > CRC_32:
        raise DecodeError(f"unknown CRC type {crc_type}", "RFC 9171 §4.2.1", start)
    if count != (10 if flags & IS_FRAGMENT else 8) + (1 if crc_type else 0) and count != OPEN:
        raise DecodeError(f"{count} fields in the primary block", "RFC 9171 §4.3.1", start)
    destination, position = decode_eid(data, position, strict=strict)
    source, position = decode_eid(data, position, strict=strict)
    report_to, position = decode_eid(data, position, strict=strict)
    size = position - start
    return Head(count, flags, crc_type, destination, source, report_to, size, False)


def head_end(data: Buffer, start: int) -> int:
    """Where what `read_head` reads most likely ends: right for the usual forms of EIDs."""
    try:
        position = start + 3 + UINT_WIDTH[data[start + 2]]
        for _ in range(3):
            first = data[position + 2]
            if data[position + 1] == SCHEME_DTN:
                if first == 0x78:
                    position += data[position + 3] + 1
                elif first > 0x60:
                    position += first - 0x60
                position += 3
            else:
                position += 3
                for _ in range(first & 3):
                    position += UINT_WIDTH[data[position]]
    except IndexError:
        return start
    return position


@lru_cache(maxsize=4096)
def known_head(encoded: bytes, strict: bool) -> Head | None:
    """The head that is just these octets, or None."""
    try:
        head = read_head(encoded, 0, strict)
    except (DecodeError, IndexError, StructError):
        return None
    if head.size != len(encoded):
        return None
    eids = (head.destination, head.source, head.report_to)
    if strict and head.fields != OPEN and all(map(is_plain, eids)):
        head = head._replace(plain=True)  # its numbers are in their shortest form
    return head
