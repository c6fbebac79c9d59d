"""UDP as a datagram port: `open_udp`, and the portable path over asyncio-dgram.

FECFRAME's source and repair flows are told apart by port (RFC 6363 §5.2): with `repair_port` a
port has two sockets, and repair datagrams go from and to the port number above.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence

import asyncio_dgram
from asyncio_dgram.aio import DatagramServer

from stack.adapters.udp_linux import LinuxUdpPort
from stack.adapters.udp_sockets import (
    CALLS_MAX,
    Address,
    Peer,
    PeerPort,
    SocketAddress,
    open_sockets,
    resolve,
)
from stack.core.errors import ConfigError
from stack.core.train import FLOW_SOURCE, Train, single
from stack.ports.datagram import RelayPort

SOCKET_BUFFER_BYTES = 8 * 1024 * 1024
"""Asked of the kernel for each socket: 64 ms of 1 Gbit/s, so that a busy moment of the process
loses nothing.  Systems cap it (net.core.rmem_max)."""

QUEUE_BYTES_HIGH = 1024 * 1024
"""Octets that wait for a portable port before `send` says so."""

QUEUE_BYTES_MAX = 16 * 1024 * 1024
"""Octets that wait at most; what comes on top of it is dropped."""


async def open_udp(
    local: Address,
    remote: Address | None = None,
    *,
    repair_port: bool = False,
    fast: bool | None = None,
    learn_peer: bool = True,
    match_port: bool = False,
    receive_buffer_bytes: int = SOCKET_BUFFER_BYTES,
    send_buffer_bytes: int = SOCKET_BUFFER_BYTES,
) -> RelayPort:
    """Open a UDP port bound to `local` for datagrams to and from `remote`.

    Without `remote` the peer is whoever sends first, when `learn_peer` (an open door: use it
    where the layer above authenticates); until then nothing can be sent.  Datagrams from another
    host are dropped and counted, and with `match_port` those from another port of it too: not all
    peers send from the port on which they listen.  Datagrams go to `remote` in any case.
    `fast` None takes the fast path where there is one, False the portable path, True insists.
    Raises `ConfigError`.
    """
    family, local_address = await resolve("local", local)
    remote_address = None
    if remote is not None:
        _, remote_address = await resolve("remote", remote, family)
    peer = Peer(remote_address, learn_peer, match_port)
    sockets = open_sockets(
        family,
        local_address,
        repair_port=repair_port,
        receive_buffer_bytes=receive_buffer_bytes,
        send_buffer_bytes=send_buffer_bytes,
    )
    try:
        if fast is not False and sys.platform == "linux":
            with contextlib.suppress(NotImplementedError):
                return LinuxUdpPort(sockets, peer)
        if fast:
            raise ConfigError("fast", "this platform or event loop has no fast path for UDP")
        streams = []
        for sock in sockets:
            stream = await asyncio_dgram.from_socket(sock)
            assert isinstance(stream, DatagramServer), "the sockets are not connected"
            streams.append(stream)
        return PortableUdpPort(streams, peer, sockets[0].getsockname())
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


class PortableUdpPort(PeerPort):
    """A `stack.ports.datagram.RelayPort` that works on every platform and event loop."""

    def __init__(
        self,
        streams: Sequence[DatagramServer],
        peer: Peer,
        local_address: SocketAddress,
    ) -> None:
        """Takes the streams (source flow first) and closes them in the end."""
        super().__init__(peer, local_address)
        self._streams = streams
        self._queue: deque[Train | int] = deque()
        self._queue_bytes = 0
        self._congested = False
        self._filled = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send_all())]
        for flow, stream in enumerate(streams):
            self._tasks.append(asyncio.create_task(self._receive_all(stream, flow)))

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`."""
        if self._closed:
            return True
        for train in trains:
            if self._queue_bytes > QUEUE_BYTES_MAX:
                self._counts["send_dropped"] += train.datagram_count
                continue
            self._queue.append(train)
            self._queue_bytes += len(train.data)
        self._filled.set()
        self._congested = self._congested or self._queue_bytes > QUEUE_BYTES_HIGH
        return not self._congested

    def send_empty(self, flow: int) -> None:
        """See `RelayPort.send_empty`."""
        if len(self._queue) > CALLS_MAX:
            self._counts["send_dropped"] += 1
        elif not self._closed:
            self._queue.append(flow)
            self._filled.set()

    def counters(self) -> dict[str, int]:
        """Totals by the names in `stack.adapters.udp_sockets.COUNTERS`."""
        return dict(self._counts)

    async def close(self) -> None:
        """See `DatagramPort.close`."""
        if self._closed:
            return
        self._closed = True
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stream in self._streams:
            stream.close()
        await asyncio.sleep(0)  # transports release their sockets in the next round of the loop

    async def _send_all(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                train = self._queue.popleft()
                if isinstance(train, int):
                    self._send_nothing(train)
                    continue
                flow = train.flow if train.flow < len(self._streams) else FLOW_SOURCE
                for datagram in train.datagrams():
                    await self._send_one(datagram, flow)
                self._queue_bytes -= len(train.data)
                if self._congested and self._queue_bytes <= QUEUE_BYTES_HIGH // 2:
                    self._congested = False
                    self.on_writable()
                # A socket that always takes its datagram would keep this task running for ever.
                await asyncio.sleep(0)
            self._filled.clear()

    async def _send_one(self, datagram: memoryview, flow: int) -> None:
        address = self._peer.addresses[flow]
        if address is None:
            self._counts["send_dropped"] += 1
            return
        stream = self._streams[flow]
        while True:
            try:
                await stream.send(bytes(datagram), address)
            except asyncio_dgram.TransportClosed:
                self._counts["send_errors"] += 1
                return
            except OSError:
                # The stream tells of an earlier datagram's error (ICMP refused, no route) before
                # it sends this one, or when it is read; each error is told once.
                self._counts["send_errors"] += 1
                continue
            self._counts["sent_datagrams"] += 1
            self._counts["sent_bytes"] += len(datagram)
            return

    def _send_nothing(self, flow: int) -> None:
        """A datagram without octets, which the transports of asyncio swallow (until Python 3.13):
        by a handle of our own for their socket."""
        address = self._peer.addresses[flow]
        if address is None:
            self._counts["send_dropped"] += 1
            return
        with socket.socket(fileno=os.dup(self._streams[flow].socket.fileno())) as own:
            try:
                own.sendto(b"", address)
            except OSError:
                self._counts["send_errors"] += 1
                return
        self._counts["sent_datagrams"] += 1

    async def _receive_all(self, stream: DatagramServer, flow: int) -> None:
        counts = self._counts
        while True:
            try:
                datagram, address = await stream.recv()
            except asyncio_dgram.TransportClosed:
                return
            except OSError:
                counts["send_errors"] += 1
                continue
            if not (isinstance(address, tuple) and self._peer.accepts(address, flow)):
                counts["dropped_foreign"] += 1
                if isinstance(address, tuple):
                    self._peer.refuse(address)
            elif not datagram:
                if self.on_empty is not None:
                    self.on_empty(flow)
                else:
                    counts["dropped_empty"] += 1
            else:
                counts["received_datagrams"] += 1
                counts["received_bytes"] += len(datagram)
                self.on_receive([single(datagram, flow)])
