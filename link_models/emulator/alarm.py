"""A timer that rings on time.

Event loops count in milliseconds (epoll_wait(2), libuv).  Linux has timers in nanoseconds that are
file descriptors, timerfd_create(2); Python has them from version 3.13 on, the C library always.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from stack.core.clock import SECOND


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """Rings once after each `set`; a new `set` takes the place of the one before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._spec = _TimerSpec()
        self._library: Any = None
        self._fd = -1
        if sys.platform == "linux":
            self._open()

    def set(self, wait_ns: int) -> None:
        """Ring after `wait_ns`, at once when that is not positive."""
        if self._fd < 0:
            self.cancel()
            self._timer = self._loop.call_later(max(0, wait_ns) / SECOND, self._late)
            return
        self._arm(max(1, wait_ns))  # 0 would disarm it

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd >= 0:
            self._arm(0)

    def close(self) -> None:
        """Never ring again.  May be repeated."""
        self.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        """Use a timer of the kernel where the event loop can watch one."""
        library = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are these
        fd = library.timerfd_create(time.CLOCK_MONOTONIC, flags)
        if fd < 0:
            return
        try:
            self._loop.add_reader(fd, self._rung)
        except NotImplementedError:  # a loop in virtual time, whose own timers are exact
            os.close(fd)
            return
        self._library, self._fd = library, fd

    def _arm(self, wait_ns: int) -> None:
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(wait_ns, SECOND)
        self._library.timerfd_settime(self._fd, 0, ctypes.byref(self._spec), None)

    def _rung(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it rang
        self._ring()

    def _late(self) -> None:
        self._timer = None
        self._ring()
