"""All passes of satellites over stations: none lost, ends to a fraction of a millisecond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from link_models.orbit.fitness import LOW_REV_DAY, age_days, expected_error_s
from link_models.orbit.geometry import LIGHT_KM_S, Floats, Ints, Look, Sight, Station
from link_models.orbit.mean_elements import Satellite
from link_models.orbit.search import PassSearch
from stack.core.errors import ConfigError

RATE_SAMPLES = 64
"""Samples of the range rate in passes of orbits that are not circles; of a maximum between two of
them 0.1 % is missing."""

CIRCLE_ECCENTRICITY = 0.01
"""Up to this the range rate of a low pass is largest at one of its ends."""

WINDOW_MS_MAX = 400 * 86_400_000
"""Longest search: elements mean nothing a year later."""


@dataclass(frozen=True, slots=True)
class Pass:
    """A period in which a satellite is above the mask of a station.  DTN milliseconds.

    `rise_ms` is rounded up and `set_ms` down, so that the satellite is up in all of it.  A pass
    that the search window cuts begins or ends with the window.
    """

    station: str
    satellite: str
    rise_ms: int
    culmination_ms: int
    set_ms: int
    max_elevation_deg: float


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes as arrays of equal length, sorted by satellite, station and time.

    `satellite` and `station` are places in the sequences that were searched.  Rise and set are
    exact to 0.02 ms, culmination to about 1 ms (more where the elevation hardly changes).
    """

    satellite: Ints
    station: Ints
    rise_ms: Floats
    culmination_ms: Floats
    set_ms: Floats
    max_elevation_deg: Floats
    lost: tuple[int, ...] = ()
    """Satellites for which SGP4 failed at some time in the window, or that had decayed by then;
    after that they have no passes."""

    def __len__(self) -> int:
        return len(self.rise_ms)


def check_window(start_ms: int, end_ms: int) -> None:
    """Raise `ConfigError` for a window that is empty or longer than `WINDOW_MS_MAX`."""
    if not 0 < end_ms - start_ms <= WINDOW_MS_MAX:
        raise ConfigError("end_ms", "the window must end after its start, within 400 days")


def find_passes(
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    start_ms: int,
    end_ms: int,
    *,
    dut1_s: float = 0.0,
) -> Passes:
    """Every pass between two DTN times (UTC).

    Passes under a millisecond long are left out.  Raises `ConfigError` for a window that is empty
    or longer than `WINDOW_MS_MAX`, or a `dut1_s` beyond 0.9 s.
    """
    check_window(start_ms, end_ms)
    search = PassSearch(satellites, stations, float(start_ms), float(end_ms), dut1_s)
    raw = search.run()
    order = np.lexsort((raw.rise, raw.pair))
    satellite, station = np.divmod(raw.pair[order], max(1, len(stations)))
    return Passes(
        satellite=satellite,
        station=station,
        rise_ms=raw.rise[order],
        culmination_ms=raw.top[order],
        set_ms=raw.down[order],
        max_elevation_deg=np.degrees(np.arcsin(np.minimum(raw.sine[order], 1.0))),
        lost=tuple(sorted(search.lost)),
    )


def list_passes(
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    start_ms: int,
    end_ms: int,
    *,
    dut1_s: float = 0.0,
) -> list[Pass]:
    """`find_passes` as objects with names, sorted by time of rise."""
    found = find_passes(satellites, stations, start_ms, end_ms, dut1_s=dut1_s)
    listed = [
        Pass(stations[s].name, satellites[k].name, math.ceil(rise), round(top), int(down), high)
        for k, s, rise, top, down, high in zip(
            found.satellite.tolist(),
            found.station.tolist(),
            found.rise_ms.tolist(),
            found.culmination_ms.tolist(),
            found.set_ms.tolist(),
            found.max_elevation_deg.tolist(),
            strict=True,
        )
    ]
    listed.sort(key=lambda p: (p.rise_ms, p.station, p.satellite))
    return listed


