"""The fixed PDU header of CFDP (CCSDS 727.0-B-5 §5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stack.core.errors import DecodeError
from stack.wire.cfdp.fields import DATA_FIELD_BYTES_MAX, VERSION, read_uint, require, take

_SECTION = "CCSDS 727.0-B-5 §5.1"
_FIXED_BYTES = 4

_FILE_DATA = 0x10
_TOWARD_SENDER = 0x08
_UNACKNOWLEDGED = 0x04
_CRC = 0x02
_LARGE = 0x01
_PRESERVE_BOUNDARIES = 0x80
_METADATA = 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the PDUs of one transaction share, and the options of this one."""

    source: int
    """Entity id of the sender of the file."""

    sequence: int
    """Number of the transaction, given by the source."""

    destination: int
    """Entity id of the receiver of the file."""

    entity_bytes: int = 1
    """Octets of each entity id, 1 to 8."""

    sequence_bytes: int = 1
    """Octets of the sequence number, 1 to 8."""

    toward_sender: bool = False
    """Direction, for forwarding: whether the PDU goes to the sender of the file."""

    unacknowledged: bool = False
    """Transmission mode (class 1) of the transaction."""

    crc: bool = False
    """Whether a CRC-16 ends the PDU."""

    large: bool = False
    """Whether file-size-sensitive fields have 64 bits."""

    preserve_boundaries: bool = False
    """Segmentation control, of file data only: record boundaries are kept."""

    def __post_init__(self) -> None:
        require(1 <= self.entity_bytes <= 8, "entity ids have 1 to 8 octets")
        require(1 <= self.sequence_bytes <= 8, "sequence numbers have 1 to 8 octets")
        entity_end = 1 << 8 * self.entity_bytes
        require(0 <= self.source < entity_end, "source does not fit its field")
        require(0 <= self.destination < entity_end, "destination does not fit its field")
        require(0 <= self.sequence < 1 << 8 * self.sequence_bytes, "sequence does not fit")


class HeadEnd(NamedTuple):
    """What a header says of the data field that follows it."""

    data_bytes: int
    """Length of the data field, CRC included."""

    file_data: bool
    metadata: bool
    """Whether file data begin with segment metadata."""


def encode_header(header: Header, end: HeadEnd) -> bytes:
    """The octets of a header.  Raises `LocalError` when the data field is too long."""
    require(0 <= end.data_bytes <= DATA_FIELD_BYTES_MAX, "data field is too long")
    # §5.1: segmentation control and segment metadata flag are 0 in directives
    options = (header.entity_bytes - 1) << 4 | (header.sequence_bytes - 1)
    if end.file_data:
        options |= _PRESERVE_BOUNDARIES * header.preserve_boundaries | _METADATA * end.metadata
    flags = (
        VERSION << 5
        | _FILE_DATA * end.file_data
        | _TOWARD_SENDER * header.toward_sender
        | _UNACKNOWLEDGED * header.unacknowledged
        | _CRC * header.crc
        | _LARGE * header.large
    )
    return b"".join(
        (
            bytes((flags,)),
            end.data_bytes.to_bytes(2, "big"),
            bytes((options,)),
            header.source.to_bytes(header.entity_bytes, "big"),
            header.sequence.to_bytes(header.sequence_bytes, "big"),
            header.destination.to_bytes(header.entity_bytes, "big"),
        )
    )


def decode_header(view: memoryview, offset: int) -> tuple[Header, HeadEnd, int]:
    """Read the header at `offset`: (header, what follows, offset of the data field).  Raises
    `DecodeError`."""
    at = take(view, offset, _FIXED_BYTES, _SECTION)
    flags, options = view[offset], view[offset + 3]
    if flags >> 5 != VERSION:
        raise DecodeError(f"CFDP version {flags >> 5}", _SECTION, offset)
    entity_bytes = (options >> 4 & 7) + 1
    sequence_bytes = (options & 7) + 1
    source, at = read_uint(view, at, entity_bytes, _SECTION)
    sequence, at = read_uint(view, at, sequence_bytes, _SECTION)
    destination, at = read_uint(view, at, entity_bytes, _SECTION)
    file_data = bool(flags & _FILE_DATA)
    header = Header(
        source=source,
        sequence=sequence,
        destination=destination,
        entity_bytes=entity_bytes,
        sequence_bytes=sequence_bytes,
        toward_sender=bool(flags & _TOWARD_SENDER),
        unacknowledged=bool(flags & _UNACKNOWLEDGED),
        crc=bool(flags & _CRC),
        large=bool(flags & _LARGE),
        preserve_boundaries=file_data and bool(options & _PRESERVE_BOUNDARIES),
    )
    data_bytes = view[offset + 1] << 8 | view[offset + 2]
    return header, HeadEnd(data_bytes, file_data, bool(options & _METADATA)), at
