"""Links between satellites: by hand, by Skyfield, and by looking at every second."""

from __future__ import annotations

import datetime
import math
from typing import Any

import erfa
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skyfield.api import EarthSatellite, load

from link_models.orbit import crosslink as module
from link_models.orbit.constellation import walker
from link_models.orbit.crosslink import (
    CrosslinkLimits,
    Crosslinks,
    all_pairs,
    find_crosslinks,
    look_across,
    plus_grid,
    ring,
)
from link_models.orbit.elements import Satellite, parse_tle
from link_models.orbit.geometry import Ephemeris, Floats
from link_models.orbit.sun import sun_position_km, sunlit_share
from stack.core.clock import unix_from_dtn
from stack.core.errors import ConfigError
from tests.link_models.orbit import real
from tests.strategies import orbits

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EVERYTHING = CrosslinkLimits(grazing_m=80_000.0)

two_orbits = st.tuples(orbits.any_orbits, orbits.any_orbits).filter(
    # Not twice the same, whose directions mean nothing.
    lambda two: any(
        getattr(two[0].satrec, key) != getattr(two[1].satrec, key)
        for key in ("no_kozai", "inclo", "mo", "nodeo")
    )
)


def places(satellite: Satellite, times_ms: Floats) -> tuple[Floats, Floats]:
    zeros = np.zeros(len(times_ms), dtype=np.intp)
    return Ephemeris([satellite]).teme_pairs(zeros, times_ms)


# ---- what one satellite sees of another


