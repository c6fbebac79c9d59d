"""Which event loop to run on: uvloop where it is installed, plain asyncio elsewhere."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

COLLECT_AFTER = (50_000, 20, 50)
"""Thresholds of the three generations of the cycle collector."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from another that wants it."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h> of glibc
TRIM_BYTES = 64 * 1024 * 1024
"""Free memory that the process keeps for the next bundles."""

MMAP_BYTES = 32 * 1024 * 1024
"""Buffers below this come from memory that is kept; glibc takes no more."""


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
    _keep_memory()
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def _keep_memory() -> None:
    """Have the C library use the memory of large buffers again.  By itself glibc returns it to the
    kernel with each bundle, which has to clear every page of the next one: that takes several times
    as long as to encrypt it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)
    mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
