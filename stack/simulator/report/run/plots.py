"""The figure of contacts and work: who saw whom, and what became of each job."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stack.core.clock import SECOND
from stack.core.units import count_text, duration_text
from stack.simulator.loopback.results import JobRow, Result
from stack.simulator.loopback.world import short_name
from stack.simulator.report.plotting import (
    COLOURS,
    GREY,
    RED,
    WIDTH_IN,
    TimeAxis,
    key,
    picture,
    style,
)
from stack.simulator.sky import Sky, SkyLink, SkyPass

FADED = "#7B3294"

ROWS_MAX = 30
"""Rows of a chart that can still be read; with more pairs there is one row for each station."""

PASSES_LABELLED_MAX = 120
"""More passes than this have no elevation written at them."""


class Figures:
    """Draws contacts and jobs."""

    def __init__(self, result: Result, sky: Sky) -> None:
        self._result = result
        self._sky = sky
        self._time = TimeAxis(sky.start_ms)
        self._colour = colours_of(sky)

    def timeline(self) -> str:
        """Passes with blackouts, links between satellites, and below them the life of each job."""
        rows = self._rows()
        across = self._sky.crosslinks[:ROWS_MAX]
        jobs = self._result.jobs
        parts = [max(1.2, 0.45 * len(rows) + 0.5)]
        parts += [max(1.0, 0.22 * len(across))] if across else []
        parts += [max(1.0, 0.4 * len(jobs))] if jobs else []
        with style():
            figure = Figure(figsize=(WIDTH_IN, 1.2 + sum(parts)), layout="constrained")
            grid = figure.subplots(len(parts), 1, sharex=True, height_ratios=parts, squeeze=False)
            panels: list[Axes] = list(grid[:, 0])
            self._contacts(panels[0], rows)
            if across:
                self._across(panels[1], across)
            if jobs:
                self._jobs(panels[-1], jobs)
            self._time.show(panels[-1], 0.0, self._result.duration_s)
            return picture(figure, self._words())

    def _words(self) -> str:
        used = sum(row.used for row in self._result.passes)
        jobs = "; ".join(
            f"{job.name} took "
            + ("for ever" if job.latency_s is None else duration_text(job.latency_s))
            for job in self._result.jobs[:ROWS_MAX]
        )
        return (
            f"Time chart of {count_text(len(self._sky.passes), 'pass')}, {used} of them used, "
            f"and of {count_text(len(self._result.jobs), 'job')}. {jobs}"
        )

    def _rows(self) -> dict[str, list[SkyPass]]:
        """Passes by row of the chart."""
        pairs = {(one.station, one.satellite) for one in self._sky.passes}
        many = len(pairs) > ROWS_MAX
        rows: dict[str, list[SkyPass]] = {}
        for link in self._sky.links:
            if link.kind == "pass":
                rows.setdefault(short_name(link.a) if many else link_name(link), [])
        for one in self._sky.passes:
            name = short_name(one.station)
            rows[name if many else f"{name} - {short_name(one.satellite)}"].append(one)
        return rows

    def _contacts(self, axes: Axes, rows: dict[str, list[SkyPass]]) -> None:
        used = {(row.station, row.satellite, row.rise_s): row.used for row in self._result.passes}
        labelled = len(self._sky.passes) <= PASSES_LABELLED_MAX
        faded = False
        for line, (name, passes) in enumerate(rows.items()):
            for link in self._sky.links:
                if name in (link_name(link), short_name(link.a)) and link.kind == "pass":
                    for start, end in link.backward.closed():
                        faded = True
                        self._bar(axes, line + 0.36, start, end, 0.18, FADED)
            for one in passes:
                carried = used[one.station, one.satellite, one.rise_ns / SECOND]
                colour = self._colour[one.station] if carried else GREY
                if carried or one.planned:
                    self._bar(axes, line, one.rise_ns, one.set_ns, 0.5, colour)
                else:
                    self._bar(axes, line, one.rise_ns, one.set_ns, 0.12, colour)
                for start, end in one.blackouts_ns:
                    self._bar(axes, line, start, end, 0.7, RED)
                if labelled:
                    middle = float(self._time.days((one.rise_ns + one.set_ns) / 2 / SECOND))
                    text = f"{one.max_elevation_deg:.0f}°"
                    axes.text(middle, line - 0.5, text, ha="center", va="bottom", fontsize=6.5)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.9)
        axes.grid(visible=False, axis="y")
        what = "highest elevation above each; " if labelled else ""
        axes.set_title(f"Passes ({what}thin: no antenna was given to it)")
        stations = list(self._sky.stations)
        if len(stations) <= len(COLOURS):
            entries = [(self._colour[name], f"used, {short_name(name)}") for name in stations]
        else:
            entries = [(COLOURS[0], "used")]
        if faded:
            entries.append((FADED, "planned, but faded away"))
        if any(one.blackouts_ns for one in self._sky.passes):
            entries.append((RED, "blackout"))
        key(axes, [*entries, (GREY, "not used")])

    def _across(self, axes: Axes, links: list[SkyLink]) -> None:
        used = {(row.source, row.destination) for row in self._result.directions if row.delivered}
        for line, link in enumerate(links):
            busy = {(link.a, link.b), (link.b, link.a)} & used
            for window in link.forward.windows:
                colour = COLOURS[5] if busy else GREY
                self._bar(axes, line, window.start_ns, window.end_ns, 0.5, colour)
        axes.set_yticks(range(len(links)), [link_name(link) for link in links], fontsize=6.5)
        axes.set_ylim(len(links) - 0.4, -0.9)
        axes.grid(visible=False, axis="y")
        axes.set_title("Links between satellites")
        key(axes, [(COLOURS[5], "used"), (GREY, "not used")])

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
                text = f"  {duration_text(job.done_s - job.submitted_s)}"
                axes.text(done, line, text, va="center", fontsize=7.5)
        axes.set_yticks(range(len(jobs)), [job.name for job in jobs])
        axes.set_ylim(len(jobs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_title("Jobs, from submission to the last result (latency beside)")
        keys = [(colour, text) for _, _, colour, text in phases]
        key(axes, [*keys, ("#00553B", "last result on the ground")])


def colours_of(sky: Sky) -> dict[str, str]:
    """A colour for each node."""
    names = list(sky.stations) + list(sky.satellites)
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def link_name(link: SkyLink) -> str:
    """Both ends."""
    return f"{short_name(link.a)} - {short_name(link.b)}"
