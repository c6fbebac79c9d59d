"""What a planner foresees: passes, antennas, rates, and the contact plan of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from link_models.budget import AttenuationTable, LinkBudget, RadioLink, confidence, load_site
from link_models.budget.series import Fade
from link_models.disturbances.config import Disturbance, applies
from link_models.disturbances.weather_kinds import Clouds, StationOutage
from link_models.orbit.crosslink import all_pairs, plus_grid, ring
from link_models.orbit.elements import Satellite
from link_models.orbit.fitness import doubts
from link_models.orbit.geometry import Floats, Look, Station, look
from link_models.orbit.passes import Pass, list_passes
from link_models.orbit.sun import eclipses, sun_outages
from link_models.planner import (
    PassLink,
    Schedule,
    plan_crosslinks,
    plan_passes,
    rate_contacts,
    schedule,
    tidy,
)
from stack.contacts.plan import Contact, Plan, Range
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError
from stack.simulator.scenario import CrosslinkConfig, DirectionConfig, RadioConfig, Scenario
from stack.simulator.sky.craft import load_satellites

PASSES_MAX = 500_000
"""Most passes of a run."""

SAMPLE_MS = 1000.0
"""Budgets are computed this often within passes."""

RAIN_HZ_MIN = 4e9
"""Below this rain takes less than 0.1 dB in all but the strongest storms (ITU-R P.838-3), and the
tables of sites begin above."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is known the day before."""

    plan: Plan
    """All contacts and ranges: to the ground, between satellites, on the ground."""

    offered: Plan
    """The contacts of stations and satellites before antennas were given to them."""

    schedule: Schedule | None
    """Who serves whom; None where every station serves every satellite."""

    passes: tuple[Pass, ...]
    """Satellites above the masks of stations that have a radio for them, by rise."""

    radios: dict[Pair, RadioConfig]
    """By station and satellite."""

    crosslinks: dict[Pair, CrosslinkConfig]
    satellites: dict[str, Satellite]
    stations: dict[str, Station]
    doubts: tuple[str, ...] = ()
    """What is to be said of the satellites' elements: decay, and age."""


def predict(scenario: Scenario) -> Prediction:
    """Compute passes and the contact plan.  Raises `ConfigError` for what cannot be planned."""
    satellites = load_satellites(scenario)
    stations = {one.id: one.station() for one in scenario.stations}
    radios = scenario.radios_by_pair()
    crosslinks = _crosslink_pairs(scenario)
    if not radios:
        raise ConfigError("radios", "no pair of station and satellite has a radio")
    start_ms, end_ms = scenario.start_ms, scenario.end_ms
    listed = list_passes(
        list(satellites.values()), list(stations.values()), start_ms, end_ms, dut1_s=scenario.dut1_s
    )
    passes = tuple(one for one in listed if (one.station, one.satellite) in radios)
    if len(passes) > PASSES_MAX:
        raise ConfigError("duration_h", f"more than {PASSES_MAX} passes", "a shorter run")
    sky = _Foreseen(scenario, satellites, stations, radios, passes)
    offered = sky.offered()
    planning = scenario.planning
    booked, who = offered, None
    if planning.scheduling == "best":
        crafts = scenario.spacecraft()
        who = schedule(
            offered,
            {one.id: one.antennas for one in scenario.stations},
            terminals={one.id: one.terminals for one in crafts},
            weights={one.id: one.weight for one in crafts},
            config=planning.schedule(),
        )
        booked = who.plan
    booked = tidy(
        booked,
        merge_gap_ms=round(planning.merge_gap_s * 1000),
        minimum_ms=round(planning.minimum_s * 1000),
        guard_ms=round(planning.edge_s * 1000),
    )
    plans = [booked, *_across(scenario, satellites, crosslinks), _on_ground(scenario)]
    whole = Plan(
        (contact for plan in plans for contact in plan.contacts),
        (entry for plan in plans for entry in plan.ranges),
    )
    said = tuple(doubts(list(satellites.values()), start_ms, end_ms))
    return Prediction(whole, offered, who, passes, radios, crosslinks, satellites, stations, said)


