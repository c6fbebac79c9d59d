"""Where events go: to the log and to whoever listens, none of whom can stop a node."""

from __future__ import annotations

import sys
from typing import Any

from stack.core.errors import words_of
from stack.core.sansio import Trace


class Sinks:
    """Passes each event to several sinks.  One that raises (a listener's fault, a log on a full
    disk) costs nobody else anything: its first failure is told on standard error, all are counted,
    and it is called again for the next event."""

    def __init__(self, *sinks: Trace) -> None:
        self.failures = 0
        """Calls of a sink that have failed."""
        self._sinks = sinks
        self._told: set[int] = set()

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        for place, sink in enumerate(self._sinks):
            try:
                sink(event, fields)
            except Exception as error:  # whatever it is, nothing hangs on it
                self.failures += 1
                if place not in self._told:
                    self._told.add(place)
                    _tell(f"the trace sink {sink!r} failed at {event}: {words_of(error)}")


def _tell(words: str) -> None:
    try:
        print(f"orbitferry: {words} (later failures are counted only)", file=sys.stderr)
    except Exception:  # nobody is there to be told
        return
