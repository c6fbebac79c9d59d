"""Contact plans: from orbits, from rates, out of other plans, and who serves whom.

plan = plan_passes(satellites, stations, links, start_ms, end_ms)
booked = schedule(plan, {"dtn://gs1/": 1, "dtn://gs2/": 2}, config=ScheduleConfig(guard_ms=30_000))
booked.plan, booked.gap
"""

from link_models.planner.crosslinks import plan_crosslinks
from link_models.planner.draws import possible_day
from link_models.planner.edit import Probability, confident, tidy, with_weather, without
from link_models.planner.light import LIGHT_ERROR_NS
from link_models.planner.passes import PassLink, plan_passes
from link_models.planner.rates import rate_contacts
from link_models.planner.schedule import (
    Fairness,
    Schedule,
    ScheduleConfig,
    Service,
    schedule,
)

__all__ = [
    "LIGHT_ERROR_NS",
    "Fairness",
    "PassLink",
    "Probability",
    "Schedule",
    "ScheduleConfig",
    "Service",
    "confident",
    "plan_crosslinks",
    "plan_passes",
    "possible_day",
    "rate_contacts",
    "schedule",
    "tidy",
    "with_weather",
    "without",
]
