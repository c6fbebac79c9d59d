"""Contact plans: from orbits, from rates, out of other plans, and who serves whom.

plan = plan_passes(satellites, stations, links, start_ms, end_ms)
booked = schedule(plan, {"dtn://gs1/": 1, "dtn://gs2/": 2}, config=ScheduleConfig(guard_ms=30_000))
booked.plan, booked.gap
"""

from link_models.planner.crosslinks import plan_crosslinks as plan_crosslinks
from link_models.planner.draws import possible_day as possible_day
from link_models.planner.edit import Probability as Probability
from link_models.planner.edit import confident as confident
from link_models.planner.edit import tidy as tidy
from link_models.planner.edit import with_weather as with_weather
from link_models.planner.edit import without as without
from link_models.planner.light import LIGHT_ERROR_NS as LIGHT_ERROR_NS
from link_models.planner.passes import PassLink as PassLink
from link_models.planner.passes import plan_passes as plan_passes
from link_models.planner.rates import rate_contacts as rate_contacts
from link_models.planner.schedule import Fairness as Fairness
from link_models.planner.schedule import Schedule as Schedule
from link_models.planner.schedule import ScheduleConfig as ScheduleConfig
from link_models.planner.schedule import Service as Service
from link_models.planner.schedule import schedule as schedule
