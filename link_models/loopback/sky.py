"""What the sky decides before a run begins: passes, rates, light times, blackouts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from link_models.channel import Delay, Window
from link_models.loopback.scenario import RadioConfig, Scenario
from link_models.loss import Blackouts
from link_models.orbit.elements import Satellite, load_elements
from link_models.orbit.geometry import Floats, Station, look
from link_models.orbit.passes import Pass, list_passes
from link_models.planner import PassLink, plan_passes
from link_models.rng import Streams
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError

LIGHT_STEP_S = 1.0
"""Light times are computed this often within passes, and linear between."""

PASSES_MAX = 20_000
"""Most passes of a run."""


@dataclass(frozen=True, slots=True)
class SkyPass:
    """A satellite above the mask of a station; nanoseconds of the run."""

    station: str
    satellite: str
    rise_ns: int
    culmination_ns: int
    set_ns: int
    max_elevation_deg: float
    blackouts_ns: tuple[tuple[int, int], ...]
    """Unannounced interruptions, (start, end)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A station and a satellite with a link between them."""

    station: str
    satellite: str
    radio: RadioConfig
    up: tuple[Window, ...]
    down: tuple[Window, ...]
    delay: Delay
    blackouts: Blackouts


@dataclass(frozen=True, slots=True)
class Sky:
    """Everything about the links that is known before the run."""

    plan: Plan
    """Contacts and ranges, as the nodes are given them: without blackouts."""

    pairs: tuple[Pair, ...]
    passes: tuple[SkyPass, ...]
    """By time of rise."""

    satellites: dict[str, Satellite]
    stations: dict[str, Station]
    start_ms: int

    def elevations(self, station: str, satellite: str, times_ns: Floats) -> Floats:
        """Elevations in degrees at times of the run."""
        times_ms = times_ns / MILLISECOND + self.start_ms
        return look(self.satellites[satellite], self.stations[station], times_ms).elevation_deg


def make_sky(scenario: Scenario, streams: Streams) -> Sky:
    """Compute passes and links.  Raises `ConfigError` for elements or stations that are wrong."""
    satellites = {
        one.id: _satellite(scenario, one.elements, one.name, one.id) for one in scenario.satellites
    }
    stations = {
        one.id: Station(
            name=one.id,
            latitude_deg=one.latitude_deg,
            longitude_deg=one.longitude_deg,
            altitude_m=one.altitude_m,
            mask_deg=one.mask_deg,
        )
        for one in scenario.stations
    }
    radios = {
        (station.id, satellite): (radio, station)
        for station in scenario.stations
        for satellite in satellites
        if (radio := scenario.radio(station.id, satellite)) is not None
    }
    if not radios:
        raise ConfigError("radios", "no pair of station and satellite has a radio")
    links = {
        pair: PassLink(
            uplink=radio.up.table(),
            downlink=radio.down.table(),
            owner=station.owner,
            jurisdiction=station.jurisdiction,
        )
        for pair, (radio, station) in radios.items()
    }
    start_ms, end_ms = scenario.start_ms, scenario.end_ms
    plan = plan_passes(satellites, stations, links, start_ms, end_ms)
    found = list_passes(list(satellites.values()), list(stations.values()), start_ms, end_ms)
    if len(found) > PASSES_MAX:
        raise ConfigError("duration_h", f"more than {PASSES_MAX} passes", "a shorter run")
    passes: list[SkyPass] = []
    pairs: list[Pair] = []
    for (station, satellite), (radio, _) in radios.items():
        own = [p for p in found if p.station == station and p.satellite == satellite]
        blackouts = _blackouts(own, radio, streams, start_ms)
        passes += _sky_passes(own, blackouts, start_ms)
        pairs.append(
            Pair(
                station,
                satellite,
                radio,
                _windows(plan.between(station, satellite), start_ms),
                _windows(plan.between(satellite, station), start_ms),
                _delay(satellites[satellite], stations[station], own, start_ms),
                blackouts,
            )
        )
    passes.sort(key=lambda p: (p.rise_ns, p.station, p.satellite))
    whole = plan.add(*_terrestrial(scenario))
    return Sky(whole, tuple(pairs), tuple(passes), satellites, stations, start_ms)


def _satellite(scenario: Scenario, file: str, name: str, node_id: str) -> Satellite:
    """The satellite of a file, under its node id."""
    for one in load_elements(scenario.path(file)):
        if not name or one.name == name:
            return dataclasses.replace(one, name=node_id)
    raise ConfigError("satellites.name", f"{name!r} is not in {file}", "write it as it is there")


def _ns(dtn_ms: int, start_ms: int) -> int:
    return (dtn_ms - start_ms) * MILLISECOND


def _windows(contacts: list[Contact], start_ms: int) -> tuple[Window, ...]:
    return tuple(
        Window(_ns(c.start_ms, start_ms), _ns(c.end_ms, start_ms), c.rate_bps) for c in contacts
    )


def _blackouts(own: list[Pass], radio: RadioConfig, streams: Streams, start_ms: int) -> Blackouts:
    """The blackouts of a pair, drawn from a substream of its own."""
    if not own:
        return Blackouts([])
    return Blackouts.random(
        streams.stream(f"{own[0].station}/{own[0].satellite}/blackouts"),
        inside_ns=[(_ns(one.rise_ms, start_ms), _ns(one.set_ms, start_ms)) for one in own],
        per_hour=radio.blackouts.per_hour,
        mean_s=radio.blackouts.mean_s,
        shape=radio.blackouts.shape,
    )


def _sky_passes(own: list[Pass], blackouts: Blackouts, start_ms: int) -> Iterator[SkyPass]:
    for one in own:
        rise_ns, set_ns = _ns(one.rise_ms, start_ms), _ns(one.set_ms, start_ms)
        yield SkyPass(
            one.station,
            one.satellite,
            rise_ns,
            _ns(one.culmination_ms, start_ms),
            set_ns,
            one.max_elevation_deg,
            tuple(b for b in blackouts.intervals_ns if rise_ns <= b[0] < set_ns),
        )


def _delay(satellite: Satellite, station: Station, own: list[Pass], start_ms: int) -> Delay:
    """Light time over the passes of a pair."""
    if not own:
        return Delay.constant(0)
    parts = []
    for one in own:
        rise_ns, set_ns = _ns(one.rise_ms, start_ms), _ns(one.set_ms, start_ms)
        count = max(2, math.ceil((set_ns - rise_ns) / (LIGHT_STEP_S * 1e9)) + 1)
        parts.append(np.linspace(rise_ns, set_ns, count))
    times_ns = np.concatenate(parts)
    seen = look(satellite, station, times_ns / MILLISECOND + start_ms)
    return Delay(times_ns.tolist(), seen.light_time_ns.tolist())


def _terrestrial(scenario: Scenario) -> tuple[list[Contact], list[Range]]:
    contacts, ranges = [], []
    start_ms, end_ms = scenario.start_ms, scenario.end_ms
    for link in scenario.terrestrial:
        owlt_ns = round(link.delay_ms * MILLISECOND)
        for a, b in (link.between, link.between[::-1]):
            contacts.append(Contact(a, b, start_ms, end_ms, link.rate_bps))
            ranges.append(Range(a, b, start_ms, end_ms, owlt_ns))
    return contacts, ranges
