"""Generated traffic: many bundles through the application port, compared with what was sent."""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.core.train import Buffer
from stack.ports.application import BundleId, Endpoint, Outgoing
from stack.simulator.loopback.results import Floats, TrafficRow
from stack.simulator.loopback.world import LoopbackWorld
from stack.simulator.scenario import TrafficTask

SERVICE_DTN = "traffic"
SERVICE_IPN = "9"
"""The discard service's number (RFC 863): whatever comes is looked at and forgotten."""

POOL_SPARE_BYTES = 64 * 1024
"""Contents begin anywhere in the first 64 KiB of a pool of random octets: a bundle's content that
arrives under another one's name is noticed, and a million bundles need no memory of their own."""

SEND_BATCH = 256
"""Bundles handed over in one transaction when they fall due together."""

RECEIVE_BATCH = 256
"""Deliveries consumed in one transaction."""

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(slots=True)
class _Flow:
    """One task on its way; arrays are by number of the bundle, in order of time."""

    task: TrafficTask
    at_s: list[float]
    ends: list[tuple[str, str]]
    sizes: list[int]
    offsets: list[int]
    pool: bytes
    latency_s: Floats
    """NaN until it arrives."""

    handed_over: int = 0
    refused: int = 0
    arrived: int = 0
    wrong: int = 0
    bytes_sent: int = 0
    bytes_arrived: int = 0
    bundles: dict[BundleId, int] = field(default_factory=dict)
    """Numbers of the bundles that are under way."""


