"""An object's way through a plan: by hand, and bundle by bundle through the router."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.machines import brute
from interop.strategies import contacts as plans
from stack.contacts.files import load_plan
from stack.contacts.plan import Contact, Plan, Range
from stack.core.errors import LocalError
from stack.routing.delivery import BUNDLES_MAX, DeliveryForecast, expected_delivery
from stack.routing.router import RouterConfig

A, B, C = (f"ipn:{n}.0" for n in range(1, 4))
MS = brute.MS
BARE = RouterConfig(tolerance_ms=0, tolerance_ratio=0, overhead_bytes=0, overhead_ratio=0)
OWN = Path(__file__).parent / "data" / "eight_ways.toml"


def megabytes(*contacts: tuple[str, str, int, int]) -> Plan:
    """Contacts of 1 MB a second, in seconds."""
    return Plan([Contact(a, b, start * 1000, end * 1000, 8e6) for a, b, start, end in contacts])


def deliver(plan: Plan, size: int, bundle: int, expires_ms: int | None = None) -> DeliveryForecast:
    return expected_delivery(
        plan, A, C, size, 0, bundle_bytes=bundle, expires_ms=expires_ms, config=BARE
    )


def test_one_pass_after_another() -> None:
    plan = megabytes((A, C, 0, 10), (A, C, 100, 110), (A, C, 200, 210))
    found = deliver(plan, 25_000_000, 1_000_000)
    assert found.complete
    assert (found.bundles, found.first_ms, found.last_ms) == (25, 1000, 205_000)
    assert [(flow.bundles, flow.first_ms, flow.last_ms) for flow in found.flows] == [
        (10, 1000, 10_000),
        (10, 101_000, 110_000),
        (5, 201_000, 205_000),
    ]
    assert [(use.octets, use.share) for use in found.use] == [
        (10_000_000, 1.0),
        (10_000_000, 1.0),
        (5_000_000, 0.5),
    ]
    second = found.flows[1].stages[0]
    assert (second.ready_ms, second.wait_ms, second.transmit_ms) == (0, 100_000, 10_000)


def test_a_relay_is_filled_while_it_empties() -> None:
    # The uplink takes 10 s, the downlink at half the speed 20 s, and begins 1 s behind.
    plan = Plan(
        [Contact(A, B, 0, 100_000, 8e6), Contact(B, C, 0, 100_000, 4e6)],
        [Range(A, B, 0, 100_000, 250 * MS), Range(B, C, 0, 100_000, 5 * MS)],
    )
    found = deliver(plan, 10_000_000, 1_000_000)
    (flow,) = found.flows
    up, down = flow.stages
    assert (up.begin_ms, up.end_ms, up.arrival_ms) == (0, 10_000, 10_250)
    assert (down.ready_ms, down.begin_ms, down.end_ms) == (1250, 1250, 21_250)
    assert (down.light_ns, found.first_ms, found.last_ms) == (5 * MS, 3255, 21_255)


def test_light_time_that_falls_lets_nobody_overtake() -> None:
    # 3 s of light for what leaves in the first 2 s, then none: what leaves at 3 s could be there
    # before what left at 2 s, and is not.
    ranges = [Range(A, C, 0, 2000, 3000 * MS), Range(A, C, 2000, 20_000, 0)]
    plan = Plan([Contact(A, C, 0, 20_000, 8e6)], ranges)
    assert [deliver(plan, n * 1_000_000, 1_000_000).last_ms for n in (1, 2, 3, 4, 5, 6, 7)] == [
        4000,
        5000,
        5000,
        5000,
        5000,
        6000,
        7000,
    ]


def test_the_rest_of_an_object_is_a_smaller_bundle() -> None:
    found = deliver(megabytes((A, C, 0, 10)), 2_500_000, 1_000_000)
    assert (found.bundles, found.last_ms, found.delivered_bytes) == (3, 2500, 2_500_000)


def test_an_empty_object_is_one_bundle() -> None:
    found = expected_delivery(megabytes((A, C, 5, 10)), A, C, 0, 0)
    assert found.complete
    assert (found.bundles, found.first_ms, found.use[0].octets) == (1, 5001, 100)


def test_overhead_is_added_to_every_bundle() -> None:
    plan = megabytes((A, C, 0, 1000))
    found = expected_delivery(plan, A, C, 10_000_000, 0, bundle_bytes=1_000_000)
    assert found.last_ms == 10_300  # 3 %, SABR §2.4.3
    found = expected_delivery(plan, A, C, 10_000, 0, bundle_bytes=1000)
    assert found.last_ms == 11  # or 100 octets


def test_two_ways_at_once() -> None:
    plan = megabytes((A, B, 0, 100), (B, C, 0, 100), (A, C, 0, 100))
    found = deliver(plan, 20_000_000, 1_000_000)
    assert sum(flow.bundles for flow in found.flows if len(flow.stages) == 1) == 11
    assert found.last_ms == 11_000  # the way over the relay is a hop behind


def test_what_does_not_fit() -> None:
    plan = megabytes((A, C, 0, 10))
    found = deliver(plan, 15_000_000, 2_000_000)
    assert not found.complete
    assert (found.delivered_bytes, found.last_ms) == (10_000_000, 10_000)
    found = deliver(plan, 15_000_000, 2_000_000, expires_ms=4500)
    assert (found.delivered_bytes, found.last_ms) == (4_000_000, 4000)
    nothing = deliver(Plan(), 1, 1)
    assert not nothing.complete
    assert (nothing.first_ms, nothing.last_ms, nothing.bundles, nothing.use) == (None, None, 0, ())


def test_bounds() -> None:
    plan = megabytes((A, C, 0, 10), (A, C, 100, 110))
    for wrong in ((A, C, -1, 1), (A, A, 1, 1), (A, C, 1, 0), (A, C, BUNDLES_MAX + 1, 1)):
        with pytest.raises(LocalError):
            expected_delivery(plan, *wrong[:3], 0, bundle_bytes=wrong[3])


def test_a_hundred_thousand_bundles_share_the_work() -> None:
    plan = load_plan(OWN)
    found = expected_delivery(
        plan, "dtn://gs1/", "dtn://gs2/", 100_000_000, 0, bundle_bytes=1000, config=BARE
    )
    # From sat2, gs2 has 40 s, less the 11 ms until the first octets have come from sat1; from sat1
    # it has 60 s.  What is left waits for sat2 until 900 s.
    assert found.complete
    assert (found.bundles, found.first_ms, found.last_ms) == (100_000, 60_022, 900_021)
    assert [use.octets for use in found.use if use.contact.destination == "dtn://gs2/"] == [
        39_989_000,
        60_000_000,
        11_000,
    ]
    assert all(use.share <= 1 for use in found.use)


rates = st.sampled_from([1e3, 8e3, 64e3])


@given(
    plans.plans(nodes=3, least_contacts=3, most_contacts=7, rates=rates),
    st.integers(1, 12),
    st.sampled_from([100, 400, 1000]),
    st.integers(0, 10_000),
    st.sampled_from([0, 0, 250]),
)
def test_bundle_by_bundle(plan: Plan, count: int, size: int, start_ms: int, margin_ms: int) -> None:
    """Each bundle in turn takes the best way behind those before it, as brute force finds it: so
    many arrive, when it says, and each contact carries what it says."""
    config = replace(BARE, margin_ms=margin_ms)
    found = expected_delivery(plan, A, C, count * size, start_ms, bundle_bytes=size, config=config)
    free: dict[int, int] = {}
    arrivals = []
    carried: dict[tuple[Contact, ...], list[list[int]]] = {}
    for _ in range(count):
        every = brute.ordered(plan, A, C, size, start_ms * MS, margin_ms * MS, free=free)
        if not every:
            break
        arrival, way = every[0]
        arrivals.append(-(-arrival // MS))
        at_ns = start_ms * MS
        legs = []
        for place in way:
            contact = plan.contacts[place]
            begin_ns = max(at_ns, contact.start_ms * MS, free.get(place, 0))
            free[place] = begin_ns + brute.duration_ns(contact, size)
            reached = brute.reach_ns(plan, contact, free[place])
            legs.append([at_ns, begin_ns, reached - free[place], free[place], reached, size])
            at_ns = reached + margin_ms * MS
        before = carried.setdefault(tuple(plan.contacts[place] for place in way), legs)
        if before is not legs:  # the first of them begins, the last ends
            for leg, last in zip(before, legs, strict=True):
                leg[3:] = [last[3], last[4], leg[5] + size]
    assert found.bundles == len(arrivals)
    assert found.complete == (len(arrivals) == count)
    assert found.first_ms == min(arrivals, default=None)
    assert found.last_ms == max(arrivals, default=None)
    assert [flow.contacts for flow in found.flows] == list(carried)
    for flow, legs in zip(found.flows, carried.values(), strict=True):
        assert flow.payload_bytes == flow.bundles * size
        for stage, (ready, begin, light, end, reached, octets) in zip(
            flow.stages, legs, strict=True
        ):
            assert (stage.ready_ms, stage.begin_ms) == (ready // MS, begin // MS)
            assert (stage.end_ms, stage.arrival_ms) == (-(-end // MS), -(-reached // MS))
            assert (stage.light_ns, stage.octets) == (light, octets)
            assert stage.wait_ms == stage.begin_ms - stage.ready_ms
            assert stage.transmit_ms == stage.end_ms - stage.begin_ms
    for use in found.use:
        assert math.isclose(use.share, use.octets / use.contact.volume_bytes)
        assert use.contact.start_ms <= use.begin_ms < use.end_ms <= use.contact.end_ms
    assert found.delivered_bytes == sum(flow.payload_bytes for flow in found.flows)


def test_what_is_no_object_is_refused_in_words() -> None:
    plan = megabytes((A, C, 0, 10))
    few = "an object has no octets less than 0, a bundle at least 1, and two ends"
    many = f"{2 * BUNDLES_MAX + 1} octets are more than {BUNDLES_MAX} bundles of 2"
    for ends, size, bundle, words in (
        ((A, C), -1, 1, few),
        ((A, A), 1, 1, few),
        ((A, C), 1, 0, few),
        ((A, C), 2 * BUNDLES_MAX + 1, 2, f"{many}: make the bundles larger"),
    ):
        with pytest.raises(LocalError) as caught:
            expected_delivery(plan, *ends, size, 0, bundle_bytes=bundle)
        assert str(caught.value) == words


def test_a_link_without_limit_is_used_for_nothing() -> None:
    plan = Plan([Contact(A, C, 0, 1000, math.inf)])
    found = expected_delivery(plan, A, C, 5_500_000, 100, config=BARE)
    assert (found.source, found.destination, found.size_bytes, found.start_ms) == (
        (A, C, 5_500_000, 100)
    )
    assert (found.bundles, found.first_ms, found.last_ms) == (6, 100, 100)
    (use,) = found.use
    assert (use.octets, use.share) == (5_500_000, 0.0)
