"""What a session sends again: the gaps of reports, gathered in rounds of one checkpoint each."""

from __future__ import annotations

from collections import deque

from stack.core.ranges import RangeSet
from stack.wire.ltp import ReportSegment

_HEAD_BYTES = 32
"""A segment's header, roughly."""


class Resend:
    """Red octets to be sent again (RFC 5326 §6.13).

    Reports that come together are answered together: the last octets of a round go in a
    checkpoint, which costs the receiver one report.  It answers the report of the lowest lower
    bound, so that the next report speaks for all of them.
    """

    __slots__ = ("_queue", "_round", "answers", "octets", "unasked", "waits")

    def __init__(self) -> None:
        self._queue: deque[tuple[int, int]] = deque()
        self._round = RangeSet()
        """What was sent since the last checkpoint."""

        self.answers = (0, 0)
        """(serial, lower bound) of the report that the next checkpoint answers; serial 0: none."""

        self.waits = False
        """Reports on one checkpoint are still to come: the round is not closed before."""

        self.unasked = RangeSet()
        """What only reports without a checkpoint claim: it is not sent again at once."""

        self.octets = 0
        """Octets sent again so far, with the headers."""

    def __bool__(self) -> bool:
        return bool(self._queue)

    def ready(self, step: int) -> bool:
        """Whether anything can leave now: while reports are to come, the last octets, up to the
        `step` of a full segment, are kept back for the checkpoint."""
        queue = self._queue
        return len(queue) > 1 or any(not self.waits or b - a > step for a, b in queue)

    def first(self) -> tuple[int, int, bool]:
        """The next octets, [start, stop), and whether they are the last of the round."""
        start, stop = self._queue[0]
        return start, stop, len(self._queue) == 1

    def advance(self, reached: int) -> bool:
        """The first octets were sent up to here; whether all of them."""
        start, stop = self._queue[0]
        if reached > start:
            self.octets += reached - start + _HEAD_BYTES
            self._round.add(start, reached)
        if reached < stop:
            self._queue[0] = (reached, stop)
            return False
        self._queue.popleft()
        if not self._queue:
            self._round, self.answers = RangeSet(), (0, 0)
        return True

    def take(self, report: ReportSegment, acked: RangeSet, step: int) -> None:
        """Queue what a report misses and nobody else has claimed or queued."""
        lower, upper = report.lower, report.upper
        if acked.covers(lower, upper):
            return
        known = RangeSet(acked)
        for start, stop in (*self._queue, *self._round):
            known.add(start, stop)
        missing = list(known.gaps(lower, upper))
        if not missing:
            return
        for start, stop in self.unasked:
            known.add(start, stop)
        gaps = list(known.gaps(lower, upper))
        if not gaps and report.checkpoint_serial:
            # Only reports that nobody asked for claim the rest: ask, with the last of it.
            start, stop = missing[-1]
            gaps = [(max(start, stop - step), stop)]
            self.unasked = RangeSet()
        if gaps:
            self._queue = deque(RangeSet((*self._queue, *gaps)))
            if not self.answers[0] or lower < self.answers[1]:
                self.answers = (report.report_serial, lower)
