"""Capture files that Wireshark and tcpdump read and write, and the packets in them."""

from __future__ import annotations

from interop.pcap.capture import PcapWriter, capture, is_capture, read_capture
from interop.pcap.exported import parse_exported_pdu
from interop.pcap.link import LINKTYPE_ETHERNET, PacketPassedOver
from interop.pcap.packet import UdpPacket, udp_between, udp_packet
from interop.pcap.parse import TcpSegment, parse_packet
from interop.pcap.pcapng import Names
from interop.pcap.record import Record
from interop.pcap.streams import StreamOctets, TcpStreams
from stack.core.packets import exported_pdu
from stack.core.pcapng import LINKTYPE_RAW, LINKTYPE_UPPER_PDU, SNAPLEN

__all__ = [
    "LINKTYPE_ETHERNET",
    "LINKTYPE_RAW",
    "LINKTYPE_UPPER_PDU",
    "SNAPLEN",
    "Names",
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
