"""One LTP engine, spoken to segment by segment."""

from __future__ import annotations

import random
from typing import Any

from stack.core.clock import MILLISECOND
from stack.core.train import Train, single
from stack.engines.ltp import LtpConfig, LtpEngine, LtpEvent
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)

LOCAL, REMOTE = 1, 2
OWLT = 10 * MILLISECOND
MARGIN = 150 * MILLISECOND
BURST = 4 * MILLISECOND
INTERVAL = 2 * OWLT + MARGIN + BURST
"""Time until the first repeat of anything, with the default margins."""

THEIRS = SessionId(REMOTE, 500)
"""A session that the peer begins."""


class Lone:
    """The engine under test, its clock and what it said."""

    def __init__(self, *, seed: int = 9, **config: Any) -> None:
        self.config = LtpConfig(local_engine_id=LOCAL, remote_engine_id=REMOTE, **config)
        self.traces: list[tuple[str, dict[str, Any]]] = []
        self.engine = LtpEngine(
            self.config,
            entropy=random.Random(seed).randbytes,
            trace=lambda event, fields: self.traces.append((event, fields)),
        )
        self.now = 0
        self.link()

    def link(
        self, *, tx_up: bool = True, rx_up: bool = True, rate_bps: float | None = None
    ) -> None:
        self.engine.link(self.now, tx_up=tx_up, rx_up=rx_up, rate_bps=rate_bps, owlt_ns=OWLT)

    def feed(self, *segments: Segment) -> None:
        """Let segments arrive, each in a datagram of its own."""
        for segment in segments:
            self.engine.receive(single(encode_segment(segment)), self.now)

    def feed_octets(self, octets: bytes, size: int = 0) -> None:
        self.engine.receive(Train(octets, size or len(octets)), self.now)

    def events(self) -> list[LtpEvent]:
        """All events since the last call."""
        found = []
        while (event := self.engine.next_event()) is not None:
            found.append(event)
        return found

    def trains(self) -> list[Train]:
        return self.engine.data_to_send(self.now)

    def said(self) -> list[Any]:
        """The segments that leave now."""
        found = []
        for train in self.trains():
            for datagram in train.datagrams():
                segment, end = decode_segment(datagram)
                assert end == len(datagram)
                found.append(segment)
        return found

    def wait(self, duration_ns: int) -> None:
        """Let time pass, timer by timer."""
        until = self.now + duration_ns
        while (deadline := self.engine.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.engine.handle_deadline(self.now)
            if self.engine.next_deadline() == deadline:
                break  # something waits to be sent
        self.now = until
        self.engine.handle_deadline(self.now)

    def submit(self, size: int, ref: int = 1, **how: Any) -> bytes:
        sdu = random.Random(ref).randbytes(size)
        self.engine.submit(sdu, ref, self.now, **how)
        return sdu


def red(
    offset: int,
    data: bytes,
    *,
    checkpoint: int = 0,
    report: int = 0,
    end: bool = False,
    block_end: bool = True,
    session: SessionId = THEIRS,
    client_service: int = 1,
) -> DataSegment:
    """A red segment of the peer's, a checkpoint when it has a serial number."""
    kind = SegmentType.RED_CHECKPOINT if checkpoint else SegmentType.RED
    if end:
        kind = SegmentType.RED_END_BLOCK if block_end else SegmentType.RED_END
    return DataSegment(
        session=session,
        kind=kind,
        client_service=client_service,
        offset=offset,
        data=data,
        checkpoint_serial=checkpoint,
        report_serial=report,
    )


def green(offset: int, data: bytes, *, end: bool = False, client_service: int = 1) -> DataSegment:
    """A green segment of the peer's."""
    kind = SegmentType.GREEN_END_BLOCK if end else SegmentType.GREEN
    return DataSegment(
        session=THEIRS, kind=kind, client_service=client_service, offset=offset, data=data
    )


def report(
    session: SessionId,
    serial: int,
    checkpoint: int,
    lower: int,
    upper: int,
    *claims: tuple[int, int],
) -> ReportSegment:
    """A report of the peer's; claims as absolute (start, stop)."""
    return ReportSegment(
        session=session,
        report_serial=serial,
        checkpoint_serial=checkpoint,
        lower=lower,
        upper=upper,
        claims=tuple(Claim(start - lower, stop - start) for start, stop in claims),
    )


def claimed(segment: ReportSegment) -> list[tuple[int, int]]:
    """The claims of a report as absolute (start, stop)."""
    return [
        (segment.lower + claim.offset, segment.lower + claim.offset + claim.length)
        for claim in segment.claims
    ]


def ack(segment: ReportSegment) -> ReportAck:
    """The acknowledgement of a report."""
    return ReportAck(session=segment.session, report_serial=segment.report_serial)


def cancel(session: SessionId, *, by_sender: bool, reason: int = 0) -> CancelSegment:
    return CancelSegment(session=session, by_sender=by_sender, reason=reason)


def cancel_ack(session: SessionId, *, to_sender: bool) -> CancelAck:
    return CancelAck(session=session, to_sender=to_sender)
