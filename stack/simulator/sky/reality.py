"""What happens: links as weather, outages and interference leave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from link_models.budget import LinkBudget, LinkSeries
from link_models.channel import Delay, Window
from link_models.disturbances.config import Disturbance, StationPlace, applies, build_rules, fades
from link_models.disturbances.weather_kinds import Jamming
from link_models.loss import Blackouts
from link_models.loss.rules import FadeModel, Rule, RuleFactory
from link_models.loss.series import FrameErrors
from link_models.orbit.crosslink import look_across
from link_models.orbit.geometry import Bools, Floats, look
from link_models.orbit.passes import Pass
from link_models.rng import Streams
from stack.contacts.plan import Contact
from stack.core.clock import MILLISECOND
from stack.core.limits import IPV4_UDP_BYTES
from stack.simulator.scenario import CrosslinkConfig, DirectionConfig, RadioConfig, Scenario
from stack.simulator.sky.model import LinkDirection, Sky, SkyLink, SkyPass
from stack.simulator.sky.prediction import Pair, Prediction, predict, sample_times

FRAME_ERROR_RATE_MIN = 1e-12
"""Frames lost more seldom than this are not lost in any run."""

CROSS_STEP_MS = 10_000.0
"""Distances of satellites are computed this often, and are linear between: within 3 microseconds
of light time for two low orbits."""


def make_sky(scenario: Scenario, streams: Streams, *, prediction: Prediction | None = None) -> Sky:
    """All links of a run.  `prediction` is that of the scenario, if it is there already.  Raises
    `ConfigError` for what cannot be."""
    known = prediction or predict(scenario)
    maker = _Maker(scenario, streams, known)
    by_pair: dict[Pair, list[Pass]] = {pair: [] for pair in known.radios}
    for one in known.passes:
        by_pair[one.station, one.satellite].append(one)
    links: list[SkyLink] = []
    passes: list[SkyPass] = []
    for pair, radio in known.radios.items():
        own = by_pair[pair]
        if own:
            link = maker.to_ground(pair, radio, own)
            links.append(link)
            passes += _sky_passes(own, link, scenario.start_ms)
    links += [maker.across(pair, entry) for pair, entry in known.crosslinks.items()]
    passes.sort(key=lambda one: (one.rise_ns, one.station, one.satellite))
    return Sky(
        known.plan,
        known.schedule,
        tuple(links),
        tuple(passes),
        known.satellites,
        known.stations,
        scenario.start_ms,
        scenario.dut1_s,
    )


class _Track(NamedTuple):
    """A link seen over time: arrays of one length, times rising."""

    times_ns: Floats
    range_m: Floats
    elevation_deg: Floats
    light_ns: Floats

    def where(self, windows: Sequence[Window], tail_ns: float) -> _Track:
        """The moments that lie in windows, or up to `tail_ns` before one."""
        if not windows:
            return _Track(*(part[:0] for part in self))
        starts = np.array([window.start_ns for window in windows], np.float64) - tail_ns
        ends = np.array([window.end_ns for window in windows], np.float64)
        place = np.searchsorted(starts, self.times_ns, side="right") - 1
        inside = (place >= 0) & (self.times_ns < ends[np.maximum(place, 0)])
        return _Track(*(part[inside] for part in self))


class _Maker:
    """Makes the links of a scenario."""

    def __init__(self, scenario: Scenario, streams: Streams, known: Prediction) -> None:
        self._scenario = scenario
        self._streams = streams
        self._known = known

    # ---- to the ground -----------------------------------------------------------------------

    def to_ground(self, pair: Pair, radio: RadioConfig, own: Sequence[Pass]) -> SkyLink:
        """The link of a station and a satellite."""
        station, satellite = pair
        track = self._pass_track(pair, own)
        site = self._known.stations[station]
        place = StationPlace(site.latitude_deg, site.longitude_deg)
        blackouts = self._blackouts(pair, radio, own)
        directions = []
        for source, destination, config, direction in (
            (station, satellite, radio.up, "up"),
            (satellite, station, radio.down, "down"),
        ):
            common = [
                one
                for one in self._scenario.disturbances
                if applies(one, station=station, satellite=satellite, direction=direction)
                and _in_band(one, radio.band)
            ]
            weather = _Weather(
                common, config.disturbances, station, f"{station}/{satellite}", place
            )
            directions.append(
                self._direction(source, destination, config, track, weather, blackouts)
            )
        return SkyLink(
            "pass",
            station,
            satellite,
            directions[0],
            directions[1],
            Delay(track.times_ns.tolist(), track.light_ns.tolist()),
            radio.segment_bytes,
            blackouts.intervals_ns,
        )

    def _pass_track(self, pair: Pair, own: Sequence[Pass]) -> _Track:
        craft, site = self._known.satellites[pair[1]], self._known.stations[pair[0]]
        times_ms = np.concatenate([sample_times(one.rise_ms, one.set_ms) for one in own])
        seen = look(craft, site, times_ms, dut1_s=self._scenario.dut1_s)
        times_ns = (times_ms - self._scenario.start_ms) * MILLISECOND
        return _Track(times_ns, seen.range_km * 1e3, seen.elevation_deg, seen.light_time_ns)

    def _blackouts(self, pair: Pair, radio: RadioConfig, own: Sequence[Pass]) -> Blackouts:
        """The blackouts of a pair, drawn from a substream of its own."""
        start_ms = self._scenario.start_ms
        return Blackouts.random(
            self._streams.stream(f"{pair[0]}/{pair[1]}/blackouts"),
            inside_ns=[(_ns(one.rise_ms, start_ms), _ns(one.set_ms, start_ms)) for one in own],
            per_hour=radio.blackouts.per_hour,
            mean_s=radio.blackouts.mean_s,
            shape=radio.blackouts.shape,
        )

    # ---- between satellites ------------------------------------------------------------------

    def across(self, pair: Pair, entry: CrosslinkConfig) -> SkyLink:
        """The link of two satellites."""
        first, second = pair
        plan = self._known.plan
        spans = _windows([*plan.between(first, second)], self._scenario.start_ms)
        track = self._cross_track(pair, spans)
        directions = []
        for source, destination in (pair, pair[::-1]):
            common = [
                one
                for one in self._scenario.disturbances
                if not one.stations
                and (not one.satellites or {source, destination} & set(one.satellites))
                and one.direction == "both"
                and _in_band(one, entry.band)
                and not _of_the_ground(one)
            ]
            weather = _Weather(
                common, entry.link.disturbances, f"{first}/{second}", f"{first}/{second}", None
            )
            directions.append(
                self._direction(source, destination, entry.link, track, weather, Blackouts([]))
            )
        delay = Delay.constant(0)
        if len(track.times_ns):
            delay = Delay(track.times_ns.tolist(), track.light_ns.tolist())
        return SkyLink(
            "crosslink", first, second, directions[0], directions[1], delay, entry.segment_bytes, ()
        )

    def _cross_track(self, pair: Pair, spans: Sequence[Window]) -> _Track:
        parts = [
            np.linspace(
                span.start_ns,
                span.end_ns,
                max(2, round((span.end_ns - span.start_ns) / (CROSS_STEP_MS * MILLISECOND)) + 1),
            )
            for span in spans
        ]
        times_ns = np.unique(np.concatenate(parts)) if parts else np.zeros(0)
        crafts = self._known.satellites
        seen = look_across(
            crafts[pair[0]], crafts[pair[1]], times_ns / MILLISECOND + self._scenario.start_ms
        )
        high = np.full(len(times_ns), 90.0)
        return _Track(times_ns, seen.range_m, high, seen.light_time_ns)

    # ---- one direction -----------------------------------------------------------------------

    def _direction(
        self,
        source: str,
        destination: str,
        config: DirectionConfig,
        track: _Track,
        weather: _Weather,
        blackouts: Blackouts,
    ) -> LinkDirection:
        planned = _windows(self._known.plan.between(source, destination), self._scenario.start_ms)
        link = config.link()
        fade = weather.fade(self._streams)
        rules: tuple[RuleFactory, ...] = weather.rules(self._scenario)
        if blackouts.intervals_ns:
            rules = (_Constant(blackouts), *rules)
        if link is None:
            windows = planned
            if fade is not None:
                inside = track.where(planned, 0.0)
                deep = fade.fade_db(inside.times_ns) > config.margin_db
                windows = _without(planned, inside.times_ns, deep)
            return LinkDirection(source, destination, config, planned, windows, rules)
        # A step of the track that began before a window is in force when it opens.
        step_ns = float(np.diff(track.times_ns).min()) if len(track.times_ns) > 1 else 0.0
        inside = track.where(planned, step_ns)
        lost_db = np.zeros(1) if fade is None else fade.fade_db(inside.times_ns)
        series = link.series(inside.range_m, inside.elevation_deg, lost_db)
        windows = _at_rates(planned, inside.times_ns, series.rate_bps)
        errors = _frame_errors(link, series, inside.times_ns)
        return LinkDirection(source, destination, config, planned, windows, (*errors, *rules))


@dataclass(frozen=True, slots=True)
class _Weather:
    """The disturbances of one direction, and with whom they are shared."""

    common: Sequence[Disturbance]
    own: Sequence[Disturbance]
    station: str
    pair: str
    place: StationPlace | None

    def fade(self, streams: Streams) -> FadeModel | None:
        """What a link budget has to take; None when that is nothing."""
        if self.place is None or not (self.common or self.own):
            return None
        parts = (
            fades(self.common, streams, scope=self.station, place=self.place),
            fades(self.own, streams, scope=self.pair, place=self.place),
        )
        return _Sum(parts)

    def rules(self, scenario: Scenario) -> tuple[RuleFactory, ...]:
        """What happens to datagrams."""
        folder = scenario.path("")
        return tuple(
            rule
            for disturbances, scope in ((self.common, self.station), (self.own, self.pair))
            for rule in build_rules(
                disturbances,
                scope=scope,
                place=self.place,
                folder=folder,
                weather=self.place is None,
            )
        )


class _Sum(NamedTuple):
    """Fades that add up."""

    parts: tuple[FadeModel, ...]

    def fade_db(self, times_ns: Floats) -> Floats:
        total = np.zeros(len(times_ns))
        for part in self.parts:
            total += part.fade_db(times_ns)
        return total


@dataclass(frozen=True, slots=True)
class _Constant:
    """A loss that needs no luck of its own, as a rule of a channel."""

    loss: Blackouts

    def __call__(self, streams: Streams, direction: str) -> Rule:
        return Rule(loss=self.loss, cause="blackout")


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frame errors of one mode, as a rule of a channel."""

    times_ns: tuple[float, ...]
    frame_error_rate: tuple[float, ...]
    frame_bytes: int
    name: str

    def __call__(self, streams: Streams, direction: str) -> Rule:
        return Rule(
            loss=FrameErrors(
                streams.stream(f"{direction}/frames/{self.name}"),
                self.times_ns,
                self.frame_error_rate,
                self.frame_bytes,
                IPV4_UDP_BYTES,
            ),
            cause=f"frame errors of {self.name}",
        )


