"""Schedules of many antennas: prices, the best day of each antenna under them, and a bound.

One antenna's best day is found exactly (`antenna.py`).  What couples them are satellites, which
cannot talk to everyone at once.  Each moment of a satellite gets a price that rises where more
antennas want it than it can serve (Lagrangian relaxation): the best days under prices, plus the
prices of what there is, bound from above what any schedule can be worth.  Schedules come from
giving the antennas their days one after another, each out of what is left, and then again and
again to each out of what the others leave, until nobody gains.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from link_models.planner.antenna import AntennaScheduler
from link_models.planner.problem import Floats, Ints, Problem, Span

Day = list[Span]

_SWEEPS_MAX = 20
"""Rounds in which every antenna may improve; a handful is enough."""

_ROUNDS_A_SCHEDULE = 5
"""Rounds of prices between two attempts at a schedule under them."""

_EXCHANGE_MAX = 200_000
"""Moments times antennas up to which pairs of antennas are tried anew: seconds."""

_PATIENCE = 2
"""Rounds without a better bound after which prices move half as far."""


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule."""

    days: tuple[tuple[int, tuple[Span, ...]], ...]
    """Of each antenna: its station, and its services."""

    value: float


class ScheduleSearch:
    """A problem with everything made ready for its solution."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._desks = [AntennaScheduler(problem, s) for s in range(len(problem.stations))]
        self.antennas = [s for s, count in enumerate(problem.antennas) for _ in range(count)]
        terminals = np.array(problem.terminals, np.intp)
        self._room = terminals[problem.tick_satellite] if len(terminals) else np.zeros(0, np.intp)
        """Terminals from each tick to the next."""
        # However many antennas a station has, it serves a pass once.
        self._sold = np.minimum(self._room, self._seen(np.ones(len(problem.antennas), np.intp)))
        length = np.diff(problem.ticks_ms, append=0)
        same = np.diff(problem.tick_satellite, append=-1) == 0
        self._length_ms = np.where(same, length, 0).astype(np.float64)
        # Where more antennas see a satellite than can serve it.
        self._coupled = self._seen(np.array(problem.antennas, np.intp)) > self._sold

    # -- prices ----------------------------------------------------------------------------

    def _seen(self, many: Ints) -> Ints:
        """How many see each satellite from each tick to the next, `many` at each station."""
        problem = self.problem
        seen = np.zeros(len(problem.ticks_ms) + 1, np.intp)
        np.add.at(seen, problem.tick[problem.first[:-1]], many[problem.station])
        np.add.at(seen, problem.tick[problem.first[1:] - 1], -many[problem.station])
        return np.cumsum(seen)[:-1]

    def bounded(
        self, rounds: int, gap: float, seeds: Sequence[Sequence[Day]]
    ) -> tuple[float, Found]:
        """An upper bound, and the best schedule found on the way to it.

        Ends after some rounds, or when the two are within a share `gap` of each other.  `seeds`
        are schedules to begin with.
        """
        problem = self.problem
        empty: list[Day] = [[] for _ in self.antennas]
        starts = [self.ascended(days, problem.worth) for days in (empty, *seeds)]
        best = max(starts, key=lambda one: one.value)
        price = np.zeros(len(problem.ticks_ms))
        bound = float(problem.worth[problem.first[1:] - 1].sum())
        step = 1.0
        stale = 0
        for number in range(rounds):
            ceiling, wanted = self._relaxed(price)
            if ceiling < bound:
                bound, stale = ceiling, 0
            else:
                stale += 1
                if stale >= _PATIENCE:
                    step, stale = step / 2, 0
            excess = np.where(self._coupled, wanted - self._sold, 0)
            # Where nothing is wanted and nothing is paid, there is nothing to learn.
            excess[(price == 0) & (excess < 0)] = 0
            norm = float((excess * excess * self._length_ms).sum())
            if not norm or bound - best.value <= gap * bound:
                break
            # Polyak's step: as far as the distance to the best schedule suggests.
            price = np.maximum(0.0, price + step * (ceiling - best.value) / norm * excess)
            if number % _ROUNDS_A_SCHEDULE == _ROUNDS_A_SCHEDULE - 1:
                found = self.ascended(self.sequential(self._priced(price)), problem.worth)
                best = max(best, found, key=lambda one: one.value)
        small = len(problem.moments_ms) * len(self.antennas) <= _EXCHANGE_MAX
        if small and bound - best.value > gap * bound:
            best = self._exchanged(best, (1 - gap) * bound)
        return max(bound, best.value), best

    def _exchanged(self, best: Found, enough: float) -> Found:
        """Let two antennas at a time begin anew, the one first and then the other, as long as
        that improves the schedule."""
        pairs = list(itertools.permutations(range(len(self.antennas)), 2))
        worth = self.problem.worth
        improved = True
        while improved and best.value < enough:
            improved = False
            for one, other in pairs:
                days = [list(day) for _, day in best.days]
                days[one], days[other] = [], []
                days[one] = self._day(days, one, worth, self._use(days))
                found = self.ascended(days, worth)
                if found.value > best.value * (1 + 1e-12):
                    best, improved = found, True
        return best

    def _priced(self, price: Floats) -> Floats:
        paid = np.concatenate(([0.0], np.cumsum(price * self._length_ms)))
        priced: Floats = self.problem.worth - paid[self.problem.tick]
        return priced

    def _relaxed(self, price: Floats) -> tuple[float, Ints]:
        """What the antennas would earn with satellites for sale, and what they would buy."""
        problem = self.problem
        priced = self._priced(price)
        total = float((price * self._length_ms * self._sold).sum())
        use = np.zeros(len(problem.ticks_ms) + 1, np.intp)
        for desk, many in zip(self._desks, problem.antennas, strict=True):
            value, day = desk.best(priced)
            total += many * value
            for _, start, end in day:
                use[problem.tick[start]] += many
                use[problem.tick[end]] -= many
        return total, np.cumsum(use)[:-1]

    # -- schedules -------------------------------------------------------------------------

    def ascended(self, days: Sequence[Day], worth: Floats) -> Found:
        """Improve every antenna's day, given those of all others, until nothing improves."""
        use = self._use(days)
        days = list(days)
        idle = 0
        for number in [*range(len(days))] * _SWEEPS_MAX:
            day = self._day(days, number, worth, use)
            if self._sum(day, worth) > self._sum(days[number], worth) * (1 + 1e-12):
                use += self._changes(number, day) - self._changes(number, days[number])
                days[number] = day
                idle = 0
            else:
                idle += 1
                if idle >= len(days):
                    break
        return self.found(days)

    def sequential(self, worth: Floats) -> list[Day]:
        """Days given out one after another."""
        days: list[Day] = [[] for _ in self.antennas]
        use = self._use(days)
        for number in range(len(days)):
            days[number] = self._day(days, number, worth, use)
            use += self._changes(number, days[number])
        return days

    def found(self, days: Sequence[Day]) -> Found:
        """Days as a schedule."""
        spans = [span for day in days for span in day]
        whole = tuple((s, tuple(day)) for s, day in zip(self.antennas, days, strict=True))
        return Found(whole, self.problem.value(spans))

    @staticmethod
    def _sum(day: Day, worth: Floats) -> float:
        return sum(float(worth[end] - worth[start]) for _, start, end in day)

    def _use(self, days: Sequence[Day]) -> Ints:
        """By how much the number of terminals in use changes at each tick."""
        use = np.zeros(len(self.problem.ticks_ms) + 1, np.intp)
        for number, day in enumerate(days):
            use += self._changes(number, day)
        return use

    def _changes(self, number: int, day: Day) -> Ints:
        problem = self.problem
        use = np.zeros(len(problem.ticks_ms) + 1, np.intp)
        if day:
            spans = np.array(day, np.intp)
            np.add.at(use, problem.tick[spans[:, 1]], 1)
            np.add.at(use, problem.tick[spans[:, 2]], -1)
        return use

    def _day(self, days: Sequence[Day], number: int, worth: Floats, use: Ints) -> Day:
        """The best day of an antenna out of what the others leave."""
        problem = self.problem
        station = self.antennas[number]
        desk = self._desks[station]
        left = use - self._changes(number, days[number])
        if problem.handover_ms:
            left = left + self._turning(days, number)
        full = np.cumsum(left)[:-1] >= self._room
        shut = np.concatenate(([0], np.cumsum(full)))
        slots = desk.slots[:-1]
        blocked = np.zeros(len(problem.moments_ms), np.bool_)
        blocked[slots] = shut[problem.tick[slots + 1]] > shut[problem.tick[slots]]
        for sibling, day in enumerate(days):
            if sibling != number and self.antennas[sibling] == station:
                for _, start, end in day:
                    blocked[start:end] = True
        return desk.best(worth, blocked)[1]

    def _turning(self, days: Sequence[Day], number: int) -> Ints:
        """What the turning of satellites from and to other stations takes of their terminals."""
        problem = self.problem
        use = np.zeros(len(problem.ticks_ms) + 1, np.intp)
        for other, day in enumerate(days):
            if self.antennas[other] == self.antennas[number]:
                continue
            for _, start, end in day:
                a, b = int(problem.tick[start]), int(problem.tick[end])
                first, last = self._widened(a, b)
                use[[first, b]] += 1
                use[[a, last]] -= 1
        return use

    def _widened(self, start: int, end: int) -> tuple[int, int]:
        """A service with the time in which the satellite turns from or to another station."""
        problem = self.problem
        satellite = problem.tick_satellite[start]
        low, high = np.searchsorted(problem.tick_satellite, [satellite, satellite + 1])
        ticks = problem.ticks_ms[low:high]
        from_ms = problem.ticks_ms[start] - problem.handover_ms
        until_ms = problem.ticks_ms[end] + problem.handover_ms
        first = max(0, int(np.searchsorted(ticks, from_ms, side="right")) - 1)
        last = min(len(ticks) - 1, int(np.searchsorted(ticks, until_ms, side="left")))
        return int(low) + first, int(low) + last
