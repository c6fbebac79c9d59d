"""Contacts and light times of passes, from orbits and rates by elevation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from link_models.budget import RateTable
from link_models.orbit.geometry import Floats, Ints, Look, Sight, Station
from link_models.orbit.horizon import Spans, cut_spans
from link_models.orbit.mean_elements import Satellite
from link_models.orbit.passes import find_passes
from link_models.planner.light import LIGHT_ERROR_NS, as_ranges, light_steps
from stack.contacts.plan import RANGES_MAX, Contact, Plan, Range
from stack.core.errors import ConfigError

RATE_STEP_MS = 10_000.0
"""Sampling of passes for steps of the rate: a faster rate that lasts for less than this about the
culmination may be left out, and the contact is then planned at the rate below."""


Confidence = float | Callable[[float, float], float]
"""A number, or a function of the lowest elevation (degrees) and the rate (bit/s) of a contact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLink:
    """The link between a station and a satellite; None where a direction does not exist."""

    uplink: RateTable | None
    """Station to satellite."""

    downlink: RateTable | None
    """Satellite to station."""

    confidence: Confidence = 1.0
    """Likelihood that a contact takes place, 0 to 1, or a function that gives it.  Default: it is
    booked."""

    owner: str = ""
    """Who operates the station; copied into the contacts."""

    jurisdiction: str = ""
    """Under whose law the station stands; copied into the contacts."""


@dataclass(frozen=True, slots=True)
class _RateSpans:
    """Periods at one rate, in whole milliseconds; both ends belong to neighbours."""

    pair: Ints
    start_ms: Ints
    end_ms: Ints
    rate_bps: Floats


def plan_passes(
    satellites: Mapping[str, Satellite],
    stations: Mapping[str, Station],
    links: PassLink | Mapping[tuple[str, str], PassLink],
    start_ms: int,
    end_ms: int,
    *,
    light_error_ns: int = LIGHT_ERROR_NS,
    dut1_s: float = 0.0,
) -> Plan:
    """Everything that a network of stations and satellites can do between two DTN times (UTC).

    `satellites` and `stations` are keyed by node id; `links` is one link for all pairs, or those
    that exist, keyed by (station, satellite).  Each pass gives a contact in each direction,
    broken where the rate steps, and light times that are nowhere more than `light_error_ns` off.

    Raises `ConfigError` for a bad window or error, or a plan of more than `RANGES_MAX` ranges.
    """
    if both := satellites.keys() & stations.keys():
        raise ConfigError("stations", f"{min(both)} is a satellite too")
    names = _Names(list(satellites), list(stations), links)
    spacecraft, sites = list(satellites.values()), list(stations.values())
    found = find_passes(spacecraft, sites, start_ms, end_ms, dut1_s=dut1_s)
    if not len(found):
        return Plan()
    spans = Spans(found.satellite * len(sites) + found.station, found.rise_ms, found.set_ms)
    spans = spans.where(np.isin(spans.pair, names.linked_pairs()))
    sight = Sight(spacecraft, sites, dut1_s)
    contacts: list[Contact] = []
    for table, pairs, up in names.tables():
        chosen = spans.where(np.isin(spans.pair, pairs))
        contacts.extend(names.contacts(_rate_spans(chosen, table, sight), sight, up=up))
    return Plan(contacts, _ranges(spans, names, sight, light_error_ns))


