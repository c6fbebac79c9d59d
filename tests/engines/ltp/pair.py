"""Two LTP engines on their drivers, and the link between them, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stack.core.clock import MILLISECOND, SECOND
from stack.core.sansio import Entropy
from stack.core.train import Train
from stack.engines.ltp import Failed, LtpConfig, LtpEngine, LtpEvent
from stack.engines.ltp.driver import Shim
from stack.simulator.swarm.ends import Around, End, unit_of


@dataclass
class Faults:
    """What the link does to datagrams, each chance on its own."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    truncate: float = 0.0
    junk: float = 0.0


class Side(End):
    """An end that remembers what its engine has said."""

    def __init__(self, name: str, config: LtpConfig, around: Around, seed: int) -> None:
        super().__init__(name, config, around)
        self.events: list[LtpEvent] = []
        self.failed = 0
        self.refuse_every = 0
        """Refuse one block in so many."""

        self.shim: Callable[[Entropy], Shim | None] = lambda entropy: None
        """What is between engine and link, made anew by each start."""

        self._seeds = itertools.count(seed * 1000 + 1)

    def start(self, now: int) -> None:
        """Begin, or begin again from what was durable."""
        entropy = random.Random(next(self._seeds)).randbytes
        self.begin(LtpEngine(self.config, entropy=entropy), now, self.shim(entropy))

    def take(self, event: LtpEvent, now: int) -> None:
        self.events.append(event)
        self.failed += isinstance(event, Failed)
        super().take(event, now)


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
        here = LtpConfig(local_engine_id=1, remote_engine_id=2, **config)
        there = LtpConfig(local_engine_id=2, remote_engine_id=1, **remote)
        self.a, self.b = Side("a", here, self, seed), Side("b", there, self, seed + 1)
        self.a.peer, self.b.peer = self.b, self.a
        self.a.commit_ns = self.b.commit_ns = commit_ns
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = itertools.count()
        self._refs = itertools.count(1)
        self.wire_bytes = 0
        self.layers_bytes = 0
        """What the layers under the engine may add to a segment."""

        self.checks: Counter[str] = Counter()
        for side in (self.a, self.b):
            side.start(0)
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

    def set_back(self, side: Side) -> None:
        """Start again from a backup that knows of no session that is under way."""
        side.notes.clear()
        self.restart(side)

    def submit(self, side: Side, size: int) -> int:
        ref = next(self._refs)
        side.outgoing[ref] = unit_of(ref, size)
        side.waiting.append(ref)
        return ref

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
            if not self.unsent() and not self._agenda:
                return
            step = self.next_time()
            assert step is not None, "units wait, and no timer runs"
            self.advance(step)
        raise AssertionError(f"not finished at {self.now / SECOND} s: {self.unsent()}")

    def unsent(self) -> list[int]:
        return [ref for side in (self.a, self.b) for ref in side.outgoing if ref not in side.done]

    def next_time(self) -> int | None:
        times = [side.driver.next_deadline(self.now) for side in (self.a, self.b)]
        if self._agenda:
            times.append(self._agenda[0][0])
        return min((time for time in times if time is not None), default=None)

    def advance(self, to: int) -> None:
        self.now = max(self.now, to)
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2](self.now)

    def flush(self) -> None:
        """Let the drivers do all that can be done now."""
        for _ in range(100_000):
            before = self.wire_bytes, *(len(side.events) for side in (self.a, self.b))
            for side in (self.a, self.b):
                side.driver.turn(self.now)
            if (self.wire_bytes, len(self.a.events), len(self.b.events)) == before:
                return
        raise AssertionError("the engines never come to rest")

    # --------------------------------------------------------------------- around the ends

    def problem(self, invariant: str, text: str) -> None:
        raise AssertionError(f"{invariant}: {text}")

    def refuses(self, end: End) -> bool:
        assert isinstance(end, Side)
        return bool(end.refuse_every) and len(end.blocks) % end.refuse_every == 0

    def later(self, end: End, delay_ns: int, work: Callable[[int], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay_ns, next(self._order), work))

    # ------------------------------------------------------------------------------ channel

    def transmit(self, end: End, train: Train) -> None:
        to = end.peer
        sizes = [len(datagram) for datagram in train.datagrams()]
        assert all(size == train.size for size in sizes[:-1])
        assert 0 < sizes[-1] <= train.size <= to.config.segment_bytes + self.layers_bytes
        self.wire_bytes += len(train.data)
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

    def _put_on_air(self, to: End, at: int, datagrams: list[bytes]) -> None:
        """As a receiving kernel does: join consecutive datagrams of equal size into trains."""
        batch: list[bytes] = []
        for datagram in datagrams:
            if batch and (len(datagram) > len(batch[0]) or len(batch[-1]) < len(batch[0])):
                self._push(to, at, batch)
                batch = []
            batch.append(datagram)
        if batch:
            self._push(to, at, batch)

    def _push(self, to: End, at: int, batch: list[bytes]) -> None:
        train = Train(b"".join(batch), len(batch[0]))

        def arrive(now: int) -> None:
            if self.up:
                to.driver.receive([train], now)

        heapq.heappush(self._agenda, (at, next(self._order), arrive))
