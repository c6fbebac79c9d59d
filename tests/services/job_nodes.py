"""A client on the ground and a server in orbit, for the tests of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from stack.services.files import FilesService
from stack.services.jobs import Handler, JobClient, JobContext, JobsConfig, JobServer
from stack.services.jobs.messages import Message, decode_message
from tests.services.fake_port import FakeNet, FakePort, Faults
from tests.services.helpers import GS, SAT, SMALL, running

QUICK = JobsConfig(progress_s=5.0, progress_max_s=5.0, repeat_s=30.0)


async def double(context: JobContext) -> None:
    """Each input twice over, and a summary that goes first."""
    total = 0
    for index, path in enumerate(context.inputs):
        content = path.read_bytes()
        total += len(content)
        context.progress(index / len(context.inputs), f"input {index}")
        await asyncio.sleep(float(context.args.get("seconds", "1")))
        context.output(f"out/{index}.bin").write_bytes(content + content)
    context.output("summary.txt", priority=2).write_text(str(total))


class JobNodes:
    """Both nodes with their services."""

    def __init__(
        self,
        tmp_path: Path,
        handlers: Mapping[str, Handler] | None = None,
        faults: Faults | None = None,
        config: JobsConfig = QUICK,
        seed: int = 1,
    ) -> None:
        self.net = FakeNet(seed, faults)
        self.gs, self.sat = self.net.node(GS), self.net.node(SAT)
        self.root = tmp_path
        self.config = config
        self.handlers = {"double": double} if handlers is None else dict(handlers)
        self.client_files = FilesService(self.gs.port, tmp_path / "gs", SMALL)
        self.client = JobClient(self.gs.port, self.client_files, config)
        self.server_files, self.server = self.make_server(self.sat.port)

    def make_server(self, port: FakePort) -> tuple[FilesService, JobServer]:
        files = FilesService(port, self.root / "sat", replace(SMALL, collision="replace"))
        return files, JobServer(port, files, self.handlers, self.config)

    @asynccontextmanager
    async def all_running(self) -> AsyncIterator[None]:
        async with running(
            self.client_files.run(), self.client.run(), self.server_files.run(), self.server.run()
        ):
            yield

    async def run_server(self, port: FakePort) -> None:
        """One life of the satellite's process."""
        files, server = self.make_server(port)
        async with asyncio.TaskGroup() as group:
            group.create_task(files.run())
            group.create_task(server.run())

    async def run_client(self, port: FakePort) -> None:
        """One life of the ground station's process."""
        files = FilesService(port, self.root / "gs", SMALL)
        client = JobClient(port, files, self.config)
        async with asyncio.TaskGroup() as group:
            group.create_task(files.run())
            group.create_task(client.run())

    def messages(self, kind: type) -> list[Message]:
        """All job messages of a kind that were sent."""
        found = [
            decode_message(payload)
            for _, destination, payload in self.net.log
            if destination.service in ("jobs", "job-replies")
        ]
        return [message for message in found if isinstance(message, kind)]

    def leftovers(self) -> list[str]:
        """Files that remain of jobs on the satellite."""
        return sorted(
            str(path.relative_to(self.root / "sat"))
            for path in (self.root / "sat").rglob("*")
            if path.is_file()
        )
