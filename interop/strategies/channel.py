"""Channels between two ends of any protocol: what is put in comes out late, twice, in another
order, or not at all, and for some time nothing does.

    @given(channels(), channels())
    def test_mine(there: ChannelScript, back: ChannelScript) -> None:
        out, home = there.channel(), back.channel()
        out.put(message, now); ...; for one in out.take(now): ...

Time has whatever unit the test has.  A script says what befalls the first things that are put in,
and shrinks to one that says nothing; what is put in later arrives, so that a protocol that repeats
what was lost comes to its end.  It knows nothing of what it carries.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from interop.strategies.choices import Choices
from interop.strategies.making import strategy

T = TypeVar("T")

COPIES_MAX = 3


@dataclass(frozen=True, slots=True)
class ChannelScript:
    """What befalls the things that are put into a channel."""

    delay: int
    """Time that each takes."""

    fates: tuple[tuple[int, ...], ...] = ()
    """Of the first thing that is put in, the second, ...: how much later than `delay` each copy of
    it arrives.  No copy: it is lost."""

    blackouts: tuple[tuple[int, int], ...] = ()
    """From when to when nothing that is put in arrives; the end is not part of it."""

    def channel(self) -> ScriptedChannel[Any]:
        """A channel that does so, and is empty."""
        return ScriptedChannel(self)

    @property
    def quiet_from(self) -> int:
        """When the last blackout is over."""
        return max((end for _, end in self.blackouts), default=0)


class ScriptedChannel(Generic[T]):
    """One direction."""

    def __init__(self, script: ChannelScript) -> None:
        self._script = script
        self._fates = iter(script.fates)
        self._flying: list[tuple[int, int, T]] = []
        self._numbers = itertools.count()

    def put(self, thing: T, now: int) -> None:
        """It leaves."""
        fate = next(self._fates, (0,))
        if any(begin <= now < end for begin, end in self._script.blackouts):
            return
        for late in fate:
            at = now + self._script.delay + late
            heapq.heappush(self._flying, (at, next(self._numbers), thing))

    def take(self, now: int) -> list[T]:
        """What has arrived by now, and was not taken before; what arrives at one time, in the order
        in which it was put in."""
        found = []
        while self._flying and self._flying[0][0] <= now:
            found.append(heapq.heappop(self._flying)[2])
        return found

    def next_at(self) -> int | None:
        """When something arrives next, or None."""
        return self._flying[0][0] if self._flying else None


@strategy
def channels(
    choose: Choices,
    *,
    most: int = 30,
    delay: int = 1,
    late: int = 20,
    blackout: int = 30,
    loss: bool = True,
    duplication: bool = True,
    reordering: bool = True,
) -> ChannelScript:
    """A channel that does its worst to the first `most` things: a copy is up to `late` later than
    `delay`, and overtaken if `reordering`; up to two blackouts are up to `blackout` long (0: there
    are none)."""
    late = late if reordering else 0
    fates = [_fate(choose, late, loss, duplication) for _ in choose.many(0, most)]
    outages: list[tuple[int, int]] = []
    begin = 0
    for _ in choose.many(0, 2 if blackout else 0):
        begin += choose.integer(0, 4 * blackout)
        outages.append((begin, begin + choose.integer(1, blackout)))
        begin = outages[-1][1]
    return ChannelScript(delay, tuple(fates), tuple(outages))


def _fate(choose: Choices, late: int, loss: bool, duplication: bool) -> tuple[int, ...]:
    """When the copies of one thing arrive."""
    if loss and choose.flip(4):
        return ()
    copies = 1
    if duplication and choose.flip(4):
        copies = choose.integer(2, COPIES_MAX)
    return tuple(choose.integer(0, late) if late and choose.flip(3) else 0 for _ in range(copies))
