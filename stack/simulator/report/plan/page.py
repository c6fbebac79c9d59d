"""The report of a plan: one HTML file that stands alone, and its figures as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from link_models.planner.schedule import Schedule
from link_models.planner.statistics import (
    NodeFigures,
    PlanFigures,
    PlannedPass,
    finite,
    plan_figures,
)
from stack.contacts.plan import Plan
from stack.core.clock import dtn_to_iso
from stack.core.units import count_text, duration_text, natural, size_text
from stack.simulator.report.page import label, long_table, page, percent, second_of, table
from stack.simulator.report.plan.figures import Elevations, Offered, PlanCharts
from stack.simulator.report.plotting import COLOURS
from stack.simulator.report.world import World, world_map

PASSES_SHOWN = 2000
"""Passes listed on the page; passes.csv has all."""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a report is made of."""

    title: str
    plan: Plan
    start_ms: int
    end_ms: int
    antennas: Mapping[str, int] = field(default_factory=dict)
    """Of the stations; empty when nobody knows who is one."""

    offered: Offered = field(default_factory=dict)
    """All passes of stations, planned or not."""

    schedule: Schedule | None = None
    elevations: Elevations | None = None
    world: World | None = None


def write_plan_report(report: PlanReport, folder: Path) -> PlanFigures:
    """Write report.html, report.json, contacts.csv and passes.csv into `folder`, which is made.

    Returns the figures of the plan.  Raises `OSError`, and `ConfigError` for a period that is
    none.
    """
    figures = plan_figures(report.plan, report.start_ms, report.end_ms, report.antennas)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(_Page(report, figures).html(), encoding="utf-8")
    text = json.dumps(figures_dict(report, figures), indent=1) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    (folder / "contacts.csv").write_text(_csv(_contact_rows(report.plan)), encoding="utf-8")
    (folder / "passes.csv").write_text(_csv(_pass_rows(figures)), encoding="utf-8")
    return figures


# -- files for programs ----------------------------------------------------------------------


def figures_dict(report: PlanReport, figures: PlanFigures) -> dict[str, Any]:
    """The figures for JSON; what is infinite is null."""
    found: dict[str, Any] = {
        "title": report.title,
        "start": dtn_to_iso(figures.start_ms),
        "end": dtn_to_iso(figures.end_ms),
        "contacts": len(report.plan.contacts),
        "passes": len(figures.passes),
        "always": [
            {
                "one": one.one,
                "other": one.other,
                "forward_bytes": finite(one.forward_bytes),
                "backward_bytes": finite(one.backward_bytes),
            }
            for one in figures.always
        ],
        "nodes": [
            {
                "node": one.node,
                "antennas": one.antennas or None,
                "passes": one.passes,
                "contact_s": one.contact_s,
                "busy_s": one.busy_s,
                "at_once": one.at_once,
                "conflict_s": one.conflict_s,
                "sent_bytes": finite(one.sent_bytes),
                "received_bytes": finite(one.received_bytes),
                "expected_bytes": finite(one.expected_bytes),
                "gaps": {
                    "count": one.gaps.count,
                    "mean_s": one.gaps.mean_s,
                    "median_s": one.gaps.median_s,
                    "longest_s": one.gaps.longest_s,
                    "longest_start": (
                        dtn_to_iso(one.gaps.longest_start_ms) if one.gaps.count else None
                    ),
                },
            }
            for one in figures.nodes
        ],
        "days": [
            {
                "start": dtn_to_iso(start_ms),
                "nodes": {
                    node: {"sent_bytes": finite(sent), "received_bytes": finite(received)}
                    for node, (sent, received) in day.items()
                },
            }
            for start_ms, day in figures.days
        ],
    }
    who = report.schedule
    if who is not None:
        found["schedule"] = {
            "passes": who.passes,
            "services": len(who.services),
            "value": who.value,
            "offered": who.offered,
            "gap": who.gap,
            "first_come": who.first_come,
            "longest_first": who.longest_first,
        }
    return found


