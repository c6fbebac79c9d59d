"""The option by which data is sent under a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stack.cli.output import note
from stack.core.units import printable

PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NODES",
        help="Who may read, hold and carry it: a policy file (NAME.toml), or the nodes that may do "
        'all three, such as "KR | (EU - node:dtn://kiruna/)".',
    ),
]

WaitForPath = Annotated[
    bool,
    typer.Option(
        "--wait-for-path",
        help="Store it also if the policy leaves no path in its lifetime: the plan may change.",
    ),
]


def policy_line(policy: dict[str, Any]) -> str:
    """A data policy of what was received, on a line of its own."""
    parts = [f"{name} {policy[name]}" for name in ("readers", "rest", "transit")]
    if policy["expires"]:
        parts.append(f"until {policy['expires']}")
    if policy["audit"]:
        parts.append("with records")
    parts += [
        " ".join((one["policy_id"], one["classification"], *one["categories"]))
        for one in policy["marking"]
    ]
    return printable(f"  under a data policy: {'; '.join(parts)}")


def tell_path(result: dict[str, Any]) -> None:
    """Say that a policy makes data wait, and what is missing in it for an earlier path."""
    path = result["path"]
    if path and (path["better"] or not path["arrival"]):
        note(f"note: {path['text']}")


def label_of(policy: str | None) -> str | None:
    """The label for the node's control socket, or None.  Raises `ConfigError`."""
    if policy is None:
        return None
    from stack.adapters.clock import SystemClock
    from stack.policy import DataPolicy
    from stack.policy.file import load_policy, node_set
    from stack.policy.label import encode_label

    if policy.endswith(".toml"):
        return encode_label(load_policy(Path(policy), SystemClock().dtn_ms())).hex()
    nodes = node_set("--policy", policy)
    return encode_label(DataPolicy(readers=nodes, rest=nodes, transit=nodes)).hex()
