"""A bundle agent behind sockets, between two neighbours that are real peers of it.

    class TestTheirs(RemoteAgentMachine):
        adapter = SocketAgentAdapter(
            west=TcpclLink("127.0.0.1:4556"),
            east=LtpLink("127.0.0.1:1114", "127.0.0.1:1113", engine_id=3, agent_engine_id=1),
            start="their-agent --folder {}",
        )

The agent is the node ``dtn://under-test/``, and knows its neighbours ``dtn://west/`` and
``dtn://east/``; what is for their nodes goes to them, status reports too.  It is started anew for
each case, with an empty folder in the place of ``{}``, and killed with SIGKILL where the machine
wants a restart.  Time is that on the wall.  Nobody can make its applications send, or sees what
they get: no application of it may be registered as ``app``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from interop.fuzzing.network import START_S
from interop.fuzzing.server import Server
from interop.fuzzing.target import TargetOptions
from interop.machines.agent import AgentPeerMachine
from interop.machines.fault import MachineFault
from interop.machines.neighbours import MakesNeighbour, PeerNeighbour
from stack.core.clock import dtn_from_unix
from stack.core.errors import ConfigError

QUIET_S: Final = 0.05
"""So long is heard after each step what comes of it."""

RETRY_S: Final = 0.05


class SocketAgent:
    """One case with it.  Raises `ConfigError` for what cannot be started or reached."""

    def __init__(self, options: SocketAgentAdapter, names: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-agent-")
        self._server: Server | None = None
        self._neighbours: dict[str, PeerNeighbour] = {}
        self._up = dict.fromkeys(names, False)
        try:
            if options.start:
                command = options.start.replace("{}", self._folder.name)
                self._server = Server(command, TargetOptions().bounds())
                self._server.start()
            for name, make in zip(names, (options.west, options.east), strict=True):
                self._neighbours[name] = make(name, options.timeout_s)
            self._wait()
        except BaseException:
            self._end()
            raise

    def _wait(self) -> None:
        """Until it listens.  Raises `ConfigError`."""
        end = time.monotonic() + (START_S if self._server is not None else 0)
        for name, neighbour in self._neighbours.items():
            while not neighbour.reachable():
                self._well()
                if time.monotonic() > end:
                    raise ConfigError("adapter", f"nothing listens where {name} is to be heard")
                time.sleep(RETRY_S)

    def _well(self) -> None:
        """Raises `MachineFault` when it has ended, or complains."""
        if self._server is not None:
            fault = self._server.ended() or self._server.complained()
            if fault is not None:
                raise MachineFault(fault.verdict, fault.place, fault.words)

    def _hear(self, seconds: float) -> None:
        share = seconds / len(self._neighbours)
        for neighbour in self._neighbours.values():
            neighbour.hear(share)
        self._well()

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._neighbours[neighbour].give(bundle)
        self._hear(QUIET_S)

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._up[neighbour] = up
        self._neighbours[neighbour].contact(up)
        self._hear(QUIET_S)

    def register(self, active: bool, now_ms: int) -> None:
        """Nobody can: the machine does not ask."""

    def send(self, destination: str, payload: bytes, lifetime_ms: int, now_ms: int) -> None:
        """Nobody can: the machine does not ask."""

    def restart(self, now_ms: int) -> None:
        """See `AgentPeer`.  Raises `ConfigError` where it was not started here."""
        if self._server is None:
            raise ConfigError("restarts", "an agent that was not started here is not killed")
        for neighbour in self._neighbours.values():
            neighbour.contact(False)
        self._server.stop(grace_s=0)
        self._server.start()
        self._wait()
        for name, up in self._up.items():
            if up:
                self._neighbours[name].contact(True)
        self._hear(QUIET_S)

    def advance(self, now_ms: int) -> None:
        """See `AgentPeer`: it waits until then."""
        self._hear(max(0, now_ms - dtn_from_unix(time.time())) / 1000)

    def poll(self) -> list[tuple[str, bytes]]:
        """See `AgentPeer`."""
        return [
            (name, bundle)
            for name, neighbour in self._neighbours.items()
            for bundle in neighbour.taken()
        ]

    def deliveries(self) -> list[bytes]:
        """Nobody sees them."""
        return []

    def close(self) -> None:
        """See whether it is well, and end it.  Raises `MachineFault`."""
        try:
            self._well()
        finally:
            self._end()

    def _end(self) -> None:
        for neighbour in self._neighbours.values():
            neighbour.close()
        if self._server is not None:
            self._server.stop()
        self._folder.cleanup()


@dataclass(frozen=True, slots=True)
class SocketAgentAdapter:
    """An adapter for `RemoteAgentMachine`: the agent between two neighbours of `TcpclLink` or
    `LtpLink`."""

    west: MakesNeighbour
    east: MakesNeighbour
    start: str = ""
    """The command that starts it; without one it runs already, and has to forget each case."""

    timeout_s: float = 5.0
    """Within so long it answers on a link."""

    def __call__(self, node: str, neighbours: Sequence[str], service: str, /) -> SocketAgent:
        """The agent, for one case.  Raises `ConfigError` for what cannot be started or reached."""
        return SocketAgent(self, neighbours)


class RemoteAgentMachine(AgentPeerMachine):
    """`AgentPeerMachine` for an agent that only its neighbours reach, in the time on the wall."""

    has_application = False
    only_in_contact = True
    wall_clock = True
    lasts_ms = 0
    slack_ms = 1_000
    patience_ms = 3_000
