"""The plan: what it refuses, and its lookups against the plain definition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import contacts as plans
from stack.contacts.checks import overlaps, without_range
from stack.contacts.plan import TIME_MS_MAX, Contact, Plan, Range
from stack.core.errors import ConfigError

A, B = "dtn://gs1/", "dtn://sat1/"
CONTACT = Contact(A, B, 1000, 2000, 1e6)
RANGE = Range(A, B, 1000, 2000, 3_000_000)
times = st.integers(-5, 45_000)


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        (replace(CONTACT, source=""), "contacts[1].source"),
        (replace(CONTACT, destination="a b"), "contacts[1].destination"),
        (replace(CONTACT, destination="x" * 2000), "contacts[1].destination"),
        (replace(CONTACT, destination=A), "contacts[1].destination"),
        (replace(CONTACT, start_ms=-1), "contacts[1].start_ms"),
        (replace(CONTACT, end_ms=1000), "contacts[1].end_ms"),
        (replace(CONTACT, end_ms=TIME_MS_MAX + 1), "contacts[1].end_ms"),
        (replace(CONTACT, rate_bps=0), "contacts[1].rate_bps"),
        (replace(CONTACT, rate_bps=math.nan), "contacts[1].rate_bps"),
        (replace(CONTACT, rate_bps=1e30), "contacts[1].rate_bps"),
        (replace(CONTACT, confidence=1.5), "contacts[1].confidence"),
        (replace(CONTACT, confidence=math.nan), "contacts[1].confidence"),
    ],
)
def test_bad_contact_is_named(bad: Contact, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan([CONTACT, bad])
    assert caught.value.key == key


@pytest.mark.parametrize("owlt_ns", [-1, 10**15])
def test_bad_range_is_named(owlt_ns: int) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan([], [RANGE, replace(RANGE, owlt_ns=owlt_ns)])
    assert caught.value.key == "ranges[1].owlt_ns"


def test_two_light_times_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="two light times"):
        Plan([], [RANGE, replace(RANGE, start_ms=1999, end_ms=3000, owlt_ns=1)])
    apart = Plan([], [RANGE, replace(RANGE, start_ms=2000, end_ms=3000, owlt_ns=1)])
    assert len(apart.ranges) == 2


def test_ranges_that_agree_are_joined() -> None:
    inside = replace(RANGE, start_ms=1200, end_ms=1300)
    after = replace(RANGE, start_ms=2000, end_ms=2500)
    assert Plan([], [after, inside, RANGE]).ranges == (replace(RANGE, end_ms=2500),)


def test_light_time_holds_between_ranges() -> None:
    plan = Plan([CONTACT], [RANGE, replace(RANGE, start_ms=5000, end_ms=6000, owlt_ns=9)])
    assert [plan.owlt_ns(A, B, t) for t in (0, 1000, 3000, 4999, 5000, 9999)] == [
        *(3_000_000,) * 4,
        *(9,) * 2,
    ]
    assert plan.owlt_ns(B, A, 1500) == 0
    assert without_range(plan) == []
    assert without_range(plan.add([replace(CONTACT, source=B, destination=A)])) != []


def test_volume() -> None:
    # 256 kbit/s for eight minutes: the 15 MB of an S-band pass.
    assert Contact(A, B, 0, 480_000, 256e3).volume_bytes == 15_360_000


@given(plans.plans(), times, plans.pairs())
def test_lookups_agree_with_the_definition(plan: Plan, at_ms: int, pair: tuple[str, str]) -> None:
    source, destination = pair
    of_pair = [c for c in plan.contacts if (c.source, c.destination) == pair]
    active = [c for c in plan.contacts if c.start_ms <= at_ms < c.end_ms]
    assert list(plan.contacts) == sorted(
        plan.contacts, key=lambda c: (c.start_ms, c.source, c.destination, c.end_ms)
    )
    assert plan.contacts_from(source) == [c for c in plan.contacts if c.source == source]
    assert plan.contacts_to(source) == [c for c in plan.contacts if c.destination == source]
    assert plan.between(*pair) == of_pair
    assert plan.active(at_ms) == active
    assert plan.active(at_ms, source) == [c for c in active if c.source == source]
    assert plan.active(at_ms, "", source) == [c for c in active if c.destination == source]
    assert plan.active(at_ms, *pair) == [c for c in active if c in of_pair]
    covering = [
        r
        for r in plan.ranges
        if (r.source, r.destination) == pair and r.start_ms <= at_ms < r.end_ms
    ]
    if covering:
        assert plan.owlt_ns(source, destination, at_ms) == covering[0].owlt_ns
    for place, contact in enumerate(plan.contacts):
        found = plan.find(contact)
        assert found is not None
        assert found <= place
        assert plan.contacts[found] == contact
    assert set(plan.nodes) == {n for c in plan.contacts for n in (c.source, c.destination)}


@given(plans.plans(), times, plans.pairs())
def test_nothing_changes_before_the_next_change(
    plan: Plan, at_ms: int, pair: tuple[str, str]
) -> None:
    def state(t: int) -> object:
        return plan.active(t, *pair), plan.owlt_ns(*pair, t)

    change = plan.next_change_ms(*pair, at_ms)
    edges = {t for c in plan.between(*pair) for t in (c.start_ms, c.end_ms)}
    if change is None:
        assert all(t <= at_ms for t in edges)
        assert state(at_ms) == state(10**9)
    else:
        assert change > at_ms
        assert state(at_ms) == state(change - 1)
        assert all(t <= at_ms or t >= change for t in edges)
    assert plan.next_edge_ms(*pair, at_ms) == min((t for t in edges if t > at_ms), default=None)


@settings(max_examples=50)
@given(plans.plans(), st.lists(plans.contacts(), max_size=3))
def test_add_and_remove_are_inverse(plan: Plan, more: list[Contact]) -> None:
    grown = plan.add(more)
    assert grown == Plan([*more, *plan.contacts], plan.ranges)
    assert grown.add([], plan.ranges) == grown
    for contact in more:
        grown = grown.remove(contact)
    assert grown == plan
    assert hash(grown) == hash(plan)


def test_remove_what_is_not_there() -> None:
    with pytest.raises(ConfigError):
        Plan([CONTACT]).remove(replace(CONTACT, end_ms=1999))


@settings(max_examples=50)
@given(plans.plans(), times)
def test_after_forgets_only_the_past(plan: Plan, at_ms: int) -> None:
    later = plan.after(at_ms)
    assert set(later.contacts) == {c for c in plan.contacts if c.end_ms > at_ms}
    for contact in plan.contacts:
        pair = contact.source, contact.destination
        for t in (at_ms, at_ms + 1, at_ms + 7000, 10**8):
            first = min((r.start_ms for r in later.ranges if (r.source, r.destination) == pair),
                        default=0)  # fmt: skip
            if t >= first:
                assert later.owlt_ns(*pair, t) == plan.owlt_ns(*pair, t)


@settings(max_examples=50)
@given(plans.plans(rates=st.sampled_from([1e3, 2e3])))
def test_merged_covers_the_same_time(plan: Plan) -> None:
    merged = plan.merged()

    def links(of: Plan, t: int) -> set[tuple[str, str, float]]:
        return {(c.source, c.destination, c.rate_bps) for c in of.active(t)}

    for t in {t for c in plan.contacts for t in (c.start_ms - 1, c.start_ms, c.end_ms)}:
        assert links(merged, t) == links(plan, t)
    assert all(one.rate_bps != other.rate_bps for one, other in overlaps(merged))
    assert merged.merged() == merged


@given(plans.plans())
def test_overlaps_names_every_contact_that_begins_in_another(plan: Plan) -> None:
    later = [contact for _, contact in overlaps(plan)]
    expected = [
        c
        for place, c in enumerate(plan.contacts)
        if any(
            (b.source, b.destination) == (c.source, c.destination) and b.end_ms > c.start_ms
            for b in plan.contacts[:place]
        )
    ]
    assert later == expected
