"""A network of nodes in memory, as services see it through `AppPort`.

It keeps the promises of the port, and no others.  A commit is one step: all of it or nothing.
What was delivered and not consumed comes again after a restart.  Bundles may be late, lost (a
relay dropped them), out of order, or come twice.  A node can be killed at any commit, before or
after it took effect; its services then never get an answer, as if the process were gone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.core.eid import Eid
from stack.core.errors import LocalError, PolicyError, StoreError
from stack.policy import DataPolicy, NodeSet
from stack.ports.application import (
    BundleId,
    Cancelled,
    Delivery,
    Expected,
    Happening,
    Outgoing,
)
from stack.ports.store import Write

EPOCH_MS = 800_000_000_000


@dataclass
class Faults:
    """What the network does to bundles; all off by default."""

    delay_s: float = 0.05
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    damage: Callable[[bytes], bytes] = bytes


class FakeNet:
    """Nodes joined by links that all behave alike."""

    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.random = random.Random(seed)
        self.faults = faults or Faults()
        self.nodes: dict[Eid, FakeNode] = {}
        self.up = True
        self.lose: Callable[[Eid, Eid, bytes], bool] = lambda source, destination, payload: False
        self.logging = True
        self.log: list[tuple[Eid, Eid, bytes]] = []
        """Every bundle sent: source, destination, payload."""

        self.policies: list[DataPolicy | None] = []
        """Theirs."""

    def node(self, eid: str) -> FakeNode:
        """A new node."""
        node = FakeNode(self, Eid.parse(eid))
        self.nodes[node.eid] = node
        return node

    def set_up(self, up: bool) -> None:
        """Begin or end a blackout: bundles wait in their node's store meanwhile."""
        self.up = up
        if up:
            for node in self.nodes.values():
                node.drain()


@dataclass
class _Bundle:
    id: BundleId
    outgoing: Outgoing
    expires_ms: int


