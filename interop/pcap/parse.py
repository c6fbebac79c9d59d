"""UDP datagrams and TCP segments out of captured packets, checked."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from interop.pcap.link import PacketPassedOver, network_offset
from interop.pcap.packet import UdpPacket
from stack.core.errors import DecodeError
from stack.core.packets import (
    IPV4_HEAD,
    IPV6_HEAD,
    TCP,
    TCP_HEAD,
    UDP,
    UDP_HEAD,
    Address,
    checksum_of,
    pseudo_header,
)
from stack.core.train import Buffer

_PROTOCOLS: Final = {
    1: "ICMP",
    2: "IGMP",
    47: "GRE",
    50: "ESP: encrypted IP",
    58: "ICMPv6",
    59: "IPv6 without a next header",
    132: "SCTP",
}
_HOP_BY_HOP: Final = 0
_ROUTING: Final = 43
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51
_OPTIONS: Final = frozenset((_HOP_BY_HOP, _ROUTING, 60, 135, 139, 140))
"""Extension headers that say their length in units of eight octets (RFC 8200 §4)."""

EXTENSIONS_MAX: Final = 16
"""Extension headers of one packet; RFC 8200 §4.1 knows of seven at most."""

_SYN: Final = 0x02


@dataclass(frozen=True, slots=True)
class TcpSegment:
    """A TCP segment and whence and where it goes."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int
    sequence: int
    """Number of the first octet of `data`, or of the SYN."""

    syn: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class _Ip:
    """What an IP packet carries."""

    source: Address
    destination: Address
    protocol: int
    octets: memoryview
    offset: int
    whole: bool
    """The capture holds all of it."""

    routed: bool = False
    """A routing header names another final destination, which the checksum means."""


def parse_packet(data: Buffer, linktype: int, *, cut: bool = False) -> UdpPacket | TcpSegment:
    """The UDP datagram or TCP segment in a captured packet.

    `cut`: the capture kept only the first octets of the packet, and so does what is given.  A
    length of 0 (segmentation offload) means the rest.  Raises `PacketPassedOver` for what carries
    neither, and `DecodeError` for what is broken or a fragment.
    """
    view = memoryview(data)
    at = network_offset(view, linktype)
    if at >= len(view):
        raise DecodeError("packet cut short", "RFC 791 §3.1", at)
    version = view[at] >> 4
    if version == 4:
        ip = _ipv4(view, at, cut)
    elif version == 6:
        ip = _ipv6(view, at, cut)
    else:
        raise DecodeError(f"IP version {version}", "RFC 791 §3.1", at)
    return _udp(ip, cut) if ip.protocol == UDP else _tcp(ip)


def _wanted(protocol: int) -> None:
    if protocol not in (UDP, TCP):
        raise PacketPassedOver(_PROTOCOLS.get(protocol, f"IP protocol {protocol}"))


def _ipv4(view: memoryview, at: int, cut: bool) -> _Ip:
    section = "RFC 791 §3.1"
    if len(view) - at < IPV4_HEAD.size:
        raise DecodeError("IPv4 header cut short", section, at)
    first, _, total, _, fragment, _, protocol, checksum, source, destination = (
        IPV4_HEAD.unpack_from(view, at)
    )
    head = (first & 15) * 4
    total = total or len(view) - at  # zero where the network card cuts the packet up
    if not IPV4_HEAD.size <= head <= min(total, len(view) - at):
        raise DecodeError("IPv4 lengths contradict the packet", section, at)
    if total > len(view) - at and not cut:
        raise DecodeError("IPv4 lengths contradict the packet", section, at)
    if checksum and checksum_of(bytes(view[at : at + head])):  # zero: left to the network card
        raise DecodeError("IPv4 header checksum does not match", section, at)
    _wanted(protocol)
    if fragment & 0x3FFF:
        raise DecodeError("fragment of an IPv4 packet", section, at)
    octets = view[at + head : at + total]
    whole = at + total <= len(view)
    return _Ip(IPv4Address(source), IPv4Address(destination), protocol, octets, at + head, whole)


