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
from interop.pcap.link import PacketPassedOver
from interop.pcap.packet import UdpPacket, udp_between, udp_packet
from interop.pcap.parse import TcpSegment, parse_packet
from interop.pcap.streams import StreamOctets, TcpStreams

__all__ = [
    "LINKTYPE_ETHERNET",
    "LINKTYPE_RAW",
    "LINKTYPE_UPPER_PDU",
    "SNAPLEN",
    "PacketPassedOver",
    "PcapWriter",
    "Record",
    "StreamOctets",
    "TcpSegment",
    "TcpStreams",
    "UdpPacket",
    "capture",
    "exported_pdu",
    "is_capture",
    "parse_exported_pdu",
    "parse_packet",
    "read_capture",
    "udp_between",
    "udp_packet",
]
