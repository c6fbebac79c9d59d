"""Passes: ends to a millisecond by Skyfield, none lost by exhaustive search."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from skyfield.api import EarthSatellite, load, wgs84

from link_models.orbit import search, spans
from link_models.orbit.elements import MeanElements, Satellite, parse_tle
from link_models.orbit.geometry import Sight, Station, look
from link_models.orbit.horizon import mask_deg
from link_models.orbit.passes import (
    WINDOW_MS_MAX,
    Pass,
    Passes,
    find_passes,
    list_passes,
    pass_table,
)
from stack.core.clock import dtn_from_iso, unix_from_dtn
from stack.core.errors import ConfigError
from tests.link_models.orbit import real
from tests.strategies import orbits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

SVALBARD = Station(name="Svalbard", latitude_deg=78.23, longitude_deg=15.39, altitude_m=450.0)
MATERA = Station(name="Matera", latitude_deg=40.65, longitude_deg=16.70, altitude_m=536.0)
SITES = [SVALBARD, MATERA, Station(name="Quito", latitude_deg=-0.2, longitude_deg=-78.5)]


# ---- against Skyfield


class Skyfield:
    """Altitude of one satellite at one station, as Skyfield has it."""

    def __init__(self, satellite: Satellite, station: Station) -> None:
        self.timescale = load.timescale(builtin=True)
        self._satellite = EarthSatellite.from_satrec(satellite.satrec, self.timescale)
        self._site = wgs84.latlon(
            station.latitude_deg, station.longitude_deg, elevation_m=station.altitude_m
        )

    def time(self, dtn_ms: float) -> Any:
        whole = datetime.datetime.fromtimestamp(
            unix_from_dtn(int(dtn_ms // 1000) * 1000), datetime.UTC
        )
        seconds = whole.second + (dtn_ms % 1000.0) / 1000.0
        return self.timescale.utc(*whole.timetuple()[:5], seconds)

    def altitude_deg(self, dtn_ms: float) -> float:
        apparent = (self._satellite - self._site).at(self.time(dtn_ms))
        return float(apparent.altaz()[0].degrees)

    def events(self, start_ms: float, end_ms: float, mask: float) -> list[tuple[int, float]]:
        times, kinds = self._satellite.find_events(
            self._site, self.time(start_ms), self.time(end_ms), altitude_degrees=mask
        )
        unix = [t.utc_datetime().timestamp() for t in times]
        return [(int(k), u * 1000.0) for k, u in zip(kinds, unix, strict=True)]


@pytest.mark.parametrize("text", [real.ISS, real.HUBBLE, real.LANDSAT_8, real.SENTINEL_2A])
@pytest.mark.parametrize("station", SITES, ids=lambda s: s.name)
@pytest.mark.parametrize("mask", [0.0, 10.0])
def test_ends_of_passes_equal_skyfield_to_a_millisecond(
    text: str, station: Station, mask: float
) -> None:
    station = replace(station, mask_deg=mask)
    (satellite,) = parse_tle(text)
    reference = Skyfield(satellite, station)
    start = satellite.epoch_ms
    dut1_s = float(reference.time(start + DAY_MS / 2).dut1)
    found = find_passes([satellite], [station], start, start + DAY_MS, dut1_s=dut1_s)
    clipped = (found.rise_ms == start) | (found.set_ms == start + DAY_MS)
    whole = np.flatnonzero(~clipped)
    for i in whole:
        # Up between a millisecond after rise and one before set, and only then.
        assert reference.altitude_deg(found.rise_ms[i] - 1.0) < mask
        assert reference.altitude_deg(found.rise_ms[i] + 1.0) > mask
        assert reference.altitude_deg(found.set_ms[i] - 1.0) > mask
        assert reference.altitude_deg(found.set_ms[i] + 1.0) < mask
        top, height = found.culmination_ms[i], found.max_elevation_deg[i]
        assert reference.altitude_deg(top) == pytest.approx(height, abs=1e-4)
        for step in (-100.0, 100.0):
            assert reference.altitude_deg(top + step) <= height + 1e-7
    theirs = reference.events(start, start + DAY_MS, mask)
    assert len([kind for kind, _ in theirs if kind == 1]) >= len(whole)
    rises = [unix_from_dtn(round(t)) * 1000.0 for t in found.rise_ms[found.rise_ms > start]]
    assert rises == pytest.approx([when for kind, when in theirs if kind == 0], abs=1000.0)


@pytest.mark.parametrize(
    "satellite",
    [
        orbits.circular(20_200.0, inclination=55.0, node=40.0),
        orbits.elliptic(600.0, 0.72, inclination=63.4, perigee=270.0),
        orbits.elliptic(250.0, 0.73, inclination=7.0, node=100.0),
    ],
    ids=["middle", "molniya", "transfer"],
)
@pytest.mark.parametrize("station", SITES, ids=lambda s: s.name)
def test_ends_of_long_passes_equal_skyfield_to_a_millisecond(
    satellite: Satellite, station: Station
) -> None:
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 2 * DAY_MS
    reference = Skyfield(satellite, station)
    rough = find_passes([satellite], [station], start, end)
    for rise in rough.rise_ms[rough.rise_ms > start]:
        # UT1-UTC moves by a millisecond in a day: take that of the hour.
        dut1_s = float(reference.time(rise).dut1)
        near = find_passes(
            [satellite], [station], round(rise) - HOUR_MS // 2, round(rise) + 60_000, dut1_s=dut1_s
        )
        exact = near.rise_ms[-1]
        assert reference.altitude_deg(exact - 1.0) < station.mask_deg
        assert reference.altitude_deg(exact + 1.0) > station.mask_deg


# ---- against an exhaustive search


def check_against_every_second(
    satellite: Satellite, station: Station, start_ms: int, end_ms: int, found: Passes
) -> None:
    """Each second of the window is in a pass just when the satellite is up."""
    times = np.arange(start_ms, end_ms, 1000.0)
    zeros = np.zeros(len(times), dtype=np.intp)
    seen = Sight([satellite], [station]).look(zeros, zeros, times)
    up = seen.elevation_deg > mask_deg(station, seen.azimuth_deg)
    place = np.searchsorted(found.rise_ms, times, side="right") - 1
    covered = np.zeros(len(times), dtype=bool)
    if len(found):
        covered = (place >= 0) & (times <= found.set_ms[place])
        edges = np.concatenate((found.rise_ms, found.set_ms))
        near = np.abs(times[:, None] - edges[None, :]).min(axis=1) < 1.0
        covered[near] = up[near]
    wrong = np.flatnonzero(covered != up)
    assert not len(wrong), (times[wrong[:5]] - start_ms, seen.elevation_deg[wrong[:5]])
    # Passes are apart, in the window, and what they say of themselves holds.
    assert (found.rise_ms[1:] > found.set_ms[:-1]).all()
    assert (found.rise_ms <= found.culmination_ms).all()
    assert (found.culmination_ms <= found.set_ms).all()
    for rise, down, height in zip(
        found.rise_ms, found.set_ms, found.max_elevation_deg, strict=True
    ):
        inside = seen.elevation_deg[(times >= rise) & (times <= down)]
        # SGP4's positions of high orbits jitter by centimetres.
        assert (inside <= height + 1e-5).all()


@pytest.mark.slow
@given(orbits.any_orbits, orbits.stations)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@example(orbits.elliptic(400.0, 0.74, inclination=63.4, perigee=270.0), SVALBARD)
@example(orbits.circular(35_786.0, inclination=0.1, anomaly=10.0), MATERA)
@example(orbits.circular(500.0), Station(name="pole", latitude_deg=90.0, longitude_deg=0.0))
def test_no_pass_is_lost_and_none_is_invented(satellite: Satellite, station: Station) -> None:
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 8 * HOUR_MS
    found = find_passes([satellite], [station], start, end)
    assert not found.lost
    check_against_every_second(satellite, station, start, end, found)


@pytest.mark.slow
@given(orbits.low_orbits, orbits.stations, orbits.horizons)
@settings(deadline=None, max_examples=60)
def test_obstacles_cut_passes(
    satellite: Satellite, station: Station, obstacles: tuple[tuple[float, float], ...]
) -> None:
    station = replace(station, horizon=obstacles, mask_deg=min(station.mask_deg, 10.0))
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 4 * HOUR_MS
    found = find_passes([satellite], [station], start, end)
    times = np.arange(start, end, 1000.0)
    zeros = np.zeros(len(times), dtype=np.intp)
    seen = Sight([satellite], [station]).look(zeros, zeros, times)
    clearance = seen.elevation_deg - mask_deg(station, seen.azimuth_deg)
    place = np.searchsorted(found.rise_ms, times, side="right") - 1
    covered = np.zeros(len(times), dtype=bool)
    if len(found):
        covered = (place >= 0) & (times <= found.set_ms[place])
    # In doubt are only seconds next to a change: obstacles are looked for each second.
    free = clearance > 0.0
    steady = np.ones(len(times), dtype=bool)
    change = np.flatnonzero(free[1:] != free[:-1])
    for step in (-1, 0, 1, 2):
        steady[np.clip(change + step, 0, len(times) - 1)] = False
    assert (covered == free)[steady].all()


MIX = [
    *[orbits.circular(350.0 + 300.0 * n, inclination=20.0 * n, node=70.0 * n) for n in range(5)],
    orbits.circular(20_200.0, inclination=55.0),
    orbits.circular(8_063.0, inclination=0.1, anomaly=200.0),
    orbits.elliptic(600.0, 0.72, inclination=63.4, perigee=270.0),
    orbits.elliptic(250.0, 0.73, inclination=7.0, anomaly=100.0),
    orbits.circular(35_786.0, inclination=0.1, anomaly=30.0),
    orbits.circular(35_786.0, inclination=60.0, node=30.0),
]
HILLS = ((0.0, 25.0), (40.0, 2.0), (100.0, 31.0), (170.0, 3.0), (260.0, 12.0), (300.0, 4.0))


@pytest.mark.slow
def test_no_pass_of_a_mixed_fleet_over_a_hilly_network_is_lost() -> None:
    sites = [replace(site, horizon=HILLS) for site in SITES]
    sites.append(Station(name="pole", latitude_deg=-89.9, longitude_deg=0.0, mask_deg=0.0))
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 10 * HOUR_MS
    found = find_passes(MIX, sites, start, end)
    hilly = 0
    for place, satellite in enumerate(MIX):
        for number, site in enumerate(sites):
            mine = (found.satellite == place) & (found.station == number)
            own = Passes(
                found.satellite[mine],
                found.station[mine],
                found.rise_ms[mine],
                found.culmination_ms[mine],
                found.set_ms[mine],
                found.max_elevation_deg[mine],
            )
            check_against_every_second(satellite, site, start, end, own)
            flat = find_passes([satellite], [replace(site, horizon=())], start, end)
            hidden_ms = (flat.set_ms - flat.rise_ms).sum() - (own.set_ms - own.rise_ms).sum()
            hilly += hidden_ms > 1000.0
    # Hills hide a part of most.
    assert hilly > 15


def test_obstacles_by_interpolation_round_north() -> None:
    station = replace(SVALBARD, horizon=((10.0, 20.0), (350.0, 40.0)), mask_deg=5.0)
    azimuths = np.array([10.0, 350.0, 0.0, 5.0, 180.0, 359.9])
    assert mask_deg(station, azimuths) == pytest.approx([20.0, 40.0, 30.0, 25.0, 30.0, 30.1])
    assert (mask_deg(SVALBARD, azimuths) == 5.0).all()
    low = replace(station, mask_deg=35.0)
    assert mask_deg(low, azimuths) == pytest.approx([35.0, 40.0, 35.0, 35.0, 35.0, 35.0])


# ---- short passes


@pytest.mark.slow
@given(
    orbits.low_orbits,
    orbits.stations,
    st.sampled_from([1e-5, 1e-4, 1e-3, 1e-2]),
    st.integers(0, 20),
)
@settings(deadline=None, max_examples=60)
def test_grazing_passes_are_found(
    satellite: Satellite, station: Station, by_deg: float, which: int
) -> None:
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 12 * HOUR_MS
    found = find_passes([satellite], [station], start, end)
    inside = np.flatnonzero((found.rise_ms > start) & (found.set_ms < end))
    assume(len(inside))
    i = inside[which % len(inside)]
    top, height = found.culmination_ms[i], found.max_elevation_deg[i]
    # Closer to the zenith a pass of so little height lasts less than a millisecond.
    assume(height < 89.0)
    below = replace(station, mask_deg=height - by_deg)
    grazing = find_passes([satellite], [below], start, end)
    hit = np.flatnonzero((grazing.rise_ms < top) & (grazing.set_ms > top))
    assert len(hit) == 1
    assert grazing.max_elevation_deg[hit[0]] == pytest.approx(height, abs=1e-9)
    above = replace(station, mask_deg=height + by_deg)
    missed = find_passes([satellite], [above], start, end)
    assert not ((missed.rise_ms < top + 1000.0) & (missed.set_ms > top - 1000.0)).any()


def test_a_pass_between_two_samples_has_exact_ends() -> None:
    (satellite,) = parse_tle(real.SENTINEL_2A)
    start = satellite.epoch_ms
    (usual,) = [p for p in list_passes([satellite], [MATERA], start, start + DAY_MS)][:1]
    short = replace(MATERA, mask_deg=usual.max_elevation_deg - 0.01)
    (grazing,) = list_passes(
        [satellite], [short], usual.culmination_ms - 60_000, usual.culmination_ms + 60_000
    )
    assert 0 < grazing.set_ms - grazing.rise_ms < 30_000
    sight = Sight([satellite], [short])
    zeros = np.zeros(4, dtype=np.intp)
    edges = [grazing.rise_ms - 1, grazing.rise_ms, grazing.set_ms, grazing.set_ms + 1]
    sine, _ = sight.sine(zeros, zeros, np.array(edges, dtype=float))
    above = sine > math.sin(math.radians(short.mask_deg))
    assert above.tolist() == [False, True, True, False]


# ---- windows, blocks, extremes


def test_a_window_cuts_passes_and_halves_join() -> None:
    (satellite,) = parse_tle(real.SENTINEL_2A)
    start = dtn_from_iso("2026-10-01T12:00:00")
    whole = list_passes([satellite], SITES, start, start + DAY_MS)
    middle = whole[3].culmination_ms
    left = list_passes([satellite], SITES, start, middle)
    right = list_passes([satellite], SITES, middle, start + DAY_MS)
    cut = [p for p in whole if p.rise_ms < middle < p.set_ms]
    ends_left = [q for q in left if q.set_ms == middle]
    assert [(q.station, q.rise_ms) for q in ends_left] == [(p.station, p.rise_ms) for p in cut]
    starts_right = [q for q in right if q.rise_ms == middle]
    assert [q.set_ms for q in starts_right] == [p.set_ms for p in cut]
    uncut = [p for p in whole if p not in cut]
    joined = [p for p in left if p.set_ms < middle] + [p for p in right if p.rise_ms > middle]
    assert [(p.station, p.rise_ms, p.set_ms) for p in joined] == [
        (p.station, p.rise_ms, p.set_ms) for p in uncut
    ]


def test_culmination_of_a_cut_pass_is_at_the_cut() -> None:
    (satellite,) = parse_tle(real.SENTINEL_2A)
    start = dtn_from_iso("2026-10-01T12:00:00")
    first = list_passes([satellite], [SVALBARD], start, start + DAY_MS)[0]
    (rising,) = list_passes([satellite], [SVALBARD], start, first.culmination_ms - 60_000)
    assert rising.culmination_ms == rising.set_ms == first.culmination_ms - 60_000
    assert 5.0 < rising.max_elevation_deg < first.max_elevation_deg
    (setting,) = list_passes(
        [satellite], [SVALBARD], first.culmination_ms + 60_000, first.set_ms + 60_000
    )
    assert setting.culmination_ms == setting.rise_ms == first.culmination_ms + 60_000
    assert setting.set_ms == first.set_ms


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    satellites = [
        orbits.circular(400.0 + 100.0 * i, inclination=10.0 * i, node=40.0 * i) for i in range(8)
    ] + [orbits.elliptic(500.0, 0.6, inclination=63.4)]
    sites = [replace(SVALBARD, horizon=((0.0, 8.0), (180.0, 30.0))), *SITES[1:]]
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS)
    whole = find_passes(satellites, sites, *window)
    for looks, samples in ((1, 1), (1500, 700)):
        monkeypatch.setattr(search, "BLOCK_LOOKS", looks)
        monkeypatch.setattr(spans, "CUT_SAMPLES", samples)
        parts = find_passes(satellites, sites, *window)
        for name in ("satellite", "station"):
            assert (getattr(parts, name) == getattr(whole, name)).all()
        for name in ("rise_ms", "culmination_ms", "set_ms"):
            assert getattr(parts, name) == pytest.approx(getattr(whole, name), abs=0.05)
    one = find_passes(satellites[3:4], sites[1:2], *window)
    mine = (whole.satellite == 3) & (whole.station == 1)
    assert one.rise_ms == pytest.approx(whole.rise_ms[mine], abs=0.05)


def test_a_geostationary_satellite_is_always_up_or_never() -> None:
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 3 * DAY_MS
    for anomaly in range(0, 360, 30):
        satellite = orbits.circular(35_786.0, inclination=0.01, anomaly=float(anomaly))
        found = find_passes([satellite], [MATERA], start, end)
        if len(found):
            assert found.rise_ms.tolist() == [start]
            assert found.set_ms.tolist() == [end]


def test_a_decayed_satellite_is_reported() -> None:
    falling = MeanElements(
        name="falling",
        catalogue_id=1,
        epoch_days=float(orbits.EPOCH_DAYS),
        inclination_deg=51.6,
        node_deg=0.0,
        eccentricity=0.001,
        perigee_deg=0.0,
        anomaly_deg=0.0,
        motion_rev_day=16.4,
        motion_dot=0.05,
        bstar=0.05,
    ).satellite("test")
    steady = orbits.circular(500.0, inclination=51.6)
    start = orbits.EPOCH_MS
    found = find_passes([steady, falling], SITES, start, start + 5 * DAY_MS)
    assert found.lost == (1,)
    alone = find_passes([steady], SITES, start, start + 5 * DAY_MS)
    assert found.rise_ms[found.satellite == 0] == pytest.approx(alone.rise_ms, abs=0.05)
    assert np.isfinite(found.max_elevation_deg).all()


def test_a_satellite_that_sgp4_silently_fails_on_is_reported() -> None:
    broken = orbits.circular(5873.0, inclination=1e-308)
    found = find_passes([broken], SITES, orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS)
    assert len(found) == 0
    assert found.lost == (0,)


def test_dut1_turns_the_earth() -> None:
    # A satellite over the pole sees no difference; one over the equator meets the station 0.5 s x
    # (rate of the Earth / relative rate of the satellite) earlier or later.
    satellite = orbits.circular(600.0, inclination=0.0)
    station = Station(name="x", latitude_deg=0.0, longitude_deg=0.0)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS)
    zero = find_passes([satellite], [station], *window)
    moved = find_passes([satellite], [station], *window, dut1_s=0.5)
    earth = 7.292115e-5
    relative = satellite.satrec.nm / 60.0 - earth
    shift = moved.culmination_ms[1:-1] - zero.culmination_ms[1:-1]
    assert shift == pytest.approx(500.0 * earth / relative, rel=0.01)


def test_nothing_to_search() -> None:
    start = orbits.EPOCH_MS
    for satellites, sites in (([], SITES), ([orbits.circular(500.0)], []), ([], [])):
        found = find_passes(satellites, sites, start, start + DAY_MS)
        assert len(found) == 0
        assert found.lost == ()
        assert pass_table(satellites, sites, start, start + DAY_MS) == []


def test_windows_are_bounded() -> None:
    start = orbits.EPOCH_MS
    for end in (start, start - 1, start + WINDOW_MS_MAX + 1):
        with pytest.raises(ConfigError, match="window"):
            find_passes([], [], start, end)
    assert len(find_passes([], [], start, start + WINDOW_MS_MAX)) == 0


def test_lists_and_tables_tell_the_same() -> None:
    (satellite,) = parse_tle(real.SENTINEL_2A)
    start = dtn_from_iso("2026-10-01T12:00:00")
    listed = list_passes([satellite], SITES, start, start + DAY_MS)
    table = pass_table([satellite], SITES, start, start + DAY_MS)
    assert listed == [
        Pass(r.station, r.satellite, r.rise_ms, r.culmination_ms, r.set_ms, r.max_elevation_deg)
        for r in table
    ]
    assert listed == sorted(listed, key=lambda p: p.rise_ms)
    # A sun-synchronous orbit passes Svalbard on nearly every one of its 14.3 revolutions, and a
    # station of the middle latitudes four to six times.
    assert len([row for row in table if row.station == "Svalbard"]) >= 13
    assert 4 <= len([row for row in table if row.station == "Matera"]) <= 7
    for row in table:
        times = np.linspace(row.rise_ms, row.set_ms, 2000)
        (site,) = [one for one in SITES if one.name == row.station]
        seen = look(satellite, site, times)
        fastest = np.abs(seen.range_rate_km_s).max() * 1000.0
        assert row.max_range_rate_m_s == pytest.approx(fastest, rel=1e-3)
        # 8.2 GHz: 27.35 Hz for each metre in a second.
        assert row.max_doppler_hz(8.2e9) == pytest.approx(fastest * 27.352, rel=2e-3)
        assert np.abs(seen.doppler_hz(8.2e9)).max() == pytest.approx(fastest * 27.352, rel=1e-3)
        assert row.duration_s == (row.set_ms - row.rise_ms) / 1000
        assert 780.0 < row.min_range_km < 2800.0
        assert 0.0 <= row.rise_azimuth_deg < 360.0


def test_the_fastest_moment_of_an_eccentric_pass_is_within_it() -> None:
    satellite = orbits.elliptic(600.0, 0.72, inclination=63.4, perigee=270.0)
    rows = pass_table([satellite], SITES, orbits.EPOCH_MS, orbits.EPOCH_MS + 2 * DAY_MS)
    inside = 0
    for row in rows:
        times = np.linspace(row.rise_ms, row.set_ms, 20_000)
        (site,) = [one for one in SITES if one.name == row.station]
        rates = np.abs(look(satellite, site, times).range_rate_km_s) * 1000.0
        assert row.max_range_rate_m_s == pytest.approx(rates.max(), rel=2e-3)
        inside += rates.max() > 1.001 * max(rates[0], rates[-1])
    assert inside
