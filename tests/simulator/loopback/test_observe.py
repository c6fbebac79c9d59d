"""When a run is looked at, and what is kept of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stack.core.clock import SECOND
from stack.simulator.loopback.observe import (
    AFTER_PASS_S,
    IDLE_STEP_S,
    LOOKS_MAX,
    sample_times,
    step_of,
)
from stack.simulator.loopback.series import Looks, Sampled
from stack.simulator.sky import SkyPass


def pass_of(start_s: float, end_s: float) -> SkyPass:
    rise_ns, set_ns = round(start_s * SECOND), round(end_s * SECOND)
    return SkyPass("g", "s", rise_ns, set_ns, 45.0, True, ())


passes = st.lists(
    st.tuples(st.floats(0, 80_000), st.floats(1, 900)).map(lambda p: pass_of(p[0], p[0] + p[1])),
    max_size=20,
)


@given(passes, st.floats(1, 100))
def test_edges_are_looked_at_and_the_rest_often_enough(found: list[SkyPass], step_s: float) -> None:
    duration_s = 86_400.0
    times = sample_times(found, duration_s, step_s)
    assert times == sorted(set(times))
    assert times[0] == 0.0
    assert times[-1] == duration_s
    assert max(np.diff(times)) <= IDLE_STEP_S + 1e-6
    known = np.array(times)
    for one in found:
        rise_s, set_s = one.rise_ns / SECOND, one.set_ns / SECOND
        for edge_s in (rise_s, set_s, set_s + AFTER_PASS_S):
            assert np.abs(known - edge_s).min() < 1e-6
        within = known[(known >= rise_s) & (known <= set_s)]
        assert max(np.diff(within)) <= step_s + 1e-6


@given(passes)
def test_large_runs_are_looked_at_less_often(found: list[SkyPass]) -> None:
    many = found * 200
    step_s = step_of(many, 5.0)
    in_view_s = sum(one.set_ns - one.rise_ns for one in many) / SECOND
    assert step_s >= 5.0
    assert in_view_s / step_s <= LOOKS_MAX + 1
    if step_s > 5.0:
        assert in_view_s / step_s >= LOOKS_MAX - 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=30))
def test_between_looks_a_value_holds(steps: list[tuple[int, int]]) -> None:
    looks, place, value = Looks(), -1, 0
    expected: list[int] = []
    for skip, more in steps:
        expected += [value] * skip
        place += skip + 1
        value += more
        looks.note(place, value)
        expected.append(value)
    assert looks.last == value
    assert looks.at(len(expected)).tolist() == expected
    sampled = Sampled({"a": looks}, len(expected))
    assert list(sampled) == ["a"]
    assert sampled["a"].tolist() == expected
