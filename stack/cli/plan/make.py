"""`orbitferry plan make` and `plan schedule`: plans of scenarios, antennas to satellites."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from stack.cli.common import Json, Seconds, duration, quantity
from stack.cli.output import emit, note, say, table
from stack.cli.plan.source import Kind, Reference, Source, SourcePath, load_source, numbers_text
from stack.core.errors import ConfigError
from stack.core.units import count_text, duration_text, size_text

if TYPE_CHECKING:
    from link_models.planner import Schedule
    from stack.contacts.plan import Contact, Plan

SHOWN: Final = 50

WriteFormat = Literal["json", "hdtn", "ion"]

Out = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Write the plan: .json, .hdtn.json or .ionrc; repeat it for several.",
    ),
]
OutFormat = Annotated[
    WriteFormat | None,
    typer.Option("--to", help="Format of the files, when their names do not tell."),
]
Limit = Annotated[int, typer.Option(min=0, help="Most lines shown.")]
Antennas = Annotated[
    list[str] | None,
    typer.Option(
        "--antennas",
        "-a",
        metavar="NODE[=N]",
        help="A station and its antennas (default 1); repeat it. Default: those of the scenario.",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight", metavar="NODE=W", help="What octets of a satellite are worth; default 1."
    ),
]
Guard = Annotated[float, quantity(duration, "An antenna needs it between two passes.")]
Minimum = Annotated[float, quantity(duration, "Shortest service.")]
Fairness = Annotated[
    Literal["total", "proportional", "max-min"],
    typer.Option(help="Most octets in all, or shared out."),
]


def make(
    path: Annotated[Path, typer.Argument(metavar="SCENARIO", help="A scenario; TOML.")],
    out: Out = None,
    out_format: OutFormat = None,
    limit: Limit = SHOWN,
    as_json: Json = False,
) -> None:
    """Make the contact plan of a scenario: passes, antennas, rates and light times.

    Shows each pass with what is planned of it, and what the plan carries. A pass that no antenna
    was free for has no volume.

    \b
    Examples:
      orbitferry plan make scenario.toml --out plan.json
      orbitferry plan make scenario.toml -o plan.ionrc -o plan.hdtn.json --json
    """
    source = load_source(path)
    if source.prediction is None:
        raise ConfigError(str(path), "is no scenario", "`orbitferry plan show` shows plans")
    rows = _passes(source)
    if as_json:
        emit(*rows)
    else:
        _show_passes(rows, limit)
        found = source.prediction.schedule
        if found is not None:
            say(schedule_text(found))
        say(_plan_text(source.plan))
    _write(source.plan, out or (), out_format, source.start_ms, as_json=as_json)


def schedule_(
    path: SourcePath,
    antennas: Antennas = None,
    terminals: Annotated[
        int, typer.Option(min=1, max=1000, help="Stations that a satellite can serve at a time.")
    ] = 1,
    weight: Weights = None,
    guard: Guard = Seconds("30s"),
    minimum: Minimum = Seconds("0s"),
    whole: Annotated[bool, typer.Option(help="Whole passes only.")] = False,
    fairness: Fairness = "total",
    out: Out = None,
    out_format: OutFormat = None,
    limit: Limit = SHOWN,
    reference: Reference = None,
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Give the antennas of stations to the satellites in view.

    Of all contacts between the stations and other nodes those are kept that carry most together;
    what is kept is shown, and compared with "first come, first served". The best possible is
    known to within the share that is shown.

    \b
    Examples:
      orbitferry plan schedule plan.json -a dtn://gs1/ -a dtn://gs2/=2 --guard 30s -o booked.json
      orbitferry plan schedule passes.ionrc -a ipn:1.0 --fairness max-min --json
    """
    from link_models.planner import ScheduleConfig, schedule

    source = load_source(path, reference, kind)
    stations = _counts(antennas or ()) or dict(source.antennas)
    if not stations:
        raise ConfigError("--antennas", "no station is named", "add --antennas NODE")
    for name in stations:
        source.check_node("--antennas", name)
    offered = source.plan if source.prediction is None else source.prediction.offered
    config = ScheduleConfig(
        guard_ms=round(guard * 1000),
        minimum_ms=round(minimum * 1000),
        cut=not whole,
        fairness=fairness,
    )
    found = schedule(
        offered, stations, terminals=terminals, weights=_numbers(weight or ()), config=config
    )
    rows = _services(found)
    if as_json:
        emit(*rows)
    else:
        _show_services(rows, limit)
        say(schedule_text(found))
    _write(found.plan, out or (), out_format, source.start_ms, as_json=as_json)


# -- arguments -------------------------------------------------------------------------------


def _counts(texts: Sequence[str]) -> dict[str, int]:
    counts = {}
    for text in texts:
        match = re.fullmatch(r"(.+?)(?:=(\d{1,4}))?", text)
        if match is None or "=" in match[1]:
            raise ConfigError("--antennas", f"{text!r} is none", "write dtn://gs1/ or dtn://gs1/=2")
        counts[match[1]] = int(match[2] or 1)
    return counts


