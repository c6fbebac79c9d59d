"""`orbitferry node`: run a node until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stack.cli.common import Json
from stack.cli.output import emit, say

if TYPE_CHECKING:
    from stack.node.config import NodeConfig


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
    from stack.adapters.loop import run
    from stack.node.config import load_config

    run(_serve(load_config(config), as_json))


async def _serve(config: NodeConfig, as_json: bool) -> None:
    from stack.node.control.operations import make_operations
    from stack.node.control.server import ControlServer, refuse_if_running
    from stack.node.node import Node

    refuse_if_running(config.control_path)  # first, as it tells best what is wrong
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with Node(config) as running:
            operations = make_operations(running, stop.set)
            async with ControlServer(config.control_path, operations, running.trace):
                _announce(config, as_json)
                await stop.wait()


@contextlib.contextmanager
def stopped_by_signals(stop: asyncio.Event) -> contextlib.Iterator[None]:
    """SIGINT and SIGTERM set `stop`; a second one ends the program at once."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stopping() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, stopping)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _announce(config: NodeConfig, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "node": config.id,
                "pid": os.getpid(),
                "control": str(config.control_path),
                "links": [
                    {"name": link.name, "peer": link.peer, "local": link.local}
                    for link in config.links
                ],
            }
        )
        return
    links = ", ".join(f"{link.name} on {link.local}" for link in config.links) or "no links"
    say(f"{config.id} is running: {links}; control socket {config.control_path}")
