"""Passes, crosslinks, eclipses and Sun outages of a day; passes beside Skyfield's on a few pairs.

python -m tests.benchmarks.bench_passes
"""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Callable, Sized
from functools import partial

from skyfield.api import EarthSatellite, load, wgs84

from link_models.orbit.constellation import walker
from link_models.orbit.crosslink import CrosslinkLimits, all_pairs, find_crosslinks, plus_grid
from link_models.orbit.elements import Satellite
from link_models.orbit.geometry import Station
from link_models.orbit.passes import find_passes
from link_models.orbit.sun import eclipses, sun_outages
from tests.strategies.orbits import EPOCH_MS, circular

DAY_MS = 86_400_000
SKYFIELD_PAIRS = 20
RADIO = CrosslinkLimits(range_max_m=5_000_000.0)
OPTICAL = CrosslinkLimits(
    range_max_m=5_000_000.0, pointing_rate_max_deg_s=1.0, sun_exclusion_deg=10.0
)
SHELLS = ((6, 4, 1, True), (10, 10, 3, False), (72, 22, 17, False))
"""Planes, satellites in each, phasing, and whether all pairs are tried; else neighbours."""


def best_of(what: str, search: Callable[[], Sized], rounds: int = 3) -> float:
    """Print and return the least processor time of a search, in seconds."""
    best, count = float("inf"), 0
    for _ in range(rounds):
        begin = time.process_time()
        count = len(search())
        best = min(best, time.process_time() - begin)
    print(f"{what}: {count} in {best:.2f} s")
    return best


def main() -> None:
    """Print what was found and the seconds it took; and the ratio to Skyfield for passes."""
    rng = random.Random(1)
    satellites: list[Satellite] = [
        circular(
            rng.uniform(400.0, 1200.0),
            inclination=rng.uniform(30.0, 100.0),
            node=rng.uniform(0.0, 360.0),
            anomaly=rng.uniform(0.0, 360.0),
        )
        for _ in range(1000)
    ]
    stations = [
        Station(
            name=str(i),
            latitude_deg=rng.uniform(-80.0, 80.0),
            longitude_deg=rng.uniform(0.0, 360.0),
        )
        for i in range(10)
    ]
    day = (EPOCH_MS, EPOCH_MS + DAY_MS)
    fleet = "1000 satellites, 24 h"
    passes_s = best_of(
        f"passes over 10 stations, {fleet}", lambda: find_passes(satellites, stations, *day)
    )
    best_of(f"eclipses, {fleet}", lambda: eclipses(satellites, *day))
    best_of(
        f"Sun outages at 10 stations, {fleet}",
        lambda: sun_outages(satellites, stations, *day, 0.6),
    )
    for planes, per_plane, phasing, everybody in SHELLS:
        total = planes * per_plane
        shell = walker("s", total, planes, phasing, 53.0, 550e3, EPOCH_MS)
        pairs = all_pairs(total) if everybody else plus_grid(planes, per_plane, phasing)
        for name, limits in (("radio", RADIO), ("optical", OPTICAL)):
            best_of(
                f"{name} crosslinks, {total} satellites, {len(pairs)} pairs, 24 h",
                partial(find_crosslinks, shell, pairs, *day, limits),
                rounds=1 if total > 1000 else 3,
            )
    _skyfield(satellites, stations[0], passes_s / (len(satellites) * len(stations)))


def _skyfield(satellites: list[Satellite], station: Station, our_pair_s: float) -> None:
    timescale = load.timescale(builtin=True)
    epoch = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    first = timescale.from_datetime(epoch + datetime.timedelta(milliseconds=EPOCH_MS))
    last = timescale.from_datetime(epoch + datetime.timedelta(milliseconds=EPOCH_MS + DAY_MS))
    site = wgs84.latlon(station.latitude_deg, station.longitude_deg)
    begin = time.process_time()
    for satellite in satellites[:SKYFIELD_PAIRS]:
        EarthSatellite.from_satrec(satellite.satrec, timescale).find_events(
            site, first, last, altitude_degrees=5.0
        )
    pair_s = (time.process_time() - begin) / SKYFIELD_PAIRS
    print(
        f"passes of a pair of satellite and station: {our_pair_s * 1000:.2f} ms; "
        f"Skyfield {pair_s * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
