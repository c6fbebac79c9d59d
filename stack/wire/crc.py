"""The CRCs of BPv7 blocks (RFC 9171 §4.2.1) and of CCSDS frames, over any buffer, uncopied."""

from __future__ import annotations

import fastcrc.crc16
import fastcrc.crc32

# These are called for every block: what a function around them would cost is as much again.

crc16_x25 = fastcrc.crc16.ibm_sdlc
"""CRC-16/X-25 of octets, carrying on from that of what comes before them (second argument)."""

crc32c = fastcrc.crc32.iscsi
"""CRC-32C (Castagnoli) of octets, likewise."""

crc16_ccitt = fastcrc.crc16.ibm_3740
"""The CRC-16 of CFDP PDUs (CCSDS 727.0-B-5 §4.1) and transfer frames (132.0-B-3 §4.1.6):
polynomial 0x1021, preset to all ones."""
