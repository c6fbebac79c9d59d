"""The Sun: where it is, when the Earth hides it from satellites, when it blinds stations.

The Sun's place is good to 0.005 deg from 2000 to 2060: 0.1 s in the eclipses of a low orbit.
The shadow is that of the WGS-84 ellipsoid without air, as two cones (umbra and penumbra); what the
air bends and absorbs moves its edge by some 20 km, a few seconds of a low orbit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from link_models.orbit.geometry import (
    EARTH_FLATTENING,
    EARTH_RADIUS_KM,
    LIGHT_KM_S,
    Bools,
    Ephemeris,
    Floats,
    Ints,
    Station,
    StationFrames,
    gmst_rad,
    grid_step_ms,
    step_grid,
    turned,
)
from link_models.orbit.mean_elements import DAY_MS, Satellite
from link_models.orbit.passes import Passes, check_window, find_passes
from link_models.orbit.spans import Spans, cut_where, positive_spans, spans_shared
from stack.core.errors import ConfigError

AU_KM = 149_597_870.7
"""Astronomical unit (IAU 2012, resolution B2)."""

SUN_RADIUS_KM = 695_700.0
"""Nominal radius of the Sun (IAU 2015, resolution B3)."""

SUN_RADIUS_DEG = math.degrees(math.asin(SUN_RADIUS_KM / AU_KM))
"""As seen from the Earth, on average: 0.2665 deg."""

SAMPLES_PER_REVOLUTION = 60
"""Grid samples in a revolution; the shadow is met once in it."""

STEP_MS_MAX = 900_000
"""Longest grid step of high orbits, which stay in the shadow for up to an hour."""

STEP_MS_UNIT = 30_000
"""Grid steps are multiples of this, so that satellites share grids."""

OUTAGE_SAMPLES_PER_REVOLUTION = 600
"""Samples of a pass in a revolution: 10 s of a low orbit, which takes a minute to pass overhead."""

OUTAGE_STEP_MS_MAX = 120_000
"""Longest step for high orbits: the Sun moves by half a degree in it."""

BLOCK_STATES = 500_000
"""Positions worked on at a time: some 100 MB of working memory."""

HOUR_MS = 3_600_000.0

_TT_AHEAD_MS = 69_184.0  # of UTC since 2017; ten seconds move the Sun by 0.0001 deg


def sun_position_km(times_ms: Floats) -> Floats:
    """Apparent place of the Sun in the frame of SGP4 (TEME), shape (3, n), at DTN times (UTC).

    Meeus, Astronomical Algorithms (2nd edition), chapter 25, "low accuracy", with the
    perturbations of the longitude of his Astronomical Formulae for Calculators, chapter 18.
    """
    century = (times_ms + _TT_AHEAD_MS - DAY_MS / 2.0) / (36525.0 * DAY_MS)
    anomaly = np.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    center_deg = (
        (1.914602 - century * (0.004817 + 0.000014 * century)) * np.sin(anomaly)
        + (0.019993 - 0.000101 * century) * np.sin(2.0 * anomaly)
        + 0.000289 * np.sin(3.0 * anomaly)
    )
    mean_deg = 280.46646 + century * (36000.76983 + 0.0003032 * century)
    # Less the aberration, which for the Sun is nearly constant.
    longitude_deg = mean_deg + center_deg - 0.00569 + _perturbations_deg(century + 1.0)
    # The largest terms of the nutation (chapter 22): TEME has the true equator.
    node, twice = np.radians(125.04452 - 1934.136261 * century), np.radians(2.0 * mean_deg)
    nutation_deg = -0.00478 * np.sin(node) - 0.00037 * np.sin(twice)
    obliquity = np.radians(23.4392911 - 0.0130042 * century + 0.00256 * np.cos(node))
    longitude = np.radians(longitude_deg + nutation_deg)
    east = np.sin(longitude) * np.cos(obliquity)
    # And TEME has the mean equinox: turned back by the equation of the equinoxes.
    turn = np.radians(nutation_deg) * np.cos(obliquity)
    x, y = np.cos(longitude) + turn * east, east - turn * np.cos(longitude)
    eccentricity = 0.016708634 - 0.000042037 * century
    distance_au = 1.000001018 * (1.0 - eccentricity**2)
    distance_au /= 1.0 + eccentricity * np.cos(anomaly + np.radians(center_deg))
    place: Floats = np.stack((x, y, np.sin(longitude) * np.sin(obliquity)))
    place *= AU_KM * distance_au
    return place


def _perturbations_deg(century_1900: Floats) -> Floats:
    """What Venus (twice), Jupiter, the Moon and a long period add to the longitude."""
    venus = np.radians(153.23 + 22518.7541 * century_1900)
    venus_2 = np.radians(216.57 + 45037.5082 * century_1900)
    jupiter = np.radians(312.69 + 32964.3577 * century_1900)
    moon = np.radians(350.74 + 445267.1142 * century_1900)
    slow = np.radians(231.19 + 20.20 * century_1900)
    sum_deg: Floats = (
        0.00134 * np.cos(venus)
        + 0.00154 * np.cos(venus_2)
        + 0.00200 * np.cos(jupiter)
        + 0.00179 * np.sin(moon)
        + 0.00178 * np.sin(slow)
    )
    return sum_deg


class SunTrack:
    """`sun_position_km` over a window, for many times: linear between the hours, which is wrong by
    less than 0.00001 deg."""

    def __init__(self, start_ms: float, end_ms: float) -> None:
        self._times = step_grid(start_ms - HOUR_MS, end_ms + HOUR_MS, HOUR_MS)
        self._places = sun_position_km(self._times)

    def __call__(self, times_ms: Floats) -> Floats:
        """Places in km, shape (3, n); of times within an hour of the window."""
        return np.stack([np.interp(times_ms, self._times, axis) for axis in self._places])


def beta_deg(satellite: Satellite, times_ms: Floats) -> Floats:
    """Angle between the Sun and the plane of the orbit, -90 to 90; positive where the orbit runs
    anticlockwise as seen from the Sun."""
    zeros = np.zeros(len(times_ms), dtype=np.intp)
    position, velocity = Ephemeris([satellite]).teme_pairs(zeros, times_ms)
    normal = np.cross(position, velocity, axis=0)
    sun = sun_position_km(times_ms)
    sine = (normal * sun).sum(axis=0) / np.sqrt((normal**2).sum(axis=0) * (sun**2).sum(axis=0))
    beta: Floats = np.degrees(np.arcsin(sine))
    return beta


# -- eclipses ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Eclipses:
    """Eclipses by the Earth as arrays of equal length, sorted by satellite and time.

    `satellite` is the place in the sequence that was searched; times are exact to 0.02 ms for the
    model.
    """

    satellite: Ints
    start_ms: Floats
    """When the Sun begins to disappear (or the window begins)."""

    end_ms: Floats
    """When the whole Sun is back (or the window ends)."""

    umbra_start_ms: Floats
    """When the last of the Sun disappears; NaN where some of it stays in view."""

    umbra_end_ms: Floats
    """When the first of the Sun is back; NaN likewise."""

    def __len__(self) -> int:
        return len(self.start_ms)


def eclipses(satellites: Sequence[Satellite], start_ms: int, end_ms: int) -> Eclipses:
    """Every eclipse of satellites between two DTN times (UTC).

    Raises `ConfigError` for a window that is empty or longer than 400 days.
    """
    dark, full = shadow_spans(satellites, start_ms, end_ms)
    first, last = np.full(len(dark), np.nan), np.full(len(dark), np.nan)
    # Each umbra lies within one penumbra: the last that began before it, of the same satellite.
    count = len(dark)
    order = np.lexsort(
        (
            np.repeat([0, 1], [count, len(full)]),
            np.concatenate((dark.rise, full.rise)),
            np.concatenate((dark.pair, full.pair)),
        )
    )
    owner = np.cumsum(order < count) - 1
    inside = order >= count
    umbra, owner = order[inside] - count, owner[inside]
    last[owner] = full.down[umbra]
    first[owner[::-1]] = full.rise[umbra[::-1]]
    return Eclipses(dark.pair, dark.rise, dark.down, first, last)


def shadow_spans(
    satellites: Sequence[Satellite], start_ms: int, end_ms: int
) -> tuple[Spans, Spans]:
    """When satellites (the pairs of the spans) do not see the whole Sun, and when none of it."""
    check_window(start_ms, end_ms)
    ephemeris, sun = Ephemeris(satellites), SunTrack(start_ms, end_ms)
    groups: dict[int, list[int]] = {}
    for index, satellite in enumerate(satellites):
        step = grid_step_ms(satellite, SAMPLES_PER_REVOLUTION, STEP_MS_UNIT, STEP_MS_MAX)
        groups.setdefault(step, []).append(index)
    nothing = Spans(np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))
    dark, full = [nothing], [nothing]
    for step, members in sorted(groups.items()):
        for times in _grids(start_ms, end_ms, step, BLOCK_STATES):
            height = max(1, BLOCK_STATES // len(times))
            for top in range(0, len(members), height):
                for into, part in zip(
                    (dark, full),
                    _shadows(ephemeris, members[top : top + height], times, sun),
                    strict=True,
                ):
                    into.append(part.clipped(times[1], times[-2]))
    penumbra, umbra = (
        spans_shared(parts, 1).clipped(start_ms, end_ms).long_enough() for parts in (dark, full)
    )
    return penumbra, umbra


def _shadows(
    ephemeris: Ephemeris, members: list[int], times: Floats, sun: SunTrack
) -> Iterator[Spans]:
    """Penumbra and umbra of some satellites over one grid."""
    position, _ = ephemeris.teme_grid(times, members)
    discs = _discs(position, sun(times)[:, None, :])
    owner, when = np.repeat(members, len(times)), np.tile(times, len(members))

    for side in (1.0, -1.0):

        def depth(satellite: Ints, at: Floats, side: float = side) -> Floats:
            earth, own, apart = _discs(ephemeris.teme_pairs(satellite, at)[0], sun(at))
            inside: Floats = earth + side * own - apart
            return inside

        earth, own, apart = discs
        yield positive_spans(depth, owner, when, (earth + side * own - apart).ravel())


def sunlit_share(satellite: Satellite, times_ms: Floats) -> Floats:
    """How much of the Sun's disc a satellite sees, 0 to 1; NaN where SGP4 gives no position."""
    zeros = np.zeros(len(times_ms), dtype=np.intp)
    position, _ = Ephemeris([satellite]).teme_pairs(zeros, times_ms)
    earth, sun, apart = _discs(position, sun_position_km(times_ms))
    # Two flat discs: the lens in which they overlap, as two segments of circles.
    with np.errstate(invalid="ignore"):
        earth_part = (apart**2 + earth**2 - sun**2) / (2.0 * apart)
        at_earth = np.arccos(np.clip(earth_part / earth, -1.0, 1.0))
        at_sun = np.arccos(np.clip((apart - earth_part) / sun, -1.0, 1.0))
        lens = earth**2 * (at_earth - np.sin(2.0 * at_earth) / 2.0)
        lens += sun**2 * (at_sun - np.sin(2.0 * at_sun) / 2.0)
        share = 1.0 - lens / (np.pi * sun**2)
        share = np.where(apart >= earth + sun, 1.0, np.clip(share, 0.0, 1.0))
        share = np.where(apart <= earth - sun, 0.0, share)
        # Beyond the tip of the umbra the Earth covers the middle of the Sun.
        within = apart <= sun - earth
        share = np.where(within, 1.0 - (earth / sun) ** 2, share)
    lit: Floats = np.where(np.isnan(position[0]), np.nan, share)
    return lit


