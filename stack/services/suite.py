"""All services of a node, started and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from stack.core.errors import DecodeError
from stack.ports.application import AppPort
from stack.services.echo import EchoService
from stack.services.files import FilesConfig, FilesService
from stack.wire.bundle import StatusReport, decode_admin, reason_words


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesConfig:
    """What a node does for applications."""

    echo: bool = True
    """Answer pings."""

    files: FilesConfig = field(default_factory=FilesConfig)
    """Sending and receiving of files."""


class Services:
    """The services of one node over its application port."""

    def __init__(self, port: AppPort, config: ServicesConfig, data_dir: Path) -> None:
        self._port = port
        self._config = config
        self._tasks: list[asyncio.Task[None]] = []
        self.files = FilesService(port, data_dir / "files", config.files)

    async def start(self) -> None:
        """Begin to serve."""
        loop = asyncio.get_running_loop()
        if self._config.echo:
            self._tasks.append(loop.create_task(EchoService(self._port).run()))
        self._tasks.append(loop.create_task(self._records()))
        self._tasks.append(loop.create_task(self.files.run()))

    async def close(self) -> None:
        """Stop; what was under way is taken up by the next start."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _records(self) -> None:
        """Administrative records for this node: status reports go to the log (RFC 9171 §6)."""
        endpoint = self._port.register(self._port.node_id.service)
        try:
            while True:
                deliveries = await endpoint.receive_many(64)
                for delivery in deliveries:
                    self._record(delivery.payload)
                await self._port.commit(consume=deliveries)
        finally:
            endpoint.close()

    def _record(self, payload: bytes | bytearray | memoryview) -> None:
        try:
            record = decode_admin(payload)
        except DecodeError as error:
            self._port.trace("admin_record_malformed", {"why": str(error)})
            return
        if not isinstance(record, StatusReport):
            self._port.trace("admin_record_unknown", {"type": record.type})
            return
        bundle = f"{record.source}@{record.creation_ms}.{record.sequence}"
        flags = {
            "received": record.received,
            "forwarded": record.forwarded,
            "delivered": record.delivered,
            "deleted": record.deleted,
        }
        asserted = [name for name, value in flags.items() if value]
        why = reason_words(record.reason)
        self._port.trace(
            "status_report", {"bundle": bundle, "status": ",".join(asserted), "why": why}
        )
