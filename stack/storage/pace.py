"""When the scrubber looks at more: decisions alone, by a clock that it is told."""

from __future__ import annotations

from typing import Final

from stack.core.clock import SECOND

BUNDLE_OCTETS: Final = 1024
"""What looking at a bundle costs beside its octets, in octets."""


class Pace:
    """A bounded rate, and passes that begin no more often than they should."""

    def __init__(self, bytes_per_s: int, every_s: int, now: int) -> None:
        """The first pass begins at `now` (nanoseconds, monotonic)."""
        self._bytes_per_s = bytes_per_s
        self._every_ns = every_s * SECOND
        self._begun = self._deadline = now

    def next_deadline(self) -> int:
        """When the next step is due."""
        return self._deadline

    def looked(self, bundles: int, octets: int, over: bool, now: int) -> None:
        """A step has just looked at so much; whether that was the end of a pass."""
        cost = octets + bundles * BUNDLE_OCTETS
        self._deadline = now + cost * SECOND // self._bytes_per_s
        if over:
            self._deadline = max(self._deadline, self._begun + self._every_ns)
            self._begun = self._deadline

    def failed(self, now: int) -> None:
        """A step could not be done: the pass goes on after some time."""
        self._deadline = now + self._every_ns
