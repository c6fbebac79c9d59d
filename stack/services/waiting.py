"""Waiting for things and deadlines, in the port's time only."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from stack.core.clock import SECOND
from stack.ports.application import AppPort

RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
"""A full store empties with the next pass: poll it gently, but do not miss the pass."""


class NamedTimers:
    """Named deadlines in monotonic nanoseconds; setting one again replaces it."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._changed = asyncio.Event()

    def set(self, key: str, due_ns: int) -> None:
        """Fire `key` at `due_ns`, instead of at any time set before."""
        self._due[key] = due_ns
        heapq.heappush(self._heap, (due_ns, key))
        if len(self._heap) > 64 + 4 * len(self._due):  # replaced deadlines must not pile up
            self._heap = [(due, name) for name, due in self._due.items()]
            heapq.heapify(self._heap)
        self._changed.set()

    def clear(self, key: str) -> None:
        """Fire `key` no more."""
        self._due.pop(key, None)

    def get(self, key: str) -> int | None:
        """When `key` will fire, or None."""
        return self._due.get(key)

    def pop_due(self, now_ns: int) -> list[str]:
        """Take every key that is due, in order of time."""
        keys = []
        heap = self._heap
        while heap and heap[0][0] <= now_ns:
            due, key = heapq.heappop(heap)
            if self._due.get(key) == due:
                del self._due[key]
                keys.append(key)
        return keys

    def next_due(self) -> int | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    async def wait(self, port: AppPort) -> list[str]:
        """Wait for deadlines, and take those that came due."""
        while True:
            keys = self.pop_due(port.now())
            if keys:
                return keys
            self._changed.clear()
            due = self.next_due()
            if due is None:
                await self._changed.wait()
            else:
                await wait_until(port, self._changed, due)


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
