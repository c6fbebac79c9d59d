"""State machines of Hypothesis that are the peer of an implementation under test.

They need the extra `fuzz`.  Each takes an adapter, a small class that stands for the
implementation, and holds what it says against a simple model written from the standard.
"""

from __future__ import annotations

from stack.core.extras import missing_extra

try:
    from interop.machines.ltp import LtpPeer, LtpPeerMachine
    from interop.machines.store import StoreMachine, StorePeer
except ImportError as error:
    raise missing_extra(error) or error from None

from interop.machines.fault import MachineFault
from interop.machines.ltp_model import PeerFault

__all__ = ["LtpPeer", "LtpPeerMachine", "MachineFault", "PeerFault", "StoreMachine", "StorePeer"]
