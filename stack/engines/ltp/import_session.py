"""One block on its way in: its red part, and the reports that were made of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from itertools import islice

from stack.engines.ltp.red_part import RedPart
from stack.engines.ltp.states import IMPORT_TRANSITIONS, ImportInput, ImportState, moved
from stack.wire.ltp import (
    CancelReason,
    Claim,
    ReportSegment,
    SegmentType,
    SessionId,
    encode_segment,
)

SEGMENTS_PER_ANSWER = 8
"""Report segments that answer one checkpoint at most: they bound the work that it causes."""

ANSWERS_KEPT = 128
"""Answered checkpoints and reports remembered for one session."""

CLAIMS_FREE = 2048
"""Claims that any session may be told, and one more for every `OCTETS_PER_CLAIM` that came."""

OCTETS_PER_CLAIM = 32


class NoteState(enum.Enum):
    """Whether the driver has noted the session durably, so that claims may go out (restarts)."""

    NONE = enum.auto()
    ASKED = enum.auto()
    DONE = enum.auto()


@dataclass(slots=True)
class Report:
    """A report segment that went out, or waits to."""

    serial: int
    octets: bytes
    claims: int
    attempts: int = 0


class ImportSession:
    """State of one import session.  It decides what to report, not when."""

    __slots__ = (
        "_lowers",
        "_primary_upper",
        "answers",
        "asked",
        "block_bytes",
        "cancel_reason",
        "cancels",
        "claims",
        "client_service",
        "green_high",
        "green_low",
        "id",
        "last_at",
        "next_serial",
        "note",
        "pending",
        "prefix",
        "red",
        "red_bytes",
        "red_high",
        "reports",
        "state",
    )

    def __init__(
        self, session: SessionId, client_service: int, first_serial: int, red: RedPart, now: int
    ) -> None:
        self.id = session
        self.client_service = client_service
        self.state = ImportState.OPEN
        self.note = NoteState.NONE
        self.prefix = b""
        """Octets with which its plain red segments begin, once one was seen."""

        self.red = red
        self.red_bytes: int | None = None
        """Length of the red part, known once a segment ended it."""

        self.red_high = 0
        """End of the farthest red octet seen; stays when the buffer is given up."""

        self.green_low: int | None = None
        """Offset of the lowest green octet seen."""

        self.green_high = 0
        """End of the farthest green octet seen."""

        self.block_bytes: int | None = None
        """Length of the block, known once its end was seen."""

        self.pending: dict[int, tuple[int, int]] = {}
        """Checkpoints not yet answered: serial -> (report that each answers, upper bound)."""

        self.answers: dict[int, tuple[int, list[Report]]] = {}
        """The latest checkpoints that were answered: serial -> (upper bound, reports)."""

        self.asked = 0
        """Serial number of the latest checkpoint."""

        self.reports: dict[int, Report] = {}
        """Reports that are not acknowledged, by serial number."""

        self.claims = 0
        """Claims made so far; a report without any counts as one."""

        self.next_serial = first_serial
        self.cancel_reason = CancelReason.SYS_CNCLD
        self.cancels = 0
        self.last_at = now
        self._primary_upper = 0
        self._lowers: dict[int, int] = {}
        """Lower bounds of the latest reports, acknowledged ones too."""

    def move(self, what: ImportInput) -> None:
        """Change state as the table says.  Raises `IllegalTransition`."""
        self.state = moved(IMPORT_TRANSITIONS, self.state, what)

    @property
    def complete(self) -> bool:
        """Every red octet has arrived."""
        return self.red_bytes is not None and len(self.red.ranges) == self.red_bytes

    @property
    def combed(self) -> bool:
        """Whether the block is asked about, or comes in pieces, as no honest sender does:
        reports may not cost more than the octets that came (RFC 5326 §6.11: a limit on reception
        problems)."""
        return self.claims > CLAIMS_FREE + len(self.red.ranges) // OCTETS_PER_CLAIM

    def miscolored(self, red: bool, offset: int, end: int) -> bool:
        """Whether a segment breaks the order red before green (RFC 5326 §6.21)."""
        if red:
            return self.green_low is not None and end > self.green_low
        return offset < self.red_high

    def misplaced(self, kind: SegmentType, end: int) -> str:
        """What contradicts the end of the red part or of the block (RFC 5326 §3.1.2) about a
        segment that is not miscolored, or an empty string."""
        if kind >= SegmentType.GREEN:
            if self.block_bytes is not None and end > self.block_bytes:
                return "data beyond the end of the block"
            ends = kind == SegmentType.GREEN_END_BLOCK
            elsewhere = end < self.green_high or self.block_bytes not in (None, end)
            return "the block cannot end here" if ends and elsewhere else ""
        if self.red_bytes is not None and end > self.red_bytes:
            return "red data beyond the end of the red part"
        if kind >= SegmentType.RED_END and (
            end == 0
            or end < self.red_high
            or self.red_bytes not in (None, end)
            or (kind == SegmentType.RED_END_BLOCK and end < self.green_high)
        ):
            return "the red part cannot end here"
        return ""

    def report(self, checkpoint_serial: int, claims_max: int) -> list[Report]:
        """Report on the scope of a pending checkpoint, or, for serial 0, on everything new
        (RFC 5326 §6.11).

        As many segments as the claims need, up to `SEGMENTS_PER_ANSWER`; the scope of each begins
        where that of the one before ended, so that together they account for all of it.  Runs
        beyond that many are not claimed: they come again, behind smaller gaps.
        """
        answered, upper = self.pending.pop(checkpoint_serial)
        lower = self._lower(answered, upper)
        spans = list(islice(self.red.ranges.spans(lower, upper), claims_max * SEGMENTS_PER_ANSWER))
        made = []
        for first in range(0, max(1, len(spans)), claims_max):
            part = spans[first : first + claims_max]
            reach = upper if first + claims_max >= len(spans) else part[-1][1]
            claims = tuple(Claim(start - lower, stop - start) for start, stop in part)
            made.append(self._new_report(checkpoint_serial, lower, reach, claims))
            lower = reach
        if checkpoint_serial:
            self._answered(checkpoint_serial, upper, made)
        return made

    def final_report(self) -> Report:
        """One report that claims the whole red part; it answers the latest checkpoint, and says
        all that was asked by the others."""
        assert self.red_bytes is not None
        self.pending.clear()
        self.answers.clear()
        claim = Claim(0, self.red_bytes)
        report = self._new_report(self.asked, 0, self.red_bytes, (claim,))
        self._answered(self.asked, self.red_bytes, [report])
        return report

    def _answered(self, checkpoint_serial: int, upper: int, made: list[Report]) -> None:
        self.answers[checkpoint_serial] = (upper, made)
        if len(self.answers) > ANSWERS_KEPT:
            del self.answers[next(iter(self.answers))]

    def _new_report(
        self, checkpoint_serial: int, lower: int, upper: int, claims: tuple[Claim, ...]
    ) -> Report:
        serial = self.next_serial
        self.next_serial += 1  # RFC 5326 §3.2.2: one more than the last
        segment = ReportSegment(
            session=self.id,
            report_serial=serial,
            checkpoint_serial=checkpoint_serial,
            upper=upper,
            lower=lower,
            claims=claims,
        )
        self.claims += max(1, len(claims))
        report = self.reports[serial] = Report(serial, encode_segment(segment), len(claims))
        self._lowers[serial] = lower
        if len(self._lowers) > ANSWERS_KEPT:
            del self._lowers[next(iter(self._lowers))]
        return report

    def _lower(self, answered: int, upper: int) -> int:
        """Lower bound of a report (RFC 5326 §6.11)."""
        if answered:  # secondary: the bound of the report that the checkpoint answers
            lower = self._lowers.get(answered, 0)
            return lower if lower < upper else 0
        lower = self._primary_upper
        self._primary_upper = max(lower, upper)
        # A primary checkpoint that was overtaken by a later one has its scope reported anew.
        return lower if lower < upper else 0
