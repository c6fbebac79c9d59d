"""Faults between a node and its link, which can be switched off for good."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from link_models.clock import VirtualLoop
from link_models.network import VirtualPort
from stack.core.train import Train, single
from stack.ports.datagram import Received, Writable, ignore_received, ignore_writable

HEADERS_BYTES = 48
"""Corruption spares the first octets of a datagram: damage there is what checksums of the lower
layers find (then it is loss), while damage in the payload is what bundles must find themselves."""


@dataclass
class Faults:
    """What goes wrong, drawn from one seed; probabilities are per datagram."""

    loss: float
    duplicate: float
    reorder: float
    corrupt: float
    cuts: list[tuple[float, float]]
    restarts: int
    on: bool = True

    @classmethod
    def draw(cls, rng: random.Random, seconds: float) -> Faults:
        """Some of everything, sometimes nothing of one kind."""

        def maybe(most: float) -> float:
            return rng.choice([0.0, rng.uniform(0, most), rng.uniform(0, most)])

        cuts = []
        for _ in range(rng.randrange(4)):
            start = rng.uniform(0, seconds)
            cuts.append((start, start + rng.expovariate(1 / 4)))
        return cls(maybe(0.3), maybe(0.2), maybe(0.3), maybe(0.03), cuts, rng.choice([0, 1, 2, 4]))

    def cut(self, now_s: float) -> bool:
        """Whether the link is cut now."""
        return any(start <= now_s < end for start, end in self.cuts)


class FaultyPort:
    """A datagram port that does to each datagram what `Faults` says."""

    def __init__(
        self, port: VirtualPort, loop: VirtualLoop, faults: Faults, rng: random.Random
    ) -> None:
        self.on_receive: Received = ignore_received
        self.on_writable: Writable = ignore_writable
        self._port = port
        self._loop = loop
        self._faults = faults
        self._rng = rng
        port.reopen()
        port.on_receive = lambda trains: self.on_receive(trains)
        port.on_writable = lambda: self.on_writable()

    def send(self, trains: Sequence[Train]) -> bool:
        faults, rng = self._faults, self._rng
        if not faults.on:
            return self._port.send(trains)
        if faults.cut(self._loop.time()):
            return True
        kept: list[Train] = []
        for train in trains:
            for datagram in train.datagrams():
                if rng.random() < faults.loss:
                    continue
                octets = bytearray(datagram)
                if rng.random() < faults.corrupt and len(octets) > HEADERS_BYTES + 8:
                    octets[rng.randrange(HEADERS_BYTES, len(octets))] ^= 1 << rng.randrange(8)
                copies = 2 if rng.random() < faults.duplicate else 1
                for _ in range(copies):
                    if rng.random() < faults.reorder:
                        late = rng.uniform(0, 0.2)
                        self._loop.call_later(late, self._late, single(octets, train.flow))
                    else:
                        kept.append(single(octets, train.flow))
        return self._port.send(kept)

    def _late(self, train: Train) -> None:
        self._port.send([train])

    def counters(self) -> dict[str, int]:
        return self._port.counters()

    async def close(self) -> None:
        await self._port.close()
