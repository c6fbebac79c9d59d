"""What has come down has no passes, however SGP4 goes on."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from link_models.orbit.crosslink import CrosslinkLimits, find_crosslinks
from link_models.orbit.decay import decay_ms
from link_models.orbit.elements import load_elements
from link_models.orbit.fitness import (
    AGE_DAYS_MAX,
    doubts,
    expected_error_km,
    expected_error_s,
    nearest_epochs,
)
from link_models.orbit.geometry import Ephemeris, Station
from link_models.orbit.mean_elements import DAY_MS, MeanElements, Satellite
from link_models.orbit.passes import find_passes, list_passes, pass_table
from stack.core.clock import dtn_from_iso
from tests.strategies import orbits

CASES = Path(__file__).parent / "cases"
SITES = [Station(name="svalbard", latitude_deg=78.2, longitude_deg=15.4)]


def case(name: str) -> list[Satellite]:
    return load_elements(CASES / name)


def with_drag(bstar: float, altitude_km: float, eccentricity: float = 0.001) -> Satellite:
    motion = orbits.elliptic(altitude_km, eccentricity).satrec.no_kozai * 1440 / (2 * math.pi)
    return MeanElements(
        name="falls", catalogue_id=1, epoch_days=float(orbits.EPOCH_DAYS), inclination_deg=80.0,
        node_deg=0.0, eccentricity=eccentricity, perigee_deg=0.0, anomaly_deg=0.0,
        motion_rev_day=motion, bstar=bstar,
    ).satellite("test")  # fmt: skip


def first_error_ms(satellite: Satellite, until_ms: float) -> float:
    """SGP4 asked every half minute from the epoch on."""
    days = np.arange(satellite.epoch_ms, until_ms, 30_000.0) / DAY_MS
    whole = np.floor(days)
    error, _, _ = satellite.satrec.sgp4_array(whole + 2_451_544.5, days - whole)
    failed = np.flatnonzero(error)
    return float(days[failed[0]] * DAY_MS) if len(failed) else math.inf


@pytest.mark.slow
@given(st.floats(0.001, 0.2), st.floats(200.0, 500.0), st.floats(0.0, 0.01))
def test_decay_is_when_sgp4_first_fails(bstar: float, altitude: float, e: float) -> None:
    satellite = with_drag(bstar, altitude, e)
    until = satellite.epoch_ms + 40 * DAY_MS
    expected = first_error_ms(satellite, until)
    found = decay_ms(satellite, until)
    if math.isinf(expected):
        assert math.isinf(found)
    else:
        turn_ms = 2 * math.pi / satellite.satrec.no_kozai * 60_000
        # The mean orbit may be below the surface some revolutions before SGP4 says so; and where an
        # orbit only grazes it, the graze of one revolution may be missed.
        assert expected - DAY_MS / 2 <= found <= expected + 1.1 * turn_ms


def test_an_orbit_that_sgp4_gives_again_later_stays_down() -> None:
    (drag,) = case("drag.tle")
    start = dtn_from_iso("2028-06-01T00:00:00Z")
    # SGP4 itself has positions then, without an error.
    days = start / DAY_MS + np.arange(0.0, 30.0, 0.01)
    error, place, _ = drag.satrec.sgp4_array(np.full_like(days, 2_451_544.5), days)
    assert np.isfinite(place[error == 0]).all()
    assert (error == 0).any()
    assert list_passes([drag], SITES, start, start + 30 * 86_400_000) == []
    assert find_passes([drag], SITES, start, start + 86_400_000).lost == (0,)
    (said,) = doubts([drag], start, start + 86_400_000)
    assert "DRAG-A decays by 2027-04" in said


def test_decay_within_the_window_is_told_and_the_others_passes_are_given() -> None:
    both = case("decayed-beside-good.tle")
    start = both[0].epoch_ms
    end = start + 86_400_000
    found = find_passes(both, SITES, start, end)
    assert found.lost == (1,)
    alone = find_passes(both[:1], SITES, start, end)
    assert found.rise_ms == pytest.approx(alone.rise_ms)
    assert len(alone) > 10
    (said,) = doubts(both, start, end)
    assert said.startswith("DEC-A decays by 2026-10-01T12")


def test_passes_end_where_the_satellite_does() -> None:
    falls = with_drag(0.05, 250.0)
    start = int(falls.epoch_ms)
    down = decay_ms(falls, start + 60 * DAY_MS)
    assert down < start + 60 * DAY_MS
    found = find_passes([falls], SITES, start, start + 60 * 86_400_000)
    assert len(found)
    assert found.set_ms.max() <= down + 1
    assert found.lost == (0,)


def test_nobody_links_to_what_is_down() -> None:
    both = case("decayed-beside-good.tle")
    start = both[0].epoch_ms
    later = start + 2 * 86_400_000
    assert len(find_crosslinks(both, [(0, 1)], later, later + 86_400_000, CrosslinkLimits())) == 0
    place, _ = Ephemeris(both).teme_pairs(np.array([0, 1]), np.array([later, later], float))
    assert np.isfinite(place[:, 0]).all()
    assert np.isnan(place[:, 1]).all()


def test_before_the_epoch_nothing_has_decayed() -> None:
    (drag,) = case("drag.tle")
    start = drag.epoch_ms - 5 * 86_400_000
    assert len(find_passes([drag], SITES, start, start + 86_400_000)) > 3


# ---- several sets of one satellite; age


def test_of_two_sets_the_nearest_epoch_counts_and_each_pass_comes_once() -> None:
    sets = case("dup.tle")
    assert len(sets) == 2
    (one,) = nearest_epochs(sets, sets[0].epoch_ms)
    assert one is sets[0]
    old, new = orbits.circular(500.0), orbits.circular(600.0)
    new = Satellite(new.name, new.catalogue_id, new.epoch_ms + 10 * 86_400_000, new.satrec)
    assert nearest_epochs([old, new], old.epoch_ms + 4 * DAY_MS) == [old]
    assert nearest_epochs([old, new], old.epoch_ms + 6 * DAY_MS) == [new]


def test_satellites_without_numbers_are_told_apart_by_name() -> None:
    one = orbits.circular(500.0)
    first = Satellite("a", 0, one.epoch_ms, one.satrec)
    second = Satellite("b", 0, one.epoch_ms, one.satrec)
    assert nearest_epochs([first, second], 0.0) == [first, second]


def test_old_elements_are_told_with_what_to_expect() -> None:
    satellite = orbits.circular(500.0)
    start = satellite.epoch_ms
    bound = start + round(AGE_DAYS_MAX * DAY_MS)
    assert doubts([satellite], start, bound) == []
    (said,) = doubts([satellite], start, bound + 86_400_000)
    assert "15 days old" in said
    assert expected_error_km(satellite, start) == pytest.approx(1.0)
    assert expected_error_km(satellite, start - 10 * DAY_MS) == pytest.approx(31.0)
    # 31 km at 7.6 km/s
    assert expected_error_s(satellite, start + 10 * DAY_MS) == pytest.approx(4.07, abs=0.03)
    row = pass_table([satellite], SITES, start + 86_400_000, start + 2 * 86_400_000)[0]
    assert row.elements_age_days == pytest.approx((row.rise_ms - start) / DAY_MS, abs=1e-6)
    assert row.expected_error_s == pytest.approx(expected_error_s(satellite, row.rise_ms))
