"""Capture files: a writer of classic pcap, and a reader of classic pcap and of pcapng.

Classic pcap: a 24-octet file header whose magic number tells byte order and time unit, then for
each packet 16 octets of header and its data (draft-ietf-opsawg-pcap).  What writes pcapng is
`stack.core.pcapng`.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedIOBase, BytesIO
from struct import Struct
from typing import Final

from interop.pcap.pcapng import SECTION_BLOCK, Names, read_pcapng
from interop.pcap.record import Record
from stack.core.errors import DecodeError, LocalError
from stack.core.pcapng import SNAPLEN
from stack.core.train import Buffer

_MAGIC_US: Final = 0xA1B2C3D4
_MAGIC_NS: Final = 0xA1B23C4D

_PCAP: Final = "draft-ietf-opsawg-pcap §4"
_PCAP_PACKET: Final = "draft-ietf-opsawg-pcap §5"

_FILE_HEADER = Struct(">IHHiIII")
_PACKET_HEADER = Struct(">IIII")


class PcapWriter:
    """Writes packets of one link type, with nanosecond times, in big-endian order."""

    def __init__(self, stream: BufferedIOBase, linktype: int) -> None:
        self._stream = stream
        stream.write(_FILE_HEADER.pack(_MAGIC_NS, 2, 4, 0, 0, SNAPLEN, linktype))

    def write(self, time_ns: int, data: Buffer) -> None:
        """Append a packet.  Raises `LocalError` for a time before 1970 or after 2106, or a packet
        of more than `SNAPLEN` octets."""
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        if not 0 <= seconds < 1 << 32:
            raise LocalError(f"time {time_ns} ns does not fit a capture file")
        if len(data) > SNAPLEN:
            raise LocalError(f"packet of {len(data)} octets in a capture file")
        self._stream.write(_PACKET_HEADER.pack(seconds, nanoseconds, len(data), len(data)))
        self._stream.write(data)


def capture(packets: list[bytes], linktype: int, *, time_ns: int = 0) -> bytes:
    """A whole file of packets that all have the same time."""
    stream = BytesIO()
    writer = PcapWriter(stream, linktype)
    for packet in packets:
        writer.write(time_ns, packet)
    return stream.getvalue()


def is_capture(data: Buffer) -> bool:
    """Whether `data` begins as a capture file does."""
    head = bytes(data[:4])
    for magic in (_MAGIC_US, _MAGIC_NS, SECTION_BLOCK):
        if head in (magic.to_bytes(4, "big"), magic.to_bytes(4, "little")):
            return True
    return False


def read_capture(data: Buffer, names: Names | None = None) -> Iterator[Record]:
    """The packets of a capture file, in order, each copied out of `data`; what the file says that
    addresses are called comes into `names` on the way.

    Raises `DecodeError` at what is wrong; the packets before it have been given by then.
    """
    view = memoryview(data)
    if len(view) < 4:
        raise DecodeError("no capture file", _PCAP, 0)
    first = int.from_bytes(view[:4], "big")
    if first == SECTION_BLOCK:
        return read_pcapng(view, {} if names is None else names)
    for order in (">", "<"):
        (magic,) = Struct(order + "I").unpack_from(view)
        if magic in (_MAGIC_US, _MAGIC_NS):
            return _read_pcap(view, order, 1 if magic == _MAGIC_NS else 1000)
    raise DecodeError(f"no capture file: it begins with {first:08x}", _PCAP, 0)


def _read_pcap(view: memoryview, order: str, unit_ns: int) -> Iterator[Record]:
    header = Struct(order + "IHHiIII")
    packet = Struct(order + "IIII")
    if len(view) < header.size:
        raise DecodeError("file header cut short", _PCAP, len(view))
    _, major, _, _, _, _, network = header.unpack_from(view)
    if major != 2:
        raise DecodeError(f"version {major} of the pcap format", _PCAP, 4)
    linktype = network & 0xFFFF  # the upper bits tell of frame check sequences
    at = header.size
    while at < len(view):
        if packet.size > len(view) - at:
            raise DecodeError("packet header cut short", _PCAP_PACKET, at)
        seconds, fraction, size, original = packet.unpack_from(view, at)
        begin = at + packet.size
        if size > SNAPLEN or size > len(view) - begin:
            raise DecodeError("packet longer than the file or the format", _PCAP_PACKET, at)
        at = begin + size
        time_ns = seconds * 1_000_000_000 + fraction * unit_ns
        yield Record(time_ns, linktype, bytes(view[begin:at]), original)
