"""Whole nodes with faults, from many seeds.

Three nodes in a row in virtual time; applications at both ends count every message in the same
transaction that consumes it.  With faults on (loss, duplication, reordering, corruption, link
cuts, restarts of nodes without warning) nothing wrong may be delivered.  Then the faults end, and
everything must arrive, once.

A failure names its seed; this replays it:

    ORBITFERRY_SEED=17 pytest tests/sim/test_faults.py
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
from pathlib import Path
from typing import Any

import pytest

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualLoop, run_virtual
from stack.core.clock import MILLISECOND
from stack.core.eid import Eid
from stack.fec.config import FecConfig
from stack.node.config import ContactsConfig, LinkConfig
from stack.node.node import Node
from stack.ports.application import Outgoing
from stack.ports.datagram import DatagramPort
from stack.ports.store import Write
from tests.node.world import World
from tests.sim.faults import Faults, FaultyPort

SEEDS = int(os.environ.get("ORBITFERRY_SEEDS", "200"))
ONLY = os.environ.get("ORBITFERRY_SEED")
FAULTY_S = 30.0
CONVERGE_S = 1200.0
MESSAGES = 30
LINE = ("gs1", "sat1", "gs2")
LIFETIME_MS = 86_400_000


def payload_of(number: int) -> bytes:
    """The content of a message, which its number tells."""
    rng = random.Random(number)
    size = rng.choice([10, 300, 3000, 20_000])
    return b"%d " % number + rng.randbytes(size)


class Simulation:
    """One seed."""

    def __init__(self, seed: int, root: Path, loop: VirtualLoop) -> None:
        self.rng = random.Random(seed)
        self.loop = loop
        self.faults = Faults.draw(self.rng, FAULTY_S)
        self.fec = FecConfig(k=16, r=4) if self.rng.random() < 0.4 else None
        if self.fec is not None:
            self.faults.corrupt = 0.0  # a damaged symbol damages what is repaired with it
        self.fragment_bytes = self.rng.choice([0, 0, 2000])
        self.world = World(loop, root, seed=seed)
        channel = ChannelConfig(windows=always_up(2e6), delay=Delay.constant(20 * MILLISECOND))
        for a, b in itertools.pairwise(LINE):
            self.world.connect(a, b, channel)
        self.wrong: list[str] = []
        self.nodes: dict[str, tuple[Node, asyncio.Task[None]]] = {}

    def links(self, name: str) -> list[LinkConfig]:
        at = LINE.index(name)
        options: dict[str, Any] = {
            "rate_bps": 2e6,
            "owlt_ms": 20.0,
            "fec": self.fec,
            "ltp": {"block_bytes": 16_384},
        }
        neighbours = [LINE[i] for i in (at - 1, at + 1) if 0 <= i < len(LINE)]
        return [self.world.link(name, neighbour, **options) for neighbour in neighbours]

    async def start(self, name: str) -> None:
        """Start a node and its application, as after a crash."""

        def port(link: LinkConfig) -> DatagramPort:
            real = self.world.ports[name, link.name]
            return FaultyPort(real, self.loop, self.faults, self.rng)

        end = {"gs1": "dtn://sat1/", "sat1": "", "gs2": "dtn://sat1/"}[name]
        node = self.world.node(
            name,
            self.links(name),
            agent={"fragment_bytes": self.fragment_bytes},
            contacts=ContactsConfig(default=end),
            port=port,
        )
        await node.__aenter__()
        work = self.relay(node) if name == "sat1" else self.application(name, node)
        self.nodes[name] = node, asyncio.create_task(work)

    async def stop(self, name: str, *, crash: bool) -> None:
        """End a node; a crash gives it no chance to finish anything."""
        node, task = self.nodes.pop(name)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if crash:
            node._store.close()  # what is not committed by now never will be
        await node.__aexit__()

    async def relay(self, node: Node) -> None:
        """The node in the middle has no application."""

    async def application(self, name: str, node: Node) -> None:
        """Send numbered messages to the other end, count those that come."""
        peer = Eid.parse("dtn://gs2/app" if name == "gs1" else "dtn://gs1/app")
        base = 0 if name == "gs1" else 1000
        sender = asyncio.create_task(self.produce(node, peer, base))
        endpoint = node.port.register("app")
        try:
            while True:
                deliveries = await endpoint.receive_many(8)
                writes = []
                for delivery in deliveries:
                    content = bytes(delivery.payload)
                    number = int(content.split(b" ", 1)[0])
                    if content != payload_of(number) or number // 1000 == base // 1000:
                        self.wrong.append(f"{name} got a wrong message {number}")
                    before = int(node.port.read("app", f"got/{number}") or b"0")
                    writes.append(Write("app", f"got/{number}", b"%d" % (before + 1)))
                await node.port.commit(consume=deliveries, write=writes)
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def produce(self, node: Node, peer: Eid, base: int) -> None:
        number = int(node.port.read("app", "next") or b"0")
        while number < MESSAGES:
            batch = list(range(number, min(MESSAGES, number + 3)))
            number = batch[-1] + 1
            send = [Outgoing(peer, payload_of(base + n), LIFETIME_MS, "app", n % 3) for n in batch]
            await node.port.commit(send=send, write=[Write("app", "next", b"%d" % number)])
            await asyncio.sleep(FAULTY_S / MESSAGES * len(batch) / 2)

    def counted(self, name: str) -> dict[int, int]:
        """How often each message was counted at one end."""
        node, _ = self.nodes[name]
        entries = node.port.read_all("app", "got/")
        return {int(key.removeprefix("got/")): int(value) for key, value in entries}

    def complete(self) -> bool:
        """Whether both ends have got everything."""
        return all(len(self.counted(name)) == MESSAGES for name in ("gs1", "gs2"))

    async def run(self) -> None:
        """Faults, then convergence."""
        for name in LINE:
            await self.start(name)
        moments = sorted(self.rng.uniform(0, FAULTY_S) for _ in range(self.faults.restarts))
        now = 0.0
        for moment in moments:
            await asyncio.sleep(moment - now)
            now = moment
            victim = self.rng.choice(LINE)
            await self.stop(victim, crash=True)
            await asyncio.sleep(self.rng.uniform(0, 2))
            await self.start(victim)
        await asyncio.sleep(max(0.0, FAULTY_S - now))
        self.faults.on = False
        deadline = self.loop.time() + CONVERGE_S
        while not self.complete() and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(1.0)
        self.check()
        for name in LINE:
            await self.stop(name, crash=False)

    def check(self) -> None:
        """What must hold at the end."""
        assert not self.wrong, self.wrong
        for name, base in (("gs1", 1000), ("gs2", 0)):
            counts = self.counted(name)
            missing = [n for n in range(base, base + MESSAGES) if n not in counts]
            assert not missing, f"{name} never got {missing}"
            twice = {n: count for n, count in counts.items() if count != 1}
            assert not twice, f"{name} counted more than once: {twice}"


def simulate(seed: int, root: Path) -> Simulation:
    """Run one seed; the failure says how to replay it."""
    found: list[Simulation] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        simulation = Simulation(seed, root, loop)
        found.append(simulation)
        await simulation.run()

    try:
        run_virtual(main)
    except BaseException as error:
        options = found[0].faults if found else "?"
        error.add_note(f"seed {seed}, {options}; replay: ORBITFERRY_SEED={seed} pytest {__file__}")
        raise
    return found[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(8))
def test_seeds(part: int, tmp_path: Path) -> None:
    seeds = [int(ONLY)] if ONLY else [s for s in range(SEEDS) if s % 8 == part]
    for seed in seeds:
        simulate(seed, tmp_path / str(seed))


def test_one_seed_gives_one_trace(tmp_path: Path) -> None:
    digests = []
    for run in ("first", "second"):
        simulation = simulate(7, tmp_path / run)
        events = repr(simulation.world.events).encode()
        digests.append((hashlib.sha256(events).hexdigest(), simulation.loop.now_ns))
    assert digests[0] == digests[1]
