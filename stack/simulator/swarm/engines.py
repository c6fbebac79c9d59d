"""LTP engines alone, two and two, on the bare event heap: hundreds of seeds a second.

No node, no store, no event loop: the driver here does what a node does (it stores a block before
it accepts it, notes a session before its first report, sends again what failed, begins again from
what was durable), in one dict each.  Faults first, then none, and everything must have arrived.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from link_models.clock import Simulator
from link_models.network import TraceHash
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train, single
from stack.engines.ltp import (
    BlockReceived,
    Failed,
    GreenReceived,
    LtpConfig,
    LtpEngine,
    ReportHeld,
    Sent,
    SessionClosed,
    capsule_client,
)
from stack.simulator.swarm.day import Outcome
from stack.simulator.swarm.ledger import PROBLEMS_MAX, Problem
from stack.wire.ltp import CLIENT_SDA, SessionId

HEAD_BYTES: Final = 12
EVENTS_MAX: Final = 30_000
"""Events of a phase: some ten times what the longest needs, so that a livelock shows."""

CONVERGE_NS: Final = 6 * 3600 * SECOND
"""Everything has arrived in this time after the faults, at 16 kbit/s too."""

ENDS_NS: Final = 3 * 86_400 * SECOND
"""Sessions whose other end has forgotten them end by their lifetime (`session_lifetime_ns`)."""

TURN_NS: Final = MILLISECOND
"""Virtual time that an engine which always has something to do must wait for its next turn."""

NEVER: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOptions:
    """One pair of engines and the link between them, drawn from one seed."""

    seed: int
    rate_bps: float
    """Bit/s each way; 0 is unpaced."""

    owlt_ns: int
    segment_bytes: int
    block_bytes: int
    claims_max: int
    checkpoint_every: int
    commit_ns: int
    """How long it takes to make something durable."""

    refuse: float
    """Share of blocks that a side does not take the first time."""

    units: int
    """Units from the first engine to the second; half as many back."""

    unit_bytes: int
    """Octets of the largest."""

    green: float
    """Share of units that are sent unreliably."""

    faults_s: float
    loss: float
    duplicate: float
    reorder: float
    truncate: float
    junk: float
    restarts: tuple[tuple[float, int], ...]
    """(seconds, which engine)."""

    cuts: tuple[tuple[float, float], ...]
    """(from, to) in seconds: nothing passes, and no plan foresaw it."""

    breaks: tuple[tuple[float, float], ...]
    """(from, to) in seconds: the contact is over, and both engines are told so."""

    def line(self) -> str:
        """What it is, in one line."""
        return repr(self)


def draw_pair(seed: int) -> PairOptions:
    """The pair of a seed."""
    rng = random.Random(f"{seed}/pair")

    def some(most: float) -> float:
        return rng.choice([0.0, rng.uniform(0, most)])

    def spans(count: int, mean_s: float) -> tuple[tuple[float, float], ...]:
        starts = sorted(rng.uniform(0, faults_s) for _ in range(count))
        return tuple((start, start + rng.expovariate(1 / mean_s)) for start in starts)

    faults_s = rng.uniform(1, 30)
    return PairOptions(
        seed=seed,
        rate_bps=rng.choice([0.0, 16e3, 256e3, 2e6, 2e6]),
        owlt_ns=round(rng.choice([0.001, 0.02, 0.25, 1.3]) * SECOND),
        segment_bytes=rng.choice([128, 512, 1400]),
        block_bytes=rng.choice([1, 4096, 65_536]),
        claims_max=rng.choice([1, 4, 128]),
        checkpoint_every=rng.choice([0, 4, 1024]),
        commit_ns=rng.choice([0, 0, 5 * MILLISECOND, 300 * MILLISECOND]),
        refuse=rng.choice([0.0, 0.0, 0.2]),
        units=rng.randint(1, 8),
        unit_bytes=rng.choice([60, 600, 3000]),
        green=rng.choice([0.0, 0.0, 0.3]),
        faults_s=faults_s,
        loss=some(0.4),
        duplicate=some(0.3),
        reorder=some(0.4),
        truncate=some(0.05),
        junk=some(0.05),
        restarts=tuple(
            sorted(
                (rng.uniform(0, faults_s), rng.randrange(2))
                for _ in range(rng.choice([0, 0, 1, 3]))
            )
        ),
        cuts=spans(rng.choice([0, 1, 2]), 5.0),
        breaks=spans(rng.choice([0, 0, 2]), 20.0),
    )


def unit_of(ref: int, size: int) -> bytes:
    """A unit that tells its own number and length."""
    size = max(size, HEAD_BYTES)
    noise = random.Random(ref).randbytes(size - HEAD_BYTES)
    return ref.to_bytes(8, "big") + size.to_bytes(4, "big") + noise


@dataclass(slots=True)
class Side:
    """One engine, and what its driver has made durable."""

    name: str
    number: int
    config: LtpConfig
    engine: LtpEngine
    outgoing: dict[int, bytes] = field(default_factory=dict)
    green: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    stored: dict[int, bytes] = field(default_factory=dict)
    notes: set[SessionId] = field(default_factory=set)
    blocks: set[SessionId] = field(default_factory=set)
    """Sessions of which this process has been given the block."""

    armed_ns: int = NEVER
    life: int = 0
    asked: bool = False
    hold_ns: int = 0


class PairRun:
    """One run."""

    def __init__(
        self, options: PairOptions, make_engine: Callable[..., LtpEngine] = LtpEngine
    ) -> None:
        self.options = options
        self.sim = Simulator()
        self.trace = TraceHash()
        self.problems: list[Problem] = []
        self.checks: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.datagrams = 0
        self.blocks = 0
        self._make_engine = make_engine
        self._rng = random.Random(f"{options.seed}/pair/run")
        self._faulty = True
        self._cut = 0
        self._up = True
        self._rate_bps = options.rate_bps or None
        self.sides: list[Side] = []
        for number, name in enumerate("ab"):
            config = LtpConfig(
                local_engine_id=number + 1,
                remote_engine_id=2 - number,
                segment_bytes=options.segment_bytes,
                block_bytes=options.block_bytes,
                claims_max=options.claims_max,
                checkpoint_every=options.checkpoint_every,
                timer_margin_ns=150 * MILLISECOND
                + options.commit_ns
                + (round(2 * 8 * 1500 * SECOND / options.rate_bps) if options.rate_bps else 0),
            )
            side = Side(name, number, config, self._engine(config, number, 0))
            self.sides.append(side)
            for ref in range(options.units // (number + 1)):
                ref += 1000 * number
                size = self._rng.randint(1, options.unit_bytes)
                side.outgoing[ref] = unit_of(ref, size)
                if self._rng.random() < options.green:
                    side.green.add(ref)
            side.waiting = list(side.outgoing)

    def _engine(self, config: LtpConfig, number: int, life: int) -> LtpEngine:
        entropy = random.Random(f"{self.options.seed}/pair/{number}/{life}").randbytes
        engine = self._make_engine(config, entropy=entropy)
        self._cue(engine)
        return engine

    def _cue(self, engine: LtpEngine) -> None:
        up = self._up
        engine.link(
            self.sim.now_ns,
            tx_up=up,
            rx_up=up,
            rate_bps=self._rate_bps if up else None,
            owlt_ns=self.options.owlt_ns,
        )

    def problem(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(invariant, round(self.sim.now_ns / SECOND, 6), text))

    # ---- the run -------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Faults, then convergence."""
        started_s = time.process_time()
        options, sim = self.options, self.sim
        for at_s, number in options.restarts:
            sim.at(round(at_s * SECOND), lambda number=number: self._restart(number))  # type: ignore[misc]
        for start_s, end_s in options.cuts:
            sim.at(round(start_s * SECOND), self._begin_cut)
            sim.at(round(min(end_s, options.faults_s) * SECOND), self._end_cut)
        for start_s, end_s in options.breaks:
            sim.at(round(start_s * SECOND), lambda: self._set_up(False))
            sim.at(round(min(end_s, options.faults_s) * SECOND), lambda: self._set_up(True))
        for side in self.sides:
            self._wake(side)
        if self._run_until(round(options.faults_s * SECOND)):
            self._heal()
            if self._run_until(sim.now_ns + CONVERGE_NS):
                _check_arrived(self)
                if self._run_until(sim.now_ns + ENDS_NS):
                    _check_ended(self)
        return Outcome(
            seed=options.seed,
            problems=tuple(self.problems),
            trace=self.trace.hexdigest(),
            simulated_s=round(sim.now_ns / SECOND, 3),
            converged_s=None,
            faults=dict(sorted(self.faults.items())),
            checks=dict(sorted(self.checks.items())),
            events=sim._sequence,
            datagrams=self.datagrams,
            bundles=self.blocks,
            delivered=sum(len(side.stored) for side in self.sides),
            cpu_s=time.process_time() - started_s,
        )

    def _run_until(self, time_ns: int) -> bool:
        """Whether that time was reached."""
        if self.sim.run(time_ns, EVENTS_MAX) < EVENTS_MAX:
            return True
        self.problem("stuck", f"{EVENTS_MAX} events have run, and it goes on")
        return False

    def _heal(self) -> None:
        self._faulty = False
        self._cut = 0
        self._set_up(True)

    def _begin_cut(self) -> None:
        if self._faulty:
            self.faults["cut"] += 1
            self._cut += 1

    def _end_cut(self) -> None:
        self._cut = max(0, self._cut - 1)

    def _set_up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            self.faults["break"] += not up
            for side in self.sides:
                self._cue(side.engine)
                self._wake(side)

    def _restart(self, number: int) -> None:
        """The process ends, and begins again from what was durable."""
        side = self.sides[number]
        self.faults["restart"] += 1
        side.life += 1
        side.engine = self._engine(side.config, number, side.life)
        side.engine.recover(sorted(side.notes), self.sim.now_ns)
        side.waiting = [ref for ref in side.outgoing if ref not in side.sent]
        side.blocks = set()
        side.armed_ns = NEVER
        self._wake(side)

    # ---- driving -------------------------------------------------------------------------

    def _wake(self, side: Side) -> None:
        if not side.asked:
            side.asked = True
            self.sim.after(0, lambda: self._turn(side))

    def _turn(self, side: Side) -> None:
        side.asked = False
        now, engine = self.sim.now_ns, side.engine
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= now:
            engine.handle_deadline(now)
        while (event := engine.next_event()) is not None:
            self._event(side, event)
        if now >= side.hold_ns:
            while side.waiting and engine.room(now) > 0:
                ref = side.waiting.pop(0)
                engine.submit(side.outgoing[ref], ref, now, green=ref in side.green)
        for train in engine.data_to_send(now):
            self._transmit(side, train, now)
        self._arm(side, now)

    def _arm(self, side: Side, now: int) -> None:
        deadline = side.engine.next_deadline()
        if side.waiting and side.hold_ns > now:
            deadline = side.hold_ns if deadline is None else min(deadline, side.hold_ns)
        if deadline is None:
            return
        deadline = max(deadline, now + TURN_NS if deadline <= now else deadline)
        if deadline < side.armed_ns or side.armed_ns <= now:
            side.armed_ns = deadline
            self.sim.at(deadline, lambda: self._wake(side))

    def _event(self, side: Side, event: object) -> None:
        now = self.sim.now_ns
        match event:
            case Sent():
                self._acknowledged(side, event.refs)
            case Failed():
                side.waiting += [ref for ref in event.refs if ref not in side.sent]
                side.hold_ns = now + 250 * MILLISECOND
            case BlockReceived() | ReportHeld():
                life = side.life
                if self.options.commit_ns:
                    self.sim.after(self.options.commit_ns, lambda: self._durable(side, event, life))
                else:
                    self._durable(side, event, life)
            case GreenReceived():
                self._green(side, event)
            case SessionClosed():
                side.notes.discard(event.session)

    def _acknowledged(self, side: Side, refs: tuple[int, ...]) -> None:
        peer = self.sides[1 - side.number]
        for ref in refs:
            self.checks["custody"] += 1
            if ref in side.green:
                side.sent.add(ref)
            elif peer.stored.get(ref) != side.outgoing[ref]:
                self.problem("custody", f"unit {ref} is acknowledged, and {peer.name} has it not")
            elif ref in side.sent:
                self.problem("twice", f"unit {ref} is acknowledged twice")
            else:
                side.sent.add(ref)

    def _durable(self, side: Side, event: object, life: int) -> None:
        if life != side.life:
            return
        now = self.sim.now_ns
        if isinstance(event, ReportHeld):
            side.notes.add(event.session)
            side.engine.report_noted(event.session, now)
        elif isinstance(event, BlockReceived):
            self._block(side, event, now)
        self._wake(side)

    def _block(self, side: Side, event: BlockReceived, now: int) -> None:
        self.blocks += 1
        self.checks["twice"] += 1
        if event.session in side.blocks:
            self.problem("twice", f"the block of session {event.session} is given twice")
        side.blocks.add(event.session)
        if self._faulty and self._rng.random() < self.options.refuse:
            self.faults["refuse"] += 1
            side.engine.refuse(event.session, now)
            return
        for unit in _units(event):
            if self._right(side, unit):
                side.stored[int.from_bytes(unit[:8], "big")] = unit
        side.engine.accept(event.session, now)

    def _right(self, side: Side, unit: bytes) -> bool:
        self.checks["altered"] += 1
        ref = int.from_bytes(unit[:8], "big")
        if self.sides[1 - side.number].outgoing.get(ref) == unit:
            return True
        self.problem("altered", f"{side.name} got {unit[:40]!r}, which nobody sent")
        return False

    def _green(self, side: Side, event: GreenReceived) -> None:
        if event.offset == 0 and event.eob:
            self._right(side, event.data)

    # ---- the link ------------------------------------------------------------------------

    def _transmit(self, side: Side, train: Train, now: int) -> None:
        self.datagrams += train.datagram_count
        options, peer = self.options, self.sides[1 - side.number]
        if not self._faulty:
            self._on_air(peer, train, options.owlt_ns)
            return
        if self._cut:
            self.faults["lost"] += train.datagram_count
            return
        chance, rng = self._rng.random, self._rng
        for datagram in train.datagrams():
            if chance() < options.junk:
                self.faults["junk"] += 1
                self._on_air(peer, single(rng.randbytes(rng.randrange(1, 40))), options.owlt_ns)
            if chance() < options.loss:
                self.faults["lost"] += 1
                continue
            if chance() < options.truncate:
                self.faults["truncated"] += 1
                datagram = datagram[: rng.randrange(1, len(datagram) + 1)]
            copies = 2 if chance() < options.duplicate else 1
            self.faults["duplicated"] += copies - 1
            for _ in range(copies):
                late_ns = 0
                if chance() < options.reorder:
                    self.faults["reordered"] += 1
                    late_ns = rng.randrange(options.owlt_ns + 1)
                self._on_air(peer, single(datagram), options.owlt_ns + late_ns)

    def _on_air(self, peer: Side, train: Train, delay_ns: int) -> None:
        self.sim.after(delay_ns, lambda: self._arrive(peer, train))

    def _arrive(self, side: Side, train: Train) -> None:
        self.trace(self.sim.now_ns, side.name, train)
        side.engine.receive(train, self.sim.now_ns)
        self._wake(side)


