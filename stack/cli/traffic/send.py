"""`orbitferry send`: a file, a folder or a message to another node."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stack.cli.common import (
    NO_ANSWER,
    OK,
    Json,
    NodePath,
    Priority,
    PriorityOption,
    Reports,
    ReportTo,
    client_of,
    duration,
    ends_with,
    quantity,
)
from stack.cli.output import emit, note, say, show_report
from stack.cli.traffic.policy import PolicyOption, WaitForPath, label_of, tell_path
from stack.cli.traffic.transfers import follow
from stack.core.errors import ConfigError, LocalError
from stack.core.units import duration_text, size_text
from stack.ports.application import CRITICAL_PRIORITY

REPORT_S = 60.0
"""How long status reports are waited for."""

MESSAGE_BYTES_MAX = 700_000
"""A message on standard input travels inside one line of the control socket."""


Destination = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="Node id, or endpoint for a message.")
]
Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH", help="Files and folders; - for a message on standard input."),
]
Message = Annotated[
    str | None, typer.Option("--message", "-m", help="Send this text as a message.")
]
AsMessage = Annotated[
    bool,
    typer.Option("--as-message", help="Send each file as one message: one bundle, as it is."),
]
Name = Annotated[str | None, typer.Option(help="What the receiver calls the file or folder.")]
Service = Annotated[
    str | None,
    typer.Option(help="Service that a message is for, and that answers go to."),
]
Lifetime = Annotated[
    float | None,
    quantity(
        duration,
        "How long it may take: 90s, 2h, 7d. Default: the node's own (files), 1d (messages).",
    ),
]
Critical = Annotated[
    bool,
    typer.Option(
        "--critical",
        help="Send a copy over every neighbour that has a way, before all else; "
        "the receiver gets one. Costs volume everywhere.",
    ),
]
Timeout = Annotated[
    float | None,
    quantity(
        duration, "With --wait or --report: give up waiting (exit code 3); the transfer goes on."
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", "-w", help="Wait until files are delivered, with progress.")
]


def send(
    destination: Destination,
    paths: Paths = None,
    message: Message = None,
    as_message: AsMessage = False,
    name: Name = None,
    service: Service = None,
    lifetime: Lifetime = None,
    policy: PolicyOption = None,
    wait_for_path: WaitForPath = False,
    priority: PriorityOption = Priority.NORMAL,
    critical: Critical = False,
    wait: Wait = False,
    timeout: Timeout = None,
    report: Reports = None,
    report_to: ReportTo = None,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Send files, folders or a message to another node.

    The command ends when this node has stored durably what is to be sent; it delivers it over
    whatever contacts come, across blackouts and restarts. Files must stay as they are until
    they are delivered. With --wait it ends when the receiver has confirmed every file. With
    --report it shows the status reports on a message as they come, until it was delivered or
    deleted or --timeout is over (default 60s), and ends with 3 when none came.

    \b
    Examples:
      orbitferry send dtn://sat1/ tasking.bin
      orbitferry send dtn://sat1/ tiles/ --wait --priority bulk --lifetime 2d
      orbitferry send dtn://sat1/ -m "begin imaging"
      orbitferry send dtn://sat1/ scene.tif --policy "KR | (EU - node:dtn://kiruna/)"
      orbitferry send ipn:2.1 -m hello --report forwarded,delivered --timeout 10m
      date | orbitferry send dtn://gs1/ - --node /etc/orbitferry/gs1.toml
    """
    given = list(paths or ())
    if (message is None) == (not given):
        raise ConfigError("PATH", "give files and folders, or --message TEXT", "not both")
    if name is not None and len(given) != 1:
        raise ConfigError("--name", "names one file or folder", "send them one by one")
    common: dict[str, Any] = {
        "destination": destination,
        "priority": CRITICAL_PRIORITY if critical else priority.level,
        "lifetime_s": lifetime,
        "policy": label_of(policy),
        "wait_for_path": wait_for_path,
    }
    if report and not all(as_message or str(path) == "-" for path in given):
        why = "is for messages; the receiver of a file confirms it by itself"
        raise ConfigError("--report", why, "use --wait, or --as-message")
    common_message = common | {"report": report, "report_to": report_to, "report_s": timeout}
    if message is not None:
        payload = {"payload": _encoded(message.encode())}
        ends_with(OK if _message(node, payload, service, common_message, as_json) else NO_ANSWER)
    _judge([] if as_message else given, name)  # all before any is sent
    told, ids = True, list[str]()
    for path in given:
        if str(path) == "-":
            payload = {"payload": _encoded(_standard_input())}
            told &= _message(node, payload, service, common_message, as_json)
        elif as_message:
            payload = {"path": str(path.absolute())}
            told &= _message(node, payload, service, common_message, as_json)
        else:
            ids += _file(node, path, name, common, as_json)
    if wait and ids:
        ends_with(follow(client_of(node), ids, timeout_s=timeout, as_json=as_json))
    ends_with(OK if told else NO_ANSWER)


