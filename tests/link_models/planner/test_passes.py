"""Contact plans from orbits: contacts, rates and light times against the geometry itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from link_models.budget import RateTable, preset
from link_models.orbit.elements import Satellite, load_elements
from link_models.orbit.geometry import Station, look
from link_models.orbit.passes import list_passes
from link_models.planner import PassLink, plan_passes
from link_models.planner import passes as passes_module
from link_models.planner.passes import RATE_STEP_MS
from stack.contacts.checks import overlaps, without_range
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_from_iso
from stack.core.errors import ConfigError
from tests.strategies import orbits

HOUR_MS = 3_600_000
START = dtn_from_iso("2026-10-01T12:00:00")
SATELLITES = dict(
    zip(
        ("dtn://s2a/", "dtn://s2b/", "dtn://s2c/"),
        load_elements(Path(__file__).parents[3] / "examples/data/earth-observation-2026-10-01.tle"),
        strict=True,
    )
)
STATIONS = {
    "dtn://svalbard/": Station(
        name="Svalbard", latitude_deg=78.23, longitude_deg=15.39, altitude_m=450.0
    ),
    "dtn://matera/": Station(
        name="Matera", latitude_deg=40.65, longitude_deg=16.70, altitude_m=536.0
    ),
}
LINK = PassLink(uplink=preset("s-band-up"), downlink=preset("x-band-down"))


def check_contacts(
    contacts: list[Contact], satellite: Satellite, station: Station, table: RateTable
) -> None:
    """At every second the plan gives the rate that the table gives for the elevation."""
    end = START + 12 * HOUR_MS
    times = np.arange(START, end, 1000)
    elevation = look(satellite, station, times.astype(float)).elevation_deg
    allowed = elevation > station.mask_deg
    wanted = np.array(
        [table.rate_bps(e) if up else 0.0 for e, up in zip(elevation, allowed, strict=True)]
    )
    planned = np.zeros(len(times))
    for contact in contacts:
        inside = (times >= contact.start_ms) & (times < contact.end_ms)
        assert (planned[inside] == 0.0).all(), "contacts of one direction overlap"
        planned[inside] = contact.rate_bps
    # An edge falls on whole milliseconds; a top step shorter than the sampling may be left out.
    edges = np.array([t for c in contacts for t in (c.start_ms, c.end_ms)] or [0])
    near_edge = np.abs(times[:, None] - edges[None, :]).min(axis=1) <= 1
    differs = (planned != wanted) & ~near_edge
    assert (planned[differs] < wanted[differs]).all(), "never faster than the link allows"
    runs = np.split(
        np.flatnonzero(differs), np.flatnonzero(np.diff(np.flatnonzero(differs)) > 1) + 1
    )
    assert all(len(run) <= RATE_STEP_MS / 1000 for run in runs)


def test_contacts_have_the_rate_of_the_elevation() -> None:
    plan = plan_passes(SATELLITES, STATIONS, LINK, START, START + 12 * HOUR_MS)
    assert LINK.uplink is not None
    assert LINK.downlink is not None
    for craft, satellite in SATELLITES.items():
        for site, station in STATIONS.items():
            up, down = plan.between(site, craft), plan.between(craft, site)
            assert up
            assert len(down) > len(up)
            check_contacts(up, satellite, station, LINK.uplink)
            check_contacts(down, satellite, station, LINK.downlink)
    assert set(plan.nodes) == {*SATELLITES, *STATIONS}
    assert overlaps(plan) == []
    assert without_range(plan) == []


@pytest.mark.slow
@given(
    orbits.low_orbits,
    orbits.stations,
    st.dictionaries(st.floats(-5.0, 85.0), st.floats(1.0, 1e9), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_any_orbit_station_and_table(
    satellite: Satellite, station: Station, steps: dict[float, float]
) -> None:
    table = RateTable(tuple(zip(sorted(steps), sorted(steps.values()), strict=True)))
    link = PassLink(uplink=None, downlink=table)
    plan = plan_passes(
        {"ipn:2.0": satellite}, {"ipn:1.0": station}, link, START, START + 12 * HOUR_MS,
        light_error_ns=1_000_000,
    )  # fmt: skip
    assert plan.between("ipn:1.0", "ipn:2.0") == []
    check_contacts(plan.between("ipn:2.0", "ipn:1.0"), satellite, station, table)


@pytest.mark.parametrize("error_ns", [1_000, 10_000, 100_000, 3_000_000])
def test_light_times_are_those_of_the_geometry(error_ns: int) -> None:
    craft, site = "dtn://s2a/", "dtn://svalbard/"
    plan = plan_passes(
        {craft: SATELLITES[craft]},
        {site: STATIONS[site]},
        LINK,
        START,
        START + 6 * HOUR_MS,
        light_error_ns=error_ns,
    )
    for contact in plan.between(craft, site):
        times = np.arange(contact.start_ms, contact.end_ms, 97)
        true_ns = look(SATELLITES[craft], STATIONS[site], times.astype(float)).light_time_ns
        for source, destination in ((craft, site), (site, craft)):
            planned = np.array([plan.owlt_ns(source, destination, t) for t in times.tolist()])
            assert np.abs(planned - true_ns).max() <= error_ns
    # 786 km above to 2,800 km at the horizon.
    light = plan.light_time(craft, site).owlts_ns
    assert 2_600_000 - error_ns < min(light) <= max(light) < 9_500_000 + error_ns


def test_ranges_cover_passes_without_gap_or_overlap() -> None:
    passes = list_passes(
        list(SATELLITES.values()), list(STATIONS.values()), START, START + 3 * HOUR_MS
    )
    counts = []
    for error_ns in (1000, 100_000, 50_000_000):
        plan = plan_passes(
            SATELLITES, STATIONS, LINK, START, START + 3 * HOUR_MS, light_error_ns=error_ns
        )
        covered = sum(r.end_ms - r.start_ms for r in plan.ranges)
        assert covered == 2 * sum(p.set_ms - p.rise_ms for p in passes)
        counts.append(len(plan.ranges))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 2 * len(passes), "one step is enough for a large error"


def test_links_by_pair_carry_owner_and_confidence() -> None:
    table = RateTable(((10.0, 1e6),))
    links: Mapping[tuple[str, str], PassLink] = {
        ("dtn://svalbard/", "dtn://s2b/"): PassLink(
            uplink=table, downlink=None, confidence=0.9, owner="KSAT", jurisdiction="NO"
        )
    }
    plan = plan_passes(SATELLITES, STATIONS, links, START, START + 6 * HOUR_MS)
    assert plan.contacts
    for contact in plan.contacts:
        assert (contact.source, contact.destination) == ("dtn://svalbard/", "dtn://s2b/")
        assert (contact.confidence, contact.owner, contact.jurisdiction) == (0.9, "KSAT", "NO")
    with pytest.raises(ConfigError, match="links"):
        plan_passes(SATELLITES, STATIONS, {("dtn://s2a/", "dtn://matera/"): LINK}, START, START + 1)


def test_nothing_to_plan() -> None:
    window = (START, START + 60_000)
    assert plan_passes({}, STATIONS, LINK, *window) == Plan()
    assert plan_passes(SATELLITES, {}, LINK, *window) == Plan()
    assert plan_passes(SATELLITES, STATIONS, {}, START, START + 12 * HOUR_MS) == Plan()
    blind = {"dtn://x/": replace(STATIONS["dtn://matera/"], mask_deg=89.9)}
    assert plan_passes(SATELLITES, blind, LINK, *window) == Plan()


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    window = (START, START + 6 * HOUR_MS)
    for error_ns in (0, 999):
        with pytest.raises(ConfigError, match="light_error_ns"):
            plan_passes(SATELLITES, STATIONS, LINK, *window, light_error_ns=error_ns)
    plan = plan_passes(SATELLITES, STATIONS, LINK, *window)
    monkeypatch.setattr(passes_module, "RANGES_MAX", len(plan.ranges))
    assert plan_passes(SATELLITES, STATIONS, LINK, *window) == plan
    monkeypatch.setattr(passes_module, "RANGES_MAX", len(plan.ranges) - 1)
    with pytest.raises(ConfigError, match="allow more error"):
        plan_passes(SATELLITES, STATIONS, LINK, *window)
    both = {"dtn://s2a/": STATIONS["dtn://matera/"]}
    with pytest.raises(ConfigError, match="satellite too"):
        plan_passes(SATELLITES, both, LINK, *window)


def test_confidence_may_depend_on_the_elevation() -> None:
    def clear(elevation_deg: float, rate_bps: float) -> float:
        assert rate_bps > 0
        return elevation_deg / 90.0

    link = PassLink(uplink=None, downlink=preset("x-band-down"), confidence=clear)
    craft, site = "dtn://s2a/", "dtn://svalbard/"
    plan = plan_passes(
        {craft: SATELLITES[craft]}, {site: STATIONS[site]}, link, START, START + 12 * HOUR_MS
    )
    assert len({contact.confidence for contact in plan.contacts}) > 2
    for contact in plan.contacts:
        edges = np.array([contact.start_ms, contact.end_ms], dtype=float)
        seen = look(SATELLITES[craft], STATIONS[site], edges).elevation_deg
        assert contact.confidence == pytest.approx(seen.min() / 90.0, abs=1e-4)
