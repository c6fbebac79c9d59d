"""Station scheduling against brute force, plain rules and its own promises."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings

from link_models.planner import Schedule, ScheduleConfig, Service, schedule
from link_models.planner.problem import Problem, Span, make_problem
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError
from tests.strategies.plans_to_schedule import Case, small_problems

SEARCHED_MAX = 40_000
"""Largest number of choices that brute force looks through."""


def run(case: Case, **changes: object) -> Schedule:
    config = replace(case.config, **changes) if changes else case.config  # type: ignore[arg-type]
    return schedule(
        case.plan,
        case.antennas,
        terminals=case.terminals,
        weights=case.weights,
        config=config,
    )


# -- brute force -----------------------------------------------------------------------------


def options(problem: Problem, p: int) -> list[tuple[Span, ...]]:
    """All ways to serve one pass: never, once or twice."""
    low, high = int(problem.first[p]), int(problem.first[p + 1])
    times = problem.moments_ms.tolist()
    once = [
        (p, a, b)
        for a, b in itertools.combinations(range(low, high), 2)
        if times[b] - times[a] >= problem.minimum_ms
    ]
    twice = [(x, y) for x, y in itertools.product(once, once) if times[x[2]] < times[y[1]]]
    return [(), *((one,) for one in once), *twice]


def fits(services: list[tuple[int, int, int]], room: int, gap_ms: int, *, turns: bool) -> bool:
    """Whether so many servers can share services (start, end, station).

    They pause between two: always if it `turns`, else only between two stations.
    """
    for servers in itertools.product(range(room), repeat=len(services)):
        for (x, one), (y, two) in itertools.combinations(zip(servers, services, strict=True), 2):
            gap = gap_ms if turns or one[2] != two[2] else 0
            if x == y and one[0] < two[1] + gap and two[0] < one[1] + gap:
                break
        else:
            return True
    return False


def feasible(problem: Problem, chosen: tuple[Span, ...]) -> bool:
    times, station = problem.moments_ms.tolist(), problem.station.tolist()
    for owner, room, gap, turns in (
        (problem.station, problem.antennas, problem.guard_ms, True),
        (problem.satellite, problem.terminals, problem.handover_ms, False),
    ):
        for number, count in enumerate(room):
            mine = [(times[a], times[b], station[p]) for p, a, b in chosen if owner[p] == number]
            if not fits(mine, count, gap, turns=turns):
                return False
    return True


def choices(problem: Problem) -> Iterator[tuple[Span, ...]]:
    ways = [options(problem, p) for p in range(len(problem.visits))]
    count = 1
    for way in ways:
        count *= len(way)
    if count <= SEARCHED_MAX:
        for picked in itertools.product(*ways):
            yield tuple(span for spans in picked for span in spans)


def problem_of(case: Case) -> Problem:
    config = case.config
    return make_problem(
        case.plan,
        case.antennas,
        case.terminals,
        case.weights,
        guard_ms=config.guard_ms,
        handover_ms=config.handover_ms,
        minimum_ms=config.minimum_ms,
        cut=config.cut,
    )


def best_of_all(case: Case) -> float | None:
    problem = problem_of(case)
    values = [problem.value(c) for c in choices(problem) if feasible(problem, c)]
    return max(values) if values else None
