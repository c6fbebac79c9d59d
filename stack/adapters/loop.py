"""Which event loop to run on: uvloop where it is installed, plain asyncio elsewhere."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

COLLECT_AFTER = (50_000, 20, 50)
"""Thresholds of the three generations of the cycle collector."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from another that wants it."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop of the fastest kind there is."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """`asyncio.run` on the loop of `new_event_loop`; for the main program of a process."""
    # A node keeps many objects for a while, few for long, and none in cycles: left alone, the
    # collector walks through all of them again and again (a quarter of the time, measured).
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    # The store's worker thread must not wait 5 ms for the interpreter beside a busy loop.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
