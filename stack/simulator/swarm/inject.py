"""Injects the faults of a run at their times, and ends them all when the safety phase is over."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from stack.simulator.swarm import faults as kinds
from stack.simulator.swarm.air import AirEnd
from stack.simulator.swarm.faults import Fault
from stack.simulator.swarm.hostile import AT_ONCE_S, PERIOD_S, Hearsay, Intruder, ignore_heard
from stack.simulator.swarm.ledger import unit_of, unit_of_identity
from stack.simulator.swarm.memory_image import flipped
from stack.simulator.swarm.plans import misled, next_up_s
from stack.simulator.swarm.world import Life, SwarmWorld

DOWN_S_MAX: Final = 3600.0
"""A node is down no longer than this at a time."""

HEAL_POLL_S: Final = 0.01


class Injector:
    """The faults of one run."""

    def __init__(self, world: SwarmWorld) -> None:
        self.struck: Counter[str] = Counter()
        """Faults that were injected, by kind: some find nothing to strike."""

        self.hit: set[bytes] = set()
        """Units of which a copy was damaged: they need not arrive."""

        self.set_back: set[str] = set()
        """Things of which a node that was set back has forgotten what it knew: they may be lost,
        or come again."""

        self._world = world
        self._ledger = world.ledger
        self._rng = random.Random(f"{world.options.seed}/faults")
        self._over: list[tuple[Fault, object]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._zombies: list[Life] = []
        self._hearsay = Hearsay(f"{world.options.seed}/hearsay")
        for fault in world.options.faults:
            world.loop.call_later(fault.at_s, self._begin, fault)

    def _begin(self, fault: Fault) -> None:
        world, kind = self._world, fault.kind
        if kind == kinds.HOSTILE:
            self._task(self._intrude(fault))
        elif kind in kinds.ON_LINKS:
            pairs = [(fault.node, fault.peer)]
            if kind == kinds.CUT:
                pairs.append((fault.peer, fault.node))
            for pair in pairs:
                world.ends[pair].begin(fault)
                self._until(fault, world.ends[pair])
        elif kind in (kinds.FULL, kinds.SLOW):
            self._spoil(fault)
        elif kind in (kinds.DRIFT, kinds.STEP):
            clock = world.clocks[fault.node]
            if kind == kinds.DRIFT:
                clock.drift(fault.amount)
            else:
                clock.step(fault.amount)
            self._until(fault, clock)
        elif not self._strike(fault):
            return
        self.struck[kind] += 1

    def _spoil(self, fault: Fault) -> None:
        disk = self._world.disks[fault.node]
        if fault.kind == kinds.FULL:
            disk.full += 1
        else:
            disk.slow_s = fault.amount
        self._until(fault, disk)

    def _strike(self, fault: Fault) -> bool:
        """A fault of a node; whether it found something to strike."""
        world, name = self._world, fault.node
        disk = world.disks[name]
        if fault.kind == kinds.FLIP_DISK:
            key = disk.flip()
            if key is not None:
                self.hit.add(unit_of(key))
            return disk.flip_partial() or key is not None
        if fault.kind == kinds.UPSET:
            return disk.upset(kinds.UPSET_OCTETS)
        if fault.kind == kinds.PLAN:
            self._mislead(fault)
            return True
        life = world.lives.get(name)
        if life is None:
            return False
        world.down_s[name] = min(fault.for_s, DOWN_S_MAX)
        if fault.kind == kinds.RESTART:
            if fault.amount:
                life.crash_after = int(fault.amount)
            else:
                life.crash()
        elif fault.kind == kinds.COMMIT:
            disk.armed = fault.mode
        elif fault.kind == kinds.BACKUP:
            self._task(self._set_back(fault))
        elif fault.kind == kinds.ZOMBIE:
            self._task(self._zombie(fault))
        elif fault.kind == kinds.KEYS:
            self._task(self._rotate(name))
        else:
            return self._flip_memory(life)
        return True

    def _flip_memory(self, life: Life) -> bool:
        """A bit of a bundle between disk and link: radiation asks for no interface."""
        cache = life.driver.octets.cache
        if not cache:
            return False
        ref = self._rng.choice(sorted(cache))
        put = cache[ref]
        cache[ref] = put._replace(encoded=flipped(put.encoded, self._rng), known=None)
        self.hit.add(unit_of(put.key))
        return True

    def _mislead(self, fault: Fault) -> None:
        world, name = self._world, fault.node
        wrong = misled(world.true_plans[name], fault, self._rng)
        world.follow(name, wrong)
        self._until(fault, name)

    async def _intrude(self, fault: Fault) -> None:
        """Somebody listens, and sends now and then, until the fault is over."""
        world = self._world
        end = world.ends[fault.node, fault.peer]
        intruder = Intruder(
            world.engine_of(fault.node),
            world.options.nodes,
            fault.mode,
            self._hearsay,
            f"{world.options.seed}/hostile/{fault.node}/{fault.peer}/{fault.at_s}",
        )
        ends = [end]
        if fault.mode in kinds.LISTENING_MODES:
            ends.append(world.ends[fault.peer, fault.node])
        for one in ends:
            one.intruders.append(intruder)
        self._answer(intruder, end)
        until_s = min(fault.at_s + fault.for_s, world.options.faults_s)
        while (left := _periods(world.loop.time(), until_s) - 1) > 0:
            from_s = world.loop.time() + PERIOD_S
            up_s = next_up_s(world.options, fault.node, fault.peer, from_s)
            periods = _periods(world.loop.time(), min(up_s, until_s))
            await asyncio.sleep(min(periods, left) * PERIOD_S)
            if periods <= left:
                end.forge(intruder.strike(world.loop.time()))
        intruder.on_heard = ignore_heard
        for one in ends:
            one.intruders.remove(intruder)

    def _answer(self, intruder: Intruder, end: AirEnd) -> None:
        """One whose way it is to answer sends as soon as he hears something, while others still
        wait for answers."""
        loop = self._world.loop
        due = False

        def answer() -> None:
            nonlocal due
            due = False
            end.forge(intruder.strike(loop.time()))

        def heard() -> None:
            nonlocal due
            if not due:
                due = True
                loop.call_later(AT_ONCE_S, answer)

        intruder.on_heard = heard

    async def _set_back(self, fault: Fault) -> None:
        """A backup is made, and after a while the node has to live with it."""
        world, name = self._world, fault.node
        ledger, disk = self._ledger, world.disks[name]
        backup, accepted = disk.back_up(), set(ledger.accepted)
        got = dict(ledger.got)
        await asyncio.sleep(min(fault.for_s, max(0.0, world.options.faults_s - fault.at_s - 1)))
        life = world.lives.get(name)
        if life is None:
            return
        options = world.options
        units = {unit_of_identity(identity) for identity in ledger.durable[name] - backup.durable}
        since = (ledger.accepted - accepted) | {
            thing for thing, count in ledger.got.items() if count != got.get(thing)
        }
        for kind, table in (("file", options.files), ("job", options.jobs)):
            since |= {
                f"{kind}/{one.number}" for one in table if name in (one.source, one.destination)
            }
        since |= {thing for unit, thing in ledger.units.items() if unit in units}
        self.set_back |= since
        ledger.accepted -= since
        world.crash(life, backup)

    async def _rotate(self, name: str) -> None:
        self._world.write_keys(name, 1)
        await self._world.stop(name)
        await self._world.start(name)

    async def _zombie(self, fault: Fault) -> None:
        old = await self._world.replace(fault.node)
        if old is None:
            return
        self._zombies.append(old)
        await asyncio.sleep(fault.for_s)
        if old in self._zombies:
            self._zombies.remove(old)
            await self._world.stop_replaced(old)

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._world.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- ends ------------------------------------------------------------------------------

    def _until(self, fault: Fault, what: object) -> None:
        self._over.append((fault, what))
        self._world.loop.call_later(fault.for_s, self._end, fault, what)

    def _end(self, fault: Fault, what: Any) -> None:
        if (fault, what) not in self._over:
            return
        self._over.remove((fault, what))
        world = self._world
        if fault.kind in kinds.ON_LINKS:
            what.end(fault)
        elif fault.kind == kinds.FULL:
            what.full -= 1
        elif fault.kind == kinds.SLOW:
            what.slow_s = 0.0
        elif fault.kind == kinds.PLAN:
            world.follow(what, world.true_plans[what])
        else:
            what.correct()

    async def heal(self) -> None:
        """End every fault, and bring every node up."""
        world = self._world
        for fault, what in list(self._over):
            self._end(fault, what)
        for life in world.lives.values():
            life.crash_after = None
        for disk in world.disks.values():
            disk.armed = ""
        for old in self._zombies:
            await world.stop_replaced(old)
        self._zombies.clear()
        world.down_s.clear()
        while self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=DOWN_S_MAX)
            if pending:
                for task in pending:
                    task.cancel()
        for name in world.options.nodes:
            while name not in world.lives:
                await world.start(name)
                await asyncio.sleep(HEAL_POLL_S)


def _periods(from_s: float, to_s: float) -> int:
    """How often the intruder's period has passed when `to_s` is reached."""
    return math.ceil((to_s - from_s) / PERIOD_S - 1e-9)
