"""UDP on Linux with segmentation offload: whole trains of datagrams in one system call.

The kernel takes and gives trains itself: `UDP_SEGMENT` (GSO) cuts a buffer into datagrams on the
way out and `UDP_GRO` joins datagrams of one size on the way in (udp(7)).  Where either is missing
the same code works datagram by datagram.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections import deque
from collections.abc import Sequence

from stack.adapters.udp_sockets import CALLS_MAX, Peer, PeerPort
from stack.core.train import FLOW_SOURCE, Buffer, Train

UDP_SEGMENT = 103  # linux/udp.h
UDP_GRO = 104
SO_RXQ_OVFL = 40  # asm-generic/socket.h

MSG_TRUNC = int(socket.MSG_TRUNC)  # as a plain number: the flag type is slow

GSO_SEGMENTS_MAX = 64
"""UDP_MAX_SEGMENTS of every kernel that has GSO (newer ones allow 128)."""

GSO_BYTES_MAX = 65_000
"""Octets of one GSO call: they must fit in one IP packet with its headers and options."""

RECEIVE_BYTES_MAX = 65_536
"""Room for one receive call: more than the largest datagram or GRO train."""

ARENA_BYTES = 4 * RECEIVE_BYTES_MAX
"""Received trains are cut from buffers of this size.  A receiver that keeps a slice keeps the
buffer alive, so larger would let small leftovers hold much memory."""

RECEIVES_PER_WAKEUP = 32
"""Receive calls before other work of the loop gets its turn: up to 2 MiB, about a millisecond."""

PENDING_BYTES_MAX = 16 * 1024 * 1024
"""Octets kept for a socket that does not take them; what comes on top of it is dropped."""

CONTROL_BYTES = 2 * socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0

GSO_REFUSALS = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP})
"""Answers to a GSO call that mean this size (above the MTU) or this device cannot do it."""

_Call = tuple["_Flow", list[Buffer], int, int]
"""One send call: flow, pieces, octets a datagram, octets in all."""


class _Flow:
    """One of the two sockets of a port."""

    def __init__(self, sock: socket.socket, flow: int) -> None:
        self.sock = sock
        self.flow = flow
        self.kernel_drops = 0
        self.arena = memoryview(bytearray(ARENA_BYTES))
        self.used = 0
        self.gso_size_max = 0
        with contextlib.suppress(OSError):
            sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
            self.gso_size_max = GSO_BYTES_MAX
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)


class LinuxUdpPort(PeerPort):
    """A `stack.ports.datagram.RelayPort` over one or two UDP sockets of its own."""

    def __init__(self, sockets: Sequence[socket.socket], peer: Peer) -> None:
        """Takes the sockets (non-blocking, bound; source flow first) and closes them in the end.
        Raises `NotImplementedError` on a loop without `add_reader`."""
        super().__init__(peer, sockets[0].getsockname())
        self._loop = asyncio.get_running_loop()
        self._flows = [_Flow(sock, flow) for flow, sock in enumerate(sockets)]
        self._calls: deque[_Call] = deque()
        self._pending_bytes = 0
        self._blocked: _Flow | None = None
        for flow in self._flows:
            self._loop.add_reader(flow.sock.fileno(), self._readable, flow)

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`.  Trains wait here only while the socket does not take them."""
        if self._closed:
            return True
        if self._pending_bytes > PENDING_BYTES_MAX:
            self._counts["send_dropped"] += sum(train.datagram_count for train in trains)
            return False
        self._plan(trains)
        if self._blocked is None:
            self._flush()
        return not self._calls

    def send_empty(self, flow: int) -> None:
        """See `RelayPort.send_empty`."""
        if self._closed:
            return
        if len(self._calls) > CALLS_MAX:
            self._counts["send_dropped"] += 1
            return
        # As any other call of one piece; `b""` is what the kernel makes an empty datagram of.
        self._calls.append((self._flows[flow], [b""], 1, 0))
        if self._blocked is None:
            self._flush()

    def counters(self) -> dict[str, int]:
        """Totals by the names in `stack.adapters.udp_sockets.COUNTERS`."""
        counts = dict(self._counts)
        counts["dropped_kernel"] = sum(flow.kernel_drops for flow in self._flows)
        return counts

    async def close(self) -> None:
        """See `DatagramPort.close`."""
        if self._closed:
            return
        self._closed = True
        self._calls.clear()
        for flow in self._flows:
            self._loop.remove_reader(flow.sock.fileno())
            self._loop.remove_writer(flow.sock.fileno())
            flow.sock.close()

    def _plan(self, trains: Sequence[Train]) -> None:
        """Turn trains into as few send calls as possible; neighbours of one size share a call."""
        calls, flows = self._calls, self._flows
        open_pieces: list[Buffer] = []
        open_size = open_flow = open_octets = limit = 0
        for data, size, flow_id in trains:
            octets = len(data)
            self._pending_bytes += octets
            if (
                open_octets
                and size == open_size
                and flow_id == open_flow
                and open_octets % size == 0
                and open_octets + octets <= limit
            ):
                open_pieces.append(data)
                open_octets += octets
                calls[-1] = (calls[-1][0], open_pieces, size, open_octets)
                continue
            flow = flows[flow_id if flow_id < len(flows) else FLOW_SOURCE]
            limit = size
            if size <= flow.gso_size_max:
                limit = max(1, min(GSO_SEGMENTS_MAX, GSO_BYTES_MAX // size)) * size
            if octets > limit:
                view = memoryview(data)
                for start in range(0, octets - limit, limit):
                    calls.append((flow, [view[start : start + limit]], size, limit))
                start = (octets - 1) // limit * limit
                data = view[start:]
                octets -= start
            open_pieces, open_size, open_flow, open_octets = [data], size, flow_id, octets
            calls.append((flow, open_pieces, size, octets))

    def _flush(self) -> None:
        """Send until everything is sent or a socket is full."""
        calls, counts = self._calls, self._counts
        addresses = self._peer.addresses
        while calls:
            flow, pieces, size, octets = calls[0]
            address = addresses[flow.flow]
            if address is None:
                self._drop(calls.popleft(), "send_dropped")
                continue
            try:
                if octets > size:
                    segment = size.to_bytes(2, sys.byteorder)
                    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)]
                    flow.sock.sendmsg(pieces, control, 0, address)
                else:
                    flow.sock.sendto(pieces[0], address)
            except (BlockingIOError, InterruptedError):
                self._blocked = flow
                self._loop.add_writer(flow.sock.fileno(), self._writable)
                return
            except OSError as error:
                call = calls.popleft()
                if octets > size and error.errno in GSO_REFUSALS:
                    self._without_gso(call)
                else:
                    # Refused by ICMP, no route, larger than the path takes: the datagrams are
                    # lost, as they could have been further on; the protocol above recovers.
                    self._drop(call, "send_errors")
                continue
            calls.popleft()
            self._pending_bytes -= octets
            counts["sent_datagrams"] += -(-octets // size) or 1
            counts["sent_bytes"] += octets

    def _writable(self) -> None:
        """The socket that was full has room again."""
        blocked = self._blocked
        if blocked is None:
            return
        self._loop.remove_writer(blocked.sock.fileno())
        self._blocked = None
        self._flush()
        if not self._calls and not self._closed:
            self.on_writable()

    def _drop(self, call: _Call, counter: str) -> None:
        _, _, size, octets = call
        self._pending_bytes -= octets
        self._counts[counter] += -(-octets // size) or 1

    def _without_gso(self, call: _Call) -> None:
        """Queue the datagrams of a refused GSO call one by one, and ask no more for this size."""
        flow, pieces, size, octets = call
        flow.gso_size_max = min(flow.gso_size_max, size - 1)
        whole = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        for start in reversed(range(0, octets, size)):
            datagram = whole[start : start + size]
            self._calls.appendleft((flow, [datagram], size, len(datagram)))

    def _readable(self, flow: _Flow) -> None:
        """Take what the socket has, up to a bound, and hand it up as trains."""
        trains: list[Train] = []
        counts, peer, receive = self._counts, self._peer, flow.sock.recvmsg_into
        arena, start, used, size = flow.arena, flow.used, flow.used, 0
        for _ in range(RECEIVES_PER_WAKEUP):
            if ARENA_BYTES - used < RECEIVE_BYTES_MAX:
                if used > start:
                    trains.append(Train(arena[start:used], size, flow.flow))
                arena = memoryview(bytearray(ARENA_BYTES))
                start = used = size = 0
            try:
                octets, control, flags, address = receive([arena[used:]], CONTROL_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                counts["send_errors"] += 1  # an ICMP error for something that was sent
                continue
            if address != peer.addresses[flow.flow] and not peer.accepts(address, flow.flow):
                counts["dropped_foreign"] += 1
                peer.refuse(address)
                continue
            if octets == 0 or flags & MSG_TRUNC:
                if octets:
                    counts["dropped_truncated"] += 1
                elif self.on_empty is None:
                    counts["dropped_empty"] += 1
                else:
                    if used > start:
                        trains.append(Train(arena[start:used], size, flow.flow))
                        start = used
                    if trains:  # what came before it goes first
                        self.on_receive(trains)
                        trains = []
                    self.on_empty(flow.flow)
                continue
            segment = _segment_size(control, flow) if control else 0
            if not 0 < segment < octets:
                segment = octets
            counts["received_datagrams"] += -(-octets // segment)
            counts["received_bytes"] += octets
            # Datagrams of one size lie behind each other whatever calls they came in: one train,
            # which a single shorter datagram ends.
            alike = segment == size or segment == octets < size
            if used == start:
                size = segment
            elif not alike or (used - start) % size:
                trains.append(Train(arena[start:used], size, flow.flow))
                start, size = used, segment
            used += octets
        if used > start:
            trains.append(Train(arena[start:used], size, flow.flow))
        flow.arena, flow.used = arena, used
        if trains:
            self.on_receive(trains)


def _segment_size(control: list[tuple[int, int, bytes]], flow: _Flow) -> int:
    """The segment size of a GRO train, or 0; takes note of the kernel's count of drops."""
    segment = 0
    for level, kind, data in control:
        value = int.from_bytes(data[:4], sys.byteorder)
        if level == socket.IPPROTO_UDP and kind == UDP_GRO:
            segment = value
        elif level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL:
            flow.kernel_drops = value
    return segment
