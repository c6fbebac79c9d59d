"""Administrative records that break one rule (RFC 9171 §6.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interop.strategies.bundle import status_reports
from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.wire import cbor
from stack.wire.bundle import encode_eid, encode_status_report

STATUS, REASON, SOURCE, TIMESTAMP, OFFSET, LENGTH = range(6)
"""Fields of a status report (RFC 9171 §6.1.1)."""

Fields = list[bytes]
Break = Callable[[Choices, Fields], None]

_NO_UINT = (b"\x20", b"\xf9\x3c\x00", b"\x41\x01", b"\x61\x31", b"\xf6", b"\x80", b"\xf5",
            b"\xc2\x49\x01" + bytes(8))  # fmt: skip
_NO_EID = (b"\x00", b"\x80", b"\x81\x01", b"\x83\x01\x00\x00", b"\x65ipn:5", b"\xf6")
_FALSE, _TRUE = b"\x81\xf4", b"\x81\xf5"


def _fields(choose: Choices, *, fragment: bool | None = None) -> Fields:
    """The fields of a report on a bundle, or on a fragment."""
    report = status_reports.make(choose)
    if fragment is None:
        fragment = choose.flip()
    items = [choose.pick((_FALSE, _TRUE)) for _ in range(4)]
    found = [
        cbor.array(items),
        cbor.uint(report.reason),
        encode_eid(report.source),
        cbor.array((cbor.uint(report.creation_ms), cbor.uint(report.sequence))),
    ]
    if fragment:
        found += [cbor.uint(choose.uint()), cbor.uint(choose.uint())]
    return found


def _record(fields: Fields) -> bytes:
    return b"\x82\x01" + cbor.array(fields)


def _one_of(field: int, *items: bytes) -> Break:
    def breaks(choose: Choices, fields: Fields) -> None:
        fields[field] = choose.pick(items)

    return breaks


def _status(*items: bytes) -> Break:
    """One of these in the place of one of the four status items."""

    def breaks(choose: Choices, fields: Fields) -> None:
        status = [_FALSE] * 4
        status[choose.integer(0, 3)] = choose.pick(items)
        fields[STATUS] = cbor.array(status)

    return breaks


def _not_four(choose: Choices, fields: Fields) -> None:
    fields[STATUS] = cbor.array([_FALSE] * choose.pick((0, 1, 2, 3, 5, 23)))


def _half_a_fragment(choose: Choices, fields: Fields) -> None:
    fields[OFFSET:] = [cbor.uint(choose.uint())]


def _fewer(choose: Choices, fields: Fields) -> None:
    del fields[choose.integer(0, TIMESTAMP) :]


def _more(choose: Choices, fields: Fields) -> None:
    missing = LENGTH + 1 - len(fields)
    fields += [cbor.uint(choose.uint()) for _ in range(missing + choose.integer(1, 3))]


def _of(breaks: Break, *, fragment: bool | None = None) -> Callable[[Choices], bytes]:
    def make(choose: Choices) -> bytes:
        fields = _fields(choose, fragment=fragment)
        breaks(choose, fields)
        return _record(fields)

    return make


def _whole(change: Callable[[Choices, bytes], bytes]) -> Callable[[Choices], bytes]:
    return lambda choose: change(choose, _record(_fields(choose)))


def _rule(
    section: str, words: str, make: Callable[[Choices], bytes]
) -> tuple[Violation, Callable[[Choices], bytes]]:
    return Violation(f"RFC 9171 {section}", words), make


RECORD_RULES = (
    _rule("§6.1", "a record is a pair of type and content", _whole(
        lambda choose, record: choose.pick((
            record[1:], b"\x81\x01", b"\x83" + record[1:] + b"\x00", b"\x80", b"\x00", b"\xa0",
        )))),
    _rule("§6.1", "a record is one item and nothing else", _whole(
        lambda choose, record: choose.pick((record + b"\x00", record + record, record[:-1], b"")))),
    _rule("§6.1", "a record type is an unsigned integer", _whole(
        lambda choose, record: b"\x82" + choose.pick(_NO_UINT) + record[2:])),
    _rule("§6.1.1", "a status report is an array", _whole(
        lambda choose, record: b"\x82\x01" + choose.pick((*_NO_UINT[:5], b"\x00", b"\xa0")))),
    _rule("§6.1.1", "a status report has 4 or 6 fields: fewer", _of(_fewer, fragment=False)),
    _rule("§6.1.1", "a status report has 4 or 6 fields: more", _of(_more)),
    _rule("§6.1.1", "an offset goes with a length", _of(_half_a_fragment, fragment=False)),
    _rule("§6.1.1", "a status report has four status items", _of(_not_four)),
    _rule("§6.1.1", "status items are an array", _of(_one_of(STATUS, b"\x00", b"\xf5", b"\xa0"))),
    _rule("§6.1.1", "a status item is an array of one or two fields", _of(_status(
        b"\x80", b"\xf5", b"\x00", b"\x83\xf5\x00\x00", b"\xa0"))),
    _rule("§6.1.1", "a status item begins with a boolean", _of(_status(
        b"\x81\x01", b"\x81\xf6", b"\x81\x20", b"\x81\x41\x01", b"\x81\x80"))),
    _rule("§6.1.1", "only what is asserted has a time", _of(_status(b"\x82\xf4\x00"))),
    _rule("§6.1.1", "the time of a status is a DTN time", _of(_status(
        *(b"\x82\xf5" + item for item in _NO_UINT)))),
    _rule("§6.1.1", "a reason is an unsigned integer", _of(_one_of(REASON, *_NO_UINT))),
    _rule("§6.1.1", "the source is an EID", _of(_one_of(SOURCE, *_NO_EID))),
    _rule("§4.2.7", "the creation timestamp is a pair of numbers", _of(_one_of(
        TIMESTAMP, b"\x00", b"\x80", b"\x81\x00", b"\x83\x00\x00\x00", b"\x82\x00\x20",
        b"\x82\x41\x00\x00"))),
    _rule("§6.1.1", "a fragment offset is an unsigned integer", _of(
        _one_of(OFFSET, *_NO_UINT), fragment=True)),
    _rule("§6.1.1", "a fragment length is an unsigned integer", _of(
        _one_of(LENGTH, *_NO_UINT), fragment=True)),
)  # fmt: skip
"""What is wrong with a record, and what makes its octets."""


@strategy
def nearly_status_reports(
    choose: Choices,
    *,
    rules: Sequence[tuple[Violation, Callable[[Choices], bytes]]] = RECORD_RULES,
) -> Nearly:
    """The octets of an administrative record that breaks one rule, of `rules`."""
    violation, make = choose.pick(rules)
    valid = encode_status_report(status_reports.make(choose))
    return Nearly(make(choose), violation, valid)
