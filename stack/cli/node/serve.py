"""Running a node in this process."""

from __future__ import annotations

import asyncio
import os

from stack.cli.output import emit, say
from stack.cli.signals import stopped_by_signals
from stack.node.config import NodeConfig
from stack.node.control.operations import make_operations
from stack.node.control.server import ControlServer, refuse_if_running
from stack.node.node import Node


async def serve_node(config: NodeConfig, as_json: bool) -> None:
    """Run a node until a signal or a client ends it.  Raises `ConfigError`, `StoreError`."""
    refuse_if_running(config.control_path)  # first, as it tells best what is wrong
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        async with Node(config) as running:
            operations = make_operations(running, stop.set)
            async with ControlServer(config.control_path, operations, running.trace):
                _announce(config, as_json)
                await stop.wait()


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
