"""Bundle status reports (RFC 9171 §5.1, §6.1.1): off by default, and never many at once."""

from __future__ import annotations

from stack.engines.bundle_agent.config import AgentConfig
from stack.ports.application import Outgoing
from stack.wire.bundle import (
    IS_ADMIN,
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    STATUS_TIME,
    PrimaryBlock,
    ReportReason,
    StatusReport,
    encode_status_report,
)

REPORT_LIFETIME_MS = 86_400_000
"""A day: a report that has not found its way by then interests nobody."""


class StatusReporter:
    """Decides which reports are due, and holds them to the configured rate."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._tokens = config.status_reports_per_s
        self._refilled_ms = 0
        self.sent = 0
        self.suppressed = 0

    def reception(
        self, primary: PrimaryBlock, payload_length: int, unprocessed: int, now_ms: int
    ) -> list[Outgoing]:
        """The reports about a bundle that has come (§5.6 step 2), and about `unprocessed` blocks
        that want one because nobody here knows them, whatever the bundle asks for (step 4)."""
        status, reason = REPORT_RECEPTION, ReportReason.NO_INFORMATION
        found = self.report(primary, payload_length, status, reason, now_ms)
        reason = ReportReason.BLOCK_UNSUPPORTED
        for _ in range(unprocessed):
            found += self.report(primary, payload_length, status, reason, now_ms, asked=True)
        return found

    def report(
        self,
        primary: PrimaryBlock,
        payload_length: int,
        status: int,
        reason: ReportReason,
        now_ms: int,
        *,
        asked: bool = False,
    ) -> list[Outgoing]:
        """The administrative record for one status of one bundle, if one is due: the bundle, or
        with `asked` one of its blocks, wants it.

        `status` is one of the REPORT_ flags of RFC 9171 §4.2.3.
        """
        if not (asked or primary.flags & status) or not self._config.status_reports:
            return []
        if primary.flags & IS_ADMIN or primary.source.is_null or primary.report_to.is_null:
            # RFC 9171 §4.2.3: never about administrative records or bundles of nobody
            return []
        if not self._take(now_ms):
            self.suppressed += 1
            return []
        self.sent += 1
        time_ms = now_ms if primary.flags & STATUS_TIME and self._config.trusted_clock else None
        record = StatusReport(
            received=status == REPORT_RECEPTION,
            forwarded=status == REPORT_FORWARDING,
            delivered=status == REPORT_DELIVERY,
            deleted=status == REPORT_DELETION,
            time_ms=time_ms,
            reason=reason,
            source=primary.source,
            creation_ms=primary.creation_ms,
            sequence=primary.sequence,
            fragment_offset=primary.fragment_offset,
            fragment_length=payload_length if primary.fragment_offset is not None else None,
        )
        return [Outgoing(primary.report_to, encode_status_report(record), REPORT_LIFETIME_MS, "")]

    def _take(self, now_ms: int) -> bool:
        rate = self._config.status_reports_per_s
        elapsed_s = max(0, now_ms - self._refilled_ms) / 1000
        self._tokens = min(max(rate, 1.0), self._tokens + elapsed_s * rate)
        self._refilled_ms = now_ms
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
