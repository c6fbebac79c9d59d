"""The node's end of the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from stack.core.errors import (
    ConfigError,
    DecodeError,
    LocalError,
    PolicyError,
    SecurityError,
    StoreError,
)
from stack.core.sansio import Trace
from stack.node.control.client import is_running
from stack.node.control.protocol import REQUEST_BYTES_MAX, ControlError, decode_line, socket_name
from stack.node.control.request import Operation, Request, Session

CONNECTIONS_MAX = 64
"""Requests at a time; an operator and some scripts need a handful."""

REQUEST_TIMEOUT_S = 10.0
"""A client that has connected and says nothing is let go."""

BACKLOG = 16


def refuse_if_running(path: Path) -> None:
    """Raise `ConfigError` when a node is at work behind `path` already."""
    try:
        running = is_running(path)
    except ControlError as error:
        raise ConfigError(str(path), error.message, error.remedy) from None
    if running:
        raise ConfigError(
            str(path),
            "a node is running here already",
            "stop it with `orbitferry stop`, or give this one its own data_dir",
        )


class ControlServer:
    """Serves `operations` at `path` while it is entered.

    The socket of a node that is dead is removed; that of a live one raises `ConfigError`, as does
    a path that cannot be used.
    """

    def __init__(self, path: Path, operations: Mapping[str, Operation], trace: Trace) -> None:
        self.path = path
        self._operations = operations
        self._trace = trace
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._inode = 0

    async def __aenter__(self) -> Self:
        sock = _listening(self.path)
        self._inode = os.stat(self.path).st_ino
        self._server = await asyncio.start_unix_server(
            self._accept, sock=sock, limit=REQUEST_BYTES_MAX
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:  # not one that has replaced ours
                os.unlink(self.path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer)
        try:
            with contextlib.suppress(ConnectionError):
                try:
                    if len(self._tasks) > CONNECTIONS_MAX:
                        remedy = "wait until others are done"
                        raise ControlError("busy", "too many requests at a time", remedy)
                    await self._answer(reader, session)
                except ControlError as error:
                    await session.reply({"error": error.as_dict()})
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, session: Session) -> None:
        request = Request(decode_line(await _request_line(reader)))
        operation = self._operations.get(request.op)
        if operation is None:
            known = ", ".join(sorted(self._operations))
            raise ControlError("usage", f"op: {request.op[:80]!r} is unknown", f"known: {known}")
        work = asyncio.ensure_future(self._run(operation, request, session))
        watch = asyncio.ensure_future(session.watch())
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _run(self, operation: Operation, request: Request, session: Session) -> None:
        try:
            result = await operation(request, session)
        except (ControlError, ConnectionError):
            raise
        except Exception as error:
            raise self._translated(error, request.op) from error
        await session.reply({"result": result})

    def _translated(self, error: Exception, op: str) -> ControlError:
        """What the client is told of an error that an operation has met."""
        match error:
            case ConfigError():
                return ControlError("config", f"{error.key}: {error.message}", error.remedy)
            case LocalError() | DecodeError():
                return ControlError("refused", str(error))
            case StoreError():
                return ControlError("store", str(error), "see `orbitferry status` for its room")
            case SecurityError() | PolicyError():
                return ControlError("security", str(error))
            case OSError() if error.strerror:
                name = error.filename
                where = f"{os.fsdecode(name)}: " if isinstance(name, str | bytes) else ""
                return ControlError("system", where + error.strerror)
        self._trace("control_failed", {"op": op, "why": f"{type(error).__name__}: {error}"})
        return ControlError(
            "internal", f"{op}: {type(error).__name__}: {error}", "this is a bug; please report it"
        )


async def _request_line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await reader.readuntil(b"\n")
    except TimeoutError:
        raise ControlError("timeout", f"no request within {REQUEST_TIMEOUT_S:g} s") from None
    except asyncio.IncompleteReadError:
        raise ControlError("usage", "the request has no end", "end it with a newline") from None
    except asyncio.LimitOverrunError:
        raise ControlError(
            "usage",
            f"the request is longer than {REQUEST_BYTES_MAX} octets",
            "name a large payload by its path",
        ) from None


def _listening(path: Path) -> socket.socket:
    """A bound socket that only this user may connect to."""
    refuse_if_running(path)
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)  # of a node that is dead
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_name(path) as name:
            sock.bind(name)
        # Nobody can connect before `listen`, so that the mode is never wider than it looks.
        os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(
            str(path),
            f"no control socket can be made here: {error.strerror or error}",
            "set `control` to a short path in a folder that this user may write",
        ) from None
    return sock
