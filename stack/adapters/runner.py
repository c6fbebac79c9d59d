"""The one driver of every datagram engine: feed what arrives, send what comes out, arm one timer.

The driver works in turns.  Whatever happens (datagrams, a timer, a command to the engine followed
by `wake`) asks for one turn of the event loop, however often it happens before that turn comes: so
work is done in batches under load and at once without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from stack.core.clock import MILLISECOND, SECOND, Clock
from stack.core.sansio import DatagramEngine
from stack.core.train import Train
from stack.ports.datagram import DatagramPort, ignore_received, ignore_writable

BLOCKED_NS = 10 * MILLISECOND
"""While the port takes nothing, an engine that has data says "now" for ever, as one may of which a
part has failed; its timers are then looked at this often."""

T = TypeVar("T")


class Shim(Protocol):
    """A sans-IO layer between engine and port: coding adds to and takes from each train."""

    def protect(self, trains: list[Train], now: int) -> list[Train]: ...

    def recover(self, train: Train, now: int) -> list[Train]: ...

    def next_deadline(self) -> int | None: ...

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        """(trains to send, trains received) that became due."""
        ...

    def counters(self) -> dict[str, int]: ...


class Runner:
    """Drives one engine over one datagram port.

    `turn` is called in each turn before data is taken from the engine: it takes the engine's
    events and gives the engine new work.
    """

    def __init__(
        self,
        engine: DatagramEngine[Any],
        port: DatagramPort,
        clock: Clock,
        *,
        turn: Callable[[int], None],
        shim: Shim | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._engine = engine
        self._port = port
        self._clock = clock
        self._turn = turn
        self._shim = shim
        self._loop = loop or asyncio.get_running_loop()
        self._writable = True
        self._closed = False
        self._troubled = False
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0
        port.on_receive = self._received
        port.on_writable = self._on_writable

    @property
    def writable(self) -> bool:
        """False while the port asks to be left alone."""
        return self._writable

    def wake(self) -> None:
        """Something happened to the engine: take a turn soon."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._run)

    def after(self, delay_ns: int, work: Callable[[], None]) -> None:
        """Do some work after a time, unless the link is closed by then, and take a turn."""

        def due() -> None:
            if not self._closed:
                self._attempt(work)
                self.wake()

        self._loop.call_later(delay_ns / SECOND, due)

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
        now = self._clock.now()
        receive = self._engine.receive
        shim = self._shim
        for train in trains:
            if shim is None:
                self._attempt(receive, train, now)
            else:
                for inner in self._attempt(shim.recover, train, now) or ():
                    self._attempt(receive, inner, now)
        self.wake()

    def _on_writable(self) -> None:
        self._writable = True
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
        self._troubled = False
        repair = self._attempt(self._due, now) or []
        self._attempt(self._turn, now)
        self._attempt(self._send, repair, now)
        self._arm(now)

    def _attempt(self, work: Callable[..., T], *args: Any) -> T | None:
        """Do a part of a turn: whatever fails, the others follow, and so does the next turn."""
        try:
            return work(*args)
        except Exception as error:  # the loop is told whatever it is
            self._troubled = True
            self._loop.call_exception_handler(
                {"message": "a part of a link's turn has failed", "exception": error}
            )
            return None

    def _due(self, now: int) -> list[Train]:
        """What timers ask for, and the trains that are to go out for them."""
        engine, shim = self._engine, self._shim
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= now:
            self._attempt(engine.handle_deadline, now)
        repair: list[Train] = []
        if shim is not None:
            due = shim.next_deadline()
            if due is not None and due <= now:
                repair, recovered = shim.handle_deadline(now)
                for train in recovered:
                    self._attempt(engine.receive, train, now)
        return repair

    def _send(self, trains: list[Train], now: int) -> None:
        if self._writable:
            fresh = self._engine.data_to_send(now)
            if self._shim is not None and fresh:
                fresh = self._shim.protect(fresh, now)
            trains = trains + fresh
        if trains:
            self._writable = self._port.send(trains) and self._writable

    def _arm(self, now: int) -> None:
        deadline = self._engine.next_deadline()
        if self._shim is not None:
            due = self._shim.next_deadline()
            if due is not None and (deadline is None or due < deadline):
                deadline = due
        if deadline is not None and (self._troubled or not self._writable):
            deadline = max(deadline, now + BLOCKED_NS)
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
