"""`orbitferry plan report`: a plan as a page, and as figures for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import Json
from stack.cli.output import emit, say, table
from stack.cli.plan.source import Kind, Reference, Source, SourcePath, load_source
from stack.core.units import duration_text, size_text

if TYPE_CHECKING:
    from link_models.planner.statistics import PlanFigures
    from stack.simulator.report.plan.page import PlanReport
    from stack.simulator.report.world import World
    from stack.simulator.sky import Prediction


def report(
    path: SourcePath,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the files go; it is made.")
    ],
    reference: Reference = None,
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Report on a plan: contacts over time, antennas, gaps, volumes, elevations and rates.

    Writes report.html, which stands alone, report.json, contacts.csv and passes.csv. A scenario
    tells more than a plan: who is a station, which passes were left out, and elevations.

    \b
    Examples:
      orbitferry plan report scenario.toml --out report
      orbitferry plan report contacts.ionrc --out report --reference 2026-10-01T00:00:00Z --json
    """
    from stack.simulator.report.plan.page import figures_dict, write_plan_report

    source = load_source(path, reference, kind)
    about = _about(source)
    figures = write_plan_report(about, out)
    if as_json:
        emit(figures_dict(about, figures) | {"report": str(out / "report.html")})
        return
    _show(figures)
    say(f"report: {out / 'report.html'}")


def _about(source: Source) -> PlanReport:
    from stack.simulator.report.plan.page import PlanReport

    if source.prediction is None:
        return PlanReport(source.title, source.plan, source.start_ms, source.end_ms)
    known = source.prediction
    offered: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for one in known.passes:
        offered.setdefault((one.station, one.satellite), []).append((one.rise_ms, one.set_ms))

    def elevations(station: str, satellite: str, times_ms: Any) -> Any:
        from link_models.orbit.geometry import look

        return look(known.satellites[satellite], known.stations[station], times_ms).elevation_deg

    return PlanReport(
        source.title,
        source.plan,
        source.start_ms,
        source.end_ms,
        source.antennas,
        offered,
        known.schedule,
        elevations,
        _world(source, known),
    )


def _world(source: Source, known: Prediction) -> World:
    """What the map shows: of all passes those in which the plan has a contact are used."""
    from stack.simulator.report.world import Overflight, World

    passes = []
    for one in known.passes:
        pairs = ((one.station, one.satellite), (one.satellite, one.station))
        used = any(
            contact.start_ms < one.set_ms and contact.end_ms > one.rise_ms
            for pair in pairs
            for contact in source.plan.between(*pair)
        )
        passes.append(Overflight(one.station, one.satellite, one.rise_ms, one.set_ms, used))
    return World(known.stations, known.satellites, passes, source.start_ms, source.end_ms)


def _show(figures: PlanFigures) -> None:
    rows = [
        (
            one.node,
            one.passes,
            duration_text(one.contact_s),
            size_text(one.received_bytes),
            size_text(one.sent_bytes),
            one.at_once,
            duration_text(one.gaps.longest_s) if one.gaps.count else "-",
        )
        for one in figures.nodes
    ]
    table(("node", "passes", "in contact", "receives", "sends", "at once", "longest gap"), rows)
