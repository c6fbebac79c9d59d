"""The Sun against ERFA, shadows against rays, outages against an exhaustive search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.orbit import sun as module
from link_models.orbit.constellation import sun_synchronous
from link_models.orbit.elements import Satellite
from link_models.orbit.geometry import Ephemeris, Floats, Station, look
from link_models.orbit.passes import find_passes
from link_models.orbit.sun import (
    AU_KM,
    SUN_RADIUS_KM,
    SunTrack,
    beta_deg,
    eclipses,
    sun_outage_half_angle_deg,
    sun_outages,
    sun_position_km,
    sunlit_share,
)
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError
from tests.link_models.orbit import sky
from tests.strategies import orbits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def angle_deg(a: Floats, b: Floats) -> Floats:
    cross = np.linalg.norm(np.cross(a, b, axis=0), axis=0)
    angle: Floats = np.degrees(np.arctan2(cross, (a * b).sum(axis=0)))
    return angle


# ---- where the Sun is


@pytest.mark.slow
def test_the_sun_is_where_erfa_has_it() -> None:
    first, last = dtn_from_iso("2000-01-01"), dtn_from_iso("2060-01-01")
    times = np.arange(float(first), float(last), 5.3 * DAY_MS)
    ours = sun_position_km(times)
    apart = angle_deg(ours, sky.sun_teme(times))
    assert apart.max() < 0.005
    assert np.sqrt((apart**2).mean()) < 0.0016
    # Nearest in early January, farthest in early July, by the eccentricity of 0.0167.
    distance = np.linalg.norm(ours, axis=0) / AU_KM
    assert distance.min() == pytest.approx(1.0 - 0.01671, abs=1e-4)
    assert distance.max() == pytest.approx(1.0 + 0.01671, abs=1e-4)


def test_a_track_is_the_sun_between_the_hours() -> None:
    start = float(dtn_from_iso("2026-01-03T00:20"))
    track = SunTrack(start, start + 30 * DAY_MS)
    times = np.linspace(start - HOUR_MS, start + 30 * DAY_MS + HOUR_MS, 5000)
    assert angle_deg(track(times), sun_position_km(times)).max() < 1e-5


@pytest.mark.parametrize(("inclination", "node"), [(97.5, 30.0), (51.6, 200.0), (5.0, 300.0)])
def test_beta_is_the_height_of_the_sun_above_the_orbit(inclination: float, node: float) -> None:
    satellite = orbits.circular(700.0, inclination=inclination, node=node)
    times = np.array([float(orbits.EPOCH_MS)])
    i, raan = np.radians([inclination, node])
    normal = np.array([[np.sin(raan) * np.sin(i)], [-np.cos(raan) * np.sin(i)], [np.cos(i)]])
    wanted = 90.0 - angle_deg(normal, sky.sun_teme(times))
    # J2 tilts the orbit of the moment by some hundredths of a degree against the mean one.
    assert beta_deg(satellite, times) == pytest.approx(wanted, abs=0.06)


# ---- shadows


def share_by_rays(position_km: Floats, sun_km: Floats, rings: int = 60) -> float:
    """Which part of the Sun's disc has a free line to a place: rays to 60 rings of points."""
    to_sun = sun_km - position_km
    axis = to_sun / np.linalg.norm(to_sun)
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    # As many points in each ring as it has area.
    radius = np.concatenate([np.full(6 * k + 3, (k + 0.5) / rings) for k in range(rings)])
    turn = np.concatenate([np.arange(6 * k + 3) * 2 * np.pi / (6 * k + 3) for k in range(rings)])
    # The rim of what is seen of a ball is nearer than its centre; its cone touches here.
    rim_km = SUN_RADIUS_KM * np.sqrt(1.0 - (SUN_RADIUS_KM / np.linalg.norm(to_sun)) ** 2)
    near = SUN_RADIUS_KM**2 / np.linalg.norm(to_sun)
    points = (to_sun - near * axis)[:, None] + rim_km * radius * (
        side[:, None] * np.cos(turn) + other[:, None] * np.sin(turn)
    )
    # A line hits the ellipsoid where a quadratic has a root ahead.
    squeeze = np.array([1.0, 1.0, 1.0 / (1.0 - 1.0 / 298.257223563)]) / 6378.137
    p, d = position_km * squeeze, points * squeeze[:, None]
    a, b, c = (d**2).sum(axis=0), p @ d, p @ p - 1.0
    hit = (b**2 - a * c > 0.0) & (b < 0.0)
    return 1.0 - float(hit.mean())


