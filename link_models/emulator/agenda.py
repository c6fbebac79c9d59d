"""Things to be done at link times, behind one alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from link_models.channel import FOREVER_NS
from link_models.emulator.alarm import Alarm
from link_models.emulator.world import EmulatorTime
from stack.core.timers import TimerHeap

Job = tuple[int, Callable[[], None]]
"""Something that is done again and again, and its number among the jobs of an agenda."""


class Agenda:
    """The next time of each job; while link time stands still nothing is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, world: EmulatorTime) -> None:
        self._world = world
        self._due = TimerHeap[Job]()
        self._jobs = 0
        self._alarm = Alarm(loop, self._ring)

    def job(self, do: Callable[[], None]) -> Job:
        """A job that nobody wants done yet."""
        self._jobs += 1
        return self._jobs, do

    def at(self, when_ns: int, job: Job) -> None:
        """Do a job at link time `when_ns`, unless it will be done earlier already; `FOREVER_NS`
        asks for nothing."""
        before = self._due.deadline(job)
        if when_ns < (FOREVER_NS if before is None else before):
            self._due.arm(job, when_ns)
            if self._due.next() == when_ns:
                self.rearm()

    def rearm(self) -> None:
        """Time has been stopped or goes on."""
        due_ns = self._due.next()
        if self._world.paused or due_ns is None:
            self._alarm.cancel()
        else:
            self._alarm.set(due_ns - self._world.now())

    def close(self) -> None:
        """Forget everything.  May be repeated."""
        self._alarm.close()
        self._due.clear()

    def _ring(self) -> None:
        now_ns = self._world.now()
        while (due := self._due.pop_due(now_ns)) is not None:
            (_, do), _ = due
            do()
        if self._due:
            self.rearm()
