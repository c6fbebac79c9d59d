"""The datagram port: trains of datagrams to and from one peer, over a socket or simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from stack.core.train import Train

Received = Callable[[list[Train]], None]
"""Called with trains in the order of their arrival.  The receiver owns the buffers from then on:
the port never writes into them again, so they may be kept, sliced and passed on without a copy."""

Writable = Callable[[], None]
"""Called once after `send` has returned False, when the port takes trains again."""


class DatagramPort(Protocol):
    """An unreliable link to one peer: datagrams may be lost, doubled, reordered or damaged.

    `on_receive` and `on_writable` are set by the user of the port and are called from its event
    loop, never from inside `send`.
    """

    on_receive: Received
    on_writable: Writable

    def send(self, trains: Sequence[Train]) -> bool:
        """Send every datagram of `trains` in order; never blocks and never raises for the network.

        All trains are always taken (sent or queued); they must not be changed afterwards.  False
        means that a queue has formed: send no more until `on_writable` is called.  A port is
        allowed to drop, and counts, what comes in spite of that.
        """
        ...

    def counters(self) -> dict[str, int]:
        """Totals since the port was opened, by name."""
        ...

    async def close(self) -> None:
        """Stop, release the socket, drop what is queued; no callback follows.  May be repeated."""
        ...


def ignore_received(trains: list[Train]) -> None:
    """The `on_receive` of a port that nobody uses yet."""


def ignore_writable() -> None:
    """The `on_writable` of a port that nobody uses yet."""
