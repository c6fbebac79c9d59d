"""Routes are the best there are, fit into their contacts, and follow what changes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.machines import brute
from interop.strategies import contacts as plans
from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.routing.route import Route
from stack.routing.router import Router, RouterConfig

A, B, C, D = (f"ipn:{n}.0" for n in range(1, 5))
MS = brute.MS
FOREVER = 10**12
EXACT = RouterConfig(tolerance_ms=0, tolerance_ratio=0)
REFERENCE = Path(__file__).parents[3] / "shared" / "plans"

sizes = st.sampled_from([0, 1, 100, 1000, 4000, 65_536])
times = st.integers(0, 30_000)
dense = plans.plans(nodes=4, least_contacts=8, most_contacts=14)


def ceil_ms(ns: int) -> int:
    return -(-ns // MS)


def check(route: Route | None, expected: tuple[int, int] | None) -> None:
    if expected is None:
        assert route is None
    else:
        assert route is not None
        assert (route.arrival_ms, len(route.hops)) == (ceil_ms(expected[0]), expected[1])


def chain(*contacts: tuple[str, str, int, int], rate: float = 8e3) -> Plan:
    return Plan([Contact(a, b, start, end, rate) for a, b, start, end in contacts])


# -- against other routers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "origin", "target", "arrival_s", "hops"),
    [
        ("contactPlan_RoutingTest", 8, 1, 4, 12, 2),
        ("cgrTutorial", 16, 1, 5, 3, 3),
        ("10nodes", 368, 20, 40, 2, 2),
        ("50nodes", 7186, 20, 40, 2, 2),
    ],
)
def test_published_plans(
    name: str, count: int, origin: int, target: int, arrival_s: int, hops: int
) -> None:
    path = REFERENCE / f"{name}.json"
    if not path.exists():
        pytest.skip("reference plans are not here")
    plan = load_plan(path)
    assert 0.97 * count < len(plan.contacts) <= count
    route = Router(plan, f"ipn:{origin}.0").route(f"ipn:{target}.0", 0, 0, 0, FOREVER)
    assert route is not None
    assert (route.arrival_ms, len(route.hops)) == (arrival_s * 1000, hops)


# -- against brute force -------------------------------------------------------------------


@given(dense, sizes, times)
def test_never_misses_a_better_arrival(plan: Plan, size: int, now_ms: int) -> None:
    router = Router(plan, A, config=EXACT)
    for target in plans.IPN_NODES[1:4]:
        expected = brute.best(plan, A, target, size, now_ms * MS)
        check(router.route(target, size, 0, now_ms, FOREVER), expected)
        if expected is not None:
            arrival_ms = ceil_ms(expected[0])
            check(router.route(target, size, 0, now_ms, arrival_ms), expected)
            assert router.route(target, size, 0, now_ms, arrival_ms - 1) is None


@given(
    dense,
    st.lists(st.tuples(sizes, times), min_size=1, max_size=6),
    st.sampled_from([0, 500, 5000]),
    st.sampled_from([0, 0.1]),
)
def test_kept_routes_stay_within_the_tolerance(
    plan: Plan, asked: list[tuple[int, int]], tolerance_ms: int, ratio: float
) -> None:
    config = RouterConfig(tolerance_ms=tolerance_ms, tolerance_ratio=ratio)
    router = Router(plan, A, config=config)
    for size, now_ms in sorted(asked, key=lambda item: item[1]):
        for target in (B, C):
            expected = brute.best(plan, A, target, size, now_ms * MS)
            route = router.route(target, size, 0, now_ms, FOREVER)
            assert (route is None) == (expected is None)
            if route is not None and expected is not None:
                late_ns = route.arrival_ms * MS - ceil_ms(expected[0]) * MS
                bound = max(tolerance_ms * MS, ratio * (expected[0] - now_ms * MS))
                assert 0 <= late_ns <= bound + MS
                # And it is reckoned truly along the way that it names.
                assert (route.arrival_ms, route.hops) in [
                    (ceil_ms(arrival), used)
                    for arrival, used in brute.routes(plan, A, target, size, now_ms * MS)
                ]


@given(dense, sizes, times, st.sets(st.sampled_from(plans.IPN_NODES[1:4]), max_size=3))
def test_excluded_neighbours_get_nothing(
    plan: Plan, size: int, now_ms: int, exclude: set[str]
) -> None:
    router = Router(plan, A, config=EXACT)
    for target in (B, C, D):
        expected = brute.best(plan, A, target, size, now_ms * MS, exclude=exclude)
        route = router.route(target, size, 0, now_ms, FOREVER, exclude)
        check(route, expected)
        assert route is None or route.next_hop not in exclude


@given(dense, sizes, times, st.sets(st.sampled_from(plans.IPN_NODES[1:4]), max_size=2))
def test_nothing_goes_over_barred_nodes(
    plan: Plan, size: int, now_ms: int, barred: set[str]
) -> None:
    router = Router(plan, A, config=EXACT)
    places = [
        place
        for place, contact in enumerate(plan.contacts)
        if contact.source in barred or contact.destination in barred
    ]
    for target in (B, C, D):
        expected = brute.best(plan, A, target, size, now_ms * MS, barred=places)
        check(router.route(target, size, 0, now_ms, FOREVER, (), frozenset(barred)), expected)
        routes = router.by_neighbour(target, size, 3, now_ms, FOREVER, (), frozenset(barred))
        assert (not routes) == (expected is None)
        assert not {place for way in routes for place in way.hops} & set(places)


@given(dense, sizes, times, st.data())
def test_failed_and_unusable_contacts_are_avoided(
    plan: Plan, size: int, now_ms: int, data: st.DataObject
) -> None:
    places = list(range(len(plan.contacts)))
    barred = data.draw(st.sets(st.sampled_from(places))) if places else set()
    expected = brute.best(plan, A, B, size, now_ms * MS, barred=barred)
    router = Router(plan, A, config=EXACT)
    whole = router.route(B, size, 0, now_ms, FOREVER)
    for place in barred:
        router.contact_failed(place)
    check(router.route(B, size, 0, now_ms, FOREVER), expected)
    for place in barred:
        router.contact_restored(place)
    assert router.route(B, size, 0, now_ms, FOREVER) == whole


@given(dense, sizes, times)
def test_what_a_route_says_of_itself(plan: Plan, size: int, now_ms: int) -> None:
    router = Router(plan, A)
    route = router.route(B, size, 1, now_ms, FOREVER)
    if route is None:
        return
    assert route.contacts == tuple(plan.contacts[place] for place in route.hops)
    assert [c.source for c in route.contacts] == [A, *(c.destination for c in route.contacts[:-1])]
    assert route.next_hop == route.contacts[0].destination
    assert route.contacts[-1].destination == B
    assert route.until_ms == min(c.end_ms for c in route.contacts)
    assert now_ms <= route.sent_ms <= route.arrival_ms
    assert route.sent_ms <= route.contacts[0].end_ms
    assert route.volume_bytes >= size * (1 - 1e-9)


def test_the_contact_that_ends_first_ends_a_route_and_its_volume() -> None:
    """CCSDS 734.3-B-1 §2.3.2.1, §3.2.6.8: what would leave A after the third second is too late
    for the second contact, a second of light later."""
    plan = Plan(
        [Contact(A, B, 0, 10_000, 8e3), Contact(B, C, 0, 4000, 80e3)],
        [Range(A, B, 0, 10_000, 1000 * MS)],
    )
    route = Router(plan, A).route(C, 100, 0, 0, FOREVER)
    assert route is not None
    assert route.until_ms == 4000
    assert route.volume_bytes == 3000


def test_who_arrives_first_counts_and_not_who_begins_first() -> None:
    """CCSDS 734.3-B-1 §3.2.4.1, on each hop."""
    slow, fast = Contact(A, B, 0, 60_000, 8e3), Contact(A, B, 100, 60_000, 8e6)
    on = [replace(each, source=B, destination=C) for each in (slow, fast)]
    for plan in (Plan([slow, fast, *on]), Plan([fast, slow, *on[::-1]])):
        route = Router(plan, A).route(C, 1000, 0, 0, FOREVER)
        assert route is not None
        assert {contact.rate_bps for contact in route.contacts} == {8e6}
        assert route.arrival_ms == 102


# -- bookings ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    plans.plans(
        most_contacts=10, least_contacts=5, nodes=4, rates=st.sampled_from([1e3, 8e3, math.inf])
    ),
    st.lists(
        st.tuples(
            st.sampled_from([B, C, D]),
            st.sampled_from([100, 400, 1000]),
            st.integers(0, 2),
            st.integers(0, 4000),
            st.booleans(),
        ),
        max_size=12,
    ),
)
def test_books_are_kept(plan: Plan, bundles: list[tuple[str, int, int, int, bool]]) -> None:
    """Bundles come one after the other; a free time for each contact and priority, kept here by
    the definition, must give the same routes, and no priority may be promised more than fits."""
    router = Router(plan, A, config=EXACT)
    free = [{p: c.start_ms * MS for p, c in enumerate(plan.contacts)} for _ in range(3)]
    booked = [dict.fromkeys(range(len(plan.contacts)), 0) for _ in range(3)]
    now_ms = 0
    taken: list[tuple[Route, int, int]] = []
    for target, size, priority, pause_ms, again in bundles:
        now_ms += pause_ms
        if taken and again:
            # What is given back before anything was sent leaves no trace.
            route, old_size, old_priority = taken[0]
            router.book(route, old_size, old_priority, 0)
            router.release(route, old_size, old_priority, 0)
        found = router.route(target, size, priority, now_ms, FOREVER)
        check(found, brute.best(plan, A, target, size, now_ms * MS, free[priority]))
        if found is None:
            continue
        router.book(found, size, priority, now_ms)
        taken.append((found, size, priority))
        for hop, place in enumerate(found.hops):
            lasts = brute.duration_ns(plan.contacts[place], size)
            for level in range(priority + 1):
                begin = max(free[level][place], now_ms * MS if hop == 0 else 0)
                free[level][place] = begin + lasts
                booked[level][place] += lasts
            contact = plan.contacts[place]
            # What is booked at this priority and above fits between start and end.
            assert booked[priority][place] <= (contact.end_ms - contact.start_ms) * MS
            assert router.books.overbooked_bytes(place, priority) == 0
            if not math.isinf(contact.rate_bps):
                over_ns = max(0, free[0][place] - contact.end_ms * MS)
                assert router.books.overbooked_bytes(place) == math.ceil(
                    over_ns * contact.rate_bps / 8e9
                )
                left_ns = contact.end_ms * MS - max(free[2][place], now_ms * MS)
                assert router.books.residual_bytes(place, 2, now_ms) == pytest.approx(
                    max(0, left_ns) * contact.rate_bps / 8e9
                )


def test_volume_runs_out_and_the_next_contact_is_taken() -> None:
    # 8 kbit/s is an octet a millisecond: the contacts carry 1000 and 5000 octets.
    router = Router(chain((A, B, 0, 1000), (A, B, 10_000, 15_000)), A)
    arrivals = []
    for _ in range(4):
        route = router.route(B, 400, 1, 0, FOREVER)
        assert route is not None
        router.book(route, 400, 1, 0)
        arrivals.append(route.arrival_ms)
    assert arrivals == [400, 800, 10_400, 10_800]


def test_higher_priority_goes_in_front_and_displaces() -> None:
    router = Router(chain((A, B, 0, 1000)), A)
    low = router.route(B, 800, 0, 0, FOREVER)
    assert low is not None
    router.book(low, 800, 0, 0)
    assert router.route(B, 300, 0, 0, FOREVER) is None
    high = router.route(B, 300, 2, 0, FOREVER)
    assert high is not None
    assert high.arrival_ms == 300
    router.book(high, 300, 2, 0)
    assert router.books.overbooked_bytes(0) == 100
    assert router.books.overbooked_bytes(0, 2) == 0
    router.release(low, 800, 0, 0)
    assert router.books.overbooked_bytes(0) == 0
    again = router.route(B, 700, 0, 0, FOREVER)
    assert again is not None
    assert again.arrival_ms == 1000


def test_time_that_has_passed_is_not_given_back() -> None:
    router = Router(chain((A, B, 0, 1000)), A)
    route = router.route(B, 600, 1, 0, FOREVER)
    assert route is not None
    router.book(route, 600, 1, 0)
    router.release(route, 600, 1, 500)
    # Of the booked [0, 600] only the last 100 ms were still to come.
    assert router.books.residual_bytes(0, 1, 500) == 500
    router.book(route, 600, 1, 0)
    router.release(route, 600, 1, 2000)
    assert router.books.residual_bytes(0, 1, 0) == 0


def test_relay_contact_is_booked_too() -> None:
    plan = chain((A, B, 0, 10_000), (B, C, 20_000, 21_000), (B, C, 30_000, 40_000))
    router = Router(plan, A)
    arrivals = []
    for _ in range(3):
        route = router.route(C, 500, 1, 0, FOREVER)
        assert route is not None
        router.book(route, 500, 1, 0)
        arrivals.append(route.arrival_ms)
    assert arrivals == [20_500, 21_000, 30_500]


# -- choices -------------------------------------------------------------------------------


def test_fewer_hops_win_a_tie() -> None:
    # Both ways end with the same contact; the one over D does not even come later.
    plan = Plan(
        [
            Contact(A, D, 0, 1000, math.inf),
            Contact(D, B, 0, 1000, math.inf),
            Contact(A, B, 5000, 6000, math.inf),
            Contact(B, C, 8000, 9000, math.inf),
        ]
    )
    route = Router(plan, A).route(C, 0, 0, 0, FOREVER)
    assert route is not None
    assert [c.start_ms for c in route.contacts] == [5000, 8000]


def test_fewer_hops_win_also_when_they_come_later() -> None:
    plan = Plan(
        [
            Contact(A, "ipn:8.0", 0, 1000, math.inf),
            Contact("ipn:8.0", "ipn:9.0", 0, 1000, math.inf),
            Contact("ipn:9.0", B, 0, 1000, math.inf),
            Contact(A, D, 1000, 2000, math.inf),
            Contact(D, B, 3000, 4000, math.inf),
            Contact(B, C, 8000, 9000, math.inf),
        ]
    )
    route = Router(plan, A).route(C, 0, 0, 0, FOREVER)
    assert route is not None
    assert [c.start_ms for c in route.contacts] == [1000, 3000, 8000]


def test_later_end_wins_the_next_tie() -> None:
    plan = Plan([Contact(A, B, 0, end, math.inf) for end in (3000, 9000, 6000)])
    route = Router(plan, A).route(B, 0, 0, 0, FOREVER)
    assert route is not None
    assert route.until_ms == 9000


def test_contact_in_progress_and_its_end() -> None:
    router = Router(chain((A, B, 0, 1000)), A, config=EXACT)
    halfway = router.route(B, 500, 0, 500, FOREVER)
    assert halfway is not None
    assert halfway.arrival_ms == 1000
    assert router.route(B, 501, 0, 500, FOREVER) is None
    assert router.route(B, 0, 0, 999, FOREVER) is not None
    assert router.route(B, 0, 0, 1000, FOREVER) is None


def test_light_time_at_the_moment_of_sending() -> None:
    plan = Plan(
        [Contact(A, B, 0, 10_000, 8e3)],
        [Range(A, B, 0, 5000, 2 * 10**9), Range(A, B, 5000, 10_000, 10**9)],
    )
    router = Router(plan, A, config=EXACT)
    arrivals = [router.route(B, 0, 0, t, FOREVER) for t in (1000, 4999, 5000, 5999, 7000)]
    # Light does not overtake itself: what left just before the step arrives at 7 s.
    assert [r and r.arrival_ms for r in arrivals] == [3000, 6999, 7000, 7000, 8000]


def test_margin_is_added_on_every_hop() -> None:
    plan = chain((A, B, 0, 1000), (B, C, 0, 1000), rate=math.inf)
    route = Router(plan, A, config=RouterConfig(margin_ms=7)).route(C, 0, 0, 0, FOREVER)
    assert route is not None
    assert route.arrival_ms == 14


def test_no_way() -> None:
    router = Router(chain((A, B, 0, 1000)), A)
    assert router.route(A, 0, 0, 0, FOREVER) is None
    assert router.route("dtn://nowhere/", 0, 0, 0, FOREVER) is None
    assert router.route(C, 0, 0, 0, FOREVER) is None
    assert Router(Plan(), A).route(B, 0, 0, 0, FOREVER) is None


# -- changes -------------------------------------------------------------------------------


def test_another_plan_keeps_bookings_of_what_stays() -> None:
    plan = chain((A, B, 5000, 6000), (A, B, 9000, 12_000))
    router = Router(plan, A, config=EXACT)
    first = router.route(B, 900, 1, 0, FOREVER)
    assert first is not None
    router.book(first, 900, 1, 0)
    router.contact_failed(1)
    router.update_plan(plan.add([Contact(A, B, 1000, 1050, 8e3), Contact(A, B, 7000, 7300, 8e3)]))
    assert router.plan.contacts[1].start_ms == 5000
    small = router.route(B, 50, 1, 0, FOREVER)
    large = router.route(B, 200, 1, 0, FOREVER)
    assert small is not None
    assert large is not None
    assert (small.arrival_ms, large.arrival_ms) == (1050, 7200)
    assert router.route(B, 1000, 1, 0, FOREVER) is None  # booked, and failed
    router.contact_restored(3)
    router.release(first, 900, 1, 0)  # a route of the old plan
    whole = router.route(B, 1000, 1, 0, FOREVER)
    assert whole is not None
    assert whole.arrival_ms == 6000
    router.update_plan(Plan())
    router.book(first, 900, 1, 0)
    router.release(first, 900, 1, 0)
    assert router.route(B, 0, 0, 0, FOREVER) is None


def test_kept_searches_are_bounded() -> None:
    router = Router(chain((A, B, 0, 10**6)), A, config=RouterConfig(searches_max=4))
    for size in range(0, 100_000, 997):
        assert router.route(B, size, size % 3, 0, FOREVER, (C,)) is not None
    for n in range(5000):
        assert router.route(f"ipn:{n + 100}.0", 0, 0, 0, FOREVER) is None
    kept = router._kept
    assert len(kept) <= 4
    assert sum(len(each.paths) for each in kept.values()) < 20_000