def _csv(rows: Iterator[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _contact_rows(plan: Plan) -> Iterator[Sequence[object]]:
    yield (
        "source", "destination", "start", "end", "duration_s", "rate_bps", "volume_bytes",
        "owlt_ns", "confidence", "owner", "jurisdiction",
    )  # fmt: skip
    for one in plan.contacts:
        yield (
            one.source,
            one.destination,
            dtn_to_iso(one.start_ms),
            dtn_to_iso(one.end_ms),
            (one.end_ms - one.start_ms) / 1000,
            one.rate_bps,
            one.volume_bytes,
            plan.owlt_ns(one.source, one.destination, one.start_ms),
            one.confidence,
            one.owner,
            one.jurisdiction,
        )


def _pass_rows(figures: PlanFigures) -> Iterator[Sequence[object]]:
    yield (
        "one", "other", "start", "end", "duration_s", "contacts", "forward_bytes",
        "backward_bytes", "confidence",
    )  # fmt: skip
    for one in figures.passes:
        yield (
            one.one,
            one.other,
            dtn_to_iso(one.start_ms),
            dtn_to_iso(one.end_ms),
            (one.end_ms - one.start_ms) / 1000,
            one.contacts,
            one.forward_bytes,
            one.backward_bytes,
            one.confidence,
        )


# -- the page --------------------------------------------------------------------------------


class _Page:
    """The HTML text."""

    def __init__(self, report: PlanReport, figures: PlanFigures) -> None:
        self._report = report
        self._figures = figures
        self._charts = PlanCharts(
            report.plan, figures, list(report.antennas), report.offered, report.elevations
        )

    def html(self) -> str:
        """The whole page."""
        curves = self._charts.curves()
        volumes = self._charts.volumes()
        parts = [
            self._lead(),
            "<h2>Who is in contact when</h2>",
            self._charts.timeline(),
            self._map(),
            "<h2>Antennas and gaps</h2>",
            self._antennas(),
            self._gaps(),
            "<h2>Volumes</h2>",
            volumes,
            self._days(),
            self._lasting(),
            self._confidence(),
            "<h2>Elevations and rates, the first day</h2>" if curves else "",
            curves,
            "<h2>Every pass</h2>",
            self._passes(),
        ]
        return page(self._report.title, parts)

    def _map(self) -> str:
        world = self._report.world
        if world is None:
            return ""
        colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(world.stations)}
        return world_map(world, colours)

    def _lead(self) -> str:
        figures, report = self._figures, self._report
        length_s = (figures.end_ms - figures.start_ms) / 1000
        octets = sum(
            volume
            for one in figures.passes
            if (volume := finite(one.forward_bytes + one.backward_bytes)) is not None
        )
        lasting = f" and {len(figures.always)} lasting links" if figures.always else ""
        text = (
            f"{second_of(figures.start_ms)} to {second_of(figures.end_ms)} "
            f"({duration_text(length_s)}): {count_text(len(figures.nodes), 'node')}, "
            f"{count_text(len(figures.passes), 'pass')}{lasting} in "
            f"{count_text(len(report.plan.contacts), 'contact')}; "
            f"the passes can carry {size_text(octets)}."
        )
        who = report.schedule
        if who is None or not who.passes:
            return f"<p>{text}</p>"
        more = round(who.value / who.first_come - 1, 4) + 0.0 if who.first_come else 0.0
        return (
            f"<p>{text}</p><p>Antennas serve {count_text(len(who.services), 'time')} in "
            f"{count_text(who.passes, 'pass')} "
            f"and carry {percent(who.value / who.offered)} of what is in view: {more:+.1%} against "
            f"first come first served, and at most {who.gap:.2%} below the best possible.</p>"
        )

    def _ordered(self) -> list[NodeFigures]:
        """Stations first."""
        return sorted(self._figures.nodes, key=lambda one: (not one.antennas, natural(one.node)))

    def _in_view(self, node: str) -> tuple[float, int]:
        """Seconds in view, and most at a time, before antennas were given."""
        from link_models.planner.statistics import levels_of

        spans = [span for pair, own in self._report.offered.items() if node in pair for span in own]
        levels = list(levels_of(spans))
        return (
            sum(b - a for a, b in spans) / 1000,
            max((level for _, _, level in levels), default=0),
        )

    def _antennas(self) -> str:
        period_s = (self._figures.end_ms - self._figures.start_ms) / 1000
        rows = []
        for one in self._ordered():
            view_s, at_once = self._in_view(one.node)
            share = one.busy_s / (period_s * one.antennas) if one.antennas else None
            rows.append(
                (
                    label(one.node),
                    str(one.antennas) if one.antennas else "",
                    f"{one.passes:,}",
                    duration_text(one.contact_s),
                    percent(one.contact_s / period_s),
                    "" if share is None else percent(share),
                    duration_text(view_s) if view_s else "",
                    str(at_once) if at_once else str(one.at_once),
                    duration_text(one.conflict_s) if one.conflict_s else "",
                )
            )
        head = (
            "node", "antennas", "passes", "in contact", "of the time", "antennas in use",
            "in view", "at once, most", "more than antennas",
        )  # fmt: skip
        note = (
            '<p class="note">In view: the sum over all passes above the mask, served or not. More '
            "than antennas: time in which the plan has more passes at a station than it has "
            "antennas.</p>"
        )
        return long_table(head, rows, numbers=range(1, 9)) + note

    def _gaps(self) -> str:
        rows = [
            (
                label(one.node),
                str(one.gaps.count),
                duration_text(one.gaps.mean_s),
                duration_text(one.gaps.median_s),
                duration_text(one.gaps.longest_s),
                second_of(one.gaps.longest_start_ms),
            )
            for one in self._ordered()
            if one.gaps.count
        ]
        if not rows:
            return ""
        head = ("node", "gaps", "mean", "median", "longest", "longest begins")
        note = (
            '<p class="note">Gaps: without any contact, from the start of the plan to its end: the '
            "waits before the first contact and after the last one count.</p>"
        )
        return long_table(head, rows, numbers=(1, 2, 3, 4)) + note

    def _lasting(self) -> str:
        rows = [
            (
                label(one.one),
                label(one.other),
                _volume(one.forward_bytes),
                _volume(one.backward_bytes),
            )
            for one in self._figures.always
        ]
        if not rows:
            return ""
        head = ("one", "other", "one to other", "back")
        note = (
            '<p class="note">Lasting links: those that are always up, and those between stations. '
            "They are in no other figure.</p>"
        )
        return table(head, rows, numbers=(2, 3)) + note

    def _days(self) -> str:
        rows = [
            (dtn_to_iso(start_ms)[:10], label(node), _volume(received), _volume(sent))
            for start_ms, day in self._figures.days
            for node, (sent, received) in day.items()
        ]
        listed = table(("day", "node", "receives", "sends"), rows, numbers=(2, 3))
        return f"<details><summary>By day and node</summary>{listed}</details>"

    def _confidence(self) -> str:
        pairs: dict[tuple[str, str], list[PlannedPass]] = {}
        for one in self._figures.passes:
            pairs.setdefault((one.one, one.other), []).append(one)
        rows = []
        for (one_, other), passes in sorted(
            pairs.items(), key=lambda pair: [natural(node) for node in pair[0]]
        ):
            sure = [each.confidence for each in passes]
            if min(sure) < 1.0:
                rows.append(
                    (
                        label(one_),
                        label(other),
                        str(len(passes)),
                        f"{sum(sure) / len(sure):.3f}",
                        f"{min(sure):.3f}",
                    )
                )
        if not rows:
            return ""
        head = ("from", "to", "passes", "confidence, mean", "least")
        return "<h2>Confidence</h2>" + long_table(head, rows, numbers=(2, 3, 4))

    def _passes(self) -> str:
        rows = [
            (
                label(one.one),
                label(one.other),
                second_of(one.start_ms),
                dtn_to_iso(one.end_ms)[11:19] + "Z",
                duration_text((one.end_ms - one.start_ms) / 1000),
                _volume(one.forward_bytes),
                _volume(one.backward_bytes),
                f"{one.confidence:.3f}",
            )
            for one in self._figures.passes[:PASSES_SHOWN]
        ]
        head = ("one", "other", "from", "to", "length", "one to other", "back", "confidence")
        count = len(self._figures.passes)
        more = f", the first {PASSES_SHOWN:,}" if count > PASSES_SHOWN else ""
        listed = table(head, rows, numbers=(4, 5, 6, 7))
        return f"<details><summary>{count_text(count, 'pass')}{more}</summary>{listed}</details>"


def _volume(octets: float) -> str:
    return "no limit" if finite(octets) is None else size_text(octets)
