"""Two LTP engines, their drivers and the link between them, in virtual time.

The drivers do what a node does: they store a block before they accept it, note a session before
its first report, send again what failed, and start again from what was durable.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train
from stack.engines.ltp import (
    BlockReceived,
    Failed,
    GreenReceived,
    LtpConfig,
    LtpEngine,
    LtpEvent,
    ReportHeld,
    Sent,
    SessionClosed,
    capsule_client,
)
from stack.wire.ltp import CLIENT_BP, CLIENT_SDA, SessionId

_SDU_HEAD = 12


def make_sdu(ref: int, size: int) -> bytes:
    """A unit that tells its own reference and length, as a bundle does."""
    size = max(size, _SDU_HEAD)
    return (
        ref.to_bytes(8, "big")
        + size.to_bytes(4, "big")
        + random.Random(ref).randbytes(size - _SDU_HEAD)
    )


def split_block(client_service: int, data: memoryview) -> list[bytes]:
    """The units of a block."""
    if client_service == CLIENT_BP:
        return [bytes(data)]
    assert client_service == CLIENT_SDA
    units = []
    at = 0
    while at < len(data):
        client, at = capsule_client(data, at)
        assert client == CLIENT_BP
        size = int.from_bytes(data[at + 8 : at + 12], "big")
        units.append(bytes(data[at : at + size]))
        at += size
    return units


@dataclass
class Faults:
    """What the link does to datagrams, each chance on its own."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    truncate: float = 0.0
    junk: float = 0.0


@dataclass
class Side:
    """One engine and its driver."""

    name: str
    config: LtpConfig
    seed: int
    commit_ns: int = 0
    """How long it takes to make something durable."""

    refuse_every: int = 0
    engine: LtpEngine = field(init=False)
    notes: set[SessionId] = field(default_factory=set)
    stored: dict[int, bytes] = field(default_factory=dict)
    outgoing: dict[int, bytes] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    failed: int = 0
    events: list[LtpEvent] = field(default_factory=list)
    commits: list[tuple[int, int, Any]] = field(default_factory=list)
    blocks: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self.start(0)

    def start(self, now: int) -> None:
        """Begin, or begin again from what was durable."""
        self.starts += 1
        entropy = random.Random(self.seed * 1000 + self.starts).randbytes
        self.engine = LtpEngine(self.config, entropy=entropy)
        self.engine.recover(sorted(self.notes), now)
        self.commits.clear()
        self.waiting = [ref for ref in self.outgoing if ref not in self.sent]


