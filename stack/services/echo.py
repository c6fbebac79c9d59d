"""Echo and ping: is the node there, and how long does a round trip take.

The responder sends every payload back as it came, to where it came from; `ping` interoperates
with any peer that has an echo service.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from stack.core.arguments import eid_of
from stack.core.clock import SECOND
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.ports.application import AppPort, BundleId, Delivery, Endpoint, Outgoing
from stack.services.batch import Batch
from stack.services.names import ECHO, endpoint_of, register_passing, service_of
from stack.services.waiting import cancel_all

ECHO_BYTES_MAX: Final = 1024 * 1024
"""Larger payloads are no pings; dropping them keeps the return link free."""

ECHO_LIFETIME_MS_MAX: Final = 86_400_000
"""An answer later than a day after the question serves nobody."""

ECHO_BATCH: Final = 64
"""Deliveries answered in one transaction."""

TOKEN_BYTES: Final = 8
"""Random octets that tell this ping's answers from any other octets."""

SEQUENCE_BYTES: Final = 4
PING_BYTES_MIN: Final = TOKEN_BYTES + SEQUENCE_BYTES
PING_COUNT_MAX: Final = 1_000_000
"""Fits the sequence field; one a second would last eleven days."""


class EchoService:
    """Answers pings; `run` it as a task."""

    def __init__(self, port: AppPort, service: str = ECHO) -> None:
        """Registers `service`; raises `LocalError` when it is taken."""
        self._port = port
        self._service = service_of(port.node_id, service)
        self._endpoint = port.register(self._service)
        self.answered = 0
        self.dropped = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            while True:
                deliveries = await self._endpoint.receive_many(ECHO_BATCH)
                batch = Batch()
                batch.each(self._port, deliveries, partial(self._take, batch=batch))
                await batch.commit(self._port)
        finally:
            self._endpoint.close()

    def _take(self, delivery: Delivery, batch: Batch) -> None:
        answer = self._answer(delivery)
        if answer is None:
            self.dropped += 1
        else:
            batch.sends.append(answer)
            self.answered += 1

    def _answer(self, delivery: Delivery) -> Outgoing | None:
        source = delivery.id.source
        # An answer to an echo service would be answered for ever; one to nobody gets nowhere.
        if delivery.admin or source.is_null or source == endpoint_of(source, ECHO):
            return None
        if len(delivery.payload) > ECHO_BYTES_MAX or source == self._endpoint.eid:
            return None
        left_ms = min(delivery.expires_ms - self._port.dtn_ms(), ECHO_LIFETIME_MS_MAX)
        if left_ms <= 0:
            return None
        return Outgoing(
            source,
            delivery.payload,
            left_ms,
            self._service,
            priority=delivery.priority,
            policy=delivery.policy,
        )


@dataclass(frozen=True, slots=True)
class PingResult:
    """The fate of one ping: `rtt_ns` is None when no answer came in time."""

    sequence: int
    rtt_ns: int | None


