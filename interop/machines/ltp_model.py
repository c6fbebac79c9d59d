"""What RFC 5326 lets an LTP engine say, as two small models of its peer: one that sends blocks to
it, and one that receives blocks from it.

They know no timers and no limits.  They note what has reached the engine, and judge each segment
that comes from it: `PeerFault` names the clause that it breaks.  `owed` says what the engine still
has to say, however long it takes.  Nothing here comes from an engine of ours but the codec.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from interop.machines.fault import MachineFault
from interop.strategies.ltp_transfers import Transfer, holes, parts
from stack.wire.ltp import (
    CancelAck,
    CancelReason,
    CancelSegment,
    Claim,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    encode_segment,
)

Span = tuple[int, int]


class PeerFault(MachineFault):
    """The engine under test said what it must not, or did not say what it must."""

    def __init__(self, clause: str, words: str, segment: object = None) -> None:
        super().__init__(f"RFC 5326 {clause}", words, segment)


def _require(holds: object, clause: str, words: str, segment: object = None) -> None:
    if not holds:
        raise PeerFault(clause, words, segment)


def claimed(report: ReportSegment) -> list[Span]:
    """Octets that a report claims, as half-open spans of the block."""
    return [
        (report.lower + start, report.lower + start + length) for start, length in report.claims
    ]


# ------------------------------------------------------------------- blocks sent to the engine


@dataclass
class BlockToPeer:
    """A block that the engine under test receives."""

    transfer: Transfer
    here: list[Span] = field(default_factory=list)
    """Red octets that have reached it."""

    ended: bool = False
    """Whether the end of the red part has."""

    asked: dict[int, int] = field(default_factory=dict)
    """Checkpoints that have reached it: serial number -> upper bound."""

    unanswered: set[int] = field(default_factory=set)
    """Those upon which no report has come."""

    reports: dict[int, ReportSegment] = field(default_factory=dict)
    """What it has reported, by serial number."""

    open_reports: dict[int, bool] = field(default_factory=dict)
    """Reports whose acknowledgement has not reached it, and whether they have come again since
    `owed` was asked last."""

    told: list[Span] = field(default_factory=list)
    """Red octets that its reports have claimed."""

    delivered: bool = False
    closed: bool = False
    """Whether the engine knows that its sender knows: it need not say any more (§6.20)."""

    cancelled: bool = False
    """Whether a cancellation of ours, or an acknowledgement of its own, has reached it."""

    cancel_unanswered: bool = False
    cancelling: bool = False
    """It has cancelled."""

    @property
    def whole(self) -> bool:
        """Whether all red octets and their end have reached it."""
        return self.ended and not holes(self.here, 0, self.transfer.red_bytes)

    @property
    def known(self) -> bool:
        """Whether its sender knows that all has come."""
        return not holes(self.told, 0, self.transfer.red_bytes)

    @property
    def state(self) -> str:
        """As in `ltp_states.TO_ENGINE`."""
        if self.cancelled or self.cancelling:
            return "cancelled"
        if self.closed:
            return "closed"
        return "whole" if self.whole else "open" if self.here else "new"


class SendingModel:
    """The sender of blocks to the engine under test."""

    def __init__(self, *, may_cancel: bool, delivers: bool = True) -> None:
        self.sessions: dict[SessionId, BlockToPeer] = {}
        self._may_cancel = may_cancel
        self._delivers = delivers

    def begin(self, transfer: Transfer) -> None:
        """Take up a block; nothing of it has left."""
        self.sessions[transfer.session] = BlockToPeer(transfer)

    def _next_serial(self, session: SessionId) -> int:
        """A checkpoint serial number that the session has not used."""
        out = self.sessions[session]
        first = [one.checkpoint_serial for one in parts(out.transfer)]
        return max((0, *first, *out.asked)) + 1

    def reaches(self, segment: Segment) -> bytes:
        """A segment of a sender reaches the engine now: its octets."""
        out = self.sessions[segment.session]
        over = out.cancelled or out.cancelling
        if isinstance(segment, DataSegment) and not over:
            self._data(out, segment)
        elif isinstance(segment, ReportAck):
            out.open_reports.pop(segment.report_serial, None)
            report = out.reports[segment.report_serial]
            out.closed |= out.ended and not holes(claimed(report), 0, out.transfer.red_bytes)
        elif isinstance(segment, CancelSegment):
            out.cancelled = out.cancel_unanswered = True
            out.unanswered.clear()
            out.open_reports.clear()
        elif isinstance(segment, CancelAck):
            out.cancelled = True
            out.open_reports.clear()
        return encode_segment(segment)

    def _data(self, out: BlockToPeer, segment: DataSegment) -> None:
        end = segment.offset + len(segment.data)
        if segment.kind >= SegmentType.GREEN:
            return
        out.here.append((segment.offset, end))
        out.ended |= segment.kind >= SegmentType.RED_END
        if segment.is_checkpoint:
            out.asked[segment.checkpoint_serial] = end
            out.unanswered.add(segment.checkpoint_serial)

    def missing(self, session: SessionId) -> Iterator[tuple[ReportSegment, list[Span]]]:
        """Reports with gaps that no report has closed, and the gaps."""
        out = self.sessions[session]
        for report in out.reports.values():
            gaps = [
                gap
                for start, stop in holes(claimed(report), report.lower, report.upper)
                for gap in holes(out.told, start, stop)
            ]
            if gaps:
                yield report, gaps

    def again(self, report: ReportSegment, gaps: list[Span]) -> list[DataSegment]:
        """Segments that close the gaps of a report, the last one a checkpoint that answers it
        (§6.13)."""
        transfer = self.sessions[report.session].transfer
        plain = parts(transfer)[0]
        found = [
            replace(plain, kind=SegmentType.RED, checkpoint_serial=0, offset=start,
                    data=transfer.block[start:stop])
            for start, stop in gaps
        ]  # fmt: skip
        kind = SegmentType.RED_CHECKPOINT
        if gaps[-1][1] == transfer.red_bytes:
            ends = len(transfer.block) == transfer.red_bytes
            kind = SegmentType.RED_END_BLOCK if ends else SegmentType.RED_END
        found[-1] = replace(
            found[-1],
            kind=kind,
            checkpoint_serial=self._next_serial(report.session),
            report_serial=report.report_serial,
        )
        return found

    def heard(self, segment: Segment) -> None:
        """The engine said something about a session of ours.  Raises `PeerFault`."""
        out = self.sessions.get(segment.session)
        _require(out is not None, "§3.1", "a segment of a session that nobody began", segment)
        assert out is not None
        match segment:
            case ReportSegment():
                self._report(out, segment)
            case CancelSegment(by_sender=False):
                _require(
                    self._may_cancel or out.cancelled or out.cancelling,
                    "§6.19",
                    "a session in which nothing was wrong is cancelled",
                    segment,
                )
                out.cancelling = True
                out.unanswered.clear()
            case CancelAck(to_sender=True):
                _require(out.cancelled, "§6.17", "what nobody cancelled is acknowledged", segment)
                out.cancel_unanswered = False
            case _:
                raise PeerFault("§3.1.2", "a segment that is not for a receiver to send", segment)

    def _report(self, out: BlockToPeer, report: ReportSegment) -> None:
        before = out.reports.get(report.report_serial)
        _require(
            before in (None, report), "§3.2.2", "a report serial number for two reports", report
        )
        asked = report.checkpoint_serial
        _require(not asked or asked in out.asked, "§3.2.2", "a checkpoint that never came", report)
        _require(
            report.upper <= max([0, *(end for _, end in out.here)]),
            "§3.2.2", "a scope beyond what came", report,
        )  # fmt: skip
        for start, stop in claimed(report):
            _require(
                not holes(out.here, start, stop), "§6.11", "octets claimed that never came", report
            )
        # What was handed over stays so, and a sender that asks all the same may be told.
        handed_over = out.delivered or (out.whole and not self._delivers)
        _require(
            not out.cancelled or handed_over, "§6.19", "a report on a cancelled session", report
        )
        if before is None:
            _require(
                report.report_serial not in out.open_reports, "§3.2.2", "a serial number twice"
            )
            out.reports[report.report_serial] = report
            out.open_reports[report.report_serial] = True
        elif report.report_serial in out.open_reports:
            out.open_reports[report.report_serial] = True
        out.told += claimed(report)
        out.unanswered = {
            serial
            for serial in out.unanswered
            if serial != asked and out.asked[serial] > report.upper
        }

    def delivered(self, block: bytes) -> None:
        """The engine gave its client a red part.  Raises `PeerFault`."""
        for out in self.sessions.values():
            red = out.transfer.block[: out.transfer.red_bytes]
            if red == block and out.whole and not out.delivered:
                out.delivered = True
                return
        raise PeerFault("§6.9", "a red part that nobody sent, or twice, or not yet whole", block)

    def owed(self) -> list[str]:
        """What the engine has to say yet, in words."""
        found = []
        for session, out in self.sessions.items():
            if out.cancel_unanswered:
                found.append(f"§6.17: no acknowledgement of the cancellation of {session}")
            if out.cancelled or out.cancelling:
                continue
            if not out.closed:
                found += [f"§6.11: no report on checkpoint {serial}" for serial in out.unanswered]
            if self._delivers and out.whole and not out.delivered:
                found.append(f"§6.9: the red part of {session} was not handed over")
        return found

    def unrepeated(self) -> list[str]:
        """Sessions that have unacknowledged reports of which none has come again since this was
        asked last (§6.8)."""
        found = []
        for session, out in self.sessions.items():
            waiting = out.open_reports
            if waiting and not any(waiting.values()) and not (out.cancelled or out.closed):
                found.append(f"§6.8: no report of {session} is repeated")
            out.open_reports = dict.fromkeys(waiting, False)
        return found


# ----------------------------------------------------------------- blocks sent by the engine


@dataclass
class BlockFromPeer:
    """A block that the engine under test sends."""

    client_service: int
    here: dict[int, int] = field(default_factory=dict)
    """Octets that have left the engine: offset -> octet."""

    arrived: list[Span] = field(default_factory=list)
    """Red octets that have reached the receiver."""

    red_bytes: int | None = None
    block_bytes: int | None = None
    checkpoints: dict[int, DataSegment] = field(default_factory=dict)
    answered: dict[int, ReportSegment] = field(default_factory=dict)
    """Checkpoints that have reached the receiver, and its reports on them."""

    reports: dict[int, ReportSegment] = field(default_factory=dict)
    """What the receiver has said, lost or not."""

    unacknowledged: set[int] = field(default_factory=set)
    """Reports that reached the engine, and whose acknowledgement has not left it."""

    told: list[Span] = field(default_factory=list)
    """Red octets of which the engine has heard that they came."""

    active: bool = True
    """Whether any of it has left since `stuck` was asked last."""

    cancelled: bool = False
    cancel_unanswered: bool = False

    @property
    def over(self) -> bool:
        """Whether the engine knows that all red octets have come, or that none will be taken."""
        whole = self.red_bytes is not None and not holes(self.told, 0, self.red_bytes)
        return whole or self.cancelled

    @property
    def state(self) -> str:
        """As in `ltp_states.FROM_ENGINE`."""
        if self.cancelled:
            return "cancelled"
        return "over" if self.over else "reported" if self.told else "open"


class ReceivingModel:
    """The receiver of blocks from the engine under test."""

    def __init__(self, *, may_cancel: bool) -> None:
        self.sessions: dict[SessionId, BlockFromPeer] = {}
        self.submitted: list[bytes] = []
        self._may_cancel = may_cancel
        self._next_report = 1

    def heard(self, segment: Segment) -> None:
        """The engine sent something of a session of its own; it may be lost yet.  Raises
        `PeerFault`."""
        session = segment.session
        if isinstance(segment, DataSegment):
            incoming = self.sessions.setdefault(session, BlockFromPeer(segment.client_service))
            self._data(incoming, segment)
            return
        known = self.sessions.get(session)
        _require(known is not None, "§3.1", "a segment of a session that nobody began", segment)
        assert known is not None
        match segment:
            case ReportAck():
                _require(
                    segment.report_serial in known.reports, "§6.13",
                    "an acknowledgement of a report that nobody sent", segment,
                )  # fmt: skip
                known.unacknowledged.discard(segment.report_serial)
            case CancelSegment(by_sender=True):
                _require(
                    self._may_cancel, "§6.19", "a session in which nothing was wrong is cancelled",
                    segment,
                )  # fmt: skip
                known.cancelled = True
            case CancelAck(to_sender=False):
                _require(known.cancelled, "§6.17", "what nobody cancelled is acknowledged", segment)
                known.cancel_unanswered = False
            case _:
                raise PeerFault("§3.1.2", "a segment that is not for a sender to send", segment)

    def _data(self, incoming: BlockFromPeer, segment: DataSegment) -> None:
        end = segment.offset + len(segment.data)
        red = segment.kind < SegmentType.GREEN
        _require(
            segment.client_service == incoming.client_service, "§3.2.1",
            "the client service changes", segment,
        )  # fmt: skip
        _require(not incoming.cancelled, "§6.19", "data of a cancelled session", segment)
        _require(not (incoming.over and red), "§6.12", "data when all has been reported", segment)
        for at, octet in enumerate(segment.data, segment.offset):
            _require(
                incoming.here.setdefault(at, octet) == octet, "§3.2.1",
                "octets differ from those sent before", segment,
            )  # fmt: skip
        if segment.kind in (SegmentType.RED_END, SegmentType.RED_END_BLOCK):
            _require(
                incoming.red_bytes in (None, end), "§3.2.1", "the red part ends twice", segment
            )
            incoming.red_bytes = end
        _require(
            not red or incoming.red_bytes is None or end <= incoming.red_bytes, "§3.2.1",
            "red data beyond the end of the red part", segment,
        )  # fmt: skip
        if segment.is_checkpoint:
            before = incoming.checkpoints.setdefault(segment.checkpoint_serial, segment)
            _require(
                (before.offset, bytes(before.data), before.kind)
                == (segment.offset, bytes(segment.data), segment.kind),
                "§6.7", "a checkpoint is not repeated as it was", segment,
            )  # fmt: skip
            answers = segment.report_serial
            _require(
                not answers or answers in incoming.reports, "§3.2.1",
                "a checkpoint answers a report that nobody sent", segment,
            )  # fmt: skip
        incoming.active = True

    def reaches_us(self, segment: DataSegment) -> ReportSegment | None:
        """A data segment arrives: the report that answers it, if it is a checkpoint."""
        incoming = self.sessions[segment.session]
        if segment.kind >= SegmentType.GREEN:
            return None
        end = segment.offset + len(segment.data)
        incoming.arrived.append((segment.offset, end))
        if not segment.is_checkpoint or incoming.cancelled:
            return None
        if segment.checkpoint_serial in incoming.answered:
            return incoming.answered[segment.checkpoint_serial]  # §6.8: the same once more
        gaps = holes(incoming.arrived, 0, end)
        edges = [0, *(edge for gap in gaps for edge in gap), end]
        claims = tuple(
            Claim(start, stop - start)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
            if start < stop
        )
        report = ReportSegment(
            session=segment.session,
            report_serial=self._next_report,
            checkpoint_serial=segment.checkpoint_serial,
            upper=end,
            lower=0,
            claims=claims,
        )
        self._next_report += 1
        incoming.reports[report.report_serial] = report
        incoming.answered[segment.checkpoint_serial] = report
        return report

    def reaches_it(self, segment: Segment) -> bytes:
        """A segment of the receiver reaches the engine now: its octets."""
        incoming = self.sessions[segment.session]
        if isinstance(segment, ReportSegment):
            incoming.unacknowledged.add(segment.report_serial)
            incoming.told += claimed(segment)
        elif isinstance(segment, CancelSegment):
            incoming.cancelled = incoming.cancel_unanswered = True
        elif isinstance(segment, CancelAck):
            incoming.cancel_unanswered = False
        return encode_segment(segment)

    def cancel(self, session: SessionId) -> CancelSegment:
        """The receiver cancels."""
        return CancelSegment(session=session, by_sender=False, reason=CancelReason.SYS_CNCLD)

    def block(self, session: SessionId) -> bytes | None:
        """The red part of a session, once all of it has reached the receiver."""
        incoming = self.sessions[session]
        length = incoming.red_bytes
        if length is None or holes(incoming.arrived, 0, length):
            return None
        return bytes(incoming.here[at] for at in range(length))

    def owed(self) -> list[str]:
        """What the engine has to say yet, in words."""
        found = []
        for session, incoming in self.sessions.items():
            found += [
                f"§6.13: no acknowledgement of report {serial} of {session}"
                for serial in sorted(incoming.unacknowledged)
            ]
            if incoming.cancel_unanswered:
                found.append(f"§6.17: no acknowledgement of the cancellation of {session}")
        return found

    def stuck(self) -> list[str]:
        """Sessions that are not over and of which nothing has left since this was asked last
        (§6.7, §6.13)."""
        found = []
        for session, incoming in self.sessions.items():
            if not incoming.over and not incoming.active:
                found.append(f"§6.7: nothing more of {session}, which is not over")
            incoming.active = False
        return found