@pytest.mark.parametrize("height", [400.0, 1200.0, 20_200.0, 35_786.0])
def test_the_share_of_the_sun_by_rays(height: float) -> None:
    satellite = orbits.circular(height, inclination=20.0)
    found = eclipses([satellite], orbits.EPOCH_MS, orbits.EPOCH_MS + 3 * DAY_MS)
    assert len(found)
    start, dark = found.start_ms[1], found.umbra_start_ms[1]
    times = np.linspace(start - (dark - start) / 4, dark + (dark - start) / 4, 40)
    zeros = np.zeros(len(times), dtype=np.intp)
    places, _ = Ephemeris([satellite]).teme_pairs(zeros, times)
    rays = [share_by_rays(p, s) for p, s in zip(places.T, sun_position_km(times).T, strict=True)]
    assert sunlit_share(satellite, times) == pytest.approx(rays, abs=0.01)
    assert rays[0] == 1.0
    assert rays[-1] == 0.0


@pytest.mark.slow
@given(orbits.any_orbits)
@settings(deadline=None, max_examples=60)
def test_no_eclipse_is_lost_and_none_is_invented(satellite: Satellite) -> None:
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 8 * HOUR_MS
    found = eclipses([satellite], start, end)
    times = np.arange(start, end, 2000.0)
    share = sunlit_share(satellite, times)
    for rise, down, inside in (
        (found.start_ms, found.end_ms, share < 1.0),
        (found.umbra_start_ms, found.umbra_end_ms, share == 0.0),
    ):
        known = ~np.isnan(rise)
        place = np.searchsorted(rise[known], times, side="right") - 1
        covered = np.zeros(len(times), dtype=bool)
        if known.any():
            covered = (place >= 0) & (times <= down[known][place])
            edges = np.concatenate((rise[known], down[known]))
            near = np.abs(times[:, None] - edges).min(axis=1) < 1.0
            covered[near] = inside[near]
        assert (covered == inside).all()
    # The umbra lies within the penumbra.
    whole = ~np.isnan(found.umbra_start_ms)
    assert (found.umbra_start_ms[whole] >= found.start_ms[whole]).all()
    assert (found.umbra_end_ms[whole] <= found.end_ms[whole]).all()


def test_eclipses_of_the_geostationary_orbit_by_the_seasons() -> None:
    # Twice a year for some 45 days, at most 72 minutes a day including the penumbra (any
    # textbook, as Maral and Bousquet, Satellite Communications Systems, 2.3.5).
    satellite = orbits.circular(35_786.0, inclination=0.05)
    start = dtn_from_iso("2026-08-15")
    found = eclipses([satellite], start, start + 80 * DAY_MS)
    assert 43 <= len(found) <= 47
    minutes = (found.end_ms - found.start_ms) / 60_000
    assert 71.0 < minutes.max() < 72.5
    full = (found.umbra_end_ms - found.umbra_start_ms) / 60_000
    assert 67.0 < np.nanmax(full) < 68.5
    # In the middle of the season, at the equinox of 23 September; the first and last are partial.
    middle = found.start_ms[minutes.argmax()]
    assert abs(middle - dtn_from_iso("2026-09-23")) < 3 * DAY_MS
    # And partial on its first and last days only.
    partial = np.flatnonzero(np.isnan(full))
    assert 1 <= len(partial) <= 4
    assert ((partial < 2) | (partial > len(found) - 3)).all()


def test_an_equatorial_orbit_at_the_equinox_is_dark_for_the_arc_behind_the_earth() -> None:
    satellite = orbits.circular(800.0, inclination=0.01)
    start = dtn_from_iso("2026-09-23T00:05")  # the moment of the equinox
    found = eclipses([satellite], start - 3 * HOUR_MS, start + 3 * HOUR_MS)
    inner = slice(1, -1)
    zeros = np.zeros(1, dtype=np.intp)
    place, speed = Ephemeris([satellite]).teme_pairs(zeros, np.array([float(start)]))
    radius, velocity = np.linalg.norm(place), np.linalg.norm(speed)
    arc = 2.0 * math.asin(6378.137 / radius)
    seconds = (found.end_ms + found.umbra_end_ms - found.start_ms - found.umbra_start_ms) / 2000
    # From half Sun to half Sun; radius and speed vary by a thousandth.
    assert seconds[inner] == pytest.approx(arc * radius / velocity, rel=2e-3)
    # The Earth's rim moves over the Sun as fast as the satellite moves round the Earth.
    fade = (found.umbra_start_ms - found.start_ms)[inner] / 1000
    assert fade == pytest.approx(math.radians(0.5313) * radius / velocity, rel=0.05)


