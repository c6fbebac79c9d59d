"""Light times as steps: never farther off than allowed, and few."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.planner.light import Floats, Ints, as_ranges, light_steps
from stack.contacts.plan import Plan
from stack.core.errors import ConfigError


def steps_of(
    closest_km: float, speed_km_s: float, before_s: int, after_s: int, error_ns: int
) -> tuple[float, int]:
    """A straight fly-by: the largest error at any tenth of a second, and the number of steps."""
    meets_ms = 1_000_000 + before_s * 1000

    def light_ns(owner: Ints, times_ms: Floats) -> Floats:
        assert (owner == 0).all()
        along = speed_km_s * (times_ms - meets_ms) / 1000.0
        return np.hypot(along, closest_km) / 299_792.458 * 1e9

    end_ms = meets_ms + after_s * 1000
    found = light_steps(np.array([1_000_000]), np.array([end_ms]), light_ns, error_ns)
    plan = Plan([], as_ranges(found, [("a", "b")]))
    for pair in (("a", "b"), ("b", "a")):
        mine = [entry for entry in plan.ranges if (entry.source, entry.destination) == pair]
        assert mine[0].start_ms == 1_000_000
        assert mine[-1].end_ms == end_ms
        assert all(x.end_ms == y.start_ms for x, y in itertools.pairwise(mine))
    times = np.arange(1_000_000, end_ms, 100)
    planned = np.array([plan.owlt_ns("a", "b", t) for t in times.tolist()])
    true = light_ns(np.zeros(len(times), np.intp), times.astype(float))
    return float(np.abs(planned - true).max()), len(found.owner)


@pytest.mark.slow
@given(
    st.floats(5.0, 3000.0),
    st.floats(0.01, 15.0),
    st.integers(0, 300),
    st.integers(1, 300),
    st.sampled_from([1_000, 20_000, 100_000, 1_000_000]),
)
@settings(deadline=None)
def test_no_step_is_farther_off_than_allowed(
    closest_km: float, speed_km_s: float, before_s: int, after_s: int, error_ns: int
) -> None:
    worst, count = steps_of(closest_km, speed_km_s, before_s, after_s, error_ns)
    assert worst <= error_ns
    # No more steps than light time goes by: each is 1.8 errors wide.
    change_ns = [
        (math.hypot(speed_km_s * s, closest_km) - closest_km) / 299_792.458e-9
        for s in (before_s, after_s)
    ]
    assert count <= sum(change_ns) / (1.8 * error_ns) + 3


def test_two_that_meet_head_on_between_samples() -> None:
    """Five kilometres apart for a moment, at the 15 km/s of opposite low orbits."""
    worst, _ = steps_of(5.0, 15.0, 13, 9, 1_000)
    assert worst <= 1_000


def test_least_error() -> None:
    with pytest.raises(ConfigError, match="at least 1000"):
        light_steps(np.array([0]), np.array([1000]), lambda _, times: times, 999)


def test_nothing() -> None:
    empty = np.zeros(0, np.intp)
    found = light_steps(empty, empty, lambda _, times: times)
    assert list(as_ranges(found, [])) == []
