"""What is foreseen and what happens, held against geometry and against each other."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from link_models.channel import Window
from link_models.loss.rules import Rule
from link_models.orbit.geometry import look
from link_models.orbit.sun import sunlit_share
from link_models.rng import Streams
from stack.contacts.plan import Contact
from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError
from stack.simulator.scenario import Scenario, parse_scenario
from stack.simulator.sky import Sky, make_sky, predict

ROOT = Path(__file__).parents[3]
NORTH_ID, SOUTH_ID = "dtn://north/", "dtn://south/"
NORTH: dict[str, Any] = {"id": NORTH_ID, "latitude_deg": 78.2, "longitude_deg": 15.4}
SOUTH: dict[str, Any] = {"id": SOUTH_ID, "latitude_deg": -72.0, "longitude_deg": 2.5}
PLAIN = {"up": {"rates": [[5.0, 256e3]]}, "down": {"rates": [[5.0, 10e6], [30.0, 50e6]]}}
BUDGET = {"up": {"preset": "s-band-up"}, "down": {"preset": "x-band-acm"}}


def scenario(**more: Any) -> Scenario:
    data: dict[str, Any] = {
        "title": "Sky",
        "start": "2026-10-01T00:00:00Z",
        "duration_h": 12,
        "stations": [NORTH, SOUTH],
        "satellites": [
            {
                "id": "dtn://sat1/",
                "elements": "examples/data/earth-observation-2026-10-01.tle",
                "name": "SENTINEL-2A",
            }
        ],
        "radios": [PLAIN],
    }
    return parse_scenario(data | more, ROOT)


def span_ns(windows: tuple[Window, ...]) -> int:
    return sum(one.end_ns - one.start_ns for one in windows)


def within(windows: tuple[Window, ...], at_ns: float) -> float:
    """The rate at a time."""
    for one in windows:
        if one.start_ns <= at_ns < one.end_ns:
            return one.rate_bps
    return 0.0


def overlap_max(contacts: list[Contact]) -> int:
    edges = sorted(
        [(c.start_ms, 1) for c in contacts] + [(c.end_ms, -1) for c in contacts],
        key=lambda edge: (edge[0], edge[1]),
    )
    return max(np.cumsum([step for _, step in edges]).tolist(), default=0)


# -- without disturbances ----------------------------------------------------------------------


def test_without_disturbances_what_is_planned_happens() -> None:
    sky = make_sky(scenario(), Streams(1))
    assert len(sky.links) == 2
    for link in sky.links:
        for way in (link.forward, link.backward):
            assert way.planned == way.windows
            assert not way.rules


def test_a_budget_never_promises_more_than_it_keeps() -> None:
    """Adaptive coding under a clear sky: rates in force are those planned or better, all pass."""
    sky = make_sky(scenario(radios=[BUDGET]), Streams(1))
    for link in sky.links:
        way = link.backward
        assert way.planned
        for window in way.planned:
            for at_ns in np.linspace(window.start_ns, window.end_ns - 1, 50):
                assert within(way.windows, at_ns) >= window.rate_bps
        assert span_ns(way.windows) == span_ns(way.planned)
        assert len({one.rate_bps for one in way.windows}) > 3  # it does adapt


def test_rates_follow_the_budget_at_the_distance_of_the_moment() -> None:
    # Fixed allowances and no hysteresis: the rate of a moment depends on that moment alone.
    sky = make_sky(scenario(radios=[BUDGET | {"down": {"preset": "x-band-down"}}]), Streams(1))
    link = sky.links[0]
    budget = link.backward.config.link()
    assert budget is not None
    craft, site = sky.satellites[link.b], sky.stations[link.a]
    hits = 0
    for window in link.backward.windows:
        middle_ms = (window.start_ns + window.end_ns) / 2 / MILLISECOND + sky.start_ms
        seen = look(craft, site, np.array([middle_ms]))
        expected = float(budget.series(seen.range_km * 1e3, seen.elevation_deg).rate_bps[0])
        hits += window.rate_bps == pytest.approx(expected)
    assert hits >= 0.9 * len(link.backward.windows)  # the others change within their middle second


def test_light_time_is_that_of_the_orbit() -> None:
    sky = make_sky(scenario(), Streams(1))
    for link in sky.links:
        craft, site = sky.satellites[link.b], sky.stations[link.a]
        for window in link.forward.windows:
            at_ns = (window.start_ns + window.end_ns) / 2 + 0.37 * SECOND
            seen = look(craft, site, np.array([at_ns / MILLISECOND + sky.start_ms]))
            assert link.delay.at_one(at_ns) == pytest.approx(float(seen.light_time_ns[0]), abs=100)


# -- what the planner foresees -----------------------------------------------------------------


@pytest.mark.slow
def test_one_antenna_serves_one_satellite() -> None:
    crowd = {"id": "dtn://r{}/", "count": 12, "planes": 3, "inclination_deg": 88}
    busy = scenario(constellations=[crowd], planning={"guard_s": 30})
    plan = predict(busy).plan
    for station in (NORTH, SOUTH):
        ups = [c for c in plan.contacts if c.source == station["id"]]
        assert overlap_max(ups) == 1
        served = sorted((c.start_ms, c.end_ms, c.destination) for c in ups)
        turns = [(a, b) for a, b in pairwise(served) if a[2] != b[2]]
        assert turns
        assert all(b[0] - a[1] >= 30_000 for a, b in turns)
    for craft in busy.spacecraft():
        assert overlap_max([c for c in plan.contacts if c.destination == craft.id]) <= 1
    free = predict(scenario(constellations=[crowd], planning={"scheduling": "none"})).plan
    ups = [c for c in free.contacts if c.source == NORTH_ID]
    assert overlap_max(ups) > 1


@pytest.mark.slow
def test_more_antennas_serve_more() -> None:
    crowd = {"id": "dtn://r{}/", "count": 12, "planes": 3, "inclination_deg": 88}
    volumes = []
    for antennas in (1, 2, 12):
        stations = [NORTH | {"antennas": antennas}, SOUTH]
        plan = predict(scenario(constellations=[crowd], stations=stations)).plan
        volumes.append(sum(c.volume_bytes for c in plan.contacts if c.source == NORTH_ID))
    assert volumes[0] < volumes[1] < volumes[2]


def test_in_the_dark_nothing_comes_down() -> None:
    sat: dict[str, Any] = {
        "id": "dtn://sat1/",
        "elements": "examples/data/earth-observation-2026-10-01.tle",
        "sunlit_only": True,
    }
    equator = {"id": "dtn://eq/", "latitude_deg": 0.0, "longitude_deg": 0.0}
    here = {"duration_h": 48, "stations": [NORTH, equator]}
    dark = predict(scenario(satellites=[sat], **here))
    free = predict(scenario(**here))
    craft = dark.satellites["dtn://sat1/"]
    downs = [c for c in dark.plan.contacts if c.source == "dtn://sat1/"]
    assert downs
    for contact in downs:
        times = np.linspace(contact.start_ms, contact.end_ms, 20)[1:-1]
        assert (sunlit_share(craft, times) > 0.999).all()
    count = len([c for c in free.plan.contacts if c.source == "dtn://sat1/"])
    assert len(downs) < count  # the night passes over the equator are gone
    assert [c for c in dark.plan.contacts if c.destination == "dtn://sat1/"] == [
        c for c in free.plan.contacts if c.destination == "dtn://sat1/"
    ]


def test_the_sun_blinds_a_receiver_and_the_plan_knows() -> None:
    # A wide angle, so that some pass meets the Sun.
    stations = [NORTH | {"sun_outage_deg": 25.0}, SOUTH]
    blind = predict(scenario(stations=stations)).plan
    free = predict(scenario()).plan
    north = NORTH_ID
    down = [sum(c.volume_bytes for c in p.contacts_to(north)) for p in (blind, free)]
    assert down[0] < down[1]
    assert [c for c in blind.contacts if c.source == north] == [
        c for c in free.contacts if c.source == north
    ]


def test_confidence_is_the_product_of_what_may_fail() -> None:
    run = scenario(
        disturbances=[
            {"kind": "outage", "mtbf_s": 9000, "mttr_s": 1000, "stations": [NORTH_ID]},
            {"kind": "clouds", "cloud_fraction": 0.25, "direction": "down"},
        ]
    )
    plan = predict(run).plan
    found = {(c.source, c.destination): c.confidence for c in plan.contacts}
    assert found[NORTH_ID, "dtn://sat1/"] == pytest.approx(0.9)
    assert found["dtn://sat1/", NORTH_ID] == pytest.approx(0.675)
    assert found["dtn://sat1/", SOUTH_ID] == pytest.approx(0.75)
    assert found[SOUTH_ID, "dtn://sat1/"] == 1.0


def test_planning_for_rain_lowers_rates_and_raises_confidence() -> None:
    stations = [NORTH | {"site": "singapore"}]
    radios = [{"up": {"preset": "s-band-up"}, "down": {"preset": "ka-down"}}]
    plans = [
        predict(scenario(stations=stations, radios=radios, planning={"availability": share})).plan
        for share in (0.0, 0.99)
    ]
    volumes = [sum(c.volume_bytes for c in plan.contacts_to(NORTH_ID)) for plan in plans]
    odds = [np.average([c.confidence for c in plan.contacts_to(NORTH_ID)]) for plan in plans]
    assert volumes[1] < volumes[0]
    assert odds[1] > odds[0]
    assert odds[1] >= 0.985


# -- what happens ------------------------------------------------------------------------------


def test_a_fade_closes_a_link_exactly_while_it_lasts() -> None:
    base = make_sky(scenario(), Streams(1))
    first = base.links[0].backward.planned[0]
    start_s = first.start_ns / SECOND + 60
    jamming = {"kind": "jamming", "from_s": start_s, "until_s": start_s + 60, "fade_db": 10.0}
    for fade_db, closed in ((10.0, True), (2.0, False)):
        sky = make_sky(scenario(disturbances=[jamming | {"fade_db": fade_db}]), Streams(1))
        way = sky.links[0].backward
        assert way.planned == base.links[0].backward.planned
        lost = span_ns(way.planned) - span_ns(way.windows)
        assert lost == (pytest.approx(60 * SECOND, abs=1.1 * SECOND) if closed else 0)
        assert bool(within(way.windows, (start_s + 30) * SECOND)) is not closed


def test_adaptive_coding_steps_down_in_rain_and_fixed_plans_stay() -> None:
    rain = {
        "kind": "rain-front",
        "start_latitude_deg": NORTH["latitude_deg"],
        "start_longitude_deg": NORTH["longitude_deg"],
        "heading_deg": 90.0,
        "speed_m_s": 0.1,
        "depth_m": 1e6,
        "length_m": 1e6,
        "peak_db": 4.0,
    }
    dry = make_sky(scenario(radios=[BUDGET]), Streams(1))
    wet = make_sky(scenario(radios=[BUDGET], disturbances=[rain]), Streams(1))
    assert wet.plan == dry.plan
    for one, other in zip(dry.links, wet.links, strict=True):
        volumes = [
            sum((w.end_ns - w.start_ns) * w.rate_bps for w in link.backward.windows)
            for link in (one, other)
        ]
        if one.a == NORTH_ID:
            assert 0.3 * volumes[0] < volumes[1] < 0.9 * volumes[0]
        else:
            assert volumes[1] == volumes[0]


def rules_of(sky: Sky, number: int, *, back: bool) -> list[Rule]:
    link = sky.links[number]
    way = link.backward if back else link.forward
    return [rule(Streams(1), f"{way.source}/{way.destination}") for rule in way.rules]


def test_an_outage_takes_all_links_of_a_station_both_ways() -> None:
    sats = [
        {
            "id": f"dtn://sat{n}/",
            "elements": "examples/data/earth-observation-2026-10-01.tle",
            "name": f"SENTINEL-2{name}",
        }
        for n, name in ((1, "A"), (2, "B"))
    ]
    outage = {"kind": "outage", "mtbf_s": 3000, "mttr_s": 3000, "stations": [NORTH_ID]}
    sky = make_sky(
        scenario(satellites=sats, planning={"scheduling": "none"}, disturbances=[outage]),
        Streams(1),
    )
    lost: dict[str, set[tuple[bool, ...]]] = {}
    times = np.arange(0, 12 * 3600, 30) * SECOND
    for number, link in enumerate(sky.links):
        for back in (False, True):
            rules = rules_of(sky, number, back=back)
            if link.a != NORTH_ID:
                assert not rules
                continue
            (rule,) = rules
            assert rule.loss is not None
            verdicts = tuple(rule.loss.lost(100, int(at)) for at in times.tolist())
            lost.setdefault(link.a, set()).add(verdicts)
    (verdicts,) = lost[NORTH_ID]  # the same for four directions
    assert 0.2 < np.mean(verdicts) < 0.8


def test_one_more_rule_changes_nobody_elses_luck() -> None:
    blackouts = PLAIN | {"blackouts": {"per_hour": 20, "mean_s": 10}}
    base = make_sky(scenario(radios=[blackouts]), Streams(7))
    more = make_sky(
        scenario(
            radios=[blackouts],
            disturbances=[{"kind": "outage", "mtbf_s": 9000, "mttr_s": 900}],
        ),
        Streams(7),
    )
    assert [link.blackouts_ns for link in base.links] == [link.blackouts_ns for link in more.links]
    assert base.links[0].blackouts_ns
    other = make_sky(scenario(radios=[blackouts]), Streams(8))
    assert other.links[0].blackouts_ns != base.links[0].blackouts_ns


# -- between satellites ------------------------------------------------------------------------

RING = {"id": "dtn://r{}/", "count": 8, "planes": 1, "inclination_deg": 88, "altitude_km": 2000}


@pytest.mark.slow
def test_a_ring_is_always_closed_and_as_long_as_it_should_be() -> None:
    run = scenario(
        satellites=[],
        constellations=[RING],
        crosslinks=[{"topology": "ring", "link": {"rates": [[0, 1e9]]}}],
    )
    sky = make_sky(run, Streams(1))
    across = [link for link in sky.links if link.kind == "crosslink"]
    assert len(across) == 8
    # Two neighbours on a circle: 2 a sin(pi / n); SGP4's circles wobble by some kilometres.
    length_km = 2 * (6378.137 + 2000) * math.sin(math.pi / 8)
    for link in across:
        assert link.forward.windows == link.backward.windows
        assert span_ns(link.forward.windows) >= 0.9999 * 12 * 3600 * SECOND
        light_s = link.delay.at_one(3600 * SECOND) / SECOND
        assert light_s * 299_792.458 == pytest.approx(length_km, abs=40)
        assert sky.plan.between(link.a, link.b)
        assert sky.plan.owlt_ns(link.a, link.b, sky.start_ms + 3_600_000) / SECOND == pytest.approx(
            light_s, abs=11e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize(("topology", "pairs"), [("ring", 8), ("all", 28)])
def test_what_the_earth_hides_has_no_contact(topology: str, pairs: int) -> None:
    run = scenario(
        satellites=[],
        constellations=[RING],
        crosslinks=[{"topology": topology, "link": {"rates": [[0, 1e9]]}}],
    )
    found = predict(run)
    assert len(found.crosslinks) == pairs
    for pair in found.crosslinks:
        apart = abs(int(pair[0].strip("dtn:/r")) - int(pair[1].strip("dtn:/r")))
        steps = min(apart, 8 - apart)
        # 2000 km up: two places on (90 deg) the line of sight dips to 5924 km, below ground.
        assert bool(found.plan.between(*pair)) == (steps == 1)


def test_nothing_to_join_is_said() -> None:
    with pytest.raises(ConfigError, match="no pair"):
        predict(scenario(radios=[PLAIN | {"stations": [NORTH_ID], "satellites": []}][:0]))
    with pytest.raises(ConfigError, match="is not in"):
        predict(
            scenario(
                satellites=[
                    {
                        "id": "dtn://sat1/",
                        "elements": "examples/data/earth-observation-2026-10-01.tle",
                        "name": "MIR",
                    }
                ]
            )
        )
