"""Administrative records (RFC 9171 §6), of which bundle status reports are the only ones here."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire import cbor
from stack.wire.bundle.eids import decode_eid, encode_eid

STATUS_REPORT = 1
"""Administrative record type (RFC 9171 §6.1)."""

_SECTION = "RFC 9171 §6.1.1"
_STATUS_ITEMS = 4


class ReportReason(enum.IntEnum):
    """Bundle status report reason codes (RFC 9171 §9.5, RFC 9172 §11.2)."""

    NO_INFORMATION = 0
    LIFETIME_EXPIRED = 1
    FORWARDED_UNIDIRECTIONAL = 2
    TRANSMISSION_CANCELED = 3
    DEPLETED_STORAGE = 4
    DESTINATION_UNAVAILABLE = 5
    NO_ROUTE = 6
    NO_TIMELY_CONTACT = 7
    BLOCK_UNINTELLIGIBLE = 8
    HOP_LIMIT_EXCEEDED = 9
    TRAFFIC_PARED = 10
    BLOCK_UNSUPPORTED = 11
    MISSING_SECURITY_OPERATION = 12
    UNKNOWN_SECURITY_OPERATION = 13
    UNEXPECTED_SECURITY_OPERATION = 14
    FAILED_SECURITY_OPERATION = 15
    CONFLICTING_SECURITY_OPERATION = 16

    @property
    def words(self) -> str:
        """The reason for people to read."""
        return self.name.lower().replace("_", " ")


def reason_words(reason: int) -> str:
    """Any reason code in words, unassigned ones included."""
    try:
        return ReportReason(reason).words
    except ValueError:
        return f"reason {reason}"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """What happened to a bundle, and when (RFC 9171 §6.1.1)."""

    source: Eid
    """Source of the bundle that the report is about."""

    creation_ms: int
    sequence: int
    received: bool = False
    forwarded: bool = False
    delivered: bool = False
    deleted: bool = False
    time_ms: int | None = None
    """DTN time in milliseconds of each status that is asserted, or None: not told."""

    reason: int = ReportReason.NO_INFORMATION
    """A `ReportReason`, or a plain number that RFC 9171 does not assign."""

    fragment_offset: int | None = None
    fragment_length: int | None = None
    """Payload length in octets; with `fragment_offset` for a fragment, else None."""

    item_times_ms: tuple[int | None, ...] | None = None
    """Only where a peer gives unlike times: those of received, forwarded, delivered, deleted."""


@dataclass(frozen=True, slots=True)
class AdminRecord:
    """An administrative record of a type that this codec does not know."""

    type: int
    content: bytes
    """The encoded CBOR item."""


def encode_status_report(report: StatusReport) -> bytes:
    """The payload of a bundle that carries this report.  Raises `LocalError`."""
    asserted = (report.received, report.forwarded, report.delivered, report.deleted)
    times = report.item_times_ms or (report.time_ms,) * _STATUS_ITEMS
    items = []
    for flag, time_ms in zip(asserted, times, strict=True):
        if flag and time_ms is not None:
            items.append(cbor.array((cbor.TRUE, cbor.uint(time_ms))))
        else:
            items.append(cbor.array((cbor.TRUE if flag else cbor.FALSE,)))
    fields = [
        cbor.array(items),
        cbor.uint(report.reason),
        encode_eid(report.source),
        cbor.array((cbor.uint(report.creation_ms), cbor.uint(report.sequence))),
    ]
    if report.fragment_offset is not None:
        fields.append(cbor.uint(report.fragment_offset))
        fields.append(cbor.uint(report.fragment_length or 0))
    return cbor.array((cbor.uint(STATUS_REPORT), cbor.array(fields)))


def decode_admin(data: Buffer) -> StatusReport | AdminRecord:
    """Read the payload of a bundle that has IS_ADMIN (RFC 9171 §6.1).  Raises `DecodeError`."""
    try:
        return _read_record(data)
    except cbor.IndefiniteLength:
        return _read_record(cbor.deterministic(data))


def _read_record(data: Buffer) -> StatusReport | AdminRecord:
    count, offset = cbor.read_array(data, 0)
    if count != 2:
        raise DecodeError("a record is a pair of type and content", "RFC 9171 §6.1")
    kind, offset = cbor.read_uint(data, offset)
    report: StatusReport | AdminRecord
    if kind == STATUS_REPORT:
        report, end = _read_report(data, offset)
    else:
        end = cbor.skip_item(data, offset)
        report = AdminRecord(kind, bytes(data[offset:end]))
    if end != len(data):
        raise DecodeError("octets after the administrative record", "RFC 9171 §6.1", end)
    return report


def _read_report(data: Buffer, offset: int) -> tuple[StatusReport, int]:
    count, offset = cbor.read_array(data, offset)
    if count not in (4, 6):
        raise DecodeError(f"status report of {count} fields", _SECTION, offset)
    asserted, times, offset = _read_items(data, offset)
    reason, offset = cbor.read_uint(data, offset)
    source, offset = decode_eid(data, offset)
    pair, offset = cbor.read_array(data, offset)
    if pair != 2:
        raise DecodeError("a timestamp is a pair of numbers", "RFC 9171 §4.2.7", offset)
    creation_ms, offset = cbor.read_uint(data, offset)
    sequence, offset = cbor.read_uint(data, offset)
    fragment_offset = fragment_length = None
    if count == 6:
        fragment_offset, offset = cbor.read_uint(data, offset)
        fragment_length, offset = cbor.read_uint(data, offset)
    told = {time for flag, time in zip(asserted, times, strict=True) if flag}
    same = len(told) <= 1
    report = StatusReport(
        source,
        creation_ms,
        sequence,
        received=asserted[0],
        forwarded=asserted[1],
        delivered=asserted[2],
        deleted=asserted[3],
        time_ms=told.pop() if told and same else None,
        reason=reason,
        fragment_offset=fragment_offset,
        fragment_length=fragment_length,
        item_times_ms=None if same else tuple(times),
    )
    return report, offset


def _read_items(data: Buffer, offset: int) -> tuple[list[bool], list[int | None], int]:
    """The four status items: flags, times, offset after them."""
    count, offset = cbor.read_array(data, offset)
    if count != _STATUS_ITEMS:
        raise DecodeError(f"{count} status items", _SECTION, offset)
    asserted: list[bool] = []
    times: list[int | None] = []
    for _ in range(_STATUS_ITEMS):
        size, offset = cbor.read_array(data, offset)
        flag, offset = cbor.read_bool(data, offset)
        if size != 1 and not (size == 2 and flag):  # a time only with what is asserted
            raise DecodeError("malformed status item", _SECTION, offset)
        time_ms = None
        if size == 2:
            time_ms, offset = cbor.read_uint(data, offset)
        asserted.append(flag)
        times.append(time_ms)
    return asserted, times, offset
