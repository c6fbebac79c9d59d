"""Contact plans and schedules of a day, beside plain rules of scheduling.

python -m tests.benchmarks.bench_planner
"""

from __future__ import annotations

import time

from link_models.budget import preset
from link_models.orbit.constellation import walker
from link_models.orbit.geometry import Station
from link_models.planner import Fairness, PassLink, ScheduleConfig, plan_passes, schedule
from stack.contacts.plan import Plan
from stack.core.clock import dtn_from_iso

START = dtn_from_iso("2026-10-01T00:00:00Z")
DAY_MS = 86_400_000
SITES = (
    ("svalbard", 78.23, 15.39),
    ("kiruna", 67.86, 20.96),
    ("inuvik", 68.32, -133.55),
    ("troll", -72.01, 2.53),
    ("punta-arenas", -52.94, -70.85),
    ("matera", 40.65, 16.70),
    ("hawaii", 19.01, -155.66),
    ("hartebeesthoek", -25.89, 27.69),
    ("dongara", -29.05, 115.35),
    ("singapore", 1.35, 103.82),
)
CASES: tuple[tuple[int, int, int, bool, Fairness], ...] = (
    (24, 3, 1, True, "total"),
    (100, 10, 1, True, "total"),
    (100, 10, 1, False, "total"),
    (100, 10, 2, True, "total"),
    (100, 10, 1, True, "proportional"),
    (100, 10, 1, True, "max-min"),
)
"""Satellites, stations, antennas of each, whether passes may be cut, and who gets what."""


def made(satellites: int, stations: int) -> Plan:
    """The plan of a day, with a line about it."""
    planes = max(1, satellites // 10)
    count = satellites // planes * planes
    craft = walker("s", count, planes, 1, 97.6, 550e3, START)
    sites = {
        f"dtn://{name}/": Station(name=name, latitude_deg=north, longitude_deg=east)
        for name, north, east in SITES[:stations]
    }
    begin = time.process_time()
    plan = plan_passes(
        {f"dtn://s{number}/": one for number, one in enumerate(craft)},
        sites,
        PassLink(uplink=preset("s-band-up"), downlink=preset("x-band-down")),
        START,
        START + DAY_MS,
    )
    print(f"{count} x {stations}: {plan} in {time.process_time() - begin:.1f} s")
    return plan


def main() -> None:
    """Print for each case what the schedule is worth, beside what rules give and the bound."""
    plans: dict[tuple[int, int], Plan] = {}
    for satellites, stations, antennas, cut, fairness in CASES:
        key = (satellites, stations)
        plan = plans[key] if key in plans else plans.setdefault(key, made(*key))
        config = ScheduleConfig(guard_ms=30_000, cut=cut, fairness=fairness)
        counts = {f"dtn://{name}/": antennas for name, _, _ in SITES[:stations]}
        begin = time.process_time()
        found = schedule(plan, counts, config=config)
        seconds = time.process_time() - begin
        got: dict[str, float] = {}
        for one in found.services:
            got[one.satellite] = got.get(one.satellite, 0.0) + one.volume_bytes
        print(
            f"{satellites} x {stations} x {antennas}, {'cut' if cut else 'whole'}, {fairness}: "
            f"{len(found.services)} services in {found.passes} passes, {seconds:.1f} s; "
            f"{found.value / found.first_come - 1:+.1%} on first come, "
            f"{found.value / found.longest_first - 1:+.1%} on longest first, "
            f"gap {found.gap:.2%}; least {min(got.values()) / 1e9:.0f} GB of "
            f"{sum(got.values()) / len(got) / 1e9:.0f}"
        )


if __name__ == "__main__":
    main()
