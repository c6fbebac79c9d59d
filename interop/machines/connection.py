"""An implementation behind a port, asked line by line: for those that a test cannot start.

Each connection is one life of it.  The first line names the case, ``{"do": "case", "name": ...}``,
and is answered with ``{}``; what follows is what a command would read (`interop.machines.lines`).
What it keeps it keeps by the name of the case: a second connection with the same name is the next
life, and begins with what is on the disk of that case.  A connection that is reset is a kill: the
life that it was is over, and what was not on its disk is gone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
from typing import Final
from urllib.parse import urlsplit

from interop.machines.fault import MachineFault
from interop.machines.lines import AskedPeer, Done
from stack.core.errors import ConfigError

SCHEME: Final = "tcp://"
NAME_BYTES: Final = 8

_RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: what is not sent is thrown away, and the other side is told."""


class AskedConnection(AskedPeer):
    """Connections to it, one after the other.  Raises `ConfigError` for what is no address, or that
    of another machine unless that is allowed."""

    def __init__(self, address: str, timeout_s: float, *, allow_remote: bool = False) -> None:
        super().__init__(timeout_s)
        self._address = _resolved(address, allow_remote=allow_remote)
        self._name = os.urandom(NAME_BYTES).hex()
        self._connection: socket.socket | None = None

    def _open(self) -> None:
        try:
            self._connection = socket.create_connection(self._address, self._timeout_s)
        except OSError as error:
            where = "{}:{}".format(*self._address)
            why = error.strerror or str(error)
            raise ConfigError("adapter", f"{where} is not reached: {why}") from None
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.setblocking(False)
        self.ask(Done, "case", name=self._name)

    def _input(self) -> int:
        assert self._connection is not None
        return self._connection.fileno()

    _output = _input

    def _ended(self) -> MachineFault:
        return MachineFault("crash", "the connection is closed", "while it was asked")

    @property
    def runs(self) -> bool:
        """See `AskedPeer`."""
        return self._connection is not None

    def end(self) -> None:
        """See `AskedPeer`."""
        connection = self._connection
        assert connection is not None
        connection.shutdown(socket.SHUT_WR)
        readable, _, _ = select.select([connection], [], [], self._timeout_s)
        if not readable:
            raise MachineFault("hang", f"no end within {self._timeout_s:g} s")
        with contextlib.suppress(ConnectionResetError):
            if connection.recv(1):
                raise MachineFault("interop.machines.connection", "an answer that nobody asked for")
        self.kill()

    def kill(self) -> None:
        """See `AskedPeer`."""
        if self._connection is not None:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """See `AskedPeer`."""
        self.kill()


def _resolved(address: str, *, allow_remote: bool) -> tuple[str, int]:
    """Host and port as numbers.  Raises `ConfigError`."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM) if host and port else []
    except (ValueError, OSError) as error:
        raise ConfigError("adapter", f"{address!r} is no address: {error}") from None
    if not found:
        raise ConfigError("adapter", f"{address!r} names no host and port", f"{SCHEME}HOST:PORT")
    number, port = str(found[0][4][0]), int(found[0][4][1])
    if not allow_remote and not ipaddress.ip_address(number.partition("%")[0]).is_loopback:
        raise ConfigError(
            "adapter", f"{host} is another machine", "allow_remote=True, if it is yours"
        )
    return number, port