def _frame_errors(
    link: LinkBudget, series: LinkSeries, times_ns: Floats
) -> tuple[RuleFactory, ...]:
    """A rule for each mode that loses frames while it is used."""
    rules: list[RuleFactory] = []
    for number, waveform in enumerate(link.waveforms):
        rates = np.where(series.mode == number, series.frame_error_rate, 0.0)
        if not len(rates) or rates.max() < FRAME_ERROR_RATE_MIN:
            continue
        # Steps: only where the value changes.
        kept = np.flatnonzero(np.diff(rates, prepend=-1.0))
        rules.append(
            _Frames(
                tuple(times_ns[kept].tolist()),
                tuple(rates[kept].tolist()),
                max(32, waveform.frame_bits // 8),
                waveform.name,
            )
        )
    return tuple(rules)


def _at_rates(planned: Sequence[Window], times_ns: Floats, rates: Floats) -> tuple[Window, ...]:
    """Windows at the rates of a series (each from its time on) within what is planned."""
    found: list[Window] = []
    for low, high in _joined(planned):
        first = max(0, int(np.searchsorted(times_ns, low, side="right")) - 1)
        last = int(np.searchsorted(times_ns, high, side="left"))
        part = rates[first:last]
        if not len(part):
            continue
        turns = np.flatnonzero(np.diff(part, prepend=-1.0))
        edges = [*times_ns[first:last][turns].tolist(), float(high)]
        edges[0] = float(low)
        for start, end, rate in zip(edges[:-1], edges[1:], part[turns].tolist(), strict=True):
            if rate > 0 and round(end) > round(start):
                found.append(Window(round(start), round(end), rate))
    return tuple(found)


def _without(planned: Sequence[Window], times_ns: Floats, deep: Bools) -> tuple[Window, ...]:
    """Windows without the moments of deep fades."""
    if not deep.any():
        return tuple(planned)
    open_rates = np.where(deep, 0.0, 1.0)
    usable = _at_rates(planned, times_ns, open_rates)
    return tuple(
        Window(max(a.start_ns, b.start_ns), min(a.end_ns, b.end_ns), a.rate_bps)
        for a in planned
        for b in usable
        if max(a.start_ns, b.start_ns) < min(a.end_ns, b.end_ns)
    )


def _joined(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """Periods of windows that touch."""
    found: list[tuple[int, int]] = []
    for window in windows:
        if found and window.start_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], window.end_ns))
        else:
            found.append((window.start_ns, window.end_ns))
    return found


