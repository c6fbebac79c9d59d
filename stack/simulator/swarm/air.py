"""A node's end of a link, with what goes wrong there; it outlives the node's processes."""

from __future__ import annotations

import contextvars
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from link_models.clock import VirtualLoop
from link_models.network import VirtualPort
from stack.core.train import FLOW_SOURCE, Train, single
from stack.ports.datagram import (
    Received,
    Stranger,
    Writable,
    ignore_received,
    ignore_stranger,
    ignore_writable,
)
from stack.simulator.swarm import faults as kinds
from stack.simulator.swarm.faults import Fault
from stack.simulator.swarm.hostile import CONTROL_TYPES, Intruder
from stack.simulator.swarm.nonces import Nonces

SPARED_BYTES: Final = 48
"""Corruption spares the first octets of a datagram: damage to headers is what checksums of the
lower layers find (then it is loss), damage of the payload is what bundles must find themselves."""

REORDER_S: Final = 0.2
"""How late a datagram is at most that others overtake."""


class AirEnd:
    """What one node sends into a link, and hears from it."""

    def __init__(self, port: VirtualPort, loop: VirtualLoop, seed: str) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        """Datagrams: `sent` by processes, `forged`, `cut`, `lost`, `duplicated`, `reordered`,
        `corrupted`, `delayed`, `late` (not yet handed on), `passed` into the channel."""

        self.intruders: list[Intruder] = []
        """Those who hear what goes by, and send beside it."""

        self.genuine: set[int] | None = None
        """Digests of all that processes have sent here, where it has to be known."""

        self.coming: set[int] | None = None
        """`genuine` of the other end."""

        self.nonces: Nonces | None = None
        """Of what processes have signed, where they sign."""

        self.answers_bytes = 0
        """Octets of LTP reports, acknowledgements and cancellations that processes have sent."""

        self.heard_bytes = 0
        """Octets that have arrived here."""

        self._loop = loop
        self._rng = random.Random(seed)
        self._faults: list[Fault] = []
        self._cut = False
        self._chances: dict[str, float] = {}
        self._users: list[LinkPort] = []
        port.on_receive = self._received
        port.on_writable = self._writable

    def watch(self, *, hostile: bool) -> None:
        """Know what processes sign, and with `hostile` neighbours what they send."""
        self.nonces = Nonces()
        self.genuine = set() if hostile else None

    # ---- faults --------------------------------------------------------------------------

    def begin(self, fault: Fault) -> None:
        """A fault strikes this end."""
        self._faults.append(fault)
        self._apply_faults()

    def end(self, fault: Fault) -> None:
        """It is over."""
        self._faults.remove(fault)
        self._apply_faults()

    def _apply_faults(self) -> None:
        self._cut = any(fault.kind in (kinds.CUT, kinds.MUTE) for fault in self._faults)
        self._chances = {}
        for fault in self._faults:
            worst = self._chances.get(fault.kind, 0.0)
            self._chances[fault.kind] = max(worst, fault.amount)

    # ---- datagrams -----------------------------------------------------------------------

    def join(self, user: LinkPort) -> None:
        """A process opens this end."""
        self._users.append(user)

    def leave(self, user: LinkPort) -> None:
        """A process closes it."""
        if user in self._users:
            self._users.remove(user)

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`."""
        count = 0
        for train in trains:
            count += train.datagram_count
            if train.flow == FLOW_SOURCE and train.data[0] & 15 >= CONTROL_TYPES:
                self.answers_bytes += len(train.data)
            if self.nonces is not None:
                self.nonces.hear(train)
            if self.genuine is not None:
                self.genuine.update(hash(bytes(one)) for one in train.datagrams())
        counts = self.counts
        counts["sent"] += count
        for intruder in self.intruders:
            for train in trains:
                intruder.hear(train)
        if not self._faults:
            counts["passed"] += count
            return self.port.send(trains)
        if self._cut:
            counts["cut"] += count
            return True
        kept: list[Train] = []
        for train in trains:
            for datagram in train.datagrams():
                self._one(datagram, train.flow, kept)
        counts["passed"] += len(kept)
        return self.port.send(kept)

    def forge(self, trains: Sequence[Train]) -> None:
        """Somebody else sends these, as if they were this end's."""
        self.counts["forged"] += len(trains)
        self.counts["passed"] += len(trains)
        self.port.send(trains)

    def _one(self, datagram: memoryview, flow: int, kept: list[Train]) -> None:
        counts, rng, chances = self.counts, self._rng, self._chances
        if rng.random() < chances.get(kinds.LOSS, 0.0):
            counts["lost"] += 1
            return
        if rng.random() < chances.get(kinds.CORRUPT, 0.0):
            datagram = self._damaged(datagram)
        copies = 1
        if rng.random() < chances.get(kinds.DUPLICATE, 0.0):
            counts["duplicated"] += 1
            copies = 2
        for _ in range(copies):
            late_s = chances.get(kinds.DELAY, 0.0)
            if late_s:
                counts["delayed"] += 1
                late_s *= rng.random()
            if rng.random() < chances.get(kinds.REORDER, 0.0):
                counts["reordered"] += 1
                late_s += rng.uniform(0, REORDER_S)
            if late_s:
                counts["late"] += 1
                self._loop.call_later(late_s, self._late, single(datagram, flow))
            else:
                kept.append(single(datagram, flow))

    def _damaged(self, datagram: memoryview) -> memoryview:
        if len(datagram) <= SPARED_BYTES or datagram[0] & 15 >= CONTROL_TYPES:
            return datagram
        octets = bytearray(datagram)
        octets[self._rng.randrange(SPARED_BYTES, len(octets))] ^= 1 << self._rng.randrange(8)
        self.counts["corrupted"] += 1
        return memoryview(octets)

    def _late(self, train: Train) -> None:
        self.counts["late"] -= 1
        self.counts["passed"] += 1
        self.port.send([train])

    def _received(self, trains: list[Train]) -> None:
        for train in trains:
            self.heard_bytes += len(train.data)
        for user in tuple(self._users):
            user.context.run(user.hear, trains)

    def _writable(self) -> None:
        for user in tuple(self._users):
            user.context.run(user.writable)

    def problems(self) -> list[str]:
        """Datagrams that nobody can account for; once nothing is under way."""
        mine, channel = self.counts, self.port.counters()
        lines = []
        if mine["sent"] + mine["duplicated"] + mine["forged"] != sum(
            mine[key] for key in ("cut", "lost", "late", "passed")
        ):
            lines.append(f"the faulty end: {dict(mine)}")
        if mine["passed"] != channel["offered_datagrams"]:
            lines.append(f"handed on {mine['passed']}, offered {channel['offered_datagrams']}")
        came = channel["offered_datagrams"] + channel["duplicated_datagrams"]
        went = sum(
            channel[key + "_datagrams"]
            for key in ("delivered", "lost", "dropped_queue", "dropped_window")
        )
        if came != went:
            lines.append(f"the channel: {came} came and {went} went, {channel}")
        return lines


class LinkPort:
    """One process's hold of an `AirEnd`: a `stack.ports.datagram.DatagramPort`."""

    def __init__(
        self, end: AirEnd, context: contextvars.Context, heard: Callable[[], None]
    ) -> None:
        """`heard` is called before each arrival."""
        self.on_receive: Received = ignore_received
        self.on_writable: Writable = ignore_writable
        self.on_stranger: Stranger = ignore_stranger
        self.context = context
        self.silent = False
        """The process is gone: whatever its remains do, nothing leaves and nothing is heard."""

        self.genuine = 0
        """Datagrams that have arrived just as the neighbour sent them, where that is known."""

        self._end = end
        self._heard = heard
        end.join(self)

    def send(self, trains: Sequence[Train]) -> bool:
        """See `DatagramPort.send`."""
        return True if self.silent else self._end.send(trains)

    def hear(self, trains: list[Train]) -> None:
        """Something has arrived."""
        if not self.silent:
            self._heard()
        if not self.silent:
            sent = self._end.coming
            if sent is not None:
                self.genuine += sum(
                    hash(bytes(one)) in sent for train in trains for one in train.datagrams()
                )
            self.on_receive(trains)

    def writable(self) -> None:
        """The transmitter takes trains again."""
        if not self.silent:
            self.on_writable()

    def counters(self) -> dict[str, int]:
        """See `DatagramPort.counters`."""
        return self._end.port.counters()

    async def close(self) -> None:
        """See `DatagramPort.close`."""
        self.silent = True
        self._end.leave(self)
