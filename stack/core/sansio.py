"""What is common to all protocol engines.

An engine holds protocol state and nothing else: no socket, clock, thread or randomness.  Whoever
drives it (a real socket, a virtual network, a fuzzer) does so only through its verbs: bytes,
commands and `now` (monotonic nanoseconds, never falling) go in; bytes, events and a deadline come
out.  Queries never change state; input from a peer never raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Entropy = Callable[[int], bytes]
"""`entropy(n)` gives n unpredictable octets; tests and simulations inject a seeded one."""

Trace = Callable[[str, dict[str, Any]], None]
"""`trace(event, fields)`: a structured log sink.  Fields hold ints, floats, strs and bools."""


def no_trace(event: str, fields: dict[str, Any]) -> None:
    """The sink that keeps nothing."""
