"""A link in a box: a UDP proxy that puts real programs at the two ends of a simulated channel.

Real time, no root and no kernel modules.  Each direction has one `Channel`, one queue of what is
under way and one timer; datagrams move in the trains that the kernel hands out (UDP GRO) and
takes (UDP GSO), where it knows them.

    program A  <->  listen_a | forward, backward | listen_b  <->  program B

A program sends to the box's address on its side and receives from it; with `repair_port` the port
above is carried too, over the same channel (the repair flow of FECFRAME, RFC 6363 §5.2).
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from link_models.channel import Channel, ChannelConfig, Delivery
from link_models.rng import Streams
from stack.core.clock import MICROSECOND, SECOND
from stack.core.errors import ConfigError
from stack.core.train import FLOW_REPAIR, Buffer, Train

Address = tuple[str, int]
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

UDP_SEGMENT, UDP_GRO, SO_RXQ_OVFL = 103, 104, 40  # Linux: linux/udp.h, asm-generic/socket.h
GSO_SEGMENTS_MAX = 64
GSO_BYTES_MAX = 65_000
RECEIVE_BYTES_MAX = 65_536
ARENA_BYTES = 8 * RECEIVE_BYTES_MAX

RECEIVES_PER_WAKEUP = 64
"""Receive calls before the timers get their turn: well below a millisecond of work."""

SEND_RETRY_S = 0.001
"""How long a full socket is left alone."""

PAIR_ATTEMPTS = 16
"""Tries to find two neighbouring free ports when any port will do."""

DELAY_BIN_NS = 50 * MICROSECOND
DELAY_BINS = 20_000
"""Histogram of the delay error: 50 microseconds a bin, up to one second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmulatorConfig:
    """Where the box listens and what its two directions do.

    Times in the channels (windows, delay profiles) count from the start of the emulator.
    """

    listen_a: Address
    """Address of the box on program A's side; port 0 takes any."""

    listen_b: Address
    """Address of the box on program B's side."""

    peer_a: Address | None = None
    """Where program A listens; None learns it from A's first datagram.  Only A's host is checked
    on what arrives, as not every program sends from the port on which it listens."""

    peer_b: Address | None = None
    """Where program B listens, likewise."""

    forward: ChannelConfig = field(default_factory=ChannelConfig)
    """From A to B."""

    backward: ChannelConfig | None = None
    """From B to A; None is like `forward`, with its own luck."""

    repair_port: bool = True
    """Carry the port above each of the four as well."""

    seed: int = 0
    """Of all random decisions."""

    socket_buffer_bytes: int = 32 * 1024 * 1024
    """Asked of the kernel for each socket (which caps it at net.core.rmem_max without
    privileges), so that a busy moment of the machine is not mistaken for the link's loss."""


