"""The capture files of a node: one for each path, and as many links in each as name it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from stack.adapters.capture import CaptureFile
from stack.adapters.tap import CapturedPort
from stack.core.clock import DTN_EPOCH_UNIX_S, MILLISECOND
from stack.core.sansio import Trace
from stack.node.config import LinkConfig
from stack.node.environment import Environment, OpenPort
from stack.ports.datagram import DatagramPort


class Captures:
    """Opens files as links ask for them, and closes them together when its block ends."""

    def __init__(self, environment: Environment, trace: Trace) -> None:
        self._clock = clock = environment.clock
        self._trace = trace
        self._inline = not environment.threads
        self._files: dict[str, CaptureFile] = {}
        epoch_ns = (clock.dtn_ms() + DTN_EPOCH_UNIX_S * 1000) * MILLISECOND
        self._epoch_ns = epoch_ns - clock.now()

    async def tapped(self, link: LinkConfig, open_port: OpenPort) -> DatagramPort:
        """Open the port of a link, captured if its configuration says so.  Raises `ConfigError`."""
        if not link.capture:
            return await open_port(link)
        file = self._files.get(link.capture)
        if file is None:  # before there is a port to close when this fails
            file = self._files[link.capture] = self._open(link)
        port = await open_port(link)
        return CapturedPort(port, file, link.name, lambda: self._clock.now() + self._epoch_ns)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for file in self._files.values():
            if self._inline:
                file.close()
            else:
                await asyncio.to_thread(file.close)

    def _open(self, link: LinkConfig) -> CaptureFile:
        loop = asyncio.get_running_loop()

        def ended(why: str) -> None:
            self._trace("capture_ended", {"path": link.capture, "why": why})

        return CaptureFile(
            Path(link.capture),
            limit_bytes=link.capture_bytes,
            inline=self._inline,
            tell=ended if self._inline else lambda why: _soon(loop, ended, why),
            key=f"links.{link.name}.capture",
        )


def _soon(loop: asyncio.AbstractEventLoop, tell: Callable[[str], None], why: str) -> None:
    """From the thread that writes, to the node's."""
    with contextlib.suppress(RuntimeError):  # the node is gone
        loop.call_soon_threadsafe(tell, why)
