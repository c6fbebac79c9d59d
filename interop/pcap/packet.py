"""UDP packets as they stand in captures: Ethernet or bare IP, checksums computed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

import numpy as np

from interop.pcap.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW
from stack.core.errors import LocalError

UDP: Final = 17
_HOP_LIMIT: Final = 64
_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_IPV6: Final = 0x86DD
_MAC_DESTINATION: Final = bytes.fromhex("020000000002")
_MAC_SOURCE: Final = bytes.fromhex("020000000001")
"""Locally administered addresses: nobody's."""

UDP_HEAD = Struct(">HHHH")
IPV4_HEAD = Struct(">BBHHHBBH4s4s")
IPV6_HEAD = Struct(">IHBB16s16s")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class UdpPacket:
    """A UDP datagram and whence and where it goes."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int
    data: bytes
    checksum: str = "ok"
    """Of the UDP header: "ok", "wrong", "none" (IPv4 only), "offloaded" (left to the network card)
    or "unknown" (the packet is not whole, or a routing header names its destination)."""


def udp_packet(packet: UdpPacket, *, linktype: int = LINKTYPE_RAW) -> bytes:
    """The octets of a packet for a capture of `linktype`, with right checksums.

    Raises `LocalError` for addresses of two kinds, data over 65,507 (IPv4) or 65,527 octets, a
    port that is none, or a link type other than ETHERNET and RAW.
    """
    source, destination = packet.source, packet.destination
    length = UDP_HEAD.size + len(packet.data)
    ports = (packet.source_port, packet.destination_port)
    if not all(0 <= port <= 0xFFFF for port in ports):
        raise LocalError(f"UDP ports {ports}")
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        if length > 0xFFFF - IPV4_HEAD.size:
            raise LocalError(f"{len(packet.data)} octets in a UDP packet")
        head = _ipv4_head(source, destination, length)
        ethertype = _ETHERTYPE_IPV4
    elif isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        if length > 0xFFFF:
            raise LocalError(f"{len(packet.data)} octets in a UDP packet")
        head = IPV6_HEAD.pack(6 << 28, length, UDP, _HOP_LIMIT, source.packed, destination.packed)
        ethertype = _ETHERTYPE_IPV6
    else:
        raise LocalError(f"a packet from {source} to {destination}")
    udp = UDP_HEAD.pack(*ports, length, 0) + packet.data
    # RFC 768: a checksum of zero is sent as all ones, as zero means that there is none
    checksum = checksum_of(pseudo_header(source, destination, length) + udp) or 0xFFFF
    octets = b"".join((head, udp[:6], checksum.to_bytes(2, "big"), packet.data))
    if linktype == LINKTYPE_RAW:
        return octets
    if linktype == LINKTYPE_ETHERNET:
        return _MAC_DESTINATION + _MAC_SOURCE + ethertype.to_bytes(2, "big") + octets
    raise LocalError(f"no packets of link type {linktype}")


def _ipv4_head(source: IPv4Address, destination: IPv4Address, length: int) -> bytes:
    """RFC 791 §3.1, with "don't fragment"."""
    fields = (0x45, 0, IPV4_HEAD.size + length, 0, 0x4000, _HOP_LIMIT, UDP)
    addresses = (source.packed, destination.packed)
    head = IPV4_HEAD.pack(*fields, 0, *addresses)
    return IPV4_HEAD.pack(*fields, checksum_of(head), *addresses)


def pseudo_header(source: Address, destination: Address, length: int) -> bytes:
    """What the UDP checksum covers beside the datagram (RFC 768; RFC 8200 §8.1)."""
    addresses = source.packed + destination.packed
    if source.version == 4:
        return addresses + bytes((0, UDP)) + length.to_bytes(2, "big")
    return addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, UDP))


def checksum_of(octets: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total = int(np.frombuffer(octets, ">u2").sum(dtype=np.uint64))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def udp_between(
    source: tuple[str, int], destination: tuple[str, int], data: bytes, *, linktype: int
) -> bytes:
    """`udp_packet` with addresses as socket addresses are written.  Raises `LocalError`."""
    try:
        ends = ip_address(source[0]), ip_address(destination[0])
    except ValueError as error:
        raise LocalError(str(error)) from None
    return udp_packet(
        UdpPacket(ends[0], source[1], ends[1], destination[1], data), linktype=linktype
    )