def _discs(position_km: Floats, sun_km: Floats) -> tuple[Floats, Floats, Floats]:
    """Half angles of Earth and Sun as seen from satellites, and the angle between their centres.

    Along the axis everything is stretched until the Earth is a ball: lines stay lines.
    """
    stretch = 1.0 / (1.0 - EARTH_FLATTENING)
    (x, y, z), (sun_x, sun_y, sun_z) = position_km, sun_km
    z, sun_z = z * stretch, sun_z * stretch
    to_x, to_y, to_z = sun_x - x, sun_y - y, sun_z - z
    radius = np.sqrt(x * x + y * y + z * z)
    distance = np.sqrt(to_x * to_x + to_y * to_y + to_z * to_z)
    earth = np.arcsin(np.minimum(EARTH_RADIUS_KM / radius, 1.0))
    sun = np.arcsin(SUN_RADIUS_KM / distance)
    # Exact to 1e-8 rad even where the cosine is flat.
    cosine = (x * to_x + y * to_y + z * to_z) / (radius * distance)
    apart = np.arccos(np.clip(-cosine, -1.0, 1.0))
    return earth, sun, apart


def _grids(start_ms: int, end_ms: int, step_ms: int, samples_max: int) -> list[Floats]:
    """A grid over a window in runs of bounded length.  All but the outermost samples of a run
    count; they end where those of the next begin."""
    times = step_grid(start_ms, end_ms, step_ms)
    size = max(4, samples_max)
    return [times[a : a + size] for a in range(0, len(times) - 3, size - 3)]


