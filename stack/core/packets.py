"""Packets made up for captures: UDP and TCP over IP with right checksums, and exported PDUs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

from stack.core.errors import LocalError
from stack.core.train import Buffer

Address = IPv4Address | IPv6Address
End = tuple[Address, int]
"""An address and a port."""

UDP: Final = 17
TCP: Final = 6
HOP_LIMIT: Final = 64

IPV4_HEAD = Struct(">BBHHHBBH4s4s")
IPV6_HEAD = Struct(">IHBB16s16s")
UDP_HEAD = Struct(">HHHH")
TCP_HEAD = Struct(">HHIIBBHHH")

TCP_FLAGS: Final = {"": 0x18, "SYN": 0x02, "SYN ACK": 0x12, "FIN": 0x11, "RST": 0x14}
"""TCP flags (RFC 9293 §3.1): data is sent with PSH and ACK."""

TAG = Struct(">HH")
TAG_END: Final = 0
TAG_DISSECTOR: Final = 12
TAG_TABLE: Final = 14
TAG_TABLE_PLACE: Final = 32
NAME_BYTES_MAX: Final = 255


def end_of(host: str, port: int) -> End:
    """A socket address as an end; a scope (`%eth0`) is left out.  Raises `LocalError`."""
    try:
        return ip_address(host.partition("%")[0]), port
    except ValueError as error:
        raise LocalError(str(error)) from None


def udp_packet(source: End, destination: End, data: Buffer) -> bytes:
    """A UDP datagram in its IP packet (RFC 768); IPv4 and IPv6 together make IPv6 with mapped
    addresses.  Raises `LocalError` for data over 65,507 (IPv4) or 65,527 octets."""
    length = UDP_HEAD.size + len(data)
    ends = _paired(source, destination)
    if length > 0xFFFF - (IPV4_HEAD.size if ends[0].version == 4 else 0):
        raise LocalError(f"{len(data)} octets in a UDP packet")
    head = UDP_HEAD.pack(source[1], destination[1], length, 0)
    # A checksum of zero is sent as all ones, as zero means that there is none.
    checksum = checksum_of(pseudo_header(*ends, length, UDP) + head + data) or 0xFFFF
    return b"".join((_ip(*ends, length, UDP), head[:6], checksum.to_bytes(2, "big"), data))


def tcp_packet(
    source: End, destination: End, sequence: int, answered: int, mark: str, data: Buffer
) -> bytes:
    """A TCP segment in its IP packet (RFC 9293 §3.1): number of its first octet, that of the next
    one that is awaited, and a mark of `TCP_FLAGS`.  Raises `LocalError` when it is too long."""
    length = TCP_HEAD.size + len(data)
    ends = _paired(source, destination)
    if length > 0xFFFF - IPV4_HEAD.size:
        raise LocalError(f"{len(data)} octets in a TCP segment")
    numbers = sequence & 0xFFFFFFFF, answered & 0xFFFFFFFF
    flags = TCP_FLAGS[mark]
    head = TCP_HEAD.pack(source[1], destination[1], *numbers, 5 << 4, flags, 0xFFFF, 0, 0)
    checksum = checksum_of(pseudo_header(*ends, length, TCP) + head + data)
    sums = checksum.to_bytes(2, "big")
    return b"".join((_ip(*ends, length, TCP), head[:16], sums, head[18:], data))


def exported_pdu(data: Buffer, dissector: str, place: int | None = None) -> bytes:
    """A packet that Wireshark hands to the dissector of that name, for example "bpv7", or to the
    one at a `place` of the table of that name: ("udp.port", 1113) is LTP, which has no name there.
    Tags of a 16-bit type and length and a padded value, then the data.  Raises `LocalError`."""
    name = dissector.encode()
    if not 0 < len(name) <= NAME_BYTES_MAX:
        raise LocalError(f"no name of a dissector: {dissector!r}")
    name += bytes(-len(name) % 4)
    parts = [TAG.pack(TAG_DISSECTOR if place is None else TAG_TABLE, len(name)), name]
    if place is not None:
        parts += [TAG.pack(TAG_TABLE_PLACE, 4), place.to_bytes(4, "big")]
    return b"".join((*parts, TAG.pack(TAG_END, 0), data))


def pseudo_header(source: Address, destination: Address, length: int, protocol: int) -> bytes:
    """What checksums cover beside what they stand in (RFC 768; RFC 8200 §8.1)."""
    addresses = source.packed + destination.packed
    if source.version == 4:
        return addresses + bytes((0, protocol)) + length.to_bytes(2, "big")
    return addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))


def checksum_of(octets: bytes) -> int:
    """The internet checksum (RFC 1071): what is left of the sum of 16-bit words in ones'
    complement is its remainder by 65,535, where only zeros add up to zero."""
    number = int.from_bytes(octets, "big") << (8 if len(octets) % 2 else 0)
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def _paired(source: End, destination: End) -> tuple[Address, Address]:
    for _, port in (source, destination):
        if not 0 <= port <= 0xFFFF:
            raise LocalError(f"no port: {port}")
    ends = source[0], destination[0]
    if ends[0].version == ends[1].version:
        return ends
    return _mapped(ends[0]), _mapped(ends[1])


def _mapped(address: Address) -> IPv6Address:
    """RFC 4291 §2.5.5.2."""
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(bytes(10) + b"\xff\xff" + address.packed)


def _ip(source: Address, destination: Address, length: int, protocol: int) -> bytes:
    """The header before `length` octets: RFC 791 §3.1, with "don't fragment"; RFC 8200 §3."""
    addresses = source.packed, destination.packed
    if source.version == 6:
        return IPV6_HEAD.pack(6 << 28, length, protocol, HOP_LIMIT, *addresses)
    fields = 0x45, 0, IPV4_HEAD.size + length, 0, 0x4000, HOP_LIMIT, protocol
    head = IPV4_HEAD.pack(*fields, 0, *addresses)
    return IPV4_HEAD.pack(*fields, checksum_of(head), *addresses)
