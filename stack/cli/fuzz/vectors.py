"""`orbitferry vectors`: octets from outside this project, for implementers of any make."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stack.cli.common import Json
from stack.cli.inspect.command import PLAIN_WIDTH
from stack.cli.output import answer, emit, say, table
from stack.core.errors import ConfigError
from stack.core.units import printable

if TYPE_CHECKING:
    from interop.vectors import Vector

HELP: Final = "Test vectors: octets of public sources, and what they must decode to."

INSPECTED: Final = {
    "bundle": "bundle",
    "fragment": "bundle",
    "ltp-segment": "ltp",
    "tcpclv4-contact": "tcpcl",
}
"""Kinds of vectors that `interop.inspect` shows as trees."""

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="One of `orbitferry vectors list`, such as ltp.")
]


def list_(as_json: Json = False) -> None:
    """List the files of vectors, with their sources.

    \b
    Examples:
      orbitferry vectors list
      orbitferry vectors list --json
    """
    from interop.vectors import catalogue

    files = catalogue()
    if as_json:
        for one in files:
            emit({"file": one.name, "about": one.about, "source": one.source, "count": one.count})
        return
    table(("file", "vectors", "about"), [(one.name, one.count, one.about) for one in files])


def show(
    file: FileArgument,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="One vector; without it all are listed.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the vectors of a file, or explain one: what it is, its octets, its source.

    \b
    Examples:
      orbitferry vectors show ltp
      orbitferry vectors show bpsec_rfc9173 "RFC9173-A.1 final bundle"
    """
    found = _load(file)
    if name:
        found = [one for one in found if one.name == name]
        if not found:
            raise ConfigError(
                "NAME", f"{file} has no vector {name!r}", f"orbitferry vectors show {file}"
            )
    if as_json:
        for one in found:
            emit(_to_json(one))
    elif name:
        _explain(found[0])
    else:
        rows = [(one.name, one.kind, len(one.data), one.expect) for one in found]
        table(("name", "kind", "octets", "expected"), rows)


def export(
    file: FileArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made if it is not there.")],
    as_json: Json = False,
) -> None:
    """Write the octets of every vector to a file of its own, and vectors.json beside them.

    Names of files are those of the vectors with other characters than letters and digits as -;
    vectors.json says which is which, what each must decode to, and where it comes from.

    \b
    Examples:
      orbitferry vectors export ltp ltp-vectors
    """
    found = _load(file)
    entries = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(found):
            words = "".join(char if char.isascii() and char.isalnum() else "-" for char in one.name)
            path = folder / f"{number:03d}-{words[:60]}.bin"
            path.write_bytes(one.data)
            entries.append({"file": path.name, **_to_json(one)})
        text = json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
        (folder / "vectors.json").write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError("FOLDER", f"{folder} cannot be written: {why}") from None
    answer(
        {"file": file, "count": len(found), "folder": str(folder)},
        as_json,
        f"{len(found)} vectors of {file} in {folder}",
    )


def _load(file: str) -> list[Vector]:
    from interop.vectors import catalogue, load

    names = [one.name for one in catalogue()]
    if file not in names:
        raise ConfigError("FILE", f"there are no vectors {file!r}", f"one of {', '.join(names)}")
    return load(file)


def _to_json(vector: Vector) -> dict[str, Any]:
    return {
        "name": vector.name,
        "kind": vector.kind,
        "hex": vector.data.hex(),
        "expect": vector.expect,
        "source": vector.source,
        **vector.extra,
    }


def _explain(vector: Vector) -> None:
    from rich.console import Console

    from interop.inspect import dissect
    from stack.cli.inspect.tree import render_text

    say(printable(f"{vector.name} ({vector.kind}): {vector.expect}"))
    say(printable(f"source: {vector.source}"))
    for key, text in vector.extra.items():
        say(printable(f"{key}: {text}"))
    say(f"bytes.fromhex({vector.data.hex()!r})")
    tree = dissect(vector.data, INSPECTED.get(vector.kind, "octets"))
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False).print(
        render_text(tree)
    )