# -- outages -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SunOutages:
    """Times at which the Sun stands behind a satellite as a station sees it; arrays of equal
    length, sorted by satellite, station and time."""

    satellite: Ints
    station: Ints
    start_ms: Floats
    end_ms: Floats

    def __len__(self) -> int:
        return len(self.start_ms)


def sun_outage_half_angle_deg(dish_m: float, frequency_hz: float) -> float:
    """How near to the Sun a dish cannot listen: half its beam and half the Sun.

    The beam between its -3 dB points is 70 wavelengths over the diameter, in degrees, as of a
    dish whose edge is lit 10 dB less than its middle.  Then the Sun fills at least a part of the
    main lobe; how much noise that is depends on frequency and year (ITU-R S.1525).

    Raises `ConfigError` for a diameter or frequency that is not above zero.
    """
    if not (dish_m > 0.0 and frequency_hz > 0.0):
        raise ConfigError("dish_m", "a dish has a diameter and a frequency")
    wavelength_m = LIGHT_KM_S * 1000.0 / frequency_hz
    return min(35.0 * wavelength_m / dish_m, 90.0) + SUN_RADIUS_DEG


def sun_outages(
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    start_ms: int,
    end_ms: int,
    half_angle_deg: float | Sequence[float],
    *,
    dut1_s: float = 0.0,
) -> SunOutages:
    """When the Sun is within `half_angle_deg` of satellites in view of stations.

    One angle for all, or one for each station; see `sun_outage_half_angle_deg`.  Raises
    `ConfigError` for angles out of range or of another number, or a bad window.
    """
    angles = np.broadcast_to(np.asarray(half_angle_deg, dtype=float), (len(stations),))
    if not ((angles > 0.0) & (angles <= 180.0)).all():
        raise ConfigError("half_angle_deg", "above 0 and up to 180 degrees")
    found = find_passes(satellites, stations, start_ms, end_ms, dut1_s=dut1_s)
    sun = SunTrack(start_ms, end_ms)
    day = _sun_may_be_up(found, stations, sun, angles, dut1_s)
    pair = found.satellite * max(1, len(stations)) + found.station
    passes = Spans(pair[day], found.rise_ms[day], found.set_ms[day])
    steps = np.array(
        [
            grid_step_ms(one, OUTAGE_SAMPLES_PER_REVOLUTION, 1000, OUTAGE_STEP_MS_MAX)
            for one in satellites
        ],
        dtype=float,
    )[found.satellite[day]]
    nearness = _sun_nearness(satellites, stations, np.cos(np.radians(angles)), sun, dut1_s)
    parts = [
        cut_where(passes.where(steps == step), nearness, step) for step in np.unique(steps).tolist()
    ]
    blind = spans_shared([passes.where(steps < 0.0), *parts], 1).long_enough()
    satellite, station = np.divmod(blind.pair, max(1, len(stations)))
    return SunOutages(satellite, station, blind.rise, blind.down)


