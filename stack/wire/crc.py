"""The two block CRCs of BPv7 (RFC 9171 §4.2.1), over any buffer and without copies."""

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
