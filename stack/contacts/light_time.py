"""The light time of one direction over time, as a plan has it."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class LightTime(NamedTuple):
    """The light time of one direction over time, as steps that each last until the next."""

    starts_ms: tuple[int, ...]
    owlts_ns: tuple[int, ...]

    def at(self, at_ms: int) -> int:
        """Nanoseconds for a signal that leaves at `at_ms`.  Before the first step and in a gap
        the nearest earlier step holds (before all of them, the first); without steps, 0."""
        if not self.owlts_ns:
            return 0
        return self.owlts_ns[max(0, bisect_right(self.starts_ms, at_ms) - 1)]


NO_LIGHT_TIME = LightTime((), ())
