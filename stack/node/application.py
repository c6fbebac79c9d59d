"""The application port of a node that runs in this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from stack.core.clock import Clock
from stack.core.eid import Eid
from stack.core.errors import LocalError, StoreError
from stack.core.sansio import Entropy, Trace
from stack.core.train import Buffer
from stack.node.driver import BundleDriver, ignore
from stack.policy import DataPolicy
from stack.ports.application import (
    BundleId,
    Cancelled,
    Delivery,
    Endpoint,
    Expected,
    Happening,
    Outgoing,
)
from stack.ports.store import BundleStore, Committed, Op, RecordEvent, Write
from stack.routing.admissible import Admissible, RouteRequest

ROOM_SHARE = 0.5
"""Producers of large objects stop when the store is this full: the rest is for transit traffic
and for what arrives."""

OUTGOING_BYTES_MAX = 64 * 1024 * 1024
"""Octets that producers may have waiting in the store for a link: more would only age there."""

ROOM_SPACING_S = 0.25
"""A producer that waits for room looks again when something has changed, but no more often."""


class LocalEndpoint:
    """An active registration (RFC 9171 §3.1)."""

    def __init__(self, port: LocalPort, service: str, eid: Eid) -> None:
        self._port = port
        self._service = service
        self._eid = eid
        self._out: set[int] = set()
        self._closed = False

    @property
    def eid(self) -> Eid:
        """The endpoint's EID."""
        return self._eid

    async def receive(self) -> Delivery:
        """The next delivery, waiting for one if need be."""
        return (await self.receive_many(1))[0]

    async def receive_many(self, limit: int) -> list[Delivery]:
        """At least one and at most `limit` deliveries, waiting for the first if need be.  Raises
        `LocalError` once the endpoint is closed."""
        event = self._port.event(self._service)
        while True:
            if self._closed:
                raise LocalError(f"the endpoint {self._eid} is closed")
            event.clear()
            deliveries = self._port.take(self._service, limit)
            if deliveries:
                self._out.update(delivery.ref for delivery in deliveries)
                return deliveries
            await event.wait()

    def forget(self, refs: Sequence[int]) -> None:
        """These deliveries are consumed."""
        self._out.difference_update(refs)

    def close(self) -> None:
        """End the registration; what was not consumed waits for the next one."""
        if not self._closed:
            self._closed = True
            self._port.unregister(self._service, sorted(self._out))


