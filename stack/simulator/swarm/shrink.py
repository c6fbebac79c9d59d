"""Makes a failing run smaller, as long as it still fails in the same way.

Greedy delta debugging: parts are left out, large ones first, and whatever can go without the
failure going too, goes.  The result depends on the options alone, unless the time runs out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from stack.simulator.swarm.day import run
from stack.simulator.swarm.faults import CONTROL
from stack.simulator.swarm.options import NODES_MIN, Options

RUNS_MAX: Final = 500
SECONDS_MAX: Final = 300.0

LISTS: Final = ("faults", "jobs", "files", "messages", "passes")
"""What is shortened, in this order: the fewer faults, the sooner one knows which it is."""

TIME_STEPS: Final = (0.25, 0.5, 0.75)
"""Shorter days to try, in parts of the present one."""

Fails = Callable[[Options], bool]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing run that was found."""

    options: Options
    runs: int
    finished: bool
    """False: time or runs were used up, and there may be a smaller one."""


class _Spent(Exception):
    """No more runs."""


def same_failure(options: Options) -> Fails | None:
    """A test for the failure of `options`, or None when they do not fail: some invariant that
    they break is broken too."""
    broken = {problem.invariant for problem in run(options).problems}
    if not broken:
        return None

    def fails(smaller: Options) -> bool:
        return any(problem.invariant in broken for problem in run(smaller).problems)

    return fails


def shrink(
    options: Options,
    fails: Fails,
    *,
    runs_max: int = RUNS_MAX,
    seconds_max: float = SECONDS_MAX,
    clock: Callable[[], float] = time.monotonic,
) -> Shrunk:
    """Make `options`, for which `fails`, smaller."""
    end_s = clock() + seconds_max
    best = options
    runs = 0

    def keeps(candidate: Options) -> bool:
        nonlocal best, runs
        if runs >= runs_max or clock() > end_s:
            raise _Spent
        runs += 1
        if not fails(candidate):
            return False
        best = candidate
        return True

    try:
        while True:
            before = best
            for name in LISTS:
                _shorten(best, name, keeps)
            for step in _simpler(best):
                candidate = step(best)
                if candidate is not None and candidate != best:
                    keeps(candidate)
            if best == before:
                return Shrunk(best, runs, True)
    except _Spent:
        return Shrunk(best, runs, False)


def _shorten(options: Options, name: str, keeps: Fails) -> None:
    """Leave out parts of a list: all of it, halves, quarters, and at last single entries."""
    items: tuple[Any, ...] = getattr(options, name)
    size = len(items)
    while size:
        start = 0
        while start < len(items):
            rest = items[:start] + items[start + size :]
            candidate = replace(options, **cast("Any", {name: rest}))
            if keeps(candidate):
                items = rest
                options = candidate
            else:
                start += size
        size //= 2


Step = Callable[[Options], Options | None]


def _simpler(options: Options) -> Iterator[Step]:
    for node in options.nodes:
        yield _without(node)
    plain: list[dict[str, Any]] = [
        {"fec": False},
        {"fragment_bytes": 0},
        {"store": "memory"},
        {"quota_bytes": Options.__dataclass_fields__["quota_bytes"].default},
        {"block_bytes": Options.__dataclass_fields__["block_bytes"].default},
        {"queue_bytes": Options.__dataclass_fields__["queue_bytes"].default},
        {"clockless": ()},
        {"mistaken": ()},
        {"protect": False},
    ]
    for change in plain:
        yield lambda old, change=change: replace(old, **change)  # type: ignore[misc]
    yield _unauthenticated
    yield lambda old: replace(old, links=tuple(replace(one, loss=0.0) for one in old.links))
    for part in TIME_STEPS:
        yield lambda old, part=part: _shorter(old, part)  # type: ignore[misc]
    for index in range(len(options.faults)):
        yield lambda old, index=index: _briefer(old, index)  # type: ignore[misc]


def _unauthenticated(old: Options) -> Options | None:
    """Without authentication, where nothing needs it."""
    needed = any(fault.mode == CONTROL for fault in old.faults)
    return None if needed else replace(old, authenticate=False)


def _without(node: str) -> Step:
    """Leave out a node, and all that has to do with it."""

    def step(old: Options) -> Options | None:
        if len(old.nodes) <= NODES_MIN - 1 or node not in old.nodes:
            return None

        def stays(*ends: str) -> bool:
            return node not in ends

        return replace(
            old,
            nodes=tuple(name for name in old.nodes if name != node),
            clockless=tuple(name for name in old.clockless if name != node),
            mistaken=tuple(name for name in old.mistaken if name != node),
            jurisdictions={name: law for name, law in old.jurisdictions.items() if name != node},
            outdated={name: law for name, law in old.outdated.items() if name != node},
            links=tuple(one for one in old.links if stays(one.a, one.b)),
            passes=tuple(one for one in old.passes if stays(one.a, one.b)),
            messages=tuple(one for one in old.messages if stays(one.source, one.destination)),
            files=tuple(one for one in old.files if stays(one.source, one.destination)),
            jobs=tuple(one for one in old.jobs if stays(one.source, one.destination)),
            faults=tuple(one for one in old.faults if stays(one.node, one.peer)),
        )

    return step


def _shorter(old: Options, part: float) -> Options | None:
    """A shorter day, of which the faults take the same share."""
    day_s = round(old.day_s * part)
    faults_s = old.faults_s * part
    return replace(
        old,
        day_s=day_s,
        faults_s=faults_s,
        passes=tuple(one for one in old.passes if one.end_s < day_s),
        messages=tuple(one for one in old.messages if one.at_s < faults_s),
        files=tuple(one for one in old.files if one.at_s < faults_s),
        jobs=tuple(one for one in old.jobs if one.at_s < faults_s),
        faults=tuple(one for one in old.faults if one.at_s < faults_s),
    )


def _briefer(old: Options, index: int) -> Options | None:
    """One fault that lasts half as long."""
    if index >= len(old.faults) or old.faults[index].for_s < 1:
        return None
    fault = replace(old.faults[index], for_s=round(old.faults[index].for_s / 2, 3))
    return replace(old, faults=(*old.faults[:index], fault, *old.faults[index + 1 :]))
