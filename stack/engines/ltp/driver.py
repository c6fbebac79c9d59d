"""The one driver of an LTP engine: feed what arrives, take events, send what comes out, in turns.

It knows no event loop, no port and no store: a node (`stack.node.link`), swarms of bare engines and
the tests of the engine are its clients, and lend it what they have of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from stack.core.clock import MILLISECOND
from stack.core.train import Train
from stack.engines.ltp.engine import LtpEngine
from stack.engines.ltp.envelope import Envelope
from stack.engines.ltp.events import (
    BlockReceived,
    Failed,
    LinkAlive,
    LinkStalled,
    LtpEvent,
    ReportHeld,
    Sent,
)
from stack.engines.ltp.owed import Owed
from stack.wire.ltp import CancelReason, SessionId

BLOCKED_NS = 10 * MILLISECOND
"""While nothing can be sent, an engine that has data says "now" for ever, as one may of which a
part has failed; its timers are then looked at this often."""

Attempt = Callable[..., bool]
"""`attempt(what, work, *args)` does some work and says whether it was done: what it raises concerns
this work alone."""


class Shim(Protocol):
    """A sans-IO layer between engine and link: coding and signing change each train."""

    def envelope(self) -> Envelope | None:
        """What the next trains to `protect` have to have around each segment, or None."""
        ...

    def protect(self, trains: list[Train], now: int) -> list[Train]:
        """What goes out for these."""
        ...

    def recover(self, train: Train, now: int) -> list[Train]:
        """What has come in with this one."""
        ...

    def next_deadline(self) -> int | None:
        """When `handle_deadline` is due, in nanoseconds; None: not."""
        ...

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        """(trains to send, trains received) that became due."""
        ...

    def counters(self) -> dict[str, int]:
        """What it has done and dropped, by name."""
        ...


class Client(Protocol):
    """Whoever has a driver."""

    def take(self, event: LtpEvent, now: int) -> None:
        """Anything but `Sent`.  What `BlockReceived` and `ReportHeld` bring is made durable, then
        `LtpDriver.answer` is called, and a turn follows."""
        ...

    def sent(self, refs: Sequence[int], now: int) -> None:
        """All units of which the peer has said since the last turn that it has them."""
        ...

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        """Units with which `take` (then they have `failed`) or `sent` could not deal: they are
        sent again."""
        ...

    def fill(self, now: int) -> None:
        """Give the engine what waits, as far as it has room."""
        ...

    def send(self, trains: list[Train]) -> bool:
        """Onto the link with them.  False: no more until `LtpDriver.writable` is True again."""
        ...


def plainly(what: str, work: Callable[..., object], *args: Any) -> bool:
    """The `Attempt` of simulations and tests, which want to see what fails."""
    work(*args)
    return True


def at_once(now: int) -> int:
    """No refusal is held back."""
    return 0


class LtpDriver:
    """Drives one engine for one client.  A turn is due when something has arrived, when
    `next_deadline` has come, and when the client has something new."""

    def __init__(
        self,
        engine: LtpEngine,
        client: Client,
        *,
        shim: Shim | None = None,
        attempt: Attempt = plainly,
        hold: Callable[[int], int] = at_once,
    ) -> None:
        """`hold(now)` says for how many nanoseconds a refusal that is due now is held back."""
        self.engine = engine
        self.writable = True
        """False while the link asks to be left alone; the client sets it to True again."""

        self._client = client
        self._shim = shim
        self._attempt = attempt
        self._hold = hold
        self._owed = Owed(attempt)
        self._troubled = False

    def recover(self, noted: Iterable[SessionId], now: int) -> None:
        """After a restart: the sessions that were noted for `ReportHeld`."""
        self.engine.recover(noted, now)

    def receive(self, trains: Sequence[Train], now: int) -> None:
        """Feed what has arrived; a turn follows."""
        self._attempt("receive", self._feed, trains, now)

    def _feed(self, trains: Sequence[Train], now: int) -> None:
        attempt, receive, shim = self._attempt, self.engine.receive, self._shim
        for train in trains:
            if shim is None:
                attempt("receive", receive, train, now)
            else:
                attempt("recover", self._recover, shim, train, now)

    def turn(self, now: int) -> None:
        """Do what is due, take what the engine has to say, give it new work, send what it has:
        whatever fails of this, the rest follows, and so does the next turn."""
        self._troubled = False
        due: list[Train] = []
        self._part("timers", self._due, due, now)
        self._part("events", self._events, now)
        if self.writable:
            self._part("fill", self._client.fill, now)
        self._part("send", self._send, due, now)

    def next_deadline(self, now: int) -> int | None:
        """When the next turn is due at the latest, or None."""
        deadline = _earlier(self.engine.next_deadline(), self._owed.due_at)
        if self._shim is not None:
            deadline = _earlier(deadline, self._shim.next_deadline())
        if deadline is not None and (self._troubled or not self.writable):
            deadline = max(deadline, now + BLOCKED_NS)
        return deadline

    def do(self, event: LtpEvent, now: int, work: Callable[..., object], *args: Any) -> None:
        """Do some of the work that an event asks for: if it fails, then for this event alone, and
        nobody waits for it in vain."""
        done = self._attempt(type(event).__name__, work, *args)
        if done:
            return
        if isinstance(event, BlockReceived | ReportHeld):
            self._owed.do(now, event.session, self._refuse, event.session)
        elif isinstance(event, Failed):
            self._client.give_back(event.refs, failed=True)

    def answer(
        self, event: BlockReceived | ReportHeld, kept: bool, now: int, *, at_once: bool = False
    ) -> None:
        """What an event has brought is durable, or cannot be `kept`: then the session is refused,
        and its sender tries again, `at_once` if nothing speaks against that.  A turn follows."""
        if not kept and at_once:
            self.engine.refuse(event.session, now, CancelReason.USR_CNCLD)
        elif not kept:
            self._refuse(event.session, now)
        elif isinstance(event, BlockReceived):
            self.engine.accept(event.session)
        else:
            self.engine.report_noted(event.session)

    def _refuse(self, session: SessionId, now: int) -> None:
        self.engine.refuse(session, now, CancelReason.SYS_CNCLD, self._hold(now))

    def _part(self, what: str, work: Callable[..., object], *args: Any) -> None:
        if not self._attempt(what, work, *args):
            self._troubled = True  # parts have parts: `|=` would forget theirs

    def _recover(self, shim: Shim, train: Train, now: int) -> None:
        for inner in shim.recover(train, now):
            self._attempt("receive", self.engine.receive, inner, now)

    def _due(self, repair: list[Train], now: int) -> None:
        """What timers ask for; `repair` takes what is to go out for them."""
        engine, shim = self.engine, self._shim
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= now:
            self._part("timers", engine.handle_deadline, now)
        if shim is not None and (due := shim.next_deadline()) is not None and due <= now:
            sent, recovered = shim.handle_deadline(now)
            repair += sent
            for train in recovered:
                self._attempt("receive", engine.receive, train, now)
        if (due := self._owed.due_at) is not None and due <= now:
            self._owed.retry(now)

    def _events(self, now: int) -> None:
        client, next_event = self._client, self.engine.next_event
        sent: list[int] = []
        try:
            while (event := next_event()) is not None:
                if isinstance(event, Sent):
                    sent.extend(event.refs)
                elif isinstance(event, LinkStalled | LinkAlive):
                    self._owed.do(now, "link", client.take, event)
                else:
                    self.do(event, now, client.take, event, now)
        finally:
            if sent and not self._attempt("sent", client.sent, sent, now):
                client.give_back(sent, failed=False)

    def _send(self, trains: list[Train], now: int) -> None:
        if self.writable:
            shim = self._shim
            fresh = self.engine.data_to_send(now, None if shim is None else shim.envelope())
            if shim is not None and fresh:
                fresh = shim.protect(fresh, now)
            trains += fresh
        if trains:
            self.writable = self._client.send(trains) and self.writable


def _earlier(one: int | None, other: int | None) -> int | None:
    return one if other is None or (one is not None and one < other) else other
