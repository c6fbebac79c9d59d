"""Constellations, and elements that are written and read back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from link_models.orbit.constellation import (
    mean_motion_rev_day,
    sun_synchronous,
    sun_synchronous_inclination_deg,
    walker,
)
from link_models.orbit.elements import (
    MeanElements,
    Satellite,
    load_elements,
    parse_elements,
    parse_tle,
)
from link_models.orbit.geometry import Ephemeris, Floats
from link_models.orbit.sun import sun_position_km
from link_models.orbit.writers import write_omm_json, write_tle
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError
from tests.link_models.orbit import real
from tests.strategies import orbits

EPOCH = orbits.EPOCH_MS
DAY_MS = 86_400_000


def places(satellites: list[Satellite], times_ms: Floats) -> Floats:
    """Positions in km, shape (satellites, times, 3)."""
    found, _ = Ephemeris(satellites).teme_grid(times_ms, range(len(satellites)))
    return found.transpose(1, 2, 0)


# ---- patterns


def test_a_walker_delta_is_spread_over_nodes_and_phases() -> None:
    # Galileo's pattern, 56 deg: 24/3/1.
    satellites = walker("gal", 24, 3, 1, 56.0, 23_222e3, EPOCH, raan_deg=10.0)
    names = [one.name for one in satellites]
    assert names[:2] == ["gal-1-1", "gal-1-2"]
    assert names[-1] == "gal-3-8"
    assert len(set(names)) == len({one.catalogue_id for one in satellites}) == 24
    for place, one in enumerate(satellites):
        plane, slot = divmod(place, 8)
        assert math.degrees(one.satrec.inclo) == pytest.approx(56.0)
        assert math.degrees(one.satrec.nodeo) == pytest.approx(10.0 + 120.0 * plane)
        # 45 deg from place to place, 15 deg from plane to plane.
        assert math.degrees(one.satrec.mo) == pytest.approx((45.0 * slot + 15.0 * plane) % 360.0)
        assert one.epoch_ms == EPOCH


def test_a_walker_star_is_spread_over_half_the_nodes() -> None:
    satellites = walker("iridium", 66, 6, 2, 86.4, 780e3, EPOCH, star=True)
    nodes = np.degrees([one.satrec.nodeo for one in satellites[::11]])
    assert nodes == pytest.approx(np.arange(6) * 30.0)
    assert satellites[10].name == "iridium-1-11"
    assert satellites[11].name == "iridium-2-01"


@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(0, 5),
    st.floats(0.0, 179.0).map(lambda degrees: round(degrees, 4)),
    st.floats(300e3, 30_000e3),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_orbits_are_nearly_circles_of_the_height_that_was_asked_for(
    planes: int, per_plane: int, phasing: int, inclination: float, altitude: float
) -> None:
    total = planes * per_plane
    satellites = walker("x", total, planes, phasing % planes, inclination, altitude, EPOCH)
    times = EPOCH + np.linspace(0.0, DAY_MS, 97)
    radius = np.linalg.norm(places(satellites, times), axis=-1)
    axis = 6378.135 + altitude / 1000.0
    # J2 lowers a low equatorial orbit by 10 km and rocks a low polar one by as much; the Moon
    # moves a high one by less.
    assert np.abs(radius - axis).max() < 15.0
    assert np.abs(radius.mean() - axis) < 11.0


@given(st.floats(0.0, 180.0), st.floats(200e3, 40_000e3))
def test_mean_motions_give_the_mean_axis_that_sgp4_computes(
    inclination: float, altitude: float
) -> None:
    (satellite,) = walker("x", 1, 1, 0, inclination, altitude, EPOCH)
    # SGP4's own semi-major axis, in Earth radii of WGS-72.
    assert satellite.satrec.a * 6378.135 == pytest.approx(6378.135 + altitude / 1e3, rel=1e-9)
    assert mean_motion_rev_day(altitude, inclination) > 0.0


def test_the_sun_synchronous_inclination_of_real_satellites() -> None:
    # Sentinel-2 at 786 km and 98.57 deg, Landsat 8 at 705 km and 98.2 deg.
    assert sun_synchronous_inclination_deg(786e3) == pytest.approx(98.57, abs=0.05)
    assert sun_synchronous_inclination_deg(705e3) == pytest.approx(98.2, abs=0.05)
    assert sun_synchronous_inclination_deg(5_960e3) > 170.0
    with pytest.raises(ConfigError, match="too high"):
        sun_synchronous_inclination_deg(5_990e3)


def test_a_sun_synchronous_plane_keeps_its_hour() -> None:
    satellites = sun_synchronous("sso", 4, 600e3, 22.5, EPOCH)
    assert [one.name for one in satellites] == ["sso-1", "sso-2", "sso-3", "sso-4"]
    for day in (0, 100, 200, 365):
        time = np.array([float(EPOCH + day * DAY_MS)])
        place, speed = Ephemeris(satellites[:1]).teme_pairs(np.zeros(1, dtype=np.intp), time)
        normal = np.cross(place[:, 0], speed[:, 0])
        node = math.degrees(math.atan2(normal[0], -normal[1]))
        x, y, _ = sun_position_km(time)[:, 0]
        hour = (node - math.degrees(math.atan2(y, x))) / 15.0 + 12.0
        # The Sun runs ahead and behind by up to a quarter of an hour each; the mean does not.
        assert (hour - 22.5 + 12.0) % 24.0 - 12.0 == pytest.approx(0.0, abs=0.6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"total": 10}, "planes"),
        ({"planes": 0}, "planes"),
        ({"planes": 13}, "planes"),
        ({"total": 0}, "planes"),
        ({"phasing": 3}, "phasing"),
        ({"phasing": -1}, "phasing"),
        ({"inclination_deg": 180.1}, "inclination"),
        ({"inclination_deg": math.nan}, "inclination"),
        ({"altitude_m": 159_999.0}, "altitude"),
        ({"altitude_m": 4.1e8}, "altitude"),
        ({"name": "x" * 97}, "characters"),
        ({"first_id": -1}, "catalogue"),
        ({"epoch_ms": dtn_from_iso("2101-01-01")}, "epoch"),
    ],
)
def test_patterns_that_do_not_exist_are_refused(change: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {
        "name": "x", "total": 12, "planes": 3, "phasing": 1, "inclination_deg": 53.0,
        "altitude_m": 550e3, "epoch_ms": EPOCH,
    }  # fmt: skip
    assert len(walker(**good)) == 12
    with pytest.raises(ConfigError, match=match):
        walker(**(good | change))
    for hour, total in ((24.1, 1), (-0.1, 1), (12.0, 0)):
        with pytest.raises(ConfigError):
            sun_synchronous("x", total, 600e3, hour, EPOCH)


# ---- writing and reading


@pytest.mark.parametrize(
    "text",
    [real.ISS, real.HUBBLE, real.LANDSAT_8, real.SENTINEL_2A, real.STARLINK_ALPHA5, real.MARIO_TLE],
)
def test_a_published_tle_is_written_as_it_was(text: str) -> None:
    written = write_tle(parse_tle(text)).splitlines()
    theirs = text.removeprefix("0 ").splitlines()
    assert written[0] == theirs[0]
    for ours, published in zip(written[1:], theirs[1:], strict=True):
        # All but what our satellites do not carry: designator, set and revolution numbers, and
        # so the checksum; and the sign of a zero.
        cut = slice(18, 62) if published[0] == "1" else slice(0, 63)
        assert ours[:8] == published[:8]
        assert ours[cut].replace("-0 ", "+0 ") == published[cut].replace("-0 ", "+0 ")


def test_a_constellation_reads_back(tmp_path: Any) -> None:
    satellites = walker("sat", 40, 5, 3, 97.6, 600e3, dtn_from_iso("2026-12-31T23:59:59.999"))
    times = satellites[0].epoch_ms + np.linspace(0.0, DAY_MS, 20)
    for name, text, tolerance_km in (
        ("sat.tle", write_tle(satellites), 0.1),
        ("sat.json", write_omm_json(satellites), 1e-4),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        back = load_elements(path)
        assert [one.name for one in back] == [one.name for one in satellites]
        assert [one.catalogue_id for one in back] == [one.catalogue_id for one in satellites]
        moved = np.linalg.norm(places(back, times) - places(satellites, times), axis=-1)
        assert moved.max() < tolerance_km


names = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" #"),
    min_size=1,
    max_size=24,
).filter(lambda name: bool(name.strip()))


@given(
    names,
    st.integers(0, 339_999),
    st.floats(2561.0, 35_000.0),
    st.floats(0.0, 180.0),
    st.tuples(*[st.floats(-360.0, 360.0)] * 3),
    st.floats(0.0, 0.9),
    st.floats(0.1, 17.0),
    st.floats(-0.5, 0.5),
    st.floats(-0.9, 0.9) | st.floats(-1e-5, 1e-5) | st.floats(-1e-9, 1e-9),
)
@example("x", 0, 2561.0, 0.0, (0.0, 0.0, 0.0), 0.0, 1.0, 0.0, 1.5e-11)
@example("x", 0, 2561.0, 0.0, (0.0, 0.0, 0.0), 0.0, 1.0, 0.0, -9.99996e-11)
def test_elements_survive_writing_and_reading(
    name: str,
    number: int,
    epoch_days: float,
    inclination: float,
    angles: tuple[float, float, float],
    eccentricity: float,
    motion: float,
    motion_dot: float,
    bstar: float,
) -> None:
    elements = MeanElements(
        name=name, catalogue_id=number, epoch_days=epoch_days, inclination_deg=inclination,
        node_deg=angles[0], perigee_deg=angles[1], anomaly_deg=angles[2],
        eccentricity=eccentricity, motion_rev_day=motion, motion_dot=motion_dot, bstar=bstar,
    )  # fmt: skip
    satellite = elements.satellite("test")
    one = satellite.satrec
    for text, degrees, seconds, relative in (
        (write_tle([satellite]), 5.1e-5, 4.4e-4, 1e-4),
        (write_omm_json([satellite]), 1e-10, 1e-6, 1e-12),
    ):
        (back,) = parse_elements(text)
        two = back.satrec
        assert back.name == name.strip()
        assert back.catalogue_id == number
        days = two.jdsatepoch - one.jdsatepoch + two.jdsatepochF - one.jdsatepochF
        assert days * 86_400.0 == pytest.approx(0.0, abs=seconds)
        for field in ("inclo", "nodeo", "argpo", "mo"):
            turn = math.degrees(getattr(one, field) - getattr(two, field))
            assert (turn + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=degrees)
        assert two.ecco == pytest.approx(one.ecco, abs=5.1e-8)
        assert two.no_kozai == pytest.approx(one.no_kozai, abs=2.3e-11)
        assert two.ndot == pytest.approx(one.ndot, abs=3e-14)
        assert two.bstar == pytest.approx(one.bstar, rel=relative, abs=1e-14)


def test_what_a_tle_cannot_carry_is_refused_and_omm_carries_it() -> None:
    record = json.loads(real.ISS_JSON)[0]
    for change, match in (
        ({"NORAD_CAT_ID": 340_000}, "340000"),
        ({"EPOCH": "2057-01-01T00:00:00"}, "2057"),
        ({"MEAN_MOTION_DOT": 12.5}, "columns"),
        ({"ECCENTRICITY": 0.99999999}, "columns"),
    ):
        (satellite,) = parse_elements(json.dumps(record | change))
        with pytest.raises(ConfigError, match=match):
            write_tle([satellite])
        (back,) = parse_elements(write_omm_json([satellite]))
        assert back.catalogue_id == satellite.catalogue_id
        assert back.epoch_ms == satellite.epoch_ms
        assert back.satrec.ecco == satellite.satrec.ecco


@pytest.mark.parametrize("name", ["", "   ", "two\nlines", "bell\a", "x" * 101])
def test_names_that_would_break_a_file_are_refused(name: str) -> None:
    (satellite,) = parse_tle(real.ISS)
    broken = Satellite(name, satellite.catalogue_id, satellite.epoch_ms, satellite.satrec)
    for write in (write_tle, write_omm_json):
        with pytest.raises(ConfigError, match="name"):
            write([broken])
