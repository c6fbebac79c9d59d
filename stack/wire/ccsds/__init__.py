"""Frames of CCSDS space links: pure codecs."""

from __future__ import annotations

from stack.wire.ccsds.tm import (
    FIRST_HEADER_IDLE,
    FIRST_HEADER_NONE,
    TmFrame,
    decode_tm,
    encode_tm,
)

__all__ = ["FIRST_HEADER_IDLE", "FIRST_HEADER_NONE", "TmFrame", "decode_tm", "encode_tm"]
