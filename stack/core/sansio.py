"""The one verb set that every protocol engine speaks.

An engine holds protocol state and nothing else: no socket, clock, thread or randomness.  Whoever
drives it (a real socket, a virtual network, a fuzzer) does so only through these verbs.  Queries
never change state; input from a peer never raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from stack.core.train import Train

E_co = TypeVar("E_co", covariant=True)

Entropy = Callable[[int], bytes]
"""`entropy(n)` gives n unpredictable octets; tests and simulations inject a seeded one."""

Trace = Callable[[str, dict[str, Any]], None]
"""`trace(event, fields)`: a structured log sink.  Fields hold ints, floats, strs and bools."""


def no_trace(event: str, fields: dict[str, Any]) -> None:
    """The sink that keeps nothing."""


class DatagramEngine(Protocol[E_co]):
    """A sans-IO protocol engine over datagrams.  `now` is monotonic nanoseconds, never falling."""

    def receive(self, train: Train, now: int) -> None:
        """Take datagrams from the link, in the order in which they arrived."""
        ...

    def data_to_send(self, now: int) -> list[Train]:
        """Take everything that may go onto the link now; the caller sends it in this order."""
        ...

    def next_event(self) -> E_co | None:
        """Take the oldest event that nobody has taken yet, or None."""
        ...

    def next_deadline(self) -> int | None:
        """When `handle_deadline` wants to be called next, or None for never.  Changes nothing."""
        ...

    def handle_deadline(self, now: int) -> None:
        """Act on every timer that is due at `now`."""
        ...
