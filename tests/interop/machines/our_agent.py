"""Our own bundle agent as the machine sees it: it, its driver, and a store in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.core.sansio import no_trace
from stack.core.train import Buffer
from stack.engines.bundle_agent import AgentConfig, BundleAgent, begin
from stack.node.driver import BundleDriver, ignore
from stack.ports.application import Outgoing
from stack.ports.store import BundleStore, Committed
from stack.routing.forwarder import Forwarder
from stack.simulator.swarm.immediate import ImmediateWriter
from stack.storage.memory import MemoryStore

FOREVER_MS = 4 * 10**12


class Hop:
    """The way to one neighbour: it takes whatever comes."""

    unit_bytes = 0
    unit_bytes_max = 1 << 62

    def __init__(self) -> None:
        self.taken: list[tuple[int, bytes]] = []

    def room(self, now: int) -> int:
        return 1 << 20

    def submit(self, encoded: Buffer, ref: int, now: int, *, alone: bool) -> None:
        self.taken.append((ref, bytes(encoded)))


class OurAgent:
    """Contacts are as the plan has them, all the time; a neighbour that is away does not answer."""

    def __init__(self, node: str, neighbours: Sequence[str], service: str) -> None:
        self.node, self.neighbours, self.service = node, tuple(neighbours), service
        self.plan = Plan([Contact(node, each, 0, FOREVER_MS, 1e6) for each in neighbours])
        self.store = self.open_store()
        self.at_ms = 0
        self.up: dict[str, Callable[[], None]] = {}
        self.active = False
        self.left: list[tuple[str, bytes]] = []
        self.got: list[bytes] = []
        self._entropy = itertools.count(1)
        self._start()

    def open_store(self) -> BundleStore:
        return MemoryStore(1 << 24)

    def now(self) -> int:
        return self.at_ms * 10**6

    def dtn_ms(self) -> int:
        return self.at_ms

    def _start(self) -> None:
        self.agent = BundleAgent(
            Eid.parse(self.node),
            AgentConfig(status_reports=True, status_reports_per_s=1e6),
            Forwarder(self.node, self.plan),
            begin(self.store.read, lambda size: next(self._entropy).to_bytes(size, "big")),
        )
        writer = ImmediateWriter(
            lambda ops: self.store.commit(ops, self.at_ms),
            lambda limit: self.store.expire(self.at_ms, limit),
        )
        self.driver = BundleDriver(self.agent, self.store, writer, self, no_trace)
        self.driver.on_deliverable = lambda service: self._deliver()
        for each in self.neighbours:
            if each in self.up:
                self.driver.subscribe(self.up[each])
            else:
                self.agent.contact_failed(each, self.at_ms)
        self.agent.restore(self.store.scan(), self.at_ms)
        if self.active:
            self.agent.register(self.service)
        self._go_on()

    def _go_on(self) -> None:
        self.driver.run_pending()
        if self.active:
            self._deliver()

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        self.at_ms = now_ms
        put = self.agent.receive(bundle, now_ms, 0, neighbour, trusted=True).put
        if put is not None:
            self.driver.submit([put], self._stored)
        self._go_on()

    def _stored(self, outcome: Committed | StoreError) -> None:
        assert isinstance(outcome, Committed)

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        self.at_ms = now_ms
        if up:
            self.up[neighbour] = lambda: self._send(neighbour)
            self.driver.subscribe(self.up[neighbour])
            self.agent.contact_restored(neighbour, now_ms)
        else:
            self.driver.unsubscribe(self.up.pop(neighbour))
            self.agent.contact_failed(neighbour, now_ms)
        self._go_on()

    def _send(self, neighbour: str) -> None:
        hop = Hop()
        self.driver.send(neighbour, hop, self.now())
        for ref, encoded in hop.taken:
            self.left.append((neighbour, encoded))
            self.agent.forwarded([ref], self.at_ms, neighbour)
        if hop.taken:
            self.driver.run_pending()

    def register(self, active: bool, now_ms: int) -> None:
        self.at_ms, self.active = now_ms, active
        if active:
            self.agent.register(self.service)
        else:
            self.agent.services.discard(self.service)
        self._go_on()

    def send(self, destination: str, payload: bytes, lifetime_ms: int, now_ms: int) -> None:
        self.at_ms = now_ms
        outgoing = Outgoing(Eid.parse(destination), payload, lifetime_ms, self.service)
        _, ops = self.agent.send([outgoing], now_ms)
        self.driver.submit(ops, self._stored)
        self._go_on()

    def restart(self, now_ms: int) -> None:
        self.at_ms = now_ms
        self._start()

    def advance(self, now_ms: int) -> None:
        self.at_ms = now_ms
        self.agent.expired(self.store.expire(now_ms, 1000), now_ms)
        self.agent.retry(now_ms)
        self._go_on()

    def poll(self) -> list[tuple[str, bytes]]:
        left, self.left = self.left, []
        return left

    def deliveries(self) -> list[bytes]:
        got, self.got = self.got, []
        return got

    def _deliver(self) -> None:
        if not self.active:
            return

        def deliver(ref: int, encoded: Buffer) -> bool:
            delivery = self.agent.open(ref, encoded, self.at_ms)
            if delivery is not None:
                self.got.append(bytes(delivery.payload))
                self.driver.submit([self.agent.consumed(ref, self.at_ms)])
            return True

        while refs := self.agent.waiting.take(self.service, 16):
            self.driver.each(refs, deliver, ignore)
