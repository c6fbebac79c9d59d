"""TM transfer frames (CCSDS 132.0-B-3 §4.1).

How long frames are and whether they end with a frame error control field (FECF) is agreed for a
physical channel and not said in the frame, so the decoder is told both.
"""

from __future__ import annotations

from dataclasses import dataclass

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire.crc import crc16_ccitt

PRIMARY_HEADER_BYTES = 6
OCF_BYTES = 4
FECF_BYTES = 2

SECONDARY_BYTES_MAX = 63
"""Octets of the data of a secondary header (§4.1.3.1)."""

FIRST_HEADER_IDLE = 0x7FE
"""First header pointer of a frame that carries only idle data (§4.1.2.7.6)."""

FIRST_HEADER_NONE = 0x7FF
"""First header pointer of a frame in which no packet begins (§4.1.2.7.6)."""

FRAME_BYTES_MAX = 65_536
"""Largest frame that we take; a physical channel with RS(255,223) I=8 has 1784."""

_SEGMENT_LENGTH_ID = 3
_SECONDARY = 0x8000
_SYNC = 0x4000
_ORDER = 0x2000


@dataclass(frozen=True, slots=True, kw_only=True)
class TmFrame:
    """One TM transfer frame without its FECF."""

    spacecraft: int
    """Spacecraft id, 10 bits (§4.1.2.2)."""

    channel: int
    """Virtual channel id, 3 bits (§4.1.2.3)."""

    master_count: int
    """Master channel frame count, 8 bits (§4.1.2.5)."""

    channel_count: int
    """Virtual channel frame count, 8 bits (§4.1.2.6)."""

    data: Buffer
    """Transfer frame data field (§4.1.4)."""

    first_header: int = FIRST_HEADER_NONE
    """First header pointer, 11 bits: octet of the data field where the first packet begins."""

    sync: bool = False
    """Synchronization flag: the data are no packets in octet order, and the next two fields and
    the first header pointer are undefined (§4.1.2.7.3)."""

    packet_order: bool = False
    segment_length: int = _SEGMENT_LENGTH_ID
    """2 bits, both set unless `sync` (§4.1.2.7.5)."""

    secondary: bytes | None = None
    """Data of the secondary header, 1 to 63 octets, or None: it is absent (§4.1.3)."""

    ocf: bytes | None = None
    """Operational control field, 4 octets, or None: it is absent (§4.1.5)."""

    def __post_init__(self) -> None:
        _require(0 <= self.spacecraft <= 0x3FF, "spacecraft id is 10 bits")
        _require(0 <= self.channel <= 7, "virtual channel id is 3 bits")
        _require(0 <= self.master_count <= 255, "master channel frame count is 8 bits")
        _require(0 <= self.channel_count <= 255, "virtual channel frame count is 8 bits")
        _require(0 <= self.first_header <= 0x7FF, "first header pointer is 11 bits")
        _require(0 <= self.segment_length <= 3, "segment length id is 2 bits")
        _require(
            self.sync or (self.segment_length == 3 and not self.packet_order),
            "segment length id is 3 and packet order 0 without the synchronization flag",
        )
        _require(
            self.secondary is None or 1 <= len(self.secondary) <= SECONDARY_BYTES_MAX,
            "secondary header has 1 to 63 octets of data",
        )
        _require(self.ocf is None or len(self.ocf) == OCF_BYTES, "OCF has 4 octets")


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise LocalError(f"TM frame: {fault}")


def encode_tm(frame: TmFrame, *, fecf: bool = True) -> bytes:
    """The octets of a frame, its FECF computed when `fecf`."""
    secondary = b""
    if frame.secondary is not None:
        # §4.1.3.2: version 00 and length, the latter one less than the whole secondary header
        secondary = bytes((len(frame.secondary),)) + frame.secondary
    status = (
        _SECONDARY * (frame.secondary is not None)
        | _SYNC * frame.sync
        | _ORDER * frame.packet_order
        | frame.segment_length << 11
        | frame.first_header
    )
    master = frame.spacecraft << 4 | frame.channel << 1 | (frame.ocf is not None)
    octets = b"".join(
        (
            master.to_bytes(2, "big"),
            bytes((frame.master_count, frame.channel_count)),
            status.to_bytes(2, "big"),
            secondary,
            frame.data,
            frame.ocf or b"",
        )
    )
    if fecf:
        octets += crc16_ccitt(octets).to_bytes(FECF_BYTES, "big")
    return octets


def decode_tm(
    data: Buffer, offset: int = 0, *, frame_bytes: int, fecf: bool = True
) -> tuple[TmFrame, int]:
    """Read the frame of `frame_bytes` octets at `offset`: (frame, offset of the octet after it).

    The data field is a view into `data`.  Raises `DecodeError`, also when the FECF is wrong.
    `LocalError` for a length that no frame has.
    """
    if not PRIMARY_HEADER_BYTES < frame_bytes <= FRAME_BYTES_MAX:
        raise LocalError(f"TM frames of {frame_bytes} octets")
    view = memoryview(data)
    end = offset + frame_bytes
    if not 0 <= offset <= end <= len(view):
        raise DecodeError("frame cut short", "CCSDS 132.0-B-3 §4.1.1", len(view))
    trailer = end
    if fecf:
        trailer -= FECF_BYTES
        if crc16_ccitt(view[offset:trailer]) != int.from_bytes(view[trailer:end], "big"):
            raise DecodeError("FECF does not match", "CCSDS 132.0-B-3 §4.1.6", trailer)
    master = view[offset] << 8 | view[offset + 1]
    if master >> 14:
        raise DecodeError(
            f"frame version number {master >> 14}", "CCSDS 132.0-B-3 §4.1.2.2", offset
        )
    status = view[offset + 4] << 8 | view[offset + 5]
    sync = bool(status & _SYNC)
    if not sync and status & 0x3800 != _SEGMENT_LENGTH_ID << 11:
        raise DecodeError(
            "packet order or segment length id", "CCSDS 132.0-B-3 §4.1.2.7", offset + 4
        )
    at = offset + PRIMARY_HEADER_BYTES
    secondary = None
    if status & _SECONDARY:
        secondary, at = _secondary(view, at, trailer)
    ocf = None
    if master & 1:
        trailer -= OCF_BYTES
        ocf = bytes(view[trailer : trailer + OCF_BYTES])
    if trailer < at:
        raise DecodeError("no room for the data field", "CCSDS 132.0-B-3 §4.1.1", at)
    return TmFrame(
        spacecraft=master >> 4,
        channel=master >> 1 & 7,
        master_count=view[offset + 2],
        channel_count=view[offset + 3],
        data=view[at:trailer],
        first_header=status & 0x7FF,
        sync=sync,
        packet_order=bool(status & _ORDER),
        segment_length=status >> 11 & 3,
        secondary=secondary,
        ocf=ocf,
    ), end


def _secondary(view: memoryview, at: int, end: int) -> tuple[bytes, int]:
    """The data of the secondary header at `at`, and where it ends (§4.1.3)."""
    section = "CCSDS 132.0-B-3 §4.1.3"
    if at >= end:
        raise DecodeError("no room for the secondary header", section, at)
    version, size = divmod(view[at], 64)
    if version or not size:
        raise DecodeError("secondary header version or length", section, at)
    if size > end - at - 1:
        raise DecodeError("secondary header cut short", section, at)
    return bytes(view[at + 1 : at + 1 + size]), at + 1 + size
