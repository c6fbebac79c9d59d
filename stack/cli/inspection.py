"""`orbitferry inspect`: what is in these octets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from stack.cli.common import FAILED, OK, Json, ends_with
from stack.cli.output import emit, say

if TYPE_CHECKING:
    from interop.inspect import Tree

PLAIN_WIDTH: Final = 1000
"""Columns outside of a terminal: wide enough that no line breaks."""

Kind = Literal["auto", "bundle", "ltp", "fec-source", "fec-repair"]


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
    as_json: Json = False,
) -> None:
    """Show what is in a bundle, an LTP segment or a capture.

    Every field is shown with its octet offset and length, what it means, and whether checksums
    are right. Broken input is shown up to where it breaks, with the rule that it breaks; exit
    code 1 then.

    \b
    Examples:
      orbitferry inspect capture.pcap
      orbitferry inspect bundle.cbor --json
      xxd -p frame.bin | orbitferry inspect - --format hex --kind ltp
    """
    from interop.inspect import dissect
    from stack.cli.inspect import load_inputs, to_json

    broken = False
    for frame in load_inputs(source, format=file_format):
        tree = dissect(frame.data, kind or frame.kind)
        broken = broken or bool(frame.fault or tree.errors)
        if as_json:
            about = {"title": frame.title, "fault": frame.fault}
            emit({key: text for key, text in about.items() if text} | to_json(tree))
        else:
            _print(frame, tree)
    ends_with(FAILED if broken else OK)


def _print(frame: Any, tree: Tree) -> None:
    from rich.console import Console

    from stack.cli.inspect import render_text
    from stack.cli.units import printable

    if frame.title:
        say(printable(frame.title))
    if frame.fault:
        say(f"  {printable(frame.fault)}")
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(width=width, highlight=False).print(render_text(tree))
