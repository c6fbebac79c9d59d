"""`orbitferry receive`: take what has arrived."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from stack.cli.common import (
    NO_ANSWER,
    OK,
    CommandError,
    Json,
    NodePath,
    client_of,
    duration,
    ends_with,
    quantity,
)
from stack.cli.output import emit, note, say, table
from stack.cli.traffic.policy import policy_line
from stack.core.errors import ConfigError
from stack.core.private import FILE_MODE, make_folder, opener
from stack.core.units import payload_text, printable, size_text

NUMBERED_TRIES: Final = 10_000


Listing = Annotated[
    bool, typer.Option("--list", help="List files that wait to be taken, and take none.")
]
Into = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Move files into this folder, and put each message into a file there. Without "
        "it files stay where the node has put them, and messages are printed.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Write the octets of messages to standard output, as they are."),
]
Service = Annotated[
    str | None, typer.Option(help="Service whose messages are wanted. Default: messages.")
]
Count = Annotated[
    int,
    typer.Option(
        "--count",
        "-c",
        min=0,
        metavar="N",
        show_default=False,
        help="End after so many. Default: go on.",
    ),
]
Timeout = Annotated[
    float | None,
    quantity(
        duration,
        "End when nothing has come for so long: exit code 3 when that is fewer than "
        "--count, or nothing at all.",
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Take what is there and end, like --timeout 0.")
]


def receive(
    messages: Annotated[bool, typer.Option("--messages", help="Only messages.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Only files.")] = False,
    listing: Listing = False,
    into: Into = None,
    raw: Raw = False,
    service: Service = None,
    count: Count = 0,
    timeout: Timeout = None,
    no_wait: NoWait = False,
    node: NodePath = None,
    as_json: Json = False,
) -> None:
    """Take messages and files that have arrived.

    It goes on until Ctrl-C, or as the options say. Each thing is taken once: it leaves the node's
    store when it has been printed or moved, and not before. What is under a data policy is shown
    with it: it holds for whatever is made of it, too. Results of jobs do not come here; see
    `orbitferry job`.

    \b
    Examples:
      orbitferry receive
      orbitferry receive --files --into downloads --no-wait
      orbitferry receive --messages --count 1 --timeout 30s --json
      orbitferry receive --list
    """
    if raw and (files or as_json or into is not None):
        raise ConfigError("--raw", "is for messages on standard output", "leave out the others")
    if listing:
        _list(node, as_json)
        return
    if into is not None:
        make_folder(into)
    kinds = [name for name, wanted in (("messages", messages or raw), ("files", files)) if wanted]
    client = client_of(node)
    with client.open(
        "receive",
        kinds=kinds or None,
        service=service,
        count=count,
        timeout_s=0.0 if no_wait else timeout,
    ) as exchange:
        for event in exchange:
            left_over = _take(event, into, raw, as_json)
            exchange.acknowledge()
            if left_over is not None:
                with contextlib.suppress(OSError):
                    left_over.unlink()
        taken = exchange.result["count"]
    ends_with(OK if taken and taken >= count else NO_ANSWER)


def _list(node: Path | None, as_json: bool) -> None:
    found = client_of(node).call("received_files")["files"]
    if as_json:
        emit(*found)
    elif found:
        rows = [
            (
                one["source"],
                one["name"],
                size_text(one["bytes"]),
                one["path"],
                one["policy"]["readers"] if one["policy"] else "",
            )
            for one in found
        ]
        table(("from", "name", "size", "path", "readers"), rows)
    else:
        say("no files wait to be taken")


def _take(event: dict[str, Any], into: Path | None, raw: bool, as_json: bool) -> Path | None:
    """Print or store one thing; what is left to remove once it was acknowledged."""
    left_over = None
    if event["event"] == "file":
        left_over = _take_file(event, into, as_json)
    else:
        _take_message(event, into, raw, as_json)
    if event["policy"] and not as_json:
        (note if raw else say)(policy_line(event["policy"]))
    return left_over


def _take_message(event: dict[str, Any], into: Path | None, raw: bool, as_json: bool) -> None:
    payload = base64.b64decode(event["payload"])
    stored = None
    if into is not None:
        stored = into / _message_name(event)
        with open(stored, "wb", opener=opener) as file:
            file.write(payload)
        _sync(stored)
    if raw:
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()
    elif as_json:
        emit(_plain(event) | ({} if stored is None else {"path": str(stored)}))
    elif stored is not None:
        say(f"{event['source']}: message of {size_text(len(payload))} in {stored}")
    else:
        say(f"{event['source']}: {payload_text(payload)}")


def _take_file(event: dict[str, Any], into: Path | None, as_json: bool) -> Path | None:
    left_over = None
    if into is not None:
        origin = Path(event["path"])
        event["path"] = str(_second_link(origin, into, event["place"]))
        left_over = origin
    if as_json:
        emit(_plain(event))
    else:
        name = printable(event["name"])
        where = printable(event["path"])
        say(f"{event['source']}: file {name}, {size_text(event['bytes'])}, in {where}")
    return left_over


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "ack"}


def _message_name(event: dict[str, Any]) -> str:
    """A file name from a bundle's id, which is unique: written again, it is the same file."""
    return "message-" + re.sub(r"[^A-Za-z0-9.@_-]+", "-", event["bundle"]).strip("-")


def _second_link(origin: Path, into: Path, place: str) -> Path:
    """Put a file into a folder, numbered if its name is taken; the original stays for now, so
    that no moment exists at which the file is nowhere."""
    wanted = into / place
    make_folder(wanted.parent)
    for number in range(NUMBERED_TRIES):
        target = wanted.with_stem(f"{wanted.stem}-{number}") if number else wanted
        try:
            _link_or_copy(origin, target)
        except FileExistsError:
            continue
        _sync(target.parent)
        return target
    raise CommandError(f"{wanted}: this name and its numbers are taken", "clear the folder")


def _link_or_copy(origin: Path, target: Path) -> None:
    try:
        os.link(origin, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(origin, partial)
        partial.chmod(FILE_MODE)
        _sync(partial)
        os.rename(partial, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
