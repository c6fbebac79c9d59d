"""UDP packets as they stand in captures: Ethernet or bare IP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from interop.pcap.link import LINKTYPE_ETHERNET
from stack.core import packets
from stack.core.errors import LocalError
from stack.core.packets import Address
from stack.core.pcapng import LINKTYPE_RAW

_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_IPV6: Final = 0x86DD
_MAC_DESTINATION: Final = bytes.fromhex("020000000002")
_MAC_SOURCE: Final = bytes.fromhex("020000000001")
"""Locally administered addresses: nobody's."""


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
    if source.version != destination.version:
        raise LocalError(f"a packet from {source} to {destination}")
    octets = packets.udp_packet(
        (source, packet.source_port), (destination, packet.destination_port), packet.data
    )
    if linktype == LINKTYPE_RAW:
        return octets
    if linktype == LINKTYPE_ETHERNET:
        ethertype = _ETHERTYPE_IPV4 if source.version == 4 else _ETHERTYPE_IPV6
        return _MAC_DESTINATION + _MAC_SOURCE + ethertype.to_bytes(2, "big") + octets
    raise LocalError(f"no packets of link type {linktype}")


def udp_between(
    source: tuple[str, int], destination: tuple[str, int], data: bytes, *, linktype: int
) -> bytes:
    """`udp_packet` with addresses as socket addresses are written.  Raises `LocalError`."""
    ends = packets.end_of(*source), packets.end_of(*destination)
    return udp_packet(UdpPacket(*ends[0], *ends[1], data), linktype=linktype)
