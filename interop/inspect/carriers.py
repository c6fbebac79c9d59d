"""What a datagram holds, by its ports or by the dissector that it was exported for."""

from __future__ import annotations

from typing import Final

from interop.pcap import UdpPacket

PORT_LTP: Final = 1113
"""UDP port of LTP (RFC 7122)."""

EXPORTED: Final = {"bpv7": "bundle", "ltp": "ltp", f"udp.port {PORT_LTP}": "ltp"}
"""What exported PDUs are, by their dissector."""


def kind_of(packet: UdpPacket) -> str:
    """A kind of `interop.inspect.dissect`.  Port 4556, which is that of bundles in datagrams, says
    nothing: LTP is run over it, too."""
    return "ltp" if PORT_LTP in (packet.source_port, packet.destination_port) else "auto"
