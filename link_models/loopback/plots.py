"""The figures of a report, as SVG text that is the same each time."""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from link_models.channel import Window
from link_models.loopback.results import JobRow, PassRow, Result
from link_models.loopback.sky import Pair, Sky, SkyPass
from link_models.loopback.world import short_name
from stack.core.clock import MILLISECOND, SECOND, unix_from_dtn

Floats = NDArray[np.float64]

# Okabe and Ito's palette, which readers with any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, RED = "#B8BEC6", "#C0392B"

DATES: Any = matplotlib.dates  # has no types

STYLE: Any = {
    "svg.hashsalt": "orbitferry",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "path.simplify": True,
    "timezone": "UTC",
}

WIDTH_IN = 11.0


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The style of all figures, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


class Figures:
    """Draws a result."""

    def __init__(self, result: Result, sky: Sky) -> None:
        self._result = result
        self._sky = sky
        self._start = datetime.datetime.fromtimestamp(unix_from_dtn(sky.start_ms), datetime.UTC)
        names = list(sky.stations) + list(sky.satellites)
        self._colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}

    def days(self, seconds: Any) -> Any:
        """Seconds of the run as matplotlib's dates."""
        return float(DATES.date2num(self._start)) + np.asarray(seconds, np.float64) / 86_400.0

    # ---- contacts and jobs -----------------------------------------------------------------

    def timeline(self) -> str:
        """Passes with blackouts, and below them the life of each job."""
        pairs = self._sky.pairs
        jobs = self._result.jobs
        heights = [max(1.0, 0.55 * len(pairs)), max(1.0, 0.4 * len(jobs))]
        with style():
            figure = Figure(figsize=(WIDTH_IN, 1.9 + sum(heights)), layout="constrained")
            above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
            self._contacts(above, pairs)
            self._jobs(below, jobs)
            self._utc_axis(below)
            return _svg(figure)

    def _contacts(self, axes: Axes, pairs: tuple[Pair, ...]) -> None:
        used = {(row.station, row.satellite, row.rise_s): row for row in self._result.passes}
        for line, pair in enumerate(pairs):
            for one in self._sky.passes:
                if (one.station, one.satellite) != (pair.station, pair.satellite):
                    continue
                row = used[one.station, one.satellite, one.rise_ns / SECOND]
                self._bar(axes, line, one.rise_ns, one.set_ns, 0.5, GREY)
                if row.used:
                    colour = self._colour[pair.station]
                    self._bar(axes, line, one.rise_ns, one.set_ns, 0.5, colour)
                for start, end in one.blackouts_ns:
                    self._bar(axes, line, start, end, 0.9, RED)
                middle = float(self.days((one.rise_ns + one.set_ns) / 2 / SECOND))
                text = f"{one.max_elevation_deg:.0f}°"
                axes.text(middle, line - 0.5, text, ha="center", va="bottom", fontsize=6.5)
        axes.set_yticks(range(len(pairs)), [_pair_name(pair) for pair in pairs])
        axes.set_ylim(len(pairs) - 0.4, -0.9)
        axes.grid(visible=False, axis="y")
        axes.set_title("Passes (highest elevation above each)")
        colours = [(self._colour[name], f"used, {short_name(name)}") for name in self._sky.stations]
        _key(axes, [*colours, (GREY, "not used"), (RED, "blackout")])

    def _bar(
        self, axes: Axes, line: float, start_ns: float, end_ns: float, height: float, colour: str
    ) -> None:
        start, end = self.days(np.array([start_ns, end_ns]) / SECOND).tolist()
        axes.broken_barh([(start, end - start)], (line - height / 2, height), color=colour, lw=0)

    def _jobs(self, axes: Axes, jobs: tuple[JobRow, ...]) -> None:
        phases: tuple[tuple[str, str, str, str], ...] = (
            ("submitted_s", "inputs_there_s", "#9DB7D5", "inputs on their way up"),
            ("inputs_there_s", "finished_s", "#E69F00", "queued and running"),
            ("finished_s", "done_s", "#009E73", "results on their way down"),
        )
        for line, job in enumerate(jobs):
            for first, last, colour, _ in phases:
                start = getattr(job, first)
                end = getattr(job, last)
                if start is None:
                    continue
                open_end = self._result.ended_s if end is None else end
                self._bar(axes, line, start * SECOND, open_end * SECOND, 0.5, colour)
                if end is None:
                    break
            if job.done_s is not None:
                done = float(self.days(job.done_s))
                axes.plot(done, line, "|", color="#00553B", ms=13, mew=1.6)
                text = f"  {hours_text(job.done_s - job.submitted_s)}"
                axes.text(done, line, text, va="center", fontsize=7.5)
        axes.set_yticks(range(len(jobs)), [job.name for job in jobs])
        axes.set_ylim(len(jobs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_title("Jobs, from submission to the last result (latency beside)")
        keys = [(colour, text) for _, _, colour, text in phases]
        _key(axes, [*keys, ("#00553B", "last result on the ground")])

    # ---- links -----------------------------------------------------------------------------

    def links(self) -> str:
        """Rates up and down, what has passed, and what waits."""
        with style():
            figure = Figure(figsize=(WIDTH_IN, 10.0), layout="constrained")
            up, down, total, queue = figure.subplots(4, 1, sharex=True)
            for axes, is_up in ((up, True), (down, False)):
                self._rates(axes, is_up=is_up)
            self._cumulative(total)
            self._queues(queue)
            self._utc_axis(queue)
            return _svg(figure)

    def _rates(self, axes: Axes, *, is_up: bool) -> None:
        series = self._result.series
        scale, unit = _scale_of(
            max(
                (w.rate_bps for pair in self._sky.pairs for w in (pair.up if is_up else pair.down)),
                default=1.0,
            ),
            "bit/s",
        )
        for pair in self._sky.pairs:
            windows = pair.up if is_up else pair.down
            way = (pair.station, pair.satellite) if is_up else (pair.satellite, pair.station)
            colour = self._colour[pair.station]
            label = _pair_name(pair)
            times, rates = _steps(windows)
            axes.plot(
                self.days(times),
                rates / scale,
                color=colour,
                lw=0.8,
                alpha=0.55,
                label=f"{label}: channel rate",
            )
            middle, rate = _rate_of(series.time_s, series.on_air[way])
            axes.fill_between(
                self.days(middle),
                rate / scale,
                step="mid",
                color=colour,
                lw=0,
                alpha=0.85,
                label=f"{label}: datagrams arrived",
            )
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        way_name = "Uplink" if is_up else "Downlink"
        step = f"mean of {self._step_s():g} s"
        axes.set_title(f"{way_name}: rate of the channel, and what arrived ({step})")
        _legend(axes)

    def _step_s(self) -> float:
        steps = np.diff(self._result.series.time_s)
        return float(np.round(np.median(steps), 3)) if len(steps) else 0.0

    def _cumulative(self, axes: Axes) -> None:
        series = self._result.series
        for is_up, name, colour in ((True, "up", COLOURS[0]), (False, "down", COLOURS[1])):
            ways = [
                (p.station, p.satellite) if is_up else (p.satellite, p.station)
                for p in self._sky.pairs
            ]
            air = sum((series.on_air[way] for way in ways), np.zeros_like(series.time_s))
            data = sum((series.data[way] for way in ways), np.zeros_like(series.time_s))
            x = self.days(series.time_s)
            axes.plot(x, air / 1e6, color=colour, lw=1.0, ls=":", label=f"{name}: all datagrams")
            axes.plot(x, data / 1e6, color=colour, lw=1.5, label=f"{name}: bundles")
        axes.set_ylabel("MB")
        axes.set_ylim(bottom=0)
        axes.set_title("Arrived so far, all links (the difference is parity, headers, repetition)")
        _legend(axes)

    def _queues(self, axes: Axes) -> None:
        series = self._result.series
        for node, values in series.queue.items():
            axes.plot(
                self.days(series.time_s),
                values / 1e6,
                color=self._colour[node],
                lw=1.3,
                label=short_name(node),
            )
        axes.set_ylabel("MB")
        axes.set_ylim(bottom=0)
        axes.set_title("Waiting in each node to be forwarded (until the next node has it safely)")
        _legend(axes)

    # ---- one pass --------------------------------------------------------------------------

    def busiest(self) -> tuple[PassRow, str] | None:
        """The pass with the most octets up, close up; None when none was used."""
        rows = [row for row in self._result.passes if row.used]
        if not rows:
            return None
        row = max(rows, key=lambda one: (one.up.on_air, one.down.on_air, -one.rise_s))
        one = next(
            p
            for p in self._sky.passes
            if (p.station, p.satellite) == (row.station, row.satellite)
            and p.rise_ns / SECOND == row.rise_s
        )
        pair = next(
            p for p in self._sky.pairs if (p.station, p.satellite) == (row.station, row.satellite)
        )
        with style():
            figure = Figure(figsize=(WIDTH_IN, 7.2), layout="constrained")
            panels = figure.subplots(3, 1, sharex=True)
            self._geometry(panels[0], one, pair)
            for axes, is_up in ((panels[1], True), (panels[2], False)):
                self._close_up(axes, one, pair, is_up=is_up)
            for axes in panels:
                for place, (start, end) in enumerate(one.blackouts_ns):
                    left, right = self.days(np.array([start, end]) / SECOND).tolist()
                    label = "blackout" if place == 0 else None
                    axes.axvspan(left, right, color=RED, alpha=0.18, lw=0, label=label)
                _legend(axes)
            margin_s = 15.0
            span = np.array([row.rise_s - margin_s, row.set_s + margin_s])
            panels[2].set_xlim(*self.days(span).tolist())
            self._utc_axis(panels[2], whole=False)
            return row, _svg(figure)

    def _geometry(self, axes: Axes, one: SkyPass, pair: Pair) -> None:
        times_ns = np.linspace(one.rise_ns, one.set_ns, 300)
        x = self.days(times_ns / SECOND)
        elevation = self._sky.elevations(one.station, one.satellite, times_ns)
        axes.plot(x, elevation, color=COLOURS[0], label="elevation (left)")
        axes.set_ylabel("elevation, deg")
        axes.set_ylim(bottom=0)
        other = axes.twinx()
        light_ms = np.broadcast_to(pair.delay.at(times_ns), times_ns.shape) / MILLISECOND
        other.plot(x, light_ms, color=COLOURS[1], ls="--")
        other.set_ylabel("one-way light time, ms")
        other.grid(visible=False)
        other.spines["right"].set_visible(True)
        axes.plot([], [], color=COLOURS[1], ls="--", label="light time (right)")
        axes.set_title("Geometry")

    def _close_up(self, axes: Axes, one: SkyPass, pair: Pair, *, is_up: bool) -> None:
        series = self._result.series
        windows = [
            w for w in (pair.up if is_up else pair.down) if one.rise_ns <= w.start_ns < one.set_ns
        ]
        way = (pair.station, pair.satellite) if is_up else (pair.satellite, pair.station)
        near = (series.time_s >= one.rise_ns / SECOND - 20) & (
            series.time_s <= one.set_ns / SECOND + 20
        )
        times, rates = _steps(tuple(windows))
        scale, unit = _scale_of(float(rates.max(initial=1.0)), "bit/s")
        axes.plot(self.days(times), rates / scale, color="#555", lw=1.0, label="channel rate")
        for values, colour, label in (
            (series.on_air[way], "#9DB7D5", "all datagrams"),
            (series.data[way], COLOURS[0], "bundles (as their blocks become complete)"),
        ):
            middle, rate = _rate_of(series.time_s[near], values[near])
            axes.step(
                self.days(middle), rate / scale, where="mid", color=colour, lw=1.4, label=label
            )
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        axes.set_title("Uplink" if is_up else "Downlink")

    def _utc_axis(self, axes: Axes, *, whole: bool = True) -> None:
        locator = DATES.AutoDateLocator(minticks=6, maxticks=14)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(DATES.ConciseDateFormatter(locator))
        if whole:
            axes.set_xlim(*self.days([0.0, self._result.duration_s]).tolist())
        axes.set_xlabel("UTC")


def hours_text(seconds: float) -> str:
    """``2 h 05 min``, or ``3 min 20 s`` below an hour."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def _pair_name(pair: Pair) -> str:
    return f"{short_name(pair.station)} - {short_name(pair.satellite)}"


def _scale_of(most: float, unit: str) -> tuple[float, str]:
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if most >= scale:
            return scale, prefix + unit
    return 1.0, unit


def _steps(windows: tuple[Window, ...]) -> tuple[Floats, Floats]:
    """The rate of windows over time, for a line that falls to zero between them."""
    times: list[float] = []
    rates: list[float] = []
    for window in windows:
        start, end = window.start_ns / SECOND, window.end_ns / SECOND
        times += [start, start, end, end]
        rates += [0.0, window.rate_bps, window.rate_bps, 0.0]
    return np.array(times), np.array(rates)


def _rate_of(times_s: Floats, octets: Floats) -> tuple[Floats, Floats]:
    """Bits per second between samples, at the middles of the times."""
    if len(times_s) < 2:
        return np.zeros(0), np.zeros(0)
    middle: Floats = (times_s[1:] + times_s[:-1]) / 2
    return middle, np.diff(octets) * 8 / np.diff(times_s)


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.4)


def _key(axes: Axes, entries: list[tuple[str, str]]) -> None:
    """A legend of coloured patches."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=text) for colour, text in entries]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.4)


def _svg(figure: Figure) -> str:
    """The figure as an `svg` element without dates and versions."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
