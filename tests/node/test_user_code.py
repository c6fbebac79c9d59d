"""Code that is not ours (hooks, modems) may raise or answer nonsense: no node stops for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from link_models.clock import run_virtual
from stack.core.train import Train
from stack.node.config import LinkConfig
from stack.node.node import Node
from stack.node.trace import Sinks
from stack.ports.datagram import DatagramPort
from stack.services.messages import Mailbox
from tests.node.test_confined import gather, loop, relay, send

WANTED = {b"%d " % number * 100 for number in range(12)}


class Unspeakable(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("nor this")


# ---- the trace hook ----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(28, "no space"), Unspeakable()])
def test_a_trace_hook_that_raises_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def hook(event: str, fields: dict[str, Any]) -> None:
        raise error

    async def main() -> None:
        nodes = relay(tmp_path)
        for node in nodes:
            node._user_trace = hook
        ground, satellite, far = nodes
        async with ground, satellite, far, Mailbox(far.port) as mailbox:
            # What is refused is traced as well.
            assert not satellite._agent.receive(b"\x9f\x00", satellite.port.dtn_ms()).intact
            await send(ground, sorted(WANTED))
            assert await gather(mailbox, WANTED, 60) == WANTED
            assert all(node.counters()["trace.failures"] >= 1 for node in nodes)

    run_virtual(main)
    assert capsys.readouterr().err.count("the trace sink") == 3, "once for each node"


def test_a_sink_that_fails_keeps_events_from_no_other() -> None:
    seen: list[str] = []
    failing = True

    def first(event: str, fields: dict[str, Any]) -> None:
        if failing:
            raise OSError(28, "no space left on device")
        seen.append(f"first {event}")

    sinks = Sinks(first, lambda event, fields: seen.append(event))
    sinks("a", {})
    failing = False
    sinks("b", {})
    assert seen == ["a", "first b", "b"]
    assert sinks.failures == 1


# ---- a modem of one's own ----------------------------------------------------------------------


class Modem:
    """A port between a node and a good one; what it does wrong is up to `fault`."""

    def __init__(self, real: DatagramPort, fault: str) -> None:
        self._real = real
        self._fault = fault
        self._sends = 0
        self.on_receive: Any = None
        self.on_writable: Any = None
        self.on_stranger: Any = None
        real.on_receive = self._received
        real.on_writable = lambda: self.on_writable()

    def send(self, trains: Sequence[Train]) -> Any:
        self._sends += 1
        if self._fault == "raises" and self._sends % 3:
            raise OSError(5, f"the modem is busy {self._sends % 7}")
        sent = self._real.send(trains)
        return None if self._fault == "answers nothing" else sent

    def _received(self, trains: list[Train]) -> None:
        if self._fault == "brings nonsense":
            for nonsense in (None, [None], [b"octets"], 7):
                self.on_receive(nonsense)
        self.on_receive(trains)

    def counters(self) -> Any:
        if self._fault == "cannot count":
            raise RuntimeError("planted")
        return {"frames": "many"} if self._fault == "brings nonsense" else self._real.counters()

    async def close(self) -> None:
        await self._real.close()
        if self._fault == "raises":
            raise OSError(5, "the modem is gone")


def with_modem(node: Node, fault: str) -> None:
    real = node._environment.open_port

    async def open_port(link: LinkConfig) -> DatagramPort:
        return Modem(await real(link), fault)

    object.__setattr__(node._environment, "open_port", open_port)


@pytest.mark.parametrize("fault", ["raises", "answers nothing", "brings nonsense", "cannot count"])
def test_a_modem_that_misbehaves_costs_at_most_time(tmp_path: Path, fault: str) -> None:
    problems: list[dict[str, Any]] = []
    told: list[str] = []
    closed: list[str] = []

    def hook(event: str, fields: dict[str, Any]) -> None:
        if event == "work_failed":
            ended = fields["what"].startswith("close ")
            (closed if ended else told).append(fields["why"])

    async def main() -> None:
        loop().set_exception_handler(lambda _, context: problems.append(context))
        nodes = relay(tmp_path)
        with_modem(nodes[1], fault)
        ground, satellite, far = nodes
        satellite._user_trace = hook
        async with ground, far, Mailbox(far.port) as mailbox:
            await satellite.__aenter__()
            await send(ground, sorted(WANTED))
            assert await gather(mailbox, WANTED, 120) == WANTED
            counters = satellite.counters()
            assert bool(counters.get("bundles.failures")) == (
                fault in ("raises", "brings nonsense")
            )
            unreadable = satellite.gauges().get("link.gs1.udp.unreadable", 0)
            assert unreadable == (fault in ("brings nonsense", "cannot count"))
            await satellite.__aexit__()
            assert len(closed) == (2 if fault == "raises" else 0), (
                "both links, and the node is closed"
            )
            await asyncio.sleep(10)

    run_virtual(main)
    assert not problems
    assert bool(told) == (fault in ("raises", "brings nonsense"))
    assert len(set(told)) == len(told), "each is told once"