class _Names:
    """Node ids and links by pair number (satellite * stations + station)."""

    def __init__(
        self,
        satellites: list[str],
        stations: list[str],
        links: PassLink | Mapping[tuple[str, str], PassLink],
    ) -> None:
        self._satellites = satellites
        self._stations = stations
        self._links: dict[int, PassLink] = {}
        if isinstance(links, PassLink):
            pairs = range(len(satellites) * len(stations))
            self._links = dict.fromkeys(pairs, links)
            return
        satellite_place = {name: place for place, name in enumerate(satellites)}
        station_place = {name: place for place, name in enumerate(stations)}
        for (station, satellite), link in links.items():
            if station not in station_place or satellite not in satellite_place:
                raise ConfigError("links", f"{station} to {satellite}: no such station, satellite")
            pair = satellite_place[satellite] * len(stations) + station_place[station]
            self._links[pair] = link

    def linked_pairs(self) -> list[int]:
        return sorted(self._links)

    def ends(self, pair: int) -> tuple[str, str]:
        """Station and satellite."""
        satellite, station = divmod(pair, len(self._stations))
        return self._stations[station], self._satellites[satellite]

    def tables(self) -> Iterator[tuple[RateTable, list[int], bool]]:
        """Each rate table, the pairs that use it, and whether it is for the uplink."""
        for up in (True, False):
            users: dict[RateTable, list[int]] = {}
            for pair, link in self._links.items():
                table = link.uplink if up else link.downlink
                if table is not None:
                    users.setdefault(table, []).append(pair)
            for table, pairs in users.items():
                yield table, pairs, up

    def contacts(self, spans: _RateSpans, sight: Sight, *, up: bool) -> Iterator[Contact]:
        lowest = self._lowest_deg(spans, sight)
        for pair, start_ms, end_ms, rate_bps, elevation in zip(
            spans.pair.tolist(),
            spans.start_ms.tolist(),
            spans.end_ms.tolist(),
            spans.rate_bps.tolist(),
            lowest.tolist(),
            strict=True,
        ):
            station, satellite = self.ends(pair)
            link = self._links[pair]
            sure = link.confidence
            yield Contact(
                station if up else satellite,
                satellite if up else station,
                start_ms,
                end_ms,
                rate_bps,
                sure(elevation, rate_bps) if callable(sure) else sure,
                link.owner,
                link.jurisdiction,
            )

    def _lowest_deg(self, spans: _RateSpans, sight: Sight) -> Floats:
        """The elevation at the lower end of each period, where somebody asks for it."""
        if not any(callable(link.confidence) for link in self._links.values()):
            return np.full(len(spans.pair), np.nan)
        satellite, station = np.divmod(spans.pair, sight.stations)
        start = sight.look(satellite, station, spans.start_ms.astype(np.float64))
        end = sight.look(satellite, station, spans.end_ms.astype(np.float64))
        return np.minimum(start.elevation_deg, end.elevation_deg)


def _rate_spans(spans: Spans, table: RateTable, sight: Sight) -> _RateSpans:
    """Cut passes where the elevation crosses a step of the table.

    The spans above each step lie within those above the step below, so how many of them hold a
    time is the number of the step in force.
    """
    pairs, times, turns = [], [], []
    for elevation, _ in table.steps:
        spans = cut_spans(spans, _above(elevation), sight, RATE_STEP_MS)
        pairs += [spans.pair, spans.pair]
        # Rounded so that the satellite stands above the step in all of the period.
        times += [np.ceil(spans.rise), np.floor(spans.down)]
        turns += [np.ones(len(spans.pair), np.intp), np.full(len(spans.pair), -1, np.intp)]
    pair, time, turn = np.concatenate(pairs), np.concatenate(times), np.concatenate(turns)
    order = np.lexsort((time, pair))
    pair, time, level = pair[order], time[order].astype(np.intp), np.cumsum(turn[order])
    # Every span of a pair ends, so the level is 0 where the next pair begins.
    held = np.flatnonzero((level[:-1] > 0) & (time[1:] > time[:-1]))
    rates = np.array([rate for _, rate in table.steps])
    return _RateSpans(pair[held], time[held], time[held + 1], rates[level[held] - 1])


def _above(elevation_deg: float) -> Callable[[Look], Floats]:
    return lambda seen: seen.elevation_deg - elevation_deg


def _ranges(spans: Spans, names: _Names, sight: Sight, error_ns: int) -> Iterator[Range]:
    """Light times of the passes in both directions."""
    satellite, station = np.divmod(spans.pair, sight.stations)

    def light_ns(owner: Ints, times_ms: Floats) -> Floats:
        return sight.look(satellite[owner], station[owner], times_ms).light_time_ns

    rise = np.ceil(spans.rise).astype(np.intp)
    down = np.floor(spans.down).astype(np.intp)
    steps = light_steps(rise, down, light_ns, error_ns)
    if 2 * len(steps.owner) > RANGES_MAX:
        raise ConfigError("light_error_ns", f"more than {RANGES_MAX} ranges", "allow more error")
    yield from as_ranges(steps, [names.ends(pair) for pair in spans.pair.tolist()])
