"""`orbitferry transfers`: files under way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from stack.cli.common import (
    FAILED,
    NO_ANSWER,
    OK,
    USAGE,
    CommandError,
    Every,
    Json,
    NodePath,
    client_of,
    duration,
    ends_with,
    quantity,
)
from stack.cli.output import ProgressView, answer, emit, note, say, table
from stack.core.units import count_text, duration_text, printable, size_text
from stack.node.control.client import ControlClient

HELP = "Follow files under way."

ID_CHARS = 32

Ids = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Ids of transfers; the beginning will do if it is clear."),
]


def list_(
    every: Every = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """List the files that the node sends and receives.

    \b
    Examples:
      orbitferry transfers list
      orbitferry transfers list --all --json
    """
    found = client_of(node).call("transfers")["transfers"]
    shown = [one for one in found if one["open"] or every]
    if as_json:
        emit(*shown)
        return
    if not shown:
        say("nothing is under way")
        return
    rows = [
        (
            one["id"],
            "to" if one["direction"] == "out" else "from",
            one["peer"],
            one["name"],
            one["state"],
            f"{_share(one):.0%} of {size_text(one['bytes_total'])}",
            f"{size_text(one['rate_bytes_s'])}/s" if one["rate_bytes_s"] else "",
            _left(one),
            one["text"],
        )
        for one in shown
    ]
    table(("id", "", "node", "name", "state", "done", "rate", "left", "note"), rows)


def wait(
    ids: Ids,
    timeout: Annotated[float | None, quantity(duration, "Give up waiting (exit code 3).")] = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Wait until files that are sent from here are delivered, or have failed (exit code 1).

    \b
    Examples:
      orbitferry transfers wait 3f2a
      orbitferry transfers wait 3f2a 77c0 --timeout 2h --json
    """
    client = client_of(node)
    ends_with(follow(client, whole_ids(client, ids), timeout_s=timeout, as_json=as_json))


def cancel(ids: Ids, node: NodePath = None, as_json: Json = False) -> None:
    """Give up files that are sent from here, and tell their receivers.

    \b
    Examples:
      orbitferry transfers cancel 3f2a
    """
    client = client_of(node)
    result = client.call("cancel", ids=whole_ids(client, ids))
    if as_json:
        emit(result)
    else:
        for one in result["cancelled"]:
            say(f"{one}: cancelled")


def whole_ids(client: ControlClient, wanted: Sequence[str]) -> list[str]:
    """Ids of transfers from their beginnings.  Raises `CommandError` for one that is not clear."""
    if all(len(one) == ID_CHARS for one in wanted):
        return list(wanted)
    known = [one["id"] for one in client.call("transfers")["transfers"]]
    return [match_id(one, known, "transfer") for one in wanted]


def match_id(wanted: str, known: Sequence[str], what: str) -> str:
    """The one id that begins so.  Raises `CommandError`."""
    found = [one for one in known if one.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(
            f"{len(found)} {what}s begin with {wanted!r}", "give more of the id", USAGE
        )
    raise CommandError(f"no {what} begins with {wanted!r}", "list them first", FAILED)


def follow(
    client: ControlClient, ids: Sequence[str], *, timeout_s: float | None, as_json: bool
) -> int:
    """Show transfers until they are over, and how each ended when it does; the exit code."""
    told: set[str] = set()
    with (
        client.open("watch", ids=list(ids), timeout_s=timeout_s) as exchange,
        ProgressView(quiet=as_json) as view,
    ):
        try:
            for event in exchange:
                for one in event["transfers"]:
                    _show(view, one)
                    if not one["open"] and one["id"] not in told:
                        told.add(one["id"])
                        _tell(one, as_json)
        except KeyboardInterrupt:
            note("the transfer goes on; follow it with `orbitferry transfers wait`")
            raise
        states = exchange.result["transfers"]
        for one in states:
            _show(view, one)
    for one in states:
        if one["id"] not in told:
            _tell(one, as_json)
    if any(not one["open"] and one["state"] != "delivered" for one in states):
        return FAILED
    return NO_ANSWER if any(one["open"] for one in states) else OK


def _tell(one: dict[str, Any], as_json: bool) -> None:
    """Say how a transfer ended, or that it has not."""
    why = f": {printable(one['text'])}" if one["text"] else ""
    word = "not delivered yet" if one["open"] else one["state"]
    answer(one, as_json, f"{printable(one['name'])}: {word}{why}")


def _show(view: ProgressView, one: dict[str, Any]) -> None:
    done, total = one["bytes_done"], one["bytes_total"]
    parts = [f"{size_text(done)} of {size_text(total)}"]
    if one["open"] and one["bytes_handed"] > done:
        parts.append(f"{size_text(one['bytes_handed'] - done)} wait here")
    if one["rate_bytes_s"]:
        parts.append(f"{size_text(one['rate_bytes_s'])}/s")
    if left := _left(one):
        parts.append(left)
    detail = ", ".join(parts)
    view.update(one["id"], one["name"], one["state"], _share(one), detail, over=not one["open"])


def _left(one: dict[str, Any]) -> str:
    """When it will be there: by the contact plan, else at the mean rate."""
    if not one["open"]:
        return ""
    when = expected_text(one)
    if when:
        return when
    return f"{duration_text(one['eta_s'])} left" if one["eta_s"] else ""


def expected_text(one: dict[str, Any]) -> str:
    """What the contact plan says: "expected 14:20Z, 2 passes, if dtn://sat1/ answers"; nothing
    where it says nothing."""
    if one["expected"] is None:
        return ""
    day, _, time = one["expected"].partition("T")
    today = datetime.now(UTC).date().isoformat()
    when = f"{time[:5]}Z" if day == today else f"{day} {time[:5]}Z"
    parts = [f"expected {when}"]
    if one["passes"]:
        parts.append(count_text(one["passes"], "pass"))
    if one["unheard"]:
        names = " and ".join(one["unheard"])
        parts.append(f"if {names} {'answers' if len(one['unheard']) == 1 else 'answer'}")
    return ", ".join(parts)


def _share(one: dict[str, Any]) -> float:
    total = one["bytes_total"]
    return one["bytes_done"] / total if total else 1.0
