"""`orbitferry policy`: who could ever read, hold or carry data, and why a node may not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stack.cli.common import (
    FAILED,
    Json,
    OctetCount,
    Seconds,
    duration,
    ends_with,
    quantity,
    size,
    time_of,
)
from stack.cli.output import emit, say, say_wrapped, table
from stack.cli.plan.source import Kind, Reference, SourcePath, load_source
from stack.core.units import duration_text

if TYPE_CHECKING:
    from stack.policy import DataPolicy, PolicyGate
    from stack.routing.admissible import Admissible

HELP = "See what a data policy allows, and what it does not."

PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file.")]
DirectoryPath = Annotated[
    Path,
    typer.Option("--directory", "-d", metavar="FILE", help="The directory of nodes."),
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
    as_json: Json = False,
) -> None:
    """Show who could ever read, hold or carry data under a policy and a contact plan, the best way
    that is allowed, and which permission is missing for a better one.

    Exit code 1 when there is no way that is allowed.

    \b
    Examples:
      orbitferry policy check family.toml plan.json dtn://gs1/ dtn://sat1/ -d nodes.toml
      orbitferry policy check family.toml sso_day.toml dtn://gs1/ dtn://sat1/ -d nodes.toml --json
    """
    from stack.core.clock import dtn_to_iso
    from stack.policy import PolicyGate
    from stack.policy.file import load_directory, load_policy
    from stack.routing.admissible import admissible

    source = load_source(path, reference, kind)
    now_ms = source.start_ms if at is None else time_of(at, "--at")
    source.check_node("FROM", origin)
    source.check_node("TO", destination)
    rules = load_policy(policy, now_ms)
    gate = PolicyGate(load_directory(directory), origin)
    expires_ms = now_ms + round(lifetime * 1000)
    found = admissible(source.plan, gate, rules, origin, destination, octets, now_ms, expires_ms)
    nodes = [_node(gate, rules, found, each) for each in source.plan.nodes]
    if as_json:
        emit(_as_dict(found, nodes))
    else:
        table(
            ("node", "known as", "reads", "holds", "carries", "reached"),
            [
                (
                    node["node"],
                    node["known_as"],
                    *("yes" if node[key] else "no" for key in _COLUMNS),
                )
                for node in nodes
            ],
        )
        for line in _lines(found, gate, rules, destination, now_ms, dtn_to_iso):
            say_wrapped(line)
    ends_with(0 if found.route is not None else FAILED)


_COLUMNS = ("reads", "holds", "carries", "reached")


def _node(gate: PolicyGate, policy: DataPolicy, found: Admissible, node: str) -> dict[str, Any]:
    from stack.policy.gate import known_as

    facts = gate.directory.get(node)
    return {
        "node": node,
        "known_as": known_as(facts) if facts else "",
        "reads": gate.may_read(policy, node),
        "holds": gate.may_hold(policy, node),
        "carries": gate.may_carry(policy, node),
        "reached": node in found.reach,
    }


def _as_dict(found: Admissible, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    from stack.core.clock import dtn_to_iso

    def way(route: Any) -> dict[str, Any] | None:
        if route is None:
            return None
        hops = [contact.destination for contact in route.contacts]
        return {"arrival": dtn_to_iso(route.arrival_ms), "over": hops}

    return {
        "nodes": nodes,
        "way": way(found.route),
        "missing": list(found.missing),
        "better": way(found.better),
    }


def _lines(
    found: Admissible,
    gate: PolicyGate,
    policy: DataPolicy,
    destination: str,
    now_ms: int,
    iso: Any,
) -> list[str]:
    from stack.policy.gate import described

    if not gate.may_read(policy, destination):
        who = described(gate.directory, destination)
        return [f"it may not be read at its destination: {who}"]
    lines = ["no way that is allowed"]
    if found.route is not None:
        after = duration_text((found.route.arrival_ms - now_ms) / 1000)
        over = ", ".join(contact.destination for contact in found.route.contacts)
        lines = [f"arrives {iso(found.route.arrival_ms)}, {after} after departure, over {over}"]
    if found.better is not None:
        who = " and ".join(described(gate.directory, node) for node in found.missing)
        lines.append(f"with transit through {who} it would be {iso(found.better.arrival_ms)}")
    return lines


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
    from stack.policy import PolicyGate
    from stack.policy.file import load_directory, load_policy

    rules = load_policy(policy, SystemClock().dtn_ms())
    gate = PolicyGate(load_directory(directory), node)
    answers = {
        "read": gate.refusal(rules, delivered=True),
        "hold": gate.refusal(rules, delivered=False, origin=True),
        "carry": gate.refusal(rules, delivered=False),
    }
    if as_json:
        emit({"node": node} | {key: {"may": not why, "why": why} for key, why in answers.items()})
    else:
        for verb, why in answers.items():
            say(f"{node} may {'not ' if why else ''}{verb} it" + (f": {why}" if why else ""))
    ends_with(FAILED if all(answers.values()) else 0)