class LocalPort:
    """Implements `stack.ports.application.AppPort` over a node's driver."""

    def __init__(
        self,
        node_id: Eid,
        driver: BundleDriver,
        store: BundleStore,
        clock: Clock,
        entropy: Entropy,
        trace: Trace,
        unheard: Callable[[], Collection[str]],
    ) -> None:
        """`unheard()` names the neighbours over whose open links nothing comes."""
        self.driver = driver
        self._agent = driver.agent
        self._octets = driver.octets
        self._node_id = node_id
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._trace = trace
        self._unheard = unheard
        self._endpoints: dict[str, LocalEndpoint] = {}
        self._events: dict[str, asyncio.Event] = {}
        """Of each service at which somebody has been registered: a bundle waits for it."""
        self._waiters: list[asyncio.Future[None]] = []
        self._judges: list[Callable[[], None]] = []
        driver.on_deliverable = self._deliverable
        driver.on_change(self._changed)

    @property
    def node_id(self) -> Eid:
        """The node's administrative endpoint."""
        return self._node_id

    def register(self, service: str) -> Endpoint:
        """Register for delivery; raises `LocalError` when the service is registered already."""
        if service in self._endpoints:
            raise LocalError(
                f"{self._node_id.with_service(service)} is registered already: "
                "close the other registration first"
            )
        endpoint = LocalEndpoint(self, service, self._node_id.with_service(service))
        self._agent.register(service)
        self._endpoints[service] = endpoint
        return endpoint

    def unregister(self, service: str, refs: Sequence[int]) -> None:
        """End a registration; its unconsumed deliveries come again to the next."""
        self._endpoints.pop(service, None)
        self._agent.waiting.put_back(service, refs)
        self.event(service).set()

    def event(self, service: str) -> asyncio.Event:
        """The event that is set when a bundle waits for `service`."""
        return self._events.setdefault(service, asyncio.Event())

    def _deliverable(self, service: str) -> None:
        if event := self._events.get(service):
            event.set()

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for future in waiters:
            if not future.done():
                future.set_result(None)

    async def _change(self) -> None:
        """Return when something has been stored, sent or let go of."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def take(self, service: str, limit: int) -> list[Delivery]:
        """Deliveries that wait for a service, opened; what fails security is dropped, counted."""
        driver, agent, cache = self.driver, self._agent, self._octets.cache
        now_ms = self._clock.dtn_ms()
        deliveries: list[Delivery] = []

        def deliver(ref: int, encoded: Buffer) -> bool:
            put = cache.get(ref)
            known = None if put is None else put.known
            delivery = agent.open(ref, encoded, now_ms, known, checked=put is None)
            if delivery is not None:
                deliveries.append(delivery)
            return True

        while not deliveries and (refs := agent.waiting.take(service, limit)):
            driver.each(refs, deliver, ignore)
            if len(deliveries) < len(refs):
                driver.run_pending()
        return deliveries

    async def commit(
        self,
        *,
        consume: Sequence[Delivery] = (),
        write: Sequence[Write] = (),
        send: Sequence[Outgoing] = (),
        tell: Sequence[Happening] = (),
    ) -> list[BundleId]:
        """One durable transaction; raises `StoreError`, with nothing done, when it fails."""
        agent, now_ms = self._agent, self._clock.dtn_ms()
        ids: list[BundleId] = []
        puts: list[Op] = []
        if send:
            ids, puts = agent.send(send, now_ms)
        released = [agent.consumed(delivery.ref, now_ms) for delivery in consume]
        told = [RecordEvent(event) for one in tell if (event := agent.told(one)) is not None]
        ops: list[Op] = [*released, *write, *puts, *told]

        def consumed() -> None:
            for delivery in consume:
                endpoint = self._endpoints.get(delivery.destination.service)
                if endpoint is not None:
                    endpoint.forget((delivery.ref,))

        if ops:
            await self._durably(ops, consumed)
        return ids

    def keys_changed(self) -> None:
        """There are other keys: what none has opened is tried again."""
        self._agent.keys_changed()
        self.driver.run_pending()

    async def cancel(self, bundle: BundleId) -> Cancelled:
        """Give up a bundle that was sent from here and has not left yet (RFC 9171 §5.12)."""
        cancelled, ops = self._agent.cancel(bundle, self._clock.dtn_ms())
        if ops:
            await self._durably(ops)
        return cancelled

    async def _durably(self, ops: Sequence[Op], then: Callable[[], None] = lambda: None) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(outcome: Committed | StoreError) -> None:
            if isinstance(outcome, StoreError):
                if not future.done():
                    future.set_exception(outcome)
                return
            then()
            if not future.done():
                future.set_result(None)

        self.driver.submit(ops, done)
        await future

    def outgoing_bytes(self, service: str) -> dict[tuple[Eid, int], int]:
        """Octets that `service` has sent and that the next hop has not confirmed yet."""
        source = str(self._node_id.with_service(service))
        found: Counter[tuple[str, int]] = Counter()
        for entry in self._agent.own.values():
            if entry.source == source:
                found[entry.destination, entry.priority] += entry.size
        return {(Eid.parse(node), priority): size for (node, priority), size in found.items()}

    def expected(
        self, destination: Eid, octets: Sequence[int], policy: DataPolicy | None = None
    ) -> Sequence[Expected | None]:
        """When so many octets from here have arrived, by the contact plan and their policy."""
        now_ms, node = self._clock.dtn_ms(), str(destination.node)
        return self._agent.expected(node, octets, now_ms, self._unheard(), policy)

    def reaches(self, destination: Eid) -> bool:
        """Whether any chain of links and contacts that are not over leads there, contacts that the
        plan did not foresee among them."""
        return self._agent.reaches(str(destination.node), self._clock.dtn_ms())

    def waiting_bytes(self, neighbour: str) -> int:
        """Octets that wait for a neighbour."""
        return self._agent.waiting_bytes(neighbour)

    def check_policy(self, destination: Eid, policy: DataPolicy) -> None:
        """Raise `PolicyError` when data under this policy may not be sent from here to there."""
        self._agent.check_policy(destination, policy, self.dtn_ms())

    def on_policy_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever data policies are judged by something else."""
        self._judges.append(listener)

    def policy_changed(self) -> None:
        """They are now."""
        for listener in self._judges:
            self.driver.attempt("policy", listener)

    def check_sending(self, outgoing: Outgoing) -> None:
        """Raise what `commit` would for sending this now, but for the store, and send nothing."""
        self._agent.check_sending(outgoing, self.dtn_ms())

    def check_path(
        self, destination: Eid, policy: DataPolicy, octets: int, lifetime_ms: int, priority: int
    ) -> None:
        """Raise `PolicyError` when this policy leaves no path for octets from here."""
        self.check_policy(destination, policy)
        request = self._request(destination, policy, octets, lifetime_ms, priority)
        self._agent.paths.check(policy, destination, request)

    def admissible(
        self, destination: Eid, policy: DataPolicy, octets: int, lifetime_ms: int, priority: int
    ) -> Admissible | None:
        """When octets from here would arrive first under this policy, and what is missing in it
        for an earlier path; None where no contact plan says so."""
        request = self._request(destination, policy, octets, lifetime_ms, priority)
        return self._agent.paths.admissible(policy, destination, request)

    def _request(
        self, destination: Eid, policy: DataPolicy, octets: int, lifetime_ms: int, priority: int
    ) -> RouteRequest:
        now_ms = self.dtn_ms()
        ends_ms = now_ms + min(lifetime_ms, self._agent.config.lifetime_ms_max)
        if policy.expires_ms:
            ends_ms = min(ends_ms, policy.expires_ms)
        return RouteRequest(str(destination.node), octets, priority, now_ms, ends_ms)

    async def wait_room(self, size: int) -> None:
        """Return when the store has room for `size` more octets from local producers."""
        agent = self._agent
        while True:
            usage = self._store.usage()
            own = max(0, usage.bytes - agent.shares.brought)
            outgoing = min(own, agent.forwarder.bytes_waiting)
            if (
                usage.bytes + size <= usage.quota_bytes * ROOM_SHARE
                or own + size <= agent.shares.part()
            ) and outgoing + size <= OUTGOING_BYTES_MAX:
                return
            if not own:
                return
            await self._change()
            await asyncio.sleep(ROOM_SPACING_S)

    def read(self, space: str, key: str) -> bytes | None:
        """One entry of durable state."""
        return self._store.read(space, key)

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """All entries of a space whose keys begin with `prefix`."""
        return self._store.read_all(space, prefix)

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return self._clock.now()

    def dtn_ms(self) -> int:
        """DTN time in milliseconds."""
        return self._clock.dtn_ms()

    def entropy(self, count: int) -> bytes:
        """Unpredictable octets."""
        return self._entropy(count)

    async def sleep(self, seconds: float) -> None:
        """Wait, in this node's time."""
        await asyncio.sleep(seconds)

    def trace(self, event: str, fields: dict[str, Any]) -> None:
        """Structured log and event sink."""
        self._trace(event, fields)
