"""The formal models hold, find planted mistakes, and the real engines do as they say."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Iterator
from typing import Any

import pytest

from interop.models.checker import Model, explore, walks
from interop.models.closure import ClosureModel
from interop.models.custody import BLOCK, REPORT, CustodyModel, Holding
from stack.core.train import single
from stack.engines.ltp import BlockReceived, Failed, LtpConfig, LtpEngine, ReportHeld, Sent
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    SessionId,
    decode_segment,
)

OWLT = 1_000_000
REF = 7


@pytest.mark.parametrize(
    "model",
    [
        CustodyModel(faults=2, sessions=2),
        ClosureModel(faults=0),
        ClosureModel(faults=1, cancels=False),
    ],
    ids=repr,
)
def test_the_model_holds_in_every_state(model: Model[Hashable]) -> None:
    found = explore(model)
    assert (found.wrong, found.stuck, found.trace) == ("", False, ())
    assert found.states > 200


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (CustodyModel(before_durable=True), "nobody has the bundle on disk"),
        (CustodyModel(no_duplicates_known=True), "the bundle is stored twice"),
        (ClosureModel(forgets=True, faults=2), "the block is delivered twice"),
        (ClosureModel(closes_early=True, cancels=False, faults=1), ""),
        (ClosureModel(gives_up=False, faults=1), ""),
    ],
    ids=repr,
)
def test_a_mistake_is_found_and_shown(model: Any, words: str) -> None:
    found = explore(model)
    assert found.wrong == words
    assert found.stuck == (not words)
    state = model.begin()
    for name in found.trace:
        state = dict(model.steps(state))[name]
    assert model.wrong(state) == words


def test_too_many_states_are_told() -> None:
    with pytest.raises(ValueError, match="bound the model"):
        explore(CustodyModel(), most=100)


def engine(local: int, remote: int, seed: int) -> LtpEngine:
    config = LtpConfig(
        local_engine_id=local, remote_engine_id=remote, segment_bytes=128, aggregation_ns=0
    )
    made = LtpEngine(config, entropy=random.Random(seed).randbytes)
    made.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=OWLT)
    return made


def said(one: LtpEngine, now: int) -> Iterator[bytes]:
    for train in one.data_to_send(now):
        yield from (bytes(datagram) for datagram in train.datagrams())


def told(one: LtpEngine) -> list[Any]:
    return list(iter(one.next_event, None))


class Handover:
    """The real engines, doing what a walk of the custody model says."""

    def __init__(self) -> None:
        self.seeds = iter(range(1000))
        self.now = 0
        self.kept, self.stored = True, 0
        self.held: SessionId | None = None
        self.box: dict[tuple[str, int], bytes] = {}
        self.numbers: dict[SessionId, int] = {}
        self.start_sender()
        self.start_receiver()

    def start_sender(self) -> None:
        self.sender = engine(1, 2, next(self.seeds))

    def start_receiver(self) -> None:
        self.receiver = engine(2, 1, next(self.seeds))
        self.held = None

    def collect(self, one: LtpEngine) -> None:
        for datagram in said(one, self.now):
            segment, _ = decode_segment(datagram)
            if isinstance(segment, DataSegment):
                number = self.numbers.setdefault(segment.session, len(self.numbers) + 1)
                self.box[BLOCK, number] = datagram
            elif isinstance(segment, ReportSegment):
                self.box[REPORT, self.numbers[segment.session]] = datagram

    def step(self, name: str) -> None:
        what, *rest = name.split()
        match what:
            case "send":
                self.sender.submit(b"a bundle", REF, self.now)
                self.collect(self.sender)
            case "timeout":
                deadline = self.sender.next_deadline()
                assert deadline is not None
                self.now = max(self.now, deadline)
                self.sender.handle_deadline(self.now)
                self.collect(self.sender)
            case "commit":
                assert self.held is not None
                self.stored = 1  # its identity is known to the store
                self.receiver.accept(self.held)
                self.held = None
                self.collect(self.receiver)
            case "sender":
                self.start_sender()
            case "receiver":
                self.start_receiver()
            case "deliver" | "repeat":
                self.deliver(rest[0], int(rest[1]))
            case _:
                assert what == "lose"

    def deliver(self, kind: str, number: int) -> None:
        train = single(self.box[kind, number])
        if kind == BLOCK:
            if self.held is not None:
                return  # the store's writer takes one after the other; the model likewise
            self.receiver.receive(train, self.now)
            for event in told(self.receiver):
                assert isinstance(event, BlockReceived)
                self.held = event.session
            self.collect(self.receiver)
        else:
            self.sender.receive(train, self.now)
            self.kept &= not any(isinstance(event, Sent) for event in told(self.sender))
            self.collect(self.sender)

    def check(self, state: Holding) -> None:
        assert (self.kept, self.stored) == (state.kept, state.stored)
        assert (self.held and self.numbers[self.held]) == (state.held or None)


def test_the_engines_hand_over_as_the_model_does() -> None:
    steps = 0
    for walk in list(walks(CustodyModel(faults=2, sessions=2)))[::3]:
        real = Handover()
        done = []
        for name, state in walk:
            done.append(name)
            try:
                real.step(name)
                real.check(state)
            except (AssertionError, KeyError) as error:
                error.add_note("after " + ", ".join(done))
                raise
            steps += 1
    assert steps > 500


def test_a_receiver_that_acknowledges_before_it_has_stored_is_found_on_the_walks() -> None:
    class Eager(Handover):
        def deliver(self, kind: str, number: int) -> None:
            super().deliver(kind, number)
            if kind == BLOCK and self.held is not None:
                self.receiver.accept(self.held)
                self.collect(self.receiver)

    def follow(walk: list[tuple[str, Holding]]) -> bool:
        real = Eager()
        for name, state in walk:
            if name == "commit":
                return True
            real.step(name)
            if (REPORT, 1) in real.box:
                real.deliver(REPORT, 1)  # before anything is committed
                return real.kept == state.kept
        return True

    assert not all(follow(walk) for walk in walks(CustodyModel(faults=1, sessions=1)))


class Conversation:
    """The real engines in one session, as far as a walk of the closure model can be followed."""

    def __init__(self) -> None:
        self.now = 0
        self.ends = {"sender": engine(1, 2, 1), "receiver": engine(2, 1, 2)}
        self.box: dict[str, tuple[str, bytes]] = {}
        self.delivered = self.sent = self.failed = 0
        self.ends["sender"].submit(bytes(150), REF, 0)
        self.collect()

    def collect(self) -> None:
        for name, end in self.ends.items():
            other = "receiver" if name == "sender" else "sender"
            for event in told(end):
                self.sent += isinstance(event, Sent)
                self.failed += isinstance(event, Failed)
                if isinstance(event, BlockReceived):
                    self.delivered += 1
                    end.accept(event.session)
                elif isinstance(event, ReportHeld):
                    end.report_noted(event.session)
            for datagram in said(end, self.now):
                self.box[self.called(datagram)] = other, datagram

    @staticmethod
    def called(datagram: bytes) -> str:
        segment, _ = decode_segment(datagram)
        match segment:
            case DataSegment(is_checkpoint=True):
                return "checkpoint 1"
            case DataSegment():
                return "segment 0"
            case ReportSegment():
                whole = sum(claim.length for claim in segment.claims) == 150
                return "report 0,1" if whole else "report 1"
            case ReportAck():
                return "report acknowledgement"
            case CancelSegment(by_sender=True):
                return "cancel"
            case CancelSegment():
                return "refusal"
            case CancelAck():
                return "cancel acknowledgement"

    def step(self, name: str) -> bool:
        """Whether it could be done."""
        what, _, about = name.partition(" ")
        if name == "cancel":
            before = self.given_up
            self.ends["sender"].cancel([REF])
            return self.given_up > before
        if name in ("checkpoint timer", "cancel timer", "report timer"):
            return self.timer("receiver" if name == "report timer" else "sender")
        if what not in ("deliver", "repeat", "lose"):
            return False
        if about.startswith("report acknowledgement"):
            about = "report acknowledgement"
        if about not in self.box:
            return False
        to, datagram = self.box[about]
        if what != "repeat":
            del self.box[about]
        if what != "lose":
            self.ends[to].receive(single(datagram), self.now)
        return True

    def timer(self, end: str) -> bool:
        deadline = self.ends[end].next_deadline()
        if deadline is None:
            return False
        self.now = max(self.now, deadline)
        self.ends[end].handle_deadline(self.now)
        return True

    @property
    def given_up(self) -> int:
        return self.ends["sender"].count("export_given_up")

    def check(self) -> None:
        assert self.delivered <= 1
        assert self.sent + self.failed + self.given_up <= 1
        assert not self.sent or self.delivered

    def finish(self) -> None:
        """From here on nothing is lost: both ends close."""
        for _ in range(300):
            if self.box:
                self.step(f"deliver {next(iter(self.box))}")
            elif not self.timer("sender") and not self.timer("receiver"):
                break
            self.collect()
            self.check()
        assert self.sent + self.failed + self.given_up == 1
        assert not self.box
        assert all(end.next_deadline() is None for end in self.ends.values())


def test_the_engines_close_sessions_on_the_walks_of_the_model() -> None:
    followed = 0
    models = (ClosureModel(faults=0), ClosureModel(faults=1, cancels=False))
    for walk in itertools.chain(*(itertools.islice(walks(model), 25) for model in models)):
        real = Conversation()
        done = []
        try:
            for name, _ in walk:
                done.append(name)
                followed += real.step(name)
                real.collect()
                real.check()
            real.finish()
        except AssertionError as error:
            error.add_note("after " + ", ".join(done))
            raise
    assert followed > 200