class Pair:
    """Both sides, the channel both ways, and the clock."""

    def __init__(self, *, seed: int = 1, owlt_ns: int = 10 * MILLISECOND, **config: Any) -> None:
        self.random = random.Random(seed)
        self.now = 0
        self.owlt_ns = owlt_ns
        self.rate_bps: float | None = None
        self.up = True
        self.faults = Faults()
        commit_ns = config.pop("commit_ns", 0)
        remote = {**config, **config.pop("remote", {})}
        config.pop("remote", None)
        self.a = Side("a", LtpConfig(local_engine_id=1, remote_engine_id=2, **config), seed)
        self.b = Side("b", LtpConfig(local_engine_id=2, remote_engine_id=1, **remote), seed + 1)
        self.a.commit_ns = self.b.commit_ns = commit_ns
        self._air: list[tuple[int, int, Side, Train]] = []
        self._order = itertools.count()
        self._refs = itertools.count(1)
        self.wire_bytes = 0
        self.wire_datagrams: list[bytes] = []
        self.keep_datagrams = False
        self.cue()

    # ------------------------------------------------------------------------------ control

    def cue(self) -> None:
        for side in (self.a, self.b):
            side.engine.link(
                self.now,
                tx_up=self.up,
                rx_up=self.up,
                rate_bps=self.rate_bps,
                owlt_ns=self.owlt_ns,
            )

    def set_link(self, up: bool) -> None:
        """A planned contact begins or ends; both sides know."""
        self.up = up
        self.cue()

    def restart(self, side: Side) -> None:
        """Kill -9 and start again."""
        side.start(self.now)
        self.cue()

    def submit(self, side: Side, size: int) -> int:
        ref = next(self._refs)
        side.outgoing[ref] = make_sdu(ref, size)
        side.waiting.append(ref)
        return ref

    def other(self, side: Side) -> Side:
        return self.b if side is self.a else self.a

    # -------------------------------------------------------------------------------- time

    def run(self, duration_ns: int) -> None:
        """Let this much time pass."""
        until = self.now + duration_ns
        while True:
            self.flush()
            step = self.next_time()
            if step is None or step > until:
                self.now = until
                return
            self.advance(step)

    def run_until_idle(self, limit_ns: int) -> None:
        """Run until every unit is sent and nothing else is left to do soon."""
        until = self.now + limit_ns
        while self.now < until:
            self.flush()
            if not self.unsent() and not self._air and not self.a.commits and not self.b.commits:
                return
            step = self.next_time()
            assert step is not None, "units wait, and no timer runs"
            self.advance(step)
        raise AssertionError(f"not finished at {self.now / SECOND} s: {self.unsent()}")

    def unsent(self) -> list[int]:
        return [ref for side in (self.a, self.b) for ref in side.outgoing if ref not in side.sent]

    def next_time(self) -> int | None:
        times = [side.engine.next_deadline() for side in (self.a, self.b)]
        times += [side.commits[0][0] for side in (self.a, self.b) if side.commits]
        if self._air:
            times.append(self._air[0][0])
        return min((time for time in times if time is not None), default=None)

    def advance(self, to: int) -> None:
        self.now = max(self.now, to)
        while self._air and self._air[0][0] <= self.now:
            _, _, side, train = heapq.heappop(self._air)
            if self.up:
                side.engine.receive(train, self.now)
        for side in (self.a, self.b):
            while side.commits and side.commits[0][0] <= self.now:
                self._durable(side, heapq.heappop(side.commits)[2])
            side.engine.handle_deadline(self.now)

    def flush(self) -> None:
        """Let the drivers do all that can be done now."""
        for _ in range(100_000):
            busy = False
            for side in (self.a, self.b):
                while side.waiting and side.engine.room(self.now) > 0:
                    ref = side.waiting.pop(0)
                    side.engine.submit(side.outgoing[ref], ref, self.now)
                while (event := side.engine.next_event()) is not None:
                    busy = True
                    self._event(side, event)
                for train in side.engine.data_to_send(self.now):
                    busy = True
                    self._transmit(self.other(side), train)
            if not busy:
                return
        raise AssertionError("the engines never come to rest")

    # ------------------------------------------------------------------------------ drivers

    def _event(self, side: Side, event: LtpEvent) -> None:
        side.events.append(event)
        match event:
            case Sent():
                peer = self.other(side)
                for ref in event.refs:
                    assert ref not in side.sent, "sent twice"
                    assert peer.stored[ref] == side.outgoing[ref], "acknowledged but not stored"
                    side.sent.add(ref)
            case Failed():
                side.failed += 1
                side.waiting += [ref for ref in event.refs if ref not in side.sent]
            case BlockReceived() | ReportHeld():
                entry = (self.now + side.commit_ns, next(self._order), event)
                heapq.heappush(side.commits, entry)
                if side.commit_ns == 0:
                    self._durable(side, heapq.heappop(side.commits)[2])
            case SessionClosed():
                side.notes.discard(event.session)

    def _durable(self, side: Side, event: BlockReceived | ReportHeld) -> None:
        if isinstance(event, ReportHeld):
            side.notes.add(event.session)
            side.engine.report_noted(event.session, self.now)
            return
        side.blocks += 1
        if side.refuse_every and side.blocks % side.refuse_every == 0:
            side.engine.refuse(event.session, self.now)
            return
        source = self.other(side)
        for unit in split_block(event.client_service, event.data):
            ref = int.from_bytes(unit[:8], "big")
            assert unit == source.outgoing[ref], "wrong octets"
            side.stored[ref] = unit
        side.engine.accept(event.session, self.now)

    # ------------------------------------------------------------------------------ channel

    def _transmit(self, to: Side, train: Train) -> None:
        assert to is not None
        sizes = [len(datagram) for datagram in train.datagrams()]
        assert all(size == train.size for size in sizes[:-1])
        assert 0 < sizes[-1] <= train.size <= to.config.segment_bytes
        self.wire_bytes += len(train.data)
        if self.keep_datagrams:
            self.wire_datagrams += [bytes(datagram) for datagram in train.datagrams()]
        if not self.up:
            return
        faults, chance = self.faults, self.random.random
        arrivals: list[tuple[int, bytes]] = []
        for view in train.datagrams():
            datagram = bytes(view)
            if chance() < faults.junk:
                size = self.random.randrange(1, 40)
                arrivals.append((self.owlt_ns, self.random.randbytes(size)))
            if chance() < faults.loss:
                continue
            if chance() < faults.truncate:
                datagram = datagram[: self.random.randrange(len(datagram))] or b"\x00"
            copies = 2 if chance() < faults.duplicate else 1
            for _ in range(copies):
                late = self.random.randrange(self.owlt_ns + 1) if chance() < faults.reorder else 0
                arrivals.append((self.owlt_ns + late, datagram))
        for delay, group in itertools.groupby(arrivals, key=lambda each: each[0]):
            self._put_on_air(to, self.now + delay, [datagram for _, datagram in group])

    def _put_on_air(self, to: Side, at: int, datagrams: list[bytes]) -> None:
        """As a receiving kernel does: join consecutive datagrams of equal size into trains."""
        batch: list[bytes] = []
        for datagram in datagrams:
            if batch and (len(datagram) > len(batch[0]) or len(batch[-1]) < len(batch[0])):
                self._push(to, at, batch)
                batch = []
            batch.append(datagram)
        if batch:
            self._push(to, at, batch)

    def _push(self, to: Side, at: int, batch: list[bytes]) -> None:
        train = Train(b"".join(batch), len(batch[0]))
        heapq.heappush(self._air, (at, next(self._order), to, train))


def received(side: Side) -> list[GreenReceived]:
    """The green data that a side was given."""
    return [event for event in side.events if isinstance(event, GreenReceived)]
