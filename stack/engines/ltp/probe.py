"""Asks a silent peer for an answer, when there is nothing else to ask it.

A session that never was is cancelled (RFC 5326 §6.15), which has to be acknowledged all the same
(§6.17): 10 to 20 octets, ever more seldom, until anything is heard.
"""

from __future__ import annotations

from typing import Final

from stack.core.clock import SECOND
from stack.engines.ltp.link import LinkState
from stack.engines.ltp.timers import TimerKey, TimerKind
from stack.wire.ltp import CancelReason, CancelSegment, SegmentType, SessionId

PROBE_NS_MAX: Final = 60 * SECOND
"""From one probe to the next at most, unless a round trip takes longer: a link that is back is told
as silent for no longer."""

_DOUBLINGS_MAX: Final = 20


class Probe:
    """At most one run of probes at a time."""

    def __init__(self, link: LinkState) -> None:
        self._link = link
        self._session: SessionId | None = None
        self._since = 0
        self._count = 0

    @property
    def running(self) -> bool:
        """Whether it asks."""
        return self._session is not None

    def begin(self, session: SessionId, now: int) -> None:
        """Ask by a session of a fresh number."""
        self._session, self._since, self._count = session, now, 0
        self._ask(session, now)

    def expired(self, now: int) -> None:
        """Ask again, unless the peer was heard or the link is down."""
        if self._session is None or self._link.heard_at >= self._since or not self._link.tx_up:
            self._session = None
        else:
            self._count = min(self._count + 1, _DOUBLINGS_MAX)
            self._ask(self._session, now)

    def _ask(self, session: SessionId, now: int) -> None:
        link = self._link
        segment = CancelSegment(session=session, by_sender=True, reason=CancelReason.USR_CNCLD)
        link.control(SegmentType.CANCEL_BY_SENDER, segment)
        least = link.interval(0)
        wait = min(least << self._count, max(least, PROBE_NS_MAX))
        link.timers.arm(TimerKey(TimerKind.PROBE, session), now, wait)
