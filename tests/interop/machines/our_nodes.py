"""Two of our nodes in virtual time as the machine sees them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualClock, VirtualLoop
from link_models.loss import Bernoulli
from link_models.network import VirtualNetwork, VirtualPort
from link_models.rng import Streams
from stack.core.clock import MILLISECOND
from stack.core.train import Train
from stack.engines.ltp import LtpConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.environment import Environment
from stack.node.node import Node
from stack.ports.application import Delivery, Outgoing
from stack.ports.datagram import (
    DatagramPort,
    Received,
    Stranger,
    Writable,
    ignore_received,
    ignore_stranger,
    ignore_writable,
)
from stack.ports.store import Write
from stack.simulator.swarm.memory_image import MemoryImage

NAMES = ("dtn://one/", "dtn://two/")
SERVICE, SPACE = "machine", "machine"
START_MS = 830_000_000_000
RATE_BPS = 1e6
STORE = StoreSection(kind="memory", quota_bytes=1 << 26)
T = TypeVar("T")


class Hold:
    """One process's hold of its end of the link: when it is gone, nothing leaves nor is heard."""

    def __init__(self, end: VirtualPort) -> None:
        self.on_receive: Received = ignore_received
        self.on_writable: Writable = ignore_writable
        self.on_stranger: Stranger = ignore_stranger
        self.gone = False
        self._end = end
        end.on_receive = self._hear
        end.on_writable = self._writable

    def _hear(self, trains: list[Train]) -> None:
        if not self.gone:
            self.on_receive(trains)

    def _writable(self) -> None:
        if not self.gone:
            self.on_writable()

    def send(self, trains: Sequence[Train]) -> bool:
        return True if self.gone else self._end.send(trains)

    def counters(self) -> dict[str, int]:
        return self._end.counters()

    async def close(self) -> None:
        self.gone = True


class Running:
    """One process: a node and its application."""

    def __init__(self, world: OurNodes, number: int, store: MemoryImage) -> None:
        self.world, self.number, self.store = world, number, store
        self.hold = Hold(world.ends[number])

        async def open_port(link: LinkConfig) -> DatagramPort:
            return self.hold

        name, peer = NAMES[number], NAMES[1 - number]
        ltp = LtpConfig(local_engine_id=number + 1, remote_engine_id=2 - number)
        link = LinkConfig(name="link", peer=peer, scheduled=True, ltp=ltp)
        config = NodeConfig(
            id=name,
            data_dir=str(world.folder / str(number)),
            security=SecurityConfig(protect="none"),
            store=STORE,
            log=LogConfig(level="off"),
            links=(link,),
        )
        environment = Environment(
            clock=VirtualClock(world.loop, dtn_start_ms=START_MS),
            entropy=world.random.randbytes,
            open_port=open_port,
            threads=False,
            open_store=lambda config, trace: store,
        )
        self.node = Node(config, environment=environment)
        self.task: asyncio.Task[None]

    async def start(self) -> None:
        await self.node.__aenter__()
        self.task = asyncio.get_running_loop().create_task(self._application())

    async def _application(self) -> None:
        endpoint = self.node.port.register(SERVICE)
        while True:
            await self.deal_with(await endpoint.receive())

    async def deal_with(self, delivery: Delivery) -> None:
        """Write down what came, in the transaction that lets go of it."""
        await self.node.port.commit(consume=[delivery], write=[self.note(delivery)])

    def note(self, delivery: Delivery) -> Write:
        """A payload, and how often it has come."""
        payload = bytes(delivery.payload)
        key = payload[:4].hex()
        before = self.node.port.read(SPACE, key) or b"\0"
        return Write(SPACE, key, bytes([before[0] + 1]) + payload)

    def received(self) -> list[bytes]:
        notes = [value for _, value in self.node.port.read_all(SPACE)]
        return [value[1:] for value in notes for _ in range(value[0])]

    async def send(self, payload: bytes) -> None:
        outgoing = Outgoing(NAMES[1 - self.number] + SERVICE, payload, 86_400_000, SERVICE)
        await self.node.port.commit(send=[outgoing])

    async def contact(self, up: bool) -> None:
        peer = NAMES[1 - self.number]
        if up:
            until_ms = START_MS + 10**10
            self.node.contact_discovered(peer, until_ms, rate_bps=RATE_BPS, owlt_ns=5 * MILLISECOND)
        else:
            self.node.contact_lost(peer)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await self.node.__aexit__(None, None, None)


class OurNodes:
    """Both in one virtual loop; a disk is a store in memory, of which a kill leaves a copy."""

    process = Running

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="orbitferry-")
        self.folder = Path(self._scratch.name)
        self.loop = VirtualLoop()
        self.random = random.Random(1)
        self.losses: list[Bernoulli] = []
        self.up = False

        def loss(rng: Any) -> Bernoulli:
            self.losses.append(Bernoulli(rng, 0))
            return self.losses[-1]

        delay = Delay.constant(5 * MILLISECOND)
        channel = ChannelConfig(windows=always_up(RATE_BPS), delay=delay, loss=loss)
        self.ends = VirtualNetwork(self.loop, Streams(1)).connect("link", channel)
        self.disks = [MemoryImage(STORE), MemoryImage(STORE)]
        self.running: dict[int, Running] = {}
        for number in (0, 1):
            self.start(number)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def start(self, node: int) -> None:
        self.running[node] = one = type(self).process(self, node, self.disks[node])
        self._do(one.start())
        if self.up:
            self._do(one.contact(True))

    def kill(self, node: int) -> None:
        one = self.running.pop(node)
        one.hold.gone = True
        self.disks[node] = self.left(one)
        self._do(one.stop())

    def left(self, one: Running) -> MemoryImage:
        """What a process leaves on its disk."""
        return one.store.copy()

    def send(self, node: int, payload: bytes) -> None:
        self._do(self.running[node].send(payload))

    def received(self, node: int) -> list[bytes]:
        return self.running[node].received()

    def contact(self, up: bool) -> None:
        self.up = up
        for end in self.ends:
            end.closed = not up
        for one in self.running.values():
            self._do(one.contact(up))

    def lose(self, share: float) -> None:
        for loss in self.losses:
            loss.probability = share

    def run(self, seconds: float) -> None:
        self._do(asyncio.sleep(seconds))

    def held(self, node: int) -> int:
        return self.running[node].store.usage().bundles

    def close(self) -> None:
        for one in self.running.values():
            self._do(one.stop())
        self.loop.close()
        self._scratch.cleanup()
