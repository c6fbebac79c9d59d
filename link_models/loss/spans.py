"""Times in which everything is lost: given, at random, or again and again.  Parameters that make no
sense raise `ConfigError`."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from link_models.noise import Keyed, Mask, Rng, Times
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

HOUR_NS = 3600 * SECOND

BLACKOUTS_MAX = 1_000_000
"""Blackouts drawn ahead of a run, about: tens of megabytes."""

CYCLES_MAX = 1 << 17
"""Outages of one process, after which it begins again from its start: two megabytes."""

CYCLES_AHEAD = 64
"""Outages drawn first; then as many again as there are."""

Span = tuple[int, int]


class Blackouts:
    """Loses everything inside given intervals: a mast, a cloud, a tracking fault."""

    def __init__(self, intervals_ns: Sequence[Span]) -> None:
        """`intervals_ns` are (start, end), sorted and apart; the end is outside."""
        edges = [edge for interval in intervals_ns for edge in interval]
        if any(a > b for a, b in itertools.pairwise(edges)):
            raise ConfigError("intervals_ns", "must be sorted and must not overlap")
        self.intervals_ns = tuple(intervals_ns)
        self._edges = edges
        self._edges_array = np.array(edges, np.float64)

    @classmethod
    def random(
        cls,
        rng: Rng,
        *,
        inside_ns: Sequence[Span],
        per_hour: float,
        mean_s: float,
        shape: str = "exponential",
    ) -> Blackouts:
        """Blackouts that begin `per_hour` times an hour of the intervals `inside_ns` (passes) and
        last `mean_s` seconds in the mean; `shape` is exponential, fixed or lognormal (with a
        median of two thirds of the mean: mostly short, some long)."""
        if shape not in ("exponential", "fixed", "lognormal"):
            raise ConfigError("shape", f"{shape!r} is not exponential, fixed or lognormal")
        if not (per_hour >= 0 and mean_s >= 0):
            raise ConfigError("per_hour, mean_s", "must not be negative")
        total_ns = sum(end_ns - start_ns for start_ns, end_ns in inside_ns)
        if per_hour * total_ns / HOUR_NS > BLACKOUTS_MAX:
            raise ConfigError("per_hour", f"gives more than {BLACKOUTS_MAX} blackouts")
        found: list[Span] = []
        for start_ns, end_ns in inside_ns:
            at_ns = float(start_ns)
            while per_hour:
                at_ns += rng.exponential(HOUR_NS / per_hour)
                if at_ns >= end_ns:
                    break
                stop_ns = min(at_ns + _duration_ns(rng, mean_s, shape), end_ns)
                if found and found[-1][1] >= at_ns:
                    found[-1] = (found[-1][0], max(found[-1][1], round(stop_ns)))
                else:
                    found.append((round(at_ns), round(stop_ns)))
        return cls(found)

    def lost(self, size: int, now_ns: int) -> bool:
        return bisect_right(self._edges, now_ns) % 2 == 1

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        mask: Mask = np.searchsorted(self._edges_array, times_ns, side="right") % 2 == 1
        return mask


class Outages:
    """Something that works and fails in turn, for exponentially distributed times.

    A function of its key and of time, from time 0 on (before that it is as at 0): all that depends
    on a station fails together, in both directions.
    """

    def __init__(self, key: int, *, mtbf_s: float, mttr_s: float) -> None:
        """`mtbf_s` is the mean time from a repair to the next failure, `mttr_s` the mean time to
        repair.  At time 0 the share `mttr_s / (mtbf_s + mttr_s)` of all keys is being repaired."""
        if not (0 < mtbf_s < math.inf and 0 < mttr_s < math.inf):
            raise ConfigError("mtbf_s, mttr_s", "mean times must be positive and finite")
        self._rng = Keyed(key).block(0)
        self._means_ns = np.array([mtbf_s, mttr_s]) * SECOND
        up, down = self._means_ns
        began_down = self._rng.random() < down / (up + down)
        # Edges are failures and repairs in turn.  Exponential times have no memory: the first is
        # as long as any, however long ago it began.
        self._edges = np.zeros(1 if began_down else 0)
        self._ends_ns = 0.0
        self._extend()

    def spans(self, start_ns: int, end_ns: int) -> list[Span]:
        """The outages that touch the time from `start_ns` to `end_ns`, cut to it."""
        found: list[Span] = []
        at_ns = start_ns
        while at_ns < end_ns:
            place, turn_ns = self._place(at_ns)
            until_ns = min(end_ns, math.ceil(turn_ns + self._edges[place]))
            if place % 2 and until_ns > at_ns:
                found.append((at_ns, until_ns))
            at_ns = max(until_ns, at_ns + 1)
        return found

    def lost(self, size: int, now_ns: int) -> bool:
        return self._place(now_ns)[0] % 2 == 1

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        while times_ns[-1] >= self._ends_ns and len(self._edges) < 2 * CYCLES_MAX:
            self._extend()
        times_ns = np.maximum(times_ns, 0.0)
        if times_ns[-1] >= self._ends_ns:
            times_ns = times_ns % self._ends_ns
        mask: Mask = np.searchsorted(self._edges, times_ns, side="right") % 2 == 1
        return mask

    def _place(self, now_ns: int) -> tuple[int, float]:
        """The number of edges up to `now_ns`, and when the turn began in which it lies."""
        while now_ns >= self._ends_ns and len(self._edges) < 2 * CYCLES_MAX:
            self._extend()
        turn_ns = now_ns // self._ends_ns * self._ends_ns if now_ns > 0 else 0.0
        at_ns = max(now_ns, 0) - turn_ns
        return int(np.searchsorted(self._edges, at_ns, side="right")), turn_ns

    def _extend(self) -> None:
        """Draw as many more as there are."""
        cycles = max(CYCLES_AHEAD, len(self._edges) // 2)
        turn = self._means_ns if len(self._edges) % 2 == 0 else self._means_ns[::-1]
        lengths = np.ceil(self._rng.exponential(np.tile(turn, cycles))) + 1  # whole nanoseconds
        self._edges = np.append(self._edges, self._ends_ns + np.cumsum(lengths))
        self._ends_ns = float(self._edges[-1])


class Flapping:
    """Loses everything for a part of each period: a satellite that tumbles, an antenna that
    scans, a link that a fault takes down again and again."""

    def __init__(self, *, period_s: float, down_s: float, phase_s: float = 0.0) -> None:
        """Down for `down_s` from `phase_s` on, and again every `period_s`, at all times."""
        if not (0 < period_s < math.inf and 0 <= down_s <= period_s and math.isfinite(phase_s)):
            raise ConfigError("period_s, down_s", "need 0 <= down_s <= period_s")
        self._period_ns = max(1, round(period_s * SECOND))
        self._down_ns = round(down_s * SECOND)
        self._phase_ns = round(phase_s * SECOND)

    def lost(self, size: int, now_ns: int) -> bool:
        return (now_ns - self._phase_ns) % self._period_ns < self._down_ns

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        mask: Mask = (times_ns - self._phase_ns) % self._period_ns < self._down_ns
        return mask


def _duration_ns(rng: Rng, mean_s: float, shape: str) -> float:
    mean_ns = mean_s * SECOND
    if shape == "fixed":
        return mean_ns
    if shape == "exponential":
        return float(rng.exponential(mean_ns))
    sigma = math.sqrt(2 * math.log(1.5))  # mean / median = exp(sigma² / 2) = 1.5
    return float(mean_ns / 1.5 * rng.lognormal(0.0, sigma))
