"""Sockets for tests: UDP ports and TCP connections in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from link_models.channel import ChannelConfig
from link_models.clock import VirtualLoop
from link_models.emulator import Emulator, EmulatorConfig
from stack.core.train import Train

T = TypeVar("T")

A, B = ("192.0.2.1", 1000), ("192.0.2.2", 2000)
BOX_A, BOX_B = ("192.0.2.9", 5001), ("192.0.2.9", 6001)


class MemoryPort:
    """A UDP port of the box; what it sends is kept with the time of sending."""

    def __init__(self, local: Any, remote: Any) -> None:
        self.on_receive: Callable[[list[Train]], None] = lambda trains: None
        self.on_writable: Callable[[], None] = lambda: None
        self.on_stranger: Callable[[str], None] = lambda address: None
        self.on_empty: Callable[[int], None] | None = None
        self.local_address = local
        self.remote_address = remote
        self.sent: list[tuple[int, int, bytes]] = []
        self.closed = False

    def send(self, trains: Sequence[Train]) -> bool:
        for train in trains:
            self.sent += [(now_ns(), train.flow, bytes(one)) for one in train.datagrams()]
        return True

    def send_empty(self, flow: int) -> None:
        self.sent.append((now_ns(), flow, b""))

    def hears(self, *datagrams: bytes, flow: int = 0) -> None:
        """The program sends."""
        for datagram in datagrams:
            if datagram:
                self.on_receive([Train(datagram, len(datagram), flow)])
            elif self.on_empty is not None:
                self.on_empty(flow)

    @property
    def datagrams(self) -> list[bytes]:
        return [data for _, _, data in self.sent]

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        self.closed = True


class MemoryTransport(asyncio.Transport):
    """One end of a TCP connection in memory."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, peername: Any) -> None:
        super().__init__({"peername": peername})
        self.loop = loop
        self.protocol = protocol
        self.peer: MemoryTransport
        self.reading = True
        self.inbox: list[bytes | None] = []
        self.high = 64 * 1024
        self.blocked = False
        self.closed = False
        self.aborted = False
        self.finished = False
        self.writes: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or self.high

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.loop.call_soon(self._drain)

    def write(self, data: Any) -> None:
        if self.closed or self.finished:
            return
        self.writes.append(bytes(data))
        self.peer.inbox.append(bytes(data))
        self.loop.call_soon(self.peer._drain)
        if not self.peer.reading and self.peer.unread > self.high and not self.blocked:
            self.blocked = True
            self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.finished = True
        self.peer.inbox.append(None)
        self.loop.call_soon(self.peer._drain)

    def close(self) -> None:
        if not self.closed:
            if not self.finished:
                self.write_eof()
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        if self.closed:
            return
        self.closed = self.aborted = True
        self.loop.call_soon(self.protocol.connection_lost, None)
        self.loop.call_soon(self.peer._reset)

    @property
    def unread(self) -> int:
        return sum(len(data or b"") for data in self.inbox)

    def _reset(self) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connection_lost(ConnectionResetError())

    def _drain(self) -> None:
        while self.inbox and self.reading and not self.closed:
            data = self.inbox.pop(0)
            if data is None:
                self.protocol.eof_received()
            else:
                self.protocol.data_received(data)
        if self.peer.blocked and self.unread <= self.peer.high // 4:
            self.peer.blocked = False
            self.peer.protocol.resume_writing()


class Program(asyncio.Protocol):
    """A program at one end of a connection: what it heard, and when."""

    def __init__(self, loop: MemoryLoop) -> None:
        self.loop = loop
        self.heard: list[tuple[int, bytes]] = []
        self.ended_ns: int | None = None
        self.reset_ns: int | None = None
        self.transport: MemoryTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append((self.loop.now_ns, data))

    def eof_received(self) -> bool:
        self.ended_ns = self.loop.now_ns
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.reset_ns = self.loop.now_ns

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.heard)


class MemoryServer:
    """What `create_server` gives."""

    def __init__(self, loop: MemoryLoop, address: tuple[str, int]) -> None:
        self._loop = loop
        self._address = address
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def close(self) -> None:
        self._loop.servers.pop(self._address, None)


class MemoryLoop(VirtualLoop):
    """Virtual time with TCP in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[tuple[str, int], Callable[[], Any]] = {}
        self.ports: list[MemoryPort] = []

    async def open_port(self, local: Any, remote: Any = None, **options: Any) -> MemoryPort:
        port = MemoryPort(local, remote)
        self.ports.append(port)
        return port

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any, port: Any, **options: Any
    ) -> Any:
        if (host, port) in self.servers:
            raise OSError(98, "Address already in use")
        self.servers[host, port] = factory
        return MemoryServer(self, (host, port))

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any, port: Any, **options: Any
    ) -> Any:
        protocol = factory()
        return self._join(protocol, (host, port), ("192.0.2.9", 40_000)), protocol

    def connect(self, address: Any, caller: tuple[str, int] = A) -> Program:
        """A program connects."""
        program = Program(self)
        self._join(program, address, caller)
        return program

    def listen(self, address: tuple[str, int]) -> list[Program]:
        """A program listens; the connections that it gets."""
        found: list[Program] = []

        def made() -> Program:
            found.append(Program(self))
            return found[-1]

        self.servers[address] = made
        return found

    def _join(self, protocol: Any, address: Any, caller: Any) -> MemoryTransport:
        factory = self.servers.get((address[0], address[1]))
        if factory is None:
            raise ConnectionRefusedError(111, "Connection refused")
        other = factory()
        ours, theirs = (
            MemoryTransport(self, one, name) for one, name in ((protocol, address), (other, caller))
        )
        ours.peer, theirs.peer = theirs, ours
        protocol.connection_made(ours)
        other.connection_made(theirs)
        return ours


def now_ns() -> int:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.now_ns


def in_memory(main: Callable[[MemoryLoop], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in virtual time."""
    loop = MemoryLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main(loop))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def start(
    loop: MemoryLoop, forward: ChannelConfig, backward: ChannelConfig | None = None, **options: Any
) -> Emulator:
    """An emulator between A and B, all in memory."""
    options = {"peer_a": A, "peer_b": B} | options
    config = EmulatorConfig(
        listen_a=BOX_A, listen_b=BOX_B, forward=forward, backward=backward, **options
    )
    emulator = Emulator(config, loop.open_port, clock=lambda: loop.now_ns)
    await emulator.start()
    return emulator
