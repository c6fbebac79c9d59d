"""Bundle-in-bundle encapsulation (draft-ietf-dtn-bibect-05): the record that carries a bundle in
another, without retransmission; and the padding that hides how long it is."""

from __future__ import annotations

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle.types import (
    BUNDLE_PADDING,
    CRC_NONE,
    DISCARD_UNPROCESSED,
    Bundle,
    CanonicalBlock,
)

BIBE_PDU = 3
"""Administrative record type (draft-ietf-dtn-bibect)."""

BIBE_PDUS = (BIBE_PDU, 7)
"""What is read: those that follow the first drafts, as ION, say 7."""

PADDING_BYTES_MIN = 12
"""Octets of the shortest padding that comes out for any size."""

_PADDING_HEAD_BYTES = 5
"""Of its block: array, type, flags and CRC type."""

_SECTION = "draft-ietf-dtn-bibect §3.1"


def encode_bibe_pdu(bundle: Buffer) -> bytes:
    """The payload of an administrative record that carries the octets of a bundle.  Nobody is
    asked to send it again, so transmission id and time are zero."""
    content = (cbor.uint(0), cbor.uint(0), cbor.bstr(bundle))
    return cbor.array((cbor.uint(BIBE_PDU), cbor.array(content)))


def is_bibe_pdu(payload: Buffer) -> bool:
    """Whether an administrative record is to carry a bundle."""
    return len(payload) > 1 and payload[0] == 0x82 and payload[1] in BIBE_PDUS


def decode_bibe_pdu(payload: Buffer) -> memoryview:
    """The octets of the bundle in such a record.  Raises `DecodeError`."""
    count, offset = cbor.read_array(payload, 0)
    kind, offset = cbor.read_uint(payload, offset)
    fields, offset = cbor.read_array(payload, offset)
    if (count, fields) != (2, 3) or kind not in BIBE_PDUS:
        raise DecodeError("no record of an encapsulated bundle", _SECTION)
    for _ in ("transmission id", "retransmission time"):
        _, offset = cbor.read_uint(payload, offset)
    view, end = cbor.read_bstr(payload, offset)
    if end != len(payload):
        raise DecodeError("octets after the encapsulated bundle", _SECTION, end)
    return memoryview(view)


def padded(bundle: Bundle, length: int, size: int) -> Bundle:
    """A bundle of `length` octets with a block of zeros, so that it has `size` octets (`length` and
    `PADDING_BYTES_MIN` more at least).  Whoever takes it out leaves that block out (RFC 9171 §5.6
    step 4).  Raises `LocalError` where it does not fit."""
    taken = {block.number for block in bundle.blocks}
    for first in (2, 24, 256):  # a longer number where the head of the zeros would be one too long
        number = first
        while number in taken:
            number += 1
        room = size - length - _PADDING_HEAD_BYTES - len(cbor.uint(number))
        for head in (1, 2, 3, 5):
            zeros = room - head
            if zeros >= 0 and len(cbor.head(cbor.BSTR, zeros)) == head:
                data = bytes(zeros)
                block = CanonicalBlock(BUNDLE_PADDING, number, DISCARD_UNPROCESSED, data, CRC_NONE)
                return Bundle(bundle.primary, (block, *bundle.blocks))
    raise LocalError(f"a bundle of {length} octets cannot be padded to {size}")
