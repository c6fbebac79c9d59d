"""`orbitferry node`: run a node until it is told to stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from stack.cli.common import Json
from stack.cli.node.limits import check_limits


def node(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The node's configuration.")],
    as_json: Json = False,
) -> None:
    """Run a node.

    It prints one line when it is ready, and logs one JSON object a line on standard error (or in
    the file that the configuration names). Ctrl-C, SIGTERM and `orbitferry stop` end it cleanly,
    with exit code 0; nothing that it has acknowledged is lost however it ends.

    \b
    Examples:
      orbitferry node node.toml
      orbitferry node /etc/orbitferry/gs1.toml --json
    """
    check_limits()  # before libraries are loaded that end in tracebacks of their own
    from stack.adapters.loop import run
    from stack.cli.node.serve import serve_node
    from stack.node.config import load_config

    loaded = load_config(config)
    if loaded.log.level == "auto":
        loaded = dataclasses.replace(loaded, log=dataclasses.replace(loaded.log, level="info"))
    check_limits(len(loaded.links))
    run(serve_node(loaded, as_json))