@dataclass
class FakeNode:
    """One node: what is on its disk, and the port of the process that runs now."""

    net: FakeNet
    eid: Eid
    state: dict[tuple[str, str], bytes] = field(default_factory=dict)
    inbound: dict[int, Delivery] = field(default_factory=dict)
    outbound: list[_Bundle] = field(default_factory=list)
    quota: int = 1 << 40
    sequence: int = 0
    refs: int = 0
    commits: int = 0
    told: list[Happening] = field(default_factory=list)
    crash_at: int | None = None
    crash_applies: bool = False
    refuse_sends: int = 0
    """So many of the next commits which send find the store full."""
    unreadable: DataPolicy | None = None
    """A policy of which others may read nothing."""

    def __post_init__(self) -> None:
        self.crashed = asyncio.Event()
        self.port = FakePort(self)
        self.traces: list[tuple[str, dict[str, Any]]] = []

    def restart(self) -> FakePort:
        """A new process over the same disk."""
        self.port.dead = True
        self.crashed.clear()
        self.crash_at = None
        self.port = FakePort(self)
        return self.port

    def restart_view(self) -> FakePort:
        """A port to look at the disk with, beside the process that runs."""
        return FakePort(self)

    def apply(
        self, consume: Sequence[Delivery], write: Sequence[Write], send: Sequence[Outgoing]
    ) -> list[BundleId]:
        """One transaction."""
        for delivery in consume:
            self.inbound.pop(delivery.ref, None)
        for op in write:
            if op.value is None:
                self.state.pop((op.space, op.key), None)
            else:
                self.state[op.space, op.key] = bytes(op.value)
        now_ms = self.port.dtn_ms()
        ids = []
        for outgoing in send:
            assert outgoing.lifetime_ms > 0
            self.sequence += 1
            source = self.eid.with_service(outgoing.service)
            ids.append(BundleId(source, now_ms, self.sequence))
            expires_ms = now_ms + outgoing.lifetime_ms
            self.outbound.append(_Bundle(ids[-1], outgoing, expires_ms))
            if self.net.logging:
                self.net.log.append((source, outgoing.destination, bytes(outgoing.payload)))
                self.net.policies.append(outgoing.policy)
        if self.net.up:
            asyncio.get_running_loop().call_soon(self.drain)
        return ids

    def drain(self) -> None:
        """Put everything that waits onto the link, most urgent first."""
        net, loop = self.net, asyncio.get_running_loop()
        if not net.up:
            return
        bundles, self.outbound = self.outbound, []
        for bundle in sorted(bundles, key=lambda bundle: -bundle.outgoing.priority):
            out, faults = bundle.outgoing, net.faults
            copies = 1 + (net.random.random() < faults.duplicate)
            lost = net.random.random() < faults.loss
            if lost or net.lose(bundle.id.source, out.destination, bytes(out.payload)):
                continue
            for _ in range(copies):
                delay = faults.delay_s + net.random.random() * faults.jitter_s
                loop.call_later(delay, self._arrive, bundle)
        self.port.room.set()

    def _arrive(self, bundle: _Bundle) -> None:
        out = bundle.outgoing
        node = self.net.nodes.get(out.destination.node)
        if node is not None and node.port.dtn_ms() < bundle.expires_ms:
            payload = self.net.faults.damage(bytes(out.payload))
            node.deliver(
                bundle.id,
                out.destination,
                payload,
                bundle.expires_ms,
                out.priority,
                policy=out.policy,
            )

    def deliver(
        self,
        bundle_id: BundleId,
        destination: Eid,
        payload: bytes,
        expires_ms: int,
        priority: int = 1,
        admin: bool = False,
        policy: DataPolicy | None = None,
    ) -> None:
        """Store a bundle for a local endpoint."""
        self.refs += 1
        delivery = Delivery(
            self.refs, bundle_id, destination, payload, expires_ms, priority, admin, policy
        )
        self.inbound[delivery.ref] = delivery
        self.port.notify(delivery)

    def inject(self, source: str, service: str, payload: bytes, lifetime_ms: int = 10**7) -> None:
        """A bundle from anybody."""
        self.sequence += 1
        now_ms = self.port.dtn_ms()
        self.deliver(
            BundleId(Eid.parse(source), now_ms, 10**9 + self.sequence),
            self.eid.with_service(service),
            payload,
            now_ms + lifetime_ms,
        )

    @property
    def waiting_bytes(self) -> int:
        """Octets that wait for the link."""
        return sum(len(bundle.outgoing.payload) for bundle in self.outbound)


class FakeEndpoint:
    """A registration."""

    def __init__(self, port: FakePort, service: str) -> None:
        self._port = port
        self._service = service
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()

    @property
    def eid(self) -> Eid:
        return self._port.node_id.with_service(self._service)

    async def receive(self) -> Delivery:
        return await self.queue.get()

    async def receive_many(self, limit: int) -> list[Delivery]:
        deliveries = [await self.queue.get()]
        while len(deliveries) < limit and not self.queue.empty():
            deliveries.append(self.queue.get_nowait())
        return deliveries

    def close(self) -> None:
        self._port.endpoints.pop(self._service, None)


