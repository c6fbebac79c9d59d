"""LTP (RFC 5326) as a sans-IO engine: reliable (red) and unreliable (green) blocks over datagrams.

Service data units are aggregated into blocks, each block is one session.  Its red octets are sent
once, the receiver reports what arrived, and only what is missing is sent again, across passes of
the link if need be.  A block is acknowledged after the driver has it durably.
"""

from stack.engines.ltp.aggregator import capsule_client as capsule_client
from stack.engines.ltp.config import LtpConfig as LtpConfig
from stack.engines.ltp.engine import LtpEngine as LtpEngine
from stack.engines.ltp.events import BlockReceived as BlockReceived
from stack.engines.ltp.events import EngineUnknown as EngineUnknown
from stack.engines.ltp.events import Failed as Failed
from stack.engines.ltp.events import GreenReceived as GreenReceived
from stack.engines.ltp.events import LinkAlive as LinkAlive
from stack.engines.ltp.events import LinkStalled as LinkStalled
from stack.engines.ltp.events import LtpEvent as LtpEvent
from stack.engines.ltp.events import PeerViolation as PeerViolation
from stack.engines.ltp.events import ReportHeld as ReportHeld
from stack.engines.ltp.events import Sent as Sent
from stack.engines.ltp.events import SessionClosed as SessionClosed