def _ipv6(view: memoryview, at: int, cut: bool) -> _Ip:
    section = "RFC 8200 §3"
    if len(view) - at < IPV6_HEAD.size:
        raise DecodeError("IPv6 header cut short", section, at)
    _, length, protocol, _, source, destination = IPV6_HEAD.unpack_from(view, at)
    begin = at + IPV6_HEAD.size
    end = begin + length if length else len(view)  # zero: offload, or a jumbogram (RFC 2675)
    if end > len(view) and not cut:
        raise DecodeError("IPv6 packet cut short", section, at)
    whole, end = end <= len(view), min(end, len(view))
    protocol, begin, routed = _extensions(view[:end], protocol, begin)
    _wanted(protocol)
    return _Ip(
        IPv6Address(source),
        IPv6Address(destination),
        protocol,
        view[begin:end],
        begin,
        whole,
        routed,
    )


def _extensions(view: memoryview, protocol: int, at: int) -> tuple[int, int, bool]:
    """Pass by extension headers (RFC 8200 §4): (protocol, offset, whether the packet has still to
    be routed).  Raises `DecodeError` for a fragment."""
    routed = False
    for _ in range(EXTENSIONS_MAX):
        if protocol not in _OPTIONS and protocol not in (_FRAGMENT, _AUTHENTICATION):
            return protocol, at, routed
        if len(view) - at < 8:
            raise DecodeError("IPv6 extension header cut short", "RFC 8200 §4", at)
        following, size = view[at], view[at + 1]
        if protocol == _FRAGMENT:
            if int.from_bytes(view[at + 2 : at + 4], "big") & 0xFFF9:
                raise DecodeError("fragment of an IPv6 packet", "RFC 8200 §4.5", at)
            octets = 8
        elif protocol == _AUTHENTICATION:
            octets = (size + 2) * 4
        else:
            octets = (size + 1) * 8
        routed = routed or (protocol == _ROUTING and view[at + 3] > 0)
        protocol, at = following, at + octets
        if at > len(view):
            raise DecodeError("IPv6 extension header cut short", "RFC 8200 §4", len(view))
    raise DecodeError("too many IPv6 extension headers", "RFC 8200 §4.1", at)


def _udp(ip: _Ip, cut: bool) -> UdpPacket:
    section = "RFC 768"
    octets = ip.octets
    if len(octets) < UDP_HEAD.size:
        raise DecodeError("UDP header cut short", section, ip.offset)
    source_port, destination_port, length, checksum = UDP_HEAD.unpack_from(octets)
    length = length or len(octets)  # zero: offload, or a jumbogram (RFC 2675 §4)
    if length < UDP_HEAD.size or (length > len(octets) and not cut):
        raise DecodeError("UDP length contradicts the packet", section, ip.offset)
    datagram = bytes(octets[:length])
    verdict = "ok"
    if not checksum and ip.source.version == 4:
        verdict = "none"
    elif not ip.whole or length > len(octets) or ip.routed:
        verdict = "unknown"
    else:
        header = pseudo_header(ip.source, ip.destination, length, UDP)
        if checksum_of(header + datagram):
            # A packet seen on its way to the network card, which will compute the rest.
            partial = checksum == checksum_of(header) ^ 0xFFFF
            verdict = "offloaded" if partial else "wrong"
    data = datagram[UDP_HEAD.size :]
    return UdpPacket(ip.source, source_port, ip.destination, destination_port, data, verdict)


def _tcp(ip: _Ip) -> TcpSegment:
    section = "RFC 9293 §3.1"
    octets = ip.octets
    if len(octets) < TCP_HEAD.size:
        raise DecodeError("TCP header cut short", section, ip.offset)
    source_port, destination_port, sequence, _, head, flags, _, _, _ = TCP_HEAD.unpack_from(octets)
    size = (head >> 4) * 4
    if not TCP_HEAD.size <= size <= len(octets):
        raise DecodeError("TCP header cut short", section, ip.offset)
    return TcpSegment(
        ip.source,
        source_port,
        ip.destination,
        destination_port,
        sequence,
        bool(flags & _SYN),
        bytes(octets[size:]),
    )
