"""Station scheduling: which antenna serves which satellite, and when it turns to the next.

A station has some antennas, a satellite some terminals; more satellites are in view than can be
served.  `schedule` chooses the services, whole passes or parts of them, that carry most octets
together, each weighted with its satellite and with the confidence in its contact.  It says how
much better any schedule could be at most, and what plain rules would have given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from link_models.planner.edit import clipped
from link_models.planner.problem import Floats, Problem, Span, Visit, make_problem
from link_models.planner.rules import first_come, longest_first, snapped, value_of
from link_models.planner.search import Found, ScheduleSearch
from stack.contacts.plan import Contact, Plan
from stack.core.errors import ConfigError

Fairness = Literal["total", "proportional", "max-min"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """How antennas are given to satellites.  Raises `ConfigError` for what makes no sense."""

    guard_ms: int = 30_000
    """An antenna needs this long between two satellites, to slew and to lock.  Default: half a
    turn at 5 to 10 degrees a second, which drives of antennas for low orbits reach, is 18 to 36 s.
    With 0 antennas change at every step of a rate, for seconds."""

    handover_ms: int = 0
    """A terminal needs this long between two stations.  Default: 0, an antenna that sees all
    stations at once."""

    minimum_ms: int = 0
    """Shortest service.  Default: 0, any is worth booking."""

    cut: bool = True
    """Whether passes may be served in part; without it whole or not at all."""

    fairness: Fairness = "total"
    """`total`: most octets in all.  `proportional`: the largest sum of the logarithms of what
    each satellite gets (twice as much for one is worth half as much for another).  `max-min`: the
    satellite that gets least for its weight gets as much as it can.  The last two are approached
    by weights in some rounds, not proved; hardly anybody goes without."""

    gap: float = 0.002
    """The search ends when the schedule is within this share of what is possible at most."""

    rounds: int = 20
    """Most rounds of the search.  More narrow the bound; a round takes half a second for a
    hundred satellites over ten stations in a day."""

    def __post_init__(self) -> None:
        for key in ("guard_ms", "handover_ms", "minimum_ms"):
            if not 0 <= getattr(self, key) <= 86_400_000:
                raise ConfigError(key, "0 to a day in milliseconds")
        if not 0 <= self.gap < 1:
            raise ConfigError("gap", "a share, 0 to below 1")
        if not 1 <= self.rounds <= 1000:
            raise ConfigError("rounds", "1 to 1000")


@dataclass(frozen=True, slots=True)
class Service:
    """A satellite that an antenna serves for a time."""

    station: str
    antenna: int
    """Of the station, from 1."""

    satellite: str
    start_ms: int
    end_ms: int
    whole: bool
    """The pass is served from its beginning to its end."""

    volume_bytes: float
    """What its contacts carry, both ways."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who serves whom.  Values are octets weighted with satellites and confidence."""

    plan: Plan
    """The contacts of the services, and all that are not between a station and a satellite."""

    services: tuple[Service, ...]
    """By start."""

    passes: int
    """Passes that there were to serve."""

    value: float
    bound: float
    """No schedule with the same moments to begin and end is worth more (of `total` value)."""

    offered: float
    """All passes together, were there antennas enough."""

    first_come: float
    """What the rule "first come, first served" gives."""

    longest_first: float
    """What the rule "longest pass first, whole passes only" gives."""

    @property
    def gap(self) -> float:
        """By which share of the bound the schedule may fall short."""
        return (self.bound - self.value) / self.bound if self.bound > 0 else 0.0


def schedule(
    plan: Plan,
    antennas: Mapping[str, int],
    *,
    terminals: Mapping[str, int] | int = 1,
    weights: Mapping[str, float] | None = None,
    config: ScheduleConfig | None = None,
) -> Schedule:
    """Give antennas to satellites.

    `antennas` says how many each station has; contacts of these stations with other nodes are
    scheduled, and all others stay as they are.  `terminals` is how many stations a satellite can
    serve at a time, for all or by node (left out: 1); `weights` what its octets are worth (left
    out: 1).  The same arguments give the same schedule.

    Raises `ConfigError` for numbers that make no sense and for contacts without a limit to their
    rate.
    """
    config = config or ScheduleConfig()
    weights = weights or {}
    _check(antennas, terminals, weights)
    problem = make_problem(
        plan,
        antennas,
        terminals,
        weights,
        guard_ms=config.guard_ms,
        handover_ms=config.handover_ms,
        minimum_ms=config.minimum_ms,
        cut=config.cut,
    )
    if not problem.visits:
        return Schedule(plan, (), 0, 0.0, 0.0, 0.0, 0.0, 0.0)
    search = ScheduleSearch(problem)
    rule = first_come(problem, cut=config.cut)
    longest = longest_first(problem)
    seeds = [snapped(problem, one, len(search.antennas)) for one in (rule, longest)]
    bound, found = search.bounded(config.rounds, config.gap, seeds)
    if config.fairness != "total":
        found = _fair(search, found, weights, config)
    last = problem.first[1:] - 1
    services = _services(problem, found)
    return Schedule(
        plan=_planned(plan, problem, services),
        services=services,
        passes=len(problem.visits),
        value=found.value,
        bound=bound,
        offered=float(problem.worth[last].sum()),
        first_come=value_of(problem, rule),
        longest_first=value_of(problem, longest),
    )


