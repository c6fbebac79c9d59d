"""Things to be done at link times, behind one alarm."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from link_models.channel import FOREVER_NS
from link_models.emulator.alarm import Alarm
from link_models.emulator.world import EmulatorTime


class Job:
    """Something that is done again and again, each time at a time that is set anew."""

    __slots__ = ("do", "when_ns")

    def __init__(self, do: Callable[[], None]) -> None:
        self.do = do
        self.when_ns = FOREVER_NS
        """When it is to be done next; `FOREVER_NS` while nobody wants it."""


class Agenda:
    """A heap of jobs; while link time stands still nothing is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, world: EmulatorTime) -> None:
        self._world = world
        self._heap: list[tuple[int, int, Job]] = []
        self._sequence = 0
        self._alarm = Alarm(loop, self._ring)

    def at(self, when_ns: int, job: Job) -> None:
        """Do a job at link time `when_ns`, unless it will be done earlier already."""
        if when_ns >= job.when_ns:
            return
        job.when_ns = when_ns
        self._sequence += 1
        heapq.heappush(self._heap, (when_ns, self._sequence, job))
        if self._heap[0][2] is job:
            self.rearm()

    def rearm(self) -> None:
        """Time has been stopped or goes on."""
        if self._world.paused or not self._heap:
            self._alarm.cancel()
        else:
            self._alarm.set(self._heap[0][0] - self._world.now())

    def close(self) -> None:
        """Forget everything.  May be repeated."""
        self._alarm.close()
        self._heap.clear()

    def _ring(self) -> None:
        now_ns = self._world.now()
        while self._heap and self._heap[0][0] <= now_ns:
            when_ns, _, job = heapq.heappop(self._heap)
            if job.when_ns == when_ns:  # it has not been done earlier
                job.when_ns = FOREVER_NS
                job.do()
        if self._heap:
            self.rearm()
