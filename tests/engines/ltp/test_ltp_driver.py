"""The driver of an LTP engine: whatever fails in a turn, the rest of it follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import Train, single
from stack.engines.ltp import BlockReceived, Failed, LinkStalled, LtpEngine, ReportHeld, Sent
from stack.engines.ltp.driver import BLOCKED_NS, LtpDriver
from stack.engines.ltp.owed import AGAIN_NS, Owed
from stack.wire.ltp import CancelReason, SessionId, decode_segment, encode_segment
from tests.engines.ltp.lone import (
    INTERVAL,
    REMOTE,
    Lone,
    ack,
    cancel,
    claimed,
    red,
    report,
)

PARTS = {
    "receive",
    "recover",
    "handle_deadline",
    "shim_deadline",
    "next_event",
    "take",
    "sent",
    "fill",
    "envelope",
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

    def data_to_send(self, now: int, envelope: None) -> list[Train]:
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

    def envelope(self) -> None:
        self._do("envelope")

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
        self.envelope = frail.envelope
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
    follows = {
        "envelope": {"data_to_send", "protect", "send"},
        "data_to_send": {"protect", "send"},
        "protect": {"send"},
    }
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


def test_what_timers_bring_leaves_beside_what_is_new() -> None:
    frail = Frail("")
    left: list[bytes] = []

    def send(trains: list[Train]) -> bool:
        left.extend(bytes(train.data) for train in trains)
        return True

    frail.send = send  # type: ignore[method-assign]
    LtpDriver(cast("LtpEngine", frail), frail, shim=Coding(frail)).turn(0)
    assert left == [b"repair", b"data"]


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


# ---- when the next turn is due, and what a turn does -------------------------------------------


class Client:
    """Takes what it is given and writes it down; `take` may fail, and the link may be full."""

    def __init__(self, **config: Any) -> None:
        self.lone = Lone(**config)
        self.took: list[Any] = []
        self.acknowledged: list[int] = []
        self.back: list[tuple[list[int], bool]] = []
        self.out: list[bytes] = []
        self.filled = 0
        self.full = False
        self.failing: tuple[type[Any], ...] = ()
        self.attempts: list[str] = []
        self.driver = LtpDriver(
            self.lone.engine, self, attempt=self.attempt, hold=lambda now: 7 * MILLISECOND
        )

    def attempt(self, what: str, work: Callable[..., object], *args: Any) -> bool:
        try:
            work(*args)
        except ValueError:
            self.attempts.append(what)
            return False
        return True

    def take(self, event: Any, now: int) -> None:
        if isinstance(event, self.failing):
            raise ValueError("planted")
        self.took.append(event)

    def sent(self, refs: Sequence[int], now: int) -> None:
        if Sent in self.failing:
            raise ValueError("planted")
        self.acknowledged += refs

    def give_back(self, refs: Sequence[int], *, failed: bool) -> None:
        self.back.append((list(refs), failed))

    def fill(self, now: int) -> None:
        self.filled += 1

    def send(self, trains: list[Train]) -> bool:
        self.out += [bytes(each) for train in trains for each in train.datagrams()]
        return not self.full

    def turn(self) -> list[Any]:
        """The segments that leave in a turn."""
        self.out.clear()
        self.driver.turn(self.lone.now)
        return [decode_segment(octets)[0] for octets in self.out]

    def due(self) -> int | None:
        return self.driver.next_deadline(self.lone.now)


def test_the_next_turn_is_due_when_the_engine_has_something_to_do() -> None:
    client = Client()
    assert client.due() is None
    client.lone.submit(3000)
    assert client.due() == 0
    assert len(client.turn()) == 3
    assert client.due() == client.lone.engine.next_deadline() == INTERVAL
    assert client.filled == 1


def test_a_link_that_is_full_is_left_alone() -> None:
    client = Client()
    client.full = True
    client.lone.submit(3000)
    assert len(client.turn()) == 3
    assert not client.driver.writable
    client.lone.submit(500, 2)
    assert client.turn() == []
    assert client.filled == 1, "it has no room"
    client.lone.now = 5
    assert client.due() == 5 + BLOCKED_NS
    client.full, client.driver.writable = False, True
    assert client.due() == 2 * MILLISECOND, "it may wait for company as long"
    client.lone.now = 2 * MILLISECOND
    assert len(client.turn()) == 1
    assert client.filled == 2


def test_a_client_that_finds_the_link_full_by_itself_is_heard() -> None:
    client = Client()
    client.lone.submit(3000)

    def fill(now: int) -> None:
        client.driver.writable = False

    client.fill = fill  # type: ignore[method-assign]
    assert client.turn() == [], "after that nothing is asked for"


def test_what_arrives_and_is_durable_is_acknowledged() -> None:
    client = Client()
    for kept, reason in ((True, None), (False, CancelReason.SYS_CNCLD)):
        session = SessionId(REMOTE, 10 + kept)
        client.took.clear()
        part = red(5, b"xy", checkpoint=3, session=session)
        client.driver.receive([single(encode_segment(part))], client.lone.now)
        client.turn()
        assert client.took == [ReportHeld(session)]
        client.driver.answer(client.took[0], kept, client.lone.now)
        client.lone.wait(7 * MILLISECOND)
        (said,) = client.turn()
        if reason is None:
            assert claimed(said) == [(5, 7)]
            rest = red(0, b"abcde", session=session)
            end = red(7, b"z", checkpoint=4, end=True, session=session)
            trains = [single(encode_segment(one)) for one in (ack(said), rest, end)]
            client.driver.receive(trains, client.lone.now)
            client.turn()
            block = client.took[-1]
            assert bytes(block.data) == b"abcdexyz"
            client.driver.answer(block, True, client.lone.now)
            (final,) = client.turn()
            assert claimed(final) == [(0, 8)]
        else:
            assert (said.session, said.reason) == (session, reason)


def test_what_is_to_come_again_at_once_is_refused_at_once() -> None:
    """As it will be taken then: its sender has no reason to go on more slowly (RFC 5326 §3.2.4)."""
    client = Client()
    for number in (1, 2):
        session = SessionId(REMOTE, number)
        part = red(0, b"xy", checkpoint=3, end=True, session=session)
        client.driver.receive([single(encode_segment(part))], client.lone.now)
        client.turn()
        assert isinstance(client.took[-1], BlockReceived)
        client.driver.answer(client.took[-1], False, client.lone.now, at_once=True)
        (said,) = client.turn()
        assert (said.session, said.reason) == (session, CancelReason.USR_CNCLD)


def test_what_cannot_be_taken_is_refused_later() -> None:
    client = Client()
    client.failing = (BlockReceived,)
    client.lone.feed(red(0, b"abc", checkpoint=1, end=True))
    assert client.turn() == []
    assert client.attempts == ["BlockReceived"]
    assert client.due() == 7 * MILLISECOND, "it is held back"
    client.lone.now = 7 * MILLISECOND
    (said,) = client.turn()
    assert said.reason == CancelReason.SYS_CNCLD


def test_what_failed_or_was_sent_and_cannot_be_told_is_given_back() -> None:
    client = Client()
    client.failing = (Sent, Failed)
    for ref in (1, 2):
        client.lone.submit(100, ref)
        (segment,) = client.turn()
        if ref == 1:
            serial = segment.checkpoint_serial
            client.lone.feed(report(segment.session, 9, serial, 0, 100, (0, 100)))
        else:
            client.lone.feed(cancel(segment.session, by_sender=False))
            client.turn()
            client.lone.now += SECOND
        client.turn()
    assert client.back == [([1], False), ([2], True)]
    assert client.acknowledged == []
    client.failing = ()
    client.lone.submit(100, 3)
    (segment,) = client.turn()
    client.lone.feed(report(segment.session, 9, segment.checkpoint_serial, 0, 100, (0, 100)))
    client.turn()
    assert client.acknowledged == [3]


def test_a_stall_is_told_in_the_end() -> None:
    client = Client(stall_after=1)
    client.failing = (LinkStalled,)
    client.lone.submit(100)
    client.turn()
    client.lone.now = INTERVAL
    client.turn()
    assert client.attempts == ["owed"]
    assert client.due() is not None
    assert client.due() <= INTERVAL + AGAIN_NS  # type: ignore[operator]
    client.failing = ()
    client.lone.now = INTERVAL + AGAIN_NS - 1
    client.turn()
    assert client.took == []
    client.lone.now += 1
    client.turn()
    assert client.took == [LinkStalled()]


def test_what_is_owed_is_done_once_and_the_latest_of_a_kind() -> None:
    done: list[tuple[str, int]] = []
    failing = True

    def attempt(what: str, work: Callable[..., object], *args: Any) -> bool:
        assert what == "owed"
        if failing:
            return False
        work(*args)
        return True

    def work(name: str, now: int) -> None:
        done.append((name, now))

    owed = Owed(attempt)
    assert owed.due_at is None
    owed.do(10, "a", work, "first")
    owed.do(20, "a", work, "second")
    owed.do(30, "b", work, "other")
    assert owed.due_at == 20 + AGAIN_NS
    owed.retry(50)
    assert owed.due_at == 50 + AGAIN_NS
    failing = False
    owed.retry(60)
    assert done == [("second", 60), ("other", 60)]
    assert owed.due_at is None
    owed.retry(70)
    assert len(done) == 2
    owed.do(80, "c", work, "at once")
    assert (done[-1], owed.due_at) == (("at once", 80), None)
