"""What became of each datagram of a train, for those who want to know: captures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stack.core.clock import SECOND

REASONS: Final = {
    "dropped_queue": "lost: the transmitter's queue is full",
    "dropped_window": "lost: no contact",
}
"""Counters of the transmitter, in words."""

OVERTAKEN: Final = "late, and may be overtaken"
DAMAGED: Final = "with wrong bits"
TWICE: Final = "and comes again"


def lost_by(cause: str) -> str:
    """Why a rule of that name lets something not arrive."""
    return f"lost: {cause}" if cause else "lost"


class Fates:
    """One for each train; a channel fills it in."""

    def __init__(self, count: int, now_ns: int) -> None:
        """For a train of `count` datagrams that is sent at `now_ns`."""
        self.first = 0
        """Where what is told now begins: a train may be sent in two parts."""
        self._now_ns = now_ns
        self._lost = [""] * count
        self._arrived_ns: list[float | None] = [None] * count
        self._notes: list[str] = [""] * count

    def lost(self, indices: Iterable[int], reason: str) -> None:
        """These do not arrive; the first reason counts."""
        for index in indices:
            place = self.first + index
            self._lost[place] = self._lost[place] or reason

    def arrive(self, indices: Iterable[int], times_ns: Iterable[float]) -> None:
        """These arrive then."""
        for index, at_ns in zip(indices, times_ns, strict=True):
            self._arrived_ns[self.first + index] = at_ns

    def note(self, indices: Iterable[int], what: str) -> None:
        """Something else befalls these."""
        for index in indices:
            self._notes[self.first + index] += f"; {what}"

    def words(self) -> list[str]:
        """One line for each datagram."""
        return [
            reason or (_after(at_ns - self._now_ns) if at_ns is not None else "lost") + notes
            for reason, at_ns, notes in zip(self._lost, self._arrived_ns, self._notes, strict=True)
        ]


def _after(delay_ns: float) -> str:
    return f"arrives {round(delay_ns) / SECOND:.9f}".rstrip("0").rstrip(".") + " s later"
