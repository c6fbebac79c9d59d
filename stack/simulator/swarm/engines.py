"""LTP engines alone, two and two, on the bare event heap: hundreds of seeds a second.

No node, no store, no event loop (`ends.py`).  Faults first, then none, and everything must have
arrived.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from link_models.clock import Simulator
from link_models.network import TraceHash
from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train, single
from stack.engines.ltp import LtpConfig, LtpEngine
from stack.simulator.swarm.day import RunOutcome
from stack.simulator.swarm.ends import End, unit_of
from stack.simulator.swarm.ledger import PROBLEMS_MAX, Violation

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


class Side(End):
    """An end, and when it takes its turns."""

    armed_ns = NEVER
    asked = False


class PairRun:
    """One run."""

    def __init__(
        self, options: PairOptions, make_engine: Callable[..., LtpEngine] = LtpEngine
    ) -> None:
        self.options = options
        self.sim = Simulator()
        self.trace = TraceHash()
        self.problems: list[Violation] = []
        self.checks: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.datagrams = 0
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
            side = Side(name, config, self)
            side.commit_ns, side.again_ns = options.commit_ns, 250 * MILLISECOND
            self.sides.append(side)
            for ref in range(options.units // (number + 1)):
                ref += 1000 * number
                size = self._rng.randint(1, options.unit_bytes)
                side.outgoing[ref] = unit_of(ref, size)
                if self._rng.random() < options.green:
                    side.green.add(ref)
        self._lives = [0, 0]
        for number, side in enumerate(self.sides):
            side.peer = self.sides[1 - number]
            self._begin(number)

    def _begin(self, number: int) -> None:
        """A process begins."""
        life, side = self._lives[number], self.sides[number]
        self._lives[number] += 1
        entropy = random.Random(f"{self.options.seed}/pair/{number}/{life}").randbytes
        engine = self._make_engine(side.config, entropy=entropy)
        self._cue(engine)
        side.begin(engine, self.sim.now_ns)

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
            self.problems.append(Violation(invariant, round(self.sim.now_ns / SECOND, 6), text))

    # ---- the run -------------------------------------------------------------------------

    def run(self) -> RunOutcome:
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
        return RunOutcome(
            seed=options.seed,
            problems=tuple(self.problems),
            trace=self.trace.hexdigest(),
            simulated_s=round(sim.now_ns / SECOND, 3),
            converged_s=None,
            faults=dict(sorted(self.faults.items())),
            checks=dict(sorted(self.checks.items())),
            events=sim.events,
            datagrams=self.datagrams,
            bundles=self.checks["twice"],
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
        self.faults["restart"] += 1
        self._begin(number)
        self.sides[number].armed_ns = NEVER
        self._wake(self.sides[number])

    # ---- driving -------------------------------------------------------------------------

    def _wake(self, side: Side) -> None:
        if not side.asked:
            side.asked = True
            self.sim.after(0, lambda: self._turn(side))

    def _turn(self, side: Side) -> None:
        side.asked = False
        now = self.sim.now_ns
        side.driver.turn(now)
        deadline = side.driver.next_deadline(now)
        if side.waiting and side.held_until_ns > now:
            deadline = side.held_until_ns if deadline is None else min(deadline, side.held_until_ns)
        if deadline is None:
            return
        deadline = max(deadline, now + TURN_NS if deadline <= now else deadline)
        if deadline < side.armed_ns or side.armed_ns <= now:
            side.armed_ns = deadline
            self.sim.at(deadline, lambda: self._wake(side))

    def later(self, end: End, delay_ns: int, work: Callable[[int], None]) -> None:
        """Call `work(now)` after a time, and give the end a turn."""

        def due() -> None:
            work(self.sim.now_ns)
            assert isinstance(end, Side)
            self._wake(end)

        self.sim.after(delay_ns, due)

    def refuses(self, end: End) -> bool:
        """Whether a block is not taken."""
        if self._faulty and self._rng.random() < self.options.refuse:
            self.faults["refuse"] += 1
            return True
        return False

    # ---- the link ------------------------------------------------------------------------

    def transmit(self, end: End, train: Train) -> None:
        """Carry what leaves an end to its peer, or do otherwise with it."""
        self.datagrams += train.datagram_count
        options, peer = self.options, self.sides[end is self.sides[0]]
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
        side.driver.receive([train], self.sim.now_ns)
        self._wake(side)


def _check_arrived(run: PairRun) -> None:
    for side in run.sides:
        peer = side.peer
        for ref in sorted(side.outgoing.keys() - side.green):
            run.checks["lost"] += 1
            if ref not in peer.stored:
                run.problem("lost", f"unit {ref} never arrived at {peer.name}")
            elif ref not in side.done:
                run.problem("lost", f"unit {ref} arrived, and {side.name} never heard so")


def _check_ended(run: PairRun) -> None:
    for side in run.sides:
        run.checks["timers"] += 1
        if held := side.engine.held_bytes:
            run.problem("timers", f"{side.name} still holds {held} octets")
        deadline = side.engine.next_deadline()
        if deadline is not None:
            run.problem("timers", f"{side.name} still waits for {deadline} ns")
        if side.notes:
            run.problem("timers", f"{side.name} still has notes of {len(side.notes)} sessions")


def run_pair(seed: int) -> RunOutcome:
    """Draw and run a pair."""
    return PairRun(draw_pair(seed)).run()
