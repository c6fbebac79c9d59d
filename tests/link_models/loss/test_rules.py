"""Each rule by itself, against closed forms; and rules for a while or in another time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.loss.rules import (
    FADE_STEP_NS,
    Corrupt,
    Duplicate,
    FadeLoss,
    Jitter,
    JitterShape,
    Limit,
    Reorder,
    Rule,
    TimeSlots,
    UniformJitter,
    between,
    retimed,
)
from link_models.loss.spans import Blackouts
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError

N = 100_000
TIMES = np.zeros(N)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- jitter ------------------------------------------------------------------------------------

# Mean and standard deviation in units of the spread.  Pareto: x = (u^(-1/3) - 1.5) * 4/3, cut at 4;
# integrals of u^(-1/3) and u^(-2/3) from the cut u0 = 4.5^-3 on, by hand.
U0 = 4.5**-3
PARETO_MEAN = 4 / 3 * (1.5 * (1 - U0 ** (2 / 3)) + 4.5 * U0 - 1.5)
PARETO_SQUARE = (
    16
    / 9
    * (3 * (1 - U0 ** (1 / 3)) + 20.25 * U0 - 3 * (1.5 * (1 - U0 ** (2 / 3)) + 4.5 * U0) + 2.25)
)
MOMENTS: dict[JitterShape, tuple[float, float]] = {
    "uniform": (0.0, 1 / math.sqrt(3)),
    "normal": (0.0, 1.0),
    "pareto": (PARETO_MEAN, math.sqrt(PARETO_SQUARE - PARETO_MEAN**2)),
}


@pytest.mark.parametrize("shape", sorted(MOMENTS))
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_jitter_has_the_moments_of_its_shape(shape: JitterShape, correlation: float) -> None:
    jitter = Jitter(rng(), mean_ns=10_000.0, spread_ns=1000.0, shape=shape, correlation=correlation)
    delays = (jitter.delay_many(TIMES) - 10_000) / 1000
    mean, deviation = MOMENTS[shape]
    few = N * (1 - correlation) / (1 + correlation)
    assert abs(delays.mean() - mean) < 5 * deviation / math.sqrt(few)
    assert abs(delays.std() - deviation) < 0.03 * deviation


def test_pareto_normal_is_the_mixture_of_netem() -> None:
    """0.75 Pareto + 0.25 normal of one share: its median is that of both, its 90 % too."""
    jitter = Jitter(rng(), mean_ns=10_000, spread_ns=1000, shape="paretonormal")
    delays = (jitter.delay_many(TIMES) - 10_000) / 1000
    for share, normal in ((0.5, 0.0), (0.9, 1.281552)):
        pareto = ((1 - share) ** (-1 / 3) - 1.5) * 4 / 3
        below = (delays < 0.75 * pareto + 0.25 * normal).mean()
        assert abs(below - share) < 5 * math.sqrt(share * (1 - share) / N)


@given(
    st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
    st.floats(0, 1e7),
    st.floats(0, 1e7),
    st.floats(0, 0.99),
)
def test_nothing_arrives_before_light(
    shape: JitterShape, mean_ns: float, spread_ns: float, correlation: float
) -> None:
    jitter = Jitter(
        rng(), mean_ns=mean_ns, spread_ns=spread_ns, shape=shape, correlation=correlation
    )
    delays = jitter.delay_many(np.zeros(200))
    assert delays.min() >= 0
    assert delays.max() <= mean_ns + 8 * spread_ns + 1e-6


def test_half_of_a_normal_jitter_around_nothing_lies_on_the_floor() -> None:
    delays = Jitter(rng(), mean_ns=0, spread_ns=1, shape="normal").delay_many(TIMES)
    assert abs((delays == 0).mean() - 0.5) < 5 * math.sqrt(0.25 / N)


def test_uniform_jitter() -> None:
    delays = UniformJitter(rng(), 1000).delay_many(TIMES)
    assert 0 <= delays.min() < 1 < 999 < delays.max() < 1000


# ---- reordering, duplication, corruption -------------------------------------------------------


def test_reorder_is_bounded_and_keeps_its_gap() -> None:
    late = Reorder(rng(), probability=0.4, late_ns_max=1000, gap=5).delay_many(TIMES)
    assert not late[np.arange(N) % 5 != 4].any()
    candidates = late[4::5]
    assert abs((candidates > 0).mean() - 0.4) < 5 * math.sqrt(0.24 / (N / 5))
    assert 1 <= late[late > 0].min() < late.max() <= 1000


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_correlated_choices_keep_their_share_and_come_in_rows(correlation: float) -> None:
    chosen, later_ns = Duplicate(
        rng(), probability=0.3, later_ns_max=50, correlation=correlation
    ).copies(TIMES)
    factor = (1 + correlation) / (1 - correlation)
    assert abs(chosen.mean() - 0.3) < 5 * math.sqrt(0.21 * factor / N)
    rows = (chosen[1:] & chosen[:-1]).mean()
    if correlation:
        assert rows > 0.15
    else:
        assert abs(rows - 0.09) < 5 * math.sqrt(0.09 * 0.91 / N)
    assert 0 <= later_ns.min() < later_ns.max() < 50


@given(st.binary(min_size=1, max_size=200), st.integers(1, 20), st.floats(0, 0.999))
def test_corruption_flips_up_to_so_many_bits(data: bytes, bits_max: int, how: float) -> None:
    model = Corrupt(rng(), probability=1.0, bits_max=bits_max)
    damaged = model.damage(data, how)
    flips = sum(bin(a ^ b).count("1") for a, b in zip(data, damaged, strict=True))
    assert 1 <= flips <= min(bits_max, 8 * len(data))
    assert model.damage(memoryview(data), how) == damaged  # how says it all


def test_a_limit_lets_so_much_pass() -> None:
    one, many = Limit(2500), Limit(2500)
    assert [one.lost(1000, 0) for _ in range(5)] == [False, False, False, True, True]
    assert many.lost_many(np.zeros(2), 1000, 500).tolist() == [False, False]
    assert many.lost_many(np.zeros(3), 1000, 1000).tolist() == [False, True, True]
    assert Limit(0).lost(1, 0)


def test_time_slots_hold_until_the_next_begins() -> None:
    slots = TimeSlots(period_ns=100, phase_ns=30)
    at_ns = [0, 30, 31, 129, 130, 180]
    expected = [30, 0, 99, 1, 0, 50]
    assert [slots.delay(at) for at in at_ns] == expected
    assert slots.delay_many(np.array(at_ns, np.float64)).tolist() == expected


# ---- for a while, in another time, and by a fade -----------------------------------------------


def everything(seed: int) -> Rule:
    return Rule(
        loss=Blackouts([(10, 20), (30, 40)]),
        delay=UniformJitter(rng(seed), 1000),
        reorder=Reorder(rng(seed), probability=0.5, late_ns_max=100),
        copy=Duplicate(rng(seed), probability=0.5, later_ns_max=100),
        damage=Corrupt(rng(seed), probability=0.5),
    )


def effects(rule: Rule, at_ns: np.ndarray[Any, Any]) -> list[Any]:
    assert rule.loss is not None
    assert rule.delay is not None
    assert rule.reorder is not None
    assert rule.copy is not None
    assert rule.damage is not None
    copied, later_ns = rule.copy.copies(at_ns)
    draw, how = rule.damage.draw_many(at_ns)
    return [
        rule.loss.lost_many(at_ns, 1, 1).tolist(),
        rule.delay.delay_many(at_ns).tolist(),
        rule.reorder.delay_many(at_ns).tolist(),
        [later if chosen else None for chosen, later in zip(copied, later_ns, strict=True)],
        [number if chosen else None for chosen, number in zip(draw, how, strict=True)],
    ]


def effects_one_by_one(rule: Rule, at_ns: np.ndarray[Any, Any]) -> list[Any]:
    assert rule.loss is not None
    assert rule.delay is not None
    assert rule.reorder is not None
    assert rule.copy is not None
    assert rule.damage is not None
    times = [int(at) for at in at_ns.tolist()]
    return [
        [rule.loss.lost(1, at) for at in times],
        [rule.delay.delay(at) for at in times],
        [rule.reorder.delay(at) for at in times],
        [rule.copy.copy(at) for at in times],
        [rule.damage.draw(at) for at in times],
    ]


@given(st.integers(0, 99), st.integers(0, 60), st.integers(0, 60))
def test_between_changes_nothing_inside_and_passes_outside(
    seed: int, start: int, length: int
) -> None:
    at_ns = np.arange(60.0)
    always = effects(everything(seed), at_ns)
    rule = between(everything(seed), start, start + length)
    nothing: list[Any] = [False, 0.0, 0.0, None, None]
    expected = [
        [value if start <= at < start + length else none for at, value in enumerate(values)]
        for values, none in zip(always, nothing, strict=True)
    ]
    assert effects(rule, at_ns) == expected
    assert effects_one_by_one(between(everything(seed), start, start + length), at_ns) == expected
    assert between(Rule(), 0, 1) == Rule()


def test_retimed_asks_at_another_time() -> None:
    rule = retimed(everything(1), lambda at: 10 + (at - 5) * 2)
    assert rule.loss is not None
    at_ns = np.arange(5.0, 25.0)  # 10, 12, ... 48 for the rule
    expected = [10 <= at < 20 or 30 <= at < 40 for at in range(10, 50, 2)]
    assert effects(rule, at_ns)[0] == expected
    again = retimed(everything(1), lambda at: 10 + (at - 5) * 2)
    assert effects_one_by_one(again, at_ns)[0] == expected
    assert (
        effects(retimed(everything(1), lambda at: at), at_ns)[1:]
        == (effects(everything(1), at_ns)[1:])
    )


def test_a_fade_loses_while_it_is_deeper_than_the_margin() -> None:
    class Ramp:
        def fade_db(self, times_ns: Any) -> Any:
            return times_ns / SECOND

    at_ns = np.arange(0, 10 * SECOND, 3 * MILLISECOND, dtype=np.float64)
    lost = FadeLoss(Ramp(), 4.0).lost_many(at_ns, 1, 1)
    edge_ns = at_ns[np.argmax(lost)]
    assert abs(edge_ns - 4 * SECOND) <= FADE_STEP_NS + 3 * MILLISECOND
    assert lost[np.argmax(lost) :].all()
    one = FadeLoss(Ramp(), 4.0)
    assert [one.lost(1, int(at)) for at in at_ns] == lost.tolist()
    parts = FadeLoss(Ramp(), 4.0)
    assert (
        np.concatenate(
            [parts.lost_many(at_ns[i : i + 2], 1, 1) for i in range(0, len(at_ns), 2)]
        ).tolist()
        == lost.tolist()
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jitter(rng(), mean_ns=-1, spread_ns=0),
        lambda: Jitter(rng(), mean_ns=0, spread_ns=math.nan),
        lambda: Jitter(rng(), mean_ns=0, spread_ns=0, correlation=1.0),
        lambda: Jitter(rng(), mean_ns=0, spread_ns=0, shape="odd"),  # type: ignore[arg-type]
        lambda: Reorder(rng(), probability=2, late_ns_max=10),
        lambda: Reorder(rng(), probability=0.1, late_ns_max=0),
        lambda: Reorder(rng(), probability=0.1, late_ns_max=10, gap=0),
        lambda: Duplicate(rng(), probability=-1),
        lambda: Duplicate(rng(), probability=0, later_ns_max=-1),
        lambda: Corrupt(rng(), probability=0.1, bits_max=0),
        lambda: Corrupt(rng(), probability=0.1, correlation=-0.1),
        lambda: Limit(-1),
        lambda: TimeSlots(period_ns=0),
    ],
)
def test_nonsense_is_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()