def _check(
    antennas: Mapping[str, int],
    terminals: Mapping[str, int] | int,
    weights: Mapping[str, float],
) -> None:
    for name, count in antennas.items():
        if not 1 <= count <= 1000:
            raise ConfigError("antennas", f"{name} has {count}", "use 1 to 1000")
    many = {"": terminals} if isinstance(terminals, int) else terminals
    for name, count in many.items():
        if not 1 <= count <= 1000:
            raise ConfigError("terminals", f"{name or 'each'} has {count}", "use 1 to 1000")
    for name, weight in weights.items():
        if not 0 < weight <= 1e6:
            raise ConfigError("weights", f"{name} weighs {weight}", "use more than 0, at most 1e6")


# -- fairness --------------------------------------------------------------------------------

_STEEPNESS: Mapping[Fairness, tuple[float, ...]] = {
    "proportional": (1.0,) * 12,
    "max-min": (1.0,) * 12 + (2.0,) * 8,
}
"""Alpha of the alpha-fair family (Mo and Walrand, 2000) in each round: 1 is proportional fairness,
infinity max-min.  More rounds change little; a steeper end makes them swing."""


def _fair(
    search: ScheduleSearch, found: Found, weights: Mapping[str, float], config: ScheduleConfig
) -> Found:
    """Weigh each satellite by what it still lacks, again and again, and keep the fairest.

    The weights are the slopes of the utility at the mean of the rounds so far, as in the gradient
    scheduling of radio cells (Stolyar, 2005), which makes the mean converge to the optimum.
    """
    problem = search.problem
    weight = np.array([weights.get(name, 1.0) for name in problem.satellites])
    satellite = problem.satellite[problem.owner]
    offered = np.zeros(len(weight))
    np.add.at(offered, problem.satellite, problem.worth[problem.first[1:] - 1])
    # A satellite with nothing is not infinitely far behind: it has a thousandth of its passes.
    least = np.maximum(1e-3 * offered / weight, 1e-9)
    mean = _octets(problem, found, weight)
    best, score = found, _utility(mean, least, weight, config.fairness)
    for number, steep in enumerate(_STEEPNESS[config.fairness], 1):
        # Of each weighted octet.
        slope = (mean + least) ** -steep
        if config.fairness == "max-min":
            slope *= weight ** (steep - 2.0)
        worth = problem.worth * (slope / slope.max())[satellite]
        fairer = search.ascended(search.sequential(worth), worth)
        got = _octets(problem, fairer, weight)
        mean = mean + (got - mean) / (number + 1)
        reached = _utility(got, least, weight, config.fairness)
        if reached > score:
            best, score = fairer, reached
    return best


def _octets(problem: Problem, found: Found, weight: Floats) -> Floats:
    """What each satellite gets, without its weight."""
    got = np.zeros(len(weight))
    for _, day in found.days:
        for p, start, end in day:
            got[problem.satellite[p]] += problem.worth[end] - problem.worth[start]
    return got / weight


def _utility(
    octets: Floats, least: Floats, weight: Floats, fairness: Fairness
) -> tuple[float, float]:
    if fairness == "max-min":
        return float((octets / weight).min()), float(octets.sum())
    return float((weight * np.log(octets + least)).sum()), 0.0


# -- results ---------------------------------------------------------------------------------


def _services(problem: Problem, found: Found) -> tuple[Service, ...]:
    """Services by antenna.  What two antennas of a station did one after the other for one pass
    becomes one service: that takes them no more time, so there is always an antenna for it."""
    services = []
    for station, count in enumerate(problem.antennas):
        spans = sorted(span for s, day in found.days if s == station for span in day)
        whole: list[Span] = []
        for p, start, end in spans:
            if whole and whole[-1][0] == p and whole[-1][2] == start:
                whole[-1] = (p, whole[-1][1], end)
            else:
                whole.append((p, start, end))
        whole.sort(key=lambda span: (problem.moments_ms[span[1]], span[0]))
        ready_ms = [-(1 << 62)] * count
        for p, start, end in whole:
            start_ms, end_ms = int(problem.moments_ms[start]), int(problem.moments_ms[end])
            antenna = next(i for i, free_ms in enumerate(ready_ms) if free_ms <= start_ms)
            ready_ms[antenna] = end_ms + problem.guard_ms
            services.append(_service(problem.visits[p], antenna + 1, start_ms, end_ms))
    services.sort(key=lambda one: (one.start_ms, one.station, one.antenna))
    return tuple(services)


def _service(visit: Visit, antenna: int, start_ms: int, end_ms: int) -> Service:
    return Service(
        visit.station,
        antenna,
        visit.satellite,
        start_ms,
        end_ms,
        (start_ms, end_ms) == (visit.start_ms, visit.end_ms),
        sum(one.volume_bytes for one in clipped(visit.contacts, start_ms, end_ms)),
    )


def _planned(plan: Plan, problem: Problem, services: Sequence[Service]) -> Plan:
    visits: dict[tuple[str, str], list[Visit]] = {}
    for visit in problem.visits:
        visits.setdefault((visit.station, visit.satellite), []).append(visit)
    served: list[Contact] = []
    for one in services:
        for visit in visits[one.station, one.satellite]:
            if visit.start_ms <= one.start_ms and one.end_ms <= visit.end_ms:
                served.extend(clipped(visit.contacts, one.start_ms, one.end_ms))
    scheduled = {contact for visit in problem.visits for contact in visit.contacts}
    others = [contact for contact in plan.contacts if contact not in scheduled]
    return plan.with_contacts([*others, *served])
