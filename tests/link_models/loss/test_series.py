"""Losses that follow a series, against closed forms and the models without a series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.loss import BitErrors, FrameErrors, VaryingBitErrors, VaryingLoss
from link_models.loss.model import LossModel
from link_models.loss.series import Steps
from link_models.rng import Streams
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

N = 100_000


def rng(seed: int = 1) -> np.random.Generator:
    return Streams(seed).stream("test")


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=20, unique=True).map(sorted),
    st.lists(st.integers(-10, 1100), min_size=1, max_size=30),
)
def test_a_step_is_the_last_sample_before(times: list[int], asked: list[int]) -> None:
    steps = Steps("x", times, list(range(len(times))))
    expected = [max([i for i, time in enumerate(times) if time <= at], default=0) for at in asked]
    assert [steps.one(at) for at in asked] == expected
    assert steps.many(np.array(asked, np.float64)).tolist() == expected


def test_the_share_of_loss_follows_the_series() -> None:
    times = [second * SECOND for second in range(4)]
    model = VaryingLoss(rng(), times, [0.0, 0.3, 1.0, 0.05])
    at_ns = np.linspace(0, 4 * SECOND, 4 * N, endpoint=False)
    shares = model.lost_many(at_ns, 1000, 1000).reshape(4, N).mean(axis=1)
    for seen, expected in zip(shares, (0.0, 0.3, 1.0, 0.05), strict=True):
        assert abs(seen - expected) <= 5 * math.sqrt(expected * (1 - expected) / N)


def test_a_constant_bit_error_rate_is_the_plain_model() -> None:
    at_ns = np.arange(1000.0)
    varying = VaryingBitErrors(rng(), [0, 500], [1e-4, 1e-4], overhead_bytes=28)
    plain = BitErrors(rng(), 1e-4, overhead_bytes=28)
    left, right = (model.lost_many(at_ns, 700, 99) for model in (varying, plain))
    assert left.tolist() == right.tolist()
    certain = VaryingBitErrors(rng(), [0, 500], [0.0, 1.0])
    assert certain.lost_many(at_ns, 700, 99).tolist() == [False] * 500 + [True] * 500


@pytest.mark.parametrize(
    ("size", "frame_bytes"), [(1400, 1115), (1000, 8100), (64, 64), (300, 100)]
)
def test_frame_errors_lose_what_lies_in_them(size: int, frame_bytes: int) -> None:
    fer = 0.01
    model = FrameErrors(rng(), [0], [fer], frame_bytes)
    lost = model.lost_many(np.zeros(N), size, size)
    covered = [((k + 1) * size - 1) // frame_bytes - k * size // frame_bytes + 1 for k in range(N)]
    expected = float(np.mean(1 - (1 - fer) ** np.array(covered)))
    # A wrong frame takes all datagrams in it: that many fewer independent ones.
    alike = 1 + frame_bytes / size
    assert abs(lost.mean() - expected) <= 5 * math.sqrt(alike * expected / N)


def test_neighbours_in_one_frame_are_lost_together() -> None:
    lost = FrameErrors(rng(), [0], [0.02], 10_000).lost_many(np.zeros(N), 1000, 1000)
    assert lost.reshape(-1, 10).any(axis=1).tolist() == lost.reshape(-1, 10).all(axis=1).tolist()
    assert 0 < lost.mean() < 0.1


def test_a_rate_of_one_for_a_second_loses_that_second() -> None:
    model = FrameErrors(rng(), [0, SECOND, 2 * SECOND], [0.0, 1.0, 0.0], 500)
    at_ns = np.linspace(0, 3 * SECOND, 3000, endpoint=False)
    assert model.lost_many(at_ns, 500, 500).reshape(3, 1000).mean(axis=1).tolist() == [0, 1, 0]


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 2000)), min_size=1, max_size=12),
    st.sampled_from([32, 100, 1115, 8100]),
    st.integers(0, 1000),
)
def test_one_by_one_and_in_bulk(
    trains: Sequence[tuple[int, int]], frame_bytes: int, seed: int
) -> None:
    def models() -> list[LossModel]:
        return [
            FrameErrors(rng(seed), [0, 500], [0.1, 0.4], frame_bytes, overhead_bytes=28),
            VaryingBitErrors(rng(seed), [0, 500], [1e-5, 1e-4]),
            VaryingLoss(rng(seed), [0, 500], [0.1, 0.4]),
        ]

    for one, many in zip(models(), models(), strict=True):
        now = 0
        for count, size in trains:
            times = [now + 17 * i for i in range(count)]
            tail = size // 2 + 1
            alone = [one.lost(size, time) for time in times[:-1]] + [one.lost(tail, times[-1])]
            assert many.lost_many(np.array(times, np.float64), size, tail).tolist() == alone
            now = times[-1] + 5


@pytest.mark.parametrize(
    ("times", "rates"),
    [([], []), ([0], [0.1, 0.2]), ([1, 1], [0, 0]), ([0], [1.1]), ([0], [math.nan]), ([0], [-0.1])],
)
def test_nonsense_is_refused(times: list[float], rates: list[float]) -> None:
    with pytest.raises(ConfigError):
        FrameErrors(rng(), times, rates, 1115)
    with pytest.raises(ConfigError):
        VaryingLoss(rng(), times, rates)
    with pytest.raises(ConfigError):
        VaryingBitErrors(rng(), times, rates)


def test_frames_have_a_least_size() -> None:
    with pytest.raises(ConfigError):
        FrameErrors(rng(), [0], [0.1], 31)
