"""The best day of one antenna: exact, by one walk through the moments of its station."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from link_models.planner.problem import Bools, Floats, Problem, Span

_GAIN_MIN = 1e-6
"""Weighted octets below which a better way is rounding."""


class AntennaScheduler:
    """The moments of one station in the order of time, ready to be walked through often."""

    __slots__ = ("_events", "_guard_ms", "_minimum_ms", "_passes", "passes", "slots")

    def __init__(self, problem: Problem, station: int) -> None:
        self.passes = np.flatnonzero(problem.station == station)
        first = problem.first
        self.slots = np.concatenate(
            [np.arange(first[p], first[p + 1]) for p in self.passes.tolist()]
        )
        """The moments of the station's passes."""
        self._guard_ms = problem.guard_ms
        self._minimum_ms = problem.minimum_ms
        self._passes = self.passes.tolist()
        moments = problem.moments_ms[self.slots].tolist()
        local = np.repeat(np.arange(len(self.passes)), np.diff(first)[self.passes]).tolist()
        begins = set(first[self.passes].tolist())
        ends = set((first[self.passes + 1] - 1).tolist())
        # At one moment services end (0) before others begin (1).
        events = []
        for slot, time_ms, place in zip(self.slots.tolist(), moments, local, strict=True):
            if slot not in begins:
                events.append((time_ms, 0, place, slot))
            if slot not in ends:
                events.append((time_ms, 1, place, slot))
        events.sort()
        self._events = events

    def best(self, worth: Floats, blocked: Bools | None = None) -> tuple[float, list[Span]]:
        """The services of one antenna that are worth most, and how much.

        `worth` is by moment of the whole problem; in the time from a `blocked` moment to the next
        one of the same pass nothing can be served.  `done[i]` are the best days so far, each with
        the moment at which it is over; a pass that is being served carries the best of all days
        from which it could have been begun, less what it had been worth by then.
        """
        value = worth.tolist()
        shut = None if blocked is None else blocked.tolist()
        guard, minimum = self._guard_ms, self._minimum_ms
        over, done = [-math.inf], [0.0]
        path: list[tuple[int, int, int, int]] = [(-1, 0, 0, 0)]
        held = [-math.inf] * len(self._passes)
        begun = [(0, 0)] * len(self._passes)
        young: list[deque[tuple[int, float, int, int]]] = [deque() for _ in self._passes]
        top, ready = 0.0, 0
        for time_ms, begins, place, slot in self._events:
            if begins:
                while ready + 1 < len(over) and over[ready + 1] <= time_ms - guard:
                    ready += 1
                base = done[ready] - value[slot]
                if minimum:
                    young[place].append((time_ms + minimum, base, slot, ready))
                elif base > held[place]:
                    held[place] = base
                    begun[place] = (slot, ready)
                continue
            if shut is not None and shut[slot - 1]:
                held[place] = -math.inf
                young[place].clear()
                continue
            waiting = young[place]
            while waiting and waiting[0][0] <= time_ms:
                _, base, start, before = waiting.popleft()
                if base > held[place]:
                    held[place] = base
                    begun[place] = (start, before)
            total = value[slot] + held[place]
            if total > top + _GAIN_MIN:
                top = total
                over.append(time_ms)
                done.append(total)
                path.append((place, begun[place][0], slot, begun[place][1]))
        return top, self._followed(path)

    def _followed(self, path: list[tuple[int, int, int, int]]) -> list[Span]:
        spans = []
        at = len(path) - 1
        while at:
            place, start, end, at = path[at]
            spans.append((self._passes[place], start, end))
        spans.reverse()
        return spans