class PingStats:
    """Running figures over results: count, loss, and round-trip times in nanoseconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.min_ns = 0
        self.max_ns = 0
        self._mean = 0.0
        self._squares = 0.0

    def add(self, result: PingResult) -> None:
        """Count one result."""
        self.sent += 1
        rtt = result.rtt_ns
        if rtt is None:
            return
        self.min_ns = rtt if self.received == 0 else min(self.min_ns, rtt)
        self.max_ns = max(self.max_ns, rtt)
        self.received += 1
        delta = rtt - self._mean  # Welford's method: no sum of squares that cancels
        self._mean += delta / self.received
        self._squares += delta * (rtt - self._mean)

    @property
    def loss(self) -> float:
        """Fraction of pings without an answer; 0 before the first."""
        return 1 - self.received / self.sent if self.sent else 0.0

    @property
    def mean_ns(self) -> float:
        """Mean round-trip time."""
        return self._mean

    @property
    def deviation_ns(self) -> float:
        """Standard deviation of the round-trip times (of the population)."""
        return math.sqrt(self._squares / self.received) if self.received else 0.0


async def ping(
    port: AppPort,
    destination: Eid | str,
    *,
    count: int = 4,
    interval_s: float = 1.0,
    timeout_s: float = 60.0,
    size: int = 64,
    priority: int = 2,
    report_flags: int = 0,
    report_to: Eid | str | None = None,
    on_sent: Callable[[int, BundleId], None] | None = None,
) -> AsyncGenerator[PingResult, None]:
    """Send `count` pings of `size` octets and yield one result for each, as they come in.

    `destination` is an endpoint; give `endpoint_of(node, ECHO)` to ping a node.  A ping is lost
    when no answer came within `timeout_s`, which is also its bundle's lifetime.  Answers that
    come twice or late are ignored.  `report_flags` and `report_to` ask for status reports on the
    pings, and `on_sent` is told the bundle of each (sequence, id).  Raises `LocalError` for values
    out of range.
    """
    if not 1 <= count <= PING_COUNT_MAX:
        raise LocalError(f"count {count} is not in 1..{PING_COUNT_MAX}")
    if not PING_BYTES_MIN <= size <= ECHO_BYTES_MAX:
        raise LocalError(f"size {size} is not in {PING_BYTES_MIN}..{ECHO_BYTES_MAX} octets")
    if timeout_s <= 0 or interval_s < 0:
        raise LocalError("timeout must be positive, interval not negative")
    destination = eid_of("destination", destination)
    endpoint = register_passing(port, "ping")
    template = Outgoing(
        destination,
        b"",
        math.ceil(timeout_s * 1000),
        endpoint.eid.service,
        priority=priority,
        report_to=report_to,
        report_flags=report_flags,
    )
    run = _Ping(port, endpoint, template, timeout_s, size, on_sent)
    tasks = [
        asyncio.ensure_future(run.send(count, interval_s)),
        asyncio.ensure_future(run.receive()),
        asyncio.ensure_future(run.expire(count)),
    ]
    try:
        for _ in range(count):
            result = await run.results.get()
            if isinstance(result, Exception):
                raise result
            yield result
    finally:
        await cancel_all(tasks)
        endpoint.close()


class _Ping:
    """One run of `ping`: three tasks around a table of what is under way."""

    def __init__(
        self,
        port: AppPort,
        endpoint: Endpoint,
        template: Outgoing,
        timeout_s: float,
        size: int,
        on_sent: Callable[[int, BundleId], None] | None,
    ) -> None:
        self.port = port
        self.endpoint = endpoint
        self.template = template
        self.timeout_s = timeout_s
        self.on_sent = on_sent
        self.token = port.entropy(TOKEN_BYTES)
        self.padding = bytes(size - PING_BYTES_MIN)
        self.sent_ns: dict[int, int] = {}
        self.sent: asyncio.Queue[int] = asyncio.Queue()
        self.results: asyncio.Queue[PingResult | Exception] = asyncio.Queue()

    async def send(self, count: int, interval_s: float) -> None:
        """Send all pings; an error ends the run."""
        try:
            for sequence in range(count):
                payload = self.token + sequence.to_bytes(SEQUENCE_BYTES, "big") + self.padding
                self.sent_ns[sequence] = self.port.now()
                (sent,) = await self.port.commit(send=[replace(self.template, payload=payload)])
                if self.on_sent is not None:
                    self.on_sent(sequence, sent)
                self.sent.put_nowait(sequence)
                await self.port.sleep(interval_s)
        except Exception as error:
            self.results.put_nowait(error)

    async def receive(self) -> None:
        """Match answers to what is under way."""
        while True:
            delivery = await self.endpoint.receive()
            now = self.port.now()
            batch = Batch()
            batch.consumed.append(delivery)
            await batch.commit(self.port)
            payload = bytes(delivery.payload[:PING_BYTES_MIN])
            if delivery.admin or payload[:TOKEN_BYTES] != self.token:
                continue
            sequence = int.from_bytes(payload[TOKEN_BYTES:], "big")
            sent_ns = self.sent_ns.pop(sequence, None)
            if sent_ns is not None:
                self.results.put_nowait(PingResult(sequence, now - sent_ns))

    async def expire(self, count: int) -> None:
        """Give up on pings in the order in which they were sent: all have the same timeout."""
        for _ in range(count):
            sequence = await self.sent.get()
            sent_ns = self.sent_ns.get(sequence)
            if sent_ns is None:
                continue
            left_ns = sent_ns + round(self.timeout_s * SECOND) - self.port.now()
            await self.port.sleep(max(left_ns, 0) / SECOND)
            if self.sent_ns.pop(sequence, None) is not None:
                self.results.put_nowait(PingResult(sequence, None))