def test_a_high_dawn_dusk_orbit_has_no_eclipse_in_a_year() -> None:
    start = dtn_from_iso("2026-03-20")
    (high,) = sun_synchronous("high", 1, 1_500_000.0, 18.0, start)
    assert len(eclipses([high], start, start + 365 * DAY_MS)) == 0
    # At 700 km it has a season of short ones at one of the solstices.
    (low,) = sun_synchronous("low", 1, 700_000.0, 18.0, start)
    found = eclipses([low], start, start + 365 * DAY_MS)
    assert len(found) > 100
    assert (found.end_ms - found.start_ms).max() < 25 * 60_000
    beta = beta_deg(low, found.start_ms)
    assert np.abs(beta).max() < 65.5 < np.abs(beta_deg(low, np.array([float(start)])))[0]


def test_groups_blocks_and_runs_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    satellites = [
        orbits.circular(500.0, inclination=97.0, node=20.0),
        orbits.circular(35_786.0, inclination=0.05),
        orbits.elliptic(500.0, 0.7, inclination=63.4, perigee=270.0),
        orbits.circular(900.0, inclination=30.0),
    ]
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS)
    whole = eclipses(satellites, *window)
    assert set(whole.satellite.tolist()) == {0, 1, 2, 3}
    for states in (60, 1500):
        monkeypatch.setattr(module, "BLOCK_STATES", states)
        parts = eclipses(satellites, *window)
        assert (parts.satellite == whole.satellite).all()
        for name in ("start_ms", "end_ms", "umbra_start_ms", "umbra_end_ms"):
            assert getattr(parts, name) == pytest.approx(
                getattr(whole, name), abs=0.05, nan_ok=True
            )
    one = eclipses(satellites[2:3], *window)
    assert one.start_ms == pytest.approx(whole.start_ms[whole.satellite == 2], abs=0.05)


def test_windows_of_eclipses() -> None:
    start = orbits.EPOCH_MS
    with pytest.raises(ConfigError, match="window"):
        eclipses([], start, start)
    assert len(eclipses([], start, start + 1)) == 0
    satellite = orbits.circular(500.0, inclination=0.1)
    first = eclipses([satellite], start, start + 3 * HOUR_MS)
    middle = int((first.umbra_start_ms[0] + first.umbra_end_ms[0]) / 2)
    cut = eclipses([satellite], middle, start + 3 * HOUR_MS)
    assert cut.start_ms[0] == cut.umbra_start_ms[0] == middle
    assert cut.end_ms[0] == pytest.approx(first.end_ms[0], abs=0.05)


# ---- outages

MATERA = Station(name="Matera", latitude_deg=40.65, longitude_deg=16.70, altitude_m=536.0)


def separation_deg(satellite: Satellite, station: Station, times_ms: Floats) -> Floats:
    """Between satellite and Sun as ERFA has it, seen from a station."""
    seen = look(satellite, station, times_ms)
    elevation, azimuth = np.radians(seen.elevation_deg), np.radians(seen.azimuth_deg)
    east, north = np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth)
    hours = np.arange(times_ms[0] - HOUR_MS, times_ms[-1] + 2 * HOUR_MS, HOUR_MS)
    x, y, z = (np.interp(times_ms, hours, axis) for axis in sky.sun_teme(hours))
    turn = sky.sidereal_rad(times_ms) + math.radians(station.longitude_deg)
    # Towards the meridian, the east and the pole; then tilted by the latitude.
    out, sun_east = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    latitude = math.radians(station.latitude_deg)
    sun_up = math.cos(latitude) * out + math.sin(latitude) * z
    sun_north = math.cos(latitude) * z - math.sin(latitude) * out
    return angle_deg(
        np.stack((east, north, np.sin(elevation))), np.stack((sun_east, sun_north, sun_up))
    )


