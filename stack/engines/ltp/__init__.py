"""LTP (RFC 5326) as a sans-IO engine: reliable (red) and unreliable (green) blocks over datagrams.

Service data units are aggregated into blocks, each block is one session.  Its red octets are sent
once, the receiver reports what arrived, and only what is missing is sent again, across passes of
the link if need be.  A block is acknowledged after the driver has it durably.
"""

from stack.engines.ltp.aggregator import capsule_client
from stack.engines.ltp.config import LtpConfig
from stack.engines.ltp.engine import LtpEngine
from stack.engines.ltp.events import (
    BlockReceived,
    EngineUnknown,
    Failed,
    GreenReceived,
    LinkAlive,
    LinkStalled,
    LtpEvent,
    PeerViolation,
    ReportHeld,
    Sent,
    SessionClosed,
)

__all__ = [
    "BlockReceived",
    "EngineUnknown",
    "Failed",
    "GreenReceived",
    "LinkAlive",
    "LinkStalled",
    "LtpConfig",
    "LtpEngine",
    "LtpEvent",
    "PeerViolation",
    "ReportHeld",
    "Sent",
    "SessionClosed",
    "capsule_client",
]
