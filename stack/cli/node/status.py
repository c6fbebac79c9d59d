"""`orbitferry status` and `orbitferry stop`."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from stack.cli.common import (
    NO_ANSWER,
    CommandError,
    Json,
    NodePath,
    Seconds,
    client_of,
    duration,
    quantity,
)
from stack.cli.output import answer, emit, say, say_wrapped, table
from stack.core.units import count_text, duration_text, printable, rate_text, size_text
from stack.node.control.client import ControlClient

POLL_S: Final = 0.05
"""How often a process is looked at where the system cannot tell when it ends."""

STATES: Final = {
    "down": "down",
    "open": "open, nothing heard yet",
    "up": "up",
    "silent": "open, peer is silent",
    "shut": "shut: authentication lets nothing pass",
}
"""How the state of a link is told."""


def status(
    counters: Annotated[
        bool, typer.Option("--counters", help="Every counter and gauge, by name, instead.")
    ] = False,
    bundles: Annotated[
        bool,
        typer.Option("--bundles", help="The bundles sent from here that have not left, instead."),
    ] = False,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine", help="The bundles on which this node could not work, instead."
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help="With --quarantine: write the octets of each to REF.bundle there.",
        ),
    ] = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Show what a running node is doing.

    Its store, its queue, its links and their contacts; or every counter and gauge; or the bundles
    that were sent from here and wait, by the ids that `orbitferry cancel` takes; or those on which
    work has failed, which are kept until their lifetime ends or room is needed. A link is up when
    its peer was heard since it opened; it is shut when it has to be authenticated and no key serves
    its peer. What came in and was dropped, since the link does not know
    its address or engine number, is told with what to change.

    \b
    Examples:
      orbitferry status
      orbitferry status --counters --json
      orbitferry status --bundles
      orbitferry status --quarantine --save /tmp/looked-at
      orbitferry status --node /var/lib/orbitferry/gs1
    """
    client = client_of(node)
    if counters:
        found = client.call("counters")
        if as_json:
            emit(found)
        else:
            rows = [
                (name, kind.removesuffix("s"), value)
                for kind in ("counters", "gauges")
                for name, value in sorted(found[kind].items())
            ]
            table(("name", "kind", "value"), rows)
        return
    if bundles:
        _bundles(client.call("bundles"), as_json)
        return
    if quarantine or save is not None:
        _quarantine(client, save, as_json)
        return
    result = client.call("status")
    if as_json:
        emit(result)
        return
    _summary(result)


def _summary(result: dict[str, Any]) -> None:
    store, queue = result["store"], result["queue"]
    say(f"{result['node']}: up {duration_text(result['uptime_s'])}, process {result['pid']}")
    say(
        f"store: {count_text(store['bundles'], 'bundle')}, {size_text(store['bytes'])} of "
        f"{size_text(store['quota_bytes'])}"
    )
    say(f"to forward: {count_text(queue['bundles'], 'bundle')}, {size_text(queue['bytes'])}")
    _store_troubles(store)
    say(f"transfers under way: {result['transfers_open']}")
    say(f"files to take: {result['files_waiting']}")
    say(f"contacts in the plan: {result['contacts']}")
    for key in result["keys"]:
        worn = key["encryptions"] / key["encryptions_max"]
        say(
            f"key {printable(key['id'])}: {count_text(key['encryptions'], 'encryption')}, "
            f"{worn:.1%} of its life"
        )
    if result["quarantine"]:
        say_wrapped(
            f"in quarantine: {count_text(result['quarantine'], 'bundle')} on which this node "
            "could not work; "
            "see `orbitferry status --quarantine`"
        )
    for link in result["links"]:
        say(f"link {printable(link['name'])}: {STATES[link['state']]}")
        say(f"  to {link['peer']}, waiting: {size_text(link['waiting_bytes'])}")
        say(f"  {link['local']} -> {link['remote'] or 'whoever calls'}")
        if share := link["share"]:
            say(f"  brought and held: {_share(share)}")
        say(f"  contact: {_contact(link)}")
        for hint in link["hints"]:
            say_wrapped(f"{link['name']}: {hint}")


