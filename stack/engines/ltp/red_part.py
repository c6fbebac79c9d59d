"""The red octets of one incoming block: where they lie, and which have arrived."""

from __future__ import annotations

import numpy as np

from stack.core.ranges import RangeSet
from stack.engines.ltp.trains import Octets

FIRST_BYTES = 65_536
"""Room made for a block of which nothing is known yet."""

SLACK_BYTES = 16_384
"""What a buffer grows by beyond twice its size: blocks of a round number of octets have some more
around them, for which all would be copied once more."""


class RedPart:
    """Reassembles a red part with one copy.

    The buffer grows with what has arrived, never with what an offset claims: octets too far
    beyond it wait apart, at their own size, until enough has arrived in front of them.  It never
    takes more than four times what has arrived, plus `FIRST_BYTES`.  Where
    octets arrive twice, the first ones stay.
    """

    __slots__ = ("_buffer", "_far", "_far_bytes", "ranges")

    def __init__(self, capacity: int = FIRST_BYTES) -> None:
        self._buffer: Octets = np.empty(capacity, np.uint8)
        self._far: dict[int, bytes] = {}
        self._far_bytes = 0
        self.ranges = RangeSet()

    @property
    def allocated(self) -> int:
        """Octets of memory held."""
        return len(self._buffer) + self._far_bytes

    def append_rows(self, offset: int, rows: Octets) -> bool:
        """Take a run of equal segments that lies beyond all octets so far; False, with nothing
        done, when it does not or is too far away."""
        end = offset + rows.size
        if offset < self.ranges.end or not self._reach(end, rows.size):
            return False
        self._buffer[offset:end].reshape(rows.shape)[:] = rows
        self.ranges.add(offset, end)
        return True

    def write(self, offset: int, data: memoryview) -> tuple[int, bool]:
        """Take octets at `offset`: how many were new, and whether any differ from those that
        came before at the same place."""
        end = offset + len(data)
        if offset >= self.ranges.end:
            self._place(offset, data)
            return self.ranges.add(offset, end), False
        differs = any(
            data[start - offset : stop - offset] != self._buffer[start:stop].data
            for start, stop in self.ranges.spans(offset, min(end, len(self._buffer)))
        )
        for start, stop in list(self.ranges.gaps(offset, end)):
            self._place(start, data[start - offset : stop - offset])
        return self.ranges.add(offset, end), differs

    def whole(self, length: int) -> memoryview:
        """The first `length` octets, all of which have arrived; nothing is copied."""
        self._reach(length, 0)
        return self._buffer[:length].data

    def _place(self, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        self._reach(end, len(data))
        near = max(0, min(end, len(self._buffer)) - offset)
        if near:
            self._buffer[offset : offset + near] = np.frombuffer(data[:near], np.uint8)
        if near < len(data):
            self._far[offset + near] = bytes(data[near:])
            self._far_bytes += len(data) - near

    def _reach(self, end: int, coming: int) -> bool:
        """Make the buffer reach `end`, unless more than half of it would then be empty."""
        capacity = len(self._buffer)
        if end <= capacity:
            return True
        if end > 2 * (len(self.ranges) + coming) + FIRST_BYTES:
            return False
        most = 4 * (len(self.ranges) + coming) + FIRST_BYTES
        size = max(end, min(2 * capacity + SLACK_BYTES, most))
        grown: Octets = np.empty(size, np.uint8)
        filled = min(self.ranges.end, capacity)
        grown[:filled] = self._buffer[:filled]
        self._buffer = grown
        far, self._far, self._far_bytes = self._far, {}, 0
        for offset, data in far.items():
            near = max(0, min(offset + len(data), len(grown)) - offset)
            grown[offset : offset + near] = np.frombuffer(data[:near], np.uint8)
            if near < len(data):
                self._far[offset + near] = data[near:]
                self._far_bytes += len(data) - near
        return True
