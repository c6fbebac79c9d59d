"""The CRCs of BPv7 blocks (RFC 9171 §4.2.1) and of CCSDS frames, over any buffer, uncopied."""

from __future__ import annotations

import fastcrc.crc16
import fastcrc.crc32

from stack.core.train import Buffer


def crc16_x25(data: Buffer, crc: int = 0) -> int:
    """CRC-16/X-25 of `data`, carrying on from `crc` of what comes before it."""
    value: int = fastcrc.crc16.ibm_sdlc(data, crc)
    return value


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of `data`, carrying on from `crc` of what comes before it."""
    value: int = fastcrc.crc32.iscsi(data, crc)
    return value


def crc16_ccitt(data: Buffer) -> int:
    """The CRC-16 of CFDP PDUs (CCSDS 727.0-B-5 §4.1) and transfer frames (132.0-B-3 §4.1.6):
    polynomial 0x1021, preset to all ones."""
    value: int = fastcrc.crc16.ibm_3740(data)
    return value
