"""Links that are reassigned at a fixed beat, as those of large constellations are.

Starlink gives each terminal a satellite for 15 s; the changes come at 12, 27, 42 and 57 s of each
minute (H. B. Tanveer, M. Puchol, R. Singh, A. Bianchi, R. Nithyanand, "Making Sense of
Constellations", CoNEXT Companion 2023, arXiv:2307.00402; N. Mohan et al., "A Multifaceted Look at
Starlink Performance", WWW 2024).  The delay steps from slot to slot, and around a change there is a
spike of delay and some loss: G. Huston, "A transport protocol's view of Starlink", APNIC, 2024.
Parameters that make no sense raise `ConfigError`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from link_models.loss.model import Ahead
from link_models.noise import Keyed, Mask, Rng, Times, check_probability
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

SLOTS_TOGETHER = 256
"""Slots that are drawn together: an hour of 15 s."""

BLOCKS_KEPT = 16
"""Drawn hours that are kept."""


class SlotValues(NamedTuple):
    """What holds in one slot."""

    delay_ns: float
    """Delay on top of the light time."""

    loss: float
    """Share of datagrams lost after the change."""

    change_ns: float
    """How long the change at the start of the slot lasts."""


class Slots:
    """Delay and loss by slot: the schedule, a function of its key and of time."""

    def __init__(
        self,
        key: int,
        *,
        period_s: float = 15.0,
        phase_s: float = 12.0,
        delay_ms_max: float = 10.0,
        loss: float = 0.002,
        change_ms: float = 100.0,
        change_loss: float = 0.5,
        change_delay_ms: float = 30.0,
    ) -> None:
        """Slots of `period_s` begin at `phase_s`.  Each has a delay of 0 to `delay_ms_max`
        (uniformly) and a share of loss with the mean `loss` (exponentially).  For the first
        `change_ms` in the mean (exponentially, a slot at most) `change_loss` of the datagrams is
        lost and all are late by a further `change_delay_ms`."""
        if not (0 < period_s < math.inf and math.isfinite(phase_s)):
            raise ConfigError("period_s", "must be positive and finite")
        for name, value in (
            ("delay_ms_max", delay_ms_max),
            ("change_ms", change_ms),
            ("change_delay_ms", change_delay_ms),
        ):
            if not 0 <= value < math.inf:
                raise ConfigError(name, "must not be negative")
        check_probability("loss", loss)
        check_probability("change_loss", change_loss)
        self._keyed = Keyed(key)
        self._period_ns = max(1, round(period_s * SECOND))
        self._phase_ns = round(phase_s * SECOND)
        self._scales = np.array([delay_ms_max * 1e6, loss, change_ms * 1e6])
        self._change_loss = change_loss
        self._change_delay_ns = change_delay_ms * 1e6
        self._blocks: dict[int, Times] = {}

    def slot(self, index: int) -> SlotValues:
        """What holds in slot `index`; slot 0 begins at the phase."""
        return SlotValues(*self._row(index).tolist())

    def delay_and_loss(self, now_ns: float) -> tuple[float, float]:
        """Delay in nanoseconds and share of loss at `now_ns`."""
        index, inside_ns = divmod(now_ns - self._phase_ns, self._period_ns)
        delay_ns, loss, change_ns = self._row(int(index)).tolist()
        if inside_ns < change_ns:
            return delay_ns + self._change_delay_ns, self._change_loss
        return delay_ns, loss

    def delay_and_loss_many(self, times_ns: Times) -> tuple[Times, Times]:
        """The same for many times, in any order."""
        index, inside_ns = np.divmod(times_ns - self._phase_ns, self._period_ns)
        numbers, places = np.unique(index.astype(np.int64), return_inverse=True)
        rows = np.array([self._row(number) for number in numbers.tolist()])[places]
        changing = inside_ns < rows[:, 2]
        delays: Times = rows[:, 0] + changing * self._change_delay_ns
        return delays, np.where(changing, self._change_loss, rows[:, 1])

    def _row(self, index: int) -> Times:
        block, inside = divmod(index, SLOTS_TOGETHER)
        rows = self._blocks.get(block)
        if rows is None:
            if len(self._blocks) >= BLOCKS_KEPT:
                del self._blocks[max(self._blocks, key=lambda one: abs(one - block))]
            drawn = self._keyed.block(block).random((SLOTS_TOGETHER, 3))
            drawn[:, 1:] = -np.log1p(-drawn[:, 1:])
            rows = drawn * self._scales
            rows[:, 1] = np.minimum(rows[:, 1], 1.0)
            rows[:, 2] = np.floor(np.minimum(rows[:, 2], self._period_ns))
            self._blocks[block] = rows
        row: Times = rows[inside]
        return row


class SlotLoss:
    """The losses of a schedule of slots."""

    def __init__(self, rng: Rng, slots: Slots) -> None:
        self._slots = slots
        self._uniform = Ahead(rng.random)

    def lost(self, size: int, now_ns: int) -> bool:
        return self._uniform.one() < self._slots.delay_and_loss(now_ns)[1]

    def lost_many(self, times_ns: Times, size: int, tail_bytes: int) -> Mask:
        shares = self._slots.delay_and_loss_many(times_ns)[1]
        return self._uniform.many(len(times_ns)) < shares


class SlotDelay:
    """The delays of a schedule of slots, in order."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def delay(self, now_ns: float) -> float:
        return self._slots.delay_and_loss(now_ns)[0]

    def delay_many(self, times_ns: Times) -> Times:
        return self._slots.delay_and_loss_many(times_ns)[0]
