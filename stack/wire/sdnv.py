"""Self-delimiting numeric values (RFC 6256), bounded to 64 bits."""

from __future__ import annotations

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer

SDNV_MAX = (1 << 64) - 1
"""Every field that LTP carries as an SDNV fits in 64 bits; RFC 6256 §3 leaves the bound to us."""

SDNV_BYTES_MAX = 10
"""Octets of the longest SDNV that we read: ceil(64 / 7)."""


def encode_sdnv(value: int) -> bytes:
    """The shortest SDNV of `value`.  Raises `LocalError` outside 0..2^64-1.  RFC 6256 §2."""
    if value < 128:
        if value < 0:
            raise LocalError(f"SDNV of a negative number: {value}")
        return bytes((value,))
    if value < 16384:
        return bytes((0x80 | value >> 7, value & 0x7F))
    if value > SDNV_MAX:
        raise LocalError(f"SDNV of more than 64 bits: {value:#x}")
    octets = bytearray((value & 0x7F,))
    value >>= 7
    while value:
        octets.append(0x80 | value & 0x7F)
        value >>= 7
    octets.reverse()
    return bytes(octets)


def decode_sdnv(data: Buffer, offset: int = 0) -> tuple[int, int]:
    """Read one SDNV at `offset`: (value, offset of the octet after it).

    Leading zero groups (0x80) are legal (RFC 6256 §2 asks for no shortest form) as far as
    `SDNV_BYTES_MAX` octets.  Raises `DecodeError` when truncated, too long or over 64 bits.
    """
    size = len(data)
    if offset < size and data[offset] < 0x80:  # most are of one octet
        return data[offset], offset + 1
    value = 0
    for index in range(offset, min(size, offset + SDNV_BYTES_MAX)):
        octet = data[index]
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            if value > SDNV_MAX:
                raise DecodeError("SDNV of more than 64 bits", "RFC 6256 §3", offset)
            return value, index + 1
    if size < offset + SDNV_BYTES_MAX:
        raise DecodeError("truncated SDNV", "RFC 6256 §2", offset)
    raise DecodeError("SDNV longer than 10 octets", "RFC 6256 §3", offset)
