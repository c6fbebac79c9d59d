"""Link time and scenario time."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from link_models.channel import FOREVER_NS, ChannelConfig, Delay, Window
from link_models.emulator import TimeMapping
from link_models.emulator.direction import on_stretch
from link_models.emulator.world import FACTOR_MAX, EmulatorTime, Stretch
from stack.core.clock import SECOND
from stack.core.errors import ConfigError


class Clock:
    def __init__(self) -> None:
        self.ns = 17 * SECOND

    def __call__(self) -> int:
        return self.ns


def test_scenario_time_runs_faster_and_from_its_start() -> None:
    clock = Clock()
    world = EmulatorTime(clock, TimeMapping(start_ns=100 * SECOND, factor=60))
    assert (world.now(), world.scenario_ns()) == (0, 100 * SECOND)
    clock.ns += 2 * SECOND
    assert (world.now(), world.scenario_ns()) == (2 * SECOND, 220 * SECOND)


def test_a_pause_stops_both_times() -> None:
    clock = Clock()
    world = EmulatorTime(clock, TimeMapping(factor=2))
    clock.ns += SECOND
    world.pause()
    world.pause()
    clock.ns += 50 * SECOND
    assert world.paused
    assert (world.now(), world.scenario_ns()) == (SECOND, 2 * SECOND)
    world.resume()
    world.resume()
    clock.ns += SECOND
    assert (world.now(), world.scenario_ns()) == (2 * SECOND, 4 * SECOND)


def test_a_loop_goes_round_without_drifting() -> None:
    clock = Clock()
    world = EmulatorTime(clock, TimeMapping(start_ns=5 * SECOND, factor=10, loop_ns=100 * SECOND))
    for turns in (0, 1, 2, 1000):  # a turn takes ten seconds
        clock.ns = 17 * SECOND + turns * 10 * SECOND + 3 * SECOND
        assert world.scenario_ns() == 35 * SECOND


def test_time_can_be_set_within_and_beyond_the_loop() -> None:
    clock = Clock()
    world = EmulatorTime(clock, TimeMapping(loop_ns=100 * SECOND))
    world.set(scenario_ns=30 * SECOND)
    assert world.scenario_ns() == 30 * SECOND
    clock.ns += 75 * SECOND
    assert world.scenario_ns() == 5 * SECOND
    world.set(factor=4)
    clock.ns += SECOND
    assert world.scenario_ns() == 9 * SECOND
    world.set(scenario_ns=250 * SECOND)
    assert world.scenario_ns() == 50 * SECOND


@pytest.mark.parametrize("factor", [0, -1, FACTOR_MAX * 2, float("nan"), float("inf")])
def test_a_pace_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ConfigError, match="factor"):
        TimeMapping(factor=factor)
    with pytest.raises(ConfigError, match="factor"):
        EmulatorTime(Clock(), TimeMapping()).set(factor=factor)


def test_a_loop_without_time_for_a_turn_is_refused() -> None:
    with pytest.raises(ConfigError, match="loop"):
        TimeMapping(loop_ns=SECOND, factor=1000)
    with pytest.raises(ConfigError, match="loop"):
        EmulatorTime(Clock(), TimeMapping(loop_ns=SECOND)).set(factor=1000)


@given(
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.sampled_from([0.01, 0.1, 1.0, 2.0, 60.0, 3600.0]),
    st.integers(-(10**15), 10**15),
)
@example(0, 562_949_953_421_313, 0.01, 0)
def test_there_and_back_is_the_same_time(
    link_ns: int, scenario_ns: int, factor: float, at_ns: int
) -> None:
    stretch = Stretch(link_ns, scenario_ns, factor, FOREVER_NS)
    # A float has 53 bits for the larger of both times; slow scenario time shows that enlarged.
    largest_ns = scenario_ns / factor + link_ns + abs(at_ns)
    assert abs(stretch.link(stretch.scenario(at_ns)) - at_ns) <= 1 + 2**-51 * largest_ns


def test_a_channel_on_a_faster_schedule() -> None:
    config = ChannelConfig(
        windows=(Window(0, 60 * SECOND, 1e6), Window(600 * SECOND, FOREVER_NS, 2e6)),
        delay=Delay([0, 600 * SECOND], [10e6, 40e6]),
    )
    stretch = Stretch(5 * SECOND, 0, 60.0, FOREVER_NS)
    fast = on_stretch(config, stretch, scale_delay=False)
    assert fast.windows == (
        Window(5 * SECOND, 6 * SECOND, 1e6),
        Window(15 * SECOND, FOREVER_NS, 2e6),
    )
    assert fast.delay.at_one(10 * SECOND) == pytest.approx(25e6)  # half way in the schedule
    scaled = on_stretch(config, stretch, scale_delay=True)
    assert scaled.delay.at_one(10 * SECOND) == pytest.approx(25e6 / 60)
    plain = Stretch(0, 0, 1.0, FOREVER_NS)
    assert on_stretch(config, plain, scale_delay=True) is config
