"""Status reports on what a client sends, told to it as they come back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from stack.core.clock import dtn_to_iso
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.node.control.request import Request, Session, wrong
from stack.ports.application import BundleId
from stack.services.reports import Reported, StatusReports, report_flags
from stack.wire.bundle import reason_words

QUEUE_MAX = 1000
"""Reports that wait for a client that is slow to read; what comes on top of it is only logged."""


class Asked:
    """What a request says of status reports."""

    def __init__(self, request: Request, node_id: Eid) -> None:
        """Takes the fields `report` (names of statuses) and `report_to` (an endpoint)."""
        self.names = request.texts("report")
        try:
            self.flags = report_flags(self.names)
        except LocalError as error:
            raise wrong("report", str(error)) from None
        self.to = request.eid("report_to") if request.has("report_to") else None
        if self.to is not None and not self.flags:
            raise wrong("report_to", "goes with report", "say which: received, forwarded, ...")
        self.here = bool(self.flags) and self.to in (None, node_id)
        """They come back to this node."""


class Follower:
    """Passes the reports on some bundles to a client, as events `report`."""

    def __init__(self, reports: StatusReports, session: Session, *, active: bool) -> None:
        self._reports = reports
        self._session = session
        self._active = active
        self._queue: asyncio.Queue[Reported] = asyncio.Queue(QUEUE_MAX)
        self._bundles: dict[BundleId, int] = {}
        self.count = 0
        self.final = asyncio.Event()
        """A node has reported that it delivered or deleted a bundle."""

    def sent(self, sequence: int, bundle: BundleId) -> None:
        """This bundle is one of them."""
        self._bundles[bundle] = sequence

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Listens and tells meanwhile; what came until the end is told before it ends."""
        if not self._active:
            yield
            return
        with self._reports.following(self._heard):
            task = asyncio.ensure_future(self._tell_all())
            try:
                yield
                while not self._queue.empty():
                    await self._tell(self._queue.get_nowait())
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _heard(self, reported: Reported) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(reported)

    async def _tell_all(self) -> None:
        while True:
            await self._tell(await self._queue.get())

    async def _tell(self, reported: Reported) -> None:
        sequence = self._bundles.get(reported.bundle)
        if sequence is None:
            return
        self.count += 1
        time_ms = reported.time_ms
        fields: dict[str, Any] = {
            "sequence": sequence,
            "from": str(reported.reporter),
            "status": list(reported.status),
            "time": None if time_ms is None else dtn_to_iso(time_ms),
            "reason": reported.reason,
            "why": reason_words(reported.reason),
            "fragment_offset": reported.fragment_offset,
        }
        await self._session.event("report", **fields)
        if {"delivered", "deleted"} & set(reported.status) and reported.fragment_offset is None:
            self.final.set()
