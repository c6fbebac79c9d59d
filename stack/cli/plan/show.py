"""`orbitferry plan`: contact plans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from stack.cli.common import (
    FAILED,
    CommandError,
    Json,
    NodePath,
    OctetCount,
    Priority,
    PriorityOption,
    Seconds,
    client_of,
    duration,
    quantity,
    size,
    time_of,
)
from stack.cli.output import emit, note, say, table
from stack.cli.plan.source import Format, Kind, Reference, SourcePath, load_source, numbers_text
from stack.core.errors import ConfigError
from stack.core.units import count_text, duration_text, rate_text, size_text

if TYPE_CHECKING:
    from stack.contacts.plan import Contact, Plan

HELP = "Make, show, convert, schedule, try out and set contact plans."

SHOWN: Final = 50


def show(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A plan or a scenario. Without it: the plan of the running node."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most contacts shown.")] = SHOWN,
    reference: Reference = None,
    kind: Kind = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Show the contacts of a plan, soonest first.

    Of a running node's plan only what is not over is shown.

    \b
    Examples:
      orbitferry plan show plan.json
      orbitferry plan show contacts.ionrc --reference 2026-10-01T00:00:00Z
      orbitferry plan show --node node.toml --json
    """
    if path is None:
        result = client_of(node).call("plan", limit=min(limit, 10_000))
        contacts, total = result["contacts"], result["contacts_total"]
    else:
        plan = load_source(path, reference, kind).plan
        contacts = [_as_dict(plan, contact) for contact in plan.contacts[:limit]]
        total = len(plan.contacts)
        _tell_doubts(plan)
    if as_json:
        emit(*contacts)
        return
    rows = [
        (
            one["source"],
            one["destination"],
            one["start"],
            one["end"] or "always",
            rate_text(one["rate_bps"]),
            f"{one['owlt_ms']:.3f} ms",
        )
        for one in contacts
    ]
    table(("from", "to", "start", "end", "rate", "light time"), rows)
    if total > len(contacts):
        say(f"... and {total - len(contacts)} more; see --limit")


def _tell_doubts(plan: Plan) -> None:
    """Say what in a plan may be a mistake."""
    from stack.contacts.checks import overlaps, without_range

    dark, double = without_range(plan), overlaps(plan)
    if dark:
        first = f"{dark[0].source} to {dark[0].destination}"
        note(f"no light time in {count_text(len(dark), 'contact')}, as {first}: it counts as 0")
    if double:
        first = f"{double[0][1].source} to {double[0][1].destination}"
        many = count_text(len(double), "contact")
        note(f"an overlap with another of its direction in {many}, as {first}: both count")


def _as_dict(plan: Plan, contact: Contact) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    owlt_ns = plan.owlt_ns(contact.source, contact.destination, contact.start_ms)
    return {
        "source": contact.source,
        "destination": contact.destination,
        "start": dtn_to_iso(contact.start_ms),
        "end": dtn_to_iso(contact.end_ms),
        "rate_bps": contact.rate_bps if contact.rate_bps != float("inf") else None,
        "confidence": contact.confidence,
        "owlt_ms": owlt_ns / 1e6,
    }


