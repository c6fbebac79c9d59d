"""One run of a job: its directories, its limits, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.core.errors import DecodeError, LocalError, words_of
from stack.core.private import make_folder
from stack.ports.application import AppPort
from stack.services.files.paths import open_directory, remove_folder, safe_name
from stack.services.files.source import walk_folder
from stack.services.jobs.config import JobsConfig
from stack.services.jobs.context import Handler, JobContext, JobFailed
from stack.services.jobs.messages import OUTPUTS_MAX, JobLimits
from stack.services.jobs.state import ServerJob
from stack.services.waiting import cancel_all, first_of

_FILES_MAX: Final = 100_000
"""Files that a run may leave in its directories: more make looking at them slow."""


@dataclass(frozen=True, slots=True)
class Output:
    """A result file of a run."""

    name: str
    path: Path
    size: int
    priority: int


class Attempt:
    """Runs a handler in a directory of its own under its job's limits."""

    def __init__(
        self,
        port: AppPort,
        config: JobsConfig,
        job: ServerJob,
        handler: Handler,
        directory: Path,
        inputs: tuple[Path, ...],
    ) -> None:
        """Makes `directory`, which must not be there yet.  Raises `OSError`."""
        request = job.request
        assert request is not None
        self._port = port
        self._config = config
        self._handler = handler
        self._limits: JobLimits = request.limits
        self._priority = request.priority
        self._stop = asyncio.Event()
        self.directory = directory
        work, out = directory / "work", directory / "out"
        for path in (work, out):
            make_folder(path)
        self.context = JobContext(
            args=dict(request.args),
            inputs=inputs,
            limits=request.limits,
            attempt=job.attempt,
            work_directory=work,
            output_directory=out,
            trace=port.trace,
        )

    def stop(self) -> None:
        """Let `run` end soon, and its handler be cancelled."""
        self._stop.set()

    async def run(self) -> list[Output]:
        """Run the handler to its end; its results.  Raises `JobFailed`; when stopped, with
        whatever text, since nobody reads it."""
        limits = self._limits
        work = asyncio.ensure_future(self._work())
        stop = asyncio.ensure_future(self._stop.wait())
        clock = asyncio.ensure_future(self._port.sleep(limits.time_s))
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait((work, stop, clock, watch), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            elif stop.done():
                raise JobFailed("stopped")
            elif watch.done():
                watch.result()
            else:
                raise JobFailed(f"time limit of {limits.time_s:g} s")
        finally:
            self.context.cancelled = True
            await cancel_all((stop, clock, watch))
            await self._end(work)
        self._check_size()
        return self._outputs()

    async def _work(self) -> None:
        try:
            await self._handler(self.context)
        except JobFailed:
            raise
        except (Exception, SystemExit) as error:  # a handler may think that it is a program
            raise JobFailed(words_of(error)) from error

    async def _end(self, work: asyncio.Task[None]) -> None:
        """Cancel the handler, and give it a little time to clean up."""
        if not work.done():
            work.cancel()
            await first_of(_ended(work), self._port.sleep(self._config.stop_s))
        if not work.done():
            self._port.trace("jobs.handler_stuck", {"directory": str(self.directory)})
        # Seen, whenever it ends: asyncio need not warn of it.
        work.add_done_callback(lambda work: work.cancelled() or work.exception())

    async def _watch(self) -> None:
        while True:
            await self._port.sleep(self._config.watch_s)
            self._check_size()

    def _check_size(self) -> None:
        total = 0
        try:
            for path, _ in walk_folder(str(self.directory), _FILES_MAX):
                with contextlib.suppress(FileNotFoundError):  # it went while we looked
                    total += os.lstat(path).st_size
        except LocalError as error:
            raise JobFailed(str(error)) from error
        if total > self._limits.output_bytes:
            raise JobFailed(f"output limit of {self._limits.output_bytes} octets")

    def _outputs(self) -> list[Output]:
        """Regular files in the output directory: the most urgent first, then the smallest."""
        outputs = []
        root = self.context.output_directory
        try:
            for path, name in walk_folder(str(root), OUTPUTS_MAX):
                safe_name(name)
                priority = self.context.priorities.get(name, self._priority)
                outputs.append(Output(name, Path(path), os.lstat(path).st_size, priority))
        except (DecodeError, LocalError, OSError) as error:
            raise JobFailed(f"results cannot be sent: {error}") from error
        return sorted(outputs, key=lambda output: (-output.priority, output.size, output.name))


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait((task,))


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, as far as it goes."""
    with contextlib.suppress(OSError), open_directory(str(path.parent), ()) as parent:
        remove_folder(path.name, parent)
