"""A datagram port that is captured: what is sent and what is received, when it is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial

from stack.core import pcapng
from stack.core.errors import LocalError
from stack.core.packets import End, end_of, exported_pdu
from stack.core.train import Train
from stack.ports.capture import CaptureSink, udp_blocks
from stack.ports.datagram import DatagramPort, Received, Stranger, Writable, ignore_received

PORT_LTP = 1113
"""UDP port of LTP (RFC 7122), by which Wireshark knows it."""


class CapturedPort:
    """A `stack.ports.datagram.DatagramPort` around another.

    Datagrams of UDP ports are written as UDP between the addresses that they have; those of other
    carriers as exported PDUs.  Only what the port takes and gives is seen: neither what comes from
    strangers nor what the system drops.
    """

    def __init__(
        self, port: DatagramPort, sink: CaptureSink, name: str, wall_ns: Callable[[], int]
    ) -> None:
        """`name` is that of the interface; `wall_ns` gives nanoseconds since 1970."""
        self.on_receive: Received = ignore_received
        self._port = port
        self._sink = sink
        self._wall_ns = wall_ns
        self._captured = 0
        self._local = _local_end(port)
        self._remote: object = None
        self._far: End | None = None
        linktype = pcapng.LINKTYPE_UPPER_PDU if self._local is None else pcapng.LINKTYPE_RAW
        self._place = sink.interface(name, linktype)
        port.on_receive = self._received

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`."""
        self._record(trains, outbound=True)
        return self._port.send(trains)

    @property
    def on_writable(self) -> Writable:
        """See `DatagramPort`."""
        return self._port.on_writable

    @on_writable.setter
    def on_writable(self, tell: Writable) -> None:
        self._port.on_writable = tell

    @property
    def on_stranger(self) -> Stranger:
        """See `DatagramPort`."""
        return self._port.on_stranger

    @on_stranger.setter
    def on_stranger(self, tell: Stranger) -> None:
        self._port.on_stranger = tell

    def counters(self) -> dict[str, int]:
        """Those of the port; datagrams that were `captured`, and of all that go to the same file
        those that were not (`capture_left_out`)."""
        left_out = self._sink.statistics()["left_out"]
        return {
            **self._port.counters(),
            "captured": self._captured,
            "capture_left_out": left_out,
        }

    async def close(self) -> None:
        """See `DatagramPort.close`; the capture is whose it is."""
        await self._port.close()

    def _received(self, trains: list[Train]) -> None:
        self._record(trains, outbound=False)
        self.on_receive(trains)

    def _record(self, trains: Sequence[Train], *, outbound: bool) -> None:
        time_ns = self._wall_ns()
        for train in trains:
            self._captured += train.datagram_count
            if self._local is None:
                make = partial(_exported, self._place, time_ns, train, outbound)
            else:
                ends = self._ends(self._local, train.flow)
                if not outbound:
                    ends = ends[::-1]
                make = partial(udp_blocks, self._place, time_ns, train, ends, (), outbound)
            self._sink.put(len(train.data), train.datagram_count, make)

    def _ends(self, local: End, flow: int) -> tuple[End, End]:
        """Ours and the peer's, as they are now: a peer may have to be learned."""
        remote = getattr(self._port, "remote_address", None)
        if remote is not self._remote or self._far is None:
            self._remote = remote
            unknown = "::" if local[0].version == 6 else "0.0.0.0"  # noqa: S104 - nobody's
            self._far = end_of(unknown, 0) if remote is None else end_of(*remote[:2])
        return (local[0], local[1] + flow), (self._far[0], self._far[1] + flow)


def _exported(place: int, time_ns: int, train: Train, outbound: bool) -> bytes:
    return b"".join(
        pcapng.packet(
            place, time_ns, exported_pdu(datagram, "udp.port", PORT_LTP), outbound=outbound
        )
        for datagram in train.datagrams()
    )


def _local_end(port: DatagramPort) -> End | None:
    """Where a UDP port sends from; None for other carriers."""
    try:
        host, number = port.local_address[:2]  # type: ignore[attr-defined]
        local = end_of(host, number)
    except (AttributeError, TypeError, ValueError, LocalError):
        return None
    remote = getattr(port, "remote_address", None)
    if local[0].is_unspecified and remote is not None:
        return end_of(_source_towards(remote) or host, number)
    return local


def _source_towards(remote: tuple[str, int]) -> str:
    """The address that the system sends from to another; nothing is sent to find out."""
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(remote)
            return str(sock.getsockname()[0])
    except OSError:
        return ""
