"""State machines of Hypothesis that are the peer of an implementation under test.

They need the extra `fuzz`.  Each takes an adapter, a small class that stands for the
implementation, and holds what it says against a simple model written from the standard.

    fault         what they raise
    machine       what they share: the adapter, time, how a case ends
    transitions   which transitions of a table were taken
    agent         a bundle agent between two neighbours
    lines         an implementation that is asked line by line
    process, connection, asked
                  one in another process, one behind a port, and which it is
    command       a bundle agent there
    command_store, command_router, command_fecframe, command_bpsec
                  a store, a router, a sender or receiver, an acceptor there
    command_services, command_shares, command_nodes
                  an end of a service, a node whose store is shared, two whole nodes there
    neighbours    real ones, over TCPCL and LTP
    sockets       an agent between them
    channel       what is between two peers
    ltp           an LTP engine, each side
    nodes         two whole nodes, and what is between them
    remote        an LTP engine behind a UDP port
    router        a router, and what is booked of its contacts
    brute         routing by trying every way
    bpsec         an acceptor of secured bundles
    fecframe      sender and receiver of FECFRAME
    store         a durable store of bundles
    shares        a node whose store neighbours share
    services      file service and job service, two ends each
"""

from __future__ import annotations

from stack.core.extras import missing_extra

try:
    from interop.machines.agent import AgentPeer, AgentPeerMachine
    from interop.machines.bpsec import BpSecMachine, BpSecPeer
    from interop.machines.bpsec_model import Verdict
    from interop.machines.channel import PeerChannel
    from interop.machines.command import CommandAgentAdapter
    from interop.machines.command_bpsec import CommandBpSecAdapter
    from interop.machines.command_fecframe import CommandFecAdapter
    from interop.machines.command_nodes import CommandNodesAdapter
    from interop.machines.command_router import CommandRouterAdapter
    from interop.machines.command_services import CommandFilesAdapter, CommandJobsAdapter
    from interop.machines.command_shares import CommandSharesAdapter
    from interop.machines.command_store import CommandStoreAdapter
    from interop.machines.fecframe import FecMachine, FecPeer
    from interop.machines.ltp import LtpPeer, LtpPeerMachine
    from interop.machines.ltp_model import PeerFault
    from interop.machines.machine import PeerMachine
    from interop.machines.neighbours import LtpLink, TcpclLink
    from interop.machines.nodes import NodesPeer, NodesPeerMachine
    from interop.machines.remote import UdpLtpAdapter
    from interop.machines.router import FoundRoute, RouterPeer, RouterPeerMachine
    from interop.machines.services import FilePeer, FilesMachine, JobPeer, JobsMachine, PairMachine
    from interop.machines.shares import SharesMachine, SharesPeer
    from interop.machines.sockets import RemoteAgentMachine, SocketAgentAdapter
    from interop.machines.store import StoreMachine, StorePeer
except ImportError as error:
    raise missing_extra(error) or error from None

from interop.machines.fault import MachineFault
from interop.machines.transitions import Coverage, Transition, table

__all__ = [
    "AgentPeer",
    "AgentPeerMachine",
    "BpSecMachine",
    "BpSecPeer",
    "CommandAgentAdapter",
    "CommandBpSecAdapter",
    "CommandFecAdapter",
    "CommandFilesAdapter",
    "CommandJobsAdapter",
    "CommandNodesAdapter",
    "CommandRouterAdapter",
    "CommandSharesAdapter",
    "CommandStoreAdapter",
    "Coverage",
    "FecMachine",
    "FecPeer",
    "FilePeer",
    "FilesMachine",
    "FoundRoute",
    "JobPeer",
    "JobsMachine",
    "LtpLink",
    "LtpPeer",
    "LtpPeerMachine",
    "MachineFault",
    "NodesPeer",
    "NodesPeerMachine",
    "PairMachine",
    "PeerChannel",
    "PeerFault",
    "PeerMachine",
    "RemoteAgentMachine",
    "RouterPeer",
    "RouterPeerMachine",
    "SharesMachine",
    "SharesPeer",
    "SocketAgentAdapter",
    "StoreMachine",
    "StorePeer",
    "TcpclLink",
    "Transition",
    "UdpLtpAdapter",
    "Verdict",
    "table",
]
