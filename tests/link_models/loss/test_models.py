"""Loss models against their closed forms.  Tolerances are five standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from link_models.loss import (
    HOUR_NS,
    Bernoulli,
    BitErrors,
    Blackouts,
    FourStates,
    GilbertElliott,
    LossModel,
    NoLoss,
    Replay,
    no_loss,
)
from link_models.loss.model import Ahead
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError

N = 200_000
Rng = np.random.Generator


def rng(name: str = "test", seed: int = 1) -> Rng:
    return Streams(seed).stream(name)


def by_one(model: LossModel, n: int, size: int, spacing_ns: int) -> NDArray[np.bool_]:
    return np.array([model.lost(size, i * spacing_ns) for i in range(n)])


def by_many(model: LossModel, n: int, size: int, spacing_ns: int) -> NDArray[np.bool_]:
    """In uneven portions, as trains come."""
    parts, done, step = [], 0, 1
    while done < n:
        count = min(step, n - done)
        times_ns = spacing_ns * np.arange(done, done + count, dtype=np.float64)
        parts.append(model.lost_many(times_ns, size, size))
        done += count
        step = step % 97 + 13
    return np.concatenate(parts)


BOTH = pytest.mark.parametrize("ask", [by_one, by_many])
Ask = Callable[[LossModel, int, int, int], NDArray[np.bool_]]


def within(seen: float | np.floating[Any], expected: float, deviation: float) -> bool:
    return abs(float(seen) - expected) <= 5 * deviation


@BOTH
def test_bernoulli(ask: Ask) -> None:
    lost = ask(Bernoulli(rng(), 0.07), N, 1400, 1000)
    assert within(lost.mean(), 0.07, math.sqrt(0.07 * 0.93 / N))
    together = (lost[1:] & lost[:-1]).mean()  # independence: 0.07 squared
    assert within(together, 0.07**2, math.sqrt(0.07**2 / N))


@BOTH
def test_no_loss_and_the_extremes(ask: Ask) -> None:
    assert not ask(NoLoss(), 100, 1, 1).any()
    assert not ask(no_loss(rng()), 100, 1, 1).any()
    assert not ask(Bernoulli(rng(), 0.0), 2000, 1, 1).any()
    assert ask(Bernoulli(rng(), 1.0), 2000, 1, 1).all()
    assert not ask(BitErrors(rng(), 0.0), 2000, 1, 1).any()
    assert ask(BitErrors(rng(), 1.0), 2000, 1, 1).all()


@BOTH
def test_bit_errors(ask: Ask) -> None:
    model = BitErrors(rng(), 1e-5, overhead_bytes=28)
    expected = 1 - (1 - 1e-5) ** (8 * 1428)
    assert model.probability(1400) == pytest.approx(expected, rel=1e-9)
    lost = ask(model, N // 2, 1400, 1)
    assert within(lost.mean(), expected, math.sqrt(expected / (N // 2)))


def runs(lost: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of losses."""
    return [len(list(group)) for value, group in groupby(lost.tolist()) if value]


