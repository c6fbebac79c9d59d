"""Where events go: to the log, as lines of JSON, and to whoever listens; none can stop a node."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any, Final, TextIO

from stack.core.clock import Clock, dtn_to_iso
from stack.core.errors import words_of
from stack.core.private import opener
from stack.core.sansio import Trace
from stack.node.config import LogConfig

QUIET = frozenset({"file_progress", "job_progress"})
"""Events that come many times for one thing that an operator does: shown at level debug only."""

LINES_MAX: Final = 1000
"""Lines of one kind of event within `LINES_MS`, but for level debug: who sends what is refused, as
fast as he can, fills no disk by that."""

LINES_MS: Final = 600_000
LEFT_OUT: Final = "lines_left_out"


class JsonLines:
    """A trace sink that writes JSON lines to a text stream."""

    def __init__(self, stream: TextIO, clock: Clock, node: str, *, debug: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._node = node
        self._debug = debug
        self._seen: dict[str, tuple[int, int]] = {}
        """Of each kind of event since when its lines are counted (DTN ms), and how many came."""

    def __call__(self, event: str, fields: dict[str, Any]) -> None:
        now_ms = self._clock.dtn_ms()
        if self._debug or (event not in QUIET and self._has_room(event, now_ms)):
            self._write(event, fields, now_ms)

    def _has_room(self, event: str, now_ms: int) -> bool:
        """Whether an event has a line of its own; where many have none, one line says so, and one
        how many they were, when the next comes after that."""
        since_ms, count = self._seen.get(event, (now_ms, 0))
        if not 0 <= now_ms - since_ms < LINES_MS:
            if count > LINES_MAX:
                self._write(LEFT_OUT, {"of": event, "lines": count - LINES_MAX}, now_ms)
            since_ms, count = now_ms, 0
        self._seen[event] = since_ms, count + 1
        if count == LINES_MAX:
            why = f"{LINES_MAX} in {LINES_MS // 60_000} minutes; level debug shows all"
            self._write(LEFT_OUT, {"of": event, "why": why}, now_ms)
        return count < LINES_MAX

    def _write(self, event: str, fields: dict[str, Any], now_ms: int) -> None:
        line = {"time": dtn_to_iso(now_ms), "node": self._node, "event": event} | fields
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