def _check_arrived(run: PairRun) -> None:
    for side in run.sides:
        peer = run.sides[1 - side.number]
        for ref in sorted(side.outgoing.keys() - side.green):
            run.checks["lost"] += 1
            if ref not in peer.stored:
                run.problem("lost", f"unit {ref} never arrived at {peer.name}")
            elif ref not in side.sent:
                run.problem("lost", f"unit {ref} arrived, and {side.name} never heard so")


def _check_ended(run: PairRun) -> None:
    for side in run.sides:
        run.checks["timers"] += 1
        room = side.engine.room(run.sim.now_ns)
        if room != side.config.queue_bytes:
            run.problem("timers", f"{side.name} still holds data: room for {room} octets")
        deadline = side.engine.next_deadline()
        if deadline is not None:
            run.problem("timers", f"{side.name} still waits for {deadline} ns")
        if side.notes:
            run.problem("timers", f"{side.name} still has notes of {len(side.notes)} sessions")


def _units(event: BlockReceived) -> list[bytes]:
    """The units of a block."""
    data = event.data
    if event.client_service != CLIENT_SDA:
        return [bytes(data)]
    units = []
    at = 0
    while at < len(data):
        _, at = capsule_client(data, at)
        size = int.from_bytes(data[at + 8 : at + 12], "big")
        units.append(bytes(data[at : at + size]))
        at += size
    return units


def run_pair(seed: int) -> Outcome:
    """Draw and run a pair."""
    return PairRun(draw_pair(seed)).run()
