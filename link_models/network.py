"""A network of simulated links in virtual time, with the interface of real sockets.

Nodes hold `VirtualPort` objects where they would hold UDP ports (`stack.ports.datagram`), and
cannot tell the difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from link_models.channel import Channel, ChannelConfig
from link_models.channel.fates import Fates
from link_models.clock import VirtualLoop
from link_models.rng import Streams
from stack.core.train import Train
from stack.ports.datagram import ignore_stranger

Tap = Callable[[int, str, Train], None]
"""`tap(at_ns, direction, train)` sees each train when it arrives; for traces and captures."""

Watch = Callable[[int, Train, Fates], None]
"""`watch(now_ns, train, fates)` sees each train when it is sent, and what becomes of it."""


class VirtualPort:
    """One end of a simulated link: a `stack.ports.datagram.DatagramPort`."""

    def __init__(
        self, loop: VirtualLoop, name: str, channel: Channel, back_pressure: bool, tap: Tap | None
    ) -> None:
        """`channel` carries what this end sends; made by `VirtualNetwork.connect`."""
        self.name = name
        self.channel = channel
        self.on_receive: Callable[[list[Train]], None] = _ignore_received
        self.on_writable: Callable[[], None] = _ignore_writable
        self.on_stranger: Callable[[str], None] = ignore_stranger
        self.watch: Watch | None = None
        self._loop = loop
        self._tap = tap
        self._peer: VirtualPort | None = None
        self.closed = False
        self._waiting = False
        self._high_bytes = channel.config.queue_bytes // 2 if back_pressure else None
        self.received_datagrams = 0
        self.received_bytes = 0

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`.  With back pressure it gives False while the queue of the
        transmitter is more than half full; otherwise it always gives True, like a socket before a
        modem, and what the queue does not hold is dropped."""
        if self.closed:
            return True
        loop, channel = self._loop, self.channel
        now_ns = loop.now_ns
        due_ns = -1
        together: list[Train] = []
        watch = self.watch
        for train in trains:
            if watch is None:
                deliveries = channel.send(train, now_ns)
            else:
                deliveries, fates = channel.send_told(train, now_ns)
                watch(now_ns, train, fates)
            for at_ns, arriving in deliveries:
                if at_ns != due_ns:
                    together = []
                    due_ns = at_ns
                    loop.call_at_ns(at_ns, self._arrive, together)
                together.append(arriving)
        return self._high_bytes is None or self._writable(now_ns, self._high_bytes)

    def counters(self) -> dict[str, int]:
        """The counters of the channel that this end sends into, and what it received."""
        return self.channel.counters() | {
            "received_datagrams": self.received_datagrams,
            "received_bytes": self.received_bytes,
        }

    async def close(self) -> None:
        """Stop; what is under way to the other end still arrives there."""
        self.closed = True

    def reopen(self) -> None:
        """Take part again after `close`: a restarted node finds its link where it was."""
        self.closed = False

    def _writable(self, now_ns: int, high_bytes: int) -> bool:
        if self._waiting:
            return False
        if self.channel.backlog_bytes(now_ns) <= high_bytes:
            return True
        self._waiting = True
        at_ns = self.channel.drained_ns(high_bytes // 2, now_ns)
        self._loop.call_at_ns(at_ns, self._drained)
        return False

    def _drained(self) -> None:
        self._waiting = False
        if not self.closed:
            self.on_writable()

    def _arrive(self, trains: list[Train]) -> None:
        peer = self._peer
        if self._tap is not None:
            for train in trains:
                self._tap(self._loop.now_ns, self.name, train)
        if peer is None or peer.closed:
            return
        for train in trains:
            peer.received_datagrams += -(-len(train.data) // train.size)
            peer.received_bytes += len(train.data)
        peer.on_receive(trains)


class VirtualNetwork:
    """Makes pairs of ports that are joined by channels."""

    def __init__(self, loop: VirtualLoop, streams: Streams, tap: Tap | None = None) -> None:
        self._loop = loop
        self._streams = streams
        self._tap = tap

    def connect(
        self,
        name: str,
        forward: ChannelConfig,
        backward: ChannelConfig | None = None,
        *,
        back_pressure: bool = True,
    ) -> tuple[VirtualPort, VirtualPort]:
        """Two ends of a new link: what the first sends goes through `forward`, what the second
        sends through `backward` (`forward` again when None, with its own luck).  `name` must be
        new in this network: the random substreams are `name`/forward/... and `name`/backward/..."""
        ports: list[VirtualPort] = []
        for direction, config in (("forward", forward), ("backward", backward or forward)):
            full = f"{name}/{direction}"
            channel = Channel(config, self._streams, full)
            ports.append(VirtualPort(self._loop, full, channel, back_pressure, self._tap))
        ports[0]._peer, ports[1]._peer = ports[1], ports[0]
        return ports[0], ports[1]


class TraceHash:
    """A tap that hashes everything that arrives: equal seeds must give equal digests."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def __call__(self, at_ns: int, direction: str, train: Train) -> None:
        head = f"{at_ns} {direction} {train.flow} {train.size} {len(train.data)}\n"
        self._hash.update(head.encode())
        self._hash.update(train.data)

    def hexdigest(self) -> str:
        """The digest of the run so far."""
        return self._hash.hexdigest()


def _ignore_received(trains: list[Train]) -> None:
    """A port that nobody uses yet."""


def _ignore_writable() -> None:
    """A port that nobody uses yet."""