class FakePort:
    """The port of one process on a node."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.dead = False
        self.endpoints: dict[str, FakeEndpoint] = {}
        self.room = asyncio.Event()

    @property
    def node_id(self) -> Eid:
        return self._node.eid

    def register(self, service: str) -> FakeEndpoint:
        if service in self.endpoints:
            raise LocalError(f"{service} is registered already")
        endpoint = self.endpoints[service] = FakeEndpoint(self, service)
        for delivery in self._node.inbound.values():
            if delivery.destination.service == service:
                endpoint.queue.put_nowait(delivery)
        return endpoint

    def notify(self, delivery: Delivery) -> None:
        """A delivery has come."""
        endpoint = self.endpoints.get(delivery.destination.service)
        if endpoint is not None and not self.dead:
            endpoint.queue.put_nowait(delivery)

    async def commit(
        self,
        *,
        consume: Sequence[Delivery] = (),
        write: Sequence[Write] = (),
        send: Sequence[Outgoing] = (),
        tell: Sequence[Happening] = (),
    ) -> list[BundleId]:
        await asyncio.sleep(0)
        await self._alive()
        node = self._node
        if send and node.refuse_sends:
            node.refuse_sends -= 1
            raise StoreError("the store is full")
        node.commits += 1
        crash = node.commits == node.crash_at
        ids: list[BundleId] = []
        if not crash or node.crash_applies:
            ids = node.apply(consume, write, send)
            node.told += tell
        if crash:
            self.dead = True
            node.crashed.set()
        await self._alive()
        return ids

    async def _alive(self) -> None:
        if self.dead:
            await asyncio.Event().wait()  # nobody is there to go on

    async def cancel(self, bundle: BundleId) -> Cancelled:
        """Give up what has not left yet."""
        waiting = self._node.outbound
        kept = [one for one in waiting if one.id != bundle]
        self._node.outbound = kept
        return Cancelled(len(waiting) - len(kept), 0)

    def outgoing_bytes(self, service: str) -> dict[tuple[Eid, int], int]:
        found: dict[tuple[Eid, int], int] = {}
        for one in self._node.outbound:
            if one.id.source.service == service:
                key = one.outgoing.destination, one.outgoing.priority
                found[key] = found.get(key, 0) + len(one.outgoing.payload)
        return found

    def expected(
        self, destination: Eid, octets: Sequence[int], policy: DataPolicy | None = None
    ) -> list[Expected | None]:
        return [None for _ in octets]

    def check_policy(self, destination: Eid, policy: DataPolicy) -> None:
        if policy.rest == NodeSet.NONE:
            raise PolicyError("it may rest nowhere")
        if policy == self._node.unreadable and destination.node != self.node_id.node:
            raise PolicyError("it may be read by nobody but here")

    def on_policy_change(self, listener: Callable[[], None]) -> None:
        pass

    def check_sending(self, outgoing: Outgoing) -> None:
        if outgoing.policy is not None:
            self.check_policy(outgoing.destination, outgoing.policy)

    def check_path(
        self, destination: Eid, policy: DataPolicy, octets: int, lifetime_ms: int, priority: int
    ) -> None:
        self.check_policy(destination, policy)

    async def wait_room(self, size: int) -> None:
        while self._node.waiting_bytes and self._node.waiting_bytes + size > self._node.quota:
            self.room.clear()
            await self.room.wait()

    def read(self, space: str, key: str) -> bytes | None:
        return self._node.state.get((space, key))

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        return sorted(
            (key, value)
            for (where, key), value in self._node.state.items()
            if where == space and key.startswith(prefix)
        )

    def now(self) -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    def dtn_ms(self) -> int:
        return EPOCH_MS + self.now() // 1_000_000

    def entropy(self, count: int) -> bytes:
        return self._node.net.random.randbytes(count)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def trace(self, event: str, fields: dict[str, Any]) -> None:
        self._node.traces.append((event, fields))


async def run_through_crashes(
    node: FakeNode,
    run: Callable[[FakePort], Awaitable[None]],
    crashes: Sequence[tuple[int, bool]],
) -> None:
    """Run a process on `node`, and run it again each time it is killed: `crashes` gives for each
    life how many commits it lives, and whether the last one takes effect."""
    for life, applies in [*crashes, (0, False)]:
        port = node.restart()
        if life:
            node.crash_at, node.crash_applies = node.commits + life, applies
        task = asyncio.ensure_future(run(port))
        crash = asyncio.ensure_future(node.crashed.wait())
        try:
            await asyncio.wait([task, crash], return_when=asyncio.FIRST_COMPLETED)
        finally:
            port.dead = port.dead or crash.done()
            ended = task.done()
            for one in (task, crash):
                one.cancel()
            results = await asyncio.gather(task, crash, return_exceptions=True)
        if ended:
            if isinstance(results[0], BaseException):
                raise results[0]
            return
