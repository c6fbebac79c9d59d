"""The full order of SABR, and all routes in it."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.machines import brute
from interop.strategies import contacts as plans
from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan
from stack.routing.route import Route
from stack.routing.router import Router, RouterConfig
from stack.routing.selection import node_order

A, B, C, D, E = (f"ipn:{n}.0" for n in range(1, 6))
MS = brute.MS
FOREVER = 10**12
REFERENCE = Path(__file__).parents[3] / "shared" / "plans"
OWN = Path(__file__).parent / "data" / "eight_ways.toml"

sizes = st.sampled_from([0, 1, 100, 1000, 4000])
times = st.integers(0, 30_000)
# Few starts and ends, and links without limit, make many ties.
instants = st.sampled_from([0, 1000, 2000, 4000])
tied = st.lists(
    st.builds(
        lambda pair, start, lasts, rate: Contact(
            f"ipn:{pair[0]}.0", f"ipn:{pair[1]}.0", start, start + lasts, rate
        ),
        st.permutations(range(1, 6)).map(lambda p: tuple(p[:2])),
        instants,
        st.sampled_from([1000, 2000, 4000]),
        st.sampled_from([math.inf, 8e6]),
    ),
    min_size=6,
    max_size=12,
).map(Plan)


def key_of(plan: Plan, route: Route) -> tuple[int, int, int, tuple[int, str]]:
    """SABR's keys of a route; arrivals in whole milliseconds."""
    entry = route.next_hop
    return route.arrival_ms, len(route.hops), -route.until_ms * MS, (len(entry), entry)


