"""One of the two sockets of a TCP connection across the link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

from stack.core.train import Buffer

WRITE_BYTES_HIGH = 256 * 1024
"""Octets that wait in a socket's own buffer before its stream is left where it is."""

LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing the socket sends RST (socket(7))."""


class Half(Protocol):
    """The stream that begins at a side; the other half of the connection ends there."""

    def read(self, data: bytes) -> None:
        """The program has written this."""
        ...

    def finish(self) -> None:
        """The program will write no more."""
        ...

    def writable(self) -> None:
        """The other half can write to the program again."""
        ...


class StreamSide(asyncio.Protocol):
    """One of the two sockets of a connection."""

    def __init__(self, lost: Callable[[StreamSide], None]) -> None:
        self.half: Half | None = None
        """The stream that begins here."""

        self.transport: asyncio.Transport | None = None
        self.full = True
        self.ready: Callable[[], None] | None = None
        self._lost = lost
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.full = False
        self.transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)
        self._reading = True
        if self.ready is not None:
            self.ready()

    def data_received(self, data: bytes) -> None:
        if self.half is not None:
            self.half.read(data)

    def eof_received(self) -> bool:
        if self.half is not None:
            self.half.finish()
        return True  # the other direction lives on

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self.half is not None:
            self.half.writable()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.full = True
        self._lost(self)

    def read(self, on: bool) -> None:
        """Read from the program, or leave what it writes in its own buffers."""
        transport = self.transport
        if transport is None or on is self._reading or transport.is_closing():
            return
        self._reading = on
        if on:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def write(self, pieces: list[Buffer], *, apart: bool) -> None:
        """Write pieces together, or each by itself."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if apart:
            for piece in pieces:
                transport.write(piece)
        else:
            transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def finish(self) -> None:
        """Tell the program that no more will come."""
        transport = self.transport
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(OSError):  # it has gone meanwhile
                transport.write_eof()

    def close(self) -> None:
        """Close after what has been written."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close with RST."""
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError), _of(sock) as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        transport.abort()


def _of(sock: Any) -> socket.socket:
    """A socket of our own for the one behind a transport, whose options some loops do not set."""
    return socket.socket(fileno=os.dup(sock.fileno()))
