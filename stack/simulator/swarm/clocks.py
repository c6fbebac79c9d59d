"""A node's clocks: a monotonic one that may drift, and a wall clock that may be wrong."""

from __future__ import annotations

from link_models.clock import VirtualLoop
from stack.core.clock import MILLISECOND, SECOND

BILLION = 1_000_000_000


class NodeClock:
    """A `stack.core.clock.Clock` whose errors are set from outside.  It is the hardware's: it
    goes on while the node is down."""

    def __init__(self, loop: VirtualLoop, epoch_ms: int) -> None:
        """`epoch_ms` is the DTN time at virtual time 0."""
        self._loop = loop
        self._epoch_ms = epoch_ms
        self._true_ns = 0
        self._own_ns = 0
        self._ahead_ppb = 0
        self._wrong_ns = 0
        self._latest_ms = 0

    def now(self) -> int:
        """Monotonic nanoseconds."""
        true_ns = self._loop.now_ns
        if not self._ahead_ppb:
            return true_ns - self._true_ns + self._own_ns
        since_ns = true_ns - self._true_ns
        return self._own_ns + since_ns + since_ns * self._ahead_ppb // BILLION

    def dtn_ms(self) -> int:
        """What the node takes for the DTN time."""
        return self._epoch_ms + (self.now() + self._wrong_ns) // MILLISECOND

    @property
    def latest_ms(self) -> int:
        """The latest DTN time that the node has ever seen."""
        return max(self._latest_ms, self.dtn_ms())

    def drift(self, ppm: float) -> None:
        """From now on, run ahead by so many parts in a million."""
        self._own_ns, self._true_ns = self.now(), self._loop.now_ns
        self._ahead_ppb = round(ppm * 1000)

    def step(self, seconds: float) -> None:
        """Put the wall clock forward (or, below 0, back)."""
        self._latest_ms = self.latest_ms
        self._wrong_ns += round(seconds * SECOND)

    def correct(self) -> None:
        """Run at the right rate, and put the wall clock right."""
        self._latest_ms = self.latest_ms
        self.drift(0)
        self._wrong_ns = self._loop.now_ns - self.now()