@BOTH
def test_netem_parameters_give_netems_chain(ask: Ask) -> None:
    """At the stated packet rate: good to bad with p, bad to good with r, packet by packet."""
    p, r = 0.02, 0.25
    model = GilbertElliott.from_netem(rng(), p=p, r=r, packets_per_s=10_000)
    assert model.mean_loss == pytest.approx(p / (p + r))
    lost = ask(model, N, 1400, SECOND // 10_000)
    before, after = lost[:-1], lost[1:]
    good, bad = int((~before).sum()), int(before.sum())
    assert within(after[~before].mean(), p, math.sqrt(p * (1 - p) / good))
    assert within((~after[before]).mean(), r, math.sqrt(r * (1 - r) / bad))
    bursts = runs(lost)
    assert within(np.mean(bursts), 1 / r, math.sqrt(1 - r) / r / math.sqrt(len(bursts)))


@BOTH
def test_all_four_netem_parameters(ask: Ask) -> None:
    p, r, in_bad, in_good = 0.05, 0.2, 0.6, 0.01
    model = GilbertElliott.from_netem(
        rng(), p=p, r=r, one_minus_h=in_bad, one_minus_k=in_good, packets_per_s=1000
    )
    expected = (r * in_good + p * in_bad) / (p + r)
    assert model.mean_loss == pytest.approx(expected)
    lost = ask(model, N, 1400, MILLISECOND)
    # Correlated trials: the variance grows by (1 + c) / (1 - c), c = 1 - p - r, at most.
    factor = (2 - p - r) / (p + r)
    assert within(lost.mean(), expected, math.sqrt(expected * (1 - expected) * factor / N))


def test_a_burst_lasts_as_long_at_any_packet_rate() -> None:
    for spacing_ns in (100_000, 1_000_000):
        model = GilbertElliott(rng(), good_s=0.4, bad_s=0.1)
        lost = by_many(model, N, 1400, spacing_ns)
        bursts = np.array(runs(lost)) * spacing_ns / SECOND
        # The time from the first lost to the last exceeds the fade by less than one spacing.
        assert within(bursts.mean(), 0.1, 0.1 / math.sqrt(len(bursts)) + spacing_ns / SECOND / 5)
        assert within(lost.mean(), 0.2, 0.2 / math.sqrt(len(bursts)))


def test_loss_and_burst() -> None:
    model = GilbertElliott.from_loss_and_burst(rng(), loss=0.2, burst_packets=8, packets_per_s=1000)
    assert model.mean_loss == pytest.approx(0.2)
    lost = by_many(model, N, 1400, MILLISECOND)
    bursts = runs(lost)
    assert within(np.mean(bursts), 8, 8 / math.sqrt(len(bursts)))
    assert within(lost.mean(), 0.2, 2 * 0.2 / math.sqrt(len(bursts)))


def test_a_long_silence_is_forgotten_at_once() -> None:
    """A year between questions: the state follows the long-run shares, at no cost."""
    year_ns = 365 * 86_400 * SECOND
    model = GilbertElliott(rng(), good_s=3e-6, bad_s=1e-6)
    lost = [model.lost(1, year * year_ns) for year in range(20_000)]
    assert within(np.mean(lost), 0.25, math.sqrt(0.25 * 0.75 / 20_000))


SAME: list[Callable[[Rng], LossModel]] = [
    lambda r: Bernoulli(r, 0.3),
    lambda r: BitErrors(r, 1e-4),
    lambda r: GilbertElliott(r, good_s=0.02, bad_s=0.05),
    lambda r: GilbertElliott(r, good_s=0.02, bad_s=0.05, good_loss=0.1, bad_loss=0.6),
    lambda r: FourStates(r, p13=0.2, p31=0.3, p32=0.3, p23=0.6, p14=0.1),
]


@given(st.sampled_from(SAME), st.integers(0, 2**32), st.integers(1, 200), st.integers(0, 10**8))
def test_one_by_one_and_in_bulk_are_the_same_process(
    make: Callable[[Rng], LossModel], seed: int, n: int, spacing_ns: int
) -> None:
    one, many = make(rng(seed=seed)), make(rng(seed=seed))
    assert by_one(one, n, 99, spacing_ns).tolist() == by_many(many, n, 99, spacing_ns).tolist()


@given(st.lists(st.integers(-1, 3000), min_size=1, max_size=8))
def test_a_sequence_is_the_same_in_all_portions(portions: list[int]) -> None:
    """-1 stands for a single number."""
    ahead = Ahead(rng().random)
    found: list[float] = []
    for portion in portions:
        found += [ahead.one()] if portion < 0 else ahead.many(portion).tolist()
    assert found == rng().random(len(found)).tolist()


@BOTH
def test_netems_four_states(ask: Ask) -> None:
    """Against the stationary shares of the chain, from its balance equations."""
    p13, p31, p32, p23, p14 = 0.05, 0.3, 0.2, 0.5, 0.02
    chain = np.array(
        [
            [1 - p13 - p14, 0, p13, p14],
            [0, 1 - p23, p23, 0],
            [p31, p32, 1 - p31 - p32, 0],
            [1, 0, 0, 0],
        ]
    )
    share = np.linalg.matrix_power(chain, 10_000)[0]
    lost = ask(FourStates(rng(), p13=p13, p31=p31, p32=p32, p23=p23, p14=p14), N, 1, 1)
    expected = share[2] + share[3]
    # Correlated for some ten packets.
    assert within(lost.mean(), expected, math.sqrt(10 * expected * (1 - expected) / N))
    together = (lost[1:] & lost[:-1]).mean()
    assert within(together, share[2] * chain[2, 2], math.sqrt(10 * together / N))


def test_netems_four_states_at_the_edges() -> None:
    # Received and lost in turn: every good packet is followed by a single loss.
    lost = by_many(FourStates(rng(), p13=0.0, p31=0.0, p14=1.0), 10, 1, 1)
    assert lost.tolist() == [True, False] * 5
    # Into the burst and never out of it.
    assert by_many(FourStates(rng(), p13=1.0, p31=0.0), 10, 1, 1).all()


@given(
    st.lists(st.integers(0, 1000), max_size=20).map(sorted), st.integers(0, 50), st.integers(0, 30)
)
def test_blackouts_lose_exactly_their_intervals(edges: list[int], start: int, spacing: int) -> None:
    edges = edges[: len(edges) // 2 * 2]
    intervals = list(zip(edges[::2], edges[1::2], strict=True))
    model = Blackouts(intervals)
    times = [start + i * spacing for i in range(40)]
    expected = [any(a <= t < b for a, b in intervals) for t in times]
    assert [model.lost(1, t) for t in times] == expected
    assert model.lost_many(np.array(times, np.float64), 1, 1).tolist() == expected


@pytest.mark.parametrize("shape", ["exponential", "fixed", "lognormal"])
def test_random_blackouts(shape: str) -> None:
    hours = 2000
    inside = [(hour * HOUR_NS, hour * HOUR_NS + HOUR_NS // 4) for hour in range(4 * hours)]
    model = Blackouts.random(rng(), inside_ns=inside, per_hour=6, mean_s=2, shape=shape)
    count = len(model.intervals_ns)
    # Six an hour, 2 s each: 0.33 % of them touch and merge.
    assert within(count, 6 * hours * (1 - 6 * 2 / 3600), math.sqrt(6 * hours))
    total_s = sum(b - a for a, b in model.intervals_ns) / SECOND
    assert within(total_s, 6 * hours * 2, 2 * 2 * math.sqrt(6 * hours))
    for a, b in model.intervals_ns:
        hour = a // HOUR_NS
        assert inside[hour][0] <= a <= b <= inside[hour][1]
    again = Blackouts.random(rng(), inside_ns=inside, per_hour=6, mean_s=2, shape=shape)
    assert again.intervals_ns == model.intervals_ns


def test_replay_goes_round() -> None:
    trace = [True, False, False]
    one, many = Replay(trace), Replay(trace)
    expected = [i % 3 == 0 for i in range(20)]
    assert by_one(one, 20, 1, 1).tolist() == expected
    assert by_many(many, 20, 1, 1).tolist() == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda r: Bernoulli(r, 1.01),
        lambda r: Bernoulli(r, math.nan),
        lambda r: BitErrors(r, -1e-9),
        lambda r: GilbertElliott(r, good_s=0, bad_s=1),
        lambda r: GilbertElliott(r, good_s=1, bad_s=math.inf),
        lambda r: GilbertElliott(r, good_s=1, bad_s=1, bad_loss=2),
        lambda r: GilbertElliott.from_netem(r, p=0.5, r=0.5, packets_per_s=1),
        lambda r: GilbertElliott.from_netem(r, p=0.1, r=0.5, packets_per_s=0),
        lambda r: GilbertElliott.from_loss_and_burst(r, loss=0.5, burst_packets=2, packets_per_s=1),
        lambda r: Blackouts([(0, 10), (9, 20)]),
        lambda r: Blackouts.random(r, inside_ns=[], per_hour=1, mean_s=1, shape="odd"),
        lambda r: Blackouts.random(r, inside_ns=[], per_hour=-1, mean_s=1),
        lambda r: Blackouts.random(r, inside_ns=[(0, HOUR_NS)], per_hour=1e9, mean_s=1),
        lambda r: Replay([]),
        lambda r: FourStates(r, p13=0.6, p31=0.1, p14=0.6),
        lambda r: FourStates(r, p13=-0.1, p31=0.1),
        lambda r: FourStates(r, p13=0.1, p31=math.nan),
    ],
)
def test_nonsense_is_refused(make: Callable[[Rng], object]) -> None:
    with pytest.raises(ConfigError):
        make(rng())
