"""The report of a run: one HTML file that stands alone, and the figures as JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from link_models.loopback.closeup import CloseUp, busiest
from link_models.loopback.plots import Figures, hours_text
from link_models.loopback.results import (
    DirectionRow,
    JobRow,
    ObjectRow,
    PassRow,
    Result,
    Volume,
    share_of,
)
from link_models.loopback.scenario import DirectionConfig, Scenario
from link_models.loopback.sky import Sky
from link_models.loopback.world import short_name
from stack.core.clock import dtn_to_iso

OBJECTS_MAX = 2000
"""Objects listed in the report; results.json has them all."""

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
            self._jobs(),
            self._messages(),
            "<h2>Links over the day</h2>",
            self._figures.links(),
            self._directions(),
            self._close_up(),
            "<h2>Passes</h2>",
            self._passes(),
            "<h2>What was simulated</h2>",
            self._setup(),
            "<h2>Every object</h2>",
            self._objects(),
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
            ("content handed over", _mb(up["offered_bytes"]), _mb(down["offered_bytes"])),
            (
                "content delivered and right",
                _mb(up["delivered_bytes"]),
                _mb(down["delivered_bytes"]),
            ),
            ("bundles received", _mb(up["bundle_bytes"]), _mb(down["bundle_bytes"])),
            ("datagrams received", _mb(up["on_air_bytes"]), _mb(down["on_air_bytes"])),
            ("datagrams lost", _mb(up["lost_bytes"]), _mb(down["lost_bytes"])),
            (
                "repaired by FEC, packets",
                f"{up['fec_recovered_packets']:,}",
                f"{down['fec_recovered_packets']:,}",
            ),
            ("sent again by LTP", _mb(up["resent_bytes"]), _mb(down["resent_bytes"])),
            ("capacity of all contacts", _mb(up["capacity_bytes"]), _mb(down["capacity_bytes"])),
            (
                "capacity while there was something to send",
                _mb(up["capacity_wanted_bytes"]),
                _mb(down["capacity_wanted_bytes"]),
            ),
            ("of which became bundles", _percent(up["efficiency"]), _percent(down["efficiency"])),
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
        return lead + _table(("", "up", "down"), rows, numbers=(1, 2)) + note

    def _jobs(self) -> str:
        if not self._result.jobs:
            return ""
        head = (
            "job",
            "from",
            "priority",
            "submitted",
            "inputs",
            "MB up",
            "inputs there",
            "run",
            "first result",
            "last result",
            "results",
            "MB down",
            "latency",
            "state",
        )
        rows = [self._job(job) for job in self._result.jobs]
        note = (
            '<p class="note">Times are UTC on the clock of the run; latency counts from submission '
            "to the last result on the ground.</p>"
        )
        return _table(head, rows, numbers=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)) + note

    def _job(self, job: JobRow) -> Sequence[str]:
        run_s = None
        if job.started_s is not None and job.finished_s is not None:
            run_s = job.finished_s - job.started_s
        return (
            job.name,
            short_name(job.source),
            str(job.priority),
            self._clock(job.submitted_s),
            str(job.inputs),
            f"{job.input_bytes / 1e6:.2f}",
            self._clock(job.inputs_there_s),
            "–" if run_s is None else f"{run_s:.0f} s",
            self._clock(job.first_result_s),
            self._clock(job.done_s),
            str(job.results),
            f"{job.result_bytes / 1e6:.2f}",
            "–" if job.latency_s is None else hours_text(job.latency_s),
            job.state + (f": {job.text}" if job.text else ""),
        )

    def _messages(self) -> str:
        rows = [
            (
                one.name,
                one.kind,
                short_name(one.source),
                short_name(one.destination),
                f"{one.bytes:,}",
                self._clock(one.sent_s),
                self._clock(one.arrived_s),
                "–" if one.arrived_s is None else hours_text(one.arrived_s - one.sent_s),
            )
            for one in self._result.objects
            if one.kind in ("message", "file")
        ]
        head = ("name", "kind", "from", "to", "octets", "sent", "arrived", "latency")
        return _table(head, rows[:OBJECTS_MAX], numbers=(4, 5, 6, 7)) if rows else ""

    # ---- links and passes ------------------------------------------------------------------

    def _directions(self) -> str:
        head = (
            "from",
            "to",
            "passes used",
            "capacity MB",
            "wanted MB",
            "bundles MB",
            "share",
            "datagrams sent MB",
            "lost MB",
            "dropped MB",
            "LTP sessions (failed)",
            "sent again MB",
            "checkpoints repeated",
            "FEC parity packets",
            "FEC repaired",
            "FEC blocks given up",
        )
        rows = [self._direction(row) for row in self._result.directions]
        return _table(head, rows, numbers=tuple(range(2, len(head))))

    def _direction(self, row: DirectionRow) -> Sequence[str]:
        return (
            short_name(row.source),
            short_name(row.destination),
            f"{row.passes_used} of {row.passes}",
            f"{row.capacity / 1e6:,.1f}",
            f"{row.capacity_wanted / 1e6:,.1f}",
            f"{row.data_received / 1e6:,.2f}",
            _percent(row.efficiency),
            f"{row.offered / 1e6:,.2f}",
            f"{row.lost / 1e6:,.2f}",
            f"{row.dropped / 1e6:,.2f}",
            f"{row.sessions:,} ({row.sessions_failed})",
            f"{row.data_resent / 1e6:,.2f}",
            f"{row.checkpoints_repeated:,}",
            f"{row.fec_repair_packets:,}",
            f"{row.fec_recovered_packets:,}",
            f"{row.fec_blocks_lost:,}",
        )

    def _close_up(self) -> str:
        place = busiest(self._result.passes)
        if place is None:
            return ""
        row = self._result.passes[place]
        figure = CloseUp(self._result, self._sky, place).svg()
        heading = (
            f"The busiest pass: {short_name(row.satellite)} over {short_name(row.station)}, "
            f"{self._clock(row.rise_s)} to {self._clock(row.set_s)} UTC"
        )
        return f"<h2>{escape(heading)}</h2>\n{figure}"

    def _passes(self) -> str:
        head = (
            "station",
            "satellite",
            "rise",
            "set",
            "minutes",
            "highest",
            "blackouts",
            "up capacity MB",
            "up datagrams MB",
            "up bundles MB",
            "share of wanted",
            "down capacity MB",
            "down datagrams MB",
            "down bundles MB",
        )
        rows = [self._pass(row) for row in self._result.passes]
        classes = ["" if row.used else "unused" for row in self._result.passes]
        return _table(head, rows, numbers=tuple(range(2, len(head))), classes=classes)

    def _pass(self, row: PassRow) -> Sequence[str]:
        return (
            short_name(row.station),
            short_name(row.satellite),
            self._clock(row.rise_s),
            self._clock(row.set_s),
            f"{(row.set_s - row.rise_s) / 60:.1f}",
            f"{row.max_elevation_deg:.0f}°",
            f"{row.blackouts} ({row.blackout_s:.0f} s)" if row.blackouts else "",
            *_volume(row.up),
            _percent(share_of(row.up.data, row.up.wanted, row.up.wanted_s)) if row.up.data else "",
            *_volume(row.down),
        )

    # ---- the rest --------------------------------------------------------------------------

    def _setup(self) -> str:
        places = [
            (
                short_name(one.id),
                f"{one.latitude_deg:.4f}, {one.longitude_deg:.4f}, {one.altitude_m:.0f} m",
                f"above {one.mask_deg:g}°",
                one.owner,
                one.jurisdiction,
            )
            for one in self._scenario.stations
        ]
        flying = [
            (
                short_name(one.id),
                one.name,
                Path(one.elements).name,
                dtn_to_iso(self._sky.satellites[one.id].epoch_ms),
            )
            for one in self._scenario.satellites
        ]
        radios = [
            (
                ", ".join(map(short_name, radio.stations)) or "all stations",
                way,
                _rates(direction),
                _losses(direction),
                _coding(direction),
                f"{radio.blackouts.per_hour:g} an hour, {radio.blackouts.mean_s:g} s "
                f"({radio.blackouts.shape})"
                if radio.blackouts.per_hour
                else "none",
            )
            for radio in self._scenario.radios
            for way, direction in (("up", radio.up), ("down", radio.down))
        ]
        ground = [
            (
                *map(short_name, link.between),
                f"{link.rate_bps / 1e6:g} Mbit/s",
                f"{link.delay_ms:g} ms",
            )
            for link in self._scenario.terrestrial
        ]
        protect = (
            "Every bundle is encrypted (AES-256-GCM) and authenticated (HMAC-SHA2) by BPSec."
            if self._scenario.protect
            else "Bundles are not encrypted in this run."
        )
        return "\n".join(
            (
                f"<p>{protect} The nodes are whole Orbitferry nodes: bundle protocol 7, LTP, "
                "FECFRAME, contact-graph routing, file and job services; only clock, randomness, "
                "sockets and disks of stores are simulated. Nodes know the contact plan, and "
                "nothing of blackouts.</p>",
                _table(("station", "place", "mask", "owner", "law"), places),
                _table(("satellite", "orbit of", "elements", "epoch"), flying),
                _table(("radio", "way", "rate by elevation", "loss", "FEC", "blackouts"), radios),
                _table(("ground link", "", "rate", "delay"), ground) if ground else "",
            )
        )

    def _objects(self) -> str:
        shown = self._result.objects[:OBJECTS_MAX]
        rows = [self._object(one) for one in shown]
        head = ("task", "kind", "name", "octets", "sent", "arrived", "SHA-256 expected", "arrived")
        more = len(self._result.objects) - len(shown)
        note = f"<p>{more} more in results.json.</p>" if more else ""
        what = (
            '<p class="note">Inputs: the file on the ground against the file as the handler read '
            "it in orbit. Results: what the same handler computes on the ground against what came "
            "down. The first 16 digits; results.json has all.</p>"
        )
        table = _table(head, rows, numbers=(3, 4, 5))
        count = len(self._result.objects)
        return f"{what}<details><summary>{count} objects</summary>{table}{note}</details>"

    def _object(self, one: ObjectRow) -> Sequence[str]:
        return (
            one.task,
            one.kind,
            one.name,
            f"{one.bytes:,}",
            self._clock(one.sent_s),
            self._clock(one.arrived_s),
            one.sha256_expected[:16],
            one.sha256_arrived[:16] + (" ✓" if one.ok else " ✗"),
        )

    def _clock(self, seconds: float | None) -> str:
        """``14:05:09``, with the day's number before it after the first."""
        if seconds is None:
            return "–"
        text = dtn_to_iso(self._sky.start_ms + round(seconds) * 1000)
        days = int(seconds // 86_400)
        return (f"+{days} d " if days else "") + text[11:19]


def _volume(volume: Volume) -> tuple[str, str, str]:
    return (
        f"{volume.capacity / 1e6:,.1f}",
        f"{volume.on_air / 1e6:,.2f}" if volume.on_air else "",
        f"{volume.data / 1e6:,.2f}" if volume.data else "",
    )


def _rates(direction: DirectionConfig) -> str:
    steps = ", ".join(
        f"{rate / 1e3:,.0f} kbit/s from {elevation:.1f}°"
        if rate < 1e6
        else f"{rate / 1e6:,.1f} Mbit/s from {elevation:.1f}°"
        for elevation, rate in direction.table().steps
    )
    return (f"{direction.preset}: " if direction.preset else "") + steps


def _losses(direction: DirectionConfig) -> str:
    loss = direction.loss
    parts = []
    if loss.good_s:
        parts.append(
            f"Gilbert-Elliott: {loss.good_loss:.2%} for {loss.good_s:g} s, "
            f"{loss.bad_loss:.0%} for {loss.bad_s * 1e3:g} ms"
        )
    if loss.bit_error_rate:
        parts.append(f"bit errors {loss.bit_error_rate:g}")
    return "; ".join(parts) or "none"


def _coding(direction: DirectionConfig) -> str:
    fec = direction.fec
    if fec is None:
        return "none"
    between = f", interleaved {fec.interleave}" if fec.interleave > 1 else ""
    return f"Reed-Solomon {fec.k}+{fec.r}{between}"


def _mb(octets: float) -> str:
    return f"{octets / 1e6:,.2f} MB"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    """A table; columns `numbers` are set to the right."""
    mark = [' class="n"' if place in numbers else "" for place in range(len(head))]
    lines = ["<table><tr>"]
    lines += [f"<th{mark[place]}>{escape(text)}</th>" for place, text in enumerate(head)]
    lines.append("</tr>")
    for number, row in enumerate(rows):
        kind = f' class="{classes[number]}"' if classes and classes[number] else ""
        cells = "".join(f"<td{mark[place]}>{escape(text)}</td>" for place, text in enumerate(row))
        lines.append(f"<tr{kind}>{cells}</tr>")
    lines.append("</table>")
    return "\n".join(lines)