def test_ranges_equal_skyfield() -> None:
    timescale = load.timescale(builtin=True)
    texts = (real.ISS, real.HUBBLE)
    (iss,), (hubble,) = map(parse_tle, texts)
    theirs = [EarthSatellite(*text.splitlines()[1:], ts=timescale) for text in texts]
    times = iss.epoch_ms + np.arange(0.0, 1.0, 0.0173) * DAY_MS
    seen = look_across(iss, hubble, times)
    for i, time in enumerate(times):
        moment = datetime.datetime.fromtimestamp(
            unix_from_dtn(int(time // 1000) * 1000), datetime.UTC
        )
        second = moment.second + (time % 1000.0) / 1000.0
        at = timescale.utc(*moment.timetuple()[:5], second)
        a, b = theirs[0].at(at), theirs[1].at(at)
        apart, rate = b.xyz.m - a.xyz.m, b.velocity.m_per_s - a.velocity.m_per_s
        distance = np.linalg.norm(apart)
        assert seen.range_m[i] == pytest.approx(distance, abs=1e-5)
        assert seen.range_rate_m_s[i] == pytest.approx(apart @ rate / distance, abs=1e-6)
    assert seen.light_time_ns == pytest.approx(seen.range_m / 0.299_792_458)
    # 100 m/s are 333.6 Hz of a gigahertz, and coming nearer is positive.
    assert seen.doppler_hz(1e9) == pytest.approx(-seen.range_rate_m_s * 3.3356, rel=1e-4)


@given(two_orbits)
@settings(deadline=None, max_examples=40)
def test_grazing_heights_are_the_lowest_on_the_line(two: tuple[Satellite, Satellite]) -> None:
    a, b = two
    times = orbits.EPOCH_MS + np.linspace(0.0, 6.0 * HOUR_MS, 40)
    (first, _), (second, _) = places(a, times), places(b, times)
    grazing = look_across(a, b, times).grazing_m
    share = np.linspace(0.0, 1.0, 2001)
    for i in range(len(times)):
        line = first[:, i, None] * (1.0 - share) + second[:, i, None] * share
        lowest = erfa.gc2gd(1, line.T * 1000.0)[2].min() if grazing[i] > -50_000.0 else None
        if lowest is None:
            continue
        length = np.linalg.norm(second[:, i] - first[:, i]) * 1000.0
        # Between two points of the line it is lower by an arc's sagitta; and the height above the
        # ellipsoid is taken along the radius, not the normal: 1e-5 of it.
        sagitta = (length / 2000) ** 2 / (8 * 6.3e6)
        assert grazing[i] == pytest.approx(lowest, abs=1.0 + sagitta + 2e-5 * abs(lowest))


@given(two_orbits)
@settings(deadline=None, max_examples=40)
def test_pointing_rates_are_turns_in_the_orbital_frame(two: tuple[Satellite, Satellite]) -> None:
    a, b = two
    times = orbits.EPOCH_MS + np.linspace(0.0, 6.0 * HOUR_MS, 60)
    seen = look_across(a, b, times)

    def directions(moments: Floats) -> list[Floats]:
        (first, first_rate), (second, second_rate) = places(a, moments), places(b, moments)
        found = []
        for place, speed, line in (
            (first, first_rate, second - first),
            (second, second_rate, first - second),
        ):
            up = place / np.linalg.norm(place, axis=0)
            pole = np.cross(place, speed, axis=0)
            pole /= np.linalg.norm(pole, axis=0)
            ahead = np.cross(pole, up, axis=0)
            frame = np.stack((up, ahead, pole))
            found.append(np.einsum("kin,in->kn", frame, line / np.linalg.norm(line, axis=0)))
        return found

    step = 10.0
    before, after = directions(times - step), directions(times + step)
    turns = [
        np.degrees(2.0 * np.arcsin(np.linalg.norm(y - x, axis=0) / 2.0)) / (2.0 * step / 1000.0)
        for x, y in zip(before, after, strict=True)
    ]
    wanted = np.maximum(*turns)
    # The frame's own turn about the vertical (J2 pulls across the orbit) is left out: 1e-4 deg/s.
    calm = (wanted < 2.0) & (seen.range_m > 50_000.0)
    assert seen.pointing_rate_deg_s[calm] == pytest.approx(wanted[calm], abs=5e-4, rel=2e-3)


# ---- rings and grids


@pytest.mark.parametrize(("count", "altitude"), [(7, 1000e3), (12, 550e3), (24, 35_786e3)])
def test_neighbours_in_a_ring_keep_their_distance(count: int, altitude: float) -> None:
    satellites = walker("ring", count, 1, 0, 53.0, altitude, orbits.EPOCH_MS)
    times = orbits.EPOCH_MS + np.linspace(0.0, DAY_MS, 500)
    ideal = 2.0 * (6378.135e3 + altitude) * math.sin(math.pi / count)
    for a, b in ring(count):
        seen = look_across(satellites[a], satellites[b], times)
        # All satellites of a plane wobble alike.
        assert np.abs(seen.range_m - ideal).max() < 8_000.0
        assert seen.pointing_rate_deg_s.max() < 3e-4
    # The line between neighbours of seven at 1000 km passes 269 km high, of six 11 km.
    found = find_crosslinks(
        satellites, ring(count), orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS, EVERYTHING
    )
    assert found.pair.tolist() == list(range(count))
    assert (found.start_ms == orbits.EPOCH_MS).all()
    assert (found.end_ms == orbits.EPOCH_MS + DAY_MS).all()


def test_a_ring_of_six_at_1000_km_is_blocked_by_the_earth() -> None:
    satellites = walker("ring", 6, 1, 0, 53.0, 1000e3, orbits.EPOCH_MS)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + DAY_MS)
    assert len(find_crosslinks(satellites, ring(6), *window, EVERYTHING)) == 0
    # 7378 km x cos 30 deg - 6378 km = 11 km, give or take the flattening and the wobble.
    look = look_across(satellites[0], satellites[1], np.arange(*window, 60_000.0))
    assert -15_000.0 < look.grazing_m.min() < 11_000.0 < look.grazing_m.max() < 45_000.0


def test_topologies() -> None:
    assert all_pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert ring(1) == []
    assert ring(2) == [(0, 1)]
    assert ring(4) == [(0, 1), (1, 2), (2, 3), (0, 3)]
    assert plus_grid(1, 4) == sorted(ring(4))
    assert plus_grid(2, 1) == [(0, 1)]
    for planes, per_plane, phasing in ((6, 11, 2), (3, 3, 1), (10, 10, 0)):
        pairs = plus_grid(planes, per_plane, phasing)
        assert len(set(pairs)) == 2 * planes * per_plane
        ends = np.array(pairs)
        assert (ends[:, 0] < ends[:, 1]).all()
        # Everybody has four neighbours.
        assert (np.bincount(ends.ravel()) == 4).all()
        open_pairs = plus_grid(planes, per_plane, phasing, seam=False)
        assert len(pairs) - len(open_pairs) == per_plane
        assert set(open_pairs) < set(pairs)
    for planes, per_plane in ((0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="plane"):
            plus_grid(planes, per_plane)


def test_a_grid_closes_with_the_phasing_of_its_constellation() -> None:
    # 24 planes would be a long test: 8 of 9, every link across planes as long as any other.
    satellites = walker("delta", 72, 8, 5, 53.0, 550e3, orbits.EPOCH_MS)
    times = orbits.EPOCH_MS + np.linspace(0.0, 95.0 * 60_000, 60)
    across = [(a, b) for a, b in plus_grid(8, 9, 5) if a // 9 != b // 9]
    longest = [look_across(satellites[a], satellites[b], times).range_m.max() for a, b in across]
    assert max(longest) - min(longest) < 60_000.0
    wrong = [(a, b) for a, b in plus_grid(8, 9, 4) if {a // 9, b // 9} == {0, 7}]
    for a, b in wrong:
        seen = look_across(satellites[a], satellites[b], times)
        assert abs(seen.range_m.max() - longest[0]) > 200_000.0


def test_iridium_has_links_in_planes_always_and_across_the_seam_hardly() -> None:
    # 66 satellites in 6 planes at 780 km; in a plane they are 4033 km apart.
    satellites = walker("iridium", 66, 6, 2, 86.4, 780e3, orbits.EPOCH_MS, star=True)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + 4 * HOUR_MS)
    limits = CrosslinkLimits(range_max_m=5_000_000.0, pointing_rate_max_deg_s=0.1)
    pairs = plus_grid(6, 11, 2)
    found = find_crosslinks(satellites, pairs, *window, limits)
    linked_ms = np.bincount(found.pair, found.end_ms - found.start_ms, len(pairs))
    share = linked_ms / (window[1] - window[0])
    planes = np.array(pairs) // 11
    assert (share[planes[:, 0] == planes[:, 1]] == 1.0).all()
    seam = (planes[:, 0] == 0) & (planes[:, 1] == 5)
    assert seam.sum() == 11
    # Between the others the terminals turn too fast over the poles.
    beside = (planes[:, 0] != planes[:, 1]) & ~seam
    assert (share[beside] < 1.0).all()
    # Those that meet head-on have each other in reach for a short time only.
    assert 0.0 < share[seam].max() < share[beside].min() / 2.0


# ---- none lost, none invented


def allowed(a: Satellite, b: Satellite, limits: CrosslinkLimits, times: Floats) -> tuple[Any, Any]:
    """Whether a link may exist at times, and how near to a limit that is (0: on it)."""
    seen = look_across(a, b, times)
    margins = [
        (seen.grazing_m - limits.grazing_m) / 1e6,
        1.0 - seen.range_m / limits.range_max_m,
    ]
    if limits.pointing_rate_max_deg_s < math.inf:
        margins.append(1.0 - seen.pointing_rate_deg_s / limits.pointing_rate_max_deg_s)
    if limits.sun_exclusion_deg:
        (first, _), (second, _) = places(a, times), places(b, times)
        sun = sun_position_km(times)
        for one, place, line in ((a, first, second - first), (b, second, first - second)):
            to_sun = sun - place
            cosine = (line * to_sun).sum(axis=0)
            cosine /= np.linalg.norm(line, axis=0) * np.linalg.norm(to_sun, axis=0)
            away = np.degrees(np.arccos(np.clip(cosine, -1, 1))) - limits.sun_exclusion_deg
            # Well in the shadow it does not matter.
            margins.append(np.where(sunlit_share(one, times) == 0.0, 1.0, away))
    margin = np.min(margins, axis=0)
    return margin > 0.0, np.abs(margin)


def check_every(
    a: Satellite, b: Satellite, limits: CrosslinkLimits, found: Crosslinks, times: Floats
) -> None:
    free, margin = allowed(a, b, limits, times)
    place = np.searchsorted(found.start_ms, times, side="right") - 1
    covered = np.zeros(len(times), dtype=bool)
    if len(found):
        covered = (place >= 0) & (times <= found.end_ms[place])
        edges = np.concatenate((found.start_ms, found.end_ms))
        near = np.abs(times[:, None] - edges).min(axis=1) < 1.0
        covered[near] = free[near]
        middle = (found.start_ms + found.end_ms) / 2.0
        inside, deep = allowed(a, b, limits, middle)
        assert (inside | (deep < 1e-9)).all()
    wrong = np.flatnonzero(covered != free)
    assert not len(wrong), (times[wrong[:5]] - times[0], margin[wrong[:5]], limits)
    assert (found.start_ms[1:] > found.end_ms[:-1]).all()


all_limits = st.builds(
    CrosslinkLimits,
    grazing_m=st.sampled_from([0.0, 80_000.0, 250_000.0]),
    range_max_m=st.sampled_from([math.inf, 1e6, 3e6, 2e7]),
    pointing_rate_max_deg_s=st.sampled_from([math.inf, 0.05, 0.1, 0.5, 2.0]),
    sun_exclusion_deg=st.sampled_from([0.0, 0.0, 3.0, 25.0]),
)


@pytest.mark.slow
@given(two_orbits, all_limits)
@settings(deadline=None, max_examples=40)
@example(
    (orbits.circular(550.0, inclination=53.0), orbits.circular(550.0, inclination=127.0)),
    CrosslinkLimits(pointing_rate_max_deg_s=1.0, sun_exclusion_deg=10.0),
)
@example(
    (
        orbits.circular(35_786.0, inclination=0.1, anomaly=10.0),
        orbits.elliptic(400.0, 0.74, inclination=63.4, perigee=270.0),
    ),
    CrosslinkLimits(pointing_rate_max_deg_s=0.05, range_max_m=3e7),
)
def test_no_link_is_lost_and_none_is_invented(
    two: tuple[Satellite, Satellite], limits: CrosslinkLimits
) -> None:
    a, b = two
    start, end = orbits.EPOCH_MS, orbits.EPOCH_MS + 5 * HOUR_MS
    found = find_crosslinks([a, b], [(0, 1)], start, end, limits)
    assert not found.lost
    check_every(a, b, limits, found, np.arange(start, end, 2000.0))


@pytest.mark.slow
@pytest.mark.parametrize("apart_deg", [0.0, 0.003, 0.03, 0.3])
def test_fly_bys_are_followed_to_the_millisecond(apart_deg: float) -> None:
    # Two satellites of one height in crossing planes meet where the planes do, within metres to
    # tens of kilometres, at 7 km/s: everything happens within a second or two.
    a = orbits.circular(700.0, inclination=60.0, anomaly=0.0)
    b = orbits.circular(700.0, inclination=120.0, anomaly=apart_deg)
    start, end = orbits.EPOCH_MS - HOUR_MS, orbits.EPOCH_MS + HOUR_MS
    rough = np.arange(start, end, 100.0)
    nearest = rough[look_across(a, b, rough).range_m.argmin()]
    assert look_across(a, b, np.array([nearest])).range_m[0] < 60_000.0
    for rate in (0.5, 5.0, 50.0):
        for exclusion in (0.0, 40.0):
            limits = CrosslinkLimits(pointing_rate_max_deg_s=rate, sun_exclusion_deg=exclusion)
            found = find_crosslinks([a, b], [(0, 1)], start, end, limits)
            check_every(a, b, limits, found, np.arange(nearest - 8000.0, nearest + 8000.0))


def test_the_sun_blinds_a_receiver_but_not_from_behind_the_earth() -> None:
    # Neighbours in a low equatorial ring look at the Sun along the orbit twice a revolution: one
    # at the evening side, and its partner at the morning side.
    satellites = walker("ring", 12, 1, 0, 0.5, 700e3, orbits.EPOCH_MS)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + 6 * HOUR_MS)
    limits = CrosslinkLimits(sun_exclusion_deg=20.0)
    found = find_crosslinks(satellites, ring(12), *window, limits)
    times = np.arange(window[0], window[1], 10_000.0)
    for pair, (a, b) in enumerate(ring(12)):
        mine = found.pair == pair
        spans = Crosslinks(
            found.pair[mine], found.first[mine], found.second[mine],
            found.start_ms[mine], found.end_ms[mine],
        )  # fmt: skip
        assert (spans.first == a).all()
        assert (spans.second == b).all()
        check_every(satellites[a], satellites[b], limits, spans, times)
        share = (spans.end_ms - spans.start_ms).sum() / (window[1] - window[0])
        # Twice an arc of up to 40 deg in 360.
        assert 0.75 < share < 0.97


# ---- windows, blocks, refusals


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    satellites = [
        *walker("x", 6, 3, 1, 70.0, 900e3, orbits.EPOCH_MS),
        orbits.circular(35_786.0, inclination=1.0),
        orbits.elliptic(500.0, 0.6, inclination=63.4),
    ]
    pairs = [*all_pairs(8), (7, 0), (3, 1)]
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + 8 * HOUR_MS)
    limits = CrosslinkLimits(range_max_m=4e7, pointing_rate_max_deg_s=0.2, sun_exclusion_deg=5.0)
    whole = find_crosslinks(satellites, pairs, *window, limits)
    assert len(np.unique(whole.pair)) > 12
    for states, looks in ((2500, 1), (10_000_000, 10_000_000)):
        monkeypatch.setattr(module, "BLOCK_STATES", states)
        monkeypatch.setattr(module, "BLOCK_LOOKS", looks)
        parts = find_crosslinks(satellites, pairs, *window, limits)
        assert (parts.pair == whole.pair).all()
        assert parts.start_ms == pytest.approx(whole.start_ms, abs=0.05)
        assert parts.end_ms == pytest.approx(whole.end_ms, abs=0.05)
    # The same pair the other way round has the same links.
    there, back = pairs.index((0, 7)), pairs.index((7, 0))
    assert whole.start_ms[whole.pair == there] == pytest.approx(
        whole.start_ms[whole.pair == back], abs=0.05
    )
    assert (whole.first[whole.pair == back] == 7).all()


def test_a_decayed_satellite_is_reported() -> None:
    falling = parse_tle(real.MARIO_TLE)[0]
    start = orbits.EPOCH_MS
    steady = orbits.circular(500.0, inclination=51.6)
    found = find_crosslinks([steady, falling], [(0, 1)], start, start + DAY_MS, EVERYTHING)
    assert found.lost == (1,)
    assert len(found) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"grazing_m": -10_001.0},
        {"grazing_m": math.nan},
        {"range_max_m": 0.0},
        {"pointing_rate_max_deg_s": 0.0},
        {"pointing_rate_max_deg_s": math.nan},
        {"sun_exclusion_deg": -0.1},
        {"sun_exclusion_deg": 180.0},
    ],
)
def test_limits_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(fields))):
        CrosslinkLimits(**fields)


def test_pairs_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    satellites = walker("x", 3, 1, 0, 53.0, 550e3, orbits.EPOCH_MS)
    window = (orbits.EPOCH_MS, orbits.EPOCH_MS + 1000)
    for pairs in ([(0, 3)], [(-1, 0)], [(1, 1)]):
        with pytest.raises(ConfigError, match="pairs"):
            find_crosslinks(satellites, pairs, *window, EVERYTHING)
    with pytest.raises(ConfigError, match="window"):
        find_crosslinks(satellites, [], window[0], window[0], EVERYTHING)
    assert len(find_crosslinks([], [], *window, EVERYTHING)) == 0
    monkeypatch.setattr(module, "PAIRS_MAX", 2)
    assert not find_crosslinks(satellites, ring(3)[:2], *window, EVERYTHING).lost
    with pytest.raises(ConfigError, match="more than 2"):
        find_crosslinks(satellites, ring(3), *window, EVERYTHING)
