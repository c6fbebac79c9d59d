"""Mistakes of LTP engines."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stack.core.ranges import RangeSet
from stack.engines.ltp import BlockReceived, LtpEngine, export_session
from stack.engines.ltp.export_session import Checkpoint, ExportSession
from stack.engines.ltp.export_table import ExportTable
from stack.engines.ltp.import_table import ImportTable
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.reports_seen import ReportsSeen
from stack.engines.ltp.resend import Resend
from stack.engines.ltp.sender import Sender
from stack.engines.ltp.timers import Timers
from stack.wire.ltp import ReportSegment, SessionId


def nothing(*args: Any, **options: Any) -> None:
    """Does nothing, whatever was asked."""


def accepts_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    real = LtpEngine.next_event

    def next_event(self: LtpEngine) -> Any:
        event = real(self)
        if isinstance(event, BlockReceived):
            self.accept(event.session)
            return real(self)
        return event

    patch.setattr(LtpEngine, "next_event", next_event)


def hands_over_damaged_blocks(patch: pytest.MonkeyPatch) -> None:
    real = LtpEngine.next_event

    def next_event(self: LtpEngine) -> Any:
        event = real(self)
        if isinstance(event, BlockReceived):
            wrong = bytearray(event.data)
            wrong[-1] ^= 1
            return dataclasses.replace(event, data=memoryview(wrong))
        return event

    patch.setattr(LtpEngine, "next_event", next_event)


def hands_over_blocks_twice(patch: pytest.MonkeyPatch) -> None:
    real, again = LtpEngine.next_event, dict[int, Any]()

    def next_event(self: LtpEngine) -> Any:
        if (event := again.pop(id(self), None)) is not None:
            return event
        event = real(self)
        if isinstance(event, BlockReceived):
            again[id(self)] = event
        return event

    patch.setattr(LtpEngine, "next_event", next_event)


def claims_what_it_refuses(patch: pytest.MonkeyPatch) -> None:
    def refuse(self: LtpEngine, session: SessionId, now: int, *args: Any, **options: Any) -> None:
        self.accept(session)

    patch.setattr(LtpEngine, "refuse", refuse)


def tells_nobody_of_failed_blocks(patch: pytest.MonkeyPatch) -> None:
    def give_back(self: ExportTable, session_id: SessionId) -> None:
        _, held = self._failed.pop(session_id)
        self.held -= held
        self.kept -= held

    patch.setattr(ExportTable, "give_back", give_back)


def never_forgets_what_arrived(patch: pytest.MonkeyPatch) -> None:
    real = ExportTable.finish

    def finish(self: ExportTable, session: ExportSession) -> None:
        real(self, session)
        self.held += session.held

    patch.setattr(ExportTable, "finish", finish)


def believes_more_than_is_claimed(patch: pytest.MonkeyPatch) -> None:
    def claimed(report: ReportSegment) -> RangeSet:
        return RangeSet([(report.lower, report.upper)])

    patch.setattr(export_session, "_claimed", claimed)


def sends_nothing_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Resend, "take", nothing)


def never_looks_at_its_timers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LtpEngine, "handle_deadline", nothing)


def arms_no_checkpoint_timer(patch: pytest.MonkeyPatch) -> None:
    def arm(self: Sender, session: ExportSession, left: list[Checkpoint], now: int) -> None:
        left.clear()

    patch.setattr(Sender, "_arm", arm)


def never_resumes_its_timers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Timers, "resume", nothing)


def forgets_its_claims_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Neither does the receiver say that what it claimed has gone, nor does the sender notice."""
    patch.setattr(ImportTable, "recover", nothing)
    patch.setattr(ExportSession, "withdraws", lambda self, report: False)
    patch.setattr(ReportsSeen, "elsewhere", lambda self, serial: False)


def never_probes_a_stalled_link(patch: pytest.MonkeyPatch) -> None:
    real = LinkState.may_repeat

    def may_repeat(self: LinkState, armed_at: int, now: int) -> tuple[bool, bool]:
        answer = real(self, armed_at, now)
        return (False, False) if self.stalled else answer

    patch.setattr(LinkState, "may_repeat", may_repeat)
