"""TCP connections across the link: two sockets each, and a stream for either direction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from link_models.channel import FOREVER_NS
from link_models.emulator.agenda import Agenda
from link_models.emulator.config import Address, SocketAddress, StreamFaults, TcpConfig
from link_models.emulator.direction import Direction
from link_models.emulator.side import StreamSide
from link_models.emulator.stream import Stream, StreamEvent
from link_models.emulator.tap import Stage, StreamId, StreamTap
from link_models.emulator.world import EmulatorTime
from stack.core.errors import ConfigError
from stack.core.train import Buffer

SEGMENTS_PER_TURN = 512
"""Segments that are offered before the sockets get their turn: some milliseconds of work."""

BACKLOG = 1024

COUNTERS = (
    "accepted",
    "too_many",
    "unreachable",
    "finished",
    "closed",
    "reset",
    "segments_resent",
    "forward_bytes",
    "backward_bytes",
)
"""Totals: connections taken; turned away because there were `connections_max`; that the program on
the far side refused; that ended in good order, by a limit, by RST; segments that were sent again;
octets handed to the programs."""


@dataclass(slots=True)
class StreamPath:
    """One direction for streams: its channel, its faults, and who waits for the channel."""

    direction: Direction
    faults: StreamFaults | None
    uniform: Callable[[], float]
    transmitter: StreamTransmitter


class StreamTransmitter:
    """Lets the streams of one direction onto the channel, a segment each in turn."""

    def __init__(self, direction: Direction, agenda: Agenda, world: EmulatorTime) -> None:
        self._direction = direction
        self._agenda = agenda
        self._world = world
        self._waiting: deque[_Half] = deque()
        self._job = agenda.job(self.serve)

    def wake(self, half: _Half) -> None:
        """A stream may have something for the channel."""
        if not half.waiting:
            half.waiting = True
            self._waiting.append(half)
        self._agenda.at(self._world.now(), self._job)

    def serve(self) -> None:
        """Offer what the link has room for now, and come back when it has more."""
        now_ns = self._world.now()
        waiting, direction = self._waiting, self._direction
        again_ns = FOREVER_NS
        passed_over = budget = 0
        while passed_over < len(waiting):
            half = waiting[0]
            next_ns = half.stream.next_ns(now_ns)
            if next_ns >= FOREVER_NS:
                waiting.popleft().waiting = False
                continue
            if next_ns > now_ns:
                again_ns = min(again_ns, next_ns)
                waiting.rotate(-1)
                passed_over += 1
                continue
            room_ns = direction.admits_ns(half.stream.next_octets(now_ns), now_ns)
            if room_ns > now_ns or budget >= SEGMENTS_PER_TURN:
                again_ns = min(again_ns, room_ns)  # and nobody else can send before
                break
            half.stream.offer(now_ns)
            half.schedule()
            budget += 1
            passed_over = 0
            waiting.rotate(-1)
        self._agenda.at(again_ns, self._job)


class _Half:
    """A stream from one side of a connection to the other."""

    def __init__(
        self,
        connection: Connection,
        path: StreamPath,
        back: StreamPath,
        source: StreamSide,
        sink: StreamSide,
    ) -> None:
        self.connection = connection
        self.path = path
        self.name = path.direction.name
        self._box = box = connection.box
        self._agenda = box.agenda
        faults = path.faults
        if faults is not None and path.uniform() >= faults.share:
            faults = None
        self.stream = Stream(
            path.direction,
            back.direction,
            box.config,
            faults,
            path.uniform,
            box.world.now(),
            self.lost,
        )
        self.source = source
        self.sink = sink
        self.waiting = False
        self.answered = True
        """Whether the program may write: not before the answer to its request is back."""

        self._job = box.agenda.job(self.deliver)

    def read(self, data: bytes) -> None:
        """See `Half`."""
        self.connection.read(self, data)

    def finish(self) -> None:
        """See `Half`."""
        self.connection.finish(self)

    def writable(self) -> None:
        """See `Half`."""
        self.connection.other(self).deliver()

    def sent(self) -> None:
        """The stream has been given something."""
        self.path.transmitter.wake(self)
        if not self.stream.wants_more:
            self.source.read(False)
        self.schedule()  # of an end that comes without octets

    def schedule(self) -> None:
        """Look again when something comes out."""
        self._agenda.at(self.stream.due_ns(), self._job)

    def lost(self, data: Buffer) -> None:
        """The link has lost a segment."""
        connection, name = self.connection, self.name
        if self._box.tap is not None:
            self._box.tap.stream(connection.about(name), "dropped", data, "")

    def deliver(self) -> None:
        """Write what has come out, unless the program does not read."""
        connection, sink, stream = self.connection, self.sink, self.stream
        now_ns = self._box.world.now()
        if connection.over:
            return
        if sink.full and not stream.opening and stream.broken_ns() > now_ns:
            self._agenda.at(stream.broken_ns(), self._job)
            return
        pieces, end = stream.take(now_ns)
        if pieces:
            connection.carried(self, pieces)
            sink.write(pieces, apart=stream.sliced)
        if end is not None:
            connection.ended(self, end)
        if connection.over:
            return
        if self.answered and stream.wants_more:
            self.source.read(True)
        self.schedule()


class Connection:
    """Two sockets, and what crosses between them."""

    def __init__(
        self, box: Connections, near: StreamSide, forth: StreamPath, back: StreamPath, to: Address
    ) -> None:
        """`near` has been accepted; `to` is the program on the far side."""
        self.box = box
        self.over = False
        self.ends: tuple[str, int] = ("", 0)
        self._to = to
        self._near = near
        self._far = StreamSide(self._gone)
        self._task: asyncio.Task[None] | None = None
        self._early: list[bytes | None] = []
        """What the near program wrote before it was answered (None: its end), as loops may read
        some of it whatever they are told."""

        self._forth = _Half(self, forth, back, near, self._far)
        self._back = _Half(self, back, forth, self._far, near)

    def begin(self) -> None:
        """The near socket is there; nothing was read from it yet."""
        self._near.half = self._forth
        transport = self._near.transport
        if transport is not None:
            self.ends = (transport.get_extra_info("peername") or ("", 0))[:2]
        if self.box.config.handshake:
            self._forth.answered = False
            # Only the next round of the loop may stop reading: some begin with it regardless.
            asyncio.get_running_loop().call_soon(self._read_later)
            self._mark(self._forth, "in", "SYN")
            self._forth.stream.open()
            self._forth.sent()
        else:
            self._connect()
            self._forth.schedule()
        self._back.schedule()

    def _read_later(self) -> None:
        if not self._forth.answered:
            self._near.read(False)

    def about(self, name: str) -> StreamId:
        """Which stream of this connection a tap sees."""
        return StreamId(name, self._forth.name, self.ends)

    def other(self, half: _Half) -> _Half:
        """The stream the other way."""
        return self._back if half is self._forth else self._forth

    def read(self, half: _Half, data: bytes) -> None:
        """A program has written."""
        if not half.answered:
            self._early.append(data)
            return
        tap = self.box.tap
        if tap is not None:
            tap.stream(self.about(half.path.direction.name), "in", data, "")
        half.stream.receive(data)
        half.sent()

    def finish(self, half: _Half) -> None:
        """A program will write no more."""
        if not half.answered:
            self._early.append(None)
            return
        self._mark(half, "in", "FIN")
        half.stream.finish()
        half.sent()

    def carried(self, half: _Half, pieces: list[Buffer]) -> None:
        """Octets are handed to a program."""
        name = half.path.direction.name
        self.box.counts[f"{name}_bytes"] += sum(map(len, pieces))
        tap = self.box.tap
        if tap is not None:
            for piece in pieces:
                tap.stream(self.about(name), "out", piece, "")

    def ended(self, half: _Half, end: StreamEvent) -> None:
        """Something other than octets has come out of a stream."""
        if end is StreamEvent.OPENED:
            self._mark(half, "out", "SYN")
            if half is self._forth:
                self._connect()
            else:
                self._answered()
            return
        if end is StreamEvent.FINISHED:
            self._mark(half, "out", "FIN")
            half.sink.finish()
            if self.other(half).stream.over:
                self._end("finished")
        elif end is StreamEvent.CLOSED:
            self._end("closed")
        else:
            self._mark(half, "out", "RST")
            self._end("reset")

    def lose(self, name: str, after_ns: int, until_ns: int, now_ns: int) -> tuple[int, int]:
        """See `Stream.lose`, for the stream in one direction."""
        half = self._forth if self._forth.name == name else self._back
        lost = half.stream.lose(after_ns, until_ns, now_ns)
        half.sent()
        return lost

    def abandon(self) -> None:
        """The box closes."""
        self._end("")

    def near_gone(self) -> None:
        """The socket that was accepted is closed."""
        self._gone(self._near)

    def _answered(self) -> None:
        """The near program may write, and what it wrote before leaves."""
        self._forth.answered = True
        early, self._early = self._early, []
        for data in early:
            if data is None:
                self.finish(self._forth)
            else:
                self.read(self._forth, data)
        self._near.read(self._forth.stream.wants_more)

    def _connect(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        host, port = self._to
        self._far.ready = self._reached
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._far, host, port)
        except OSError:
            if self._far.half is None:
                self.box.counts["unreachable"] += 1
            self._back.stream.reset()
            self._back.sent()
            return
        if self.over:
            self._far.reset()
            return
        self._far.read(self._back.stream.wants_more)
        self._forth.deliver()

    def _reached(self) -> None:
        """The far socket is there; nothing was read from it yet."""
        self._far.half = self._back
        if self.box.config.handshake:
            self._mark(self._back, "in", "SYN")
            self._back.stream.open()
            self._back.sent()

    def _gone(self, side: StreamSide) -> None:
        """A program has reset its side, or the network has."""
        half = self._forth if side is self._near else self._back
        if self.over:
            return
        self._mark(half, "in", "RST")
        half.stream.reset()
        half.sent()

    def _mark(self, half: _Half, stage: Stage, mark: str) -> None:
        tap = self.box.tap
        if tap is not None:
            tap.stream(self.about(half.path.direction.name), stage, b"", mark)

    def _end(self, how: str) -> None:
        if self.over:
            return
        self.over = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
        for side in (self._near, self._far):
            if how in ("finished", "closed"):
                side.close()
            else:
                side.reset()
        resent = self._forth.stream.resent + self._back.stream.resent
        self.box.done(self, how, resent)


class Connections:
    """Every TCP connection of an emulator, and the sockets that take them."""

    def __init__(self, config: TcpConfig, agenda: Agenda, world: EmulatorTime) -> None:
        self.config = config
        self.agenda = agenda
        self.world = world
        self.tap: StreamTap | None = None
        self.counts = dict.fromkeys(COUNTERS, 0)
        self._open: dict[Connection, None] = {}
        self._listeners: list[tuple[SocketAddress, StreamPath, StreamPath, Address]] = []
        self._servers: list[asyncio.Server] = []

    async def listen(
        self, local: SocketAddress, forth: StreamPath, back: StreamPath, to: Address
    ) -> int:
        """Take connections at `local` and make them anew to `to`; the port.  Raises `OSError`."""
        server = await self._serve(local, forth, back, to)
        port = int(server.sockets[0].getsockname()[1])
        self._listeners.append(((local[0], port, *local[2:]), forth, back, to))
        return port

    async def refuse(self, on: bool) -> None:
        """Have new connections refused by the system, or take them again.  Raises `ConfigError`
        when a port has been taken by somebody else meanwhile."""
        if on:
            for server in self._servers:
                server.close()
            self._servers.clear()
        elif not self._servers:
            for listener in self._listeners:
                try:
                    await self._serve(*listener)
                except OSError as error:
                    raise ConfigError("refuse", f"cannot listen again: {error}") from error

    @property
    def refusing(self) -> bool:
        """Whether new connections are refused."""
        return not self._servers

    def lose(self, name: str, after_ns: int, until_ns: int) -> tuple[int, int]:
        """Lose what would arrive after one link time and not after another, in one direction; how
        many segments and octets."""
        now_ns = self.world.now()
        lost = [one.lose(name, after_ns, until_ns, now_ns) for one in self._open]
        return sum(count for count, _ in lost), sum(octets for _, octets in lost)

    def reset_all(self) -> int:
        """Reset every connection; how many."""
        connections = list(self._open)
        for one in connections:
            one._end("reset")
        return len(connections)

    def done(self, connection: Connection, how: str, resent: int) -> None:
        """A connection is over."""
        self._open.pop(connection, None)
        self.counts["segments_resent"] += resent
        if how:
            self.counts[how] += 1

    def statistics(self) -> dict[str, int]:
        """Totals (`COUNTERS`), connections open now, and octets that they hold."""
        found = dict(self.counts)
        found["open"] = len(self._open)
        found["held_bytes"] = 0
        for connection in self._open:
            for half in (connection._forth, connection._back):
                found["held_bytes"] += half.stream.held_bytes
                found["segments_resent"] += half.stream.resent
        return found

    def close(self) -> None:
        """Reset everything.  May be repeated."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for connection in list(self._open):
            connection.abandon()

    async def _serve(
        self, local: SocketAddress, forth: StreamPath, back: StreamPath, to: Address
    ) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: self._accept(forth, back, to), local[0], local[1], backlog=BACKLOG
        )
        self._servers.append(server)
        return server

    def _accept(self, forth: StreamPath, back: StreamPath, to: Address) -> asyncio.Protocol:
        connection: Connection | None = None

        def ready() -> None:
            nonlocal connection
            if len(self._open) >= self.config.connections_max:
                self.counts["too_many"] += 1
                side.reset()
                return
            self.counts["accepted"] += 1
            connection = Connection(self, side, forth, back, to)
            self._open[connection] = None
            connection.begin()

        def gone(_: StreamSide) -> None:
            if connection is not None:
                connection.near_gone()

        side = StreamSide(gone)
        side.ready = ready
        return side
