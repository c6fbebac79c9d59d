"""The time of an emulated link: real time less its pauses, and the scenario's time beside it.

Link time counts nanoseconds from the start of the emulator and stands still in a pause; delays,
rates and jitter live in it.  Scenario time says where in its schedule the link is (windows, the
course of the light time, disturbances with a time): it runs `factor` times as fast, can be set,
and may go round in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from link_models.channel import FOREVER_NS
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

FACTOR_MIN, FACTOR_MAX = 1e-4, 1e5
"""Scenario seconds in a second: from an hour for a third of a second to a day in less than one."""

LOOP_NS_MIN = SECOND // 100
"""Shortest loop in link time: each turn makes new channels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeMapping:
    """How scenario time goes along with real time.  Raises `ConfigError` for what makes no
    sense."""

    start_ns: int = 0
    """Scenario time when the emulator starts."""

    factor: float = 1.0
    """Scenario seconds in a second: 60 shows an hour of passes in a minute.  The schedule is
    what gets faster; rates, queues and bursts stay as they are, and so do light times unless
    `scale_delay` is set."""

    loop_ns: int = 0
    """Scenario time from `start_ns` after which it is `start_ns` again; 0 never goes back."""

    scale_delay: bool = False
    """Divide light times by `factor` too."""

    def __post_init__(self) -> None:
        check_factor(self.factor)
        if self.loop_ns < 0 or 0 < self.loop_ns / self.factor < LOOP_NS_MIN:
            raise ConfigError("loop", "is too short", f"at least {LOOP_NS_MIN / SECOND:g} s a turn")


def check_factor(factor: float) -> None:
    """Raise `ConfigError` unless scenario time can run at this pace."""
    if not FACTOR_MIN <= factor <= FACTOR_MAX:
        raise ConfigError(
            "factor", f"{factor:g} is out of range", f"{FACTOR_MIN:g}..{FACTOR_MAX:g}"
        )


class Stretch(NamedTuple):
    """Link time on which scenario time runs evenly: until the loop is over or somebody sets it."""

    link_ns: int
    scenario_ns: int
    factor: float
    end_ns: int
    """Link time at which the loop begins anew."""

    def scenario(self, link_ns: float) -> float:
        """Scenario time at a link time."""
        return self.scenario_ns + (link_ns - self.link_ns) * self.factor

    def link(self, scenario_ns: float) -> int:
        """Link time at which it is `scenario_ns`; what never ends stays so."""
        if abs(scenario_ns) >= FOREVER_NS:
            return int(scenario_ns)
        return self.link_ns + round((scenario_ns - self.scenario_ns) / self.factor)

    @property
    def plain(self) -> bool:
        """Whether both times are the same."""
        return self.factor == 1.0 and self.link_ns == self.scenario_ns


class EmulatorTime:
    """Both times of one emulator."""

    def __init__(self, clock: Callable[[], int], schedule: TimeMapping) -> None:
        """`clock` gives monotonic nanoseconds."""
        self.schedule = schedule
        self._clock = clock
        self._epoch_ns = clock()
        self._held_ns: int | None = None
        self.stretch = self._begin(0, schedule.start_ns, schedule.factor)

    @property
    def paused(self) -> bool:
        """Whether time stands still."""
        return self._held_ns is not None

    def now(self) -> int:
        """Link time in nanoseconds."""
        held_ns = self._held_ns
        return self._clock() - self._epoch_ns if held_ns is None else held_ns

    def pause(self) -> None:
        """Let time stand still; what is under way stays under way."""
        self._held_ns = self.now()

    def resume(self) -> None:
        """Let time go on from where it was."""
        if self._held_ns is not None:
            self._epoch_ns = self._clock() - self._held_ns
            self._held_ns = None

    def scenario_ns(self) -> int:
        """Scenario time now."""
        now_ns = self.now()
        return round(self.at(now_ns).scenario(now_ns))

    def at(self, now_ns: int) -> Stretch:
        """The stretch that holds at link time `now_ns`, not earlier than any asked for before."""
        stretch = self.stretch
        if now_ns < stretch.end_ns:
            return stretch
        schedule = self.schedule
        turn_ns = round(schedule.loop_ns / stretch.factor)
        begin_ns = stretch.end_ns + (now_ns - stretch.end_ns) // turn_ns * turn_ns
        self.stretch = self._begin(begin_ns, schedule.start_ns, stretch.factor)
        return self.stretch

    def set(self, scenario_ns: int | None = None, factor: float | None = None) -> None:
        """Set scenario time, its pace, or both.  Raises `ConfigError`."""
        now_ns = self.now()
        stretch = self.at(now_ns)
        if factor is None:
            factor = stretch.factor
        check_factor(factor)
        if scenario_ns is None:
            scenario_ns = round(stretch.scenario(now_ns))
        self.stretch = self._begin(now_ns, scenario_ns, factor)

    def _begin(self, link_ns: int, scenario_ns: int, factor: float) -> Stretch:
        schedule = self.schedule
        if not schedule.loop_ns:
            return Stretch(link_ns, scenario_ns, factor, FOREVER_NS)
        if round(schedule.loop_ns / factor) < LOOP_NS_MIN:
            raise ConfigError("factor", "leaves too little time for a turn of the loop")
        past_ns = (scenario_ns - schedule.start_ns) % schedule.loop_ns
        end_ns = link_ns + max(1, round((schedule.loop_ns - past_ns) / factor))
        return Stretch(link_ns, schedule.start_ns + past_ns, factor, end_ns)
