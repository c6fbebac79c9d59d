"""The tables of a report, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from stack.core.clock import dtn_to_iso
from stack.core.units import count_text, duration_text, size_text
from stack.simulator.loopback.results import (
    DirectionRow,
    JobRow,
    ObjectRow,
    PassResult,
    Result,
    Volume,
    share_of,
)
from stack.simulator.loopback.world import short_name
from stack.simulator.report.page import long_table, percent, table
from stack.simulator.sky import Sky

ROWS_MAX = 400
"""Directions and passes listed in the report."""

NODES_MAX = 12
"""Nodes that have a column of their own."""

OBJECTS_MAX = 2000
"""Objects listed in the report; results.json has them all."""


class Tables:
    """Tables of one result."""

    def __init__(self, result: Result, sky: Sky) -> None:
        self._result = result
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
            "up",
            "inputs there",
            "run",
            "first result",
            "last result",
            "results",
            "down",
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
            size_text(job.input_bytes),
            self.clock(job.inputs_there_s),
            "–" if run_s is None else duration_text(run_s),
            self.clock(job.first_result_s),
            self.clock(job.done_s),
            str(job.results),
            size_text(job.result_bytes),
            "–" if job.latency_s is None else duration_text(job.latency_s),
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
                size_text(one.bytes),
                self.clock(one.sent_s),
                self.clock(one.arrived_s),
                "–" if one.arrived_s is None else duration_text(one.arrived_s - one.sent_s),
            )
            for one in self._result.objects
            if one.kind in ("message", "file")
        ]
        head = ("name", "kind", "from", "to", "size", "sent", "arrived", "latency")
        return table(head, rows[:OBJECTS_MAX], numbers=(4, 5, 6, 7)) if rows else ""

    # ---- links and passes ------------------------------------------------------------------

    def directions(self) -> str:
        """Totals of each direction of each link."""
        head = (
            "from",
            "to",
            "passes used",
            "capacity",
            "wanted",
            "bundles",
            "share",
            "datagrams sent",
            "lost",
            "dropped",
            "LTP sessions (failed)",
            "sent again",
            "checkpoints repeated",
            "FEC parity packets",
            "FEC repaired",
            "FEC blocks given up",
        )
        listed = self._result.directions
        if len(listed) > ROWS_MAX:
            listed = tuple(sorted(listed, key=lambda row: -row.data_received)[:ROWS_MAX])
        rows = [self._direction(row) for row in listed]
        more = _more(len(self._result.directions) - len(listed), "directions with less traffic")
        return long_table(head, rows, numbers=tuple(range(2, len(head)))) + more

    def _direction(self, row: DirectionRow) -> Sequence[str]:
        return (
            short_name(row.source),
            short_name(row.destination),
            f"{row.passes_used} of {row.passes}",
            size_text(row.capacity),
            "–" if row.efficiency is None else size_text(row.capacity_wanted),
            size_text(row.data_received),
            percent(row.efficiency),
            size_text(row.offered),
            size_text(row.lost),
            size_text(row.dropped),
            f"{row.sessions:,} ({row.sessions_failed})",
            size_text(row.data_resent),
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
            "length",
            "highest",
            "blackouts",
            "up capacity",
            "up datagrams",
            "up bundles",
            "share of wanted",
            "down capacity",
            "down datagrams",
            "down bundles",
        )
        listed = self._result.passes
        if len(listed) > ROWS_MAX:
            listed = tuple(row for row in listed if row.used)[:ROWS_MAX]
        rows = [self._pass(row) for row in listed]
        classes = ["" if row.used else "unused" for row in listed]
        more = _more(len(self._result.passes) - len(listed), "passes")
        return long_table(head, rows, numbers=tuple(range(2, len(head))), classes=classes) + more

    def _pass(self, row: PassResult) -> Sequence[str]:
        return (
            short_name(row.station),
            short_name(row.satellite),
            self.clock(row.rise_s),
            self.clock(row.set_s),
            duration_text(row.set_s - row.rise_s),
            f"{row.max_elevation_deg:.0f}°",
            f"{row.blackouts} ({duration_text(row.blackout_s)})" if row.blackouts else "",
            *_volume(row.up),
            percent(share_of(row.up.data, row.up.wanted, row.up.wanted_s)) if row.up.data else "",
            *_volume(row.down),
        )

    # ---- the rest --------------------------------------------------------------------------

    def traffic(self) -> str:
        """Generated traffic by task."""
        rows = [
            (
                row.task,
                f"{row.count:,}",
                size_text(row.bytes_sent),
                f"{row.handed_over:,}",
                f"{row.refused:,}",
                f"{row.arrived:,}",
                f"{row.wrong:,}",
                *(
                    "–" if value is None else duration_text(value)
                    for value in (row.p50_s, row.p90_s, row.p99_s, row.max_s)
                ),
            )
            for row in self._result.traffic
        ]
        head = (
            "traffic",
            "bundles",
            "volume",
            "taken",
            "refused",
            "arrived",
            "wrong",
            "half within",
            "90 % within",
            "99 % within",
            "all",
        )
        return table(head, rows, numbers=tuple(range(1, len(head)))) if rows else ""

    def events(self) -> str:
        """How often what happened, by node; folded away where that is much."""
        nodes = [node for node, events in self._result.events.items() if events]
        names = sorted({name for node in nodes for name in self._result.events[node]})
        if not names:
            return ""
        events = self._result.events
        head: tuple[str, ...]
        rows: list[tuple[str, ...]]
        if len(nodes) > NODES_MAX:
            head = ("event", "all nodes")
            rows = [
                (name, f"{sum(events[node].get(name, 0) for node in nodes):,}") for name in names
            ]
        else:
            head = ("event", *map(short_name, nodes))
            rows = [(name, *(f"{events[node].get(name, 0):,}" for node in nodes)) for name in names]
        return table(head, rows, numbers=tuple(range(1, len(head))))

    def objects(self) -> str:
        """Every object with its digests, folded away."""
        shown = self._result.objects[:OBJECTS_MAX]
        rows = [self._object(one) for one in shown]
        head = ("task", "kind", "name", "size", "sent", "arrived", "SHA-256 expected", "arrived")
        more = len(self._result.objects) - len(shown)
        note = f"<p>{more} more in results.json.</p>" if more else ""
        what = (
            '<p class="note">Inputs: the file on the ground against the file as the handler read '
            "it in orbit. Results: what the same handler computes on the ground against what came "
            "down. The first 16 digits; results.json has all.</p>"
        )
        listed = table(head, rows, numbers=(3, 4, 5))
        heading = count_text(len(self._result.objects), "object")
        return f"{what}<details><summary>{heading}</summary>{listed}{note}</details>"

    def _object(self, one: ObjectRow) -> Sequence[str]:
        return (
            one.task,
            one.kind,
            one.name,
            size_text(one.bytes),
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
        size_text(volume.capacity),
        size_text(volume.on_air) if volume.on_air else "",
        size_text(volume.data) if volume.data else "",
    )


def _more(count: int, what: str) -> str:
    return f'<p class="note">{count:,} more {what} in results.json.</p>' if count else ""
