"""The vectorised root finder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.orbit.roots import ROUNDS_MAX, Floats, Ints, bracketed_roots

SHAPES = {
    "line": lambda x: x,
    "cubic": lambda x: x**3,
    "steep": lambda x: np.arctan(1e6 * x),
    "flat": lambda x: np.sign(x) * np.abs(x) ** 0.1,
    "jump": lambda x: np.where(x < 0.0, -1.0, 2.0),
    "lopsided": lambda x: np.expm1(10.0 * x),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(SHAPES)), st.floats(-0.999, 0.999), st.booleans()),
        max_size=20,
    )
)
def test_roots_are_found_within_the_tolerance(problems: list[tuple[str, float, bool]]) -> None:
    shapes = [SHAPES[name] for name, _, _ in problems]
    roots = np.array([root for _, root, _ in problems])
    signs = np.array([-1.0 if flip else 1.0 for _, _, flip in problems])
    rounds = 0

    def function(index: Ints, x: Floats) -> Floats:
        nonlocal rounds
        rounds += 1
        assert (np.diff(index) > 0).all()
        values = [shapes[i](x[k] - roots[i]) for k, i in enumerate(index.tolist())]
        value: Floats = np.array(values, dtype=float) * signs[index]
        return value

    everything = np.arange(len(problems))
    low, high = np.full(len(problems), -1.0), np.full(len(problems), 1.0)
    at_low, at_high = function(everything, low), function(everything, high)
    found = bracketed_roots(function, low, high, at_low, at_high, 1e-9)
    assert found == pytest.approx(roots, abs=1e-9)
    assert rounds < ROUNDS_MAX


def test_smooth_functions_need_few_rounds() -> None:
    rounds = 0

    def function(index: Ints, x: Floats) -> Floats:
        nonlocal rounds
        rounds += 1
        value: Floats = np.sin(x) - index / 200.0
        return value

    index = np.arange(100)
    low, high = np.zeros(100), np.full(100, 1.5)
    found = bracketed_roots(function, low, high, function(index, low), function(index, high), 1e-7)
    assert found == pytest.approx(np.arcsin(index / 200.0), abs=1e-7)
    assert rounds < 14
