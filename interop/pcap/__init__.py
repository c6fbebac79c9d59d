"""Capture files that Wireshark and tcpdump read and write, and the packets in them."""

from __future__ import annotations

from interop.pcap.capture import PcapWriter as PcapWriter
from interop.pcap.capture import capture as capture
from interop.pcap.capture import is_capture as is_capture
from interop.pcap.capture import read_capture as read_capture
from interop.pcap.exported import parse_exported_pdu as parse_exported_pdu
from interop.pcap.link import LINKTYPE_ETHERNET as LINKTYPE_ETHERNET
from interop.pcap.link import PacketPassedOver as PacketPassedOver
from interop.pcap.packet import UdpPacket as UdpPacket
from interop.pcap.packet import udp_between as udp_between
from interop.pcap.packet import udp_packet as udp_packet
from interop.pcap.parse import TcpSegment as TcpSegment
from interop.pcap.parse import parse_packet as parse_packet
from interop.pcap.pcapng import Names as Names
from interop.pcap.record import Record as Record
from interop.pcap.streams import StreamOctets as StreamOctets
from interop.pcap.streams import TcpStreams as TcpStreams
from stack.core.packets import exported_pdu as exported_pdu
from stack.core.pcapng import LINKTYPE_RAW as LINKTYPE_RAW
from stack.core.pcapng import LINKTYPE_UPPER_PDU as LINKTYPE_UPPER_PDU
from stack.core.pcapng import SNAPLEN as SNAPLEN
