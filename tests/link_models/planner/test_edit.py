"""Plans made of plans."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.planner import confident, tidy, with_weather, without
from link_models.planner.edit import passes_of
from stack.contacts.plan import Contact, Plan, Range
from stack.core.errors import ConfigError

A, B, C = "dtn://a/", "dtn://b/", "dtn://c/"


def contact(source: str, destination: str, start: int, end: int, rate: float = 1e6) -> Contact:
    return Contact(source, destination, start, end, rate)


def test_small_gaps_are_closed() -> None:
    plan = Plan([contact(A, B, 0, 10), contact(A, B, 13, 20), contact(B, A, 0, 10)])
    assert tidy(plan, merge_gap_ms=3).contacts == (contact(A, B, 0, 20), contact(B, A, 0, 10))
    assert tidy(plan, merge_gap_ms=2) == plan
    faster = Plan([contact(A, B, 0, 10), contact(A, B, 10, 20, 2e6)])
    assert tidy(faster, merge_gap_ms=100) == faster, "another rate is another contact"


def test_edges_are_left_out_once_a_pass() -> None:
    plan = Plan(
        [contact(A, B, 0, 40, 1e6), contact(A, B, 40, 100, 2e6), contact(B, A, 20, 80, 3e6)]
    )
    assert tidy(plan, guard_ms=10).contacts == (
        contact(A, B, 10, 40, 1e6),
        contact(B, A, 20, 80, 3e6),
        contact(A, B, 40, 90, 2e6),
    )


def test_short_passes_are_left_out_whole() -> None:
    plan = Plan([contact(A, B, 0, 40), contact(A, B, 40, 45, 2e6), contact(A, C, 0, 44)])
    assert tidy(plan, minimum_ms=45).contacts == plan.contacts[:1] + plan.contacts[2:]
    assert tidy(plan, minimum_ms=40, guard_ms=2).contacts[0].start_ms == 2
    assert tidy(plan, guard_ms=23) == Plan()
    with pytest.raises(ConfigError, match="guard_ms"):
        tidy(plan, guard_ms=-1)


def test_light_times_stay() -> None:
    ranges = [Range(A, B, 0, 100, 5)]
    assert tidy(Plan([contact(A, B, 0, 9)], ranges), minimum_ms=10).ranges == tuple(ranges)


def test_passes_are_of_two_nodes_in_either_direction() -> None:
    contacts = [
        contact(A, B, 0, 10),
        contact(B, A, 10, 20),
        contact(A, C, 5, 9),
        contact(A, B, 21, 22),
    ]
    assert passes_of(contacts) == [
        [contacts[0], contacts[1]],
        [contacts[2]],
        [contacts[3]],
    ]


spans = st.tuples(st.integers(0, 60), st.integers(1, 30))


@given(
    st.lists(st.tuples(st.sampled_from([(A, B), (B, A), (A, C)]), spans), max_size=8),
    st.integers(0, 5),
    st.integers(0, 20),
    st.integers(0, 5),
)
@settings(deadline=None)
def test_tidy_takes_away_and_closes_gaps(
    entries: list[tuple[tuple[str, str], tuple[int, int]]], gap: int, least: int, guard: int
) -> None:
    plan = Plan(contact(*pair, start, start + length) for pair, (start, length) in entries)
    closed = tidy(plan, merge_gap_ms=gap)
    assert closed == (closed if gap else plan.merged())
    tidied = tidy(plan, merge_gap_ms=gap, minimum_ms=least, guard_ms=guard)
    before = passes_of(closed.contacts)
    wanted = []
    for group in before:
        first = min(one.start_ms for one in group) + guard
        last = max(one.end_ms for one in group) - guard
        for one in group:
            start, end = max(one.start_ms, first), min(one.end_ms, last)
            if last - first >= max(1, least) and start < end:
                wanted.append(contact(one.source, one.destination, start, end))
    assert tidied == Plan(wanted)


def test_without_a_node() -> None:
    plan = Plan(
        [contact(A, B, 0, 9), contact(B, C, 0, 9)], [Range(A, B, 0, 9, 1), Range(B, C, 0, 9, 2)]
    )
    rest = without(plan, A)
    assert rest.nodes == (B, C)
    assert rest.ranges == (Range(B, C, 0, 9, 2),)
    assert without(plan, B).nodes == ()
    assert without(plan, A, C) == Plan()
    with pytest.raises(ConfigError, match="not in the plan"):
        without(plan, "dtn://nobody/")


def test_weather_as_number_by_node_and_as_function() -> None:
    plan = Plan([contact(A, B, 0, 9), Contact(B, C, 0, 9, 1e6, 0.5)])

    def sure(found: Plan) -> list[float]:
        return [one.confidence for one in found.contacts]

    assert sure(with_weather(plan, 0.8)) == [0.8, 0.4]
    assert sure(with_weather(plan, {A: 0.5, B: 0.5})) == [0.25, 0.25]
    assert sure(with_weather(plan, lambda one: 0.1 if one.source == B else 1.0)) == [1.0, 0.05]
    assert with_weather(plan, 1.0) == plan
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="no probability"):
            with_weather(plan, wrong)
    assert sure(confident(with_weather(plan, 0.8), 0.5)) == [0.8]


def test_other_contacts_keep_the_light_times() -> None:
    plan = Plan([contact(A, B, 0, 9)], [Range(A, B, 0, 9, 1)])
    other = plan.with_contacts([contact(B, C, 5, 9), contact(A, B, 1, 2)])
    assert other == Plan([contact(A, B, 1, 2), contact(B, C, 5, 9)], plan.ranges)
    assert other.owlt_ns(A, B, 5) == 1
    with pytest.raises(ConfigError, match="end_ms"):
        plan.with_contacts([contact(A, B, 2, 2)])
