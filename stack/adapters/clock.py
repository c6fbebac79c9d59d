"""The clocks of the real world."""

from __future__ import annotations

import time

from stack.core.clock import dtn_from_unix


class SystemClock:
    """The operating system's monotonic and wall clocks."""

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def dtn_ms(self) -> int:
        """DTN time in milliseconds, as far as the wall clock is right."""
        return dtn_from_unix(time.time())
