"""The kinds of disturbances that do not come from the sky, one class each."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from link_models.disturbances.disturbance import FOREVER_S, Base, Duration, Moment, RandomSource
from link_models.loss.bursts import FourStates, GilbertElliott
from link_models.loss.model import Bernoulli, BitErrors
from link_models.loss.rules import (
    BITS_MAX,
    Corrupt,
    Duplicate,
    Jitter,
    JitterShape,
    Limit,
    Reorder,
    Rule,
    TimeSlots,
)
from link_models.loss.slots import SlotDelay, SlotLoss, Slots
from link_models.loss.spans import Blackouts, Flapping
from link_models.loss.traces import LinkTrace, TraceDelay, TraceLoss, load_trace
from stack.core.bounds import Count, DayMs, OctetsOrNone, Share
from stack.core.checks import check_range
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

PacketRate = Annotated[float, Meta(ge=0.001, le=1e9)]

SPANS_MAX = 100_000
"""Given spans of one rule."""


class RandomLoss(Base, frozen=True, kw_only=True, tag="random"):
    """Loses each datagram with the same probability."""

    loss: Share
    """Share of datagrams lost, 0 to 1."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=Bernoulli(source.stream(), self.loss))


class BitErrorLoss(Base, frozen=True, kw_only=True, tag="bit-errors"):
    """Loses a datagram when any of its bits is wrong."""

    bit_error_rate: Share
    """Wrong bits after channel decoding, 0 to 1."""

    overhead_bytes: Annotated[int, Meta(ge=0, le=65536)] = 0
    """Octets of lower layers in which a wrong bit counts too."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=BitErrors(source.stream(), self.bit_error_rate, self.overhead_bytes))


class BurstLoss(Base, frozen=True, kw_only=True, tag="gilbert-elliott"):
    """A link that is good or bad for exponentially distributed times."""

    good_s: Duration
    """Mean seconds of the good state."""

    bad_s: Duration
    """Mean seconds of the bad state."""

    good_loss: Share = 0.0
    """Share of datagrams lost in the good state."""

    bad_loss: Share = 1.0
    """Share of datagrams lost in the bad state."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=GilbertElliott(source.stream(), **self.parameters()))


class PacketBurstLoss(Base, frozen=True, kw_only=True, tag="bursts"):
    """The same from a share of loss and a mean length of a run of losses."""

    loss: Share
    """Share of datagrams lost, above 0."""

    burst_packets: Annotated[float, Meta(ge=1, le=1e9)]
    """Mean length of a run of losses, above 1 / (1 - loss)."""

    packets_per_s: PacketRate
    """The packet rate at which that is so; at other rates bursts keep their time."""

    def rule(self, source: RandomSource) -> Rule:
        model = GilbertElliott.from_loss_and_burst(source.stream(), **self.parameters())
        return Rule(loss=model)


class NetemGemodel(Base, frozen=True, kw_only=True, tag="netem-gemodel"):
    """`tc netem loss gemodel P R 1-H 1-K`, in time."""

    p: Share
    """Probability of the change from good to bad, a packet."""

    r: Share
    """Probability of the change from bad to good, a packet."""

    one_minus_h: Share = 1.0
    """Share of datagrams lost in the bad state."""

    one_minus_k: Share = 0.0
    """Share of datagrams lost in the good state."""

    packets_per_s: PacketRate
    """The packet rate at which that is so."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=GilbertElliott.from_netem(source.stream(), **self.parameters()))


class NetemState(Base, frozen=True, kw_only=True, tag="netem-state"):
    """`tc netem loss state P13 P31 P32 P23 P14`, packet by packet."""

    p13: Share
    """Probability of the change from receiving to a burst of losses."""

    p31: Share
    """From a loss in a burst back to receiving."""

    p32: Share = 0.0
    """From a loss in a burst to receiving within the burst."""

    p23: Share = 1.0
    """From receiving within a burst to a loss."""

    p14: Share = 0.0
    """From receiving to a single loss."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=FourStates(source.stream(), **self.parameters()))


class GivenBlackouts(Base, frozen=True, kw_only=True, tag="blackouts"):
    """Loses everything in given spans."""

    spans_s: tuple[tuple[Moment, Moment], ...]
    """Seconds from the start of the run: [[begin, end], ...], sorted and apart."""

    def rule(self, source: RandomSource) -> Rule:
        if len(self.spans_s) > SPANS_MAX:
            raise ConfigError("spans_s", f"more than {SPANS_MAX}")
        for edge in itertools.chain.from_iterable(self.spans_s):
            check_range("spans_s", edge, -FOREVER_S, FOREVER_S)
        model = Blackouts([(round(a * SECOND), round(b * SECOND)) for a, b in self.spans_s])
        return Rule(loss=model)


