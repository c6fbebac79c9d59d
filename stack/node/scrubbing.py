"""Looks through the store in the background for what has changed at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from stack.core.clock import SECOND, Clock
from stack.core.errors import words_of
from stack.core.sansio import Trace
from stack.storage.config import StoreConfig
from stack.storage.pace import Pace
from stack.storage.writer import StoreWriter


class Scrubbing:
    """A timer over a node's store."""

    def __init__(
        self,
        writer: StoreWriter,
        damaged: Callable[[Sequence[int]], object],
        config: StoreConfig,
        clock: Clock,
        trace: Trace,
    ) -> None:
        """`damaged` is called with what is beyond repair."""
        self._writer = writer
        self._damaged = damaged
        self._clock = clock
        self._trace = trace
        self._pace = Pace(config.scrub_bytes_per_s, config.scrub_every_s, clock.now())
        self._task = asyncio.get_running_loop().create_task(self._scrub(), name="scrubbing")

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _scrub(self) -> None:
        while True:
            wait_ns = self._pace.next_deadline() - self._clock.now()
            await asyncio.sleep(max(0, wait_ns) / SECOND)
            try:
                found = await self._writer.scrub()
                self._pace.looked(found.bundles, found.octets, found.over, self._clock.now())
                if found.damaged:
                    self._damaged(found.damaged)
            except Exception as error:  # whatever it is: a disk that fails now may work later
                self._trace("store_error", {"why": words_of(error)})
                self._pace.failed(self._clock.now())
