"""A bundle agent in another process as the machine sees it: a command, asked line by line.

    class TestTheirs(AgentPeerMachine):
        adapter = CommandAgentAdapter("python shim.py")

The command is a shim around the agent, as `interop.machines.lines` says.  ``now_ms`` in each line
is when it happens (DTN time).  When it is done, and what was taken is durable, the shim answers
with ``sent``, pairs of a neighbour and a bundle, and ``delivered``, payloads.

    start       node, neighbours, service: once, as it begins
    receive     neighbour, bundle
    contact     neighbour, up
    register    active
    send        destination, payload, lifetime_ms
    advance

A restart is SIGKILL, and the command again in the same folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Hex


class _Outcome(msgspec.Struct):
    """What an agent answers."""

    sent: list[tuple[str, Hex]]
    delivered: list[Hex]


class CommandAgent:
    """One case with it.  Raises `ConfigError` for a command that cannot be run."""

    def __init__(
        self, adapter: CommandAgentAdapter, node: str, names: Sequence[str], service: str
    ) -> None:
        self._process = adapter.asked()
        self._who = {"node": node, "neighbours": list(names), "service": service}
        self._up: dict[str, bool] = {}
        self._active = False
        self._sent: list[tuple[str, bytes]] = []
        self._delivered: list[bytes] = []
        self._launch(0)

    def _launch(self, now_ms: int) -> None:
        self._note(self._process.launch(_Outcome, now_ms=now_ms, **self._who))

    def _ask(self, do: str, now_ms: int, **fields: Any) -> None:
        self._note(self._process.ask(_Outcome, do, now_ms=now_ms, **fields))

    def _note(self, outcome: _Outcome) -> None:
        self._sent += outcome.sent
        self._delivered += outcome.delivered

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._ask("receive", now_ms, neighbour=neighbour, bundle=Hex(bundle))

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._up[neighbour] = up
        self._ask("contact", now_ms, neighbour=neighbour, up=up)

    def register(self, active: bool, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._active = active
        self._ask("register", now_ms, active=active)

    def send(self, destination: str, payload: bytes, lifetime_ms: int, now_ms: int) -> None:
        """See `AgentPeer`."""
        fields = {"destination": destination, "payload": Hex(payload), "lifetime_ms": lifetime_ms}
        self._ask("send", now_ms, **fields)

    def restart(self, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._process.kill()
        self._launch(now_ms)
        for neighbour, up in self._up.items():
            if up:
                self._ask("contact", now_ms, neighbour=neighbour, up=True)
        if self._active:
            self._ask("register", now_ms, active=True)

    def advance(self, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._ask("advance", now_ms)

    def poll(self) -> list[tuple[str, bytes]]:
        """See `AgentPeer`."""
        sent, self._sent = self._sent, []
        return sent

    def deliveries(self) -> list[bytes]:
        """See `AgentPeer`."""
        delivered, self._delivered = self._delivered, []
        return delivered

    def close(self) -> None:
        """End it, and take its folder away."""
        self._process.close()


class CommandAgentAdapter(CommandAdapter):
    """An adapter for `AgentPeerMachine`: the agent behind a command."""

    def __call__(self, node: str, neighbours: Sequence[str], service: str, /) -> CommandAgent:
        """The agent, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandAgent(self, node, neighbours, service)
