"""All services of a node, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.core.bounds import Priority
from stack.core.errors import ConfigError, LocalError
from stack.ports.application import AppPort
from stack.services.echo import EchoService
from stack.services.files import FilesConfig, FilesService
from stack.services.jobs import CommandHandler, Handler, JobClient, JobsConfig, JobServer
from stack.services.reports import StatusReports
from stack.services.waiting import cancel_all


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerConfig:
    """A job handler that is a command."""

    name: str
    """The name under which jobs ask for it."""

    command: tuple[str, ...]
    """Program and arguments, with placeholders such as `{input:0}`, `{inputs}`, `{output}`,
    `{work}` and `{arg:NAME}` (see `CommandHandler`).  No shell sees it."""

    arguments: dict[str, str] = field(default_factory=dict)
    """Arguments that a job may give, each with a regular expression that its whole value must
    match.  Others are refused: values come from the network."""

    environment: dict[str, str] = field(default_factory=dict)
    """Added to a minimal environment; nothing of the node's own is inherited."""

    priorities: dict[str, Priority] = field(default_factory=dict)
    """Priorities of results by name (0 to 2); others have that of their job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesConfig:
    """What a node does for applications."""

    echo: bool = True
    """Answer pings."""

    files: FilesConfig = field(default_factory=FilesConfig)
    """Sending and receiving of files."""

    jobs: JobsConfig = field(default_factory=JobsConfig)
    """Jobs, both submitted here and run here."""

    handlers: tuple[HandlerConfig, ...] = ()
    """Commands that jobs of others may run here, beside handlers registered in code.  Without any
    handler, this node runs no jobs."""


class Services:
    """The services of one node over its application port.  Raises `ConfigError` for a handler that
    is both in the configuration and in code."""

    def __init__(
        self,
        port: AppPort,
        config: ServicesConfig,
        data_dir: Path,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._port = port
        self._config = config
        self._tasks: list[asyncio.Task[None]] = []
        self.reports = StatusReports(port)
        self.files = FilesService(port, data_dir / "files", config.files)
        self.jobs = JobClient(port, self.files, config.jobs)
        commands = {one.name: _command(one) for one in config.handlers}
        both = commands.keys() & handlers.keys()
        if both:
            raise ConfigError(
                "services.handlers", f"{min(both)!r} is registered in code too", "rename one"
            )
        self.handlers: dict[str, Handler] = {**commands, **handlers}
        self._server = (
            JobServer(port, self.files, self.handlers, config.jobs) if self.handlers else None
        )

    async def start(self) -> None:
        """Begin to serve."""
        if self._config.echo:
            self._begin("echo", EchoService(self._port).run())
        self._begin("records", self.reports.run())
        self._begin("files", self.files.run())
        self._begin("jobs", self.jobs.run())
        if self._server is not None:
            self._begin("job server", self._server.run())

    def malformed(self) -> dict[str, int]:
        """Bundles for each service that were no message which it takes; they are dropped."""
        jobs = self.jobs.malformed + (self._server.malformed if self._server is not None else 0)
        return {"files.malformed": self.files.malformed, "jobs.malformed": jobs}

    async def close(self) -> None:
        """Stop; what was under way is taken up by the next start.  Raises what a service that
        has failed raised."""
        outcomes = await cancel_all(self._tasks)
        for error in outcomes:
            if isinstance(error, Exception):
                raise error

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A service that ends by itself has failed: that must not go unnoticed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._port.trace("service_failed", {"service": task.get_name(), "why": repr(error)})


def _command(config: HandlerConfig) -> CommandHandler:
    try:
        return CommandHandler(
            argv=config.command,
            arguments=config.arguments,
            environment=config.environment,
            priorities=config.priorities,
        )
    except LocalError as error:
        raise ConfigError(f"services.handlers.{config.name}", str(error)) from None