class Traffic:
    """The traffic tasks of a world: `listen`, then `run`, then `rows`."""

    def __init__(self, world: LoopbackWorld) -> None:
        self._world = world
        self._flows = [self._drawn(task) for task in world.scenario.traffic]
        self._endpoints: dict[str, Endpoint] = {}
        self._progress = asyncio.Event()

    def _drawn(self, task: TrafficTask) -> _Flow:
        """Everything random about a task, from a substream of its own."""
        rng = self._world.streams.stream(f"traffic/{task.name}")
        count = task.count
        at_s = task.at_s + rng.random(count) * task.over_s
        least, largest = task.size_bytes
        sizes = np.rint(np.exp(rng.uniform(math.log(least), math.log(largest), count)))
        sources = self._world.scenario.group(task.source)
        destinations = self._world.scenario.group(task.destination)
        pairs = [(a, b) for a in sources for b in destinations if a != b]
        ends = [pairs[i] for i in rng.integers(0, len(pairs), count).tolist()]
        order = sorted(range(count), key=lambda i: (at_s[i], ends[i]))
        return _Flow(
            task=task,
            at_s=at_s[order].tolist(),
            ends=[ends[i] for i in order],
            sizes=sizes[order].astype(np.int64).tolist(),
            offsets=rng.integers(0, POOL_SPARE_BYTES, count).tolist(),
            pool=rng.bytes(largest + POOL_SPARE_BYTES),
            latency_s=np.full(count, math.nan),
        )

    # ---- while it runs ---------------------------------------------------------------------

    def listen(self) -> None:
        """Register at every node that bundles go to; once the nodes run."""
        wanted = {destination for flow in self._flows for _, destination in flow.ends}
        for node_id, node in self._world.nodes.items():
            if node_id in wanted:
                self._endpoints[node_id] = node.port.register(_endpoint(node_id).service)

    def progress(self) -> tuple[int, int]:
        """Bundles that have arrived, and all."""
        return (
            sum(flow.arrived for flow in self._flows),
            sum(flow.task.count for flow in self._flows),
        )

    async def run(self) -> None:
        """Hand everything over at its time; returns when all of it has arrived."""
        if not self._flows:
            return
        receivers = [
            asyncio.create_task(self._receive(node_id, endpoint))
            for node_id, endpoint in self._endpoints.items()
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for flow in self._flows:
                    group.create_task(self._send(flow))
            while not self._complete():
                self._progress.clear()
                await self._progress.wait()
        finally:
            for receiver in receivers:
                receiver.cancel()
            await asyncio.gather(*receivers, return_exceptions=True)

    def _complete(self) -> bool:
        return all(flow.arrived + flow.refused == flow.task.count for flow in self._flows)

    async def _send(self, flow: _Flow) -> None:
        numbers = range(flow.task.count)
        for (at_s, source), group in itertools.groupby(
            numbers, key=lambda i: (flow.at_s[i], flow.ends[i][0])
        ):
            wait_s = at_s - self._world.now_s()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            while batch := list(itertools.islice(group, SEND_BATCH)):
                await self._hand_over(flow, source, batch)

    async def _hand_over(self, flow: _Flow, source: str, batch: list[int]) -> None:
        task, pool = flow.task, memoryview(flow.pool)
        service = _endpoint(source).service
        outgoing = []
        for i in batch:
            offset, size = flow.offsets[i], flow.sizes[i]
            outgoing.append(
                Outgoing(
                    _endpoint(flow.ends[i][1]),
                    pool[offset : offset + size],
                    round(task.lifetime_s * 1000),
                    service,
                    priority=task.priority,
                )
            )
        try:
            ids = await self._world.nodes[source].port.commit(send=outgoing)
        except StoreError:
            flow.refused += len(batch)
            self._progress.set()
            return
        flow.bundles.update(zip(ids, batch, strict=True))
        flow.handed_over += len(batch)
        flow.bytes_sent += sum(flow.sizes[i] for i in batch)

    async def _receive(self, node_id: str, endpoint: Endpoint) -> None:
        port = self._world.nodes[node_id].port
        while True:
            deliveries = await endpoint.receive_many(RECEIVE_BATCH)
            for delivery in deliveries:
                self._arrived(node_id, delivery.id, delivery.payload)
            await port.commit(consume=deliveries)
            self._progress.set()

    def _arrived(self, node_id: str, bundle: BundleId, payload: Buffer) -> None:
        for flow in self._flows:
            number = flow.bundles.pop(bundle, None)
            if number is None:
                continue
            offset, size = flow.offsets[number], flow.sizes[number]
            sent = flow.pool[offset : offset + size]
            if bytes(payload) == sent and flow.ends[number][1] == node_id:
                flow.latency_s[number] = self._world.now_s() - flow.at_s[number]
                flow.bytes_arrived += size
            else:
                flow.wrong += 1
            flow.arrived += 1
            return
        # Nobody sent it, or it has arrived before: some flow must answer for it.
        self._flows[0].wrong += 1

    # ---- afterwards ------------------------------------------------------------------------

    def rows(self) -> tuple[TrafficRow, ...]:
        """What came of each task."""
        return tuple(_row(flow) for flow in self._flows)

    def latencies(self) -> dict[str, Floats]:
        """Seconds from handing over to delivery of what arrived, by task, in order of sending."""
        return {flow.task.name: _there(flow) for flow in self._flows}


def _endpoint(node_id: str) -> Eid:
    node = Eid.parse(node_id)
    return node.with_service(SERVICE_IPN if node_id.startswith("ipn:") else SERVICE_DTN)


def _there(flow: _Flow) -> Floats:
    return flow.latency_s[~np.isnan(flow.latency_s)]


def times_within(took_s: Floats, count: int) -> list[float | None]:
    """Seconds within which each of `QUANTILES` of `count` bundles were there; None for more than
    ever were."""
    share = len(took_s) / count
    return [float(np.quantile(took_s, one / share)) if one <= share else None for one in QUANTILES]


def _row(flow: _Flow) -> TrafficRow:
    found = _there(flow)
    quantiles = times_within(found, flow.task.count)
    return TrafficRow(
        task=flow.task.name,
        count=flow.task.count,
        share_min=flow.task.share_min,
        handed_over=flow.handed_over,
        refused=flow.refused,
        arrived=len(found),
        wrong=flow.wrong,
        bytes_sent=flow.bytes_sent,
        bytes_arrived=flow.bytes_arrived,
        p50_s=quantiles[0],
        p90_s=quantiles[1],
        p99_s=quantiles[2],
        max_s=quantiles[3],
    )
