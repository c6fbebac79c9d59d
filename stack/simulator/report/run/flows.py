"""The figure of links over the run: elevation, rates, what has passed, repairs, and queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stack.core.clock import SECOND
from stack.core.units import size_text
from stack.simulator.loopback.results import Result
from stack.simulator.loopback.world import short_name
from stack.simulator.report.plotting import (
    COLOURS,
    DARK,
    WIDTH_IN,
    Floats,
    TimeAxis,
    legend,
    log_rates,
    picture,
    rate_of,
    scale_of,
    steps,
    style,
)
from stack.simulator.report.run.plots import colours_of, link_name
from stack.simulator.sky import LinkDirection, Sky, SkyLink

LINES_MAX = 10
"""Lines of one plot that can be told apart; with more pairs they are summed up by station, and of
nodes those with the most are shown."""

ELEVATION_STEP_S = 15.0

KINDS = {"up": COLOURS[0], "down": COLOURS[1], "across": COLOURS[2]}
"""Colours of what goes up, down, and between satellites, each of which has a scale of its own."""


class Flows:
    """Draws what went over the links."""

    def __init__(self, result: Result, sky: Sky) -> None:
        self._result = result
        self._sky = sky
        self._time = TimeAxis(sky.start_ms)
        self._colour = colours_of(sky)
        self._links = [link for link in sky.links if link.kind == "pass"]
        self._few = len(self._links) <= LINES_MAX
        self._coded = any(row.fec_source_packets for row in result.directions)

    def picture(self) -> str:
        """The figure."""
        kinds = [kind for kind in KINDS if any(row.kind == kind for row in self._result.directions)]
        heights = [2.0, 2.0, 2.0, *([1.6] * (len(kinds) + self._coded)), 2.0]
        with style():
            figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.6), layout="constrained")
            panels: list[Axes] = list(
                figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
            )
            self._elevations(panels[0])
            self._rates(panels[1], is_up=True)
            self._rates(panels[2], is_up=False)
            for axes, kind in zip(panels[3:], kinds, strict=False):
                self._cumulative(axes, kind)
            if self._coded:
                self._repairs(panels[-2])
            self._queues(panels[-1])
            for axes in (*panels[3 : 3 + len(kinds)], panels[-1]):
                self._end(axes)
            self._time.show(panels[-1], 0.0, self._result.duration_s)
            return picture(figure, self._words())

    def _words(self) -> str:
        totals = self._result.totals()
        return (
            "Charts over time of elevations, rates, what arrived, and what waited in each node. "
            f"{size_text(totals['up']['bundle_bytes'])} of bundles went up and "
            f"{size_text(totals['down']['bundle_bytes'])} came down."
        )

    # ---- geometry and rates ------------------------------------------------------------------

    def _elevations(self, axes: Axes) -> None:
        if not self._few:
            self._in_view(axes)
            return
        own = self._own_colours()
        for link in self._links:
            label: str | None = link_name(link)
            for one in self._sky.passes:
                if (one.station, one.satellite) != (link.a, link.b):
                    continue
                count = max(2, round((one.set_ns - one.rise_ns) / SECOND / ELEVATION_STEP_S))
                times_ns = np.linspace(one.rise_ns, one.set_ns, count)
                axes.plot(
                    self._time.days(times_ns / SECOND),
                    self._sky.elevations(link.a, link.b, times_ns),
                    color=own[link.name],
                    lw=1.0,
                    alpha=1.0 if one.planned else 0.35,
                    label=label,
                )
                label = None
        axes.set_ylabel("degrees")
        axes.set_ylim(0, 90)
        axes.set_title("Elevation (pale: no antenna was given to the pass)")
        legend(axes)

    def _in_view(self, axes: Axes) -> None:
        """Of many pairs, how many are in view, and how many have an antenna."""
        for planned, label, colour in (
            (False, "in view", DARK),
            (True, "with an antenna", COLOURS[0]),
        ):
            own = [one for one in self._sky.passes if one.planned or not planned]
            edges = sorted([(one.rise_ns, 1) for one in own] + [(one.set_ns, -1) for one in own])
            times = np.array([edge for edge, _ in edges]) / SECOND
            count = np.cumsum([step for _, step in edges])
            axes.step(
                self._time.days(times), count, where="post", color=colour, lw=0.9, label=label
            )
        axes.set_ylabel("pairs")
        axes.set_ylim(bottom=0)
        axes.set_title("Satellites in view of stations")
        legend(axes)

    def _rates(self, axes: Axes, *, is_up: bool) -> None:
        directions = [(link, link.forward if is_up else link.backward) for link in self._links]
        most = max((w.rate_bps for _, one in directions for w in one.windows), default=1.0)
        scale, unit = scale_of(most, "bit/s") if is_up else (1.0, "")
        if self._few:
            self._rates_by_pair(axes, directions, scale)
        else:
            self._rates_by_station(axes, [one for _, one in directions], scale)
        if is_up:
            axes.set_ylabel(unit)
            axes.set_ylim(bottom=0)
        else:  # short transfers at high rates: their means over a sample are small
            log_rates(axes)
            axes.set_ylim(bottom=1e3)
        name = "Uplink" if is_up else "Downlink"
        what = "rate of the channel, and what arrived" if self._few else "what arrived"
        axes.set_title(f"{name}: {what} (mean of {self._step_s():g} s)")
        legend(axes)

    def _rates_by_pair(
        self, axes: Axes, directions: Iterable[tuple[SkyLink, LinkDirection]], scale: float
    ) -> None:
        series, own = self._result.series, self._own_colours()
        for link, one in directions:
            label, colour = link_name(link), own[link.name]
            times, rates = steps(one.windows)
            axes.plot(
                self._time.days(times),
                rates / scale,
                color=colour,
                lw=0.8,
                alpha=0.55,
                label=f"{label}: channel",
            )
            middle, rate = rate_of(series.time_s, series.on_air[one.source, one.destination])
            axes.fill_between(
                self._time.days(middle),
                rate / scale,
                step="mid",
                color=colour,
                lw=0.8,
                alpha=0.85,
                label=f"{label}: arrived",
            )

    def _rates_by_station(
        self, axes: Axes, directions: Iterable[LinkDirection], scale: float
    ) -> None:
        series = self._result.series
        sums: dict[str, Floats] = {}
        for one in directions:
            station = one.source if one.source in self._sky.stations else one.destination
            octets = series.on_air[one.source, one.destination]
            sums[station] = sums[station] + octets if station in sums else octets
        for station, octets in self._largest(sums).items():
            middle, rate = rate_of(series.time_s, octets)
            axes.plot(
                self._time.days(middle),
                rate / scale,
                color=self._colour[station],
                lw=0.8,
                label=f"{short_name(station)}: arrived",
            )

    def _step_s(self) -> float:
        steps = np.diff(self._result.series.time_s)
        return float(np.round(np.median(steps), 3)) if len(steps) else 0.0

    # ---- volumes -----------------------------------------------------------------------------

    def _cumulative(self, axes: Axes, kind: str) -> None:
        series, colour = self._result.series, KINDS[kind]
        own = [row for row in self._result.directions if row.kind == kind]
        pairs = [(row.source, row.destination) for row in own]
        air, data = _sum(series.on_air, pairs), _sum(series.data, pairs)
        scale, unit = scale_of(float(air.max(initial=0.0)), "B")
        x = self._time.days(series.time_s)
        axes.plot(x, air / scale, color=colour, lw=1.0, ls=":", label="all datagrams")
        axes.plot(x, data / scale, color=colour, lw=1.5, label="bundles")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        name = {"up": "Up", "down": "Down", "across": "Between satellites"}[kind]
        axes.set_title(f"{name}: arrived so far (the rest is parity, headers, repetition)")
        legend(axes)

    def _repairs(self, axes: Axes) -> None:
        series = self._result.series
        x = self._time.days(series.time_s)
        for kind, colour in KINDS.items():
            pairs = [
                (row.source, row.destination)
                for row in self._result.directions
                if row.kind == kind and row.fec_source_packets
            ]
            if pairs:
                total = _sum(series.repaired, pairs)
                axes.step(x, total, where="post", color=colour, lw=1.3, label=f"{kind}")
        axes.set_ylabel("packets")
        axes.set_ylim(bottom=0)
        axes.set_title("Lost packets that erasure coding repaired so far")
        legend(axes)

    def _queues(self, axes: Axes) -> None:
        series = self._result.series
        shown = self._largest(series.queue)
        most = max((float(values.max(initial=0.0)) for values in shown.values()), default=0.0)
        scale, unit = scale_of(most, "B")
        for node, values in shown.items():
            axes.plot(
                self._time.days(series.time_s),
                values / scale,
                color=self._colour[node],
                lw=1.3,
                label=short_name(node),
            )
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        some = "" if len(shown) == len(series.queue) else f"; the {len(shown)} fullest nodes"
        axes.set_title(
            f"Waiting in each node to be forwarded (until the next node has it safely{some})"
        )
        legend(axes)

    # ---- helpers -----------------------------------------------------------------------------

    def _own_colours(self) -> dict[str, str]:
        """One for each of few links: by station, or one by one where stations have several."""
        stations = [link.a for link in self._links]
        if len(set(stations)) == len(stations):
            return {link.name: self._colour[link.a] for link in self._links}
        return {link.name: COLOURS[i % len(COLOURS)] for i, link in enumerate(self._links)}

    def _largest(self, found: Mapping[str, Floats]) -> dict[str, Floats]:
        values = {name: found[name] for name in found}
        if len(values) <= LINES_MAX:
            return values
        order = sorted(values, key=lambda name: -float(values[name].max(initial=0.0)))
        return {name: values[name] for name in order[:LINES_MAX]}

    def _end(self, axes: Axes) -> None:
        ended_s = self._result.ended_s
        if ended_s < self._result.duration_s - 1:
            axes.axvline(
                float(self._time.days(ended_s)), color=DARK, lw=0.8, ls="--", label="work over"
            )
            legend(axes)


def _sum(found: Mapping[tuple[str, str], Floats], pairs: Iterable[tuple[str, str]]) -> Floats:
    total = np.zeros(1)
    for pair in pairs:
        if pair in found:
            total = total + found[pair]
    return total