def expected_key(
    plan: Plan, way: tuple[int, tuple[int, ...]]
) -> tuple[int, int, int, tuple[int, str]]:
    arrival, hops, end, entry = brute.key(plan, way)
    return -(-arrival // MS), hops, end, entry


margins = st.sampled_from([0, 0, 1000])


@given(tied, st.sampled_from([0, 100]), instants, margins)
def test_the_best_route_is_first_in_the_full_order(
    plan: Plan, size: int, now_ms: int, margin_ms: int
) -> None:
    config = RouterConfig(tolerance_ms=0, tolerance_ratio=0, margin_ms=margin_ms)
    router = Router(plan, A, config=config)
    for target in (B, C, D, E):
        every = brute.ordered(plan, A, target, size, now_ms * MS, margin_ms * MS)
        route = router.route(target, size, 0, now_ms, FOREVER)
        assert (route is None) == (not every)
        if route is not None:
            assert key_of(plan, route) == expected_key(plan, every[0])


@given(
    st.one_of(tied, plans.plans(nodes=4, least_contacts=6, most_contacts=10)), sizes, times, margins
)
def test_alternatives_are_all_routes_in_order(
    plan: Plan, size: int, now_ms: int, margin_ms: int
) -> None:
    router = Router(plan, A, config=RouterConfig(margin_ms=margin_ms))
    for target in (B, C):
        every = brute.ordered(plan, A, target, size, now_ms * MS, margin_ms * MS)
        found = list(router.alternatives(target, size, 0, now_ms, FOREVER))
        keys = [key_of(plan, route) for route in found]
        assert keys == [expected_key(plan, way) for way in every]
        assert {route.hops for route in found} == {used for _, used in every}
        for route in found:
            nodes = [A, *(contact.destination for contact in route.contacts)]
            assert len(set(nodes)) == len(nodes)


def test_no_way_comes_back_to_a_node_that_it_has_passed() -> None:
    pairs = ((A, B), (B, C), (B, A), (A, C), (C, B), (C, D), (B, D), (D, E))
    plan = Plan([Contact(*pair, 0, 10_000, 8e6) for pair in pairs])
    found = {
        (A, *(contact.destination for contact in route.contacts))
        for route in islice(Router(plan, A).alternatives(E, 100, 0, 0, FOREVER), 9)
    }
    assert found == {(A, *way, D, E) for way in [(B,), (B, C), (C,), (C, B)]}


@given(tied, st.sampled_from([0, 100]), st.sets(st.sampled_from([B, C, D]), max_size=2))
def test_alternatives_in_time_and_not_by_way_of_some(
    plan: Plan, size: int, exclude: set[str]
) -> None:
    router = Router(plan, A)
    every = [
        way
        for way in brute.ordered(plan, A, E, size, 0)
        if plan.contacts[way[1][0]].destination not in exclude and way[0] <= 3000 * MS
    ]
    found = list(router.alternatives(E, size, 0, 0, 3000, exclude))
    assert {route.hops for route in found} == {used for _, used in every}


@given(tied, st.sampled_from([0, 100]), instants, margins)
def test_one_route_over_each_neighbour(plan: Plan, size: int, now_ms: int, margin_ms: int) -> None:
    best: dict[str, tuple[int, tuple[int, ...]]] = {}
    for way in brute.ordered(plan, A, E, size, now_ms * MS, margin_ms * MS):
        best.setdefault(plan.contacts[way[1][0]].destination, way)
    config = RouterConfig(margin_ms=margin_ms)
    found = Router(plan, A, config=config).by_neighbour(E, size, 0, now_ms, FOREVER)
    assert [key_of(plan, route) for route in found] == [
        expected_key(plan, way) for way in best.values()
    ]
    assert [route.next_hop for route in found] == list(best)


@given(tied, instants)
def test_one_search_for_several_destinations(plan: Plan, now_ms: int) -> None:
    router = Router(plan, A)
    found = router.routes((B, C, D, "dtn://nowhere/"), 100, 1, now_ms, FOREVER)
    for target, route in found.items():
        assert route == Router(plan, A).route(target, 100, 1, now_ms, FOREVER)
    assert len(router._kept) <= 2  # of this size class, and perhaps of this very size


def test_later_termination_wins_although_it_comes_later_to_the_relay() -> None:
    # Both ways wait for the last contact; that over the second is usable for longer.
    plan = Plan(
        [
            Contact(A, B, 0, 10_000, math.inf),
            Contact(A, B, 5_000, 90_000, math.inf),
            Contact(B, C, 20_000, 30_000, math.inf),
        ]
    )
    route = Router(plan, A).route(C, 0, 0, 0, FOREVER)
    assert route is not None
    assert (route.arrival_ms, route.until_ms) == (20_000, 30_000)


def test_smallest_entry_node_wins_the_last_tie() -> None:
    nine, ten = "ipn:9.0", "ipn:10.0"
    plan = Plan(
        [
            Contact(a, b, 0, 1000, math.inf)
            for a, b in ((A, ten), (ten, B), (A, nine), (nine, B), (A, "dtn://a/"), ("dtn://a/", B))
        ]
    )
    route = Router(plan, A).route(B, 0, 0, 0, FOREVER)
    assert route is not None
    assert route.next_hop == nine


def test_order_of_nodes() -> None:
    names = ["ipn:9.0", "ipn:10.0", "ipn:1.2.0", "dtn://10/", "dtn://9/", "ipn:x.0"]
    assert sorted(reversed(names), key=node_order) == names


# -- likelihood ----------------------------------------------------------------------------


def likely(*contacts: tuple[str, str, int, float]) -> Plan:
    return Plan(
        [Contact(a, b, start, start + 1000, math.inf, sure) for a, b, start, sure in contacts]
    )


def test_ways_that_are_not_likely_enough_are_not_used() -> None:
    plan = likely((A, B, 0, 0.6), (B, D, 0, 0.6), (A, C, 2000, 0.8), (C, D, 2000, 0.8))
    for least, arrival in ((0, 0), (0.36, 0), (0.37, 2000), (0.64, 2000), (0.65, None)):
        router = Router(plan, A, config=RouterConfig(confidence_min=least))
        route = router.route(D, 0, 0, 0, FOREVER)
        assert (route and route.arrival_ms) == arrival
        if route is not None:
            assert route.confidence == pytest.approx(0.36 if arrival == 0 else 0.64)


def test_the_likelier_of_equals_is_taken() -> None:
    plan = likely((A, B, 0, 0.5), (B, D, 0, 1), (A, C, 0, 0.9), (C, D, 0, 1))
    route = Router(plan, A).route(D, 0, 0, 0, FOREVER)
    assert route is not None
    assert route.next_hop == C


@given(tied, st.lists(st.sampled_from([0.5, 0.9, 1.0]), min_size=12, max_size=12))
def test_likelihood_by_the_definition(plan: Plan, sure: list[float]) -> None:
    plan = Plan(
        [
            Contact(c.source, c.destination, c.start_ms, c.end_ms, c.rate_bps, likelihood)
            for c, likelihood in zip(plan.contacts, sure, strict=False)
        ]
    )
    config = RouterConfig(confidence_min=0.6, tolerance_ms=0, tolerance_ratio=0)
    route = Router(plan, A, config=config).route(E, 100, 0, 0, FOREVER)
    good = [
        way
        for way in brute.ordered(plan, A, E, 100, 0)
        if math.prod(plan.contacts[place].confidence for place in way[1]) >= 0.6
    ]
    assert (route is None) == (not good)
    if route is not None:
        assert key_of(plan, route)[:2] == expected_key(plan, good[0])[:2]
        assert route.confidence >= 0.6


# -- plans with known answers --------------------------------------------------------------


def test_seven_ways_of_the_tutorial() -> None:
    path = REFERENCE / "cgrTutorial.json"
    if not path.exists():
        pytest.skip("reference plans are not here")
    router = Router(load_plan(path), A)
    found = list(router.alternatives(E, 0, 0, 0, FOREVER))
    assert [route.arrival_ms // 1000 for route in found] == [3, 4, 11, 31, 31, 51, 51]
    assert [len(route.hops) for route in found] == [3, 4, 1, 3, 4, 3, 4]


def test_a_plan_worked_by_hand() -> None:
    """The comments in the file work out every route."""
    router = Router(load_plan(OWN), "dtn://gs1/")
    found = [
        (
            route.arrival_ms,
            route.until_ms // 1000,
            [contact.destination[6:-1] for contact in route.contacts],
        )
        for route in router.alternatives("dtn://gs2/", 1_000_000, 1, 0, FOREVER)
    ]
    assert found == [
        (62_020, 60, ["sat1", "sat2", "gs2"]),
        (62_020, 40, ["sat1", "sat2", "gs2"]),
        (301_010, 60, ["sat1", "gs2"]),
        (301_010, 40, ["sat1", "gs2"]),
        (301_010, 180, ["sat2", "sat1", "gs2"]),
        (901_010, 180, ["sat2", "gs2"]),
        (901_010, 60, ["sat1", "sat2", "gs2"]),
        (901_010, 40, ["sat1", "sat2", "gs2"]),
    ]


def test_the_first_alternatives_come_without_the_rest() -> None:
    plan = load_plan(OWN)
    router = Router(plan, "dtn://gs1/")
    every = list(router.alternatives("dtn://gs2/", 1_000_000, 1, 0, FOREVER))
    some = list(islice(router.alternatives("dtn://gs2/", 1_000_000, 1, 0, FOREVER), 2))
    assert some == every[:2]
