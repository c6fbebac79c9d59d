"""LTP segments (RFC 5326 §3): every segment type, with header and trailer extensions.

A data segment, report or acknowledgement is one frozen object.  `decode_segment` reads one segment
and says where it ends; `encode_segment` writes the exact octets.  The engines build and read runs
of plain data segments without these objects (`stack.engines.ltp.trains`); what is unusual in any
way passes through here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire.sdnv import SDNV_MAX, decode_sdnv, encode_sdnv

VERSION = 0
"""The only version of LTP (RFC 5326 §3.1)."""

EXTENSIONS_MAX = 15
"""Extensions in a header or trailer: their count is a 4-bit field (RFC 5326 §3.1.4)."""

CLAIMS_MAX = 4096
"""Reception claims read in one report segment: more than fit into a datagram of the usual size, and
than gaps that any sender could fill one by one."""

CLIENT_BP = 1
"""Client service id of the Bundle Protocol (RFC 7116, LTP client service identifiers)."""

CLIENT_SDA = 2
"""Client service id of LTP service data aggregation (CCSDS 734.1-B-1; RFC 7116)."""


class SegmentType(enum.IntEnum):
    """Segment type codes (RFC 5326 §3.1.2)."""

    RED = 0
    RED_CHECKPOINT = 1
    RED_END = 2
    """Checkpoint, end of red part, not end of block."""

    RED_END_BLOCK = 3
    """Checkpoint, end of red part and end of block."""

    GREEN = 4
    GREEN_UNDEFINED_5 = 5
    GREEN_UNDEFINED_6 = 6
    GREEN_END_BLOCK = 7
    REPORT = 8
    REPORT_ACK = 9
    CONTROL_UNDEFINED_10 = 10
    CONTROL_UNDEFINED_11 = 11
    CANCEL_BY_SENDER = 12
    CANCEL_ACK_TO_SENDER = 13
    CANCEL_BY_RECEIVER = 14
    CANCEL_ACK_TO_RECEIVER = 15


_UNDEFINED = frozenset((5, 6, 10, 11))
_DATA_TYPES = frozenset((0, 1, 2, 3, 4, 7))
_CHECKPOINT_TYPES = frozenset((1, 2, 3))


class CancelReason(enum.IntEnum):
    """Reason codes of session cancellation (RFC 5326 §3.2.4); 6 to 255 are reserved."""

    USR_CNCLD = 0
    """The client service cancelled the session."""

    UNREACH = 1
    """The client service is not reachable."""

    RLEXC = 2
    """The retransmission limit was exceeded."""

    MISCOLORED = 3
    """Red data after green data in the block, or green before red."""

    SYS_CNCLD = 4
    """A system error condition ended the session."""

    RXMTCYCEXC = 5
    """The limit of retransmission cycles was exceeded."""


class SessionId(NamedTuple):
    """Who began a session, and its number there (RFC 5326 §3.1)."""

    engine: int
    number: int

    def __str__(self) -> str:
        return f"{self.engine}.{self.number}"


class Claim(NamedTuple):
    """Octets said to have arrived: `offset` counts from the report's lower bound (§3.2.2)."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension field (RFC 5326 §3.1.4): tag 0 authentication, 1 cookie (RFC 5327)."""

    tag: int
    value: bytes

    def __post_init__(self) -> None:
        _require(0 <= self.tag <= 255, "extension tag is one octet")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    session: SessionId
    header: tuple[Extension, ...] = ()
    trailer: tuple[Extension, ...] = ()

    def __post_init__(self) -> None:
        _require(
            len(self.header) <= EXTENSIONS_MAX and len(self.trailer) <= EXTENSIONS_MAX,
            "at most 15 extensions",
        )
        engine, number = self.session
        fits = 0 <= engine <= SDNV_MAX and 0 <= number <= SDNV_MAX
        _require(fits, "session id does not fit 64 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSegment(_Segment):
    """Block data (RFC 5326 §3.2.1).  The serial numbers belong to checkpoints only;
    `report_serial` is that of the report which this checkpoint answers, or 0."""

    kind: SegmentType
    client_service: int
    offset: int
    data: Buffer
    checkpoint_serial: int = 0
    report_serial: int = 0

    def __post_init__(self) -> None:
        _Segment.__post_init__(self)
        _require(self.kind in _DATA_TYPES, "not the type of a data segment")
        if self.kind in _CHECKPOINT_TYPES:
            _require(self.checkpoint_serial > 0, "checkpoint serial number must not be 0")
        else:
            _require(
                self.checkpoint_serial == self.report_serial == 0,
                "serial numbers are for checkpoints",
            )

    @property
    def is_checkpoint(self) -> bool:
        """Whether the receiver must answer with a report."""
        return self.kind in _CHECKPOINT_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSegment(_Segment):
    """What arrived of the red octets [lower, upper) (RFC 5326 §3.2.2); `checkpoint_serial` 0
    means that no checkpoint asked for it (asynchronous report)."""

    report_serial: int
    checkpoint_serial: int
    upper: int
    lower: int
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        _Segment.__post_init__(self)
        _require(self.report_serial > 0, "report serial number must not be 0")
        fault = _claims_fault(self.lower, self.upper, self.claims)
        _require(not fault, fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAck(_Segment):
    """Acknowledges one report segment (RFC 5326 §3.2.3)."""

    report_serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSegment(_Segment):
    """Cancels a session (RFC 5326 §3.2.4); `reason` may be a reserved code of a newer peer."""

    by_sender: bool
    reason: int

    def __post_init__(self) -> None:
        _Segment.__post_init__(self)
        _require(0 <= self.reason <= 255, "reason code is one octet")


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAck(_Segment):
    """Acknowledges a cancellation (RFC 5326 §3.2.4)."""

    to_sender: bool


Segment = DataSegment | ReportSegment | ReportAck | CancelSegment | CancelAck


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise LocalError(f"LTP segment: {fault}")


def _claims_fault(lower: int, upper: int, claims: Iterable[Claim]) -> str:
    """The rule of RFC 5326 §3.2.2 that a report breaks, or an empty string.

    Claims that touch are taken, although a claim should begin beyond the end of the one before:
    they say nothing false.  No claims at all means that nothing of the scope has arrived.
    """
    scope = upper - lower
    if scope < 0:
        return "report's lower bound above its upper bound"
    reached = 0
    for offset, length in claims:
        if length < 1:
            return "empty reception claim"
        if offset < reached:
            return "reception claims overlap or are out of order"
        reached = offset + length
        if reached > scope:
            return "reception claim outside the report's scope"
    return ""


def session_octets(session: SessionId) -> bytes:
    """The session id as it stands in every header (RFC 5326 §3.1)."""
    return encode_sdnv(session.engine) + encode_sdnv(session.number)


# ---------------------------------------------------------------------------------- encoding


def encode_segment(segment: Segment) -> bytes:
    """The exact octets of a segment (RFC 5326 §3)."""
    kind, content = _content(segment)
    header, trailer = segment.header, segment.trailer
    return b"".join(
        (
            bytes((VERSION << 4 | kind,)),
            session_octets(segment.session),
            bytes((len(header) << 4 | len(trailer),)),
            *(_extension_octets(extension) for extension in header),
            content,
            *(_extension_octets(extension) for extension in trailer),
        )
    )


def _extension_octets(extension: Extension) -> bytes:
    return bytes((extension.tag,)) + encode_sdnv(len(extension.value)) + extension.value


def _content(segment: Segment) -> tuple[SegmentType, bytes]:
    """Type code and content of a segment (RFC 5326 §3.2)."""
    match segment:
        case DataSegment():
            head = [segment.client_service, segment.offset, len(segment.data)]
            if segment.is_checkpoint:
                head += [segment.checkpoint_serial, segment.report_serial]
            return segment.kind, b"".join((*map(encode_sdnv, head), segment.data))
        case ReportSegment():
            return SegmentType.REPORT, _report_content(segment)
        case ReportAck():
            return SegmentType.REPORT_ACK, encode_sdnv(segment.report_serial)
        case CancelSegment(by_sender=True):
            return SegmentType.CANCEL_BY_SENDER, bytes((segment.reason,))
        case CancelSegment():
            return SegmentType.CANCEL_BY_RECEIVER, bytes((segment.reason,))
        case _ if segment.to_sender:
            return SegmentType.CANCEL_ACK_TO_SENDER, b""
        case _:
            return SegmentType.CANCEL_ACK_TO_RECEIVER, b""


def _report_content(segment: ReportSegment) -> bytes:
    fields = [
        segment.report_serial,
        segment.checkpoint_serial,
        segment.upper,
        segment.lower,
        len(segment.claims),
    ]
    for claim in segment.claims:
        fields += claim
    return b"".join(map(encode_sdnv, fields))


# ---------------------------------------------------------------------------------- decoding


def decode_segment(data: Buffer, offset: int = 0) -> tuple[Segment, int]:
    """Read the segment at `offset`: (segment, offset of the octet after it).

    The data of a data segment is a view into `data`, not a copy.  Raises `DecodeError`.
    """
    view = memoryview(data)
    control, at = _octet(view, offset, "RFC 5326 §3.1")
    if control >> 4 != VERSION:
        raise DecodeError(f"LTP version {control >> 4}", "RFC 5326 §3.1", offset)
    kind = control & 0x0F
    if kind in _UNDEFINED:
        raise DecodeError(f"undefined segment type {kind}", "RFC 5326 §3.1.2", offset)
    engine, at = decode_sdnv(view, at)
    number, at = decode_sdnv(view, at)
    counts, at = _octet(view, at, "RFC 5326 §3.1.4")
    session = SessionId(engine, number)
    header, at = _extensions(view, at, counts >> 4)
    if kind in _DATA_TYPES:
        return _decode_data(view, at, SegmentType(kind), session, header, counts & 15)
    if kind == SegmentType.REPORT:
        return _decode_report(view, at, session, header, counts & 15)
    if kind == SegmentType.REPORT_ACK:
        serial, at = decode_sdnv(view, at)
        trailer, at = _extensions(view, at, counts & 15)
        return ReportAck(session=session, report_serial=serial, header=header, trailer=trailer), at
    by_sender = kind in (SegmentType.CANCEL_BY_SENDER, SegmentType.CANCEL_ACK_TO_SENDER)
    if kind in (SegmentType.CANCEL_BY_SENDER, SegmentType.CANCEL_BY_RECEIVER):
        reason, at = _octet(view, at, "RFC 5326 §3.2.4")
        trailer, at = _extensions(view, at, counts & 15)
        return CancelSegment(
            session=session, by_sender=by_sender, reason=reason, header=header, trailer=trailer
        ), at
    trailer, at = _extensions(view, at, counts & 15)
    return CancelAck(session=session, to_sender=by_sender, header=header, trailer=trailer), at


def _octet(view: memoryview, at: int, section: str) -> tuple[int, int]:
    if at >= len(view):
        raise DecodeError("truncated segment", section, at)
    octet: int = view[at]
    return octet, at + 1


def _extensions(view: memoryview, at: int, count: int) -> tuple[tuple[Extension, ...], int]:
    """Header or trailer extensions (RFC 5326 §3.1.4)."""
    if not count:
        return (), at
    found = []
    for _ in range(count):
        tag, at = _octet(view, at, "RFC 5326 §3.1.4")
        length, at = decode_sdnv(view, at)
        if length > len(view) - at:
            raise DecodeError("truncated extension", "RFC 5326 §3.1.4", at)
        found.append(Extension(tag, bytes(view[at : at + length])))
        at += length
    return tuple(found), at


def _decode_data(
    view: memoryview,
    at: int,
    kind: SegmentType,
    session: SessionId,
    header: tuple[Extension, ...],
    trailers: int,
) -> tuple[DataSegment, int]:
    """Content of a data segment (RFC 5326 §3.2.1)."""
    client_service, at = decode_sdnv(view, at)
    offset, at = decode_sdnv(view, at)
    length, at = decode_sdnv(view, at)
    checkpoint = report = 0
    if kind in _CHECKPOINT_TYPES:
        checkpoint, at = decode_sdnv(view, at)
        report, at = decode_sdnv(view, at)
        if checkpoint == 0:
            raise DecodeError("checkpoint serial number is 0", "RFC 5326 §3.2.1", at)
    if length > len(view) - at:
        raise DecodeError("truncated data", "RFC 5326 §3.2.1", at)
    data = view[at : at + length]
    trailer, at = _extensions(view, at + length, trailers)
    return DataSegment(
        session=session,
        kind=kind,
        client_service=client_service,
        offset=offset,
        data=data,
        checkpoint_serial=checkpoint,
        report_serial=report,
        header=header,
        trailer=trailer,
    ), at


def _decode_report(
    view: memoryview,
    at: int,
    session: SessionId,
    header: tuple[Extension, ...],
    trailers: int,
) -> tuple[ReportSegment, int]:
    """Content of a report segment (RFC 5326 §3.2.2)."""
    start = at
    serial, at = decode_sdnv(view, at)
    checkpoint, at = decode_sdnv(view, at)
    upper, at = decode_sdnv(view, at)
    lower, at = decode_sdnv(view, at)
    count, at = decode_sdnv(view, at)
    if serial == 0:
        raise DecodeError("report serial number is 0", "RFC 5326 §3.2.2", start)
    if count > (len(view) - at) // 2:  # a claim takes two octets or more
        raise DecodeError("reception claims truncated", "RFC 5326 §3.2.2", at)
    if count > CLAIMS_MAX:
        raise DecodeError(f"more than {CLAIMS_MAX} reception claims", "RFC 5326 §3.2.2", at)
    claims = []
    for _ in range(count):
        offset, at = decode_sdnv(view, at)
        length, at = decode_sdnv(view, at)
        claims.append(Claim(offset, length))
    fault = _claims_fault(lower, upper, claims)
    if fault:
        raise DecodeError(fault, "RFC 5326 §3.2.2", start)
    trailer, at = _extensions(view, at, trailers)
    return ReportSegment(
        session=session,
        report_serial=serial,
        checkpoint_serial=checkpoint,
        upper=upper,
        lower=lower,
        claims=tuple(claims),
        header=header,
        trailer=trailer,
    ), at
