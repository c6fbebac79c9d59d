"""Where events go: to the log, as lines of JSON, and to whoever listens; none can stop a node."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any, TextIO

from stack.core.clock import Clock, dtn_to_iso
from stack.core.errors import words_of
from stack.core.private import opener
from stack.core.sansio import Trace
from stack.node.config import LogConfig

QUIET = frozenset({"file_progress", "job_progress"})
"""Events that come many times for one thing that an operator does: shown at level debug only."""


class JsonLines:
    """A trace sink that writes JSON lines to a text stream."""

    def __init__(self, stream: TextIO, clock: Clock, node: str, *, debug: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._node = node
        self._debug = debug

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        if event in QUIET and not self._debug:
            return
        time = dtn_to_iso(self._clock.dtn_ms())
        line = {"time": time, "node": self._node, "event": event} | fields
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()


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


def make_sinks(
    log: LogConfig, node: str, clock: Clock, user: Trace, stack: contextlib.AsyncExitStack
) -> Sinks:
    """Where the events of a node go: to `user`, and to its log, until `stack` ends.  Raises
    `OSError`."""
    if log.level == "off" or (log.level == "auto" and not log.file):
        return Sinks(user)
    stream: TextIO = sys.stderr
    if log.file:
        stream = stack.enter_context(open(log.file, "a", encoding="utf-8", opener=opener))  # noqa: SIM115
    return Sinks(JsonLines(stream, clock, node, debug=log.level == "debug"), user)
