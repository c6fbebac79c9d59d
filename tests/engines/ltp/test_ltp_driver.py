"""The driver of an LTP engine: whatever fails in a turn, the rest of it follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from stack.core.train import Train
from stack.engines.ltp import LtpEngine, Sent
from stack.engines.ltp.driver import BLOCKED_NS, LtpDriver

PARTS = {
    "receive",
    "recover",
    "handle_deadline",
    "shim_deadline",
    "next_event",
    "take",
    "sent",
    "fill",
    "data_to_send",
    "protect",
    "send",
}
"""What a turn calls."""


class Frail:
    """Engine, shim and client of a driver in one; the named part raises the first time."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.done: list[str] = []
        self.got: list[bytes] = []
        self.back: list[int] = []
        self.failures = 0
        self.told = False

    def _do(self, part: str) -> None:
        if part == self.part:
            self.part = ""
            raise ValueError(part)
        self.done.append(part)

    def attempt(self, what: str, work: Callable[..., object], *args: Any) -> bool:
        try:
            work(*args)
        except ValueError:
            self.failures += 1
            return False
        return True

    # the engine

    def receive(self, train: Train, now: int) -> None:
        self._do("receive")
        self.got.append(bytes(train.data))

    def data_to_send(self, now: int) -> list[Train]:
        self._do("data_to_send")
        return [Train(b"data", 4)]

    def next_event(self) -> Any:
        if not self.told:
            self.told = True
            return Sent((1, 2))
        self._do("next_event")
        return None

    def next_deadline(self) -> int | None:
        return 0

    # the client

    def take(self, event: Any, now: int) -> None:
        self._do("take")

    def sent(self, refs: Sequence[int], now: int) -> None:
        self._do("sent")

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        self.back += refs

    def fill(self, now: int) -> None:
        self._do("fill")

    def send(self, trains: list[Train]) -> bool:
        self._do("send")
        return True

    # the shim

    def recover(self, train: Train, now: int) -> list[Train]:
        self._do("recover")
        return [train]

    def protect(self, trains: list[Train], now: int) -> list[Train]:
        self._do("protect")
        return trains

    def handle_deadline(self, now: int) -> Any:
        self._do("handle_deadline")
        return [Train(b"repair", 6)], [Train(b"repaired", 8)]

    def counters(self) -> dict[str, int]:
        return {}


class Coding:
    """The shim's side of it, whose deadlines are its own."""

    def __init__(self, frail: Frail) -> None:
        self._frail = frail
        self.recover, self.protect = frail.recover, frail.protect
        self.next_deadline, self.counters = frail.next_deadline, frail.counters

    def handle_deadline(self, now: int) -> tuple[list[Train], list[Train]]:
        self._frail._do("shim_deadline")
        return [Train(b"repair", 6)], [Train(b"repaired", 8)]


@pytest.mark.parametrize("part", sorted(PARTS - {"take"}))
def test_a_part_of_a_turn_that_fails_stops_no_other_part(part: str) -> None:
    frail = Frail(part)
    driver = LtpDriver(cast("LtpEngine", frail), frail, shim=Coding(frail), attempt=frail.attempt)
    driver.receive([Train(b"a", 1), Train(b"b", 1)], 0)
    driver.turn(0)
    follows = {"data_to_send": {"protect", "send"}, "protect": {"send"}}
    expected = PARTS - {"take", part} - follows.get(part, set())
    assert set(frail.done) >= expected
    got = [] if part in ("receive", "recover") else [b"a"]
    assert frail.got == [*got, b"b", *([b"repaired"] if part != "shim_deadline" else [])]
    # What the peer has said is never forgotten: who cannot deal with it has it back.
    assert frail.back == ([1, 2] if part == "sent" else [])
    assert frail.failures
    if part not in ("receive", "recover", "sent"):
        assert driver.next_deadline(0) == BLOCKED_NS, "it is not tried again in a circle"
    frail.done.clear()
    driver.receive([Train(b"c", 1)], 1)
    driver.turn(1)
    assert set(frail.done) == PARTS - {"take", "sent"}, "the next turn is as any other"


@pytest.mark.parametrize("nonsense", [None, 7, [None], [b"octets"]])
def test_a_port_that_brings_nonsense_stops_nothing(nonsense: Any) -> None:
    failures = 0

    def attempt(what: str, work: Callable[..., object], *args: Any) -> bool:
        nonlocal failures
        try:
            work(*args)
        except Exception:
            failures += 1
            return False
        return True

    frail = Frail("")
    frail.receive = lambda train, now: frail.got.append(bytes(train.data))  # type: ignore[method-assign]
    driver = LtpDriver(cast("LtpEngine", frail), frail, attempt=attempt)
    driver.receive(nonsense, 0)
    assert failures
    driver.receive([Train(b"a", 1)], 0)
    assert frail.got == [b"a"]
