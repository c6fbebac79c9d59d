"""Structured logs: one JSON object a line, stamped with the node's own time."""

from __future__ import annotations

import json
from typing import Any, TextIO

from stack.core.clock import Clock, dtn_to_iso

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