class _Foreseen:
    """The contacts that stations and satellites could have."""

    def __init__(
        self,
        scenario: Scenario,
        satellites: Mapping[str, Satellite],
        stations: Mapping[str, Station],
        radios: Mapping[Pair, RadioConfig],
        passes: Iterable[Pass],
    ) -> None:
        self._scenario = scenario
        self._satellites = satellites
        self._stations = stations
        self._radios = radios
        self._sites = {one.id: one for one in scenario.stations}
        self._passes: dict[Pair, list[Pass]] = {}
        for one in passes:
            self._passes.setdefault((one.station, one.satellite), []).append(one)

    def offered(self) -> Plan:
        """All of them, with light times."""
        scenario = self._scenario
        links = {
            pair: PassLink(
                uplink=radio.up.table() if radio.up.rates else None,
                downlink=radio.down.table() if radio.down.rates else None,
            )
            for pair, radio in self._radios.items()
        }
        tables = plan_passes(
            dict(self._satellites),
            dict(self._stations),
            links,
            scenario.start_ms,
            scenario.end_ms,
            light_error_ns=scenario.planning.light_error_ns,
            dut1_s=scenario.dut1_s,
        )
        contacts = [*tables.contacts, *self._from_budgets()]
        return Plan(self._labelled(self._not_blinded(contacts)), tables.ranges)

    def _from_budgets(self) -> Iterator[Contact]:
        for (station, satellite), own in self._passes.items():
            radio = self._radios[station, satellite]
            directions = ((radio.up, station, satellite), (radio.down, satellite, station))
            budgets = [
                (link, source, destination)
                for direction, source, destination in directions
                if (link := direction.link()) is not None
            ]
            if not budgets:
                continue
            craft, site = self._satellites[satellite], self._stations[station]
            for one in own:
                times_ms = sample_times(one.rise_ms, one.set_ms)
                seen = look(craft, site, times_ms, dut1_s=self._scenario.dut1_s)
                for link, source, destination in budgets:
                    yield from self._contacts(link, source, destination, times_ms, seen)

    def _contacts(
        self, link: LinkBudget, source: str, destination: str, times_ms: Floats, seen: Look
    ) -> Iterator[Contact]:
        """The contacts of one direction of a pass, each as likely as the weather lets it be."""
        planning = self._scenario.planning
        table = self._table(self._station_of(source, destination), link)
        range_m = seen.range_km * 1e3
        fade: Fade = 0.0
        if table is not None and planning.availability:
            fade = table.fade_db(seen.elevation_deg, 100.0 * planning.availability)
        rates = link.series(range_m, seen.elevation_deg, fade).rate_bps
        for contact in rate_contacts(
            source,
            destination,
            times_ms.astype(np.int64),
            rates,
            step_min_ms=round(planning.step_s * 1000),
        ):
            if table is not None:
                first, last = np.searchsorted(times_ms, (contact.start_ms, contact.end_ms))
                part = slice(int(first), int(last) + 1)
                odds = confidence(
                    link, table, range_m[part], seen.elevation_deg[part], contact.rate_bps
                )
                contact = replace(contact, confidence=float(odds.mean()))
            yield contact

    def _table(self, station: str, link: LinkBudget) -> AttenuationTable | None:
        """What the atmosphere takes at a station; None where that is next to nothing or unknown."""
        site = self._sites[station].site
        if not site or not isinstance(link, RadioLink) or link.frequency_hz < RAIN_HZ_MIN:
            return None
        return load_site(site).table(link.frequency_hz)

    # ---- what is foreseen to fail ------------------------------------------------------------

    def _not_blinded(self, contacts: Iterable[Contact]) -> Iterator[Contact]:
        """Downlinks without the Sun behind the satellite, and without satellites in the dark that
        transmit in sunlight only."""
        dark = self._dark()
        blind = self._blind()
        for contact in contacts:
            cuts = dark.get(contact.source, []) + blind.get(
                (contact.destination, contact.source), []
            )
            yield from without_spans(contact, cuts)

    def _dark(self) -> dict[str, list[tuple[float, float]]]:
        names = [one.id for one in self._scenario.spacecraft() if one.sunlit_only]
        if not names:
            return {}
        crafts = [self._satellites[name] for name in names]
        found = eclipses(crafts, self._scenario.start_ms, self._scenario.end_ms)
        dark: dict[str, list[tuple[float, float]]] = {}
        for place, start, end in zip(found.satellite, found.start_ms, found.end_ms, strict=True):
            dark.setdefault(names[place], []).append((float(start), float(end)))
        return dark

    def _blind(self) -> dict[Pair, list[tuple[float, float]]]:
        sites = [one for one in self._scenario.stations if one.sun_outage_deg]
        if not sites:
            return {}
        names = list(self._satellites)
        found = sun_outages(
            list(self._satellites.values()),
            [self._stations[one.id] for one in sites],
            self._scenario.start_ms,
            self._scenario.end_ms,
            [one.sun_outage_deg for one in sites],
            dut1_s=self._scenario.dut1_s,
        )
        blind: dict[Pair, list[tuple[float, float]]] = {}
        for craft, site, start, end in zip(
            found.satellite, found.station, found.start_ms, found.end_ms, strict=True
        ):
            pair = (sites[site].id, names[craft])
            blind.setdefault(pair, []).append((float(start), float(end)))
        return blind

    # ---- labels ------------------------------------------------------------------------------

    def _labelled(self, contacts: Iterable[Contact]) -> Iterator[Contact]:
        """Contacts with owner, jurisdiction, and the likelihood that they take place."""
        known: dict[Pair, float] = {}
        for contact in contacts:
            ends = contact.source, contact.destination
            if ends not in known:
                known[ends] = self._confidence(*ends)
            site = self._sites[self._station_of(*ends)]
            yield replace(
                contact,
                confidence=round(contact.confidence * known[ends], 4),
                owner=site.owner,
                jurisdiction=site.jurisdiction,
            )

    def _station_of(self, source: str, destination: str) -> str:
        return source if source in self._sites else destination

    def _confidence(self, source: str, destination: str) -> float:
        """How likely clouds and equipment are to let a contact take place."""
        station = self._station_of(source, destination)
        satellite = destination if station == source else source
        radio = self._radios[station, satellite]
        is_up = station == source
        likely = 1.0
        common = [
            one
            for one in self._scenario.disturbances
            if applies(
                one, station=station, satellite=satellite, direction="up" if is_up else "down"
            )
        ]
        own = radio.up if is_up else radio.down
        for one in (*common, *own.disturbances):
            likely *= _share_up(one)
        return likely


