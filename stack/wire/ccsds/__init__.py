"""Frames of CCSDS space links: pure codecs."""

from __future__ import annotations

from stack.wire.ccsds.tm import FIRST_HEADER_IDLE as FIRST_HEADER_IDLE
from stack.wire.ccsds.tm import FIRST_HEADER_NONE as FIRST_HEADER_NONE
from stack.wire.ccsds.tm import TmFrame as TmFrame
from stack.wire.ccsds.tm import decode_tm as decode_tm
from stack.wire.ccsds.tm import encode_tm as encode_tm