@dataclass(frozen=True, slots=True)
class PassRow:
    """One line of a pass prediction, for people and antennas."""

    station: str
    satellite: str
    rise_ms: int
    rise_azimuth_deg: float
    culmination_ms: int
    culmination_azimuth_deg: float
    max_elevation_deg: float
    min_range_km: float
    """Range at culmination."""

    set_ms: int
    set_azimuth_deg: float
    max_range_rate_m_s: float
    """Fastest change of the range, in either direction: what the Doppler shift follows."""

    elements_age_days: float
    """From the epoch of the elements to the rise, or from that to the epoch."""

    expected_error_s: float
    """By which the pass may come earlier or later, at least (`fitness.expected_error_s`)."""

    @property
    def duration_s(self) -> float:
        """Seconds above the mask."""
        return (self.set_ms - self.rise_ms) / 1000

    def max_doppler_hz(self, carrier_hz: float) -> float:
        """Largest one-way Doppler shift of a carrier in the pass, without its sign."""
        return self.max_range_rate_m_s * carrier_hz / (LIGHT_KM_S * 1000.0)


def pass_table(
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    start_ms: int,
    end_ms: int,
    *,
    dut1_s: float = 0.0,
) -> list[PassRow]:
    """Passes with directions and ranges, sorted by time of rise."""
    found = find_passes(satellites, stations, start_ms, end_ms, dut1_s=dut1_s)
    sight = Sight(satellites, stations, dut1_s)

    def looks(times_ms: Floats) -> Look:
        return sight.look(found.satellite, found.station, times_ms)

    rise, top, down = map(looks, (found.rise_ms, found.culmination_ms, found.set_ms))
    fastest_km_s = np.maximum(np.abs(rise.range_rate_km_s), np.abs(down.range_rate_km_s))
    _look_inside(fastest_km_s, satellites, found, sight)
    rows = [
        PassRow(
            station=stations[found.station[i]].name,
            satellite=satellites[found.satellite[i]].name,
            rise_ms=math.ceil(found.rise_ms[i]),
            rise_azimuth_deg=float(rise.azimuth_deg[i]),
            culmination_ms=round(found.culmination_ms[i]),
            culmination_azimuth_deg=float(top.azimuth_deg[i]),
            max_elevation_deg=float(found.max_elevation_deg[i]),
            min_range_km=float(top.range_km[i]),
            set_ms=int(found.set_ms[i]),
            set_azimuth_deg=float(down.azimuth_deg[i]),
            max_range_rate_m_s=float(fastest_km_s[i]) * 1000.0,
            elements_age_days=age_days(satellites[found.satellite[i]], found.rise_ms[i]),
            expected_error_s=expected_error_s(satellites[found.satellite[i]], found.rise_ms[i]),
        )
        for i in range(len(found))
    ]
    rows.sort(key=lambda row: (row.rise_ms, row.station, row.satellite))
    return rows


def _look_inside(
    fastest_km_s: Floats, satellites: Sequence[Satellite], found: Passes, sight: Sight
) -> None:
    """Raise the range rates of passes whose fastest moment need not be one of their ends."""
    simple = np.array(
        [
            one.satrec.ecco < CIRCLE_ECCENTRICITY
            and one.satrec.no_kozai * 1440.0 / (2.0 * math.pi) > LOW_REV_DAY
            for one in satellites
        ],
        dtype=bool,
    )
    others = np.flatnonzero(~simple[found.satellite])
    satellite, station = found.satellite[others], found.station[others]
    rise, length = found.rise_ms[others], (found.set_ms - found.rise_ms)[others]
    for share in np.linspace(0.0, 1.0, RATE_SAMPLES + 1)[1:-1].tolist():
        seen = sight.look(satellite, station, rise + length * share)
        fastest_km_s[others] = np.maximum(fastest_km_s[others], np.abs(seen.range_rate_km_s))
