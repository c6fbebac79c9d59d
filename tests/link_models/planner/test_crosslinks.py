"""Links between satellites as contacts, against the geometry."""

from __future__ import annotations

import numpy as np
import pytest

from link_models.orbit.constellation import walker
from link_models.orbit.crosslink import CrosslinkLimits, find_crosslinks, look_across
from link_models.planner import plan_crosslinks
from link_models.planner.light import Floats
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError

HOUR_MS = 3_600_000
START = dtn_from_iso("2026-10-01T12:00:00")
CRAFT = walker("w", 8, 2, 1, 60.0, 1_400e3, START)
NAMES = tuple(f"dtn://w{number}/" for number in range(8))
SATELLITES = dict(zip(NAMES, CRAFT, strict=True))
PAIRS = [(NAMES[0], NAMES[5]), (NAMES[1], NAMES[6])]
LIMITS = CrosslinkLimits()


def test_contacts_both_ways_while_the_link_is_there() -> None:
    end = START + 6 * HOUR_MS
    plan = plan_crosslinks(SATELLITES, PAIRS, LIMITS, 2e6, START, end, owner="us", confidence=0.9)
    found = find_crosslinks(CRAFT, [(0, 5), (1, 6)], START, end, LIMITS)
    assert len(plan.contacts) == 2 * len(found) > 0
    for number, (one, other) in enumerate(PAIRS):
        spans = [
            (int(np.ceil(a)), int(b))
            for pair, a, b in zip(found.pair, found.start_ms, found.end_ms, strict=True)
            if pair == number
        ]
        for way in ((one, other), (other, one)):
            assert [(c.start_ms, c.end_ms) for c in plan.between(*way)] == spans
    assert {(c.rate_bps, c.owner, c.confidence) for c in plan.contacts} == {(2e6, "us", 0.9)}


def test_light_times() -> None:
    plan = plan_crosslinks(
        SATELLITES, PAIRS, LIMITS, 2e6, START, START + 3 * HOUR_MS, light_error_ns=5_000
    )
    for one, other in PAIRS:
        for contact in plan.between(one, other):
            times = np.arange(contact.start_ms, contact.end_ms, 1009)
            seen = look_across(SATELLITES[one], SATELLITES[other], times.astype(float))
            planned = [plan.owlt_ns(other, one, t) for t in times.tolist()]
            assert np.abs(np.array(planned) - seen.light_time_ns).max() <= 5_000


def test_rates_by_distance_never_promise_too_much() -> None:
    def rate(range_m: Floats) -> Floats:
        return np.where(range_m < 2_000e3, 8e6, np.where(range_m < 5_000e3, 2e6, 0.0))

    plan = plan_crosslinks(SATELLITES, PAIRS, LIMITS, rate, START, START + 24 * HOUR_MS)
    for contact in plan.contacts:
        inside = np.linspace(contact.start_ms, contact.end_ms, 50)
        seen = look_across(SATELLITES[contact.source], SATELLITES[contact.destination], inside)
        assert (rate(seen.range_m) >= contact.rate_bps).all()


def test_pairs_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="none of the satellites"):
        plan_crosslinks(SATELLITES, [(NAMES[0], "x")], LIMITS, 1.0, START, START + 1)