def _numbers(texts: Sequence[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        node, _, number = text.rpartition("=")
        try:
            weights[node] = float(number)
        except ValueError:
            node = ""
        if not node:
            raise ConfigError("--weight", f"{text!r} is none", "write dtn://sat1/=2.5")
    return weights


# -- what is shown ---------------------------------------------------------------------------


def _passes(source: Source) -> list[dict[str, Any]]:
    """Every pass of the stations, with what is planned of it."""
    from stack.core.clock import dtn_to_iso

    assert source.prediction is not None
    rows = []
    for one in source.prediction.passes:
        up = _within(source.plan, one.station, one.satellite, one.rise_ms, one.set_ms)
        down = _within(source.plan, one.satellite, one.station, one.rise_ms, one.set_ms)
        planned = up + down
        rows.append(
            {
                "station": one.station,
                "satellite": one.satellite,
                "rise": dtn_to_iso(one.rise_ms),
                "set": dtn_to_iso(one.set_ms),
                "duration_s": (one.set_ms - one.rise_ms) / 1000,
                "max_elevation_deg": round(one.max_elevation_deg, 2),
                "planned_s": _length_s(planned),
                "up_bytes": sum(contact.volume_bytes for contact in up),
                "down_bytes": sum(contact.volume_bytes for contact in down),
                "confidence": min((contact.confidence for contact in planned), default=None),
            }
        )
    return rows


def _within(plan: Plan, source: str, destination: str, start_ms: int, end_ms: int) -> list[Contact]:
    return [
        one
        for one in plan.between(source, destination)
        if one.start_ms < end_ms and start_ms < one.end_ms
    ]


def _length_s(contacts: Sequence[Contact]) -> float:
    if not contacts:
        return 0.0
    first = min(one.start_ms for one in contacts)
    return (max(one.end_ms for one in contacts) - first) / 1000


def _show_passes(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    shown = [
        (
            row["station"],
            row["satellite"],
            f"{row['rise'][:19]}Z",
            f"{row['set'][11:19]}Z",
            duration_text(row["duration_s"]),
            f"{row['max_elevation_deg']:.1f}°",
            duration_text(row["planned_s"]) if row["planned_s"] else "-",
            size_text(row["up_bytes"]) if row["up_bytes"] else "-",
            size_text(row["down_bytes"]) if row["down_bytes"] else "-",
            "-" if row["confidence"] is None else f"{row['confidence']:.2f}",
        )
        for row in rows[:limit]
    ]
    heads = (
        "station", "satellite", "rise", "set", "length", "highest", "planned", "up", "down",
        "confidence",
    )  # fmt: skip
    if shown:
        table(heads, shown)
    if len(rows) > limit:
        say(f"... and {len(rows) - limit} more; see --limit")
    planned = sum(1 for row in rows if row["planned_s"])
    say(f"{planned} of {count_text(len(rows), 'pass')} planned")


def schedule_text(found: Schedule) -> str:
    """A schedule in a sentence."""
    if not found.passes:
        return "no passes to schedule"
    whole = sum(1 for one in found.services if one.whole)
    parts = len(found.services) - whole
    text = f"antennas serve {whole} whole passes and {parts} parts of {found.passes}"
    if found.offered > 0:
        text += f": {found.value / found.offered:.1%} of what is in view"
    if found.first_come > 0:
        more = round(found.value / found.first_come - 1, 4) + 0.0  # no minus before a zero
        text += f", {more:+.1%} against first come first served"
    return f"{text}; at most {found.gap:.2%} below the best possible"


def _plan_text(plan: Plan) -> str:
    octets = sum(one.volume_bytes for one in plan.contacts if math.isfinite(one.rate_bps))
    contacts = count_text(len(plan.contacts), "contact")
    return f"{contacts}, {count_text(len(plan.ranges), 'light time')}, {size_text(octets)} in all"


def _show_services(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    shown = [
        (
            row["station"],
            row["antenna"],
            row["satellite"],
            f"{row['start'][:19]}Z",
            f"{row['end'][11:19]}Z",
            duration_text(row["duration_s"]),
            size_text(row["volume_bytes"]),
            "" if row["whole"] else "part",
        )
        for row in rows[:limit]
    ]
    if shown:
        table(("station", "antenna", "satellite", "from", "to", "length", "volume", ""), shown)
    if len(rows) > limit:
        say(f"... and {len(rows) - limit} more; see --limit")


def _services(found: Schedule) -> list[dict[str, Any]]:
    from stack.core.clock import dtn_to_iso

    return [
        {
            "station": one.station,
            "antenna": one.antenna,
            "satellite": one.satellite,
            "start": dtn_to_iso(one.start_ms),
            "end": dtn_to_iso(one.end_ms),
            "duration_s": (one.end_ms - one.start_ms) / 1000,
            "whole": one.whole,
            "volume_bytes": one.volume_bytes,
        }
        for one in found.services
    ]


def _write(
    plan: Plan,
    paths: Sequence[Path],
    out_format: WriteFormat | None,
    start_ms: int,
    *,
    as_json: bool,
) -> None:
    from stack.contacts.files import dump_plan

    for path in paths:
        numbers = dump_plan(plan, path, out_format, start_ms)
        if not as_json:
            note(f"{path}: written{numbers_text(numbers)}")