def _sun_may_be_up(
    found: Passes, stations: Sequence[Station], sun: SunTrack, angles: Floats, dut1_s: float
) -> Bools:
    """Passes in which the Sun may come as high as a satellite can be seen."""
    site, up = StationFrames(stations), found.station
    place = turned(sun(found.rise_ms), gmst_rad(found.rise_ms, dut1_s))
    sine = (site.up[up].T * place).sum(axis=0) / np.sqrt((place**2).sum(axis=0))
    lowest = np.array(
        [max(one.mask_deg, min((e for _, e in one.horizon), default=-90.0)) for one in stations]
    )
    # The sky turns by less than 0.0042 deg a second, Sun included; a degree for all the rest.
    reach = (found.set_ms - found.rise_ms) * 0.0042e-3 + angles[up] + 1.0
    high: Bools = np.degrees(np.arcsin(sine)) + reach > lowest[up]
    return high


def _sun_nearness(
    satellites: Sequence[Satellite],
    stations: Sequence[Station],
    cosine: Floats,
    sun: SunTrack,
    dut1_s: float,
) -> Callable[[Ints, Floats], Floats]:
    """Cosine of the angle between satellite and Sun less that of the half angle, by pair."""
    ephemeris, frames = Ephemeris(satellites, dut1_s), StationFrames(stations)

    def nearness(pair: Ints, times_ms: Floats) -> Floats:
        satellite, station = np.divmod(pair, len(stations))
        site = frames.position_km[station].T
        position, _ = ephemeris.pairs(satellite, times_ms)
        to_satellite = position - site
        to_sun = turned(sun(times_ms), gmst_rad(times_ms, dut1_s)) - site
        along = (to_satellite * to_sun).sum(axis=0)
        lengths = np.sqrt((to_satellite**2).sum(axis=0) * (to_sun**2).sum(axis=0))
        near: Floats = along / lengths - cosine[station]
        return near

    return nearness
