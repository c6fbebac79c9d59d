"""UDP packets as they stand in captures: Ethernet or bare IP, checksums computed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Final

import numpy as np

from interop.pcap.capture import LINKTYPE_ETHERNET, LINKTYPE_RAW
from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer

_UDP: Final = 17
_HOP_LIMIT: Final = 64
_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_IPV6: Final = 0x86DD
_ETHERTYPE_VLAN: Final = 0x8100
_MAC_DESTINATION: Final = bytes.fromhex("020000000002")
_MAC_SOURCE: Final = bytes.fromhex("020000000001")
"""Locally administered addresses: nobody's."""

_UDP_HEAD = Struct(">HHHH")
_IPV4_HEAD = Struct(">BBHHHBBH4s4s")
_IPV6_HEAD = Struct(">IHBB16s16s")

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
    """Of the UDP header: "ok", "wrong" or "none" (IPv4 only)."""


def udp_packet(packet: UdpPacket, *, linktype: int = LINKTYPE_RAW) -> bytes:
    """The octets of a packet for a capture of `linktype`, with right checksums.

    Raises `LocalError` for addresses of two kinds, data over 65,507 (IPv4) or 65,527 octets, a
    port that is none, or a link type other than ETHERNET and RAW.
    """
    source, destination = packet.source, packet.destination
    length = _UDP_HEAD.size + len(packet.data)
    ports = (packet.source_port, packet.destination_port)
    if not all(0 <= port <= 0xFFFF for port in ports):
        raise LocalError(f"UDP ports {ports}")
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        if length > 0xFFFF - _IPV4_HEAD.size:
            raise LocalError(f"{len(packet.data)} octets in a UDP packet")
        head = _ipv4_head(source, destination, length)
        ethertype = _ETHERTYPE_IPV4
    elif isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        if length > 0xFFFF:
            raise LocalError(f"{len(packet.data)} octets in a UDP packet")
        head = _IPV6_HEAD.pack(6 << 28, length, _UDP, _HOP_LIMIT, source.packed, destination.packed)
        ethertype = _ETHERTYPE_IPV6
    else:
        raise LocalError(f"a packet from {source} to {destination}")
    udp = _UDP_HEAD.pack(*ports, length, 0) + packet.data
    # RFC 768: a checksum of zero is sent as all ones, as zero means that there is none
    checksum = _checksum(_pseudo_header(source, destination, length) + udp) or 0xFFFF
    octets = b"".join((head, udp[:6], checksum.to_bytes(2, "big"), packet.data))
    if linktype == LINKTYPE_RAW:
        return octets
    if linktype == LINKTYPE_ETHERNET:
        return _MAC_DESTINATION + _MAC_SOURCE + ethertype.to_bytes(2, "big") + octets
    raise LocalError(f"no packets of link type {linktype}")


def _ipv4_head(source: IPv4Address, destination: IPv4Address, length: int) -> bytes:
    """RFC 791 §3.1, with "don't fragment"."""
    fields = (0x45, 0, _IPV4_HEAD.size + length, 0, 0x4000, _HOP_LIMIT, _UDP)
    addresses = (source.packed, destination.packed)
    head = _IPV4_HEAD.pack(*fields, 0, *addresses)
    return _IPV4_HEAD.pack(*fields, _checksum(head), *addresses)


def _pseudo_header(source: Address, destination: Address, length: int) -> bytes:
    """What the UDP checksum covers beside the datagram (RFC 768; RFC 8200 §8.1)."""
    addresses = source.packed + destination.packed
    if source.version == 4:
        return addresses + bytes((0, _UDP)) + length.to_bytes(2, "big")
    return addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, _UDP))


def _checksum(octets: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total = int(np.frombuffer(octets, ">u2").sum(dtype=np.uint64))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


def parse_udp(data: Buffer, linktype: int) -> UdpPacket | None:
    """The UDP datagram in a packet of a capture; None when it carries another protocol.

    Raises `DecodeError` for what is broken, fragmented, or of a link type other than ETHERNET
    and RAW.
    """
    view = memoryview(data)
    at = 0
    if linktype == LINKTYPE_ETHERNET:
        ethertype, at = _ethertype(view, 12)
        if ethertype == _ETHERTYPE_VLAN:
            ethertype, at = _ethertype(view, at + 2)
        if ethertype not in (_ETHERTYPE_IPV4, _ETHERTYPE_IPV6):
            return None
    elif linktype != LINKTYPE_RAW:
        raise DecodeError(f"packets of link type {linktype}", "draft-ietf-opsawg-pcap §4", 0)
    if at >= len(view):
        raise DecodeError("packet cut short", "RFC 791 §3.1", at)
    version = view[at] >> 4
    if version == 4:
        return _parse_ipv4(view, at)
    if version == 6:
        return _parse_ipv6(view, at)
    raise DecodeError(f"IP version {version}", "RFC 791 §3.1", at)


def _ethertype(view: memoryview, at: int) -> tuple[int, int]:
    if len(view) < at + 2:
        raise DecodeError("Ethernet header cut short", "IEEE 802.3 §3.1", at)
    return view[at] << 8 | view[at + 1], at + 2


def _parse_ipv4(view: memoryview, at: int) -> UdpPacket | None:
    section = "RFC 791 §3.1"
    if len(view) - at < _IPV4_HEAD.size:
        raise DecodeError("IPv4 header cut short", section, at)
    first, _, total, _, fragment, _, protocol, _, source, destination = _IPV4_HEAD.unpack_from(
        view, at
    )
    head = (first & 15) * 4
    if head < _IPV4_HEAD.size or not head <= total <= len(view) - at:
        raise DecodeError("IPv4 lengths contradict the packet", section, at)
    if _checksum(bytes(view[at : at + head])):
        raise DecodeError("IPv4 header checksum does not match", section, at)
    if protocol != _UDP:
        return None
    if fragment & 0x3FFF:
        raise DecodeError("fragment of an IPv4 packet", section, at)
    octets = view[at + head : at + total]
    return _parse_udp(octets, IPv4Address(source), IPv4Address(destination), at + head)


def _parse_ipv6(view: memoryview, at: int) -> UdpPacket | None:
    section = "RFC 8200 §3"
    if len(view) - at < _IPV6_HEAD.size:
        raise DecodeError("IPv6 header cut short", section, at)
    _, length, following, _, source, destination = _IPV6_HEAD.unpack_from(view, at)
    begin = at + _IPV6_HEAD.size
    if length > len(view) - begin:
        raise DecodeError("IPv6 packet cut short", section, at)
    if following != _UDP:  # another protocol, or extension headers that nobody here sends
        return None
    octets = view[begin : begin + length]
    return _parse_udp(octets, IPv6Address(source), IPv6Address(destination), begin)


def _parse_udp(octets: memoryview, source: Address, destination: Address, offset: int) -> UdpPacket:
    section = "RFC 768"
    if len(octets) < _UDP_HEAD.size:
        raise DecodeError("UDP header cut short", section, offset)
    source_port, destination_port, length, checksum = _UDP_HEAD.unpack_from(octets)
    if not _UDP_HEAD.size <= length <= len(octets):
        raise DecodeError("UDP length contradicts the packet", section, offset)
    datagram = bytes(octets[:length])
    verdict = "ok"
    if not checksum and source.version == 4:
        verdict = "none"
    elif _checksum(_pseudo_header(source, destination, length) + datagram):
        verdict = "wrong"
    return UdpPacket(
        source, source_port, destination, destination_port, datagram[_UDP_HEAD.size :], verdict
    )


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