def _in_band(disturbance: Disturbance, band: str) -> bool:
    return not isinstance(disturbance, Jamming) or disturbance.band in ("", band)


def _of_the_ground(disturbance: Disturbance) -> bool:
    """Whether only stations have it."""
    return hasattr(disturbance, "latitude_deg")


def _ns(dtn_ms: int, start_ms: int) -> int:
    return (dtn_ms - start_ms) * MILLISECOND


def _windows(contacts: Sequence[Contact], start_ms: int) -> tuple[Window, ...]:
    return tuple(
        Window(_ns(c.start_ms, start_ms), _ns(c.end_ms, start_ms), c.rate_bps) for c in contacts
    )


def _sky_passes(own: Sequence[Pass], link: SkyLink, start_ms: int) -> list[SkyPass]:
    edges = [*_joined(link.forward.planned), *_joined(link.backward.planned)]
    found = []
    for one in own:
        rise_ns, set_ns = _ns(one.rise_ms, start_ms), _ns(one.set_ms, start_ms)
        found.append(
            SkyPass(
                one.station,
                one.satellite,
                rise_ns,
                set_ns,
                one.max_elevation_deg,
                any(low < set_ns and rise_ns < high for low, high in edges),
                tuple(b for b in link.blackouts_ns if rise_ns <= b[0] < set_ns),
            )
        )
    return found
