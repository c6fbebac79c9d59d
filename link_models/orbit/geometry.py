"""Where satellites are as seen from stations: SGP4, Earth rotation, elevation, azimuth, range.

The chain is SGP4 (TEME) -> Greenwich mean sidereal time (IAU 1982, the one that TEME is defined
with) -> Earth-fixed -> local horizon at a WGS-84 station.  What is neglected, and its size:

* polar motion: up to 0.6 arc seconds, 18 m on the ground, 3 ms in the time of a low pass;
* UT1-UTC unless given as `dut1_s`: 464 m at the equator for each second, and less than 0.1 s
  since 2020; it moves a low pass by up to 60 ms for each second;
* refraction: 0.16 deg at 5 deg of elevation (a pass is seen about 2 s longer), none in range;
* the light time itself in the geometry: 0.2 microseconds of range;
* in the Doppler shift, all but its first order: 6 Hz at 8 GHz for a low orbit.

All are small against the elements, which are about 1 km (0.15 s) off at their epoch and 1 to 3 km
more a day later.  Times are DTN milliseconds as floats: exact to 0.2 microseconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sgp4.api import SatrecArray

from link_models.orbit.decay import decay_ms
from link_models.orbit.mean_elements import DAY_MS, JD_DTN_EPOCH, Satellite
from stack.core.bounds import Latitude, Longitude
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

EARTH_RADIUS_KM = 6378.137
"""Equatorial radius of WGS-84 (NGA.STND.0036, table 3.1)."""

EARTH_FLATTENING = 1.0 / 298.257223563
"""Flattening of WGS-84 (NGA.STND.0036, table 3.1)."""

EARTH_ROTATION_RAD_S = 7.29211514670698e-5
"""Rate of Greenwich mean sidereal time (derivative of the IAU 1982 polynomial at J2000)."""

LIGHT_KM_S = 299_792.458
"""Speed of light in vacuum, exact (SI)."""

DECAY_AHEAD_MS = 10 * DAY_MS
"""Decay is looked for so much further than asked: then later looks need no search of their own."""

ALTITUDE_M_MAX = 100_000.0
"""Stations above this are not on Earth."""

Altitude = Annotated[float, Meta(ge=-1000, le=ALTITUDE_M_MAX)]
Azimuth = Annotated[float, Meta(ge=0, le=360)]
Elevation = Annotated[float, Meta(ge=-10, le=89.9)]

HORIZON_POINTS_MAX = 3600
"""Most points of a horizon table: one for each tenth of a degree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A ground station and the lowest elevation at which it works.

    Raises `ConfigError` for coordinates or a horizon out of range.
    """

    name: str
    """Unique among the stations of a plan."""

    latitude_deg: Latitude
    """Geodetic latitude (WGS-84), north positive, -90 to 90."""

    longitude_deg: Longitude
    """Longitude, east positive, -180 to 360."""

    altitude_m: Altitude = 0.0
    """Height above the WGS-84 ellipsoid; mean sea level differs from it by up to 100 m."""

    mask_deg: Elevation = 5.0
    """Lowest usable elevation.  Default: what stations commonly guarantee; licences ask for 3 to
    5 deg (ITU Radio Regulations 21.14), and below it the ground adds noise and multipath."""

    horizon: tuple[tuple[Azimuth, Elevation], ...] = ()
    """Obstacles as (azimuth_deg, elevation_deg), azimuth rising within 0 to 360; linear between
    the points and around north.  Applies where it is higher than `mask_deg`."""

    def __post_init__(self) -> None:
        azimuths = [azimuth for azimuth, _ in self.horizon]
        check_bounds(self)
        good = (
            len(azimuths) <= HORIZON_POINTS_MAX
            and all(0.0 <= azimuth < 360.0 for azimuth in azimuths)
            and all(a < b for a, b in itertools.pairwise(azimuths))
            and all(-10.0 <= elevation < 90.0 for _, elevation in self.horizon)
        )
        check("horizon", good, "out of range", "azimuths rise within 0 to 360 degrees")


@dataclass(frozen=True, slots=True)
class Look:
    """What a station sees; one element for each time.  NaN where SGP4 gives no position."""

    elevation_deg: Floats
    azimuth_deg: Floats
    range_km: Floats
    range_rate_km_s: Floats

    @property
    def light_time_ns(self) -> Floats:
        """One-way light time in vacuum."""
        return self.range_km * (1e9 / LIGHT_KM_S)

    def doppler_hz(self, carrier_hz: float) -> Floats:
        """Shift of a carrier in either direction: positive while the satellite comes nearer."""
        return doppler_hz(self.range_rate_km_s * 1000.0, carrier_hz)


def doppler_hz(range_rate_m_s: Floats, carrier_hz: float) -> Floats:
    """One-way Doppler shift in hertz, to first order in v/c: positive while the range falls.

    For the rate of the shift (Hz/s) give the range acceleration (m/s^2) instead.
    """
    shift: Floats = range_rate_m_s * (-carrier_hz / (LIGHT_KM_S * 1000.0))
    return shift


class StationFrames:
    """Positions and local horizons of stations, Earth-fixed, as arrays of shape (stations, 3)."""

    def __init__(self, stations: Sequence[Station]) -> None:
        latitude = np.radians([s.latitude_deg for s in stations])
        longitude = np.radians([s.longitude_deg for s in stations])
        altitude_km = np.array([s.altitude_m / 1000.0 for s in stations])
        sin_lat, cos_lat = np.sin(latitude), np.cos(latitude)
        sin_lon, cos_lon = np.sin(longitude), np.cos(longitude)
        squash = (1.0 - EARTH_FLATTENING) ** 2
        normal_km = EARTH_RADIUS_KM / np.sqrt(cos_lat**2 + squash * sin_lat**2)
        ring_km = (normal_km + altitude_km) * cos_lat
        self.position_km: Floats = np.stack(
            (ring_km * cos_lon, ring_km * sin_lon, (squash * normal_km + altitude_km) * sin_lat),
            axis=-1,
        )
        self.east: Floats = np.stack((-sin_lon, cos_lon, np.zeros_like(sin_lon)), axis=-1)
        self.north: Floats = np.stack((-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat), axis=-1)
        self.up: Floats = np.stack((cos_lat * cos_lon, cos_lat * sin_lon, sin_lat), axis=-1)


def gmst_rad(times_ms: Floats, dut1_s: float = 0.0) -> Floats:
    """Greenwich mean sidereal time (IAU 1982) at DTN times of UTC."""
    ut1_ms = times_ms + dut1_s * 1000.0
    # J2000.0 is 12 h after the origin of DTN time.
    centuries = (ut1_ms - DAY_MS / 2.0) / (36525.0 * DAY_MS)
    # The turn of the day itself is split off, which keeps 1e-11 rad over a century.
    turn_s = 86400.0 * np.mod(ut1_ms / DAY_MS - 0.5, 1.0)
    seconds = (
        67310.54841
        + turn_s
        + centuries * (8640184.812866 + centuries * (0.093104 - 6.2e-6 * centuries))
    )
    angle: Floats = np.mod(seconds, 86400.0) * (2.0 * np.pi / 86400.0)
    return angle


class Ephemeris:
    """Earth-fixed positions of satellites, by SGP4, many at once; none of what has decayed.  Raises
    `ConfigError` for a `dut1_s` that there never is."""

    def __init__(self, satellites: Sequence[Satellite], dut1_s: float = 0.0) -> None:
        if not abs(dut1_s) <= 0.9:
            raise ConfigError("dut1_s", "UTC is never more than 0.9 s from UT1")
        self._satellites = satellites
        self._satrecs = [satellite.satrec for satellite in satellites]
        self._dut1_s = dut1_s
        self._decay_ms: Floats = np.full(len(satellites), np.inf)
        self._decay_known_ms = -math.inf

    def decay_ms(self, times_ms: Floats) -> Floats:
        """When each satellite decays, as far as that matters for looks at these times."""
        latest_ms = float(times_ms.max(initial=-math.inf))
        if latest_ms > self._decay_known_ms:
            self._decay_known_ms = latest_ms + DECAY_AHEAD_MS
            for place in np.flatnonzero(np.isinf(self._decay_ms)).tolist():
                self._decay_ms[place] = decay_ms(self._satellites[place], self._decay_known_ms)
        return self._decay_ms

    def grid(self, satellites: Sequence[int], times_ms: Floats) -> tuple[Floats, Bools]:
        """Positions in km, shape (satellites, 3, times), and which of them are valid."""
        day, fraction = _julian(times_ms)
        array = SatrecArray([self._satrecs[index] for index in satellites])
        error, teme, _ = array.sgp4(day, fraction)
        theta = gmst_rad(times_ms, self._dut1_s)
        cos, sin = np.cos(theta), np.sin(theta)
        fixed = np.empty((len(satellites), 3, len(times_ms)))
        x, y = teme[..., 0], teme[..., 1]
        fixed[:, 0] = cos * x + sin * y
        fixed[:, 1] = cos * y - sin * x
        fixed[:, 2] = teme[..., 2]
        # SGP4 has divisions by zero of its own that it does not report.
        valid = (error == 0) & np.isfinite(fixed.sum(axis=1))
        return fixed, valid & (times_ms < self.decay_ms(times_ms)[list(satellites), None])

    def pairs(self, satellite: Ints, times_ms: Floats) -> tuple[Floats, Floats]:
        """Positions (km) and velocities (km/s) of one satellite at one time each.

        Both results have shape (3, n); NaN where SGP4 fails.  Fastest where `satellite` does not
        fall.
        """
        teme, rate = self.teme_pairs(satellite, times_ms)
        return teme_to_fixed(teme, rate, gmst_rad(times_ms, self._dut1_s))

    def teme_pairs(self, satellite: Ints, times_ms: Floats) -> tuple[Floats, Floats]:
        """As `pairs`, in the frame of SGP4, which does not turn with the Earth."""
        order = None
        if (np.diff(satellite) < 0).any():
            order = np.argsort(satellite, kind="stable")
            satellite, times_ms = satellite[order], times_ms[order]
        day, fraction = _julian(times_ms)
        teme = np.empty((len(times_ms), 3))
        rate = np.empty_like(teme)
        starts = np.flatnonzero(np.diff(satellite, prepend=-1))
        stops = np.append(starts, len(satellite))[1:]
        for index, a, b in zip(
            satellite[starts].tolist(), starts.tolist(), stops.tolist(), strict=True
        ):
            error, teme[a:b], rate[a:b] = self._satrecs[index].sgp4_array(day[a:b], fraction[a:b])
            if error.any():
                teme[a:b][error != 0] = np.nan
        teme[times_ms >= self.decay_ms(times_ms)[satellite]] = np.nan
        if order is None:
            return teme.T, rate.T
        position, velocity = np.empty((3, len(order))), np.empty((3, len(order)))
        position[:, order], velocity[:, order] = teme.T, rate.T
        return position, velocity

    def teme_grid(self, times_ms: Floats, satellites: Sequence[int]) -> tuple[Floats, Floats]:
        """Positions (km) and velocities (km/s) of satellites at all times, in the frame of SGP4;
        shape (3, satellites, times), NaN where SGP4 fails."""
        day, fraction = _julian(times_ms)
        array = SatrecArray([self._satrecs[index] for index in satellites])
        error, teme, rate = array.sgp4(day, fraction)
        teme[error != 0] = np.nan
        teme[times_ms >= self.decay_ms(times_ms)[list(satellites), None]] = np.nan
        return np.ascontiguousarray(teme.transpose(2, 0, 1)), rate.transpose(2, 0, 1).copy()


def teme_to_fixed(position: Floats, velocity: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Turn TEME (km, km/s; shape (3, n)) by the sidereal time, and see it from the turning Earth.

    The result is pseudo Earth-fixed: Earth-fixed but for polar motion.
    """
    fixed, rate = turned(position, theta), turned(velocity, theta)
    # Less omega x r.
    rate[0] += EARTH_ROTATION_RAD_S * fixed[1]
    rate[1] -= EARTH_ROTATION_RAD_S * fixed[0]
    return fixed, rate


