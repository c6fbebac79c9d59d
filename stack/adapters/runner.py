"""Runs the driver of an engine on an event loop, over one datagram port.

Whatever happens (datagrams, a timer, a command to the engine followed by `wake`) asks for one turn
of the driver, however often it happens before that turn comes: so work is done in batches under
load and at once without.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from stack.core.clock import SECOND, Clock
from stack.core.train import Train
from stack.ports.datagram import DatagramPort, ignore_received, ignore_writable


class Driver(Protocol):
    """What is run: see `stack.engines.ltp.driver`."""

    writable: bool

    def receive(self, trains: list[Train], now: int) -> None:
        """Take in what has arrived."""
        ...

    def turn(self, now: int) -> None:
        """Do what is to be done, and send what can be sent."""
        ...

    def next_deadline(self, now: int) -> int | None:
        """When it wants its next turn, in nanoseconds; None: when something arrives."""
        ...


class Runner:
    """Gives one driver its turns, and one timer.  The driver sends through the port itself."""

    def __init__(
        self,
        driver: Driver,
        port: DatagramPort,
        clock: Clock,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._driver = driver
        self._port = port
        self._clock = clock
        self._loop = loop or asyncio.get_running_loop()
        self._closed = False
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        port.on_receive = self._received
        port.on_writable = self._on_writable

    def wake(self) -> None:
        """Something happened to the engine: take a turn soon."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._run)

    async def close(self) -> None:
        """Stop driving and close the port."""
        self._closed = True
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._port.on_receive = ignore_received
        self._port.on_writable = ignore_writable
        await self._port.close()

    def _received(self, trains: list[Train]) -> None:
        self._driver.receive(trains, self._clock.now())
        self.wake()

    def _on_writable(self) -> None:
        self._driver.writable = True
        self.wake()

    def _on_timer(self) -> None:
        self._timer = None
        self._run()

    def _run(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._closed:
            return
        # A loop may fire a little early: never tell the engine a time before its own deadline.
        now = self._clock.now()
        try:
            self._driver.turn(now)
        finally:
            self._arm(now)

    def _arm(self, now: int) -> None:
        deadline = self._driver.next_deadline(now)
        if deadline is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        if self._timer is not None:
            if self._timer_at == deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0, deadline - now) / SECOND, self._on_timer)
