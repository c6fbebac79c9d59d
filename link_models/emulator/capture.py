"""What crosses the link, as a capture that Wireshark reads.

pcapng with nanosecond times and an interface for each place where something is seen: what enters
the link and what leaves it, for each direction.  A datagram that enters has what becomes of it as
its comment; segments of TCP, which are made up, are told of by interfaces of their own when they
are lost.  Packets are bare IP with the addresses of the programs and of the box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from link_models.emulator.config import SocketAddress
from link_models.emulator.datagrams import FLOW_EMPTY
from link_models.emulator.tap import Stage, StreamId
from stack.core import pcapng
from stack.core.errors import LocalError
from stack.core.packets import End, end_of, tcp_packet, udp_packet
from stack.core.train import Buffer, Train
from stack.ports.capture import CaptureSink, udp_blocks

STREAMS_MAX: Final = 20_000
"""Streams whose sequence numbers are remembered; the oldest are forgotten first."""

PACKET_BYTES_MAX: Final = 65_400
"""Octets of payload in one packet: with its headers it must stay below 65,536."""

UNKNOWN: Final = end_of("0.0.0.0", 0)  # noqa: S104 - as a packet says unknown

INTERFACES: Final = (
    ("forward", "in", "A to link"),
    ("forward", "out", "link to B"),
    ("forward", "dropped", "A to B dropped"),
    ("backward", "in", "B to link"),
    ("backward", "out", "link to A"),
    ("backward", "dropped", "B to A dropped"),
)
OUTBOUND: Final = {"in": False, "out": True, "dropped": None}
"""As the box sees it."""

Addresses = Callable[[], dict[str, SocketAddress | None]]
"""The addresses of both programs and both sides of the box: `program_a`, `box_a`, `box_b`,
`program_b`; None as long as one is not known."""


class Capture:
    """A capture under way: a tap of datagrams and streams."""

    def __init__(self, sink: CaptureSink, addresses: Addresses, wall_ns: Callable[[], int]) -> None:
        """`wall_ns` gives nanoseconds since 1970."""
        self._sink = sink
        self._addresses = addresses
        self._wall_ns = wall_ns
        self._sequences: dict[tuple[StreamId, Stage], int] = {}
        self._places = {
            (direction, stage): sink.interface(name) for direction, stage, name in INTERFACES
        }

    def statistics(self) -> dict[str, Any]:
        """Where it goes and how much has been written."""
        return self._sink.statistics()

    def close(self) -> None:
        """Finish the file.  May be repeated."""
        self._sink.close()

    def entered(self, direction: str, train: Train, fates: list[str]) -> None:
        """Datagrams that a program has sent, and what becomes of each."""
        self._datagrams(direction, "in", train, fates)

    def left(self, direction: str, train: Train) -> None:
        """Datagrams that are handed to a program."""
        self._datagrams(direction, "out", train)

    def stream(self, which: StreamId, stage: Stage, data: Buffer, mark: str) -> None:
        """Octets or a mark of a TCP connection; where it is cut into packets is made up."""
        ends = self._stream_ends(which, stage)
        comment = "lost; it is sent again" if stage == "dropped" else ""
        view = memoryview(data)
        # The other stream as this side of the link sees it, for the acknowledgement number.
        back = which._replace(direction=_other(which.direction))
        answered = self._sequences.get((back, "out" if stage == "in" else "in"), 0)
        key = which, stage
        if mark == "SYN" and which.direction != which.opened:
            mark = "SYN ACK"
        time_ns = self._wall_ns()
        place = self._places[which.direction, stage]
        at = 0
        while at < len(view) or mark:
            piece = view[at : at + PACKET_BYTES_MAX]
            sequence = self._sequences.pop(key, 0)
            if stage != "dropped":
                step = len(piece) + (mark in ("SYN", "SYN ACK", "FIN"))
                self._sequences[key] = sequence + step
            while len(self._sequences) > STREAMS_MAX:
                del self._sequences[next(iter(self._sequences))]
            make = partial(
                _segment, place, time_ns, ends, sequence, answered, mark, piece, comment,
                OUTBOUND[stage],
            )  # fmt: skip
            self._sink.put(len(piece), 1, make)
            at += max(1, len(piece))
            mark = ""

    def _datagrams(
        self, direction: str, stage: Stage, train: Train, comments: Iterable[str] = ()
    ) -> None:
        found = self._addresses()
        near, far = ("a", "b") if direction == "forward" else ("b", "a")
        if stage == "out":
            source, destination = found[f"box_{far}"], found[f"program_{far}"]
        else:
            source, destination = found[f"program_{near}"], found[f"box_{near}"]
        offset = train.flow & ~FLOW_EMPTY
        ends = _shifted(source, offset), _shifted(destination, offset)
        blocks = _empty if train.flow & FLOW_EMPTY else udp_blocks
        place = self._places[direction, stage]
        make = partial(blocks, place, self._wall_ns(), train, ends, comments, OUTBOUND[stage])
        self._sink.put(len(train.data), train.datagram_count, make)

    def _stream_ends(self, which: StreamId, stage: Stage) -> tuple[End, End]:
        """On the side where it was made a connection goes from the caller to the box, on the other
        side from the box, with the caller's port, to the program."""
        found = self._addresses()
        near, far = ("a", "b") if which.opened == "forward" else ("b", "a")
        forth = which.direction == which.opened
        if forth is (stage != "out"):
            ends = _numeric(which.caller), _numeric(found[f"box_{near}"])
        else:
            box = _numeric(found[f"box_{far}"])
            ends = (box[0], which.caller[1]), _numeric(found[f"program_{far}"])
        return ends if forth else (ends[1], ends[0])


def _segment(
    place: int,
    time_ns: int,
    ends: tuple[End, End],
    sequence: int,
    answered: int,
    mark: str,
    piece: Buffer,
    comment: str,
    outbound: bool | None,
) -> bytes:
    packet = tcp_packet(*ends, sequence, answered, mark, piece)
    return pcapng.packet(place, time_ns, packet, comment=comment, outbound=outbound)


def _empty(
    place: int,
    time_ns: int,
    train: Train,
    ends: tuple[End, End],
    comments: Iterable[str] = (),
    outbound: bool | None = None,
) -> bytes:
    """A datagram without octets, which crosses the link as one octet (`FLOW_EMPTY`)."""
    packet = udp_packet(*ends, b"")
    return pcapng.packet(place, time_ns, packet, comment="".join(comments), outbound=outbound)


def _other(direction: str) -> str:
    return "backward" if direction == "forward" else "forward"


def _shifted(address: SocketAddress | None, offset: int) -> End:
    host, port = _numeric(address)
    return host, port + offset if port else 0


def _numeric(address: SocketAddress | None) -> End:
    if address is None:
        return UNKNOWN
    try:
        return end_of(*address[:2])
    except LocalError:
        return UNKNOWN[0], address[1]  # a name that was not resolved
