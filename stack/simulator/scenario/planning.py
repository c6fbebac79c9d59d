"""How the contact plan is made from what the sky offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from link_models.planner import ScheduleConfig
from stack.core.bounds import DayS, Share
from stack.core.checks import check, check_bounds
from stack.core.clock import MILLISECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningConfig:
    """What a mission planner would decide before the day."""

    scheduling: Literal["best", "none"] = "best"
    """`best` gives each antenna and terminal the passes that are worth most together; `none`
    lets every station serve every satellite in view, whatever antennas it has."""

    fairness: Literal["total", "proportional", "max-min"] = "total"
    """What "worth most" means.  `total`: most octets in all; `proportional`: the largest sum of
    the logarithms of what each satellite gets; `max-min`: the satellite that gets least for its
    weight gets as much as it can."""

    whole_passes: bool = False
    """Whether a pass is served from end to end or not at all."""

    guard_s: DayS = 30.0
    """An antenna needs this long from the end of one pass to the beginning of the next, to slew
    and to lock.  Default: see `link_models.planner.ScheduleConfig.guard_ms`."""

    edge_s: DayS = 0.0
    """Left out at either end of each pass."""

    minimum_s: DayS = 0.0
    """Contacts shorter than this are not worth booking."""

    merge_gap_s: DayS = 0.0
    """Contacts of one pair and rate that are no farther apart become one."""

    step_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Shortest step of a planned rate, where it comes from a link budget."""

    availability: Share = 0.0
    """Plan rates for what the atmosphere lets through this share of the year (0.99), by the
    station's attenuation table (`site`); 0: clear sky."""

    light_time_error_us: Annotated[float, Meta(ge=1, le=1e6)] = 10.0
    """Light times in the plan are this exact, microseconds."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check("availability", self.availability < 1, "a share of the year, 0 to below 1")

    def schedule(self) -> ScheduleConfig:
        """The same for the scheduler."""
        return ScheduleConfig(
            guard_ms=round(self.guard_s * 1000),
            minimum_ms=round(self.minimum_s * 1000),
            cut=not self.whole_passes,
            fairness=self.fairness,
        )

    @property
    def light_error_ns(self) -> int:
        """Error of light times in nanoseconds."""
        return round(self.light_time_error_us * MILLISECOND / 1000)
