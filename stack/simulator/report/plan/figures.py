"""The figures of a plan's report: who is in contact when, elevations and rates, volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from link_models.planner.statistics import DAY_MS, PlanFigures
from stack.contacts.plan import Contact, Plan
from stack.core.clock import dtn_to_iso
from stack.core.units import count_text, duration_text, natural, size_text
from stack.simulator.report.gantt import Bar, Chart, draw_gantt
from stack.simulator.report.page import label
from stack.simulator.report.plotting import (
    COLOURS,
    GREY,
    SMALL_IN,
    WIDTH_IN,
    Floats,
    TimeAxis,
    legend,
    log_rates,
    picture,
    style,
)

ROWS_SHOWN = 100
"""Most nodes of a time chart."""

ROWS_WORDED = 20
"""Most nodes whose volumes are told in words."""

NAMES_MAX = 50
"""Of more nodes below a chart of volumes, every second one or fewer is named."""

CHARACTERS_MAX = 90
"""Names that are longer together than this stand upright."""

LABELLED_MAX = 8
"""More bars than of this many nodes have no room for their volumes above them."""

WIDE = 30.0
"""Volumes that differ by more than this have a logarithmic scale."""

STATIONS_SHOWN = 6
"""Most stations whose elevations and rates are drawn."""

CURVE_MS = 10_000.0
"""Sampling of elevations: 60 points for a low pass."""

CURVES_MAX = 200
"""Most passes of a station whose elevations are drawn; more would be a solid block."""

CURVES_MS = DAY_MS
"""Elevations and rates are drawn for this long: more days would be a solid block."""

OFFERED = "#E3E6EA"

FLOOR_BPS = 1e-3
"""Where no link is on a logarithmic axis: below everything."""

Elevations = Callable[[str, str, Floats], Floats]
"""Degrees for a station, a satellite and DTN times."""

Offered = Mapping[tuple[str, str], Sequence[tuple[int, int]]]
"""All passes by station and satellite, planned or not."""


class PlanCharts:
    """Draws a plan."""

    def __init__(
        self,
        plan: Plan,
        figures: PlanFigures,
        stations: Sequence[str],
        offered: Offered,
        elevations: Elevations | None,
    ) -> None:
        self._plan = plan
        self._figures = figures
        self._stations = [one for one in stations if one in plan.nodes]
        others = sorted(set(plan.nodes) - set(stations), key=natural)
        self._others = others
        self._offered = offered
        self._elevations = elevations
        # More colours than six cannot be told apart: then all contacts look alike.
        self._colour_of_station = _colours(self._stations)
        self._colour_of_other = _colours(others)

    def timeline(self) -> str:
        """Time charts of stations and of satellites on one axis (or of all nodes when nobody is a
        station)."""
        if self._stations:
            charts = [
                self._chart("Stations", self._stations, self._colour_of_other),
                self._chart("Satellites", self._others, self._colour_of_station),
            ]
        else:
            charts = [self._chart("Contacts of each node", self._others, self._colour_of_other)]
        figures = self._figures
        words = (
            f"Time chart of the contacts of {count_text(len(self._stations), 'station')} and "
            f"{count_text(len(self._others), 'other node')}: "
            f"{count_text(len(figures.passes), 'pass')} in "
            f"{duration_text((figures.end_ms - figures.start_ms) / 1000)}."
        )
        with style():
            return picture(draw_gantt(charts, figures.start_ms, figures.end_ms), words)

    def _chart(self, title: str, nodes: Sequence[str], colours: Mapping[str, str]) -> Chart:
        shown = list(nodes)[:ROWS_SHOWN]
        row = {node: place for place, node in enumerate(shown)}
        bars: list[Bar] = []
        for (station, satellite), spans in self._offered.items():
            for node in (station, satellite):
                if node in row:
                    bars += [Bar(row[node], a, b, OFFERED, 0.82) for a, b in spans]
        for one in self._figures.passes:
            for node, peer in ((one.one, one.other), (one.other, one.one)):
                if node in row:
                    colour = colours.get(peer, COLOURS[0])
                    bars.append(Bar(row[node], one.start_ms, one.end_ms, colour, 0.5))
        lasting = [
            Bar(row[node], one.start_ms, one.end_ms, GREY, 0.10)
            for one in self._figures.always
            for node in (one.one, one.other)
            if node in row
        ]
        key = [(colour, "", label(peer)) for peer, colour in colours.items()]
        if not key:
            key = [(COLOURS[0], "", "contact")]
        if self._offered:
            key.append((OFFERED, "", "in view"))
        if lasting:
            key.append((GREY, "", "always up"))
        note = f"the first {len(shown)} of {len(nodes)}" if len(nodes) > len(shown) else ""
        rows = tuple(map(label, shown))
        return Chart(title, rows, (*lasting, *bars), key=tuple(key), note=note)

    # ---- elevations and rates ------------------------------------------------------------------

    def curves(self) -> str:
        """Elevations of passes, and rates to and from each station, over the first day."""
        shown = self._stations[:STATIONS_SHOWN]
        if not shown:
            return ""
        start_ms = self._figures.start_ms
        end_ms = min(self._figures.end_ms, start_ms + CURVES_MS)
        panels = 2 if self._elevations is not None and self._few_passes(shown, end_ms) else 1
        with style():
            figure = Figure(figsize=(WIDTH_IN, 1.75 * panels * len(shown) + 0.4))
            figure.set_layout_engine("constrained")
            axes = figure.subplots(panels * len(shown), 1, sharex=True, squeeze=False)[:, 0]
            time = TimeAxis(start_ms)
            for place, station in enumerate(shown):
                own = axes[place * panels : (place + 1) * panels]
                if panels == 2:
                    self._draw_elevations(own[0], station, time, start_ms, end_ms)
                self._draw_rates(own[-1], station, time, end_ms)
                own[0].set_title(f"{label(station)}: elevations")
                own[-1].set_title(f"{label(station)}: rates")
            time.show(axes[-1], 0.0, (end_ms - start_ms) / 1000)
            what = "elevations of satellites and " if panels == 2 else ""
            words = f"Charts over time of {what}rates at {', '.join(map(label, shown))}."
            return picture(figure, words)

    def _few_passes(self, stations: Sequence[str], end_ms: int) -> bool:
        """Whether the elevations of no station would be a block."""
        counts = dict.fromkeys(stations, 0)
        for (station, _), spans in self._offered.items():
            if station in counts:
                counts[station] += sum(start < end_ms for start, _ in spans)
        return max(counts.values(), default=0) <= CURVES_MAX

    def _draw_elevations(
        self, axes: Axes, station: str, time: TimeAxis, start_ms: int, end_ms: int
    ) -> None:
        assert self._elevations is not None
        named: set[str] = set()
        for satellite in self._others:
            colour = self._colour_of_other.get(satellite, COLOURS[0])
            for a, b in self._offered.get((station, satellite), ()):
                if a >= end_ms:
                    continue
                times = np.linspace(a, b, max(8, int((b - a) / CURVE_MS)))
                heights = self._elevations(station, satellite, times)
                days = time.days((times - start_ms) / 1000)
                axes.plot(days, heights, color=GREY, lw=0.8)
                served = self._served(station, satellite, times)
                if served.any():
                    name = label(satellite) if satellite in self._colour_of_other else "planned"
                    text = "_" if name in named else name
                    named.add(name)
                    heights = np.where(served, heights, np.nan)
                    axes.plot(days, heights, color=colour, lw=1.7, label=text)
        axes.set_ylim(0, 92)
        axes.set_yticks((0, 30, 60, 90))
        axes.set_ylabel("degrees")
        if named:
            legend(axes)

    def _served(
        self, station: str, satellite: str, times: Floats
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        served = np.zeros(len(times), np.bool_)
        for way in ((station, satellite), (satellite, station)):
            for contact in self._plan.between(*way):
                served |= (times >= contact.start_ms) & (times <= contact.end_ms)
        return served

    def _draw_rates(self, axes: Axes, station: str, time: TimeAxis, end_ms: int) -> None:
        peers = set(self._others)
        ways = (
            ("from satellites", [c for c in self._plan.contacts_to(station) if c.source in peers]),
            (
                "to satellites",
                [c for c in self._plan.contacts_from(station) if c.destination in peers],
            ),
        )
        most = 1.0
        for (text, contacts), colour in zip(ways, (COLOURS[0], COLOURS[1]), strict=True):
            times, rates = _sum_of_rates(contacts, self._figures.start_ms, end_ms)
            if not len(times):
                continue
            most = max(most, float(rates.max()))
            # As a staircase: each time twice, with the rate before and after it.
            days = np.repeat(time.days((times - self._figures.start_ms) / 1000), 2)[1:-1]
            heights = np.maximum(np.repeat(rates[:-1], 2), FLOOR_BPS)
            axes.fill_between(days, heights, FLOOR_BPS, color=colour, alpha=0.3, lw=0)
            axes.plot(days, heights, color=colour, lw=0.9, label=text)
        log_rates(axes)
        axes.set_ylim(most / 3e4, most * 2)
        legend(axes)

    # ---- volumes -------------------------------------------------------------------------------

    def volumes(self) -> str:
        """Octets that each node receives and sends on each day."""
        days = self._figures.days
        groups = [self._stations or self._others]
        titles = ["Stations" if self._stations else "Nodes"]
        if self._stations:
            groups.append(self._others)
            titles.append("Satellites")
        widest = max(len(group) for group in groups)
        if widest > ROWS_SHOWN:
            return ""
        with style(small=True):
            figure = Figure(figsize=(SMALL_IN, 2.8 * len(groups)), layout="constrained")
            axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
            for one, group, title in zip(axes, groups, titles, strict=True):
                draw_volumes(one, group, days, title)
            return picture(figure, self._volume_words(), times=False)

    def _volume_words(self) -> str:
        each = "; ".join(
            f"{label(one.node)} receives {size_text(one.received_bytes)} and sends "
            f"{size_text(one.sent_bytes)}"
            for one in self._figures.nodes[:ROWS_WORDED]
        )
        return f"Volumes of all contacts. {each}"


def _colours(nodes: Sequence[str]) -> dict[str, str]:
    return dict(zip(nodes, COLOURS, strict=False)) if len(nodes) <= len(COLOURS) else {}


def _sum_of_rates(contacts: Sequence[Contact], start_ms: int, end_ms: int) -> tuple[Floats, Floats]:
    """The sum of rates over time, as steps."""
    turns: dict[int, float] = {}
    for one in contacts:
        first, last = max(one.start_ms, start_ms), min(one.end_ms, end_ms)
        if first < last and np.isfinite(one.rate_bps):
            turns[first] = turns.get(first, 0.0) + one.rate_bps
            turns[last] = turns.get(last, 0.0) - one.rate_bps
    times = np.array(sorted(turns), np.float64)
    rates = np.cumsum([turns[int(time)] for time in times]) if len(times) else np.zeros(0)
    # Sums and differences of rates leave crumbs.
    return times, np.where(rates > 1e-3, rates, 0.0)


def draw_volumes(
    axes: Axes,
    nodes: Sequence[str],
    days: Sequence[tuple[int, Mapping[str, tuple[float, float]]]],
    title: str,
) -> None:
    """Received to the left, sent to the right, days stacked in shades.

    Where one is a small part of the other the scale is logarithmic, so that both are seen, and
    days are not stacked, as they would not add up.
    """
    places = np.arange(len(nodes), dtype=np.float64)
    volumes = np.array([[day.get(node, (0.0, 0.0)) for node in nodes] for _, day in days])
    volumes = np.where(np.isfinite(volumes), volumes, 0.0).reshape(len(days), len(nodes), 2)
    totals = volumes.sum(axis=0)
    some = totals[totals > 0]
    is_log = len(some) > 0 and float(some.max()) > WIDE * float(some.min())
    parts = totals[None] if is_log else volumes
    width = 0.38
    for column, offset, colour, text in (
        (1, -width / 2, COLOURS[0], "receives"),
        (0, width / 2, COLOURS[1], "sends"),
    ):
        bottom = np.zeros(len(nodes))
        for number, heights in enumerate(parts[:, :, column]):
            axes.bar(
                places + offset,
                heights,
                width * 0.94,
                bottom,
                color=colour,
                alpha=1.0 if number % 2 == 0 else 0.55,
                label=text if number == 0 else "_",
            )
            bottom += heights
        for place, height in zip(places + offset, bottom, strict=True):
            if len(nodes) <= LABELLED_MAX and height > 0:
                word = size_text(height)
                axes.text(place, height, word, ha="center", va="bottom", fontsize=7.5)
    names = [label(node) for node in nodes]
    every = -(-len(names) // NAMES_MAX)
    is_wide = sum(map(len, names)) + 2 * len(names) > CHARACTERS_MAX
    axes.set_xticks(places[::every], names[::every], rotation=90 if is_wide else 0)
    axes.grid(visible=False, axis="x")
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(float(some.min()) / 5, float(some.max()) * 4)
    else:
        axes.margins(y=0.12)
    axes.yaxis.set_major_formatter(lambda value, _: size_text(value))
    shades = ", days in shades" if len(parts) > 1 else ", logarithmic" if is_log else ""
    first = dtn_to_iso(days[0][0])[:10] if days else ""
    axes.set_title(f"{title}: volumes from {first}{shades}")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=2, borderaxespad=0.2)
