"""Timers by key, in one heap."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K")

_COMPACT_MIN = 64
"""Heaps shorter than this are not worth compacting."""


class TimerHeap(Generic[K]):
    """One deadline for each key, in any unit of time; keys are hashable, and in order where
    deadlines are equal.  A deadline that was changed stays in the heap until it comes up, or until
    most of the heap is stale."""

    __slots__ = ("_armed", "_heap")

    def __init__(self) -> None:
        self._armed: dict[K, tuple[int, int]] = {}  # deadline, and when it was set
        self._heap: list[tuple[int, K]] = []

    def __len__(self) -> int:
        return len(self._armed)

    def __contains__(self, key: K) -> bool:
        return key in self._armed

    def deadline(self, key: K) -> int | None:
        """When `key` is due, or None."""
        entry = self._armed.get(key)
        return None if entry is None else entry[0]

    def arm(self, key: K, deadline: int, now: int = 0) -> None:
        """`key` is due at `deadline`, and at no time set before."""
        self._armed[key] = (deadline, now)
        heap = self._heap
        heappush(heap, (deadline, key))
        if len(heap) > _COMPACT_MIN and len(heap) > 2 * len(self._armed):
            self._rebuild()

    def cancel(self, key: K) -> None:
        """`key` is due no more; one that is not armed is no error."""
        self._armed.pop(key, None)

    def next(self) -> int | None:
        """The earliest deadline, or an earlier stale one (an idle wake-up, never a late one)."""
        return self._heap[0][0] if self._armed else None

    def pop_due(self, now: int) -> tuple[K, int] | None:
        """Take the first key that is due at `now`, with the `now` at which it was armed."""
        heap, armed = self._heap, self._armed
        while heap and heap[0][0] <= now:
            deadline, key = heappop(heap)
            entry = armed.get(key)
            if entry is not None and entry[0] == deadline:
                del armed[key]
                return key, entry[1]
        return None

    def shift(self, delay: int) -> None:
        """All are due so much later."""
        for key, (deadline, armed_at) in self._armed.items():
            self._armed[key] = (deadline + delay, armed_at)
        self._rebuild()

    def clear(self) -> None:
        """No key is due any more."""
        self._armed.clear()
        self._heap.clear()

    def _rebuild(self) -> None:
        self._heap = [(entry[0], key) for key, entry in self._armed.items()]
        heapify(self._heap)
