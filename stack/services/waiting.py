"""Waiting for things and deadlines, in the port's time only."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from stack.core.clock import MILLISECOND, SECOND
from stack.core.timers import TimerHeap
from stack.ports.application import AppPort

RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
"""A full store empties with the next pass: poll it gently, but do not miss the pass."""


LOOK_MS: Final = 3_600_000
"""The clock is looked at again after that at the latest: it may have been put right meanwhile."""


class NamedTimers(TimerHeap[tuple[str, str]]):
    """Deadlines in monotonic nanoseconds by kind and by what is due, and waiting for them."""

    def __init__(self, port: AppPort) -> None:
        super().__init__()
        self._port = port
        self._changed = asyncio.Event()
        self._at: dict[tuple[str, str], int] = {}
        """Those that are due at a DTN time, and that."""

    def arm(self, key: tuple[str, str], deadline: int, now: int = 0) -> None:
        self._at.pop(key, None)
        super().arm(key, deadline, now)
        self._changed.set()

    def cancel(self, key: tuple[str, str]) -> None:
        self._at.pop(key, None)
        super().cancel(key)

    def arm_in(self, key: tuple[str, str], seconds: float) -> None:
        """`key` is due in so many seconds."""
        self.arm(key, self._port.now() + round(seconds * SECOND))

    def arm_at(self, key: tuple[str, str], dtn_ms: int) -> None:
        """`key` is due at a DTN time, also when the clock is set meanwhile."""
        left_ms = min(dtn_ms - self._port.dtn_ms(), LOOK_MS)
        self.arm(key, self._port.now() + left_ms * MILLISECOND)
        self._at[key] = dtn_ms

    async def wait(self) -> list[tuple[str, str]]:
        """Wait for deadlines, and take those that came due, in order of time."""
        while True:
            now, keys = self._port.now(), list[tuple[str, str]]()
            while (due := self.pop_due(now)) is not None:
                at_ms = self._at.pop(due[0], 0)
                if at_ms > self._port.dtn_ms():
                    self.arm_at(due[0], at_ms)
                else:
                    keys.append(due[0])
            if keys:
                return keys
            self._changed.clear()
            next_ns = self.next()
            if next_ns is None:
                await self._changed.wait()
            else:
                await wait_until(self._port, self._changed, next_ns)


async def wait_until(port: AppPort, event: asyncio.Event, due_ns: int) -> bool:
    """Wait for `event`, but no longer than until `due_ns`; whether the event is set."""
    if not event.is_set() and due_ns > port.now():
        # Rounded up, so that a clock of coarse sleeps does not spin just ahead of the deadline.
        seconds = (due_ns - port.now() + 999) / SECOND
        await first_of(event.wait(), port.sleep(seconds))
    return event.is_set()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Run all until one has ended, then cancel the others; raises what an ended one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        results = await cancel_all(tasks)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def cancel_all(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    """Cancel tasks, wait until they have ended, and return their results or exceptions."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)
