"""A node beside deployed LTP peers: large bundles reach them in parts, and what they will not have
goes another way or waits, and the operator hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from link_models.clock import VirtualLoop, run_virtual
from stack.core.eid import Eid
from stack.core.train import Train, single
from stack.ports.application import Outgoing
from stack.wire.bundle import decode_bundle
from tests.engines.ltp.standin import HDTN, Habits, Standin, ion
from tests.node.world import World

DELAY_S = 0.01
HERE, PEER = 1, 2


class StandinPort:
    """A port to a stand-in peer whose socket takes so many octets at once."""

    def __init__(self, loop: VirtualLoop, habits: Habits, buffer_bytes: int = 1 << 60) -> None:
        self.on_receive: Callable[[list[Train]], None] = lambda trains: None
        self.on_writable: Callable[[], None] = lambda: None
        self.on_stranger: Callable[[str], None] = lambda address: None
        self.peer = Standin(PEER, HERE, habits)
        self._loop = loop
        self._buffer_bytes = buffer_bytes
        self._flying = 0
        self._timer: asyncio.TimerHandle | None = None

    def send(self, trains: Sequence[Train]) -> bool:
        for train in trains:
            for datagram in train.datagrams():
                if self._flying + len(datagram) <= self._buffer_bytes:
                    self._flying += len(datagram)
                    self._loop.call_later(DELAY_S, self._arrives, bytes(datagram))
        return True

    def _arrives(self, datagram: bytes) -> None:
        self._flying -= len(datagram)
        self.peer.feed(datagram, self._loop.now_ns)
        self._turn()

    def _turn(self) -> None:
        self.peer.handle(self._loop.now_ns)
        for octets in self.peer.datagrams():
            self._loop.call_later(DELAY_S, self._back, octets)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self.peer.next_deadline()) is not None:
            wait_s = max(0, due - self._loop.now_ns) / 1e9
            self._timer = self._loop.call_later(wait_s, self._turn)

    def _back(self, octets: bytes) -> None:
        self.on_receive([single(octets)])

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        """Nothing to close."""
        if self._timer is not None:
            self._timer.cancel()


def run(
    folder: Path,
    send: list[Outgoing],
    seconds: float,
    habits: Habits,
    buffer_bytes: int = 1 << 60,
) -> tuple[Standin, dict[str, int], list[str]]:
    """A node beside such a peer for a while: the peer, the counters, the events traced."""
    found: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, folder, protect=False, store="memory")
        port = StandinPort(loop, habits, buffer_bytes)
        node = world.node("here", [world.link("here", "peer")], port=lambda link: port)
        async with node:
            await node.port.commit(send=send)
            await asyncio.sleep(seconds)
            found.append((port.peer, node.counters(), [event for _, event, _ in world.events]))

    run_virtual(main)
    return found[0]  # type: ignore[no-any-return]


def units(*sizes: int) -> list[Outgoing]:
    to = Eid.parse("dtn://peer/sink")
    return [Outgoing(to, bytes([size % 251]) * size, 86_400_000, "source") for size in sizes]


def came(peer: Standin) -> int:
    """Octets of payload that arrived, whether in one bundle or in fragments."""
    bundles = [decode_bundle(data)[0] for _, data in peer.blocks]
    return sum(len(bundle.payload.data) for bundle in bundles)


def test_three_megabytes_reach_a_peer_with_few_reports_and_a_small_buffer(tmp_path: Path) -> None:
    peer, counters, events = run(tmp_path, units(3_000_000), 60.0, ion(), 208 * 1024)
    assert came(peer) == 3_000_000
    assert len(peer.cancelled_here) < 20
    assert counters["link.peer.ltp.export_smaller"] > 0
    assert "ltp.export.smaller" in events


def test_small_bundles_reach_a_peer_that_does_not_aggregate(tmp_path: Path) -> None:
    peer, _, _ = run(tmp_path, units(*range(100, 160)), 30.0, ion())
    assert came(peer) == sum(range(100, 160))


def test_what_a_peer_never_takes_steps_aside_and_the_rest_goes(tmp_path: Path) -> None:
    """A bundle that cannot be divided further than this peer allows."""
    habits = Habits(**{**HDTN.__dict__, "block_bytes_max": 10_000})
    peer, counters, events = run(tmp_path, units(15_000, 500, 600), 120.0, habits)
    assert came(peer) == 1100
    assert counters["bundles.set_aside"] >= 1
    assert "bundles_set_aside" in events
    assert len(peer.cancelled_here) < 30, "it is tried ever more rarely"
