"""`orbitferry policy`: who could ever read, hold or carry data, and why a node may not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import (
    FAILED,
    Json,
    NodePath,
    OctetCount,
    Seconds,
    client_of,
    duration,
    ends_with,
    quantity,
    size,
    time_of,
)
from stack.cli.domain.secrets import DryRun
from stack.cli.output import emit, say, say_wrapped, table
from stack.cli.plan.source import Kind, Reference, Source, SourcePath, load_source
from stack.core.clock import dtn_to_iso
from stack.core.units import count_text, duration_text

if TYPE_CHECKING:
    from stack.policy import DataPolicy, PolicyGate
    from stack.policy.permissions import Permissions
    from stack.routing.admissible import Admissible
    from stack.simulator.report.nodes import Places

HELP = "See what a data policy allows, and what it does not."

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file.")]
DirectoryPath = Annotated[
    Path,
    typer.Option("--directory", "-d", metavar="FILE", help="The directory of nodes."),
]
PlacesPath = Annotated[
    Path | None,
    typer.Option(metavar="SCENARIO", help="Where nodes are, for the map, if the plan is none."),
]
Departure = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="ISO 8601 time of departure. Default: the plan's start."),
]


def check(
    policy: PolicyPath,
    path: SourcePath,
    origin: Annotated[str, typer.Argument(metavar="FROM", help="Node id.")],
    destination: Annotated[str, typer.Argument(metavar="TO", help="Node id.")],
    directory: DirectoryPath,
    octets: Annotated[int, quantity(size, "Of the bundle.", "--size", "-s")] = OctetCount("1000B"),
    at: Departure = None,
    lifetime: Annotated[float, quantity(duration, "Of the bundle.")] = Seconds("7d"),
    reference: Reference = None,
    kind: Kind = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write report.html there: a map, a table, the path."),
    ] = None,
    places: PlacesPath = None,
    as_json: Json = False,
) -> None:
    """Show who could ever read, hold or carry data under a policy and a contact plan, the best path
    that is allowed, and the one permission that is missing for an earlier one.

    Exit code 1 when there is no path that is allowed. The map of the report needs a scenario, as
    the plan or as --places.

    \b
    Examples:
      orbitferry policy check family.toml plan.json dtn://gs1/ dtn://sat1/ -d nodes.toml
      orbitferry policy check eu.toml day.toml dtn://gs1/ dtn://sat1/ -d nodes.toml --report out
    """
    from stack.policy import PolicyGate
    from stack.policy.file import load_directory, load_policy
    from stack.policy.permissions import permissions
    from stack.routing.admissible import RouteRequest, admissible, reach
    from stack.routing.router import Router, RouterConfig
    from stack.services.policies import until

    source = load_source(path, reference, kind)
    now_ms = source.start_ms if at is None else time_of(at, "--at")
    source.check_node("FROM", origin)
    source.check_node("TO", destination)
    rules = load_policy(policy, now_ms)
    gate = PolicyGate(load_directory(directory), origin)
    expires_ms = until(rules, now_ms + round(lifetime * 1000))
    router = Router(source.plan, origin, config=RouterConfig(tolerance_ms=0, tolerance_ratio=0))
    request = RouteRequest(destination, octets, 1, now_ms, expires_ms)
    found = admissible(router, gate, rules, request)
    reached = reach(source.plan, gate, rules, origin, destination, now_ms)
    nodes = [permissions(rules, gate.directory, each) for each in source.plan.nodes]
    lines = _lines(found, gate, rules, destination, now_ms)
    if report is not None:
        from stack.simulator.report.policy import PolicyReport, policy_page

        where = _places(source, places)
        others = sorted(where.nodes - set(source.plan.nodes))
        shown = [*nodes, *(permissions(rules, gate.directory, each) for each in others)]
        about = PolicyReport(
            origin, destination, now_ms, rules, shown, found, reached, lines, where
        )
        report.mkdir(parents=True, exist_ok=True)
        (report / "report.html").write_text(policy_page(about), encoding="utf-8")
    if as_json:
        emit(_as_dict(found, nodes, reached))
    else:
        _show(nodes, reached)
        for line in lines:
            say_wrapped(line)
        if report is not None:
            say(f"report: {report / 'report.html'}")
    ends_with(0 if found.route is not None else FAILED)


def _places(source: Source, path: Path | None) -> Places:
    from stack.simulator.report.nodes import Places, load_places

    if path is not None:
        return load_places(path)
    known = source.prediction
    return Places() if known is None else Places(known.stations, known.satellites)


def _show(nodes: Sequence[Permissions], reached: frozenset[str]) -> None:
    words = {True: "yes", False: "no"}
    rows = [
        (
            one.node,
            one.known_as,
            *(words[may] for may in (one.reads, one.holds, one.carries, one.node in reached)),
        )
        for one in nodes
    ]
    table(("node", "known as", "reads", "holds", "carries", "reached"), rows)


def _as_dict(
    found: Admissible, nodes: Sequence[Permissions], reached: frozenset[str]
) -> dict[str, Any]:
    def shown(route: Any) -> dict[str, Any] | None:
        if route is None:
            return None
        hops = [contact.destination for contact in route.contacts]
        return {"arrival": dtn_to_iso(route.arrival_ms), "over": hops}

    return {
        "nodes": [one._asdict() | {"reached": one.node in reached} for one in nodes],
        "route": shown(found.route),
        "missing": [one._asdict() for one in found.missing],
        "better": shown(found.better),
    }


def _lines(
    found: Admissible,
    gate: PolicyGate,
    policy: DataPolicy,
    destination: str,
    now_ms: int,
) -> list[str]:
    from stack.policy.gate import described

    if over := _over(policy, now_ms):
        return [over]
    if why := gate.refusal(policy, delivered=False, origin=True):
        return [f"it may not leave from there: {why}"]
    if not gate.may_read(policy, destination):
        who = described(gate.directory, destination)
        return [f"it may not be read at its destination: {who}"]
    if found.route is None:
        return [found.words]
    arrival = dtn_to_iso(found.route.arrival_ms)
    after = duration_text((found.route.arrival_ms - now_ms) / 1000)
    over = ", ".join(contact.destination for contact in found.route.contacts)
    lines = [f"arrives {arrival}, {after} after departure, over {over}"]
    return lines if found.better is None else [*lines, found.words]


def _over(policy: DataPolicy, now_ms: int) -> str:
    """That a policy has ended, if it has: then nobody may do anything any more."""
    ended = 0 < policy.expires_ms <= now_ms
    return f"it ended {dtn_to_iso(policy.expires_ms)}" if ended else ""


def explain(
    policy: PolicyPath,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Node id.")],
    directory: DirectoryPath,
    as_json: Json = False,
) -> None:
    """Say what a node may do with data under a policy, and why not more.

    Exit code 1 when it may do nothing at all.

    \b
    Examples:
      orbitferry policy explain family.toml dtn://kiruna/ --directory nodes.toml
    """
    from stack.adapters.clock import SystemClock
    from stack.core.checks import check_node_id
    from stack.policy import PolicyGate
    from stack.policy.file import load_directory, load_policy

    check_node_id("NODE", node)
    now_ms = SystemClock().dtn_ms()
    rules = load_policy(policy, now_ms)
    gate = PolicyGate(load_directory(directory), node)
    over = _over(rules, now_ms)
    answers = {
        "read": over or gate.refusal(rules, delivered=True),
        "hold": over or gate.refusal(rules, delivered=False, origin=True),
        "carry": over or gate.refusal(rules, delivered=False),
    }
    if as_json:
        emit({"node": node} | {key: {"may": not why, "why": why} for key, why in answers.items()})
    else:
        for verb, why in answers.items():
            say(f"{node} may {'not ' if why else ''}{verb} it" + (f": {why}" if why else ""))
    ends_with(FAILED if all(answers.values()) else 0)


def reload(node: NodePath = None, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Have a running node read its directory of nodes anew.

    What is wrong with the file is said, and the node goes on with what it knows. From then on all
    is judged by the new one, also what is stored and what is under way.

    \b
    Examples:
      orbitferry policy reload --dry-run
      orbitferry policy reload --node gs1.toml
    """
    told = client_of(node).call("reload_policy", dry_run=dry_run)
    if as_json:
        emit(told)
        return
    changed = [f"{one['node']} from '{one['before']}' to '{one['now']}'" for one in told["changed"]]
    named = (("new", told["new"]), ("gone", told["gone"]), ("changed", changed))
    news = "; ".join(f"{kind}: {', '.join(nodes)}" for kind, nodes in named if nodes)
    begin = "the node would know" if dry_run else "the node knows"
    say_wrapped(f"{begin} {count_text(told['nodes'], 'node')}, {news or 'the same as before'}")
