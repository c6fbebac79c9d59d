"""What a node waits for when it writes to its disk, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from stack.simulator.swarm.disk import NodeDisk


class VirtualDisk:
    """What waits for a `NodeDisk` in virtual time: a `stack.storage.writer.Disk`."""

    def __init__(self, disk: NodeDisk, loop: asyncio.AbstractEventLoop) -> None:
        self._disk = disk
        self._loop = loop
        self._pending: tuple[asyncio.TimerHandle, Callable[[], None]] | None = None

    def run(self, job: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Do `job` when the disk has had its time."""

        def complete() -> None:
            self._pending = None
            try:
                outcome = job()
            except Exception as error:  # whatever it is, the writer must hear of it
                done(None, error)
            else:
                done(outcome, None)

        slow_s = self._disk.slow_s
        if not slow_s:
            complete()
            return
        self._disk.delayed += 1
        delay_s = self._disk.rng.uniform(0, slow_s)
        self._pending = self._loop.call_later(delay_s, complete), complete

    def hurry(self) -> None:
        """The process is dead: what waits is over."""
        if self._pending is not None:
            timer, complete = self._pending
            timer.cancel()
            complete()

    def close(self) -> None:
        """Nothing to close."""
