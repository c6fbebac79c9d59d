"""Who sees the streams of an emulator, such as its captures."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from stack.core.train import Buffer

Stage = Literal["in", "out", "dropped"]


class StreamId(NamedTuple):
    """One stream of one connection."""

    direction: str
    opened: str
    """The direction in which the connection was made."""

    caller: tuple[str, int]
    """Host and port of the program that made it."""


class StreamTap(Protocol):
    """Sees streams before and after the link, and the segments that the link loses."""

    def stream(self, which: StreamId, stage: Stage, data: Buffer, mark: str) -> None:
        """Octets, or a `mark`: SYN, FIN or RST."""
        ...
