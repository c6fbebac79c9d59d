"""What depends on its key and on time only: noise, slots, outages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.loss import Flapping, Outages, Slots
from link_models.loss.slots import SlotDelay, SlotLoss
from link_models.loss.spans import CYCLES_MAX
from link_models.noise import (
    KNOTS,
    Correlated,
    Keyed,
    SmoothNoise,
    normal_quantile,
    normal_share,
)
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

N = 100_000


def test_blocks_are_functions_of_key_and_number() -> None:
    numbers = [-(1 << 63), -1, 0, 1, 1 << 62]
    first = [Keyed(5).block(number).random(8).tolist() for number in numbers]
    again = [Keyed(5).block(number).random(8).tolist() for number in reversed(numbers)]
    assert first == again[::-1]
    assert len({tuple(values) for values in first}) == len(numbers)
    assert Keyed(6).block(0).random(8).tolist() != first[2]


@given(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=20))
def test_noise_does_not_remember_who_asked(times: list[int]) -> None:
    one, many = SmoothNoise(3, 2e6), SmoothNoise(3, 2e6)
    values = many.many(np.array(times, np.float64))
    for time, value in reversed(list(zip(times, values.tolist(), strict=True))):
        assert one.one(time) == pytest.approx(value, abs=1e-9)


def test_noise_is_standard_normal_at_every_phase_and_forgets() -> None:
    noise = SmoothNoise(1, 2.0)  # knots at 0, 1, 2, ...
    for phase in (0.0, 0.25, 0.5, 0.9):
        values = noise.many(np.arange(0, 4.0 * N, 4) + phase)
        assert abs(values.mean()) < 5 / math.sqrt(N)
        assert abs(values.var() - 1) < 5 * math.sqrt(2 / N)
        later = noise.many(np.arange(0, 4.0 * N, 4) + phase + 2)
        assert abs((values * later).mean()) < 5 / math.sqrt(N)
        near = noise.many(np.arange(0, 4.0 * N, 4) + phase + 0.1)
        assert (values * near).mean() > 0.8


def test_noise_runs_on_from_block_to_block() -> None:
    noise = SmoothNoise(1, 2.0)
    edge = float(KNOTS)
    before, after = noise.one(edge - 1e-6), noise.one(edge + 1e-6)
    assert before == pytest.approx(after, abs=1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_correlated_numbers_stay_uniform(correlation: float) -> None:
    values = Correlated(np.random.default_rng(1), correlation).many(N)
    slack = 5 * math.sqrt((1 + correlation) / (1 - correlation) / N)
    for share in (0.05, 0.25, 0.5, 0.9):
        assert abs((values < share).mean() - share) < slack * math.sqrt(share * (1 - share))
    normal = normal_quantile(values)
    assert abs((normal[1:] * normal[:-1]).mean() - correlation) < slack


def test_the_normal_distribution() -> None:
    """Three values from any table, and back."""
    assert normal_share(np.array([-1.959964, 0.0, 1.281552])).tolist() == pytest.approx(
        [0.025, 0.5, 0.9], abs=1e-6
    )
    shares = np.linspace(0.001, 0.999, 999)
    assert normal_share(normal_quantile(shares)).tolist() == pytest.approx(
        shares.tolist(), abs=1e-9
    )


# ---- slots -------------------------------------------------------------------------------------

SLOTS: dict[str, Any] = {"delay_ms_max": 20.0, "loss": 0.02, "change_ms": 200.0}


@given(st.lists(st.integers(-(10**14), 10**14), min_size=1, max_size=30), st.randoms())
def test_slots_do_not_remember_who_asked(times: list[int], random: Any) -> None:
    at_ns = np.array(times, np.float64)
    delays, losses = Slots(7, **SLOTS).delay_and_loss_many(at_ns)
    again = Slots(7, **SLOTS)
    order = list(range(len(times)))
    random.shuffle(order)
    for place in order:
        assert again.delay_and_loss(times[place]) == (delays[place], losses[place])


def test_slots_begin_at_the_phase_and_hold_for_the_period() -> None:
    """Of Starlink: at 12, 27, 42 and 57 s of a minute."""
    slots = Slots(7, **{**SLOTS, "change_ms": 0.0})
    at_ns = np.arange(0, 120 * SECOND, SECOND // 10, dtype=np.float64)
    delays = slots.delay_and_loss_many(at_ns)[0]
    changes_s = at_ns[1:][np.diff(delays) != 0] / SECOND
    assert changes_s.tolist() == [12, 27, 42, 57, 72, 87, 102, 117]
    assert slots.slot(0).delay_ns == slots.delay_and_loss(12 * SECOND)[0]
    assert slots.slot(-1).delay_ns == slots.delay_and_loss(12 * SECOND - 1)[0]


def test_the_distributions_of_slots() -> None:
    rows = np.array([Slots(11, **SLOTS).slot(index) for index in range(5000)])
    delay_ns, loss, change_ns = rows.T
    assert 0 <= delay_ns.min() < 0.01 * 20e6
    assert abs(delay_ns.mean() - 10e6) < 5 * 20e6 / math.sqrt(12 * 5000)
    assert abs(loss.mean() - 0.02) < 5 * 0.02 / math.sqrt(5000)
    assert abs(change_ns.mean() - 200e6) < 5 * 200e6 / math.sqrt(5000)


def test_a_change_loses_and_delays() -> None:
    slots = Slots(7, loss=0.0, change_ms=1000.0, change_loss=0.5, change_delay_ms=30.0)
    row = slots.slot(3)
    begin_ns = (12 + 3 * 15) * SECOND
    inside = np.linspace(begin_ns, begin_ns + row.change_ns, N, endpoint=False)
    lost = SlotLoss(np.random.default_rng(1), slots).lost_many(inside, 1, 1)
    assert abs(lost.mean() - 0.5) < 5 * math.sqrt(0.25 / N)
    assert set(SlotDelay(slots).delay_many(inside)) == {row.delay_ns + 30e6}
    after = np.linspace(begin_ns + row.change_ns, begin_ns + 15 * SECOND, 1000, endpoint=False)
    assert not SlotLoss(np.random.default_rng(1), slots).lost_many(after, 1, 1).any()
    assert set(SlotDelay(slots).delay_many(after)) == {row.delay_ns}


# ---- outages -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-(10**10), 10**13), min_size=1, max_size=20))
def test_outages_do_not_remember_who_asked(times: list[int]) -> None:
    one, many = (Outages(3, mtbf_s=40.0, mttr_s=10.0) for _ in range(2))
    expected = [one.lost(1, time) for time in times]
    times, expected = map(list, zip(*sorted(zip(times, expected, strict=True)), strict=True))
    assert many.lost_many(np.array(times, np.float64), 1, 1).tolist() == expected


def test_the_distributions_of_outages() -> None:
    up_at_0 = [not Outages(key, mtbf_s=3, mttr_s=1).lost(1, 0) for key in range(2000)]
    assert abs(np.mean(up_at_0) - 0.75) < 5 * math.sqrt(0.75 * 0.25 / 2000)
    spans = Outages(1, mtbf_s=30, mttr_s=10).spans(0, 200_000 * SECOND)
    lengths = np.array([end - start for start, end in spans]) / SECOND
    assert abs(len(spans) - 5000) < 5 * math.sqrt(5000)
    assert abs(lengths.mean() - 10) < 5 * 10 / math.sqrt(5000)
    assert abs(lengths.std() - 10) < 5 * 10 * math.sqrt(2 / 5000)  # exponential


@given(st.integers(0, 100), st.integers(0, 500), st.integers(1, 500))
def test_spans_are_what_is_lost(key: int, start_s: int, length_s: int) -> None:
    outages = Outages(key, mtbf_s=20, mttr_s=10)
    start_ns, end_ns = start_s * SECOND, (start_s + length_s) * SECOND
    spans = outages.spans(start_ns, end_ns)
    for time_ns in range(start_ns, end_ns, SECOND // 2):
        inside = any(begin <= time_ns < end for begin, end in spans)
        assert inside == outages.lost(1, time_ns)
    assert all(start_ns <= begin < end <= end_ns for begin, end in spans)


def test_outages_begin_again_instead_of_filling_the_memory() -> None:
    outages = Outages(1, mtbf_s=1e-6, mttr_s=1e-6)
    far_ns = 10**15
    assert outages.lost(1, far_ns) in (True, False)
    period_ns = round(outages._ends_ns)
    assert len(outages._edges) <= 4 * CYCLES_MAX
    times = [far_ns // period_ns * period_ns + i * 999 for i in range(1000)]
    assert [outages.lost(1, t) for t in times] == [outages.lost(1, t - times[0]) for t in times]
    assert outages.lost_many(np.array(times, np.float64), 1, 1).tolist() == [
        outages.lost(1, t) for t in times
    ]


def test_flapping() -> None:
    model = Flapping(period_s=10, down_s=3, phase_s=2)
    down = [second for second in range(-10, 30) if model.lost(1, second * SECOND)]
    assert down == [-8, -7, -6, 2, 3, 4, 12, 13, 14, 22, 23, 24]
    at_ns = np.arange(-10, 30, dtype=np.float64) * SECOND
    assert (np.flatnonzero(model.lost_many(at_ns, 1, 1)) - 10).tolist() == down


@pytest.mark.parametrize(
    "make",
    [
        lambda: Outages(0, mtbf_s=0, mttr_s=1),
        lambda: Outages(0, mtbf_s=1, mttr_s=math.inf),
        lambda: Flapping(period_s=0, down_s=0),
        lambda: Flapping(period_s=1, down_s=2),
        lambda: Flapping(period_s=1, down_s=math.nan),
        lambda: Slots(0, period_s=0),
        lambda: Slots(0, loss=2),
        lambda: Slots(0, change_ms=-1),
        lambda: Slots(0, change_loss=-1),
        lambda: Slots(0, phase_s=math.inf),
    ],
)
def test_nonsense_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


def test_a_key_may_be_had_by_many_and_a_stream_by_one() -> None:
    streams = Streams(4)
    assert streams.key("a") == streams.key("a") == Streams(4).key("a")
    assert len({streams.key("a"), streams.key("b"), Streams(5).key("a")}) == 3
    assert streams.child("x").key("a") == streams.key("x/a")
    assert 0 <= streams.key("a") < 1 << 128
    assert Slots(streams.key("a")).slot(0) == Slots(streams.key("a")).slot(0)
