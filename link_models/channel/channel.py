"""One direction of a link: windows, rate, queue, light time, and every way to lose a datagram.

A channel is pure: it is told the time and answers with what arrives when.  The virtual network
and the real-time emulator share it.  It takes whole trains, and gives back whole trains where it
can, because a 400 Mbit/s pass is 21 million frames.  How datagrams are divided into trains changes
nothing of what happens to them.

Datagrams are sent one after the other at the rate of the window.  Whatever has been sent before
the window closes arrives, after the light time, also when that is after the close.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from link_models.channel.config import ChannelConfig, Window
from link_models.channel.fates import DAMAGED, OVERTAKEN, REASONS, TWICE, Fates, lost_by
from link_models.channel.trains import (
    ArrivedTrain,
    alone,
    arrival,
    datagram_of,
    octets_of,
    together,
)
from link_models.channel.transmitter import Transmitter
from link_models.loss.model import no_loss
from link_models.loss.rules import Corrupt, Duplicate, Reorder, Rule, UniformJitter
from link_models.noise import Mask, Times
from link_models.rng import Streams
from stack.core.train import Buffer, Train

DATAGRAMS_PER_CALL_MAX = 1_000_000
"""Datagrams of one train; the arrays over them stay at a few megabytes."""

FATES = (
    "offered",
    "delivered",
    "lost",
    "dropped_queue",
    "dropped_window",
    "duplicated",
    "corrupted",
    "reordered",
)


class Channel:
    """One direction of a link.  Calls must be in order of time."""

    def __init__(self, config: ChannelConfig, streams: Streams, name: str = "channel") -> None:
        """Takes the substreams `name`/loss, /jitter, /reorder, /duplicate and /corrupt where they
        are needed, and those of the rules under `name`/rules."""
        self.config = config
        rules = list(_rules(config, streams, name))
        self._losses = [(rule.loss, rule.cause) for rule in rules if rule.loss is not None]
        self._delays = [rule.delay for rule in rules if rule.delay is not None]
        self._reorders = [rule.reorder for rule in rules if rule.reorder is not None]
        self._copies = [rule.copy for rule in rules if rule.copy is not None]
        self._damages = [rule.damage for rule in rules if rule.damage is not None]
        self._in_turn = not (self._reorders or self._copies or self._damages)
        self._transmitter = Transmitter(config)
        self._arrived_ns = -math.inf
        self._fates: Fates | None = None
        """Those of the train that is being sent, if somebody wants to know."""
        self._counts = {f"{fate}_{unit}": 0 for fate in FATES for unit in ("datagrams", "bytes")}

    def counters(self) -> dict[str, int]:
        """Totals of datagrams and octets.  offered + duplicated = delivered + lost + dropped_queue
        + dropped_window; corrupted and reordered ones are delivered."""
        return dict(self._counts)

    def follow(self, earlier: Channel, now_ns: int) -> None:
        """Go on at `now_ns` where another channel of the same link ends, whose configuration is no
        longer true: what waits for its transmitter takes room and time in this one, and nothing
        overtakes what it has sent."""
        self._transmitter.take_over(earlier.backlog_bytes(now_ns), now_ns)
        self._arrived_ns = earlier._arrived_ns

    def window_at(self, now_ns: float) -> Window | None:
        """The window that is open at `now_ns`, or None."""
        return self._transmitter.window_at(now_ns)

    def delay_ns(self, now_ns: int) -> int:
        """Light time and equipment for what is sent now."""
        return round(self.config.delay.at_one(now_ns))

    def backlog_bytes(self, now_ns: int) -> int:
        """Octets that wait for the transmitter at `now_ns`, overhead included."""
        return self._transmitter.backlog_bytes(now_ns)

    def drained_ns(self, backlog_bytes: int, now_ns: int) -> int:
        """When the backlog will have fallen to `backlog_bytes`, if nothing more is sent."""
        return self._transmitter.drained_ns(backlog_bytes, now_ns)

    def send_told(self, train: Train, now_ns: int) -> tuple[list[ArrivedTrain], Fates]:
        """`send`, and what became of each datagram; nothing else is different."""
        self._fates = fates = Fates(train.datagram_count, now_ns)
        try:
            return self.send(train, now_ns), fates
        finally:
            self._fates = None

    def send(self, train: Train, now_ns: int) -> list[ArrivedTrain]:
        """Offer a train at `now_ns`; what arrives of it, in order of arrival."""
        octets, size = len(train.data), train.size
        count = -(-octets // size)
        assert 0 < count <= DATAGRAMS_PER_CALL_MAX
        counts = self._counts
        counts["offered_datagrams"] += count
        counts["offered_bytes"] += octets
        window = self._transmitter.window_at(now_ns)
        if window is None:
            self._count_out("dropped_window", count, octets)
            if self._fates is not None:
                self._fates.lost(range(count), REASONS["dropped_window"])
            return []
        if count == 1:
            return self._send_one(train, octets, window, now_ns)
        if octets % size and not self._transmitter.fits(count, size, octets, window, now_ns):
            # A short last datagram may fit where one before it did not.
            whole = (count - 1) * size
            view = memoryview(train.data)
            got = self._send_many(Train(view[:whole], size, train.flow), window, now_ns)
            tail = Train(view[whole:], octets - whole, train.flow)
            if self._fates is not None:
                self._fates.first = count - 1
            return sorted(got + self._send_one(tail, len(tail.data), window, now_ns), key=arrival)
        return self._send_many(train, window, now_ns)

    def _send_many(self, train: Train, window: Window, now_ns: int) -> list[ArrivedTrain]:
        octets, size = len(train.data), train.size
        count = -(-octets // size)
        sent = self._transmitter.send(count, size, octets, window, now_ns)
        kept = len(sent)
        if kept < count:
            self._count_out(self._transmitter.reason, count - kept, octets - kept * size)
            if self._fates is not None:
                self._fates.lost(range(kept, count), REASONS[self._transmitter.reason])
            if not kept:
                return []
        tail_bytes = min(size, octets - (kept - 1) * size)
        lost: Mask | None = None
        for model, cause in self._losses:
            mask = model.lost_many(sent, size, tail_bytes)
            lost = mask if lost is None else lost | mask
            if self._fates is not None:
                self._fates.lost(np.flatnonzero(mask).tolist(), lost_by(cause))
        arrivals = sent + self.config.delay.at(sent)
        for slower in self._delays:
            arrivals += slower.delay_many(sent)
        survivors = np.arange(kept) if lost is None else np.flatnonzero(~lost)
        if len(survivors) < kept:
            assert lost is not None
            gone = np.flatnonzero(lost)
            self._count_out("lost", len(gone), octets_of(gone, size, octets))
            arrivals = arrivals[survivors]
        if self._in_turn:
            if not len(survivors):
                return []
            # A delay that falls faster than time passes would let light overtake light.
            arrivals = self._in_order(arrivals)
            if self._fates is not None:
                self._fates.arrive(survivors.tolist(), arrivals.tolist())
            return self._deliver(train, survivors, arrivals)
        return self._disturb(train, sent, survivors, arrivals)

    def _send_one(
        self, train: Train, octets: int, window: Window, now_ns: int
    ) -> list[ArrivedTrain]:
        """The same for a single datagram, without arrays."""
        sent_ns = self._transmitter.send_one(octets, window, now_ns)
        if sent_ns is None:
            self._count_out(self._transmitter.reason, 1, octets)
            if self._fates is not None:
                self._fates.lost((0,), REASONS[self._transmitter.reason])
            return []
        arrival_ns = sent_ns + self.config.delay.at_one(sent_ns)
        for slower in self._delays:
            arrival_ns += slower.delay(sent_ns)
        lost = False
        for model, cause in self._losses:
            if model.lost(octets, int(sent_ns)):
                lost = True
                if self._fates is not None:
                    self._fates.lost((0,), lost_by(cause))
        if not self._in_turn:
            return self._disturb_one(train, octets, sent_ns, arrival_ns, lost)
        if lost:
            self._count_out("lost", 1, octets)
            return []
        if arrival_ns < self._arrived_ns:
            arrival_ns = self._arrived_ns
        self._arrived_ns = arrival_ns
        if self._fates is not None:
            self._fates.arrive((0,), (arrival_ns,))
        counts = self._counts
        counts["delivered_datagrams"] += 1
        counts["delivered_bytes"] += octets
        return [ArrivedTrain(round(arrival_ns), train)]

    def _disturb_one(
        self, train: Train, octets: int, sent_ns: float, arrival_ns: float, lost: bool
    ) -> list[ArrivedTrain]:
        """`_disturb` for a single datagram."""
        late_ns = sum([model.delay(sent_ns) for model in self._reorders])
        draws = [(model, model.draw(sent_ns)) for model in self._damages]
        copies_ns = [model.copy(sent_ns) for model in self._copies]
        if lost:
            self._count_out("lost", 1, octets)
            return []
        self._arrived_ns = max(arrival_ns, self._arrived_ns)
        arrival_ns = self._arrived_ns + late_ns
        self._count_out("delivered", 1, octets)
        if late_ns:
            self._count_out("reordered", 1, octets)
        damaged: Buffer = train.data
        for model, how in draws:
            if how is not None:
                damaged = model.damage(damaged, how)
        if damaged is not train.data:
            self._count_out("corrupted", 1, octets)
        if self._fates is not None:
            self._fates.arrive((0,), (arrival_ns,))
            self._fates.note((0,) if late_ns else (), OVERTAKEN)
            self._fates.note((0,) if damaged is not train.data else (), DAMAGED)
            self._fates.note([0 for later_ns in copies_ns if later_ns is not None], TWICE)
        deliveries = [alone(damaged, train.flow, arrival_ns)]
        for later_ns in copies_ns:
            if later_ns is not None:
                self._count_out("duplicated", 1, octets)
                self._count_out("delivered", 1, octets)
                deliveries.append(alone(train.data, train.flow, arrival_ns + later_ns))
        return deliveries

    def _in_order(self, arrivals: Times) -> Times:
        if arrivals[0] < self._arrived_ns:
            arrivals[0] = self._arrived_ns
        np.maximum.accumulate(arrivals, out=arrivals)
        self._arrived_ns = float(arrivals[-1])
        return arrivals

    def _disturb(
        self, train: Train, sent: Times, survivors: NDArray[np.intp], arrivals: Times
    ) -> list[ArrivedTrain]:
        """Reordering, corruption and duplication."""
        # Every rule is asked about everything that was sent: its luck is its own.
        late_ns = [model.delay_many(sent)[survivors] for model in self._reorders]
        draws = [(model, *model.draw_many(sent)) for model in self._damages]
        copies = [model.copies(sent) for model in self._copies]
        if not len(survivors):
            return []
        arrivals = self._in_order(arrivals)
        single = np.zeros(len(survivors), np.bool_)
        for extra_ns in late_ns:
            # The others keep their times, so nothing but the late ones is out of its turn.
            arrivals = arrivals + extra_ns
            single |= extra_ns > 0
        self._count("reordered", survivors[single], train)
        if self._fates is not None:
            self._fates.arrive(survivors.tolist(), arrivals.tolist())
            self._fates.note(survivors[single].tolist(), OVERTAKEN)
        damaged: dict[int, Buffer] = {}
        for model, chosen, how in draws:
            for index in survivors[chosen[survivors]].tolist():
                before = damaged.get(index, datagram_of(train, index))
                damaged[index] = model.damage(before, float(how[index]))
        if self._fates is not None:
            self._fates.note(damaged, DAMAGED)
        if damaged:
            broken = np.isin(survivors, list(damaged))
            single |= broken
            self._count("corrupted", survivors[broken], train)
        deliveries = self._deliver(train, survivors[~single], arrivals[~single])
        for place in np.flatnonzero(single).tolist():
            index = int(survivors[place])
            datagram = damaged.get(index, datagram_of(train, index))
            deliveries.append(alone(datagram, train.flow, arrivals[place]))
        self._count("delivered", survivors[single], train)
        for chosen, later_ns in copies:
            twice = np.flatnonzero(chosen[survivors])
            self._count("duplicated", survivors[twice], train)
            if self._fates is not None:
                self._fates.note(survivors[twice].tolist(), TWICE)
            self._count("delivered", survivors[twice], train)
            for place in twice.tolist():
                index = int(survivors[place])
                at_ns = arrivals[place] + later_ns[index]
                deliveries.append(alone(datagram_of(train, index), train.flow, at_ns))
        deliveries.sort(key=arrival)
        return deliveries

    def _deliver(
        self, train: Train, survivors: NDArray[np.intp], arrivals: Times
    ) -> list[ArrivedTrain]:
        self._count("delivered", survivors, train)
        return together(train, survivors, arrivals, self.config.coalesce_ns)

    def _count(self, what: str, indices: NDArray[np.intp], train: Train) -> None:
        if len(indices):
            self._count_out(what, len(indices), octets_of(indices, train.size, len(train.data)))

    def _count_out(self, what: str, datagrams: int, octets: int) -> None:
        self._counts[what + "_datagrams"] += datagrams
        self._counts[what + "_bytes"] += octets


def _rules(config: ChannelConfig, streams: Streams, name: str) -> Iterator[Rule]:
    """What the configuration says, as rules."""
    if config.loss is not no_loss:
        yield Rule(loss=config.loss(streams.stream(f"{name}/loss")))
    if config.jitter_ns:
        yield Rule(delay=UniformJitter(streams.stream(f"{name}/jitter"), config.jitter_ns))
    if config.reorder_probability and config.reorder_ns_max:
        yield Rule(
            reorder=Reorder(
                streams.stream(f"{name}/reorder"),
                probability=config.reorder_probability,
                late_ns_max=config.reorder_ns_max,
            )
        )
    if config.duplicate_probability:
        yield Rule(
            copy=Duplicate(
                streams.stream(f"{name}/duplicate"),
                probability=config.duplicate_probability,
                later_ns_max=config.duplicate_ns_max,
            )
        )
    if config.corrupt_probability:
        yield Rule(
            damage=Corrupt(
                streams.stream(f"{name}/corrupt"),
                probability=config.corrupt_probability,
                bits_max=config.corrupt_bits_max,
            )
        )
    for factory in config.rules:
        yield factory(streams, name)
