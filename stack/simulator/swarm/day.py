"""One run: the safety phase with faults, then none and convergence, then the judgement."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from link_models.clock import Deadlock, VirtualLoop, run_virtual
from stack.simulator.swarm import invariants
from stack.simulator.swarm.inject import Injector
from stack.simulator.swarm.ledger import Violation
from stack.simulator.swarm.options import Options
from stack.simulator.swarm.work import Applications, ExpectedWork
from stack.simulator.swarm.world import SwarmWorld

SAMPLE_S: Final = 1800.0
"""How often the cheap invariants of time are looked at."""

LOOK_AGAIN_S: Final = 1.0
"""An engine that is overdue at the very begin of a contact has had its turn after this time."""

DRAIN_S: Final = 10.0
"""What is under way on a link has arrived after this time."""

TMPFS: Final = Path("/dev/shm")  # noqa: S108 - a folder of the run's own is made in it
"""Where the nodes' files are, if it is there: no run needs a disk that turns."""

MakeWorld = Callable[[Options, Path, VirtualLoop], SwarmWorld]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What one run has shown.  Equal for equal options, but for the time that it took."""

    seed: int
    problems: tuple[Violation, ...]
    trace: str
    """Digest of every datagram that arrived and every event of a node, with their times."""

    simulated_s: float
    converged_s: float | None
    """Virtual time from the end of the faults until everything had arrived."""

    faults: dict[str, int]
    """Faults injected, by kind."""

    checks: dict[str, int]
    """How often each invariant was looked at."""

    events: int
    """What the nodes said."""

    datagrams: int
    bundles: int
    """Bundles that were stored, at each node anew."""

    delivered: int
    """Messages, files and jobs that came to their end."""

    cpu_s: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        return not self.problems


def run(
    options: Options, *, make_world: MakeWorld = SwarmWorld, root: Path | None = None
) -> RunOutcome:
    """Run `options` in virtual time.  `root`, which must not exist, keeps the nodes' files; else
    they are gone afterwards.  Raises what is wrong with the simulator, never with the nodes."""
    started_s = time.process_time()
    folder = root
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="swarm-", dir=TMPFS if TMPFS.is_dir() else None))
    else:
        folder.mkdir(parents=True)
    whole = _Run(options, folder, make_world)
    try:
        run_virtual(whole.main)
    except Deadlock as error:
        whole.stuck(error)
    finally:
        if root is None:
            shutil.rmtree(folder, ignore_errors=True)
    return whole.outcome(time.process_time() - started_s)


class _Run:
    def __init__(self, options: Options, root: Path, make_world: MakeWorld) -> None:
        self._options = options
        self._root = root
        self._make_world = make_world
        self._expected = ExpectedWork(options)
        self._due = self._expected.due(options)
        self._world: SwarmWorld
        self._injector: Injector
        self._converged_s: float | None = None

    async def main(self) -> None:
        """The coroutine that virtual time runs."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        options = self._options
        world = self._world = self._make_world(options, self._root, loop)
        self._ledger = world.ledger
        Applications(world, self._expected)
        self._injector = Injector(world)
        for name in options.nodes:
            await world.start(name)
        watch = loop.create_task(self._watch())
        await asyncio.sleep(options.faults_s)
        await self._injector.heal()
        await self._converge()
        watch.cancel()
        invariants.check_timers(world)
        invariants.check_work(world)
        invariants.check_books(world)
        invariants.check_genuine(world)
        invariants.check_nonces(world)
        invariants.check_laws(world, self._expected)
        invariants.check_logs(world)
        invariants.check_end(world, self._expected, self._due, self._injector)
        for name in options.nodes:
            await world.stop(name)
        await asyncio.sleep(DRAIN_S)
        invariants.check_links(world)
        invariants.check_files(world, self._expected)

    async def _watch(self) -> None:
        world = self._world
        while True:
            await asyncio.sleep(SAMPLE_S)
            invariants.check_timers(world)
            invariants.check_work(world)
            suspects = invariants.overdue(world)
            if suspects:
                await asyncio.sleep(LOOK_AGAIN_S)
                for name, link, due in sorted(suspects & invariants.overdue(world)):
                    world.problem("timers", f"{name}: link {link} is overdue since {due} ns")

    async def _converge(self) -> None:
        """Wait until everything has arrived that must; then until the end of the day, for what
        should not arrive any more."""
        world, options = self._world, self._options
        while world.loop.time() < options.day_s:
            if self._converged_s is None and self._complete():
                self._converged_s = max(0.0, round(world.loop.time() - options.faults_s, 3))
            world.changed.clear()
            left_s = options.day_s - world.loop.time()
            timer = world.loop.call_later(left_s, world.changed.set)
            await world.changed.wait()
            timer.cancel()

    def _complete(self) -> bool:
        got = self._ledger.got
        return all(got.get(thing) for thing in self._due)

    def stuck(self, error: Deadlock) -> None:
        """Virtual time cannot go on."""
        self._world.problem("stuck", str(error))

    def outcome(self, cpu_s: float) -> RunOutcome:
        """What has been shown."""
        world, ledger = self._world, self._ledger
        return RunOutcome(
            seed=self._options.seed,
            problems=tuple(ledger.problems),
            trace=world.trace.hexdigest(),
            simulated_s=round(world.loop.time(), 3),
            converged_s=self._converged_s,
            faults=dict(sorted(self._injector.struck.items())),
            checks=dict(sorted(ledger.checks.items())),
            events=sum(world.events.values()),
            datagrams=sum(world.arrived.values()),
            bundles=ledger.stored,
            delivered=sum(bool(count) for count in ledger.got.values()),
            cpu_s=cpu_s,
        )
