"""The reports that a sender has had on its sessions, by their serial numbers."""

from __future__ import annotations

APART = 1024
"""Serial numbers of one receiver on one session lie no further apart than this, as one is one more
than the last (RFC 5326 §3.2.2) and few are lost; ours begin at one of a hundred thousand times as
many."""


class ReportsSeen:
    """Serial numbers, and whether one more is of the same count."""

    __slots__ = ("_least", "_most", "_serials")

    def __init__(self) -> None:
        self._serials: set[int] = set()
        self._least = self._most = 0

    def __contains__(self, serial: int) -> bool:
        return serial in self._serials

    def __len__(self) -> int:
        return len(self._serials)

    def add(self, serial: int) -> None:
        """A report has come."""
        known = bool(self._serials)
        self._serials.add(serial)
        self._least = min(self._least, serial) if known else serial
        self._most = max(self._most, serial)

    def elsewhere(self, serial: int) -> bool:
        """Whether a serial number is none of a receiver that has counted on from the others."""
        near = self._least - APART <= serial <= self._most + APART
        return bool(self._serials) and not near


UNCOUNTED_MAX = 3
"""How often in a row reports are counted anew, on sessions begun since the last time, before the
peer is one that does not count (RFC 5326 §3.2.2), and not one that was set back."""


class Recounts:
    """Finds out whose receiver has lost a session and begun anew, as one does that is set back to a
    backup: what it claimed before is not there."""

    __slots__ = ("_at", "_in_a_row")

    def __init__(self) -> None:
        self._in_a_row = 0
        self._at = -1

    def begun_anew(self, seen: ReportsSeen, serial: int, begun_at: int, now: int) -> bool:
        """Whether a report, on a session begun at `begun_at`, is one of a receiver that has begun
        anew after those of `seen`.  All sessions that were under way then have such reports, and
        count as one; a peer that never counts is left alone after some."""
        if not seen.elsewhere(serial):
            self._in_a_row = 0 if len(seen) else self._in_a_row
            return False
        if begun_at >= self._at:
            self._in_a_row += 1
            self._at = now
        return self._in_a_row <= UNCOUNTED_MAX
