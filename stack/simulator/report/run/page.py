"""The report of a run: one HTML file that stands alone, and the figures as JSON and CSV."""

from __future__ import annotations

from html import escape
from pathlib import Path

from stack.core.clock import MILLISECOND
from stack.core.units import count_text, duration_text
from stack.simulator.loopback.results import Result
from stack.simulator.loopback.world import short_name
from stack.simulator.report.page import page, prose, second_of, table
from stack.simulator.report.run.closeup import CloseUp, busiest
from stack.simulator.report.run.delivery import DeliveryPlots
from stack.simulator.report.run.flows import Flows
from stack.simulator.report.run.plots import Figures, colours_of
from stack.simulator.report.run.setup import Setup
from stack.simulator.report.run.summary import volumes
from stack.simulator.report.run.tables import Tables
from stack.simulator.report.world import Overflight, World, world_map
from stack.simulator.scenario import Scenario
from stack.simulator.sky import Sky


def write_report(result: Result, scenario: Scenario, sky: Sky, folder: Path) -> None:
    """Write report.html, results.json and series.csv into `folder`, which is made.  Raises
    `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(_Page(result, scenario, sky).html(), encoding="utf-8")
    (folder / "results.json").write_text(result.to_json(), encoding="utf-8")
    (folder / "series.csv").write_text(result.to_csv(), encoding="utf-8")


class _Page:
    """The HTML text."""

    def __init__(self, result: Result, scenario: Scenario, sky: Sky) -> None:
        self._result = result
        self._scenario = scenario
        self._sky = sky
        self._figures = Figures(result, sky)
        self._tables = Tables(result, sky)

    def html(self) -> str:
        """The whole page."""
        parts = [
            f"<p>{prose(self._scenario.description)}</p>",
            self._verdict(),
            self._summary(),
            "<h2>Contacts and work</h2>",
            self._figures.timeline(),
            world_map(self._world(), colours_of(self._sky)),
            self._tables.jobs(),
            self._tables.messages(),
            self._tables.traffic(),
            "<h2>Delivery</h2>",
            DeliveryPlots(self._result).picture(),
            "<h2>Links over the run</h2>",
            Flows(self._result, self._sky).picture(),
            self._tables.directions(),
            self._close_up(),
            "<h2>Passes</h2>",
            self._tables.passes(),
            "<h2>Events</h2>",
            self._tables.events(),
            "<h2>What was simulated</h2>",
            Setup(self._scenario, self._sky).html(),
            "<h2>Every object</h2>" if self._result.objects else "",
            self._tables.objects() if self._result.objects else "",
        ]
        return page(self._result.title, parts)

    def _world(self) -> World:
        sky = self._sky
        passes = [
            Overflight(
                one.station,
                one.satellite,
                sky.start_ms + round(one.rise_ns / MILLISECOND),
                sky.start_ms + round(one.set_ns / MILLISECOND),
                row.used,
            )
            for one, row in zip(sky.passes, self._result.passes, strict=True)
        ]
        end_ms = sky.start_ms + round(self._result.duration_s * 1000)
        return World(sky.stations, sky.satellites, passes, sky.start_ms, end_ms)

    # ---- summary ---------------------------------------------------------------------------

    def _verdict(self) -> str:
        result = self._result
        count = len(result.objects)
        if result.ok:
            what = "The object arrived, and has the SHA-256 that the ground expects."
            if count != 1:
                what = f"All {count:,} objects arrived, with the SHA-256 that the ground expects."
            if result.traffic:
                arrived = sum(row.arrived for row in result.traffic)
                sent = sum(row.count for row in result.traffic)
                whole = count_text(sent, "bundle")
                rest = "" if arrived == sent else f", {sent - arrived:,} not before the run ended"
                bundles = f"{arrived:,} of {whole} of generated traffic arrived unaltered{rest}."
                what = f"{what} {bundles}" if count else bundles
            return f'<p class="good">{what}</p>'
        items = "".join(f"<li>{escape(problem)}</li>" for problem in result.problems)
        return f'<p class="bad">Not everything arrived as it should:</p><ul>{items}</ul>'

    def _summary(self) -> str:
        result, totals = self._result, self._result.totals()
        head, rows = volumes(result)
        parts = []
        if result.objects:
            parts.append(f"{totals['objects_ok']} of {count_text(totals['objects'], 'object')}")
        if result.traffic:
            parts.append(
                f"{totals['bundles_arrived']:,} of {count_text(totals['bundles'], 'bundle')}"
            )
        lead = (
            f"<p>{'; '.join(parts)}; {count_text(totals['passes'], 'pass')}, "
            f"{totals['passes_planned']} "
            f"planned, {totals['passes_used']} used; from "
            f"{second_of(self._sky.start_ms)} for {self._scenario.duration_h:g} h; the "
            f"work was over after {duration_text(result.ended_s)}; seed {result.seed}.</p>"
        )
        note = (
            '<p class="note">Capacity "while there was something to send" counts contacts at '
            "their rate whenever a sample found data in the hands of the sender's link, blackouts "
            "included; what did not become bundles is parity, headers, losses and repetition. "
            "Where all transfers were over between two samples, it is not known.</p>"
        )
        return lead + table(head, rows, numbers=tuple(range(1, len(head)))) + note

    def _close_up(self) -> str:
        place = busiest(self._result.passes)
        if place is None:
            return ""
        row = self._result.passes[place]
        figure = CloseUp(self._result, self._sky, place).picture()
        heading = (
            f"The busiest pass: {short_name(row.satellite)} over {short_name(row.station)}, "
            f"{self._tables.clock(row.rise_s)} to {self._tables.clock(row.set_s)} UTC"
        )
        return f"<h2>{escape(heading)}</h2>\n{figure}"