def turned(teme: Floats, theta: Floats) -> Floats:
    """Vectors of shape (3, n) in axes that the sidereal time has turned about the pole."""
    cos, sin = np.cos(theta), np.sin(theta)
    x, y, z = teme
    return np.stack((cos * x + sin * y, cos * y - sin * x, z))


def _julian(times_ms: Floats) -> tuple[Floats, Floats]:
    day = np.floor(times_ms / DAY_MS)
    return day + JD_DTN_EPOCH, (times_ms - day * DAY_MS) / DAY_MS


def perigee_rate_rad_s(satellite: Satellite) -> float:
    """Fastest turn of the satellite as seen from the centre of the Earth."""
    satrec = satellite.satrec
    e: float = min(satrec.ecco, 0.99)
    rate: float = satrec.no_kozai * (1.0 + e) ** 2 / (1.0 - e * e) ** 1.5 / 60.0
    # 5 % for what SGP4 adds to the two-body motion.
    return 1.05 * rate


def grid_step_ms(satellite: Satellite, samples: int, unit_ms: int, longest_ms: int) -> int:
    """Sampling with so many samples in a revolution at perigee speed, as a multiple of
    `unit_ms`, so that satellites share grids."""
    step = 2000.0 * math.pi / perigee_rate_rad_s(satellite) / samples
    return min(max(int(step) // unit_ms, 1) * unit_ms, longest_ms)


def step_grid(start_ms: float, end_ms: float, step_ms: float) -> Floats:
    """Times from one step before a window to at least one step after it."""
    return start_ms + step_ms * np.arange(-1.0, math.ceil((end_ms - start_ms) / step_ms) + 2.0)


class Sight:
    """Looks from stations at satellites: the functions whose roots are the ends of passes."""

    def __init__(
        self, satellites: Sequence[Satellite], stations: Sequence[Station], dut1_s: float = 0.0
    ) -> None:
        self.ephemeris = Ephemeris(satellites, dut1_s)
        self.frames = StationFrames(stations)
        self.stations = max(1, len(stations))
        """Number of stations, by which pairs are numbered: satellite * stations + station."""

    def sine(self, satellite: Ints, station: Ints, times_ms: Floats) -> tuple[Floats, Floats]:
        """Sine of the elevation and its rate per second; -2 and 0 where SGP4 fails.

        The arguments have one element for each look; `satellite` must not fall.
        """
        position, velocity = self.ephemeris.pairs(satellite, times_ms)
        up = self.frames.up[station].T
        to_satellite = position - self.frames.position_km[station].T
        distance_2 = (to_satellite**2).sum(axis=0)
        distance = np.sqrt(distance_2)
        sine = (up * to_satellite).sum(axis=0) / distance
        approach = (to_satellite * velocity).sum(axis=0) / distance_2
        rate = (up * velocity).sum(axis=0) / distance - sine * approach
        lost = np.isnan(sine)
        if lost.any():
            sine[lost], rate[lost] = -2.0, 0.0
        return sine, rate

    def look(self, satellite: Ints, station: Ints, times_ms: Floats) -> Look:
        """Elevation, azimuth, range and range rate; `satellite` must not fall."""
        position, velocity = self.ephemeris.pairs(satellite, times_ms)
        to_satellite = position - self.frames.position_km[station].T
        distance = np.sqrt((to_satellite**2).sum(axis=0))
        east = (self.frames.east[station].T * to_satellite).sum(axis=0)
        north = (self.frames.north[station].T * to_satellite).sum(axis=0)
        up = (self.frames.up[station].T * to_satellite).sum(axis=0)
        return Look(
            elevation_deg=np.degrees(np.arctan2(up, np.hypot(east, north))),
            azimuth_deg=np.mod(np.degrees(np.arctan2(east, north)), 360.0),
            range_km=distance,
            range_rate_km_s=(to_satellite * velocity).sum(axis=0) / distance,
        )


def look(satellite: Satellite, station: Station, times_ms: Floats, *, dut1_s: float = 0.0) -> Look:
    """One satellite from one station at DTN times (ms, UTC)."""
    zeros = np.zeros(len(times_ms), dtype=np.intp)
    return Sight([satellite], [station], dut1_s).look(zeros, zeros, times_ms)
