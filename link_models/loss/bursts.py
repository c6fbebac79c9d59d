"""Losses that come in bursts: two states in time, and the chains of netem packet by packet.
Parameters that make no sense raise `ConfigError`."""

from __future__ import annotations

import math

import numpy as np

from link_models.loss.model import Ahead
from link_models.noise import Mask, Rng, Times, check_probability
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

FOREVER_NS = 1 << 100
"""Longer than any run, however long ago it began."""


class GilbertElliott:
    """A link that is good or bad for exponentially distributed times (E. O. Elliott, "Estimates of
    Error Rates for Codes on Burst-Noise Channels", BSTJ 42, 1963, in continuous time)."""

    def __init__(
        self,
        rng: Rng,
        *,
        good_s: float,
        bad_s: float,
        good_loss: float = 0.0,
        bad_loss: float = 1.0,
    ) -> None:
        """`good_s` and `bad_s` are mean dwell times in seconds; `good_loss` and `bad_loss` the
        probabilities of loss there.  The first state is drawn by the long-run shares."""
        if not (0 < good_s < math.inf and 0 < bad_s < math.inf):
            raise ConfigError("good_s, bad_s", "mean dwell times must be positive and finite")
        check_probability("good_loss", good_loss)
        check_probability("bad_loss", bad_loss)
        # Dwell times and datagrams draw from streams of their own: how many datagrams there were
        # in a state does not change how long the next one lasts.
        self._uniform = Ahead(rng.spawn(1)[0].random)
        self._rng = rng
        self._dwell_ns = (good_s * SECOND, bad_s * SECOND)
        self._loss = (good_loss, bad_loss)
        self._certain = {good_loss, bad_loss} <= {0.0, 1.0}
        self._bad = False
        self._until_ns = -FOREVER_NS

    @property
    def mean_loss(self) -> float:
        """The long-run share of datagrams lost."""
        good, bad = self._dwell_ns
        return (good * self._loss[0] + bad * self._loss[1]) / (good + bad)

    @classmethod
    def from_netem(
        cls,
        rng: Rng,
        *,
        p: float,
        r: float,
        one_minus_h: float = 1.0,
        one_minus_k: float = 0.0,
        packets_per_s: float,
    ) -> GilbertElliott:
        """From the parameters of `tc netem loss gemodel p r 1-h 1-k` (probabilities, 0 to 1).

        At `packets_per_s` the state, seen packet by packet, is exactly the chain of netem.  Needs
        p + r < 1: a chain that tends to change sides with each packet has no rate in time.
        """
        if not (0 < p < 1 and 0 < r < 1 and p + r < 1):
            raise ConfigError("p, r", "both must be above 0 and their sum below 1")
        if not packets_per_s > 0:
            raise ConfigError("packets_per_s", "must be positive")
        # The chain forgets by the factor 1-p-r a packet, the process by exp(-(a+b)t), with a the
        # rate into the bad state and b the rate out of it; a : b must be p : r.
        both_per_s = -math.log1p(-(p + r)) * packets_per_s
        return cls(
            rng,
            good_s=(p + r) / (p * both_per_s),
            bad_s=(p + r) / (r * both_per_s),
            good_loss=one_minus_k,
            bad_loss=one_minus_h,
        )

    @classmethod
    def from_loss_and_burst(
        cls, rng: Rng, *, loss: float, burst_packets: float, packets_per_s: float
    ) -> GilbertElliott:
        """From the share of packets lost (0 to 1) and the mean length of a run of losses, at
        `packets_per_s`.  Needs `burst_packets` > 1 / (1 - loss), which independent losses have."""
        check_probability("loss", loss)
        if not 0 < loss < 1 or burst_packets * (1 - loss) <= 1:
            raise ConfigError(
                "loss, burst_packets",
                "loss must be above 0, and bursts longer than 1 / (1 - loss) packets",
                "use Bernoulli for losses that do not come in bursts",
            )
        r = 1 / burst_packets
        return cls.from_netem(rng, p=r * loss / (1 - loss), r=r, packets_per_s=packets_per_s)

    def lost(self, size: int, now_ns: int) -> bool:
        """Whether a datagram of `size` octets is lost."""
        if now_ns >= self._until_ns:
            self._advance(now_ns)
        loss = self._loss[self._bad]
        return loss >= 1 if self._certain else self._uniform.one() < loss

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        """The same for the datagrams of a train; `tail_bytes` is the size of its last."""
        n = len(times_ns)
        if times_ns[0] >= self._until_ns:
            self._advance(int(times_ns[0]))
        if times_ns[-1] < self._until_ns:
            loss = self._loss[self._bad]
            return np.full(n, loss >= 1) if self._certain else self._uniform.many(n) < loss
        thresholds = np.empty(n)
        start = 0
        while start < n:
            if times_ns[start] >= self._until_ns:
                self._advance(int(times_ns[start]))
            end = int(np.searchsorted(times_ns, self._until_ns))
            thresholds[start:end] = self._loss[self._bad]
            start = end
        return thresholds >= 1 if self._certain else self._uniform.many(n) < thresholds

    def _advance(self, now_ns: int) -> None:
        """Move on to the state that holds at `now_ns`."""
        good_ns, bad_ns = self._dwell_ns
        memory_ns = 1 / (1 / good_ns + 1 / bad_ns)
        if now_ns - self._until_ns > 50 * memory_ns:
            # So long after the last question nothing is remembered (to within exp(-50)): draw
            # anew instead of walking through a night of unobserved fades.
            self._bad = bool(self._rng.random() < bad_ns / (good_ns + bad_ns))
            self._until_ns = now_ns + self._draw_dwell_ns()
        while self._until_ns <= now_ns:
            self._bad = not self._bad
            self._until_ns += self._draw_dwell_ns()

    def _draw_dwell_ns(self) -> int:
        # At least one, so that time moves on whatever the dwell times are.
        return 1 + int(self._rng.exponential(self._dwell_ns[self._bad]))


