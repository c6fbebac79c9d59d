"""What plain rules of scheduling give: the measure that a better schedule is held against."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from link_models.planner.problem import Problem

Service = tuple[int, int, int, int]
"""Number of the antenna among all, the pass, start and end in ms."""

_Taken = list[tuple[int, int, int]]
"""Services as start, end, station."""


def first_come(problem: Problem, *, cut: bool) -> list[Service]:
    """Passes in the order in which they begin: an antenna stays with its satellite until that
    sets, and then turns to what is in view (or, without `cut`, to what rises)."""
    free: list[list[int]] = [[-(1 << 62)] * count for count in problem.antennas]
    linked = [[(-(1 << 62), -1)] * count for count in problem.terminals]
    base = np.concatenate(([0], np.cumsum(problem.antennas))).tolist()
    services = []
    for p, visit in enumerate(problem.visits):
        station, satellite = int(problem.station[p]), int(problem.satellite[p])
        antenna = min(range(len(free[station])), key=free[station].__getitem__)
        terminal = min(range(len(linked[satellite])), key=linked[satellite].__getitem__)
        before_ms, before = linked[satellite][terminal]
        start_ms = max(
            visit.start_ms,
            free[station][antenna] + problem.guard_ms,
            before_ms + (problem.handover_ms if before != station else 0),
        )
        if visit.end_ms - start_ms < max(1, problem.minimum_ms):
            continue
        if start_ms > visit.start_ms and not cut:
            continue
        free[station][antenna] = visit.end_ms
        linked[satellite][terminal] = (visit.end_ms, station)
        services.append((base[station] + antenna, p, start_ms, visit.end_ms))
    return services


def longest_first(problem: Problem) -> list[Service]:
    """Whole passes, the longest first, wherever an antenna and a terminal are still free."""
    antennas: list[list[_Taken]] = [[[] for _ in range(n)] for n in problem.antennas]
    terminals: list[list[_Taken]] = [[[] for _ in range(n)] for n in problem.terminals]
    base = np.concatenate(([0], np.cumsum(problem.antennas))).tolist()
    services = []
    visits = problem.visits
    order = sorted(range(len(visits)), key=lambda p: (visits[p].start_ms - visits[p].end_ms, p))
    for p in order:
        visit = visits[p]
        if visit.end_ms - visit.start_ms < problem.minimum_ms:
            continue
        station, satellite = int(problem.station[p]), int(problem.satellite[p])
        # An antenna turns between any two passes, a terminal only between stations.
        antenna = _free(antennas[station], (visit.start_ms, visit.end_ms, -1), problem.guard_ms)
        mine = (visit.start_ms, visit.end_ms, station)
        terminal = _free(terminals[satellite], mine, problem.handover_ms)
        if antenna is None or terminal is None:
            continue
        antennas[station][antenna].append(mine)
        terminals[satellite][terminal].append(mine)
        services.append((base[station] + antenna, p, visit.start_ms, visit.end_ms))
    return services


def _free(users: list[_Taken], wanted: tuple[int, int, int], gap_ms: int) -> int | None:
    start_ms, end_ms, station = wanted
    for place, taken in enumerate(users):
        for a, b, where in taken:
            gap = gap_ms if where != station else 0
            if not (end_ms + gap <= a or b + gap <= start_ms):
                break
        else:
            return place
    return None


def value_of(problem: Problem, services: Iterable[Service]) -> float:
    """What services are worth together."""
    total = 0.0
    for _, p, start_ms, end_ms in services:
        low, high = int(problem.first[p]), int(problem.first[p + 1])
        moments, worth = problem.moments_ms[low:high], problem.worth[low:high]
        begin, end = np.interp([start_ms, end_ms], moments, worth)
        total += float(end - begin)
    return total


def snapped(
    problem: Problem, services: Iterable[Service], antennas: int
) -> list[list[tuple[int, int, int]]]:
    """Services as days of antennas, with ends at moments of the problem, inwards."""
    days: list[list[tuple[int, int, int]]] = [[] for _ in range(antennas)]
    for antenna, p, start_ms, end_ms in services:
        low, high = int(problem.first[p]), int(problem.first[p + 1])
        moments = problem.moments_ms[low:high]
        first = low + int(np.searchsorted(moments, start_ms, side="left"))
        last = low + int(np.searchsorted(moments, end_ms, side="right")) - 1
        if first < last and moments[last - low] - moments[first - low] >= problem.minimum_ms:
            days[antenna].append((p, first, last))
    return days
