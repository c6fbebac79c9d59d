"""The timers of an LTP engine: one table, two clocks.

Timers that wait for the peer run only while the peer can transmit: they are suspended when it
cannot and resume with the time that they had left (RFC 5326 §6.5, §6.6).  The others run always.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from stack.core.timers import TimerHeap
from stack.wire.ltp import SessionId


class TimerKind(enum.IntEnum):
    """What a timer waits for, and so what its expiry means."""

    CHECKPOINT = 0
    """No report came for a checkpoint (RFC 5326 §6.2): send it again (§6.7)."""

    REPORT = 1
    """No acknowledgement came for a report segment (§6.3): send it again (§6.8)."""

    CANCEL_EXPORT = 2
    """No acknowledgement came for our cancellation as block sender (§6.15): repeat it (§6.16)."""

    CANCEL_IMPORT = 3
    """The same as block receiver."""

    EXPORT_LIFETIME = 4
    """An export session is too old: cancel it."""

    IMPORT_LIFETIME = 5
    """An import session is too old, or a green one idle: cancel or close it."""

    REPORT_DELAY = 6
    """Stragglers had their time: report now on what has arrived."""

    ASYNC_REPORT = 7
    """A hole in the red part has lasted: report it without being asked (§6.11)."""

    REFUSAL = 8
    """A refused block waited for its turn: cancel its session as block receiver (§6.19)."""

    FAILED = 9
    """A failed block was kept long enough: give it back."""

    HOLD = 10
    """Nothing began for a while after failures: begin again."""

    PROBE = 11
    """A peer that is silent, and of which nothing else is asked, was asked for an answer: again."""


_SUSPENDED = frozenset(
    (TimerKind.CHECKPOINT, TimerKind.REPORT, TimerKind.CANCEL_EXPORT, TimerKind.CANCEL_IMPORT)
)


class TimerKey(NamedTuple):
    """Which timer: `serial` is that of the checkpoint or report, else 0."""

    kind: TimerKind
    session: SessionId
    serial: int = 0


class Timers:
    """All timers of one engine."""

    __slots__ = ("_peer", "_suspended_at", "_wall")

    def __init__(self) -> None:
        self._peer = TimerHeap[TimerKey]()
        self._wall = TimerHeap[TimerKey]()
        self._suspended_at: int | None = None

    @property
    def awaiting_peer(self) -> int:
        """How many timers wait for the peer to answer."""
        return len(self._peer)

    def arm(self, key: TimerKey, now: int, delay: int) -> None:
        """Start or restart a timer; one that waits for the peer starts suspended when the peer
        cannot transmit (RFC 5326 §6.2)."""
        if key.kind not in _SUSPENDED:
            self._wall.arm(key, now + delay, now)
            return
        since = self._suspended_at
        self._peer.arm(key, (now if since is None else since) + delay, now)

    def running(self, key: TimerKey) -> bool:
        """Whether the timer is armed."""
        return key in (self._peer if key.kind in _SUSPENDED else self._wall)

    def cancel(self, key: TimerKey) -> None:
        """Stop a timer; one that does not run is no error."""
        (self._peer if key.kind in _SUSPENDED else self._wall).cancel(key)

    def suspend(self, now: int) -> None:
        """The peer ceases to transmit (RFC 5326 §6.5)."""
        if self._suspended_at is None:
            self._suspended_at = now

    def resume(self, now: int) -> None:
        """The peer transmits again (RFC 5326 §6.6)."""
        if self._suspended_at is not None:
            self._peer.shift(now - self._suspended_at)
            self._suspended_at = None

    def next(self) -> int | None:
        """When to call `pop_due` next, or None."""
        wall = self._wall.next()
        peer = self._peer.next() if self._suspended_at is None else None
        if wall is None or peer is None:
            return wall if peer is None else peer
        return min(wall, peer)

    def pop_due(self, now: int) -> tuple[TimerKey, int] | None:
        """Take one timer that is due at `now`, with the time at which it was armed, or None."""
        due = self._peer.pop_due(now) if self._suspended_at is None else None
        return due if due is not None else self._wall.pop_due(now)