def _encoded(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def _standard_input() -> bytes:
    payload = sys.stdin.buffer.read(MESSAGE_BYTES_MAX + 1)
    if len(payload) > MESSAGE_BYTES_MAX:
        raise ConfigError(
            "standard input",
            f"more than {MESSAGE_BYTES_MAX} octets",
            "put it into a file and send that",
        )
    return payload


def _message(
    node: Path | None,
    payload: dict[str, Any],
    service: str | None,
    common: dict[str, Any],
    as_json: bool,
) -> bool:
    """Send one; whether any status report came that was asked for."""
    with client_of(node).open("send_message", service=service, **payload, **common) as exchange:
        for event in exchange:
            if event["event"] == "report":
                show_report(event, "message", as_json)
            else:
                _stored(event, as_json)
        result = exchange.result
    here = result.pop("reports")
    if here is None:
        _stored(result, as_json)
    elif not here:
        note(f"no status report came within {duration_text(common['report_s'] or REPORT_S)}")
        return False
    return True


def _stored(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(result)
    else:
        where = f"{size_text(result['bytes'])} to {result['destination']}"
        say(f"message of {where}: stored, id {result['bundle']}")
    _warn(result, result["destination"])


def _warn(result: dict[str, Any], destination: str) -> None:
    """Say that nothing leads to a destination, as far as the node knows, or nothing soon that its
    data policy allows."""
    if not result["reachable"]:
        note(
            f"note: no link and no contact of the plan reaches {destination}; it waits until one "
            "does, or its lifetime ends"
        )
    tell_path(result)


def _named(path: Path, name: str | None) -> tuple[str, str]:
    """The absolute path, and what the receiver is to call it."""
    absolute = os.path.abspath(path)  # without resolving links, whose own names are meant
    return absolute, name if name is not None else os.path.basename(absolute)


def _judge(paths: Sequence[Path], name: str | None) -> None:
    """Raise `ConfigError` for a path that is not there, or that holds what cannot be named."""
    for path in paths:
        if str(path) != "-":
            _judge_one(path, name)


def _judge_one(path: Path, name: str | None) -> None:
    from stack.services.files.source import check_name, walk_folder

    if not path.exists():
        raise ConfigError(str(path), "no such file or folder", "check the path")
    absolute, wanted = _named(path, name)
    try:
        if not path.is_dir():
            check_name(wanted)
            return
        for _, relative in walk_folder(absolute, sys.maxsize):
            check_name(f"{wanted}/{relative}" if wanted else relative)
    except LocalError as error:
        raise ConfigError(str(path), str(error), "nothing was sent") from None


def _file(
    node: Path | None, path: Path, name: str | None, common: dict[str, Any], as_json: bool
) -> list[str]:
    absolute, wanted = _named(path, name)
    result = client_of(node).call(
        "send_file", patience_s=None, path=absolute, name=wanted, **common
    )
    transfers = result["transfers"]
    if not transfers:
        raise ConfigError(str(path), "holds no files", "there is nothing to send")
    _warn(result, common["destination"])
    if as_json:
        emit(*transfers)
    else:
        for one in transfers[:10]:
            say(f"{one['name']}: {size_text(one['bytes_total'])} to {one['peer']}, id {one['id']}")
        if len(transfers) > 10:
            say(f"... and {len(transfers) - 10} more; see `orbitferry transfers list`")
    return [str(one) for one in result["ids"]]
