"""How soon a sender hears that its block was refused."""

from __future__ import annotations

from stack.core.clock import MILLISECOND, SECOND

HOLD_FIRST_NS = 250 * MILLISECOND
HOLD_MAX_NS = 30 * SECOND
"""Between refusals, growing from the first to the second.  Enough for a full store to drain or an
operator to act; a sender of the same kind waits as long by itself, and is then told at once."""


class Refusals:
    """Keeps a sender that repeats a refused block at once (ION and HDTN do) from doing so at full
    speed: the refusals of one link come in rounds, and each round twice as long after the last.
    """

    def __init__(self) -> None:
        self._hold_ns = 0
        self._next_at = 0

    def hold(self, now: int) -> int:
        """Nanoseconds for which a refusal that is due now is to be held back."""
        if now < self._next_at:
            return self._next_at - now
        quiet_ns = now - self._next_at
        if quiet_ns > 2 * HOLD_MAX_NS:
            self._hold_ns = 0
        self._hold_ns = min(HOLD_MAX_NS, max(HOLD_FIRST_NS, 2 * self._hold_ns))
        self._next_at = now + self._hold_ns
        return 0
