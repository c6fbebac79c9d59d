"""Where captures go, and what is put there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any, Final, Protocol

from stack.core import pcapng
from stack.core.packets import End, udp_packet
from stack.core.train import Train

CAPTURE_BYTES: Final = 1_000_000_000
"""Octets of a capture file, if nobody says otherwise."""

CAPTURE_BYTES_MIN: Final = 100_000
"""A train of datagrams must fit."""


class CaptureSink(Protocol):
    """A capture under way.  It never holds up who puts something there, and never fails: what it
    has no room for is counted and left out."""

    def announce(self, block: bytes) -> None:
        """A block that stands before the packets which follow, in each file of the capture."""
        ...

    def interface(self, name: str, linktype: int = pcapng.LINKTYPE_RAW) -> int:
        """Announce an interface; its place, for the packets of it."""
        ...

    def put(self, octets: int, packets: int, make: Callable[[], bytes]) -> None:
        """Take packets of about so many octets.  `make` gives their blocks; it is called later,
        in another thread it may be, or not at all."""
        ...

    def statistics(self) -> dict[str, Any]:
        """`path`, `packets` and `bytes` that were written, packets `left_out`, and `trouble`: why
        nothing more is written."""
        ...

    def close(self) -> None:
        """Finish the file.  May be repeated."""
        ...


def udp_blocks(
    place: int,
    time_ns: int,
    train: Train,
    ends: tuple[End, End],
    comments: Iterable[str] = (),
    outbound: bool | None = None,
) -> bytes:
    """The datagrams of a train as UDP from one end to the other, with a comment each, or none.
    Raises `LocalError`."""
    source, destination = ends
    return b"".join(
        pcapng.packet(
            place,
            time_ns,
            udp_packet(source, destination, datagram),
            comment=comment or "",
            outbound=outbound,
        )
        for datagram, comment in zip_longest(train.datagrams(), comments)
    )
