"""What the layers that put extensions into segments (RFC 5326 §3.1.4) have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from stack.core.errors import DecodeError
from stack.core.train import FLOW_SOURCE, Buffer, Train
from stack.engines.ltp.driver import Shim
from stack.engines.ltp.envelope import Envelope
from stack.wire.ltp import Extension, Segment, decode_segment


class Layer(ABC):
    """A shim above whatever else is between engine and link."""

    def __init__(self, inner: Shim | None) -> None:
        self._inner = inner

    def envelope(self) -> Envelope | None:
        """That of the layer below."""
        return None if self._inner is None else self._inner.envelope()

    def protect(self, trains: list[Train], now: int) -> list[Train]:
        """What this layer makes of trains that leave, and the one below of that."""
        down = [made for train in trains for made in self._down(train)]
        return down if self._inner is None else self._inner.protect(down, now)

    def recover(self, train: Train, now: int) -> list[Train]:
        """What arrived and passes."""
        if self._inner is not None:
            return self._up(self._inner.recover(train, now))
        return self._up([train]) if train.flow == FLOW_SOURCE else []

    def next_deadline(self) -> int | None:
        """That of the layer below."""
        return None if self._inner is None else self._inner.next_deadline()

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        """(trains to send, trains received that pass) that became due."""
        if self._inner is None:
            return [], []
        sent, received = self._inner.handle_deadline(now)
        return sent, self._up(received)

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Totals since the start."""

    @abstractmethod
    def _down(self, train: Train) -> list[Train]:
        """What leaves for a train of the engine's."""

    @abstractmethod
    def _up(self, trains: list[Train]) -> list[Train]:
        """What of trains that arrived passes, as the engine takes it."""


def segments(datagram: memoryview) -> Iterator[tuple[Segment | None, memoryview]]:
    """The segments of a datagram, each with its octets; None with the rest if that is none."""
    at = 0
    while at < len(datagram):
        start = at
        try:
            segment, at = decode_segment(datagram, start)
        except DecodeError:
            yield None, datagram[start:]
            return
        yield segment, datagram[start:at]


def without(extensions: Iterable[Extension], tag: int) -> tuple[Extension, ...]:
    """All but those with this tag."""
    return tuple(one for one in extensions if one.tag != tag)


def pack(datagrams: Sequence[Buffer], flow: int) -> list[Train]:
    """Trains of equal datagrams, only the last of each shorter."""
    trains: list[Train] = []
    run: list[Buffer] = []
    for datagram in datagrams:
        if run and (len(datagram) > len(run[0]) or len(run[-1]) < len(run[0])):
            trains.append(Train(b"".join(run), len(run[0]), flow))
            run = []
        run.append(datagram)
    if run:
        trains.append(Train(b"".join(run), len(run[0]), flow))
    return trains
