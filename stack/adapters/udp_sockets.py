"""What both UDP ports share: opening sockets in pairs, who the peer is, and what hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

from stack.core.errors import ConfigError, bind_error
from stack.core.train import FLOW_REPAIR
from stack.ports.datagram import (
    Empty,
    Received,
    Stranger,
    Writable,
    ignore_received,
    ignore_stranger,
    ignore_writable,
)

Address = tuple[str, int]
"""Host name or numeric address, and UDP port."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""A resolved address as the socket calls take and give it (IPv4 or IPv6)."""

PAIR_ATTEMPTS = 16
"""Tries to find two neighbouring free ports when any port will do."""

STRANGERS_MAX = 16
"""Addresses of strangers that are told of at most; the others are only counted."""

CALLS_MAX = 100_000
"""Datagrams without octets that wait at most for a socket: they do not count in octets."""

COUNTERS = (
    "sent_datagrams",
    "sent_bytes",
    "received_datagrams",
    "received_bytes",
    "send_errors",
    "send_dropped",
    "dropped_foreign",
    "dropped_empty",
    "dropped_truncated",
    "dropped_kernel",
)
"""The names of the counters of every UDP port.  All but `_bytes` count datagrams, except that
`dropped_kernel`, what the full receive buffer refused, counts a GRO train as one."""


async def resolve(key: str, address: Address, family: int = 0) -> tuple[int, SocketAddress]:
    """Family and numeric form of `address`.  Raises `ConfigError` naming `key`."""
    flags = socket.AI_V4MAPPED if family == socket.AF_INET6 else 0
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            address[0] or None,
            address[1],
            family=family,
            type=socket.SOCK_DGRAM,
            flags=flags | socket.AI_PASSIVE,
        )
    except OSError as error:
        raise ConfigError(key, f"cannot resolve {address[0]!r}: {error}") from error
    resolved_family, _, _, _, resolved = found[0]
    return resolved_family, (str(resolved[0]), int(resolved[1]), *resolved[2:])


def open_sockets(
    family: int,
    local: SocketAddress,
    *,
    repair_port: bool,
    receive_buffer_bytes: int,
    send_buffer_bytes: int,
) -> list[socket.socket]:
    """The bound socket of the source flow and, with `repair_port`, one on the port above it.
    Raises `ConfigError` when they cannot be bound."""
    for attempt in range(PAIR_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            sockets.append(_bound(family, local, receive_buffer_bytes, send_buffer_bytes))
            if repair_port:
                port = sockets[0].getsockname()[1] + 1
                pair = (local[0], port, *local[2:])
                sockets.append(_bound(family, pair, receive_buffer_bytes, send_buffer_bytes))
        except (OSError, OverflowError) as error:
            for opened in sockets:
                opened.close()
            if local[1] == 0 and repair_port and attempt < PAIR_ATTEMPTS - 1:
                continue
            raise bind_error("local", "UDP", local, error) from error
        return sockets
    raise AssertionError("unreachable: the last attempt returns or raises")


def _bound(
    family: int, local: tuple[object, ...], receive_buffer_bytes: int, send_buffer_bytes: int
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # Linux: the FORCE options exceed the system's limit where the process is allowed to.
        _set_buffer(sock, "SO_RCVBUFFORCE", 33, socket.SO_RCVBUF, receive_buffer_bytes)
        _set_buffer(sock, "SO_SNDBUFFORCE", 32, socket.SO_SNDBUF, send_buffer_bytes)
        sock.bind(local)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_buffer(sock: socket.socket, name: str, linux: int, plain: int, size: int) -> None:
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name, linux), size)
        except OSError:
            pass
        else:
            return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


class Peer:
    """Who is at the other end of each flow: configured, or learned from the first datagram."""

    def __init__(self, remote: SocketAddress | None, learn: bool, match_port: bool) -> None:
        self._learn = learn
        self._match_port = match_port
        self._strangers: set[tuple[object, ...]] = set()
        self.on_stranger: Stranger = ignore_stranger
        self.addresses: list[SocketAddress | None] = [None, None]
        if remote is not None:
            self._set(remote)

    def accepts(self, address: SocketAddress, flow: int) -> bool:
        """Whether a datagram of `flow` from `address` is the peer's; learns who it is."""
        expected = self.addresses[flow]
        if expected is None:
            if not self._learn:
                return False
            base = address[1] - 1 if flow == FLOW_REPAIR else address[1]
            if base < 1 or base > 65_534:
                return False
            self._set((address[0], base, *address[2:]))
            return True
        if address[0] != expected[0]:
            return False
        return address[1] == expected[1] or not self._match_port

    def refuse(self, address: tuple[object, ...]) -> None:
        """Tell of a stranger, once."""
        known = address[:2]
        if known not in self._strangers and len(self._strangers) < STRANGERS_MAX:
            self._strangers.add(known)
            host, port = known
            self.on_stranger(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}")

    def _set(self, remote: SocketAddress) -> None:
        repair = (remote[0], remote[1] + 1, *remote[2:])
        self.addresses = [remote, repair]


class PeerPort:
    """What the UDP ports have in common: who hears of things, counters, and the other end."""

    def __init__(self, peer: Peer, local_address: SocketAddress) -> None:
        self.on_receive: Received = ignore_received
        self.on_writable: Writable = ignore_writable
        self.on_empty: Empty | None = None
        self.local_address = local_address
        self._peer = peer
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._closed = False

    @property
    def on_stranger(self) -> Stranger:
        """See `DatagramPort`."""
        return self._peer.on_stranger

    @on_stranger.setter
    def on_stranger(self, tell: Stranger) -> None:
        self._peer.on_stranger = tell

    @property
    def remote_address(self) -> SocketAddress | None:
        """See `RelayPort`."""
        return self._peer.addresses[0]