class FourStates:
    """The chain of `tc netem loss state p13 p31 p32 p23 p14`, packet by packet.

    States 1 and 4 make up a good period (received; an isolated loss), 2 and 3 a burst (received;
    lost): S. Salsano, F. Ludovici, A. Ordine, D. Giannuzzi, "Definition of a general and intuitive
    loss model for packet networks and its implementation in the Netem module in the Linux kernel".
    It counts packets, so its bursts get shorter in time when the packet rate rises.
    """

    def __init__(
        self,
        rng: Rng,
        *,
        p13: float,
        p31: float,
        p32: float = 0.0,
        p23: float = 1.0,
        p14: float = 0.0,
    ) -> None:
        """Probabilities of the changes of state, 0 to 1; p13 + p14 and p31 + p32 at most 1.  The
        first packet is received in a good period."""
        for key, value in (("p13, p14", p13 + p14), ("p31, p32", p31 + p32)):
            check_probability(key, value)
        for key, value in (("p13", p13), ("p31", p31), ("p23", p23), ("p14", p14)):
            check_probability(key, value)
        check_probability("p32", p32)
        self._uniform = Ahead(rng.random)
        # Upper ends of the draws that lead from a state into states 1 to 3; the rest go to 4.
        stay1, stay2 = 1 - p13 - p14, 1 - p23
        self._steps = (
            (stay1, stay1, 1 - p14),
            (0.0, stay2, 1.0),
            (p31, p31 + p32, 1.0),
            (1.0, 1.0, 1.0),
        )
        self._state = 0

    def lost(self, size: int, now_ns: int) -> bool:
        drawn = self._uniform.one()
        to1, to2, to3 = self._steps[self._state]
        self._state = 0 if drawn < to1 else 1 if drawn < to2 else 2 if drawn < to3 else 3
        return self._state >= 2

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        drawn = self._uniform.many(len(times_ns))
        # Where each state would lead with each draw; then only the changes are walked.
        tables = [np.searchsorted(ends, drawn, side="right") for ends in self._steps]
        leaves = [np.flatnonzero(table != state) for state, table in enumerate(tables)]
        states = np.empty(len(drawn), np.int64)
        at, state = 0, self._state
        while at < len(drawn):
            place = int(np.searchsorted(leaves[state], at))
            if place == len(leaves[state]):
                states[at:] = state
                break
            change = int(leaves[state][place])
            states[at:change] = state
            state = int(tables[state][change])
            states[change] = state
            at = change + 1
        self._state = int(states[-1])
        mask: Mask = states >= 2
        return mask
