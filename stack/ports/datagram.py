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

Empty = Callable[[int], None]
"""Called with the flow of a datagram without any octets, in its turn among the trains."""


Stranger = Callable[[str], None]
"""Called with an address (`host:port`) that is not the peer's, once for each and for the first few:
what comes from it is dropped and counted."""


class DatagramPort(Protocol):
    """An unreliable link to one peer: datagrams may be lost, doubled, reordered or damaged.

    `on_receive`, `on_writable` and `on_stranger` are set by the user of the port and are called
    from its event loop, never from inside `send`.
    """

    on_receive: Received
    on_writable: Writable
    on_stranger: Stranger

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


class RelayPort(DatagramPort, Protocol):
    """A datagram port that keeps apart what trains cannot: datagrams without any octets.

    Protocols have no use for them; who passes on the traffic of others must not lose them.
    """

    on_empty: Empty | None
    """Set by the user of the port; with None such datagrams are dropped and counted."""

    @property
    def local_address(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """Where the port is bound."""
        ...

    @property
    def remote_address(self) -> tuple[str, int] | tuple[str, int, int, int] | None:
        """Who is at the other end, None as long as nobody is."""
        ...

    def send_empty(self, flow: int) -> None:
        """Send a datagram without octets after everything that was sent before it."""
        ...


def ignore_received(trains: list[Train]) -> None:
    """The `on_receive` of a port that nobody uses yet."""


def ignore_writable() -> None:
    """The `on_writable` of a port that nobody uses yet."""


def ignore_stranger(address: str) -> None:
    """The `on_stranger` of a port whose user does not care."""
