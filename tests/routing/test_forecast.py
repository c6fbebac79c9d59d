"""When octets that wait have arrived: plans by hand, and what a delivery says of each bundle."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from interop.strategies import contacts as plans
from stack.contacts.plan import Contact, Plan
from stack.core.clock import FOREVER_MS
from stack.ports.application import Expected
from stack.routing.delivery import BUNDLES_MAX, expected_delivery
from stack.routing.forecast import BUNDLES, GRAIN_BYTES, arrivals
from stack.routing.router import RouterConfig

A, B, C = (f"ipn:{n}.0" for n in range(1, 4))
BARE = RouterConfig(tolerance_ms=0, tolerance_ratio=0, overhead_bytes=0, overhead_ratio=0)
MB = 1_000_000


def contact(
    source: str, destination: str, start_s: int, end_s: int, mb_per_s: float = 1
) -> Contact:
    return Contact(source, destination, start_s * 1000, end_s * 1000, 8e6 * mb_per_s)


def at(plan: Plan, *octets: int, now_ms: int = 0, unheard: tuple[str, ...] = ()) -> list[object]:
    found = arrivals(plan, A, C, octets, now_ms, BARE, unheard)
    return [one and (one.arrival_ms, one.passes) for one in found]


def test_each_has_its_own_time_and_passes() -> None:
    plan = Plan([contact(A, C, 0, 10), contact(A, C, 100, 110), contact(A, C, 200, 210)])
    assert at(plan, MB, 10 * MB, 11 * MB, 30 * MB, 31 * MB) == [
        (1000, 1),
        (10_000, 1),
        (101_000, 2),
        (210_000, 3),
        None,
    ]


def test_what_is_asked_of_changes_no_answer_but_by_the_grain() -> None:
    plan = Plan([contact(A, B, 0, 60), contact(B, C, 0, 60, 0.5)])
    (alone,) = at(plan, 2 * MB)
    assert alone == (4000 + 100, 1), "the last link, behind the first bundle of the grain"
    assert at(plan, 2 * MB, 4 * MB, 8 * MB) == [(4100, 1), (8100, 1), (16_100, 1)]


def test_large_objects_are_reckoned_in_few_bundles() -> None:
    size = 2 * BUNDLES_MAX * GRAIN_BYTES
    plan = Plan([contact(A, C, 0, 2000, size / 1e9)])
    assert at(plan, size) == [(1_000_000, 1)]


def test_the_flow_that_begins_first_need_not_end_first() -> None:
    """Over B at once and slowly, straight later and fast."""
    slow = [contact(A, B, 0, 100, 0.1), contact(B, C, 0, 100, 0.1)]
    plan = Plan([*slow, contact(A, C, 9, 100, 10)])
    (half, whole) = arrivals(plan, A, C, [MB // 2, 20 * MB], 0, BARE)
    assert half is not None
    assert whole is not None
    assert 5000 < half.arrival_ms <= 7000
    assert 10_000 < whole.arrival_ms <= 11_100
    assert (half.passes, whole.passes) == (1, 2)


def test_a_pass_whose_rate_changes_is_one_pass() -> None:
    touching = [contact(A, C, 0, 10), contact(A, C, 10, 20, 2)]
    assert at(Plan(touching), 30 * MB) == [(20_000, 1)]
    apart = [contact(A, C, 0, 10), contact(A, C, 11, 20, 2)]
    assert at(Plan(apart), 28 * MB) == [(20_000, 2)]
    endless = [replace(contact(A, C, 0, 10), end_ms=FOREVER_MS)]
    assert at(Plan(endless), 10 * MB) == [(10_000, 0)]


def test_nothing_is_said_where_the_plan_says_nothing() -> None:
    plan = Plan([contact(A, C, 0, 10)])
    assert arrivals(plan, A, A, [1, 2], 0, BARE) == [None, None]
    assert arrivals(plan, A, B, [1, 2], 0, BARE) == [None, None]
    assert at(plan) == []
    assert at(plan, 0, 0) == [None, None]
    assert at(plan, 1, now_ms=10_000) == [None]
    quick = Plan([replace(contact(A, B, 0, 10), rate_bps=math.inf), contact(B, C, 0, 10)])
    assert at(quick, 1) == [None]


def test_who_has_to_take_some_now_and_is_silent_is_named() -> None:
    plan = Plan([contact(A, B, 0, 5), contact(B, C, 0, 5), contact(A, C, 100, 200)])

    def silent(octets: int, now_ms: int) -> tuple[str, ...]:
        (found,) = arrivals(plan, A, C, [octets], now_ms, BARE, [C, B, "ipn:9.0"])
        assert found is not None
        return found.unheard

    assert silent(MB, 0) == (B,)
    assert silent(20 * MB, 0) == (B,), "C is not due yet"
    assert silent(20 * MB, 100_000) == (C,)
    (heard,) = arrivals(plan, A, C, [MB], 0, BARE)
    assert heard is not None
    assert heard.unheard == ()


@given(plans.plans(nodes=4, least_contacts=2, most_contacts=8), st.integers(1, 3_000_000))
def test_who_is_barred_is_as_if_he_were_not_there(plan: Plan, octets: int) -> None:
    rest = [one for one in plan.contacts if B not in (one.source, one.destination)]
    found = arrivals(plan, A, C, [octets], 0, BARE, barred=frozenset({B}))
    assert found == arrivals(Plan(rest, plan.ranges), A, C, [octets], 0, BARE)


@given(
    plans.plans(
        nodes=3, least_contacts=2, most_contacts=6, rates=st.sampled_from([1e6, 8e6, 64e6])
    ),
    st.lists(st.integers(1, 3_000_000), min_size=1, max_size=4),
    st.integers(0, 10_000),
)
def test_it_is_what_the_delivery_of_the_whole_says(
    plan: Plan, octets: list[int], now_ms: int
) -> None:
    """Of each: there is an answer for what arrives, which never falls, lies where the delivery
    lies, and is its end for all that arrives."""
    octets.sort()
    most = octets[-1]
    grain = max(min(GRAIN_BYTES, most), math.ceil(most / BUNDLES))
    whole = expected_delivery(plan, A, C, most, now_ms, bundle_bytes=grain, config=BARE)
    found: list[Expected | None] = arrivals(plan, A, C, octets, now_ms, BARE)
    assert [one is not None for one in found] == [each <= whole.delivered_bytes for each in octets]
    times = [one.arrival_ms for one in found if one is not None]
    assert times == sorted(times)
    if times:
        assert whole.first_ms is not None
        assert whole.first_ms <= times[0]
        if whole.complete:
            assert times[-1] == whole.last_ms
