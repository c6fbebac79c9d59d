"""A state machine of Hypothesis that is the peer of an LTP engine (RFC 5326), on both sides.

    class Mine(LtpPeerMachine):
        adapter = MyEngine

    TestMine = Mine.TestCase

`MyEngine(engine_id, peer_id)` makes an `LtpPeer`: the engine under test, of which the machine is
the peer.  It sends blocks to it and takes blocks from it, in any order, with losses, repeats, late
and broken segments, and cancellations, and holds all that comes back against `ltp_model`.  In the
end all losses stop: every block that nobody cancelled has to arrive, and then the engine has to be
silent.

What the machine did is told to Hypothesis as events: `--hypothesis-show-statistics` shows how often
each was done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Protocol, TypeVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from interop.machines.ltp_model import (
    BlockFromPeer,
    BlockToPeer,
    PeerFault,
    ReceivingModel,
    SendingModel,
    Span,
)
from interop.machines.ltp_states import FROM, LTP_TABLE, TO, name_of
from interop.machines.machine import PeerMachine
from interop.strategies.ltp import SEGMENT_RULES, nearly_segments
from interop.strategies.ltp_transfers import Transfer, parts, pieces
from interop.strategies.violation import Nearly
from stack.core.errors import DecodeError
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SessionId,
    decode_segment,
)

T = TypeVar("T")

FIRST_SESSION = 10**9
"""Number of the first session of a case, unless the adapter has a `first_session`: one whose engine
remembers the cases before."""

PATIENCE_STEPS = 12
ROUNDS_MAX = 60
"""Within so many rounds without a loss everything has arrived."""

_PICKS = st.integers(0, 1 << 16)
_SELDOM = st.sampled_from([False, False, True])
_FATES = st.sampled_from(["once", "once", "twice", "lost"])

_BROKEN = [
    rule
    for rule in SEGMENT_RULES
    if rule.violation.words not in ("claims that touch", "a report without claims")
]
"""What nobody can take for a segment; of the others opinions differ."""


class LtpPeer(Protocol):
    """An engine under test: a Python object, or what stands for a process or a socket.  Times are
    nanoseconds from any moment, and never go back."""

    def receive(self, datagram: bytes, now_ns: int) -> None:
        """A datagram arrives; whatever it holds, this does not raise."""
        ...

    def advance(self, now_ns: int) -> None:
        """Time has passed: timers may have run out."""
        ...

    def poll(self) -> Iterable[bytes]:
        """The datagrams that leave now."""
        ...

    def send(self, block: bytes) -> None:
        """Its client wants this sent reliably, as the red part of a block of its own."""
        ...

    def blocks(self) -> Iterable[bytes]:
        """The red parts that its client was given since this was asked last."""
        ...


class MakesLtpPeer(Protocol):
    """Makes an engine under test, of its own engine id and that of its peer."""

    def __call__(self, engine_id: int, peer_id: int, /) -> LtpPeer:
        """The engine."""
        ...


class _Conversation(PeerMachine):
    """What reaches the engine and comes from it, and what the models make of it."""

    adapter: ClassVar[MakesLtpPeer]
    """Makes the engine under test; a class, usually."""

    patience_ns: ClassVar[int] = 60 * 10**9
    """Within this time the engine answers, and repeats what was not answered."""

    silence_ns: ClassVar[int] = 3600 * 10**9
    """At the end of a case it has so much time to close its sessions, and then says nothing for as
    long again."""

    own_id: ClassVar[int] = 4_000_000_007
    """Engine id of the machine."""

    engine_id: ClassVar[int] = 4_000_000_009
    """Engine id of the engine under test."""

    sends: ClassVar[bool] = True
    """Whether it can be made to send blocks."""

    delivers: ClassVar[bool] = True
    """Whether it can be seen what its client is given."""

    may_cancel: ClassVar[bool] = False
    """Whether the engine may cancel sessions in which nothing is wrong, for limits of its own."""

    table = LTP_TABLE
    peer: LtpPeer

    def __init__(self) -> None:
        super().__init__()
        self.sending = SendingModel(may_cancel=self.may_cancel, delivers=self.delivers)
        self.receiving = ReceivingModel(may_cancel=self.may_cancel)
        self.unsent: list[DataSegment] = []
        """What the machine has not sent yet, of all its sessions."""

        self.flying: list[DataSegment] = []
        """What the engine has sent and nobody has received."""

        self.answers: list[Segment] = []
        """What the machine as a receiver has not sent yet."""

    @initialize()
    def start(self) -> None:
        """A new engine."""
        self.peer = type(self).adapter(self.engine_id, self.own_id)
        self.first_session = getattr(self.peer, "first_session", FIRST_SESSION)

    def _reach(self, segment: Segment, what: str) -> None:
        """A segment reaches the engine as from a sender of blocks."""
        event(f"sender: {what}")
        with self._step(segment):
            octets = self.sending.reaches(segment)
        self._datagram(octets)

    def _answer(self, segment: Segment) -> None:
        """A segment reaches the engine as from a receiver of blocks."""
        with self._step(segment):
            octets = self.receiving.reaches_it(segment)
        self._datagram(octets)

    def _fail(self, words: str) -> None:
        clause, _, rest = words.partition(": ")
        raise PeerFault(clause, rest)

    @contextlib.contextmanager
    def _step(self, segment: Segment) -> Iterator[None]:
        """What is done within moves the session of a segment."""
        ours = segment.session.engine == self.own_id
        sessions: Mapping[SessionId, BlockToPeer | BlockFromPeer]
        sessions = self.sending.sessions if ours else self.receiving.sessions
        before = sessions.get(segment.session)
        state = before.state if before is not None else "open"
        yield
        after = sessions[segment.session].state
        self.took(TO if ours else FROM, state, name_of(segment), after)

    def _datagram(self, octets: bytes) -> None:
        self.peer.receive(octets, self.now_ns)
        self._drain()

    def _pass(self, duration_ns: int) -> int:
        """Time passes; how many segments came meanwhile."""
        self.now_ns += duration_ns
        self.peer.advance(self.now_ns)
        return self._drain()

    def _drain(self) -> int:
        """Hear all that the engine says, and judge it; how many segments that was."""
        count = 0
        for block in self.peer.blocks():
            self.sending.delivered(bytes(block))
        for datagram in self.peer.poll():
            for segment in _segments(bytes(datagram)):
                count += 1
                self._heard(segment)
        for block in self.peer.blocks():
            self.sending.delivered(bytes(block))
        return count

    def _heard(self, segment: Segment) -> None:
        if segment.session.engine not in (self.own_id, self.engine_id):
            raise PeerFault("§3.1", "a segment of a session that nobody began", segment)
        with self._step(segment):
            if segment.session.engine == self.own_id:
                self.sending.heard(segment)
                return
            self.receiving.heard(segment)
        if isinstance(segment, DataSegment):
            self.flying.append(segment)
        elif isinstance(segment, CancelSegment):
            self.answers.append(CancelAck(session=segment.session, to_sender=True))


class LtpPeerMachine(_Conversation):
    """The peer of one LTP engine.  Set `adapter`, and whatever else is unlike this."""

    # ------------------------------------------------------------------- a sender of blocks

    @rule(transfer=pieces(part_bytes_max=60))
    def begin(self, transfer: Transfer) -> None:
        """Take up a block, of which nothing is sent yet."""
        session = SessionId(self.own_id, self.first_session + len(self.sending.sessions))
        segments = tuple(replace(one, session=session) for one in parts(transfer))
        self.sending.begin(replace(transfer, session=session, segments=segments))
        self.unsent += segments

    @precondition(lambda self: self.unsent)
    @rule(pick=_PICKS, lost=st.sampled_from([False, False, False, True]))
    def send_segment(self, pick: int, lost: bool) -> None:
        """One more segment leaves, in any order, and is lost or arrives."""
        segment = self.unsent.pop(pick % len(self.unsent))
        if not lost and not self._cancelled_unheard(segment):
            self._reach(segment, "data")

    @precondition(lambda self: self.sending.sessions)
    @rule(pick=_PICKS)
    def send_again(self, pick: int) -> None:
        """A segment of any session comes once more, or for the first time, checkpoints too."""
        every = [
            segment
            for out in self.sending.sessions.values()
            for segment in parts(out.transfer)
            if not self._cancelled_unheard(segment)
        ]
        if every:
            self._reach(every[pick % len(every)], "data again")

    def _cancelled_unheard(self, segment: DataSegment) -> bool:
        """Whether its session was cancelled before anything of it arrived: to the engine it would
        be a new one."""
        out = self.sending.sessions[segment.session]
        return out.cancelled and not out.here

    @precondition(lambda self: self._unacknowledged())
    @rule(pick=_PICKS)
    def acknowledge(self, pick: int) -> None:
        """The engine learns that a report of its has arrived."""
        waiting = self._unacknowledged()
        session, serial = waiting[pick % len(waiting)]
        self._reach(ReportAck(session=session, report_serial=serial), "acknowledgement")

    def _unacknowledged(self) -> list[tuple[SessionId, int]]:
        return [
            (session, serial)
            for session, out in self.sending.sessions.items()
            for serial in out.open_reports
        ]

    @precondition(lambda self: self._gaps())
    @rule(pick=_PICKS, lost=st.integers(0, 7))
    def fill_gaps(self, pick: int, lost: int) -> None:
        """What a report misses is sent again, the last segment as a checkpoint (§6.13)."""
        gaps = self._gaps()
        report, found = gaps[pick % len(gaps)]
        for at, segment in enumerate(self.sending.again(report, found)):
            if not lost >> at & 1:
                self._reach(segment, "gap")

    def _gaps(self) -> list[tuple[ReportSegment, list[Span]]]:
        return [
            gap
            for session, out in self.sending.sessions.items()
            if not out.cancelled and not out.cancelling
            for gap in self.sending.missing(session)
        ]

    @precondition(lambda self: self.sending.sessions)
    @rule(pick=_PICKS, really=_SELDOM, late=st.booleans())
    def cancel_as_sender(self, pick: int, really: bool, late: bool) -> None:
        """A session is given up (§6.19); what left before it may come after it."""
        every = self.sending.sessions
        begun = [session for session, out in every.items() if out.here and not out.cancelled]
        sessions = [*begun, *begun, *every]
        session = sessions[pick % len(sessions)]
        if really:
            reason = CancelReason.USR_CNCLD
            cancel = CancelSegment(session=session, by_sender=True, reason=reason)
            self.unsent = [one for one in self.unsent if one.session != session]
            self._reach(cancel, "cancellation by the sender")
            out = self.sending.sessions[session]
            if late and out.here:
                for segment in parts(out.transfer):
                    self._reach(segment, "data after a cancellation")

    # ----------------------------------------------------------------- a receiver of blocks

    @precondition(lambda self: self.sends)
    @rule(size=st.integers(1, 5000))
    def submit(self, size: int) -> None:
        """The engine's client has a block to send, unlike all others."""
        number = len(self.receiving.submitted)
        block = (number.to_bytes(2, "big") * (size // 2 + 1))[:size] + number.to_bytes(2, "big")
        self.receiving.submitted.append(block)
        self.peer.send(block)
        self._drain()

    @precondition(lambda self: self.flying)
    @rule(pick=_PICKS, fate=_FATES)
    def arrive(self, pick: int, fate: str) -> None:
        """Something that the engine has sent arrives, in any order, maybe twice, or is lost."""
        at = pick % len(self.flying)
        segment = self.flying[at] if fate == "twice" else self.flying.pop(at)
        event(f"receiver: data, {fate}")
        report = None if fate == "lost" else self.receiving.reaches_us(segment)
        if report is not None:
            self.answers.append(report)

    @precondition(lambda self: self.answers)
    @rule(pick=_PICKS, fate=_FATES)
    def answer(self, pick: int, fate: str) -> None:
        """A report leaves, and arrives, maybe twice, or is lost."""
        at = pick % len(self.answers)
        report = self.answers[at] if fate == "twice" else self.answers.pop(at)
        event(f"receiver: report, {fate}")
        if fate != "lost":
            self._answer(report)

    @precondition(lambda self: any(not one.over for one in self.receiving.sessions.values()))
    @rule(pick=_PICKS, really=_SELDOM)
    def cancel_as_receiver(self, pick: int, really: bool) -> None:
        """The receiver does not want a block (§6.19)."""
        sessions = [name for name, one in self.receiving.sessions.items() if not one.over]
        session = sessions[pick % len(sessions)]
        if really:
            event("receiver: cancellation")
            self._answer(self.receiving.cancel(session))

    # -------------------------------------------------------------------------- anybody

    @rule(nearly=nearly_segments(rules=_BROKEN))
    def break_a_rule(self, nearly: Nearly) -> None:
        """Octets that are no segment: nothing may come of them."""
        event(f"broken: {nearly.violation.words}")
        self._datagram(nearly.encoded)

    @rule(milliseconds=st.sampled_from([1, 20, 300, 2000]))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self._pass(milliseconds * 10**6)

    @precondition(lambda self: self.sending.sessions or self.receiving.sessions)
    @rule()
    def be_patient(self) -> None:
        """Nothing comes for so long that the engine has answered, and repeated, all that it has
        to."""
        owed = {*self.sending.owed(), *self.receiving.owed()}
        self.sending.unrepeated()
        self.receiving.stuck()
        for _ in range(PATIENCE_STEPS):
            self._pass(self.patience_ns // PATIENCE_STEPS)
        still = owed & {*self.sending.owed(), *self.receiving.owed()}
        for words in (*sorted(still), *self.sending.unrepeated(), *self.receiving.stuck()):
            self._fail(words)

    def finish(self) -> None:
        """Nothing is lost any more: all blocks arrive, all sessions end, and there is silence."""
        for _ in range(ROUNDS_MAX):
            self._heal()
            if not self._unfinished():
                break
        for words in self._unfinished():
            self._fail(words)
        for _ in range(PATIENCE_STEPS):
            self._pass(self.silence_ns // PATIENCE_STEPS)
            self._heal()
        if self._pass(self.silence_ns):
            self._fail("§6.20: sessions that are over are not closed: the engine goes on")

    def _heal(self) -> None:
        """One round in which everything arrives."""
        for segment in self.unsent:
            if not self._cancelled_unheard(segment):
                self._reach(segment, "data")
        self.unsent.clear()
        for session, out in self.sending.sessions.items():
            if out.cancelling and not out.cancelled:
                self._reach(CancelAck(session=session, to_sender=False), "end of a cancellation")
            if out.cancelled:
                continue
            for told, gaps in list(self.sending.missing(session))[:1]:
                for segment in self.sending.again(told, gaps):
                    self._reach(segment, "gap")
            if out.transfer.red_bytes and not out.known and not out.unanswered:
                for segment in parts(out.transfer):
                    self._reach(segment, "data again")
            for serial in list(out.open_reports):
                self._reach(ReportAck(session=session, report_serial=serial), "acknowledgement")
        while self.flying:
            report = self.receiving.reaches_us(self.flying.pop(0))
            if report is not None:
                self.answers.append(report)
        while self.answers:
            self._answer(self.answers.pop(0))
        self._pass(self.patience_ns // PATIENCE_STEPS)

    def _unfinished(self) -> list[str]:
        """What has not come to its end, in words."""
        found = [*self.sending.owed(), *self.receiving.owed()]
        for session, out in self.sending.sessions.items():
            handed_over = out.delivered or not (self.delivers and out.transfer.red_bytes)
            if not out.cancelled and not (out.known and handed_over):
                found.append(f"§6.12: {session} does not come to its end")
        came = [self.receiving.block(session) for session in self.receiving.sessions]
        gone = sum(one.cancelled for one in self.receiving.sessions.values())
        missing = [block for block in self.receiving.submitted if block not in came]
        if len(missing) > gone:
            found.append(f"§6.12: {len(missing)} blocks that were to be sent did not arrive")
        return found


def _segments(datagram: bytes) -> list[Segment]:
    """The segments of a datagram.  Raises `PeerFault`."""
    found: list[Segment] = []
    at = 0
    while at < len(datagram):
        try:
            segment, at = decode_segment(datagram, at)
        except DecodeError as error:
            raise PeerFault("§3", f"octets that are no segment: {error}", datagram.hex()) from None
        found.append(segment)
    return found
