"""Spans: sets of times, and where functions are above zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.orbit import spans as module
from link_models.orbit.roots import Floats, Ints, bracketed_peaks
from link_models.orbit.spans import Spans, cut_where, positive_spans, spans_joined, spans_shared

END = 40

# Sets of whole milliseconds, which tell what every operation has to give.
TimeSet = set[tuple[int, int]]
time_sets = st.sets(st.tuples(st.integers(0, 3), st.integers(0, END - 1)), max_size=60)


def spans_of(times: TimeSet) -> Spans:
    """The spans of whole milliseconds, [t, t + 1) for each."""
    begin = sorted((pair, t) for pair, t in times if (pair, t - 1) not in times)
    end = sorted((pair, t + 1) for pair, t in times if (pair, t + 1) not in times)
    return Spans(
        np.array([pair for pair, _ in begin], dtype=np.intp),
        np.array([float(t) for _, t in begin]),
        np.array([float(t) for _, t in end]),
    )


def times_of(spans: Spans) -> TimeSet:
    keys = list(zip(spans.pair.tolist(), spans.rise.tolist(), strict=True))
    assert keys == sorted(keys)
    covered: TimeSet = set()
    for pair, rise, down in zip(spans.pair.tolist(), spans.rise, spans.down, strict=True):
        inside = {(pair, t) for t in range(int(rise), int(down))}
        assert inside
        assert not inside & covered
        covered |= inside
    return covered


@given(st.lists(time_sets, min_size=1, max_size=4))
def test_sharing_is_counting(sets: list[TimeSet]) -> None:
    parts = [spans_of(times) for times in sets]
    for least in range(1, len(sets) + 1):
        everywhere = set.union(*sets)
        wanted = {key for key in everywhere if sum(key in one for one in sets) >= least}
        assert times_of(spans_shared(parts, least)) == wanted


@given(time_sets, st.integers(0, END), st.integers(0, END))
def test_clipping_and_splitting(times: TimeSet, start: int, end: int) -> None:
    spans = spans_of(times)
    clipped = spans.clipped(float(start), float(end))
    assert times_of(clipped) == {(pair, t) for pair, t in times if start <= t < end}
    pieces = spans.split(7.0)
    assert (pieces.down - pieces.rise <= 7.0 + 1e-9).all()
    whole = spans_shared([pieces], 1)
    assert times_of(whole) == times
    assert len(whole) == len(spans)
    assert (spans_joined([spans, spans.where(spans.pair < 0)]).rise == spans.rise).all()


@given(time_sets, st.lists(st.integers(0, 3), max_size=6))
def test_spans_of_chosen_pairs(times: TimeSet, pairs: list[int]) -> None:
    chosen = spans_of(times).of(np.array(pairs, dtype=np.intp))
    wanted = {(place, t) for place, pair in enumerate(pairs) for p, t in times if p == pair}
    assert times_of(chosen) == wanted


# ---- functions

waves = st.lists(
    st.tuples(st.floats(0.1, 3.0), st.floats(0.0, 2.0), st.floats(0.0, 6.3)),
    min_size=1,
    max_size=4,
)


def wave(terms: list[tuple[float, float, float]], offset: float, x: Floats) -> Floats:
    """A sum of cosines of at most two turns in a period of 1000 ms."""
    total = np.full_like(x, -offset)
    for size, turns, phase in terms:
        total += size * np.cos(2.0 * np.pi * turns * x / 1000.0 + phase)
    return total


@given(st.lists(st.tuples(waves, st.floats(-3.0, 3.0)), min_size=1, max_size=4))
def test_functions_are_positive_in_their_spans_and_nowhere_else(
    problems: list[tuple[list[tuple[float, float, float]], float]],
) -> None:
    def function(owner: Ints, x: Floats) -> Floats:
        value = np.empty_like(x)
        for number, (terms, offset) in enumerate(problems):
            value[owner == number] = wave(terms, offset, x[owner == number])
        return value

    # Twenty samples to the shortest wave.
    grid = np.arange(-25.0, 5000.0, 25.0)
    owner = np.repeat(np.arange(len(problems)), len(grid))
    times = np.tile(grid, len(problems))
    found = positive_spans(function, owner, times, function(owner, times))
    found = found.clipped(0.0, grid[-2])
    fine = np.arange(0.5, grid[-2], 1.0)
    for number, (terms, offset) in enumerate(problems):
        mine = found.where(found.pair == number)
        value = wave(terms, offset, fine)
        place = np.searchsorted(mine.rise, fine) - 1
        covered = np.zeros(len(fine), dtype=bool)
        if len(mine):
            covered = (place >= 0) & (fine < mine.down[place])
        wrong = np.flatnonzero(covered != (value > 0.0))
        # Only next to an end, within its tolerance: slopes are below 0.16 a millisecond.
        assert (np.abs(value[wrong]) < 0.04 * 0.16).all()


def test_a_span_far_shorter_than_the_grid_is_found() -> None:
    # The top of a parabola is 1 ms wide, its samples are 1 s apart and 249 million times lower.
    for top in np.linspace(4000.0, 6000.0, 23):

        def hill(owner: Ints, x: Floats, top: float = top) -> Floats:
            return 1.0 - ((x - top) / 0.5) ** 2

        times = np.arange(0.0, 10_001.0, 1000.0)
        owner = np.zeros(len(times), dtype=np.intp)
        found = positive_spans(hill, owner, times, hill(owner, times))
        assert found.rise == pytest.approx([top - 0.5], abs=0.03)
        assert found.down == pytest.approx([top + 0.5], abs=0.03)
        # And a gap likewise.
        found = positive_spans(lambda o, x: -hill(o, x), owner, times, -hill(owner, times))
        assert found.rise == pytest.approx([0.0, top + 0.5], abs=0.03)
        assert found.down == pytest.approx([top - 0.5, 10_000.0], abs=0.03)


def test_not_a_number_is_below_zero() -> None:
    def broken(owner: Ints, x: Floats) -> Floats:
        return np.where((x > 300.0) & (x < 700.0), np.nan, 1.0)

    times = np.arange(0.0, 1001.0, 100.0)
    owner = np.zeros(len(times), dtype=np.intp)
    found = positive_spans(broken, owner, times, broken(owner, times))
    assert found.rise == pytest.approx([0.0, 700.0], abs=0.03)
    assert found.down == pytest.approx([300.0, 1000.0], abs=0.03)


@pytest.mark.parametrize("samples", [40, 500_000])
def test_cutting_spans(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CUT_SAMPLES", samples)
    monkeypatch.setattr(module, "PIECE_SAMPLES", max(10, samples // 10))
    spans = spans_of({(1, t) for t in range(5, 35)} | {(2, t) for t in range(END)})
    spans = Spans(spans.pair, spans.rise * 100.0, spans.down * 100.0)

    def above(pair: Ints, x: Floats) -> Floats:
        return np.sin(x / 200.0 + pair)

    found = cut_where(spans, above, 50.0)
    fine = np.arange(0.5, END * 100.0)
    for pair, rise, down in ((1, 500.0, 3500.0), (2, 0.0, 4000.0)):
        mine = found.where(found.pair == pair)
        edges = np.concatenate((mine.rise, mine.down))
        place = np.searchsorted(mine.rise, fine) - 1
        covered = (place >= 0) & (fine < mine.down[place])
        wanted = (above(np.array([pair]), fine) > 0.0) & (fine > rise) & (fine < down)
        sure = np.abs(fine[:, None] - edges).min(axis=1) > 0.03
        assert (covered == wanted)[sure].all()
    nothing = cut_where(spans.where(spans.pair > 5), above, 50.0)
    assert len(nothing) == 0


# ---- peaks

HILLS = {
    "parabola": lambda x: -(x**2),
    "tent": lambda x: -np.abs(x),
    "needle": lambda x: 1e-3 / (1e-3 + np.abs(x)) - 1.0,
    "plateau": lambda x: -np.maximum(np.abs(x) - 0.2, 0.0),
    "lopsided": lambda x: np.where(x < 0.0, 1e-3 * x, -(x**2)),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(HILLS)), st.floats(-0.99, 0.99), st.floats(-0.9, 0.9)),
        max_size=12,
    )
)
def test_peaks_are_found_from_any_middle(problems: list[tuple[str, float, float]]) -> None:
    hills = [HILLS[name] for name, _, _ in problems]
    tops = np.array([top for _, top, _ in problems])

    def function(index: Ints, x: Floats) -> Floats:
        values = [hills[i](np.array([x[k] - tops[i]]))[0] for k, i in enumerate(index.tolist())]
        # Never above zero, so that the search goes on to the end.
        return np.array(values, dtype=float) - 1e-12

    everything = np.arange(len(problems))
    points = tuple(
        np.array(xs, dtype=float)
        for xs in (
            [-1.5 for _ in problems],
            [middle for _, _, middle in problems],
            [1.5 for _ in problems],
        )
    )
    values = tuple(function(everything, x) for x in points)
    # The middle has to be the highest.
    good = (values[1] >= values[0]) & (values[1] >= values[2])
    kept = np.flatnonzero(good)
    time, height = bracketed_peaks(
        lambda index, x: function(kept[index], x),
        (points[0][kept], points[1][kept], points[2][kept]),
        (values[0][kept], values[1][kept], values[2][kept]),
        1e-6,
    )
    assert height == pytest.approx(function(kept, tops[kept]), abs=2e-3)
    for place, number in enumerate(kept.tolist()):
        if problems[number][0] != "plateau":
            assert time[place] == pytest.approx(tops[number], abs=2e-6)
