"""A small LTP peer as ION and HDTN are on the wire, written from RFC 5326 and independent of
`stack`: few reports a block, blocks that wait for company, limits of its own, cancellations, no
service data aggregation.

It is sans-IO: `feed` a datagram, `handle` the clock, send what `datagrams` gives, and look at
`blocks` (what came), `sent` and `failed`.  Times are nanoseconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

MS = 1_000_000
RED, RED_CHECKPOINT, RED_END, RED_END_BLOCK = range(4)
REPORT, REPORT_ACK, CANCEL_SENDER, CANCEL_ACK_SENDER, CANCEL_RECEIVER, CANCEL_ACK_RECEIVER = (
    8,
    9,
    12,
    13,
    14,
    15,
)
UNREACH, RLEXC, SYS_CNCLD = 1, 2, 4

Session = tuple[int, int]
Span = tuple[int, int]


@dataclass(frozen=True)
class Habits:
    """What differs from stack to stack."""

    segment_bytes: int = 1400
    block_bytes: int = 100_000
    """Blocks are full at this size."""

    aggregation_ns: int = 1000 * MS
    """A block that is not full waits this long."""

    claims_max: int = 20
    few_reports: bool = True
    """No more reports that tell of gaps than the limit, none before the end of the red part was
    seen, and no answer to a checkpoint whose octets are here already (ION)."""

    expected_loss: float = 0.0
    """Share of segments that a peer with few reports expects to lose."""

    reports_unasked: bool = False
    """Say so without being asked when a plain segment completes the red part (HDTN)."""

    report_delay_ns: int = 0
    """A report on gaps waits for stragglers (HDTN)."""

    timeout_ns: int = 1000 * MS
    retries_max: int = 10
    block_bytes_max: int = 1 << 40
    """A larger block is cancelled (HDTN: the most red octets taken)."""


ION = Habits()
HDTN = Habits(
    block_bytes=0,
    aggregation_ns=0,
    claims_max=200,
    few_reports=False,
    reports_unasked=True,
    report_delay_ns=20 * MS,
    retries_max=5,
)


def sdnv(value: int) -> bytes:
    """RFC 6256."""
    octets = [value & 0x7F]
    while value := value >> 7:
        octets.insert(0, value & 0x7F | 0x80)
    return bytes(octets)


def read_sdnv(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def skip_extensions(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        length, at = read_sdnv(data, at + 1)
        at += length
    return at


def most_reports(red_bytes: int, segment_bytes: int, loss: float, claims_max: int) -> int:
    """How many reports on gaps a peer with few of them grants a block: 2, and more for the gaps
    that it expects in each round."""
    most, coming = 2, red_bytes
    while (lost := coming // max(1, segment_bytes) * loss) >= 1:
        most += -(-int(lost) // (claims_max - 1))
        coming = int(lost * segment_bytes)
    return most


@dataclass
class _Timed:
    """A segment that is repeated until its acknowledgement comes."""

    octets: bytes
    due: int
    tries: int = 0


@dataclass
class _Incoming:
    got: dict[int, bytes] = field(default_factory=dict)
    client: int = 1
    length: int = -1
    reports: int = 0
    most: int = 0
    first_bytes: int = 1
    serial: int = 0
    lowers: dict[int, int] = field(default_factory=dict)
    answered: dict[int, list[bytes]] = field(default_factory=dict)
    whole: bool = False
    cancelled: bool = False
    waiting: list[tuple[int, int, int, int]] = field(default_factory=list)

    def spans(self) -> list[Span]:
        found: list[Span] = []
        for at in sorted(self.got):
            end = at + len(self.got[at])
            if found and found[-1][1] == at:
                found[-1] = (found[-1][0], end)
            else:
                found.append((at, end))
        return found


@dataclass
class _Outgoing:
    data: bytes
    serial: int
    sdus: int
    have: set[Span] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    cancelled: bool = False

    def missing(self, lower: int, upper: int) -> list[Span]:
        found, at = [], lower
        for start, stop in sorted(self.have):
            if start > at:
                found.append((at, min(start, upper)))
            at = max(at, stop)
        if at < upper:
            found.append((at, upper))
        return [span for span in found if span[0] < min(span[1], upper)]


class Standin:
    """One such engine, for one peer."""

    def __init__(self, engine: int, peer: int, habits: Habits = ION, *, seed: int = 1) -> None:
        self.engine = engine
        self.peer = peer
        self.habits = habits
        self.blocks: list[tuple[int, bytes]] = []
        """(client service, octets) of every block that came whole.  Only client service 1 (the
        Bundle Protocol) is known here."""

        self.sent = self.failed = 0
        """Units submitted here, of which the peer has reported all, or whose block failed."""

        self.cancelled_here: list[tuple[Session, int]] = []
        self.counts = dict.fromkeys(("segments", "strange", "malformed", "checkpoints"), 0)
        self._random = random.Random(seed)
        self._number = self._random.randrange(1, 1 << 14)
        self._incoming: dict[Session, _Incoming] = {}
        self._closed: set[Session] = set()
        self._outgoing: dict[Session, _Outgoing] = {}
        self._timed: dict[tuple[int, Session, int], _Timed] = {}
        self._out: list[bytes] = []
        self._buffer = b""
        self._buffered = 0
        self._flush_at = 0

    # ---- driver ------------------------------------------------------------------------------

    def submit(self, unit: bytes, now: int) -> None:
        """Send one unit; it waits for company."""
        if not self._buffered:
            self._flush_at = now + self.habits.aggregation_ns
        self._buffer += unit
        self._buffered += 1
        if len(self._buffer) >= self.habits.block_bytes:
            self._flush(now)

    def datagrams(self) -> list[bytes]:
        """What leaves now."""
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> int | None:
        due = [timed.due for timed in self._timed.values()]
        due += [wait[0] for incoming in self._incoming.values() for wait in incoming.waiting]
        if self._buffered:
            due.append(self._flush_at)
        return min(due, default=None)

    def handle(self, now: int) -> None:
        """Do what is due."""
        if self._buffered and now >= self._flush_at:
            self._flush(now)
        for session, incoming in list(self._incoming.items()):
            waiting, incoming.waiting = incoming.waiting, []
            for wait in waiting:
                if wait[0] <= now:
                    self._report(session, incoming, *wait[1:], now)
                else:
                    incoming.waiting.append(wait)
        for key, timed in list(self._timed.items()):
            if timed.due <= now and self._timed.get(key) is timed:
                timed.tries += 1
                timed.due = now + self.habits.timeout_ns
                if timed.tries <= self.habits.retries_max:
                    self._out.append(timed.octets)
                else:
                    self._tired(key, now)

    def feed(self, datagram: bytes, now: int) -> None:
        """One datagram of one segment, as these stacks send and expect it."""
        self.counts["segments"] += 1
        try:
            self._segment(datagram, now)
        except IndexError:
            self.counts["malformed"] += 1

    # ---- segments ----------------------------------------------------------------------------

    def _segment(self, data: bytes, now: int) -> None:
        kind = data[0] & 15
        origin, at = read_sdnv(data, 1)
        number, at = read_sdnv(data, at)
        at = skip_extensions(data, at + 1, data[at] >> 4)
        session = (origin, number)
        ours = kind in (REPORT, CANCEL_RECEIVER, CANCEL_ACK_SENDER)
        if data[0] >> 4 or origin != (self.engine if ours else self.peer):
            self.counts["strange"] += 1
        elif kind <= RED_END_BLOCK:
            self._data(kind, session, data, at, now)
        elif kind == REPORT:
            self._reported(session, data, at, now)
        elif kind == REPORT_ACK:
            serial, at = read_sdnv(data, at)
            self._timed.pop((REPORT, session, serial), None)
            self._close_if_done(session)
        elif kind == CANCEL_SENDER:
            self._out.append(self._head(CANCEL_ACK_SENDER, session))
            self._forget(session)
        elif kind == CANCEL_RECEIVER:
            self._out.append(self._head(CANCEL_ACK_RECEIVER, session))
            self._failed(session)
        elif kind in (CANCEL_ACK_SENDER, CANCEL_ACK_RECEIVER):
            self._forget(session)

    @staticmethod
    def _head(kind: int, session: Session) -> bytes:
        return bytes((kind,)) + sdnv(session[0]) + sdnv(session[1]) + b"\x00"

    def _repeat(self, kind: int, session: Session, serial: int, octets: bytes, now: int) -> None:
        self._out.append(octets)
        self._timed[kind, session, serial] = _Timed(octets, now + self.habits.timeout_ns)

    def _forget(self, session: Session) -> None:
        self._closed.add(session)
        self._incoming.pop(session, None)
        self._outgoing.pop(session, None)
        for key in [key for key in self._timed if key[1] == session]:
            del self._timed[key]

    def _tired(self, key: tuple[int, Session, int], now: int) -> None:
        kind, session, _ = key
        if kind == RED:
            self._cancel_sending(session, now)
        elif kind == REPORT and session in self._incoming:
            self._cancel_receiving(session, RLEXC, now)
        else:
            self._forget(session)

    # ---- receiving ---------------------------------------------------------------------------

    def _data(self, kind: int, session: Session, data: bytes, at: int, now: int) -> None:
        client, at = read_sdnv(data, at)
        offset, at = read_sdnv(data, at)
        length, at = read_sdnv(data, at)
        checkpoint = cited = 0
        if kind != RED:
            self.counts["checkpoints"] += 1
            checkpoint, at = read_sdnv(data, at)
            cited, at = read_sdnv(data, at)
        if len(data) < at + length or session in self._closed:
            return
        incoming = self._incoming.setdefault(session, _Incoming())
        if incoming.cancelled:
            return
        end = offset + length
        if client != 1 or end > self.habits.block_bytes_max:
            reason = UNREACH if client != 1 else SYS_CNCLD
            self._cancel_receiving(session, reason, now)
            return
        fresh = not any(start < end and offset < stop for start, stop in incoming.spans())
        if fresh:
            incoming.got[offset] = data[at : at + length]
            incoming.client = client
        elif self.habits.few_reports:
            return
        if kind in (RED_END, RED_END_BLOCK) and incoming.length < 0:
            incoming.length = end
            incoming.first_bytes = len(incoming.got[min(incoming.got)])
            incoming.most = most_reports(
                end, incoming.first_bytes, self.habits.expected_loss, self.habits.claims_max
            )
        if kind != RED:
            self._asked(session, incoming, checkpoint, cited, end, now)
        elif self.habits.reports_unasked and self._complete(incoming):
            self._report(session, incoming, 0, 0, incoming.length, now)

    @staticmethod
    def _complete(incoming: _Incoming) -> bool:
        return incoming.spans() == [(0, incoming.length)]

    def _asked(
        self, session: Session, incoming: _Incoming, serial: int, cited: int, end: int, now: int
    ) -> None:
        if incoming.whole and self.habits.few_reports:
            return
        if serial in incoming.answered:
            self._out += incoming.answered[serial]
            return
        if self._complete(incoming) or not self.habits.report_delay_ns:
            self._report(session, incoming, serial, cited, end, now)
        else:
            wait = (now + self.habits.report_delay_ns, serial, cited, end)
            incoming.waiting.append(wait)
            incoming.answered[serial] = []

    def _report(
        self, session: Session, incoming: _Incoming, serial: int, cited: int, end: int, now: int
    ) -> None:
        lower = 0
        spans = incoming.spans()
        if self._complete(incoming):
            end = incoming.length
            if not incoming.whole:
                incoming.whole = True
                octets = b"".join(incoming.got[at] for at in sorted(incoming.got))
                self.blocks.append((incoming.client, octets))
        elif self.habits.few_reports and incoming.reports >= incoming.most:
            self._cancel_receiving(session, RLEXC, now)
            return
        else:
            lower = incoming.lowers.get(cited, 0)
            incoming.reports += 1
        claims = [(max(lower, a), min(b, end)) for a, b in spans if b > lower and a < end]
        most = self.habits.claims_max
        made: list[bytes] = []
        for first in range(0, len(claims), most):
            part = claims[first : first + most]
            more = claims[first + most : first + most + 1]
            upper = more[0][0] if more else end
            made.append(self._report_segment(session, incoming, serial, lower, upper, part))
            self._repeat(REPORT, session, incoming.serial, made[-1], now)
            lower = upper
        incoming.answered[serial] = made

    def _report_segment(
        self,
        session: Session,
        incoming: _Incoming,
        serial: int,
        lower: int,
        upper: int,
        claims: list[Span],
    ) -> bytes:
        incoming.serial = incoming.serial + 1 or 1
        if incoming.serial == 1:
            incoming.serial = self._random.randrange(1, 1 << 14)
        incoming.lowers[incoming.serial] = lower
        fields = [incoming.serial, serial, upper, lower, len(claims)]
        for start, stop in claims:
            fields += (start - lower, stop - start)
        return self._head(REPORT, session) + b"".join(map(sdnv, fields))

    def _close_if_done(self, session: Session) -> None:
        incoming = self._incoming.get(session)
        open_reports = any(key[:2] == (REPORT, session) for key in self._timed)
        if incoming is not None and incoming.whole and not open_reports:
            self._forget(session)

    def _cancel_receiving(self, session: Session, reason: int, now: int) -> None:
        self.cancelled_here.append((session, reason))
        for key in [key for key in self._timed if key[1] == session]:
            del self._timed[key]
        self._incoming[session] = _Incoming(cancelled=True)
        segment = self._head(CANCEL_RECEIVER, session) + bytes((reason,))
        self._repeat(CANCEL_RECEIVER, session, 0, segment, now)

    # ---- sending -----------------------------------------------------------------------------

    def _flush(self, now: int) -> None:
        block, count, self._buffer, self._buffered = self._buffer, self._buffered, b"", 0
        self._number += 1
        session = (self.engine, self._number)
        self._outgoing[session] = _Outgoing(block, self._random.randrange(1, 1 << 14), count)
        self._issue(session, [(0, len(block))], 0, now)

    def _issue(self, session: Session, spans: list[Span], cited: int, now: int) -> None:
        """Send octets; the last segment is a checkpoint."""
        outgoing = self._outgoing[session]
        step = self.habits.segment_bytes - 40
        pieces = [
            (at, min(at + step, stop)) for start, stop in spans for at in range(start, stop, step)
        ]
        for start, stop in pieces:
            last = (start, stop) == pieces[-1]
            kind = RED
            if last:
                kind = RED_END_BLOCK if stop == len(outgoing.data) else RED_CHECKPOINT
            numbers = [1, start, stop - start]
            if last:
                outgoing.serial += 1
                numbers += [outgoing.serial, cited]
            octets = self._head(kind, session) + b"".join(map(sdnv, numbers))
            octets += outgoing.data[start:stop]
            if last:
                self._repeat(RED, session, outgoing.serial, octets, now)
            else:
                self._out.append(octets)

    def _reported(self, session: Session, data: bytes, at: int, now: int) -> None:
        serial, at = read_sdnv(data, at)
        self._out.append(self._head(REPORT_ACK, session) + sdnv(serial))
        outgoing = self._outgoing.get(session)
        if outgoing is None or serial in outgoing.seen or outgoing.cancelled:
            return
        outgoing.seen.add(serial)
        checkpoint, at = read_sdnv(data, at)
        upper, at = read_sdnv(data, at)
        lower, at = read_sdnv(data, at)
        count, at = read_sdnv(data, at)
        for _ in range(count):
            offset, at = read_sdnv(data, at)
            length, at = read_sdnv(data, at)
            outgoing.have.add((lower + offset, lower + offset + length))
        self._timed.pop((RED, session, checkpoint), None)
        if not outgoing.missing(0, len(outgoing.data)):
            self.sent += outgoing.sdus
            self._forget(session)
        elif gaps := outgoing.missing(lower, upper):
            self._issue(session, gaps, serial, now)

    def _cancel_sending(self, session: Session, now: int) -> None:
        for key in [key for key in self._timed if key[1] == session]:
            del self._timed[key]
        outgoing = self._outgoing[session]
        outgoing.cancelled = True
        self.failed += outgoing.sdus
        outgoing.sdus = 0
        segment = self._head(CANCEL_SENDER, session) + bytes((RLEXC,))
        self._repeat(CANCEL_SENDER, session, 0, segment, now)

    def _failed(self, session: Session) -> None:
        outgoing = self._outgoing.get(session)
        if outgoing is not None:
            self.failed += outgoing.sdus
        self._forget(session)


def ion(**other: object) -> Habits:
    """ION's habits, some of them otherwise."""
    return replace(ION, **other)  # type: ignore[arg-type]
