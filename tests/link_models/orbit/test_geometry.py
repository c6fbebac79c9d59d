"""Earth rotation and looks, against published vectors and Skyfield."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skyfield.api import EarthSatellite, load, wgs84

from link_models.orbit.elements import parse_tle
from link_models.orbit.geometry import (
    Ephemeris,
    Sight,
    Station,
    StationFrames,
    gmst_rad,
    look,
    teme_to_fixed,
)
from stack.core.clock import dtn_from_iso, unix_from_dtn
from stack.core.errors import ConfigError
from tests.link_models.orbit import real
from tests.strategies import orbits

ARC_SECOND = np.pi / 648_000.0


@pytest.fixture(scope="module")
def timescale() -> Any:
    return load.timescale(builtin=True)


def skyfield_time(timescale: Any, dtn_ms: float) -> Any:
    """Skyfield's time of a DTN time, leap seconds by Skyfield's own table."""
    whole = datetime.datetime.fromtimestamp(unix_from_dtn(int(dtn_ms // 1000) * 1000), datetime.UTC)
    return timescale.utc(
        whole.year, whole.month, whole.day, whole.hour, whole.minute,
        whole.second + (dtn_ms % 1000.0) / 1000.0,
    )  # fmt: skip


def test_sidereal_time_of_a_published_example() -> None:
    # Vallado, Fundamentals of Astrodynamics and Applications, example 3-5: 1992-08-20 12:14 UT1.
    time = np.array([float(dtn_from_iso("1992-08-20T12:14:00"))])
    # The book works with centuries of nine decimals, which is 1e-7 deg.
    assert np.degrees(gmst_rad(time))[0] == pytest.approx(152.578_787_810, abs=1e-7)
    # A second of UT1-UTC turns the Earth by 15.04 arc seconds.
    turned = gmst_rad(time, 0.5) - gmst_rad(time)
    assert turned[0] == pytest.approx(0.5 * 15.041_067 * ARC_SECOND, rel=1e-5)


def test_teme_to_fixed_of_a_published_example() -> None:
    # Vallado, Crawford, Hujsak, Kelso: Revisiting Spacetrack Report #3 (AIAA 2006-6753),
    # appendix C: 2004-04-06 07:51:28.386 UTC, UT1-UTC -0.439961 s.
    teme = np.array([[5094.18016210], [6127.64465950], [6380.34453270]])
    rate = np.array([[-4.746131487], [0.785818041], [5.531931288]])
    time = np.array([dtn_from_iso("2004-04-06T07:51:28") + 386.0])
    position, velocity = teme_to_fixed(teme, rate, gmst_rad(time, -0.439961))
    # The example goes on to ITRF with the polar motion that we neglect.
    x, y = -0.140682 * ARC_SECOND, 0.333309 * ARC_SECOND
    polar = np.array([[1.0, 0.0, x], [0.0, 1.0, -y], [-x, y, 1.0]])
    assert (polar @ position)[:, 0] == pytest.approx(
        # They kept time as one Julian date, whose last bit is 40 microseconds: 2 cm of turn.
        [-1033.47938300, 7901.29527540, 6380.35659580],
        abs=2.4e-5,
    )
    assert (polar @ velocity)[:, 0] == pytest.approx(
        [-3.225636520, -2.872451450, 5.531924446], abs=2e-8
    )
    # What that neglect costs, as the module says: less than 18 m.
    assert np.linalg.norm(polar @ position - position) < 0.018


@pytest.mark.parametrize(
    ("latitude", "longitude", "altitude"),
    [(78.23, 15.39, 450.0), (-33.9, 151.2, 20.0), (0.0, -180.0, 0.0), (90.0, 0.0, -50.0)],
)
def test_stations_stand_where_skyfield_puts_them(
    latitude: float, longitude: float, altitude: float
) -> None:
    station = Station(name="x", latitude_deg=latitude, longitude_deg=longitude, altitude_m=altitude)
    theirs = wgs84.latlon(latitude, longitude, elevation_m=altitude).itrs_xyz.km
    assert StationFrames([station]).position_km[0] == pytest.approx(theirs, abs=1e-8)


@pytest.mark.parametrize("text", [real.ISS, real.HUBBLE, real.LANDSAT_8, real.SENTINEL_2A])
def test_looks_equal_skyfield(timescale: Any, text: str) -> None:
    (satellite,) = parse_tle(text)
    line1, line2 = text.splitlines()[1:]
    theirs = EarthSatellite(line1, line2, ts=timescale)
    times = satellite.epoch_ms + np.arange(-0.5, 2.0, 0.0123) * 86_400_000.0
    when = [skyfield_time(timescale, t) for t in times]
    dut1_s = float(np.mean([t.dut1 for t in when]))
    station = Station(name="x", latitude_deg=40.65, longitude_deg=16.70, altitude_m=536.0)
    site = wgs84.latlon(40.65, 16.70, elevation_m=536.0)
    seen = look(satellite, station, times, dut1_s=dut1_s)
    for i, t in enumerate(when):
        apparent = (theirs - site).at(t)
        elevation, azimuth, distance = apparent.altaz()
        rate = apparent.frame_latlon_and_rates(site)[5]
        # UT1-UTC moves by up to 2 ms over the days, that is by a metre.
        assert seen.elevation_deg[i] == pytest.approx(elevation.degrees, abs=1e-4)
        turn = (seen.azimuth_deg[i] - azimuth.degrees + 180.0) % 360.0 - 180.0
        assert turn * np.cos(elevation.radians) == pytest.approx(0.0, abs=1e-4)
        assert seen.range_km[i] == pytest.approx(distance.km, abs=1.5e-3)
        assert seen.range_rate_km_s[i] == pytest.approx(rate.km_per_s, abs=2e-6)
    # Light time is range in another unit: 299,792.458 km make a second.
    assert seen.light_time_ns[0] == pytest.approx(seen.range_km[0] / 299_792.458 * 1e9)


@given(orbits.any_orbits, orbits.stations)
def test_rates_are_derivatives(satellite: Any, station: Station) -> None:
    sight = Sight([satellite], [station])
    times = orbits.EPOCH_MS + np.linspace(0.0, 4e7, 50)
    zeros = np.zeros(len(times), dtype=np.intp)
    before, after = (sight.look(zeros, zeros, times + step) for step in (-500.0, 500.0))
    middle = sight.look(zeros, zeros, times)
    _, rate = sight.sine(zeros, zeros, times)
    slope = np.sin(np.radians(after.elevation_deg)) - np.sin(np.radians(before.elevation_deg))
    # SGP4's velocity is not quite the derivative of its position; a second is not quite zero.
    assert rate == pytest.approx(slope, abs=1e-5)
    assert middle.range_rate_km_s == pytest.approx(after.range_km - before.range_km, abs=2e-2)


def test_grid_and_pairs_agree() -> None:
    satellites = [parse_tle(text)[0] for text in (real.ISS, real.HUBBLE, real.SENTINEL_2A)]
    ephemeris = Ephemeris(satellites, 0.1)
    times = satellites[0].epoch_ms + np.arange(0.0, 1e8, 7.7e6)
    grid, valid = ephemeris.grid([0, 1, 2], times)
    assert valid.all()
    which = np.repeat([0, 1, 2], len(times))
    position, _ = ephemeris.pairs(which, np.tile(times, 3))
    assert position.reshape(3, 3, -1).swapaxes(0, 1) == pytest.approx(grid, abs=1e-7)
    nothing, _ = ephemeris.pairs(np.empty(0, dtype=np.intp), np.empty(0))
    assert nothing.shape == (3, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"latitude_deg": 90.1},
        {"latitude_deg": float("nan")},
        {"longitude_deg": 360.1},
        {"longitude_deg": -180.1},
        {"altitude_m": 100_001.0},
        {"altitude_m": -1001.0},
        {"mask_deg": 90.0},
        {"mask_deg": -10.1},
        {"horizon": ((0.0, 5.0), (0.0, 6.0))},
        {"horizon": ((360.0, 5.0),)},
        {"horizon": ((10.0, 90.0),)},
        {"horizon": tuple((i / 20, 1.0) for i in range(3601))},
    ],
)
def test_stations_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"name": "gs", "latitude_deg": 0.0, "longitude_deg": 0.0}
    (key,) = fields
    with pytest.raises(ConfigError) as caught:
        Station(**(good | fields))
    assert caught.value.key == key


@given(st.floats(-90.0, 90.0), st.floats(-180.0, 360.0))
def test_local_axes_are_orthonormal(latitude: float, longitude: float) -> None:
    frames = StationFrames([Station(name="x", latitude_deg=latitude, longitude_deg=longitude)])
    axes = np.array([frames.east[0], frames.north[0], frames.up[0]])
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_dut1_is_bounded() -> None:
    for value in (0.91, -0.91, float("nan")):
        with pytest.raises(ConfigError, match="dut1_s"):
            Ephemeris([], value)
