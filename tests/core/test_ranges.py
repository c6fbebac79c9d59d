"""RangeSet against a plain set of integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.ranges import RangeSet

SPAN = st.tuples(st.integers(0, 60), st.integers(0, 60))


def _runs(values: set[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for value in sorted(values):
        if runs and runs[-1][1] == value:
            runs[-1] = (runs[-1][0], value + 1)
        else:
            runs.append((value, value + 1))
    return runs


@given(st.lists(SPAN, max_size=30), SPAN)
def test_behaves_like_a_set(spans: list[tuple[int, int]], query: tuple[int, int]) -> None:
    ranges = RangeSet()
    model: set[int] = set()
    for start, end in spans:
        new = set(range(start, end)) - model
        assert ranges.add(start, end) == len(new)
        model |= new
        assert len(ranges) == len(model)
    assert list(ranges) == _runs(model)
    assert ranges.span_count == len(_runs(model))
    assert ranges.end == max(model, default=-1) + 1
    start, end = query
    asked = set(range(start, end))
    assert ranges.covers(start, end) == (asked <= model)
    assert list(ranges.gaps(start, end)) == _runs(asked - model)
    assert list(ranges.spans(start, end)) == _runs(asked & model)
    assert (start in ranges) == (start in model)
    assert RangeSet(spans) == ranges
    assert RangeSet(reversed(spans)) == ranges


def test_touching_spans_become_one() -> None:
    ranges = RangeSet([(0, 5), (10, 15)])
    assert ranges.add(5, 10) == 5
    assert list(ranges) == [(0, 15)]
    assert repr(ranges) == "RangeSet([(0, 15)])"


def test_large_numbers_and_equality() -> None:
    huge = 1 << 63
    ranges = RangeSet([(huge, huge + 2)])
    assert list(ranges.gaps(huge - 1, huge + 3)) == [(huge - 1, huge), (huge + 2, huge + 3)]
    assert ranges != RangeSet()
    assert ranges != [(huge, huge + 2)]
    with pytest.raises(TypeError):
        hash(ranges)
