"""Two kinds of time, never mixed.

*Monotonic* time is an integer number of nanoseconds from an arbitrary origin: engines take it as
`now` and give deadlines in it.  *DTN time* is an integer number of milliseconds since
2000-01-01T00:00:00Z (RFC 9171 §4.2.6) and is used only where BPv7 puts it on the wire.
"""

from __future__ import annotations

import datetime
from typing import Protocol

MICROSECOND = 1_000
MILLISECOND = 1_000_000
"""Nanoseconds."""

SECOND = 1_000_000_000
"""Nanoseconds."""

DTN_EPOCH_UNIX_S = 946_684_800
"""2000-01-01T00:00:00Z in Unix seconds (RFC 9171 §4.2.6)."""

FOREVER_MS = 1 << 47
"""DTN time at which contacts end that have no end (the year 6459)."""


_LAST_MS = 252_455_615_999_999
"""The end of the year 9999, the last one that dates are written of."""


class Clock(Protocol):
    """What gives a node its time; real, virtual or drifting."""

    def now(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def dtn_ms(self) -> int:
        """DTN time in milliseconds, or 0 when this node has no trusted wall clock."""
        ...


def dtn_from_unix(unix_s: float) -> int:
    """DTN milliseconds of a Unix time in seconds."""
    return round((unix_s - DTN_EPOCH_UNIX_S) * 1000)


def unix_from_dtn(dtn_ms: int) -> float:
    """Unix seconds of a DTN time in milliseconds."""
    return dtn_ms / 1000 + DTN_EPOCH_UNIX_S


def dtn_from_iso(text: str) -> int:
    """DTN milliseconds of an ISO 8601 time; a time without a zone is UTC."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return dtn_from_unix(moment.timestamp())


def dtn_to_iso(dtn_ms: int) -> str:
    """DTN time as ``2026-01-01T00:00:00.000Z``.  Others may claim any: what is beyond the year 9999
    is the end of that."""
    if dtn_ms > _LAST_MS:
        return "9999-12-31T23:59:59.999Z"
    moment = datetime.datetime.fromtimestamp(unix_from_dtn(dtn_ms), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
