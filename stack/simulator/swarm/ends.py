"""One end of a pair of bare LTP engines: a client of the engine's driver, as a node's link is.

It stores a block before it accepts it, notes a session before its first report, sends again what
failed and begins again from what was durable, in one dict each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stack.core.train import Train
from stack.engines.ltp import (
    BlockReceived,
    Failed,
    GreenReceived,
    LtpConfig,
    LtpEngine,
    LtpEvent,
    ReportHeld,
    SessionClosed,
    capsule_client,
)
from stack.engines.ltp.driver import LtpDriver, Shim
from stack.wire.ltp import CLIENT_SDA, SessionId

HEAD_BYTES: Final = 12


class Around(Protocol):
    """What an end lives in."""

    checks: Counter[str]

    def problem(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        ...

    def refuses(self, end: End) -> bool:
        """Whether the block that has just come is not taken."""
        ...

    def later(self, end: End, delay_ns: int, work: Callable[[int], None]) -> None:
        """Call `work(now)` after a time, and give the end a turn."""
        ...

    def transmit(self, end: End, train: Train) -> None:
        """Carry what leaves an end to its peer."""
        ...


class End:
    """One engine with its driver, and what is durable here."""

    peer: End

    def __init__(self, name: str, config: LtpConfig, around: Around) -> None:
        self.name = name
        self.config = config
        self.commit_ns = 0
        """How long it takes to make something durable."""

        self.again_ns = 0
        """How long nothing new begins after a failure."""

        self.outgoing: dict[int, bytes] = {}
        self.green: set[int] = set()
        self.waiting: list[int] = []
        self.done: set[int] = set()
        self.stored: dict[int, bytes] = {}
        self.notes: set[SessionId] = set()
        self.blocks: set[SessionId] = set()
        """Sessions of which this process has been given the block."""

        self.over: set[SessionId] = set()
        """Sessions whose notes need not be kept."""

        self.held_until_ns = 0
        self._life = 0
        self._around = around

    def begin(self, engine: LtpEngine, now: int, shim: Shim | None = None) -> None:
        """Begin, or begin again from what was durable."""
        self._life += 1
        self.engine = engine
        self.driver = LtpDriver(engine, self, shim=shim)
        self.driver.recover(sorted(self.notes), now)
        self.waiting = [ref for ref in self.outgoing if ref not in self.done]
        self.blocks = set()

    # ---- the client of the driver ----------------------------------------------------------

    def take(self, event: LtpEvent, now: int) -> None:
        """Do as a node does."""
        match event:
            case Failed():
                self.give_back(event.refs, failed=True)
                self.held_until_ns = now + self.again_ns
            case BlockReceived() | ReportHeld():
                life = self._life
                if self.commit_ns:
                    self._around.later(
                        self, self.commit_ns, lambda then: self._durable(event, life, then)
                    )
                else:
                    self._durable(event, life, now)
            case GreenReceived():
                if event.offset == 0 and event.eob:
                    self._right(event.data)
            case SessionClosed():
                self.over.add(event.session)
                self.notes.discard(event.session)

    def sent(self, refs: Sequence[int], now: int) -> None:
        """The peer has these: does it?"""
        around = self._around
        for ref in refs:
            around.checks["custody"] += 1
            if ref in self.green:
                self.done.add(ref)
            elif self.peer.stored.get(ref) != self.outgoing[ref]:
                around.problem("custody", f"unit {ref} is acknowledged; {self.peer.name} lacks it")
            elif ref in self.done:
                around.problem("twice", f"unit {ref} is acknowledged twice")
            else:
                self.done.add(ref)

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        """They wait again."""
        self.waiting += [ref for ref in refs if ref not in self.done]

    def fill(self, now: int) -> None:
        """Submit what waits."""
        if now >= self.held_until_ns:
            while self.waiting and self.engine.room() > 0:
                ref = self.waiting.pop(0)
                self.engine.submit(self.outgoing[ref], ref, now, green=ref in self.green)

    def send(self, trains: list[Train]) -> bool:
        """Onto the link."""
        for train in trains:
            self._around.transmit(self, train)
        return True

    # ---- what becomes durable ----------------------------------------------------------------

    def _durable(self, event: BlockReceived | ReportHeld, life: int, now: int) -> None:
        if life != self._life:
            return
        kept = True
        if isinstance(event, ReportHeld):
            if event.session not in self.over:  # a store would delete what it has just written
                self.notes.add(event.session)
        else:
            kept = self._block(event)
        self.driver.answer(event, kept, now)

    def _block(self, event: BlockReceived) -> bool:
        self._around.checks["twice"] += 1
        if event.session in self.blocks:
            self._around.problem("twice", f"the block of session {event.session} is given twice")
        self.blocks.add(event.session)
        if self._around.refuses(self):
            return False
        for unit in _units(event):
            if self._right(unit):
                self.stored[int.from_bytes(unit[:8], "big")] = unit
        return True

    def _right(self, unit: bytes) -> bool:
        self._around.checks["altered"] += 1
        if self.peer.outgoing.get(int.from_bytes(unit[:8], "big")) == unit:
            return True
        self._around.problem("altered", f"{self.name} got {unit[:40]!r}, which nobody sent")
        return False


def unit_of(ref: int, size: int) -> bytes:
    """A unit that tells its own number and length, as a bundle does."""
    size = max(size, HEAD_BYTES)
    noise = random.Random(ref).randbytes(size - HEAD_BYTES)
    return ref.to_bytes(8, "big") + size.to_bytes(4, "big") + noise


def _units(event: BlockReceived) -> list[bytes]:
    """The units of a block."""
    data = event.data
    if event.client_service != CLIENT_SDA:
        return [bytes(data)]
    units = []
    at = 0
    while at < len(data):
        _, at = capsule_client(data, at)
        size = int.from_bytes(data[at + 8 : at + 12], "big")
        units.append(bytes(data[at : at + size]))
        at += size
    return units