SPIES: dict[str, tuple[list[Satellite], int, float]] = {
    "low": (
        [
            orbits.circular(500.0, inclination=97.4, node=15.0 * n, anomaly=9.0 * n)
            for n in range(24)
        ],
        5,
        2.0,
    ),
    "middle": (
        [orbits.circular(20_200.0, inclination=55.0, node=15.0 * n) for n in range(24)],
        2,
        2.0,
    ),
    "eccentric": (
        [orbits.elliptic(600.0, 0.7, inclination=9.0, node=15.0 * n) for n in range(24)],
        2,
        3.0,
    ),
    "geostationary": ([orbits.circular(35_786.0, inclination=0.05, anomaly=20.0)], 20, 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPIES)
def test_no_outage_is_lost_and_none_is_invented(kind: str) -> None:
    satellites, days, half = SPIES[kind]
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + days * DAY_MS
    every = sun_outages(satellites, [MATERA], start, end, half)
    passes = find_passes(satellites, [MATERA], start, end)
    hit = 0
    for satellite, rise, down in zip(passes.satellite, passes.rise_ms, passes.set_ms, strict=True):
        mine = every.satellite == satellite
        begin, finish = every.start_ms[mine], every.end_ms[mine]
        times = np.arange(rise, down, 1000.0 if down - rise < HOUR_MS else 10_000.0)
        apart = separation_deg(satellites[satellite], MATERA, times)
        covered = ((times[:, None] >= begin) & (times[:, None] <= finish)).any(axis=1)
        hit += bool(covered.any())
        # The two Suns differ by 0.005 deg, and by the parallax of 0.0024 deg.
        assert covered[apart < half - 0.008].all()
        assert not covered[apart > half + 0.008].any()
    assert hit


def test_outages_of_a_geostationary_link_come_on_a_few_days_in_autumn() -> None:
    # ITU-R S.1525: on 3 to 9 days, depending on the antenna.  In the north after the equinox of
    # September; for a few minutes.
    satellite = orbits.circular(35_786.0, inclination=0.02, anomaly=20.0)
    half = sun_outage_half_angle_deg(3.7, 12e9)
    start = dtn_from_iso("2026-09-24")
    found = sun_outages([satellite], [MATERA], start, start + 40 * DAY_MS, half)
    days = np.unique(found.start_ms // DAY_MS)
    assert 3 <= len(days) <= 9
    assert (np.diff(days) == 1).all()
    minutes = (found.end_ms - found.start_ms) / 60_000
    # The Sun moves by 0.25 deg a minute.
    assert minutes.max() == pytest.approx(2 * half / 0.25, rel=0.1)


def test_half_angles() -> None:
    # 8.2 GHz is 36.56 mm; 70 wavelengths over 5.4 m are 0.4739 deg.
    assert sun_outage_half_angle_deg(5.4, 8.2e9) == pytest.approx(0.4739 / 2 + 0.2665, abs=2e-4)
    for dish, frequency in ((0.0, 8e9), (1.0, 0.0), (float("nan"), 1e9)):
        with pytest.raises(ConfigError):
            sun_outage_half_angle_deg(dish, frequency)
    for bad in (0.0, -1.0, 181.0, float("nan")):
        with pytest.raises(ConfigError):
            sun_outages([], [MATERA], 0, 1000, bad)


def test_each_station_has_its_own_half_angle() -> None:
    satellite = orbits.circular(35_786.0, inclination=0.05, anomaly=20.0)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + 12 * DAY_MS)
    both = sun_outages([satellite], [MATERA, MATERA], *window, [0.4, 0.9])
    for place, half in enumerate((0.4, 0.9)):
        alone = sun_outages([satellite], [MATERA], *window, half)
        assert both.start_ms[both.station == place] == pytest.approx(alone.start_ms, abs=0.05)
        assert len(alone)
    assert len(sun_outages([], [], *window, [])) == 0


@given(st.floats(1e-3, 100.0), st.floats(1e8, 1e11))
def test_larger_dishes_are_blinded_for_less(dish: float, frequency: float) -> None:
    angle = sun_outage_half_angle_deg(dish, frequency)
    assert 0.266 < sun_outage_half_angle_deg(dish * 2.0, frequency) <= angle <= 90.27