def _share(share: dict[str, int]) -> str:
    """What a neighbour on a link that is not trusted takes up of the store."""
    return f"{size_text(share['bytes'])}, kept for it: {size_text(share['reserved_bytes'])}"


def _contact(link: dict[str, Any]) -> str:
    if not link["scheduled"]:
        return "always"
    contact = link["contact"]
    if contact is None:
        return "none planned"
    start, end = contact["start"][:19], contact["end"][:19]
    end = end[11:] if end[:10] == start[:10] else end
    return f"{start}Z to {end}Z, {rate_text(contact['rate_bps'])}"


def _quarantine(client: ControlClient, save: Path | None, as_json: bool) -> None:
    result = client.call("quarantine")
    held = result["quarantine"]
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        for one in held:
            octets = client.call("quarantine", ref=one["ref"])["octets"]
            (save / f"{one['ref']}.bundle").write_bytes(base64.b64decode(octets))
    if as_json:
        emit(*held)
        return
    rows = [
        (one["ref"], one["source"], one["destination"], size_text(one["bytes"]), one["why"])
        for one in held
    ]
    if rows:
        table(("ref", "from", "for", "size", "why"), rows)
    more = result["quarantine_total"] - len(rows)
    if more or not rows:
        say(f"... and {more} more" if more else "no bundle is in quarantine")


def _bundles(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(*result["bundles"])
        return
    rows = [
        (one["bundle"], one["destination"], size_text(one["bytes"]), one["expires"], _path(one))
        for one in result["bundles"]
    ]
    if rows:
        table(("bundle", "for", "size", "lives until", "under its data policy"), rows)
    more = result["bundles_total"] - len(rows)
    if more or not rows:
        say(f"... and {more} more" if more else "no bundle that was sent from here waits")


def _path(bundle: dict[str, Any]) -> str:
    path = bundle["path"]
    return path["text"] if path else ""


def stop(
    timeout: Annotated[float, quantity(duration, "How long to wait for its end.")] = Seconds("30s"),
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Stop a running node cleanly.

    The command ends when the node's process has ended.

    \b
    Examples:
      orbitferry stop
      orbitferry stop --node gs1.toml --timeout 5s
    """
    result = client_of(node).call("stop")
    if not _wait_for_end(int(result["pid"]), timeout):
        raise CommandError(
            f"{result['node']}: process {result['pid']} has not ended after "
            f"{duration_text(timeout)}",
            "see its log, or wait longer",
            NO_ANSWER,
        )
    answer(result | {"stopped": True}, as_json, f"{result['node']}: stopped")


def _wait_for_end(pid: int, timeout_s: float) -> bool:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "pidfd_open"):
            handle = os.pidfd_open(pid)
            try:
                return bool(select.select([handle], [], [], timeout_s)[0])
            finally:
                os.close(handle)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(POLL_S)
        return False
    return True


def _store_troubles(store: dict[str, Any]) -> None:
    if store["full"]:
        say_wrapped("store: the disk is full; nothing new is stored until it has room")
    if store["missing"]:
        say_wrapped(
            f"store: not found when it was opened: {count_text(store['missing'], 'bundle')};"
            " see `store.behind` and `store.rescued` in the log, and check the disk"
        )
    if store.get("rescues"):
        say_wrapped(
            "store: the database was damaged and has been rescued; see `store.rescued` in the log,"
            " and check the disk; the damaged file is store.db.damaged-1 and on"
        )
    if store.get("damaged_states"):
        say_wrapped(
            f"store: {count_text(store['damaged_states'], 'record')} of files, jobs, keys or the"
            " audit log had changed at rest, and cannot be used; see `store.state_damaged` in the"
            " log, and check the disk; what was found is in the folder `quarantine` of the store"
        )
    if store.get("repaired"):
        say_wrapped(
            f"store: {count_text(store['repaired_octets'], 'octet')} of "
            f"{count_text(store['repaired'], 'bundle')} had changed"
            " at rest, and were put right"
        )
    if store.get("damaged"):
        say_wrapped(
            f"store: damaged at rest, beyond repair: {count_text(store['damaged'], 'bundle')}; see"
            " `orbitferry status --quarantine`, and check the disk"
        )
