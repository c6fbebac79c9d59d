"""Sets of integers kept as disjoint half-open intervals: what has arrived, and what is missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A set of non-negative integers as sorted, disjoint, non-touching intervals [start, end).

    Adding at the end (data that arrives in order) takes constant time; anything else costs a
    binary search and, at worst, one list shift.  `len(ranges)` is the count of integers held, not
    of intervals: see `span_count` for that, which is what a caller bounds.  (Python's `len` ends
    at 2^63 - 1: bound what peers may claim before adding it.)
    """

    __slots__ = ("_ends", "_starts", "_total")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._total = 0
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> int:
        """Add [start, end) and return how many of its integers were new.  Empty spans add 0."""
        if end <= start:
            return 0
        ends = self._ends
        if not ends or start > ends[-1]:
            self._starts.append(start)
            ends.append(end)
            self._total += end - start
            return end - start
        last = ends[-1]
        if start >= self._starts[-1]:
            if end <= last:
                return 0
            ends[-1] = end
            self._total += end - last
            return end - last
        return self._merge(start, end)

    def _merge(self, start: int, end: int) -> int:
        """Add a span that begins before the last interval does."""
        starts, ends = self._starts, self._ends
        low = bisect_left(ends, start)  # first interval that ends at or after start
        high = bisect_right(starts, end)  # first interval that starts after end
        held = 0
        if low < high:
            held = sum(ends[low:high]) - sum(starts[low:high])
            start = min(start, starts[low])
            end = max(end, ends[high - 1])
        starts[low:high] = [start]
        ends[low:high] = [end]
        new = end - start - held
        self._total += new
        return new

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is held; true for an empty span."""
        if end <= start:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and self._ends[index] >= end

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The intervals of [start, end) that are not held, in order."""
        starts, ends = self._starts, self._ends
        index = bisect_right(ends, start)
        while start < end:
            if index == len(starts) or starts[index] >= end:
                yield start, end
                return
            if start < starts[index]:
                yield start, starts[index]
            start = ends[index]
            index += 1

    def spans(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The intervals held, cut to [start, end), in order."""
        starts, ends = self._starts, self._ends
        for index in range(bisect_right(ends, start), len(starts)):
            if starts[index] >= end or start >= end:
                return
            yield max(start, starts[index]), min(end, ends[index])

    @property
    def span_count(self) -> int:
        """Number of disjoint intervals: the memory that this set takes."""
        return len(self._starts)

    @property
    def end(self) -> int:
        """One more than the largest integer held; 0 when empty."""
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return self._total

    def __contains__(self, value: int) -> bool:
        return self.covers(value, value + 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"
