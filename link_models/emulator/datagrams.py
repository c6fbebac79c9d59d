"""The datagrams of one direction: a queue of what is under way, and one alarm."""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from typing import Any, Protocol

from link_models.channel import ArrivedTrain
from link_models.channel.trains import arrival
from link_models.emulator.alarm import Alarm
from link_models.emulator.direction import Direction
from link_models.emulator.world import EmulatorTime
from stack.core.clock import MICROSECOND
from stack.core.train import Train
from stack.ports.datagram import RelayPort

DELAY_BIN_NS = 50 * MICROSECOND
DELAY_BINS = 20_000
"""Histogram of the delay error: 50 microseconds a bin, up to one second."""

FLOW_EMPTY = 2
"""Added to the flow of a datagram without octets: a train cannot hold one, so it crosses the
channel as one octet."""


class DatagramTap(Protocol):
    """Sees datagrams before and after the link."""

    def entered(self, direction: str, train: Train, fates: list[str]) -> None:
        """What the program has sent, and what becomes of each datagram."""
        ...

    def left(self, direction: str, train: Train) -> None:
        """What is handed to the other program."""
        ...


class Relay:
    """Carries what one program sends to the other."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        direction: Direction,
        source: RelayPort,
        sink: RelayPort,
        world: EmulatorTime,
        memory_bytes: int,
    ) -> None:
        """`memory_bytes` may be under way; what comes on top of it is dropped and counted."""
        self.tap: DatagramTap | None = None
        self._direction = direction
        self._source = source
        self._sink = sink
        self._world = world
        self._queue: deque[ArrivedTrain] = deque()
        self._held_bytes = 0
        self._memory_bytes = memory_bytes
        self._memory_drops = 0
        self._late = [0] * (DELAY_BINS + 1)
        self._alarm = Alarm(loop, self._due)
        source.on_receive = self.offer
        source.on_empty = self._offer_empty

    def offer(self, trains: list[Train]) -> None:
        """Put what has arrived from the program on the channel."""
        queue, direction, tap = self._queue, self._direction, self.tap
        now_ns = self._world.now()
        head = queue[0] if queue else None
        for train in trains:
            if tap is None:
                deliveries = direction.send(train, now_ns)
            else:
                deliveries, fates = direction.send_told(train, now_ns)
                tap.entered(direction.name, train, fates)
            for delivery in deliveries:
                if self._held_bytes > self._memory_bytes:
                    self._memory_drops += delivery.train.datagram_count
                    continue
                self._held_bytes += len(delivery.train.data)
                if queue and delivery.at_ns < queue[-1].at_ns:
                    bisect.insort_right(queue, delivery, key=arrival)  # reordered on purpose
                else:
                    queue.append(delivery)
        if queue and queue[0] is not head:
            self._arm(now_ns)

    def lose(self, after_ns: int, until_ns: int) -> tuple[int, int]:
        """Lose what would arrive after one link time and not after another; how many datagrams
        and octets."""
        kept: deque[ArrivedTrain] = deque()
        datagrams = octets = 0
        for delivery in self._queue:
            if after_ns < delivery.at_ns <= until_ns:
                datagrams += delivery.train.datagram_count
                octets += len(delivery.train.data)
            else:
                kept.append(delivery)
        self._queue = kept
        self._held_bytes -= octets
        return datagrams, octets

    def rearm(self) -> None:
        """Time has been stopped or goes on."""
        self._alarm.cancel()
        if self._queue:
            self._arm(self._world.now())

    def close(self) -> None:
        """Drop what is under way.  May be repeated."""
        self._alarm.close()
        self._queue.clear()

    def statistics(self) -> dict[str, Any]:
        """What is under way, what the box itself dropped, and the error of the delay."""
        total = sum(self._late)
        ports = self._source.counters(), self._sink.counters()
        found: dict[str, Any] = {
            "under_way": sum(one.train.datagram_count for one in self._queue),
            "under_way_bytes": self._held_bytes,
            "socket_drops": ports[0].get("dropped_kernel", 0)
            + ports[0].get("dropped_truncated", 0)
            + ports[1].get("send_dropped", 0)
            + ports[1].get("send_errors", 0)
            + self._memory_drops,
            "foreign": ports[0].get("dropped_foreign", 0),
        }
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            seen, place = 0, -1
            while seen < share * total:
                place += 1
                seen += self._late[place]
            found[f"delay_error_{name}_ms"] = (place + 1) * DELAY_BIN_NS / 1e6
        return found

    def _offer_empty(self, flow: int) -> None:
        self.offer([Train(b"\0", 1, flow | FLOW_EMPTY)])

    def _arm(self, now_ns: int) -> None:
        if not self._world.paused:
            self._alarm.set(self._queue[0].at_ns - now_ns)

    def _due(self) -> None:
        """Send everything whose time has come, in as few calls as possible."""
        queue, world, sink = self._queue, self._world, self._sink
        now_ns = world.now()
        trains: list[Train] = []
        times: list[tuple[int, int]] = []
        while queue and queue[0].at_ns <= now_ns:
            at_ns, train = queue.popleft()
            octets = len(train.data)
            self._held_bytes -= octets
            times.append((at_ns, -(-octets // train.size)))
            if train.flow & FLOW_EMPTY:
                if trains:
                    sink.send(trains)
                    trains = []
                sink.send_empty(train.flow & ~FLOW_EMPTY)
            else:
                trains.append(train)
            if self.tap is not None:
                self.tap.left(self._direction.name, train)
        if trains:
            sink.send(trains)
        sent_ns = world.now()
        late = self._late
        for at_ns, count in times:
            late[min((sent_ns - at_ns) // DELAY_BIN_NS, DELAY_BINS)] += count
        if queue:
            self._arm(sent_ns)
