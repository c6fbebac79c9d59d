"""`orbitferry keys`: key files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stack.cli.common import Json
from stack.cli.output import answer, emit, table

HELP = "Make and show key files; look at, rotate and destroy the keys of a domain."


def new(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Made with mode 0600.")],
    name: Annotated[
        str | None,
        typer.Option(help="Begins the ids of the keys in logs. Default: the file's name."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help='Nodes that share these keys, such as "dtn://sat*".'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key file with fresh secrets: for encryption, for integrity and for LTP links.

    Every node that shall read the same bundles needs a copy: carry it over a trusted way, not
    through the network that it protects. An existing file is never overwritten.

    \b
    Examples:
      orbitferry keys new keys.toml
      orbitferry keys new keys.toml --name fleet-2026 --peer "dtn://sat*" --peer "dtn://gs*"
    """
    from stack.core.errors import ConfigError
    from stack.security.keys import load_keys, new_key_file

    label = path.stem if name is None else name
    patterns = peer or ["*"]
    for text in (label, *patterns):
        if not text.isprintable() or '"' in text or "\\" in text:
            raise ConfigError("--name, --peer", f"{text!r} has quotes or the like", "plain names")
    import os

    new_key_file(path, os.urandom, label, patterns)
    ids = [key.id for key in load_keys(path).keys]
    answer(
        {"path": str(path), "keys": ids},
        as_json,
        f"{path}: made, mode 0600, with {' and '.join(ids)}; copy it to every node",
    )


def show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A key file.")],
    as_json: Json = False,
) -> None:
    """Show which keys a file holds, never the secrets.

    Two files with the same fingerprint have the same secret, or halves of one RSA key.

    \b
    Examples:
      orbitferry keys show keys.toml
    """
    from stack.security.keys import load_keys

    keys = load_keys(path).keys
    rows = [
        {
            "id": key.id,
            "kind": key.kind,
            "bits": key.bits,
            "peers": list(key.peers),
            "send": key.send,
            "senders": key.senders,
            "raw": key.raw,
            "key_id": key.key_id.hex(),
            "fingerprint": key.fingerprint,
        }
        for key in keys
    ]
    if as_json:
        emit(*rows)
        return
    table(
        ("id", "kind", "bits", "nodes", "used to send", "fingerprint"),
        [
            (
                row["id"],
                f"{key.kind}, raw" if key.raw else key.kind,
                row["bits"],
                ", ".join(key.peers),
                "yes" if key.send else "no",
                row["fingerprint"],
            )
            for row, key in zip(rows, keys, strict=True)
        ],
    )
