"""What a plan gives each node, on plans small enough to reckon by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.planner.statistics import DAY_MS, NodeFigures, levels_of, plan_figures
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

G, H, S, T = "dtn://g/", "dtn://h/", "dtn://s/", "dtn://t/"

MINUTE = 60_000


def contact(source: str, destination: str, start: int, end: int, sure: float = 1.0) -> Contact:
    return Contact(source, destination, start * MINUTE, end * MINUTE, 8000.0, sure)


PLAN = Plan(
    [
        contact(S, G, 0, 10),
        contact(G, S, 2, 8),
        contact(T, G, 5, 15, 0.5),
        contact(S, G, 30, 40),
        contact(S, H, 20, 30),
        Contact(G, H, 0, 90 * MINUTE, float("inf")),
        Contact(H, G, 0, 90 * MINUTE, float("inf")),
    ]
)


def of(node: str, antennas: dict[str, int]) -> NodeFigures:
    figures = plan_figures(PLAN, 0, 90 * MINUTE, antennas)
    return next(one for one in figures.nodes if one.node == node)


def test_time_passes_and_antennas() -> None:
    station = of(G, {G: 1, H: 1})
    assert (station.passes, station.at_once, station.antennas) == (3, 2, 1)
    assert station.contact_s == 25 * 60
    assert station.busy_s == 30 * 60
    assert station.conflict_s == 5 * 60
    assert of(G, {G: 2, H: 1}).conflict_s == 0
    satellite = of(S, {G: 1, H: 1})
    assert (satellite.passes, satellite.contact_s, satellite.antennas) == (3, 30 * 60, 0)


def test_volumes() -> None:
    station = of(G, {G: 1, H: 1})
    assert station.received_bytes == 1000 * 60 * 30
    assert station.sent_bytes == 1000 * 60 * 6
    assert station.expected_bytes == 1000 * 60 * (10 + 6 + 5 + 10)


def test_gaps_count_the_waits_before_the_first_and_after_the_last_contact() -> None:
    gaps = of(S, {G: 1, H: 1}).gaps  # 10 to 20, and 40 to 90
    assert (gaps.count, gaps.mean_s, gaps.median_s, gaps.longest_s) == (2, 1800.0, 1800.0, 3000.0)
    assert gaps.longest_start_ms == 40 * MINUTE
    late = of(T, {G: 1, H: 1}).gaps  # 0 to 5, and 15 to 90
    assert (late.count, late.longest_s, late.longest_start_ms) == (2, 4500.0, 15 * MINUTE)
    assert of(H, {G: 1, H: 1}).gaps.longest_start_ms == 30 * MINUTE
    always = plan_figures(Plan([contact(S, G, 0, 90)]), 0, 90 * MINUTE, {G: 1})
    assert {one.gaps.count for one in always.nodes} == {0}, "a lasting link is no pass"


def test_lasting_links_are_told_apart() -> None:
    figures = plan_figures(PLAN, 0, 90 * MINUTE, {G: 1, H: 1})
    assert [(one.one, one.other) for one in figures.always] == [(G, H)]
    assert plan_figures(PLAN, 0, 90 * MINUTE).always == figures.always, "it lasts all the time"
    longer = plan_figures(PLAN, 0, 91 * MINUTE)
    assert longer.always == ()
    assert plan_figures(PLAN, 0, 91 * MINUTE, {G: 1, H: 1}).always != (), "both are stations"
    first = figures.passes[0]
    assert (first.one, first.other, first.contacts) == (S, G, 2)
    assert (first.forward_bytes, first.backward_bytes) == (600_000, 360_000)


def test_days_begin_at_midnight() -> None:
    start = 10 * DAY_MS - 60 * MINUTE
    plan = Plan([Contact(S, G, start, start + 120 * MINUTE, 8000.0)])
    figures = plan_figures(plan, start - 1, start + 3 * DAY_MS)
    (first, volumes), (second, more), *rest = figures.days
    assert (first, second) == (start - 1, 10 * DAY_MS)
    assert volumes[S] == more[S] == (3_600_000, 0.0)
    assert volumes[G] == (0.0, 3_600_000)
    assert [(day, dict(v)) for day, v in rest] == [(11 * DAY_MS, {}), (12 * DAY_MS, {})]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=8))
@settings(deadline=None)
def test_levels_count_spans(spans: list[tuple[int, int]]) -> None:
    periods = [(start, start + length) for start, length in spans]
    levels = list(levels_of(periods))
    for at in range(60):
        counted = sum(a <= at < b for a, b in periods)
        assert counted == next((level for a, b, level in levels if a <= at < b), 0)


def test_volumes_of_days_add_up_to_those_of_nodes() -> None:
    figures = plan_figures(PLAN, 0, 90 * MINUTE, {G: 1, H: 1})
    for one in figures.nodes:
        days = [day.get(one.node, (0.0, 0.0)) for _, day in figures.days]
        assert sum(sent for sent, _ in days) == one.sent_bytes
        assert sum(received for _, received in days) == one.received_bytes


def test_a_period_is_needed() -> None:
    with pytest.raises(ConfigError, match="end_ms"):
        plan_figures(PLAN, 5, 5)
