"""The report of a run: one HTML file that stands alone, and the figures as JSON and CSV."""

from __future__ import annotations

from html import escape
from pathlib import Path

from link_models.loopback.closeup import CloseUp, busiest
from link_models.loopback.plots import Figures, hours_text
from link_models.loopback.results import Result
from link_models.loopback.scenario import Scenario
from link_models.loopback.sky import Sky
from link_models.loopback.tables import Tables, mb, percent, table
from link_models.loopback.world import short_name
from stack.core.clock import dtn_to_iso

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2530; max-width: 1140px; margin: 2em auto;
  padding: 0 1em; }
h1 { font-size: 1.7em; margin-bottom: 0.2em; }
h2 { font-size: 1.25em; margin-top: 2em; border-bottom: 1px solid #d5dae1; }
table { border-collapse: collapse; font-size: 13px; margin: 0.8em 0; }
th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid #e8ebef; }
th { background: #f4f6f8; font-weight: 600; vertical-align: bottom; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: 12px; }
svg { width: 100%; height: auto; }
p.note { color: #5b6675; font-size: 13px; }
.good { color: #14713d; font-weight: 600; } .bad { color: #b3261e; font-weight: 600; }
.unused td { color: #8b95a3; }
summary { cursor: pointer; }
"""


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
        self._tables = Tables(result, scenario, sky)

    def html(self) -> str:
        """The whole page."""
        title = escape(self._result.title)
        parts = [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{title}</title><style>{CSS}</style></head><body>",
            f"<h1>{title}</h1>",
            f"<p>{escape(' '.join(self._scenario.description.split()))}</p>",
            self._verdict(),
            self._summary(),
            "<h2>Contacts and jobs</h2>",
            self._figures.timeline(),
            self._tables.jobs(),
            self._tables.messages(),
            "<h2>Links over the day</h2>",
            self._figures.links(),
            self._tables.directions(),
            self._close_up(),
            "<h2>Passes</h2>",
            self._tables.passes(),
            "<h2>What was simulated</h2>",
            self._tables.setup(),
            "<h2>Every object</h2>",
            self._tables.objects(),
            "</body></html>\n",
        ]
        return "\n".join(part for part in parts if part)

    # ---- summary ---------------------------------------------------------------------------

    def _verdict(self) -> str:
        result = self._result
        count = len(result.objects)
        if result.ok:
            return (
                f'<p class="good">All {count} objects arrived, and each has the SHA-256 that the '
                "ground expects.</p>"
            )
        items = "".join(f"<li>{escape(problem)}</li>" for problem in result.problems)
        return f'<p class="bad">Not everything arrived as it should:</p><ul>{items}</ul>'

    def _summary(self) -> str:
        result = self._result
        totals = result.totals()
        up, down = totals["up"], totals["down"]
        rows = [
            ("content handed over", mb(up["offered_bytes"]), mb(down["offered_bytes"])),
            (
                "content delivered and right",
                mb(up["delivered_bytes"]),
                mb(down["delivered_bytes"]),
            ),
            ("bundles received", mb(up["bundle_bytes"]), mb(down["bundle_bytes"])),
            ("datagrams received", mb(up["on_air_bytes"]), mb(down["on_air_bytes"])),
            ("datagrams lost", mb(up["lost_bytes"]), mb(down["lost_bytes"])),
            (
                "repaired by FEC, packets",
                f"{up['fec_recovered_packets']:,}",
                f"{down['fec_recovered_packets']:,}",
            ),
            ("sent again by LTP", mb(up["resent_bytes"]), mb(down["resent_bytes"])),
            ("capacity of all contacts", mb(up["capacity_bytes"]), mb(down["capacity_bytes"])),
            (
                "capacity while there was something to send",
                mb(up["capacity_wanted_bytes"]),
                mb(down["capacity_wanted_bytes"]),
            ),
            ("of which became bundles", percent(up["efficiency"]), percent(down["efficiency"])),
        ]
        lead = (
            f"<p>{totals['objects_ok']} of {totals['objects']} objects; "
            f"{totals['passes_used']} of {totals['passes']} passes used; from "
            f"{escape(dtn_to_iso(self._sky.start_ms))} for {self._scenario.duration_h:g} h; the "
            f"work was over after {hours_text(result.ended_s)}; seed {result.seed}.</p>"
        )
        note = (
            '<p class="note">Capacity "while there was something to send" counts contacts at '
            "their rate whenever a sample found data in the hands of the sender's link, blackouts "
            "included; what did not become bundles is parity, headers, losses and repetition. "
            "Transfers that are over between two samples have no share.</p>"
        )
        return lead + table(("", "up", "down"), rows, numbers=(1, 2)) + note

    def _close_up(self) -> str:
        place = busiest(self._result.passes)
        if place is None:
            return ""
        row = self._result.passes[place]
        figure = CloseUp(self._result, self._sky, place).svg()
        heading = (
            f"The busiest pass: {short_name(row.satellite)} over {short_name(row.station)}, "
            f"{self._tables.clock(row.rise_s)} to {self._tables.clock(row.set_s)} UTC"
        )
        return f"<h2>{escape(heading)}</h2>\n{figure}"
