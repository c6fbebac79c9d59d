"""The tables of a report, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from link_models.loopback.plots import hours_text
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


class Tables:
    """Tables of one result."""

    def __init__(self, result: Result, scenario: Scenario, sky: Sky) -> None:
        self._result = result
        self._scenario = scenario
        self._sky = sky

    def jobs(self) -> str:
        """Jobs and their times."""
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
        return table(head, rows, numbers=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)) + note

    def _job(self, job: JobRow) -> Sequence[str]:
        run_s = None
        if job.started_s is not None and job.finished_s is not None:
            run_s = job.finished_s - job.started_s
        return (
            job.name,
            short_name(job.source),
            str(job.priority),
            self.clock(job.submitted_s),
            str(job.inputs),
            f"{job.input_bytes / 1e6:.2f}",
            self.clock(job.inputs_there_s),
            "–" if run_s is None else f"{run_s:.0f} s",
            self.clock(job.first_result_s),
            self.clock(job.done_s),
            str(job.results),
            f"{job.result_bytes / 1e6:.2f}",
            "–" if job.latency_s is None else hours_text(job.latency_s),
            job.state + (f": {job.text}" if job.text else ""),
        )

    def messages(self) -> str:
        """Messages and files, each with its latency."""
        rows = [
            (
                one.name,
                one.kind,
                short_name(one.source),
                short_name(one.destination),
                f"{one.bytes:,}",
                self.clock(one.sent_s),
                self.clock(one.arrived_s),
                "–" if one.arrived_s is None else hours_text(one.arrived_s - one.sent_s),
            )
            for one in self._result.objects
            if one.kind in ("message", "file")
        ]
        head = ("name", "kind", "from", "to", "octets", "sent", "arrived", "latency")
        return table(head, rows[:OBJECTS_MAX], numbers=(4, 5, 6, 7)) if rows else ""

    # ---- links and passes ------------------------------------------------------------------

    def directions(self) -> str:
        """Totals of each direction of each link."""
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
        return table(head, rows, numbers=tuple(range(2, len(head))))

    def _direction(self, row: DirectionRow) -> Sequence[str]:
        return (
            short_name(row.source),
            short_name(row.destination),
            f"{row.passes_used} of {row.passes}",
            f"{row.capacity / 1e6:,.1f}",
            f"{row.capacity_wanted / 1e6:,.1f}",
            f"{row.data_received / 1e6:,.2f}",
            percent(row.efficiency),
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

    def passes(self) -> str:
        """Every pass; those that were not used are grey."""
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
        return table(head, rows, numbers=tuple(range(2, len(head))), classes=classes)

    def _pass(self, row: PassRow) -> Sequence[str]:
        return (
            short_name(row.station),
            short_name(row.satellite),
            self.clock(row.rise_s),
            self.clock(row.set_s),
            f"{(row.set_s - row.rise_s) / 60:.1f}",
            f"{row.max_elevation_deg:.0f}°",
            f"{row.blackouts} ({row.blackout_s:.0f} s)" if row.blackouts else "",
            *_volume(row.up),
            percent(share_of(row.up.data, row.up.wanted, row.up.wanted_s)) if row.up.data else "",
            *_volume(row.down),
        )

    # ---- the rest --------------------------------------------------------------------------

    def setup(self) -> str:
        """What the scenario says."""
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
                table(("station", "place", "mask", "owner", "law"), places),
                table(("satellite", "orbit of", "elements", "epoch"), flying),
                table(("radio", "way", "rate by elevation", "loss", "FEC", "blackouts"), radios),
                table(("ground link", "", "rate", "delay"), ground) if ground else "",
            )
        )

    def objects(self) -> str:
        """Every object with its digests, folded away."""
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
        listed = table(head, rows, numbers=(3, 4, 5))
        count = len(self._result.objects)
        return f"{what}<details><summary>{count} objects</summary>{listed}{note}</details>"

    def _object(self, one: ObjectRow) -> Sequence[str]:
        return (
            one.task,
            one.kind,
            one.name,
            f"{one.bytes:,}",
            self.clock(one.sent_s),
            self.clock(one.arrived_s),
            one.sha256_expected[:16],
            one.sha256_arrived[:16] + (" ✓" if one.ok else " ✗"),
        )

    def clock(self, seconds: float | None) -> str:
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


def mb(octets: float) -> str:
    """Octets in megabytes."""
    return f"{octets / 1e6:,.2f} MB"


def percent(share: float | None) -> str:
    """A share, or a dash for none."""
    return "–" if share is None else f"{share:.1%}"


def table(
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