def convert(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The plan, or a scenario.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="TO", help="What to write: .json, .hdtn.json, .ionrc or .txt."),
    ],
    reference: Reference = None,
    source_format: Annotated[
        Format | None, typer.Option("--from", help="Format of FROM, when its name does not tell.")
    ] = None,
    target_format: Annotated[
        Literal["json", "hdtn", "ion"] | None,
        typer.Option("--to", help="Format of TO, when its name does not tell."),
    ] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE=N", help="Number of a node that has a name, for ION and HDTN; repeat it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert a contact plan between our JSON and TOML, ION's commands and HDTN's JSON.

    Units are converted: ION counts bytes a second, the others bits. ION and HDTN know nodes by
    number: those that have names get the smallest free ones unless --number says otherwise.

    \b
    Examples:
      orbitferry plan convert contacts.ionrc plan.json --reference 2026-10-01T00:00:00Z
      orbitferry plan convert plan.json plan.hdtn.json --reference 2026-10-01T00:00:00Z
      orbitferry plan convert scenario.toml plan.ionrc --number dtn://gs1/=101
    """
    from stack.contacts.files import dump_plan

    known = load_source(source, reference, source_format)
    zero = None if reference is None else time_of(reference, "--reference")
    if zero is None and known.prediction is not None:
        zero = known.start_ms
    numbers = dump_plan(known.plan, target, target_format, zero, _numbers(number or ()))
    counts = {"contacts": len(known.plan.contacts), "ranges": len(known.plan.ranges)}
    if as_json:
        emit({"path": str(target)} | counts | ({"numbers": numbers} if numbers else {}))
    else:
        say(
            f"{target}: {count_text(counts['contacts'], 'contact')}, "
            f"{count_text(counts['ranges'], 'range')}"
        )
        if numbers:
            say(numbers_text(numbers).removeprefix("; "))


def _numbers(texts: Sequence[str]) -> dict[str, int]:
    """Node numbers of ``dtn://gs1/=101``.  Raises `ConfigError`."""
    found = {}
    for text in texts:
        node, _, digits = text.rpartition("=")
        if not node or not digits.isascii() or not digits.isdigit():
            raise ConfigError("--number", f"{text!r} is none", "write dtn://gs1/=101")
        found[node] = int(digits)
    return found


def route(
    path: SourcePath,
    origin: Annotated[str, typer.Argument(metavar="FROM", help="Node id.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="Node id.")],
    octets: Annotated[int, quantity(size, "Of the bundle.", "--size", "-s")] = OctetCount("1000B"),
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="ISO 8601 time of departure. Default: now, or the start of the scenario.",
        ),
    ] = None,
    lifetime: Annotated[float, quantity(duration, "Of the bundle.")] = Seconds("7d"),
    priority: PriorityOption = Priority.NORMAL,
    reference: Reference = None,
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Find the way of a bundle through a contact plan: contacts, and when it arrives.

    Exit code 1 when there is no way within the lifetime.

    \b
    Examples:
      orbitferry plan route plan.json dtn://gs1/ dtn://sat1/ --size 10MB
      orbitferry plan route plan.json ipn:1.0 ipn:5.0 --at 2026-10-01T00:00:00Z --json
    """
    from stack.core.clock import dtn_to_iso
    from stack.routing.router import Router

    source = load_source(path, reference, kind)
    plan = source.plan
    now_ms = source.start_ms if at is None and source.prediction else time_of(at, "--at")
    source.check_node("FROM", origin)
    source.check_node("TO", destination)
    expires_ms = now_ms + round(lifetime * 1000)
    found = Router(plan, origin).route(destination, octets, priority.level, now_ms, expires_ms)
    if found is None:
        raise CommandError(
            f"{origin} to {destination}: no way for {size_text(octets)} within "
            f"{duration_text(lifetime)} of {dtn_to_iso(now_ms)}",
            "try a later --at, a longer --lifetime or a smaller --size",
            FAILED,
        )
    hops = [_as_dict(plan, contact) for contact in found.contacts]
    after_s = (found.arrival_ms - now_ms) / 1000
    if as_json:
        emit(
            {
                "departure": dtn_to_iso(now_ms),
                "arrival": dtn_to_iso(found.arrival_ms),
                "after_s": after_s,
                "volume_bytes": found.volume_bytes if found.volume_bytes != float("inf") else None,
                "hops": hops,
            }
        )
        return
    rows = [
        (hop["source"], hop["destination"], hop["start"], hop["end"], rate_text(hop["rate_bps"]))
        for hop in hops
    ]
    table(("from", "to", "start", "end", "rate"), rows)
    say(f"arrives {dtn_to_iso(found.arrival_ms)}, {duration_text(after_s)} after departure")


def set_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The plan to follow from now on.")],
    reference: Reference = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Make a running node follow another contact plan; what waits is routed anew.

    It holds until the node ends: change the configuration too if it shall stay.

    \b
    Examples:
      orbitferry plan set tomorrow.json
    """
    result = client_of(node).call(
        "set_plan", patience_s=None, path=str(path.absolute()), reference=reference
    )
    if as_json:
        emit(result)
    else:
        say(f"{path}: followed from now on, {count_text(result['contacts'], 'contact')}")
        if result["passed_over"]:
            note(f"{path}: passed over: {result['passed_over']}")
