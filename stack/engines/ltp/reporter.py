"""Reception reports: what is said to the sender, when, and how often (RFC 5326 §6.8, §6.11)."""

from __future__ import annotations

from stack.engines.ltp.events import ReportHeld
from stack.engines.ltp.import_session import ImportSession, NoteState, Report
from stack.engines.ltp.import_table import ImportTable
from stack.engines.ltp.link import ControlKey, LinkState
from stack.engines.ltp.states import ImportInput, ImportState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.wire.ltp import CancelReason, DataSegment, ReportAck, SegmentType

_CLAIM_BYTES = 10
"""Octets of a claim whose numbers are below 2^35, which `block_bytes_max` bounds."""

_REPORT_HEAD_BYTES = 64
"""Octets of a report before its claims: session id and five numbers, with room to spare."""


class Reporter:
    """Answers checkpoints, and repeats its answers until they are acknowledged."""

    __slots__ = ("_claims_max", "_link", "_table")

    def __init__(self, link: LinkState, table: ImportTable) -> None:
        self._link = link
        self._table = table
        fitting = (link.config.segment_bytes - _REPORT_HEAD_BYTES) // _CLAIM_BYTES
        self._claims_max = max(1, min(link.config.claims_max, fitting))

    def checkpoint(self, session: ImportSession, segment: DataSegment, end: int, now: int) -> None:
        """A checkpoint asks for a report (RFC 5326 §6.11), maybe not for the first time."""
        serial = segment.checkpoint_serial
        link = self._link
        if serial in session.pending:
            if session.pending[serial][1] != end:
                link.violation("checkpoint serial number used twice", "RFC 5326 §3.2.1")
            return
        if self._repeat_answers(session, serial, end):
            return
        if len(session.pending) >= link.config.reports_max:
            link.violation("too many checkpoints", "RFC 5326 §6.11")
            return
        session.asked = serial
        session.pending[serial] = (segment.report_serial, end)
        if session.state is ImportState.OPEN and link.config.report_delay_ns:
            timer = TimerKey(TimerKind.REPORT_DELAY, session.id)
            link.timers.arm(timer, now, link.config.report_delay_ns)
            return
        self.answer(session)

    def _repeat_answers(self, session: ImportSession, serial: int, end: int) -> bool:
        """A repeated checkpoint: its reports, or their acknowledgements, were lost (§6.8).  False
        when it was never answered, or too long ago."""
        if serial not in session.answers:
            return False
        upper, reports = session.answers[serial]
        if upper != end and session.state is not ImportState.ACCEPTED:
            self._link.violation("checkpoint serial number used twice", "RFC 5326 §3.2.1")
        if session.state is ImportState.HELD or self._cancel_if_combed(session):
            return True
        for report in reports:
            session.reports[report.serial] = report
            session.claims += max(1, report.claims)
            self.queue(session, report)
        return True

    def _cancel_if_combed(self, session: ImportSession) -> bool:
        if session.state is not ImportState.OPEN or not session.combed:
            return False
        self._link.violation("more is asked than was sent", "RFC 5326 §6.11")
        self._table.cancel(session, CancelReason.RLEXC)
        return True

    def answer(self, session: ImportSession) -> None:
        """Report on the pending checkpoints, if reports may go out now."""
        if not session.pending:
            return
        if session.state is ImportState.ACCEPTED:
            self.finish(session)
        elif session.state is ImportState.OPEN:
            if session.note is NoteState.DONE:
                self._report(session)
            elif session.note is NoteState.NONE:
                session.note = NoteState.ASKED
                self._link.emit(ReportHeld(session.id))

    def _report(self, session: ImportSession) -> None:
        """Answer pending checkpoints while few enough reports are under way; the rest when these
        are acknowledged."""
        for serial in list(session.pending):
            if len(session.reports) >= self._link.config.reports_max or (
                self._cancel_if_combed(session)
            ):
                return
            for report in session.report(serial, self._claims_max):
                self.queue(session, report)

    def finish(self, session: ImportSession) -> None:
        """Say that the block is durable, in place of all earlier reports."""
        self._table.drop_reports(session)
        self.queue(session, session.final_report())

    def queue(self, session: ImportSession, report: Report) -> None:
        """Send a report, again until it is acknowledged (RFC 5326 §6.8)."""
        timer = TimerKey(TimerKind.REPORT, session.id, report.serial)
        self._link.counters["reports_sent"] += 1
        key = ControlKey(SegmentType.REPORT, session.id, report.serial)
        self._link.queue(key, report.octets, timer, report.attempts)

    def acked(self, ack: ReportAck, now: int) -> None:
        """The block sender has a report (RFC 5326 §6.14)."""
        session = self._table.get(ack.session)
        if session is None or session.reports.pop(ack.report_serial, None) is None:
            return
        key = TimerKey(TimerKind.REPORT, ack.session, ack.report_serial)
        self._link.timers.cancel(key)
        self._link.drop_control(SegmentType.REPORT, ack.session, ack.report_serial)
        if session.state is ImportState.ACCEPTED:
            self.end_if_done(session, now)
        else:
            self.answer(session)

    def end_if_done(self, session: ImportSession, now: int) -> None:
        """Close an accepted session whose reports are acknowledged, after its green part."""
        if session.reports or session.pending:
            return
        if session.block_bytes is not None:
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
        self._repeat(session, report, counts=counts)

    def _repeat(self, session: ImportSession, report: Report, *, counts: bool) -> None:
        """Send a report again, unless that was tried too often."""
        link = self._link
        report.attempts += counts
        if report.attempts <= link.config.report_limit:
            link.counters["reports_repeated"] += 1
            self.queue(session, report)
        elif session.state is ImportState.ACCEPTED:
            # RFC 5326 §6.8 cancels here too; but the data is safe, and a sender that still
            # wants to know asks with a checkpoint, which the closed session answers.
            self._table.close(session, ImportInput.END)
        elif session.state is ImportState.OPEN:
            self._table.cancel(session, CancelReason.RLEXC)

    def watch_hole(self, session: ImportSession, now: int) -> None:
        """Begin to wait for a hole to be filled before it is reported unasked (§6.11)."""
        if session.red_bytes is None and not session.pending:
            timer = TimerKey(TimerKind.ASYNC_REPORT, session.id)
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

    def alive(self, *, counts: bool) -> None:
        """A stall is over: unacknowledged reports go out again at once."""
        for session in list(self._table):
            for report in list(session.reports.values()):
                if session.reports:  # none any more when one of them was tried too often
                    self._repeat(session, report, counts=counts)
