"""The client's end of a control socket, for programs that wait: the command line."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stack.node.control.protocol import (
    REPLY_BYTES_MAX,
    ControlError,
    decode_line,
    encode_line,
    error_from,
    socket_name,
)

CONNECT_TIMEOUT_S = 10.0
"""A node that is alive accepts at once; one that has locked up never does."""


class Exchange:
    """One request under way: iterate over its events, then look at `result`.

    Raises `ControlError` in place of a result when the request fails, and with kind `timeout`
    when nothing comes for `patience_s`.
    """

    def __init__(self, path: Path, request: dict[str, Any], patience_s: float | None) -> None:
        self.result: dict[str, Any] = {}
        self._path = path
        self._socket = _connect(path)
        self._lines = self._socket.makefile("rb")
        try:
            self._socket.sendall(encode_line(request))
            self._socket.settimeout(patience_s)
        except OSError:
            # It has answered already, most likely with why it does not listen.
            self._socket.settimeout(CONNECT_TIMEOUT_S)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            reply = self._next()
            if "event" in reply:
                yield reply
            elif "result" in reply:
                result = reply["result"]
                self.result = result if isinstance(result, dict) else {}
                return
            else:
                raise error_from(reply.get("error"))

    def acknowledge(self) -> None:
        """The last event was taken, durably; see `stack.node.control`."""
        try:
            self._socket.sendall(encode_line({"ack": True}))
        except OSError as error:
            raise self._lost(error) from None

    def _next(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(REPLY_BYTES_MAX)
        except TimeoutError:
            raise ControlError(
                "timeout", f"the node at {self._path} does not answer", "is it overloaded?"
            ) from None
        except OSError as error:
            raise self._lost(error) from None
        if not line.endswith(b"\n"):
            raise self._lost(None)
        return decode_line(line)

    def _lost(self, error: OSError | None) -> ControlError:
        why = f": {error.strerror}" if error is not None and error.strerror else ""
        return ControlError(
            "not_running",
            f"the node at {self._path} went away before it answered{why}",
            "see its log for the reason",
        )

    def close(self) -> None:
        """End the request, if it is still under way."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ControlClient:
    """Asks the node whose control socket is at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def call(self, op: str, *, patience_s: float | None = 60.0, **fields: Any) -> dict[str, Any]:
        """The result of a request, events dropped.  Raises `ControlError`."""
        with self.open(op, patience_s=patience_s, **fields) as exchange:
            for _ in exchange:
                pass
            return exchange.result

    def open(self, op: str, *, patience_s: float | None = None, **fields: Any) -> Exchange:
        """A request whose events are wanted; use it as a context manager.  Fields that are None
        are left out.  Raises `ControlError`."""
        request = {"op": op} | {key: value for key, value in fields.items() if value is not None}
        return Exchange(self.path, request, patience_s)


def _connect(path: Path) -> socket.socket:
    """Raises `ControlError` of kind `not_running` when nobody listens at `path`."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_TIMEOUT_S)
        with socket_name(path) as name:
            sock.connect(name)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        sock.close()
        raise ControlError(
            "not_running",
            f"no node is running at {path}",
            "start it with `orbitferry node CONFIG`, or name another one with --node",
        ) from None
    except PermissionError:
        sock.close()
        raise ControlError(
            "system", f"{path}: this user may not control that node", "run as the node's user"
        ) from None
    except TimeoutError:
        sock.close()
        raise ControlError(
            "timeout", f"the node at {path} does not accept connections", "is it overloaded?"
        ) from None
    except (OSError, ValueError) as error:
        sock.close()
        raise ControlError("system", f"{path}: {error}", "check the path") from None
    return sock


def is_running(path: Path) -> bool:
    """Whether a node listens at `path`.  Raises `ControlError` when that cannot be told."""
    try:
        sock = _connect(path)
    except ControlError as error:
        if error.kind == "not_running":
            return False
        raise
    with contextlib.closing(sock):
        return True
