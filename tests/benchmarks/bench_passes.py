"""Passes of 1000 satellites over 10 stations in a day, beside Skyfield's on a few of them.

python -m tests.benchmarks.bench_passes
"""

from __future__ import annotations

import datetime
import random
import time

from skyfield.api import EarthSatellite, load, wgs84

from link_models.orbit.elements import Satellite
from link_models.orbit.geometry import Station
from link_models.orbit.passes import find_passes
from tests.strategies.orbits import EPOCH_MS, circular

DAY_MS = 86_400_000
SKYFIELD_PAIRS = 20


def main() -> None:
    """Print passes, seconds, and the ratio to Skyfield for a pair of satellite and station."""
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
    best, count = float("inf"), 0
    for _ in range(3):
        begin = time.perf_counter()
        count = len(find_passes(satellites, stations, EPOCH_MS, EPOCH_MS + DAY_MS))
        best = min(best, time.perf_counter() - begin)
    print(f"{count} passes of 1000 satellites over 10 stations in 24 h: {best:.2f} s")

    timescale = load.timescale(builtin=True)
    epoch = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    first = timescale.from_datetime(epoch + datetime.timedelta(milliseconds=EPOCH_MS))
    last = timescale.from_datetime(epoch + datetime.timedelta(milliseconds=EPOCH_MS + DAY_MS))
    site = wgs84.latlon(stations[0].latitude_deg, stations[0].longitude_deg)
    begin = time.perf_counter()
    for satellite in satellites[:SKYFIELD_PAIRS]:
        EarthSatellite.from_satrec(satellite.satrec, timescale).find_events(
            site, first, last, altitude_degrees=5.0
        )
    pair_s = (time.perf_counter() - begin) / SKYFIELD_PAIRS
    ours_ms = best / (len(satellites) * len(stations)) * 1000
    print(f"a pair of satellite and station: {ours_ms:.2f} ms; Skyfield {pair_s * 1000:.1f} ms")


if __name__ == "__main__":
    main()
