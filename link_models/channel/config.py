"""What one direction of a link is.  Whatever makes no sense raises `ConfigError`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from link_models.loss.model import LossFactory, no_loss
from link_models.loss.rules import BITS_MAX, RuleFactory
from link_models.noise import Times
from stack.core.bounds import OctetsOrNone, Share
from stack.core.checks import check_bounds
from stack.core.errors import ConfigError

FOREVER_NS = 1 << 62
"""The end of a window that never closes (146 years)."""

Nanoseconds = Annotated[int, Meta(ge=0, le=FOREVER_NS)]


class Window(NamedTuple):
    """A time in which the link is up."""

    start_ns: int
    end_ns: int
    rate_bps: float
    """Bits a second, `inf` for a link that takes no time to send."""


class Delay:
    """One-way light time as a piecewise linear function of the time of sending."""

    def __init__(self, times_ns: Sequence[float], delays_ns: Sequence[float]) -> None:
        """`delays_ns` at `times_ns` (rising); constant before the first and after the last."""
        if len(times_ns) != len(delays_ns) or not len(times_ns):
            raise ConfigError("delay", "needs as many delays as times, at least one")
        self._times = np.asarray(times_ns, np.float64)
        self._delays = np.asarray(delays_ns, np.float64)
        if np.any(np.diff(self._times) <= 0):
            raise ConfigError("delay", "times must rise")
        if not np.all((self._delays >= 0) & np.isfinite(self._delays)):
            raise ConfigError("delay", "delays must be finite and not negative")
        self.constant_ns = float(delays_ns[0]) if len(delays_ns) == 1 else None

    @classmethod
    def constant(cls, delay_ns: float) -> Delay:
        """The same delay at all times."""
        return cls([0.0], [delay_ns])

    def at(self, sent_ns: Times) -> Times | float:
        """Delays in nanoseconds of datagrams sent at `sent_ns`."""
        if self.constant_ns is not None:
            return self.constant_ns
        return np.interp(sent_ns, self._times, self._delays)

    def at_one(self, sent_ns: float) -> float:
        """The delay in nanoseconds of one datagram."""
        if self.constant_ns is not None:
            return self.constant_ns
        return float(np.interp(sent_ns, self._times, self._delays))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelConfig:
    """One direction of a link.  The defaults are a perfect link without delay."""

    windows: tuple[Window, ...] = (Window(-FOREVER_NS, FOREVER_NS, math.inf),)
    """When the link is up and how fast it is; sorted, apart or touching.  What is offered outside
    of them, or is not sent completely when they end, is lost.  A datagram may straddle two windows
    that touch (a change of modulation), not a gap."""

    delay: Delay = field(default_factory=lambda: Delay.constant(0))
    """One-way light time, plus whatever equipment adds."""

    queue_bytes: OctetsOrNone = 1_000_000
    """Octets that may wait for the transmitter, overhead included; more is dropped from the tail.
    An idle link takes one datagram of any size.  Too large a queue shows as delay."""

    queue_ns: Nanoseconds | None = None
    """Longest wait for the transmitter: what would wait longer is dropped.  None: no limit but
    `queue_bytes`."""

    overhead_bytes: OctetsOrNone = 0
    """Octets of lower layers sent with each datagram (`IPV4_UDP_BYTES` for UDP over IPv4)."""

    cell_bytes: OctetsOrNone = 0
    """The link carries whole cells with so many octets of payload each, as ATM with 48; 0: it
    carries octets."""

    cell_overhead_bytes: OctetsOrNone = 0
    """Octets of overhead of each cell (5 for ATM)."""

    loss: LossFactory = no_loss
    """Makes the loss model of this direction from its random substream."""

    jitter_ns: Nanoseconds = 0
    """Each datagram is delayed by a further 0 to `jitter_ns`, uniformly.  Order is kept: a datagram
    never arrives before the one sent earlier."""

    reorder_probability: Share = 0.0
    """Share of datagrams that others may overtake."""

    reorder_ns_max: Nanoseconds = 0
    """How much later than in its turn such a datagram arrives at most; at least 1 ns later."""

    duplicate_probability: Share = 0.0
    """Share of datagrams that arrive twice."""

    duplicate_ns_max: Nanoseconds = 0
    """How long after the first the copy arrives at most."""

    corrupt_probability: Share = 0.0
    """Share of datagrams that arrive with wrong bits (UDP checksum off, or a damaged frame let
    through): 1 to `corrupt_bits_max` of them, uniformly."""

    corrupt_bits_max: Annotated[int, Meta(ge=1, le=BITS_MAX)] = 8
    """Bits flipped at most in one datagram."""

    rules: tuple[RuleFactory, ...] = ()
    """Further disturbances, each with its own luck; see `link_models.disturbances.config.build`."""

    coalesce_ns: Nanoseconds = 0
    """Burst mode: datagrams of a train that arrive within this time of each other are delivered
    together, when the last of them arrives.  0 gives each its own time; 1 ms makes fast links many
    times cheaper."""

    def __post_init__(self) -> None:
        for window in self.windows:
            if window.end_ns <= window.start_ns or not window.rate_bps > 0:
                raise ConfigError("windows", f"{window} is empty or has no rate")
        for window, after in itertools.pairwise(self.windows):
            if after.start_ns < window.end_ns:
                raise ConfigError("windows", "must be sorted and must not overlap")
        check_bounds(self)

    def wire_bytes(self, octets: int) -> int:
        """What a datagram of `octets` takes on the link."""
        octets += self.overhead_bytes
        if self.cell_bytes:
            cells = -(-octets // self.cell_bytes)
            octets = cells * (self.cell_bytes + self.cell_overhead_bytes)
        return octets


def always_up(rate_bps: float) -> tuple[Window, ...]:
    """The windows of a link that never goes down."""
    return (Window(-FOREVER_NS, FOREVER_NS, rate_bps),)