def _share_up(disturbance: Disturbance) -> float:
    """The share of time in which a disturbance of known odds leaves a link alone."""
    if isinstance(disturbance, Clouds):
        if disturbance.cloud_fraction is not None:
            return 1.0 - disturbance.cloud_fraction
        clear_s, cloudy_s = disturbance.clear_s or 0.0, disturbance.cloudy_s or 0.0
        return clear_s / (clear_s + cloudy_s)
    if isinstance(disturbance, StationOutage):
        return disturbance.mtbf_s / (disturbance.mtbf_s + disturbance.mttr_s)
    return 1.0


def without_spans(contact: Contact, spans: Iterable[tuple[float, float]]) -> Iterator[Contact]:
    """What is left of a contact outside of periods (DTN milliseconds)."""
    start_ms = contact.start_ms
    for low, high in sorted(spans):
        if high <= start_ms or low >= contact.end_ms:
            continue
        if low > start_ms:
            yield replace(contact, start_ms=start_ms, end_ms=int(low))
        start_ms = max(start_ms, -int(-high // 1))
    if start_ms < contact.end_ms:
        yield contact if start_ms == contact.start_ms else replace(contact, start_ms=start_ms)


def sample_times(start_ms: int, end_ms: int) -> Floats:
    """Whole milliseconds from start to end, about `SAMPLE_MS` apart."""
    count = max(2, round((end_ms - start_ms) / SAMPLE_MS) + 1)
    return np.unique(np.rint(np.linspace(start_ms, end_ms, count)))


# -- between satellites, and on the ground ----------------------------------------------------


def _crosslink_pairs(scenario: Scenario) -> dict[Pair, CrosslinkConfig]:
    """The pairs of satellites that have a link, each with the first entry that names it."""
    crafts = scenario.spacecraft()
    found: dict[Pair, CrosslinkConfig] = {}
    for entry in scenario.crosslinks:
        chosen = set(entry.among)
        names = [one.id for one in crafts if not chosen or {one.id, one.constellation} & chosen]
        for a, b in _topology(scenario, entry, names):
            if (a, b) not in found and (b, a) not in found:
                found[a, b] = entry
    return found


def _topology(scenario: Scenario, entry: CrosslinkConfig, names: list[str]) -> Iterator[Pair]:
    if entry.topology == "pairs":
        yield from entry.pairs
        return
    if entry.topology == "grid":
        group = next(one for one in scenario.constellations if one.id == entry.among[0])
        places = plus_grid(
            group.planes, group.count // group.planes, group.phasing, seam=not group.star
        )
    else:
        places = ring(len(names)) if entry.topology == "ring" else all_pairs(len(names))
    for a, b in places:
        yield names[a], names[b]


def _across(
    scenario: Scenario, satellites: Mapping[str, Satellite], pairs: Mapping[Pair, CrosslinkConfig]
) -> Iterator[Plan]:
    for entry in scenario.crosslinks:
        own = [pair for pair, used in pairs.items() if used is entry]
        if own:
            yield plan_crosslinks(
                dict(satellites),
                own,
                entry.limits(),
                _rate_by_range(entry.link),
                scenario.start_ms,
                scenario.end_ms,
                light_error_ns=scenario.planning.light_error_ns,
                step_min_ms=round(scenario.planning.step_s * 1000),
            )


class _RateByRange:
    """The rate of a budget by distance."""

    def __init__(self, link: LinkBudget) -> None:
        self._link = link

    def __call__(self, range_m: Floats) -> Floats:
        return self._link.series(range_m).rate_bps


def _rate_by_range(direction: DirectionConfig) -> float | _RateByRange:
    link = direction.link()
    return direction.rates[0][1] if link is None else _RateByRange(link)


def _on_ground(scenario: Scenario) -> Plan:
    contacts, ranges = [], []
    start_ms, end_ms = scenario.start_ms, scenario.end_ms
    for link in scenario.terrestrial:
        owlt_ns = round(link.delay_ms * MILLISECOND)
        for a, b in (link.between, link.between[::-1]):
            contacts.append(Contact(a, b, start_ms, end_ms, link.rate_bps))
            ranges.append(Range(a, b, start_ms, end_ms, owlt_ns))
    return Plan(contacts, ranges)