class Emulator:
    """The box.  `run` serves until cancelled; `start` and `close` do it by hand."""

    def __init__(self, config: EmulatorConfig) -> None:
        self.config = config
        self._sides: list[_Side] = []
        self._directions: list[_Direction] = []

    @property
    def address_a(self) -> SocketAddress:
        """Where program A sends to, once started."""
        return self._sides[0].local

    @property
    def address_b(self) -> SocketAddress:
        """Where program B sends to, once started."""
        return self._sides[1].local

    async def start(self) -> None:
        """Open the sockets.  Raises `ConfigError`."""
        config = self.config
        for name, listen, peer in (
            ("a", config.listen_a, config.peer_a),
            ("b", config.listen_b, config.peer_b),
        ):
            try:
                self._sides.append(await _open_side(config, name, listen, peer))
            except BaseException:
                await self.close()
                raise
        loop, streams, epoch_ns = (
            asyncio.get_running_loop(),
            Streams(config.seed),
            time.monotonic_ns(),
        )
        for name, channel_config, source, sink in (
            ("forward", config.forward, self._sides[0], self._sides[1]),
            ("backward", config.backward or config.forward, self._sides[1], self._sides[0]),
        ):
            channel = Channel(channel_config, streams, name)
            direction = _Direction(loop, channel, sink, epoch_ns)
            self._directions.append(direction)
            source.serve(loop, direction)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop, and drop what is under way.  May be repeated."""
        for direction in self._directions:
            direction.close()
        for side in self._sides:
            side.close()

    def statistics(self) -> dict[str, dict[str, Any]]:
        """For forward and backward: the channel's counters, `under_way` (datagrams or trains in
        the queue), `socket_drops` (by the box's own sockets, which the model did not want) and the
        error of the delay, p50, p99 and maximum in milliseconds."""
        result = {}
        for name, direction, source in zip(
            ("forward", "backward"), self._directions, self._sides, strict=True
        ):
            result[name] = direction.statistics() | {
                "socket_drops": source.socket_drops + direction.send_errors,
                "foreign": source.foreign,
            }
        return result


class _Side:
    """The one or two sockets of the box that face one program."""

    def __init__(self, sockets: list[socket.socket], peer: SocketAddress | None) -> None:
        self.sockets = sockets
        self.peer = peer
        self.local: SocketAddress = sockets[0].getsockname()
        self.foreign = 0
        self.gso_size_max = 0
        self._kernel_drops = [0, 0]
        self._arenas = [memoryview(bytearray(ARENA_BYTES)) for _ in sockets]
        self._used = [0, 0]
        self._loop: asyncio.AbstractEventLoop | None = None
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
                self.gso_size_max = GSO_BYTES_MAX
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)

    @property
    def socket_drops(self) -> int:
        """Datagrams that the kernel dropped because we were too slow."""
        return sum(self._kernel_drops)

    def serve(self, loop: asyncio.AbstractEventLoop, direction: _Direction) -> None:
        self._loop = loop
        for flow, sock in enumerate(self.sockets):
            loop.add_reader(sock.fileno(), self._readable, flow, direction)

    def close(self) -> None:
        for sock in self.sockets:
            if self._loop is not None and sock.fileno() >= 0:
                self._loop.remove_reader(sock.fileno())
            sock.close()

    def _accepts(self, address: SocketAddress, flow: int) -> bool:
        if self.peer is None:
            base = address[1] - 1 if flow == FLOW_REPAIR else address[1]
            self.peer = (address[0], base, *address[2:])
        return address[0] == self.peer[0]

    def _readable(self, flow: int, direction: _Direction) -> None:
        """Drain a socket into trains and put them on the channel."""
        trains: list[Train] = []
        receive = self.sockets[flow].recvmsg_into
        arena, used = self._arenas[flow], self._used[flow]
        start, size = used, 0
        for _ in range(RECEIVES_PER_WAKEUP):
            if ARENA_BYTES - used < RECEIVE_BYTES_MAX:
                if used > start:
                    trains.append(Train(arena[start:used], size, flow))
                arena = memoryview(bytearray(ARENA_BYTES))
                start = used = 0
            try:
                octets, control, _flags, address = receive([arena[used:]], 64)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error for something that was sent: the program is not there
            if not octets or not self._accepts(address, flow):
                self.foreign += 1
                continue
            segment = octets
            for _level, kind, data in control:
                value = int.from_bytes(data[:4], sys.byteorder)
                if kind == UDP_GRO and 0 < value < octets:
                    segment = value
                elif kind == SO_RXQ_OVFL:
                    self._kernel_drops[flow] = value
            if used == start:
                size = segment
            elif segment != size or (used - start) % size:
                trains.append(Train(arena[start:used], size, flow))
                start, size = used, segment
            used += octets
        if used > start:
            trains.append(Train(arena[start:used], size, flow))
        self._arenas[flow], self._used[flow] = arena, used
        if trains:
            direction.offer(trains)

    def send(self, flow: int, pieces: list[Buffer], size: int, octets: int) -> None:
        """Send datagrams of one size in one call.  Raises `OSError`."""
        peer = self.peer
        if peer is None:
            raise OSError("nobody has been heard on this side yet")
        sock = self.sockets[flow]
        address = (peer[0], peer[1] + flow, *peer[2:])
        if octets <= size:
            sock.sendto(pieces[0], address)
        else:
            segment = size.to_bytes(2, sys.byteorder)
            sock.sendmsg(pieces, [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)], 0, address)


class _Direction:
    """A channel, what is under way on it, and one timer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, channel: Channel, sink: _Side, epoch_ns: int
    ) -> None:
        self.send_errors = 0
        self._loop = loop
        self._channel = channel
        self._sink = sink
        self._epoch_ns = epoch_ns
        self._queue: deque[Delivery] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._errors = [0] * (DELAY_BINS + 1)

    def offer(self, trains: list[Train]) -> None:
        """Put what has arrived from the program on the channel."""
        queue = self._queue
        now_ns = time.monotonic_ns() - self._epoch_ns
        head = queue[0] if queue else None
        for train in trains:
            for delivery in self._channel.send(train, now_ns):
                if queue and delivery.at_ns < queue[-1].at_ns:
                    bisect.insort_right(queue, delivery, key=_arrival)  # reordered on purpose
                else:
                    queue.append(delivery)
        if queue and queue[0] is not head:
            self._arm(now_ns)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()

    def statistics(self) -> dict[str, Any]:
        total = sum(self._errors)
        quantiles = {"delay_error_p50_ms": 0.5, "delay_error_p99_ms": 0.99, "delay_error_max_ms": 1}
        result: dict[str, Any] = dict(self._channel.counters())
        result["under_way"] = len(self._queue)
        for name, share in quantiles.items():
            seen, place = 0, -1
            while seen < share * total:
                place += 1
                seen += self._errors[place]
            result[name] = (place + 1) * DELAY_BIN_NS / 1e6
        return result

    def _arm(self, now_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = max(0, self._queue[0].at_ns - now_ns) / SECOND
        self._timer = self._loop.call_later(wait_s, self._due)

    def _due(self) -> None:
        """Send everything whose time has come, in as few calls as possible."""
        self._timer = None
        queue, sink, errors = self._queue, self._sink, self._errors
        now_ns = time.monotonic_ns() - self._epoch_ns
        while queue and queue[0].at_ns <= now_ns:
            taken, octets = self._take(now_ns)
            size, flow = taken[0].train.size, taken[0].train.flow
            try:
                sink.send(flow, [delivery.train.data for delivery in taken], size, octets)
            except BlockingIOError:
                queue.extendleft(reversed(taken))
                self._timer = self._loop.call_later(SEND_RETRY_S, self._due)
                return
            except OSError:
                if octets > size:
                    # Above the MTU, or a device that cannot: `_take` goes one by one from now on.
                    sink.gso_size_max = min(sink.gso_size_max, size - 1)
                    queue.extendleft(reversed(taken))
                    continue
                self.send_errors += 1
            sent_ns = time.monotonic_ns() - self._epoch_ns
            for at_ns, train in taken:
                place = min((sent_ns - at_ns) // DELAY_BIN_NS, DELAY_BINS)
                errors[place] += -(-len(train.data) // size)
        if queue:
            self._arm(now_ns)

    def _take(self, now_ns: int) -> tuple[list[Delivery], int]:
        """What is due and fits in one call, from the head of the queue; and its octets."""
        queue = self._queue
        at_ns, (data, size, flow) = queue.popleft()
        octets = len(data)
        limit = size
        if size <= self._sink.gso_size_max:
            limit = max(1, min(GSO_SEGMENTS_MAX, GSO_BYTES_MAX // size)) * size
        if octets > limit:
            view = memoryview(data)
            queue.appendleft(Delivery(at_ns, Train(view[limit:], size, flow)))
            return [Delivery(at_ns, Train(view[:limit], size, flow))], limit
        taken = [Delivery(at_ns, Train(data, size, flow))]
        while queue and octets % size == 0:
            following_ns, train = queue[0]
            if (
                following_ns > now_ns
                or train.size != size
                or train.flow != flow
                or octets + len(train.data) > limit
            ):
                break
            taken.append(queue.popleft())
            octets += len(train.data)
        return taken, octets


def _arrival(delivery: Delivery) -> int:
    return delivery.at_ns


async def _open_side(
    config: EmulatorConfig, name: str, listen: Address, peer: Address | None
) -> _Side:
    family, local = await _resolve(f"listen_{name}", listen, 0)
    remote = None if peer is None else (await _resolve(f"peer_{name}", peer, family))[1]
    for attempt in range(PAIR_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            port = local[1]
            for _ in range(2 if config.repair_port else 1):
                sock = socket.socket(family, socket.SOCK_DGRAM)
                sockets.append(sock)
                sock.setblocking(False)
                for force, plain in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):
                    try:
                        sock.setsockopt(socket.SOL_SOCKET, force, config.socket_buffer_bytes)
                    except OSError:
                        sock.setsockopt(socket.SOL_SOCKET, plain, config.socket_buffer_bytes)
                sock.bind((local[0], port, *local[2:]))
                port = sock.getsockname()[1] + 1
        except (OSError, OverflowError) as error:
            for sock in sockets:
                sock.close()
            if local[1] == 0 and attempt < PAIR_ATTEMPTS - 1:
                continue
            raise ConfigError(f"listen_{name}", f"cannot bind {listen}: {error}") from error
        return _Side(sockets, remote)
    raise AssertionError("unreachable: the last attempt returns or raises")


async def _resolve(key: str, address: Address, family: int) -> tuple[int, SocketAddress]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address[0] or None,
            address[1],
            family=family,
            type=socket.SOCK_DGRAM,
            flags=socket.AI_PASSIVE,
        )
    except OSError as error:
        raise ConfigError(key, f"cannot resolve {address[0]!r}: {error}") from error
    resolved_family, _, _, _, resolved = found[0]
    return resolved_family, (str(resolved[0]), int(resolved[1]), *resolved[2:])
