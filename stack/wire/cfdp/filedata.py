"""File data PDUs of CFDP (CCSDS 727.0-B-5 §5.3)."""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.train import Buffer
from stack.wire.cfdp.fields import file_size_octets, read_uint, require, take

METADATA_BYTES_MAX = 63
"""Segment metadata has a 6-bit length (§5.3.1)."""

_SECTION = "CCSDS 727.0-B-5 §5.3"


@dataclass(frozen=True, slots=True)
class SegmentMetadata:
    """What the source says of a segment (§5.3.1)."""

    record_state: int
    """Record continuation state: 1 the segment begins a record, 2 it ends one, 3 both, 0 none."""

    value: bytes

    def __post_init__(self) -> None:
        require(0 <= self.record_state <= 3, "record continuation state is 2 bits")
        require(len(self.value) <= METADATA_BYTES_MAX, "segment metadata of 64 octets or more")


@dataclass(frozen=True, slots=True)
class FileData:
    """Octets of the file from `offset` on."""

    offset: int
    data: Buffer
    metadata: SegmentMetadata | None = None


def encode_file_data(segment: FileData, large: bool) -> bytes:
    """The data field of a file data PDU."""
    head = b""
    metadata = segment.metadata
    if metadata is not None:
        head = bytes((metadata.record_state << 6 | len(metadata.value),)) + metadata.value
    return b"".join((head, file_size_octets(segment.offset, large), segment.data))


def decode_file_data(view: memoryview, at: int, large: bool, metadata: bool) -> FileData:
    """Read file data from `at` to the end of the view, which is the end of their field."""
    found = None
    if metadata:
        octet, at = read_uint(view, at, 1, _SECTION)
        end = take(view, at, octet & METADATA_BYTES_MAX, _SECTION)
        found = SegmentMetadata(octet >> 6, bytes(view[at:end]))
        at = end
    offset, at = read_uint(view, at, 8 if large else 4, _SECTION)
    return FileData(offset, view[at:], found)
