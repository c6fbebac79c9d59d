"""The figures of a whole run: contacts and jobs, rates, volumes and queues."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from link_models.loopback.plotting import (
    COLOURS,
    DARK,
    GREY,
    RED,
    WIDTH_IN,
    TimeAxis,
    key,
    legend,
    rate_of,
    scale_of,
    steps,
    style,
    svg,
)
from link_models.loopback.results import JobRow, Result
from link_models.loopback.sky import Pair, Sky
from link_models.loopback.world import short_name
from stack.core.clock import SECOND


class Figures:
    """Draws a result."""

    def __init__(self, result: Result, sky: Sky) -> None:
        self._result = result
        self._sky = sky
        self._time = TimeAxis(sky.start_ms)
        names = list(sky.stations) + list(sky.satellites)
        self._colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}

    # ---- contacts and jobs -----------------------------------------------------------------

    def timeline(self) -> str:
        """Passes with blackouts, and below them the life of each job."""
        pairs = self._sky.pairs
        jobs = self._result.jobs
        heights = [max(1.2, 0.75 * len(pairs)), max(1.0, 0.4 * len(jobs))]
        with style():
            figure = Figure(figsize=(WIDTH_IN, 1.9 + sum(heights)), layout="constrained")
            above, below = figure.subplots(2, 1, sharex=True, height_ratios=heights)
            self._contacts(above, pairs)
            self._jobs(below, jobs)
            self._time.show(below, 0.0, self._result.duration_s)
            return svg(figure)

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
                middle = float(self._time.days((one.rise_ns + one.set_ns) / 2 / SECOND))
                text = f"{one.max_elevation_deg:.0f}°"
                axes.text(middle, line - 0.5, text, ha="center", va="bottom", fontsize=6.5)
        axes.set_yticks(range(len(pairs)), [_pair_name(pair) for pair in pairs])
        axes.set_ylim(len(pairs) - 0.4, -0.9)
        axes.grid(visible=False, axis="y")
        axes.set_title("Passes (highest elevation above each)")
        colours = [(self._colour[name], f"used, {short_name(name)}") for name in self._sky.stations]
        key(axes, [*colours, (GREY, "not used"), (RED, "blackout")])

    def _bar(
        self, axes: Axes, line: float, start_ns: float, end_ns: float, height: float, colour: str
    ) -> None:
        start, end = self._time.ends(start_ns, end_ns)
        # A blackout of seconds would be thinner than a pixel of a day.
        edge = 0.9 if colour == RED else 0.0
        axes.broken_barh([(start, end - start)], (line - height / 2, height), color=colour, lw=edge)

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
                done = float(self._time.days(job.done_s))
                axes.plot(done, line, "|", color="#00553B", ms=13, mew=1.6)
                text = f"  {hours_text(job.done_s - job.submitted_s)}"
                axes.text(done, line, text, va="center", fontsize=7.5)
        axes.set_yticks(range(len(jobs)), [job.name for job in jobs])
        axes.set_ylim(len(jobs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_title("Jobs, from submission to the last result (latency beside)")
        keys = [(colour, text) for _, _, colour, text in phases]
        key(axes, [*keys, ("#00553B", "last result on the ground")])

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
            for axes in (total, queue):
                self._end(axes)
            self._time.show(queue, 0.0, self._result.duration_s)
            return svg(figure)

    def _rates(self, axes: Axes, *, is_up: bool) -> None:
        series = self._result.series
        scale, unit = scale_of(
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
            times, rates = steps(windows)
            axes.plot(
                self._time.days(times),
                rates / scale,
                color=colour,
                lw=0.8,
                alpha=0.55,
                label=f"{label}: channel rate",
            )
            middle, rate = rate_of(series.time_s, series.on_air[way])
            axes.fill_between(
                self._time.days(middle),
                rate / scale,
                step="mid",
                color=colour,
                lw=0.8,
                alpha=0.85,
                label=f"{label}: datagrams arrived",
            )
        axes.set_ylabel(unit)
        if is_up:
            axes.set_ylim(bottom=0)
        else:  # short transfers at high rates: their means over a sample are small
            axes.set_yscale("log")
            axes.set_ylim(bottom=1e3 / scale)
        way_name = "Uplink" if is_up else "Downlink"
        step = f"mean of {self._step_s():g} s"
        axes.set_title(f"{way_name}: rate of the channel, and what arrived ({step})")
        legend(axes)

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
            x = self._time.days(series.time_s)
            axes.plot(x, air / 1e6, color=colour, lw=1.0, ls=":", label=f"{name}: all datagrams")
            axes.plot(x, data / 1e6, color=colour, lw=1.5, label=f"{name}: bundles")
        axes.set_ylabel("MB")
        axes.set_ylim(bottom=0)
        axes.set_title("Arrived so far, all links (the difference is parity, headers, repetition)")
        legend(axes)

    def _queues(self, axes: Axes) -> None:
        series = self._result.series
        for node, values in series.queue.items():
            axes.plot(
                self._time.days(series.time_s),
                values / 1e6,
                color=self._colour[node],
                lw=1.3,
                label=short_name(node),
            )
        axes.set_ylabel("MB")
        axes.set_ylim(bottom=0)
        axes.set_title("Waiting in each node to be forwarded (until the next node has it safely)")
        legend(axes)

    def _end(self, axes: Axes) -> None:
        ended_s = self._result.ended_s
        if ended_s < self._result.duration_s - 1:
            axes.axvline(
                float(self._time.days(ended_s)), color=DARK, lw=0.8, ls="--", label="work over"
            )
            legend(axes)


def hours_text(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 20 s`` below an hour, ``0.52 s`` below a minute."""
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def _pair_name(pair: Pair) -> str:
    return f"{short_name(pair.station)} - {short_name(pair.satellite)}"
