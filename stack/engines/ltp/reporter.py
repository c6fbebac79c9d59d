"""Reception reports: what is said to the sender, when, and how often (RFC 5326 §6.8, §6.11)."""

from __future__ import annotations

from stack.engines.ltp.events import ReportHeld
from stack.engines.ltp.import_session import ImportInput, ImportSession, ImportState, Note, Report
from stack.engines.ltp.import_table import ImportTable
from stack.engines.ltp.link import Link
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.wire.ltp import CancelReason, DataSegment, ReportAck, SegmentType

_CLAIM_BYTES = 10
"""Octets of a claim whose numbers are below 2^35, which `block_bytes_max` bounds."""

_REPORT_HEAD_BYTES = 64
"""Octets of a report before its claims: session id and five numbers, with room to spare."""


class Reporter:
    """Answers checkpoints, and repeats its answers until they are acknowledged."""

    __slots__ = ("_claims_max", "_link", "_table")

    def __init__(self, link: Link, table: ImportTable) -> None:
        self._link = link
        self._table = table
        fitting = (link.config.segment_bytes - _REPORT_HEAD_BYTES) // _CLAIM_BYTES
        self._claims_max = max(1, min(link.config.claims_max, fitting))

    def checkpoint(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        """A checkpoint asks for a report (RFC 5326 §6.11), maybe not for the first time."""
        serial = segment.checkpoint_serial
        link = self._link
        if serial in session.answers:
            self._repeat_answers(session, serial, end)
            return
        if serial in session.pending:
            return
        if len(session.answers) + len(session.pending) >= link.config.reports_max:
            link.violation("too many checkpoints", "RFC 5326 §6.11")
            return
        session.pending[serial] = (segment.report_serial, end)
        if session.state is ImportState.OPEN and link.config.report_delay_ns:
            timer = TimerKey(TimerKind.REPORT_DELAY, session.session)
            link.timers.arm(timer, now, link.config.report_delay_ns)
            return
        self.answer(session)

    def _repeat_answers(self, session: ImportSession, serial: int, end: int) -> None:
        """A repeated checkpoint: its reports, or their acknowledgements, were lost (§6.8)."""
        upper, reports = session.answers[serial]
        if upper != end:
            self._link.violation("checkpoint serial number used twice", "RFC 5326 §3.2.1")
        if session.state is ImportState.HELD:
            return
        if session.state is ImportState.ACCEPTED:  # the latest report says it all
            reports = [session.reports[session.next_serial - 1]]
        for report in reports:
            session.unacked.add(report.segment.report_serial)
            self.queue(report)

    def answer(self, session: ImportSession) -> None:
        """Report on the pending checkpoints, if reports may go out now."""
        if not session.pending:
            return
        if session.state is ImportState.ACCEPTED:
            self.queue(session.final_report())
        elif session.state is ImportState.OPEN:
            if session.note is Note.DONE:
                for serial in list(session.pending):
                    for report in session.report(serial, self._claims_max):
                        self.queue(report)
            elif session.note is Note.NONE:
                session.note = Note.ASKED
                self._link.emit(ReportHeld(session.session))

    def queue(self, report: Report) -> None:
        segment = report.segment
        timer = TimerKey(TimerKind.REPORT, segment.session, segment.report_serial)
        self._link.counters["reports_sent"] += 1
        self._link.control(
            SegmentType.REPORT, segment, segment.report_serial, timer, report.attempts
        )

    def acked(self, ack: ReportAck, now: int) -> None:
        """The block sender has a report (RFC 5326 §6.14)."""
        session = self._table.get(ack.session)
        if session is None or ack.report_serial not in session.unacked:
            return
        session.unacked.discard(ack.report_serial)
        key = TimerKey(TimerKind.REPORT, ack.session, ack.report_serial)
        self._link.timers.cancel(key)
        self._link.drop_control(SegmentType.REPORT, ack.session, ack.report_serial)
        if session.state is ImportState.ACCEPTED:
            self.end_if_done(session, now)

    def end_if_done(self, session: ImportSession, now: int) -> None:
        """Close an accepted session whose reports are acknowledged, after its green part."""
        if session.unacked or session.pending:
            return
        if session.block_ends:
            self._table.close(session, ImportInput.END)
        else:
            self._table.set_lifetime(session, now, self._link.config.green_idle_ns)

    def expired(self, session: ImportSession, key: TimerKey, armed_at: int, now: int) -> None:
        """RFC 5326 §6.8."""
        link = self._link
        report = session.reports[key.serial]
        again, counts = link.may_repeat(armed_at, now)
        if not again:
            link.timers.arm(key, now, link.probe_wait(now))
            return
        report.attempts += counts
        if report.attempts <= link.config.report_limit:
            link.counters["reports_repeated"] += 1
            self.queue(report)
        elif session.state is ImportState.ACCEPTED:
            # RFC 5326 §6.8 cancels here too; but the data is safe, and a sender that still
            # wants to know asks with a checkpoint, which the closed session answers.
            self._table.close(session, ImportInput.END)
        elif session.state is ImportState.OPEN:
            self._table.cancel(session, CancelReason.RLEXC)

    def watch_hole(self, session: ImportSession, now: int) -> None:
        """Begin to wait for a hole to be filled before it is reported unasked (§6.11)."""
        if session.red_bytes is None and not session.pending:
            timer = TimerKey(TimerKind.ASYNC_REPORT, session.session)
            if not self._link.timers.running(timer):
                self._link.timers.arm(timer, now, self._link.config.async_report_ns)

    def report_hole(self, session: ImportSession) -> None:
        """An asynchronous report, if the hole is still there."""
        if (
            session.red_bytes is None
            and session.red.ranges.span_count > 1
            and len(session.reports) < self._link.config.reports_max
        ):
            session.pending[0] = (0, session.red_high)
            self.answer(session)

    def alive(self) -> None:
        """A stall is over: unacknowledged reports go out again at once."""
        for session in self._table:
            for serial in session.unacked:
                self.queue(session.reports[serial])
