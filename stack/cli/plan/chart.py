"""The way of an object as a time chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from stack.cli.plan.hops import HEADS, hops_of
from stack.core.clock import dtn_to_iso
from stack.core.units import duration_text, size_text
from stack.simulator.report.page import label

if TYPE_CHECKING:
    from stack.contacts.plan import Plan
    from stack.routing.delivery import DeliveryForecast
    from stack.simulator.report.gantt import Chart

MARGIN: Final = 0.04
"""Share of the time axis that is left free after the last arrival."""

CONTACT: Final = "#D5DAE1"
WAIT: Final = "#F3C969"


def write_routes(
    path: Path,
    plan: Plan,
    whole: DeliveryForecast,
    changed: Plan,
    other: DeliveryForecast | None,
    changes: str,
) -> None:
    """Draw one delivery, or two to compare.  Raises `ConfigError` and `OSError`."""
    from stack.simulator.report.gantt import write_gantt

    found = [(plan, whole, "" if other is None else "as planned")]
    if other is not None:
        found.append((changed, other, changes))
    lasts = [one.last_ms for _, one, _ in found if one.last_ms is not None]
    span = max(lasts, default=whole.start_ms + 3_600_000) - whole.start_ms
    until_ms = whole.start_ms + round(max(span, 1000) * (1 + MARGIN))
    charts = [_chart(p, one, words, whole.start_ms, until_ms) for p, one, words in found]
    write_gantt(
        charts, whole.start_ms, until_ms, path, _parts([(words, one) for _, one, words in found])
    )


def _chart(plan: Plan, found: DeliveryForecast, words: str, from_ms: int, until_ms: int) -> Chart:
    from stack.simulator.report.gantt import Bar, Chart, Mark
    from stack.simulator.report.plotting import COLOURS

    pairs: dict[tuple[str, str], int] = {}
    for flow in found.flows:
        for stage in flow.stages:
            pairs.setdefault((stage.contact.source, stage.contact.destination), len(pairs))
    bars = []
    for pair, row in pairs.items():
        for contact in plan.between(*pair):
            first, last = max(contact.start_ms, from_ms), min(contact.end_ms, until_ms)
            if first < last:
                bars.append(Bar(row, first, last, CONTACT, 0.8))
    waits, sends = [], []
    for hop in hops_of(found):
        row = pairs[hop.source, hop.destination]
        if hop.wait_ms > 0:
            waits.append(Bar(row, hop.begin_ms - hop.wait_ms, hop.begin_ms, WAIT, 0.16))
        colour = COLOURS[0]
        sends.append(Bar(row, hop.begin_ms, hop.end_ms, colour, 0.62, edge=colour))
    marks = [Mark(found.start_ms, "ready")] if found.start_ms >= from_ms else []
    if found.last_ms is not None:
        after = duration_text((found.last_ms - found.start_ms) / 1000)
        text = f"all there {dtn_to_iso(found.last_ms)[11:19]} UTC, after {after}"
        if not found.complete:
            text = f"{size_text(found.delivered_bytes)} there, no more contacts in time"
        late = found.last_ms - from_ms > (until_ms - from_ms) / 2
        marks.append(Mark(found.last_ms, text, "#00553B" if found.complete else "#C0392B", late))
    title = (
        f"{size_text(found.size_bytes)} from {label(found.source)} to {label(found.destination)}"
    )
    rows = tuple(f"{label(a)} to {label(b)}" for a, b in pairs)
    return Chart(
        title + (f", {words}" if words else ""),
        rows or ("no way",),
        (*bars, *waits, *sends),
        tuple(marks),
        (
            (COLOURS[0], "", "sends"),
            (WAIT, "", "waits"),
            (CONTACT, "", "contact"),
        ),
    )


def _parts(found: list[tuple[str, DeliveryForecast]]) -> list[str]:
    """The hops as tables of a page, each under the words for its plan."""
    from stack.simulator.report.gantt import heading
    from stack.simulator.report.page import table

    numbers = tuple(range(HEADS.index("waits"), len(HEADS)))
    parts = []
    for words, one in found:
        parts += [
            heading(f"Hops, {words}" if words else "Hops"),
            table(HEADS, [hop.cells() for hop in hops_of(one)], numbers=numbers),
        ]
    return parts
