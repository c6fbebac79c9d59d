"""What an LTP engine tells its driver (the notices of RFC 5326 §7, and questions)."""

from __future__ import annotations

from dataclasses import dataclass

from stack.wire.ltp import SessionId


@dataclass(frozen=True, slots=True)
class Sent:
    """Every red octet of the block with these refs is acknowledged and its green octets have
    left (RFC 5326 §7.4)."""

    refs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The block's session was cancelled, by either side (RFC 5326 §7.5); the peer may or may not
    have the data, and the driver sends it again in a new session.  It comes some time after the
    cancellation, longer at each failure of the same data, so that it may be sent again at once."""

    refs: tuple[int, ...]
    reason: int
    """A `CancelReason`, or a reserved code of a newer peer."""


@dataclass(frozen=True, slots=True)
class BlockReceived:
    """The red part of a block is complete (RFC 5326 §7.3).  It is acknowledged only after
    `LtpEngine.accept`; the driver answers every one with `accept` or `refuse`."""

    session: SessionId
    client_service: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class GreenReceived:
    """Green octets arrived (RFC 5326 §7.2): unacknowledged, in any order, maybe twice."""

    session: SessionId
    client_service: int
    offset: int
    data: bytes
    eob: bool
    """These octets end the block."""


@dataclass(frozen=True, slots=True)
class ReportHeld:
    """The first report on a block that is not yet whole is ready.  The driver makes the session
    id durable, then calls `LtpEngine.report_noted`, upon which the report goes out."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session for which `ReportHeld` was given is over: its durable note can be deleted."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class PeerViolation:
    """The peer's octets broke a rule; they were dropped.  Floods are counted, not repeated."""

    code: str
    section: str


@dataclass(frozen=True, slots=True)
class EngineUnknown:
    """Segments of sessions that are not between the two engines of this link were dropped; told
    once for each engine id, and for the first few of them."""

    engine: int
    """The engine id that they carry."""

    expected: int
    """The id that this link has in that place."""

    ours: bool
    """They answer sessions of ours: the peer takes this node for `engine`.  Else they are of the
    peer's own sessions."""


@dataclass(frozen=True, slots=True)
class LinkStalled:
    """Timers expired with nothing heard in between: only probes are sent now."""


@dataclass(frozen=True, slots=True)
class LinkAlive:
    """The peer was heard again after `LinkStalled`, or a new contact began."""


LtpEvent = (
    Sent
    | Failed
    | BlockReceived
    | GreenReceived
    | ReportHeld
    | SessionClosed
    | PeerViolation
    | EngineUnknown
    | LinkStalled
    | LinkAlive
)
