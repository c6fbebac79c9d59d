"""Capture files: a writer of classic pcap, and a reader of classic pcap and of pcapng.

Classic pcap: a 24-octet file header whose magic number tells byte order and time unit, then for
each packet 16 octets of header and its data (draft-ietf-opsawg-pcap).  pcapng: blocks of type,
length, body, length (draft-ietf-opsawg-pcapng); interface and packet blocks are read, the rest is
passed by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from struct import Struct
from typing import Final, NamedTuple

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer

LINKTYPE_ETHERNET: Final = 1
LINKTYPE_RAW: Final = 101
"""Packets begin with their IPv4 or IPv6 header."""

LINKTYPE_UPPER_PDU: Final = 252
"""Wireshark exported PDUs: tags that name a dissector, then the data that it is to read."""

SNAPLEN: Final = 262_144
"""Octets of one packet that a file may hold; the largest that libpcap takes."""

_MAGIC_US: Final = 0xA1B2C3D4
_MAGIC_NS: Final = 0xA1B23C4D
_MAGIC_PCAPNG: Final = 0x0A0D0D0A
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D

_PCAP: Final = "draft-ietf-opsawg-pcap §4"
_PCAP_PACKET: Final = "draft-ietf-opsawg-pcap §5"
_PCAPNG: Final = "draft-ietf-opsawg-pcapng §4"

_SECTION_BLOCK: Final = _MAGIC_PCAPNG
_INTERFACE_BLOCK: Final = 1
_SIMPLE_PACKET_BLOCK: Final = 3
_ENHANCED_PACKET_BLOCK: Final = 6
_OPTION_END: Final = 0
_OPTION_TSRESOL: Final = 9

INTERFACES_MAX: Final = 1024
"""Interfaces of one section: more of them serve only to fill our memory."""

_FILE_HEADER = Struct(">IHHiIII")
_PACKET_HEADER = Struct(">IIII")


@dataclass(frozen=True, slots=True)
class Record:
    """One packet of a capture."""

    time_ns: int
    """Nanoseconds since 1970-01-01T00:00:00Z."""

    linktype: int
    """How `data` begins: a LINKTYPE_ value."""

    data: bytes
    original_bytes: int
    """Length of the packet on the link; more than `data` has when the capture cut it short."""


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
    for magic in (_MAGIC_US, _MAGIC_NS, _MAGIC_PCAPNG):
        if head in (magic.to_bytes(4, "big"), magic.to_bytes(4, "little")):
            return True
    return False


def read_capture(data: Buffer) -> Iterator[Record]:
    """The packets of a capture file, in order, each copied out of `data`.

    Raises `DecodeError` at what is wrong; the packets before it have been given by then.
    """
    view = memoryview(data)
    if len(view) < 4:
        raise DecodeError("no capture file", _PCAP, 0)
    first = int.from_bytes(view[:4], "big")
    if first == _MAGIC_PCAPNG:
        return _read_pcapng(view)
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


class _Interface(NamedTuple):
    """What packets of one interface have in common."""

    linktype: int
    ticks_per_s: int


def _read_pcapng(view: memoryview) -> Iterator[Record]:
    interfaces: list[_Interface] = []
    order = ">"
    at = 0
    while at < len(view):
        if len(view) - at < 12:
            raise DecodeError("block cut short", _PCAPNG, at)
        if int.from_bytes(view[at : at + 4], "big") == _SECTION_BLOCK:
            order = _byte_order(view, at)
            interfaces.clear()
        kind, size = Struct(order + "II").unpack_from(view, at)
        if size < 12 or size % 4 or size > len(view) - at:
            raise DecodeError(f"block of {size} octets", _PCAPNG, at)
        body = view[at + 8 : at + size - 4]
        if kind == _INTERFACE_BLOCK:
            if len(interfaces) >= INTERFACES_MAX:
                raise DecodeError("too many interfaces", _PCAPNG, at)
            interfaces.append(_read_interface(body, order, at))
        elif kind == _ENHANCED_PACKET_BLOCK:
            yield _enhanced_packet(body, order, interfaces, at)
        elif kind == _SIMPLE_PACKET_BLOCK:
            yield _simple_packet(body, order, interfaces, at)
        at += size


def _byte_order(view: memoryview, at: int) -> str:
    """The byte order of the section that begins at `at`."""
    for order in (">", "<"):
        if Struct(order + "I").unpack_from(view, at + 8)[0] == _BYTE_ORDER_MAGIC:
            return order
    raise DecodeError("no byte-order magic in the section header", _PCAPNG, at)


def _read_interface(body: memoryview, order: str, at: int) -> _Interface:
    if len(body) < 8:
        raise DecodeError("interface block cut short", _PCAPNG, at)
    (linktype,) = Struct(order + "H").unpack_from(body)
    option = Struct(order + "HH")
    position = 8
    while len(body) - position >= option.size:
        code, size = option.unpack_from(body, position)
        position += option.size
        if code == _OPTION_END:
            break
        if code == _OPTION_TSRESOL and size == 1 and position < len(body):
            resolution = body[position]
            base, exponent = (2, resolution & 0x7F) if resolution & 0x80 else (10, resolution)
            if base**exponent > 1 << 64:
                raise DecodeError("absurd time resolution", _PCAPNG, at)
            return _Interface(linktype, base**exponent)
        position += (size + 3) & ~3
    return _Interface(linktype, 1_000_000)


def _enhanced_packet(body: memoryview, order: str, interfaces: list[_Interface], at: int) -> Record:
    head = Struct(order + "IIIII")
    if len(body) < head.size:
        raise DecodeError("packet block cut short", _PCAPNG, at)
    number, high, low, size, original = head.unpack_from(body)
    if number >= len(interfaces):
        raise DecodeError(f"packet of unknown interface {number}", _PCAPNG, at)
    if size > SNAPLEN or size > len(body) - head.size:
        raise DecodeError("packet longer than its block or the format", _PCAPNG, at)
    linktype, ticks_per_s = interfaces[number]
    time_ns = (high << 32 | low) * 1_000_000_000 // ticks_per_s
    return Record(time_ns, linktype, bytes(body[head.size : head.size + size]), original)


def _simple_packet(body: memoryview, order: str, interfaces: list[_Interface], at: int) -> Record:
    if len(body) < 4 or not interfaces:
        raise DecodeError("packet block cut short or without interface", _PCAPNG, at)
    (original,) = Struct(order + "I").unpack_from(body)
    data = bytes(body[4 : 4 + min(original, SNAPLEN)])
    return Record(0, interfaces[0].linktype, data, original)
