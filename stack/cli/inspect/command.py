"""`orbitferry inspect`: what is in these octets."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from stack.cli.common import FAILED, OK, Json, ends_with
from stack.cli.output import emit, say
from stack.core.units import count_text

if TYPE_CHECKING:
    from interop.inspect import Tree

PLAIN_WIDTH: Final = 1000
"""Columns outside of a terminal: wide enough that no line breaks."""

Kind = Literal["auto", "bundle", "ltp", "fec-source", "fec-repair", "tcpcl"]


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A file, - for standard input, or the octets in hexadecimal."
        ),
    ],
    kind: Annotated[
        Kind | None,
        typer.Option("--kind", "-k", help="What the octets are. Default: what they look like."),
    ] = None,
    file_format: Annotated[
        Literal["auto", "hex", "raw", "pcap"],
        typer.Option("--format", "-f", help="What the file is."),
    ] = "auto",
    conversations: Annotated[
        bool,
        typer.Option(
            "--conversations",
            "-c",
            help="Of a capture: a line for each transfer and each bundle in place of its packets.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is in a bundle, an LTP segment, a TCPCL stream or a capture.

    Every field is shown with its octet offset and length, what it means, and whether checksums
    are right. Broken input is shown up to where it breaks, with the rule that it breaks; exit
    code 1 then. Captures (pcap, pcapng) may come from Ethernet, Linux "any", loopback or raw IP;
    TCP streams that begin with TCPCL are put together. Packets that hold nothing for us are
    counted at the end; a capture with nothing else ends with 1. With --conversations its LTP
    sessions and TCPCL transfers are followed: from where to where, which bundles, how long, how
    often segments were sent again, and how it ended.

    \b
    Examples:
      orbitferry inspect capture.pcap
      orbitferry inspect pass.pcapng --conversations
      orbitferry inspect bundle.cbor --json
      xxd -p frame.bin | orbitferry inspect - --format hex --kind ltp
    """
    if conversations:
        from stack.cli.inspect.conversations import show_conversations

        ends_with(OK if show_conversations(source, as_json) else FAILED)
    from interop.inspect import dissect
    from stack.cli.inspect.tree import load_inputs, to_json

    broken = False
    passed_over: Counter[str] = Counter()
    frames = load_inputs(source, format=file_format, passed_over=passed_over)
    for frame in frames:
        tree = dissect(frame.data, kind if kind and frame.kind != "octets" else frame.kind)
        broken = broken or bool(frame.fault or tree.errors)
        if as_json:
            about = {"title": frame.title, "fault": frame.fault}
            emit({key: text for key, text in about.items() if text} | to_json(tree))
        else:
            _print(frame, tree)
    if passed_over or not frames:
        _tell(passed_over, as_json)
    ends_with(FAILED if broken or not frames else OK)


def _tell(passed_over: Counter[str], as_json: bool) -> None:
    """What was in the capture and not shown."""
    if as_json:
        emit({"passed_over": dict(passed_over.most_common())})
        return
    kinds = ", ".join(f"{words} ({count})" for words, count in passed_over.most_common(20))
    many = count_text(passed_over.total(), "packet")
    say(f"{many} passed over: {kinds}" if passed_over else "no packets in this capture")


def _print(frame: Any, tree: Tree) -> None:
    from rich.console import Console

    from stack.cli.inspect.tree import render_text
    from stack.core.units import printable

    if frame.title:
        say(printable(frame.title))
    if frame.fault:
        say(f"  {printable(frame.fault)}")
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(width=width, highlight=False).print(render_text(tree))
