"""Rules: what happens to a datagram on its way, one small model for each thing.

A rule has up to five effects, and everything without an effect passes:

    loss     the datagram is dropped
    delay    it arrives later, and nothing overtakes it
    reorder  it arrives later, and others may overtake it
    copy     it arrives again
    damage   it arrives with wrong bits

A channel asks every rule about every datagram that its transmitter has sent, also about those that
another rule drops, and each rule draws from substreams of its own.  So adding a rule never changes
what the others do.  Parameters that make no sense raise `ConfigError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from link_models.loss.model import Ahead, LossModel
from link_models.noise import (
    Correlated,
    Mask,
    Rng,
    Times,
    Values,
    check_probability,
    normal_quantile,
)
from link_models.rng import Streams
from stack.core.clock import MILLISECOND
from stack.core.errors import ConfigError
from stack.core.train import Buffer

_WORD = (1 << 64) - 1


class DelayModel(Protocol):
    """Delays datagrams on top of the light time; never a negative delay, so never below it."""

    def delay(self, now_ns: float) -> float:
        """The further delay, in nanoseconds, of a datagram that has left at `now_ns`."""
        ...

    def delay_many(self, times_ns: Times) -> Times:
        """The same for the datagrams of a train."""
        ...


class CopyModel(Protocol):
    """Chooses datagrams that arrive twice."""

    def copy(self, now_ns: float) -> float | None:
        """How many nanoseconds after a datagram that has left at `now_ns` its copy arrives, if it
        has one."""
        ...

    def copies(self, times_ns: Times) -> tuple[Mask, Times]:
        """Which of the datagrams of a train, and how much later the copy arrives."""
        ...


class DamageModel(Protocol):
    """Chooses datagrams that arrive with wrong bits."""

    def draw(self, now_ns: float) -> float | None:
        """A number that says how a datagram that has left at `now_ns` is damaged, if it is."""
        ...

    def draw_many(self, times_ns: Times) -> tuple[Mask, Values]:
        """Which of the datagrams of a train, and for each a number that says how."""
        ...

    def damage(self, datagram: Buffer, how: float) -> bytes:
        """A damaged copy."""
        ...


class Rule(NamedTuple):
    """What a rule does to datagrams; None where it lets them pass."""

    loss: LossModel | None = None
    delay: DelayModel | None = None
    reorder: DelayModel | None = None
    copy: CopyModel | None = None
    damage: DamageModel | None = None
    cause: str = ""
    """What it is called where losses are told."""


RuleFactory = Callable[[Streams, str], Rule]
"""Makes a rule for one direction of a link: from the run's substreams and the direction's name."""

FADE_STEP_NS = 10 * MILLISECOND
"""How often a fade of the weather is looked at: much more often than it changes."""

BITS_MAX = 1000
"""Wrong bits of one datagram."""

JitterShape = Literal["uniform", "normal", "pareto", "paretonormal"]


class Jitter:
    """Delays that differ from datagram to datagram; the light time is their floor."""

    def __init__(
        self,
        rng: Rng,
        *,
        mean_ns: float,
        spread_ns: float,
        shape: JitterShape = "uniform",
        correlation: float = 0.0,
    ) -> None:
        """`mean_ns` and `spread_ns` as in `tc netem delay TIME JITTER`: the spread is half the
        width of the uniform distribution and about the standard deviation of the others.  What
        would fall below zero is zero.  `correlation` of the delay with that of the datagram
        before, 0 up to but not 1."""
        if not (0 <= mean_ns < math.inf and 0 <= spread_ns < math.inf):
            raise ConfigError("mean_ns, spread_ns", "must not be negative")
        _check_correlation(correlation)
        if shape not in _SHAPES:
            raise ConfigError("shape", f"{shape!r} is not one of {', '.join(_SHAPES)}")
        self._mean_ns = mean_ns
        self._spread_ns = spread_ns
        self._shape = _SHAPES[shape]
        self._uniform = Correlated(rng, correlation)
        self._delays = Ahead(self._draw)

    def delay(self, now_ns: float) -> float:
        return self._delays.one()

    def delay_many(self, times_ns: Times) -> Times:
        return self._delays.many(len(times_ns))

    def _draw(self, n: int) -> Times:
        drawn = self._shape(self._uniform.many(n))
        return np.maximum(self._mean_ns + self._spread_ns * drawn, 0.0)


class UniformJitter:
    """Delays of 0 up to a largest one, each by itself."""

    def __init__(self, rng: Rng, jitter_ns: float) -> None:
        self._uniform = Ahead(rng.random)
        self._jitter_ns = jitter_ns

    def delay(self, now_ns: float) -> float:
        return self._uniform.one() * self._jitter_ns

    def delay_many(self, times_ns: Times) -> Times:
        return self._uniform.many(len(times_ns)) * self._jitter_ns


class Reorder:
    """Makes chosen datagrams late by up to a bound, while the others keep their times."""

    def __init__(
        self,
        rng: Rng,
        *,
        probability: float,
        late_ns_max: float,
        gap: int = 1,
        correlation: float = 0,
    ) -> None:
        """A datagram is chosen with `probability`, but only every `gap`-th can be (the counter of
        `tc netem reorder ... gap`); it is late by at least 1 ns and at most `late_ns_max`.
        `correlation` of the choice with that of the candidate before."""
        check_probability("probability", probability)
        if not (1 <= late_ns_max < math.inf and gap >= 1):
            raise ConfigError("late_ns_max, gap", "must be at least 1")
        _check_correlation(correlation)
        choose, amount = rng.spawn(2)
        self._choose = Ahead(Correlated(choose, correlation).many)
        self._amount = Ahead(amount.random)
        self._probability = probability
        self._late_ns_max = late_ns_max
        self._gap = gap
        self._count = 0

    def delay(self, now_ns: float) -> float:
        late = self._choose.one() < self._probability
        amount = 1 + self._amount.one() * (self._late_ns_max - 1)
        if self._gap > 1:
            self._count = (self._count + 1) % self._gap
            late = late and not self._count
        return amount if late else 0.0

    def delay_many(self, times_ns: Times) -> Times:
        n = len(times_ns)
        late = self._choose.many(n) < self._probability
        amounts = 1 + self._amount.many(n) * (self._late_ns_max - 1)
        if self._gap > 1:
            late &= (np.arange(self._count + 1, self._count + n + 1) % self._gap) == 0
            self._count = (self._count + n) % self._gap
        return np.where(late, amounts, 0.0)


class Duplicate:
    """Delivers chosen datagrams twice."""

    def __init__(
        self, rng: Rng, *, probability: float, later_ns_max: float = 0.0, correlation: float = 0.0
    ) -> None:
        """The copy arrives up to `later_ns_max` after the datagram; `correlation` of the choice
        with that of the datagram before."""
        check_probability("probability", probability)
        if not 0 <= later_ns_max < math.inf:
            raise ConfigError("later_ns_max", "must not be negative")
        _check_correlation(correlation)
        choose, amount = rng.spawn(2)
        self._choose = Ahead(Correlated(choose, correlation).many)
        self._amount = Ahead(amount.random)
        self._probability = probability
        self._later_ns_max = later_ns_max

    def copy(self, now_ns: float) -> float | None:
        chosen = self._choose.one() < self._probability
        later_ns = self._amount.one() * self._later_ns_max
        return later_ns if chosen else None

    def copies(self, times_ns: Times) -> tuple[Mask, Times]:
        n = len(times_ns)
        chosen = self._choose.many(n) < self._probability
        return chosen, self._amount.many(n) * self._later_ns_max


class Corrupt:
    """Flips bits of chosen datagrams."""

    def __init__(
        self, rng: Rng, *, probability: float, bits_max: int = 8, correlation: float = 0.0
    ) -> None:
        """1 to `bits_max` bits of a chosen datagram are wrong, uniformly; `correlation` of the
        choice with that of the datagram before."""
        check_probability("probability", probability)
        if not 1 <= bits_max <= BITS_MAX:
            raise ConfigError("bits_max", f"must be 1 to {BITS_MAX}")
        _check_correlation(correlation)
        choose, how = rng.spawn(2)
        self._choose = Ahead(Correlated(choose, correlation).many)
        self._how = Ahead(how.random)
        self._probability = probability
        self._bits_max = bits_max

    def draw(self, now_ns: float) -> float | None:
        chosen, how = self._choose.one() < self._probability, self._how.one()
        return how if chosen else None

    def draw_many(self, times_ns: Times) -> tuple[Mask, Values]:
        n = len(times_ns)
        return self._choose.many(n) < self._probability, self._how.many(n)

    def damage(self, datagram: Buffer, how: float) -> bytes:
        damaged = bytearray(datagram)
        bits = 8 * len(damaged)
        state = int(how * (1 << 53))
        state, drawn = _mix(state)
        flips = min(1 + drawn % self._bits_max, bits)
        chosen: set[int] = set()
        while len(chosen) < flips:
            state, drawn = _mix(state)
            chosen.add(drawn % bits)
        for bit in chosen:
            damaged[bit >> 3] ^= 1 << (bit & 7)
        return bytes(damaged)


class Limit:
    """Lets so many octets pass, and then nothing more."""

    def __init__(self, octets_max: int) -> None:
        """`octets_max` of datagrams that begin to pass; the one that crosses it still does."""
        if octets_max < 0:
            raise ConfigError("octets_max", "must not be negative")
        self._left = octets_max

    def lost(self, size: int, now_ns: int) -> bool:
        over = self._left <= 0
        self._left -= size
        return over

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        n = len(times_ns)
        before = self._left - size * np.arange(n)
        self._left -= size * (n - 1) + tail_bytes
        mask: Mask = before <= 0
        return mask


class TimeSlots:
    """Holds each datagram until the next slot of a beat begins: time-division access, as on the
    return link of DVB-RCS2 or in `tc netem slot`."""

    def __init__(self, *, period_ns: int, phase_ns: int = 0) -> None:
        if period_ns < 1:
            raise ConfigError("period_ns", "must be at least 1")
        self._period_ns = period_ns
        self._phase_ns = phase_ns

    def delay(self, now_ns: float) -> float:
        return float((self._phase_ns - now_ns) % self._period_ns)

    def delay_many(self, times_ns: Times) -> Times:
        return np.asarray((self._phase_ns - times_ns) % self._period_ns)


class FadeModel(Protocol):
    """Attenuation over time, in decibels."""

    def fade_db(self, times_ns: Times) -> Values:
        """The fades at `times_ns`."""
        ...


class FadeLoss:
    """Loses everything while a fade is deeper than the margin of the link."""

    def __init__(self, fade: FadeModel, margin_db: float) -> None:
        self._fade = fade
        self._margin_db = margin_db
        self._last = (-1, False)

    def lost(self, size: int, now_ns: int) -> bool:
        step = now_ns // FADE_STEP_NS
        if step != self._last[0]:
            self._last = (step, bool(self._deep(np.array([float(step)]))[0]))
        return self._last[1]

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        steps = np.floor(times_ns / FADE_STEP_NS)
        if steps[0] == steps[-1]:
            return np.full(len(steps), self.lost(size, int(times_ns[0])))
        return self._deep(steps)

    def _deep(self, steps: Times) -> Mask:
        mask: Mask = self._fade.fade_db(steps * FADE_STEP_NS) > self._margin_db
        return mask


def between(rule: Rule, start_ns: float, end_ns: float) -> Rule:
    """The rule, but with effects only from `start_ns` up to `end_ns`.  It is asked all the same,
    so that its luck inside does not depend on what was sent outside."""
    return _wrapped(rule, _Span(start_ns, end_ns))


def retimed(rule: Rule, clock: Callable[[float], float]) -> Rule:
    """The rule, asked at `clock(t)` instead of `t`: for links whose schedule runs faster or slower
    than they do.  `clock` is linear and rising, so it takes an array as well; delays stay as long
    as they are."""
    return _wrapped(rule, _Span(-math.inf, math.inf, clock))


def _wrapped(rule: Rule, span: _Span) -> Rule:
    return Rule(
        loss=None if rule.loss is None else _Loss(rule.loss, span),
        delay=None if rule.delay is None else _Delay(rule.delay, span),
        reorder=None if rule.reorder is None else _Delay(rule.reorder, span),
        copy=None if rule.copy is None else _Copy(rule.copy, span),
        damage=None if rule.damage is None else _Damage(rule.damage, span),
        cause=rule.cause,
    )


class _Span(NamedTuple):
    """From when to when something holds, and what the time is for it."""

    start_ns: float
    end_ns: float
    clock: Callable[[Any], Any] | None = None

    def one(self, now_ns: float) -> tuple[float, bool]:
        if self.clock is not None:
            now_ns = self.clock(now_ns)
        return now_ns, self.start_ns <= now_ns < self.end_ns

    def many(self, times_ns: Times) -> tuple[Times, Mask]:
        if self.clock is not None:
            times_ns = self.clock(times_ns)
        return times_ns, (times_ns >= self.start_ns) & (times_ns < self.end_ns)


class _Loss(NamedTuple):
    model: LossModel
    span: _Span

    def lost(self, size: int, now_ns: int) -> bool:
        at_ns, inside = self.span.one(now_ns)
        return self.model.lost(size, int(at_ns)) and inside

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        at_ns, inside = self.span.many(times_ns)
        return self.model.lost_many(at_ns, size, tail_bytes) & inside


class _Delay(NamedTuple):
    model: DelayModel
    span: _Span

    def delay(self, now_ns: float) -> float:
        at_ns, inside = self.span.one(now_ns)
        held_ns = self.model.delay(at_ns)
        return held_ns if inside else 0.0

    def delay_many(self, times_ns: Times) -> Times:
        at_ns, inside = self.span.many(times_ns)
        return self.model.delay_many(at_ns) * inside


class _Copy(NamedTuple):
    model: CopyModel
    span: _Span

    def copy(self, now_ns: float) -> float | None:
        at_ns, inside = self.span.one(now_ns)
        later_ns = self.model.copy(at_ns)
        return later_ns if inside else None

    def copies(self, times_ns: Times) -> tuple[Mask, Times]:
        at_ns, inside = self.span.many(times_ns)
        chosen, later_ns = self.model.copies(at_ns)
        return chosen & inside, later_ns


class _Damage(NamedTuple):
    model: DamageModel
    span: _Span

    def draw(self, now_ns: float) -> float | None:
        at_ns, inside = self.span.one(now_ns)
        how = self.model.draw(at_ns)
        return how if inside else None

    def draw_many(self, times_ns: Times) -> tuple[Mask, Values]:
        at_ns, inside = self.span.many(times_ns)
        chosen, how = self.model.draw_many(at_ns)
        return chosen & inside, how

    def damage(self, datagram: Buffer, how: float) -> bytes:
        return self.model.damage(datagram, how)


def _mix(state: int) -> tuple[int, int]:
    """The next state and number of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): a whole
    generator for one datagram would cost more than the datagram."""
    state = (state + 0x9E3779B97F4A7C15) & _WORD
    mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _WORD
    return state, mixed ^ (mixed >> 31)


def _check_correlation(value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError("correlation", f"{value} is not from 0 up to but not 1")


def _uniform(shares: Values) -> Values:
    return 2 * shares - 1


def _pareto(shares: Values) -> Values:
    # As the tables of tc netem: exponent 3, mean 1.5 taken off, times 4/3, cut at 4.
    return np.minimum(((1 - shares) ** (-1 / 3) - 1.5) * (4 / 3), 4.0)


def _pareto_normal(shares: Values) -> Values:
    # As tc netem: three parts Pareto and one part normal, of the same share.
    return 0.75 * _pareto(shares) + 0.25 * normal_quantile(shares)


_SHAPES: dict[str, Callable[[Values], Values]] = {
    "uniform": _uniform,
    "normal": normal_quantile,
    "pareto": _pareto,
    "paretonormal": _pareto_normal,
}