class LinkFlapping(Base, frozen=True, kw_only=True, tag="flapping"):
    """Loses everything for a part of each period."""

    period_s: Duration
    """Seconds from one fall to the next."""

    down_s: Annotated[float, Meta(ge=0, le=FOREVER_S)]
    """Seconds down in each period."""

    phase_s: Moment = 0.0
    """When it first falls."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=Flapping(**self.parameters()))


class RecordedTrace(Base, frozen=True, kw_only=True, tag="trace"):
    """Losses and delays of a recorded link, from a CSV file (see `link_models.loss.traces`)."""

    file: str
    """The file, relative to the one in which this stands."""

    def _check(self) -> None:
        """What is in the file shows when it is read: once, with the first rule."""

    def rule(self, source: RandomSource) -> Rule:
        path = source.folder / self.file
        trace = _load(path, path.stat().st_mtime_ns if path.is_file() else 0)
        if trace.loss is None and trace.delay_ns is None:
            raise ConfigError(self.file, "has neither losses nor delays")
        return Rule(
            loss=None if trace.loss is None else TraceLoss(source.stream(), trace),
            delay=None if trace.delay_ns is None else TraceDelay(trace),
        )


class SlotChanges(Base, frozen=True, kw_only=True, tag="slots"):
    """A link that is reassigned at a fixed beat (see `link_models.loss.slots` for the sources)."""

    period_s: Duration = 15.0
    """Seconds of a slot: Starlink's."""

    phase_s: Moment = 12.0
    """When slots begin: at 12, 27, 42 and 57 s of each minute, when the run starts at a full
    minute."""

    delay_ms_max: DayMs = 10.0
    """Each slot has a further delay of 0 to this, uniformly.  Huston reports steps of some
    milliseconds up to tens."""

    loss: Share = 0.002
    """Mean share of loss within a slot; each slot has its own, exponentially distributed.  An
    assumption: most of the measured loss is at the changes."""

    change_ms: DayMs = 100.0
    """Mean length of the disturbance at a change.  An assumption."""

    change_loss: Share = 0.5
    """Share of datagrams lost during a change.  With 100 ms of 15 s it makes 0.3 % in all."""

    change_delay_ms: DayMs = 30.0
    """Further delay during a change; Huston reports 30 to 50 ms on the round trip."""

    def rule(self, source: RandomSource) -> Rule:
        slots = Slots(source.key(), **self.parameters())
        return Rule(loss=SlotLoss(source.stream(), slots), delay=SlotDelay(slots))


class TimeDivision(Base, frozen=True, kw_only=True, tag="time-slots"):
    """Holds each datagram until the next slot of a beat begins."""

    period_ms: Annotated[float, Meta(ge=1e-6, le=1e9)]
    """Milliseconds between the slots of this sender."""

    phase_ms: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    """When the first begins."""

    def rule(self, source: RandomSource) -> Rule:
        model = TimeSlots(
            period_ns=round(self.period_ms * 1e6), phase_ns=round(self.phase_ms * 1e6)
        )
        return Rule(delay=model)


class DelayJitter(Base, frozen=True, kw_only=True, tag="jitter"):
    """Delays that differ from datagram to datagram, on top of the light time, in order."""

    mean_ms: DayMs = 0.0
    """Mean of the further delay (before what is below zero is cut)."""

    spread_ms: DayMs
    """Half the width of the uniform distribution, about the standard deviation of the others."""

    shape: JitterShape = "uniform"
    """Distribution, as in `tc netem`."""

    correlation: Share = 0.0
    """Of the delay with that of the datagram before, 0 up to but not 1."""

    def rule(self, source: RandomSource) -> Rule:
        model = Jitter(
            source.stream(),
            mean_ns=self.mean_ms * 1e6,
            spread_ns=self.spread_ms * 1e6,
            shape=self.shape,
            correlation=self.correlation,
        )
        return Rule(delay=model)


class Reordering(Base, frozen=True, kw_only=True, tag="reorder"):
    """Makes chosen datagrams late, so that others overtake them."""

    share: Share
    """Share of the candidates that are chosen, 0 to 1."""

    late_ms: Annotated[float, Meta(ge=1e-6, le=86_400_000)] = 1.0
    """How late a chosen datagram is at most."""

    gap: Count = 1
    """Every how manieth datagram is a candidate."""

    correlation: Share = 0.0
    """Of the choice with that of the datagram before."""

    def rule(self, source: RandomSource) -> Rule:
        model = Reorder(
            source.stream(),
            probability=self.share,
            late_ns_max=self.late_ms * 1e6,
            gap=self.gap,
            correlation=self.correlation,
        )
        return Rule(reorder=model)


class Duplication(Base, frozen=True, kw_only=True, tag="duplicate"):
    """Delivers chosen datagrams twice."""

    share: Share
    """Share of datagrams, 0 to 1."""

    later_ms: DayMs = 0.0
    """How long after the datagram its copy arrives at most."""

    correlation: Share = 0.0
    """Of the choice with that of the datagram before."""

    def rule(self, source: RandomSource) -> Rule:
        model = Duplicate(
            source.stream(),
            probability=self.share,
            later_ns_max=self.later_ms * 1e6,
            correlation=self.correlation,
        )
        return Rule(copy=model)


class Corruption(Base, frozen=True, kw_only=True, tag="corrupt"):
    """Flips bits of chosen datagrams."""

    share: Share
    """Share of datagrams, 0 to 1."""

    bits_max: Annotated[int, Meta(ge=1, le=BITS_MAX)] = 8
    """Wrong bits in one datagram at most."""

    correlation: Share = 0.0
    """Of the choice with that of the datagram before."""

    def rule(self, source: RandomSource) -> Rule:
        model = Corrupt(
            source.stream(),
            probability=self.share,
            bits_max=self.bits_max,
            correlation=self.correlation,
        )
        return Rule(damage=model)


class VolumeLimit(Base, frozen=True, kw_only=True, tag="limit"):
    """Lets so many octets pass, and then nothing more."""

    bytes_max: OctetsOrNone
    """Octets."""

    def rule(self, source: RandomSource) -> Rule:
        return Rule(loss=Limit(self.bytes_max))


@lru_cache(maxsize=8)
def _load(path: Path, mtime_ns: int) -> LinkTrace:
    """The trace of a file; read once, however many directions use it."""
    return load_trace(path)
