"""Capture files that Wireshark and tcpdump read and write, and the packets in them."""

from __future__ import annotations

from interop.pcap.capture import (
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    LINKTYPE_UPPER_PDU,
    SNAPLEN,
    PcapWriter,
    Record,
    capture,
    is_capture,
    read_capture,
)
from interop.pcap.exported import exported_pdu, parse_exported_pdu
from interop.pcap.packet import UdpPacket, parse_udp, udp_between, udp_packet

__all__ = [
    "LINKTYPE_ETHERNET",
    "LINKTYPE_RAW",
    "LINKTYPE_UPPER_PDU",
    "SNAPLEN",
    "PcapWriter",
    "Record",
    "UdpPacket",
    "capture",
    "exported_pdu",
    "is_capture",
    "parse_exported_pdu",
    "parse_udp",
    "read_capture",
    "udp_between",
    "udp_packet",
]
