"""Contacts from series of rates: never too much, as much as can be, in steps long enough."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.planner import rate_contacts
from stack.contacts.plan import Contact
from stack.core.errors import ConfigError

series = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0])),
    min_size=1,
    max_size=9,
)
"""Durations in seconds, and the rate during each in kbit/s."""


def laid_out(parts: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    times = [0, *itertools.accumulate(1000 * seconds for seconds, _ in parts)]
    return times, [1000.0 * rate for _, rate in parts] + [0.0]


def octets(contacts: list[Contact]) -> float:
    return sum(one.volume_bytes for one in contacts)


@given(series, st.sampled_from([1, 2000, 4000, 7000]))
@settings(deadline=None)
def test_never_more_than_the_link_carries(parts: list[tuple[int, float]], least_ms: int) -> None:
    times, rates = laid_out(parts)
    contacts = rate_contacts("a", "b", times, rates, step_min_ms=least_ms)
    for one in contacts:
        inside = [
            rate
            for start, end, rate in zip(times, times[1:], rates, strict=False)
            if start < one.end_ms and one.start_ms < end
        ]
        assert one.rate_bps == min(inside)
    for before, after in itertools.pairwise(contacts):
        assert before.end_ms <= after.start_ms
        assert before.end_ms < after.start_ms or before.rate_bps != after.rate_bps
    # A step is shorter than the least only where the link is there for less than two of them.
    up = np.array([rate > 0 for rate in rates])
    edges = np.flatnonzero(np.diff(up, prepend=False))
    runs = [(times[a], times[b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    for one in contacts:
        (run,) = [(a, b) for a, b in runs if a <= one.start_ms < b]
        assert one.end_ms - one.start_ms >= min(least_ms, run[1] - run[0])
    covered = sum(one.end_ms - one.start_ms for one in contacts)
    assert covered == sum(b - a for a, b in runs), "nothing of the link is left out"


@given(series, st.sampled_from([1000, 3000, 5000]))
@settings(deadline=None)
def test_the_best_cut(parts: list[tuple[int, float]], least_ms: int) -> None:
    """Against all ways to cut at changes of the rate, or a least step from there."""
    times, rates = laid_out(parts)
    total = 0.0
    for link, group in itertools.groupby(parts, key=lambda part: part[1] > 0):
        if link:
            total += best_by_hand(list(group), least_ms)
    found = rate_contacts("a", "b", times, rates, step_min_ms=least_ms)
    assert octets(found) == pytest.approx(total)


def best_by_hand(parts: list[tuple[int, float]], least_ms: int) -> float:
    # Neighbours of one rate are one: between them nothing changes.
    parts = [
        (sum(seconds for seconds, _ in group), rate)
        for rate, group in itertools.groupby(parts, key=lambda part: part[1])
    ]
    edges = [0, *itertools.accumulate(1000 * seconds for seconds, _ in parts)]
    end = edges[-1]
    points = sorted({p for e in edges for p in (e, e - least_ms, e + least_ms) if 0 <= p <= end})

    def lowest(a: int, b: int) -> float:
        return min(
            rate
            for (_, rate), low, high in zip(parts, edges, edges[1:], strict=False)
            if low < b and a < high
        )

    if end < 2 * least_ms:
        return lowest(0, end) * end / 8
    best = {0: 0.0}
    for point in points[1:]:
        ways = [
            value + lowest(a, point) * (point - a) / 8
            for a, value in best.items()
            if point - a >= least_ms
        ]
        if ways:
            best[point] = max(ways)
    return best[end]


def test_a_pass_by_the_second() -> None:
    """A rate that follows a sine in 28 modes: nearly all of it in steps of ten seconds."""
    times = np.arange(601) * 1000
    rates = np.floor(28 * np.sin(np.pi * times / 600_000)) * 5e6
    contacts = rate_contacts("a", "b", times, rates, owner="o", jurisdiction="j", confidence=0.5)
    assert min(one.end_ms - one.start_ms for one in contacts) >= 10_000
    assert octets(contacts) > 0.98 * (rates[:-1].sum() / 8)
    assert {(one.owner, one.jurisdiction, one.confidence) for one in contacts} == {("o", "j", 0.5)}


def test_series_that_are_none() -> None:
    for times, rates, words in (
        ([0, 1], [1.0], "one length"),
        ([0, 0], [1.0, 0.0], "rise"),
        ([0, 1], [-1.0, 0.0], "0 or more"),
        ([0, 1], [float("inf"), 0.0], "0 or more"),
        ([0, 1], [float("nan"), 0.0], "0 or more"),
    ):
        with pytest.raises(ConfigError, match=words):
            rate_contacts("a", "b", times, rates)
    with pytest.raises(ConfigError, match="1 ms"):
        rate_contacts("a", "b", [0, 1], [1.0, 0.0], step_min_ms=0)
    assert rate_contacts("a", "b", [], []) == []
    assert rate_contacts("a", "b", [5], [1.0]) == []
