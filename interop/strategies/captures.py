"""Capture files of several link types: classic pcap (draft-ietf-opsawg-pcap) and pcapng
(draft-ietf-opsawg-pcapng).

    records()               packets as captures hold them: link type, time, octets
    captures()              files of some, in either byte order and format
    nearly_captures()       files that break one rule of `CAPTURE_RULES`
    mutated_captures()      files with damage, block lengths of pcapng right again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from struct import pack, unpack_from

from interop.pcap import LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_UPPER_PDU, SNAPLEN
from interop.pcap.packet import UdpPacket, udp_packet
from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from interop.strategies.mutation import mutated
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.core.packets import exported_pdu

_HOSTS = (("10.0.0.1", "10.0.0.2"), ("fe80::1", "2001:db8::2"))
_SECOND = 1_000_000_000

SECTION, INTERFACE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 3, 6


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet, and when it was seen."""

    time_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WrittenCapture:
    """Packets of one link type, and how their file is written."""

    linktype: int
    packets: tuple[Captured, ...]
    order: str
    """Byte order of its numbers, as `struct` has it: "<" or ">"."""

    nanoseconds: bool
    """Of classic pcap; pcapng here always counts nanoseconds."""

    def pcap(self) -> bytes:
        """As classic pcap."""
        magic = 0xA1B23C4D if self.nanoseconds else 0xA1B2C3D4
        unit_ns = 1 if self.nanoseconds else 1000
        parts = [pack(self.order + "IHHiIII", magic, 2, 4, 0, 0, SNAPLEN, self.linktype)]
        for one in self.packets:
            seconds, rest = divmod(one.time_ns, _SECOND)
            size = len(one.data)
            parts += [pack(self.order + "IIII", seconds, rest // unit_ns, size, size), one.data]
        return b"".join(parts)

    def pcapng(self) -> bytes:
        """As pcapng: a section, an interface, and packets."""
        blocks = [self.section(), self.interface(self.linktype)]
        blocks += [self.packet(0, one) for one in self.packets]
        return b"".join(blocks)

    def block(self, kind: int, body: bytes) -> bytes:
        """A block: type, length, body, length."""
        body += bytes(-len(body) % 4)
        size = 12 + len(body)
        return pack(self.order + "II", kind, size) + body + pack(self.order + "I", size)

    def section(self) -> bytes:
        """The section header (§4.1)."""
        return self.block(SECTION, pack(self.order + "IHHq", 0x1A2B3C4D, 1, 0, -1))

    def interface(self, linktype: int) -> bytes:
        """An interface description of nanoseconds (§4.2)."""
        tsresol = pack(self.order + "HHBxxxHH", 9, 1, 9, 0, 0)
        return self.block(INTERFACE, pack(self.order + "HHI", linktype, 0, SNAPLEN) + tsresol)

    def packet(self, interface: int, one: Captured) -> bytes:
        """An enhanced packet (§4.3)."""
        size = len(one.data)
        high, low = divmod(one.time_ns, 1 << 32)
        head = pack(self.order + "IIIII", interface, high, low, size, size)
        return self.block(ENHANCED, head + one.data)


def _payload(choose: Choices) -> bytes:
    return choose.octets(0, 60)


@strategy
def capture_files(choose: Choices, *, payload: Source[bytes] = _payload) -> WrittenCapture:
    """Up to four packets of one link type: raw IP, Ethernet, or PDUs of a dissector, whose data
    are `payload`."""
    linktype = choose.pick((LINKTYPE_RAW, LINKTYPE_ETHERNET, LINKTYPE_UPPER_PDU))
    packets = tuple(
        Captured(
            choose.integer(0, (1 << 32) - 1) * _SECOND + choose.integer(0, 999_999) * 1000,
            _framed(choose, linktype, choose.draw(payload)),
        )
        for _ in choose.many(0, 4)
    )
    return WrittenCapture(linktype, packets, choose.pick(("<", ">")), choose.flip())


def _framed(choose: Choices, linktype: int, data: bytes) -> bytes:
    if linktype == LINKTYPE_UPPER_PDU:
        return exported_pdu(data, choose.pick(("ltp", "bpv7", "bundle")))
    source, destination = map(ip_address, choose.pick(_HOSTS))
    packet = udp_packet(UdpPacket(source, choose.uint(16, 1), destination, 1113, data))
    if linktype == LINKTYPE_RAW:
        return packet
    ethertype = b"\x08\x00" if source.version == 4 else b"\x86\xdd"
    return bytes(12) + ethertype + packet


@strategy
def captures(choose: Choices, *, payload: Source[bytes] = _payload) -> bytes:
    """A capture file, classic pcap or pcapng."""
    file = capture_files.make(choose, payload=payload)
    return file.pcapng() if choose.flip() else file.pcap()


def repaired(octets: bytes) -> bytes:
    """A pcapng file whose blocks end in the length with which they begin, rounded to fours and cut
    to what there is; other octets as they are."""
    if octets[:4] != SECTION.to_bytes(4, "big") or len(octets) < 12:
        return octets
    order = "<" if octets[8:12] == pack("<I", 0x1A2B3C4D) else ">"
    found, at = bytearray(), 0
    while len(octets) - at >= 12:
        kind, size = unpack_from(order + "II", octets, at)
        size = max(12, min(size & ~3, len(octets) - at & ~3))
        length = pack(order + "I", size)
        found += pack(order + "I", kind) + length + octets[at + 8 : at + size - 4] + length
        at += size
    return bytes(found)


@strategy
def mutated_captures(choose: Choices) -> bytes:
    """Capture files damaged at random; the blocks of pcapng hold together."""
    return mutated.make(choose, captures.make, repaired)


# ------------------------------------------------------------------------------ nearly valid

_PCAP = "draft-ietf-opsawg-pcap §4"
_PCAP_PACKET = "draft-ietf-opsawg-pcap §5"
_PCAPNG = "draft-ietf-opsawg-pcapng §4"

Spoil = Callable[[Choices, WrittenCapture], bytes]


def _some(choose: Choices) -> WrittenCapture:
    """A file of one packet or more, none of which is empty."""
    file = capture_files.make(choose)
    packets = file.packets or (Captured(0, b"\x45" + bytes(40)),)
    return WrittenCapture(file.linktype, packets, file.order, file.nanoseconds)


def _magic(choose: Choices, file: WrittenCapture) -> bytes:
    return (
        choose.pick((b"\0\0\0\0", b"\xa1\xb2\xc3\xd5", b"dtn!", b"\x1f\x8b\x08\0"))
        + (file.pcap()[4:])
    )


def _version(choose: Choices, file: WrittenCapture) -> bytes:
    octets = file.pcap()
    return octets[:4] + pack(file.order + "H", choose.pick((0, 1, 3, 543))) + octets[6:]


def _cut_head(choose: Choices, file: WrittenCapture) -> bytes:
    return file.pcap()[: choose.integer(4, 23)]


def _cut_packet(choose: Choices, file: WrittenCapture) -> bytes:
    octets, last = file.pcap(), len(file.packets[-1].data) + 16
    return octets[: len(octets) - last + choose.integer(1, last - 1)]


def _long_packet(choose: Choices, file: WrittenCapture) -> bytes:
    octets, last = file.pcap(), len(file.packets[-1].data)
    size = pack(file.order + "I", choose.pick((last + 1, SNAPLEN + 1, (1 << 32) - 1)))
    at = len(octets) - last - 8
    return octets[:at] + size + octets[at + 4 :]


def _blocks(file: WrittenCapture, *more: bytes) -> bytes:
    return file.section() + file.interface(file.linktype) + b"".join(more)


def _no_magic(choose: Choices, file: WrittenCapture) -> bytes:
    octets = file.pcapng()
    return octets[:8] + choose.pick((bytes(4), b"\x1a\x2b\x3c\x4e")) + octets[12:]


def _sized(*sizes: int) -> Spoil:
    """The last block says that it has one of these lengths, at both ends."""

    def spoil(choose: Choices, file: WrittenCapture) -> bytes:
        block = file.packet(0, file.packets[0])
        length = pack(file.order + "I", choose.pick(sizes))
        return _blocks(file, block[:4] + length + block[8:-4] + length)

    return spoil


def _two_lengths(choose: Choices, file: WrittenCapture) -> bytes:
    block = file.packet(0, file.packets[0])
    other = choose.pick([size for size in (0, 12, len(block) + 4, 1 << 31) if size != len(block)])
    return _blocks(file, block[:-4] + pack(file.order + "I", other))


def _cut_block(choose: Choices, file: WrittenCapture) -> bytes:
    block = file.packet(0, file.packets[0])
    return _blocks(file, block[: choose.integer(1, len(block) - 1)])


def _unknown_interface(choose: Choices, file: WrittenCapture) -> bytes:
    number = choose.pick((1, 2, 1 << 31, (1 << 32) - 1))
    return _blocks(file, file.packet(number, file.packets[0]))


def _no_interface(choose: Choices, file: WrittenCapture) -> bytes:
    simple = file.block(SIMPLE, pack(file.order + "I", 4) + b"abcd")
    return file.section() + choose.pick((simple, file.packet(0, file.packets[0])))


def _longer_than_its_block(choose: Choices, file: WrittenCapture) -> bytes:
    data = file.packets[0].data
    size = choose.pick((len(data) + 4, SNAPLEN + 1, (1 << 32) - 1))
    head = pack(file.order + "IIIII", 0, 0, 0, size, size)
    return _blocks(file, file.block(ENHANCED, head + data))


def _short_interface(choose: Choices, file: WrittenCapture) -> bytes:
    return file.section() + file.block(INTERFACE, bytes(choose.pick((0, 4))))


def _short_body(choose: Choices, file: WrittenCapture) -> bytes:
    return _blocks(file, file.block(ENHANCED, bytes(choose.pick((0, 4, 16)))))


def _resolution(choose: Choices, file: WrittenCapture) -> bytes:
    tsresol = pack(file.order + "HHBxxxHH", 9, 1, choose.pick((20, 127, 0xC1, 0xFF)), 0, 0)
    described = pack(file.order + "HHI", file.linktype, 0, SNAPLEN) + tsresol
    return file.section() + file.block(INTERFACE, described)


def _rule(clause: str, words: str, spoil: Spoil) -> WireRule[WrittenCapture]:
    return WireRule(Violation(clause, words), _some, spoil)


CAPTURE_RULES = (
    _rule(_PCAP, "another file", _magic),
    _rule(_PCAP, "another version", _version),
    _rule(_PCAP, "a file header cut short", _cut_head),
    _rule(_PCAP_PACKET, "a packet cut short by the file", _cut_packet),
    _rule(_PCAP_PACKET, "a packet longer than its file or any", _long_packet),
    _rule(_PCAPNG, "a section without byte order", _no_magic),
    _rule(_PCAPNG, "a block shorter than any", _sized(0, 4, 8)),
    _rule(_PCAPNG, "a block that does not end on a fourth octet", _sized(13, 33, 42)),
    _rule(_PCAPNG, "a block longer than its file", _sized(1 << 20, (1 << 32) - 4)),
    _rule(_PCAPNG, "a block cut short by the file", _cut_block),
    _rule(_PCAPNG, "a block of two lengths", _two_lengths),
    _rule(_PCAPNG, "a packet of an unknown interface", _unknown_interface),
    _rule(_PCAPNG, "a packet before any interface", _no_interface),
    _rule(_PCAPNG, "a packet longer than its block or any", _longer_than_its_block),
    _rule(_PCAPNG, "an interface block cut short", _short_interface),
    _rule(_PCAPNG, "a packet block cut short", _short_body),
    _rule(_PCAPNG, "a resolution beyond any clock", _resolution),
)
"""What `nearly_captures` breaks."""


@strategy
def nearly_captures(
    choose: Choices, *, rules: Sequence[WireRule[WrittenCapture]] = CAPTURE_RULES
) -> Nearly:
    """A capture file that breaks one rule, of `rules`."""
    return nearly(choose, rules, WrittenCapture.pcap)
