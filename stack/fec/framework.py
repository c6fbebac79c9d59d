"""FECFRAME (RFC 6363): what users of forward error correction on datagrams import."""

from __future__ import annotations

from stack.fec.config import FecConfig
from stack.fec.receiver import FecReceiver
from stack.fec.sender import FecSender

__all__ = ["FecConfig", "FecReceiver", "FecSender"]
