"""LTP segments (RFC 5326 §3): valid ones of every type, and those that break one rule.

    segments()          any segment, as `stack.wire.ltp` has it
    data_segments()     those of one kind; so have all others
    encoded_segments()  the octets of one
    nearly_segments()   octets that break one rule of `SEGMENT_RULES`, and say which
    mutated_segments()  octets damaged at random

What segments are together: blocks in `ltp_transfers`, whole sessions in `ltp_sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from interop.strategies.choices import Choices, Source
from interop.strategies.making import strategy
from interop.strategies.mutation import mutated
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.wire.ltp import (
    EXTENSIONS_MAX,
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    encode_segment,
)

U64 = (1 << 64) - 1

DATA_KINDS = tuple(SegmentType(kind) for kind in (0, 1, 2, 3, 4, 7))
"""The types of data segments that RFC 5326 §3.1.2 defines."""

CHECKPOINT_KINDS = DATA_KINDS[1:4]

_EDGES = (0, 1, 127, 128, 16_383, 16_384, (1 << 32) - 1, 1 << 32, 1 << 63, U64)
_SPANS = (0, 127, 1 << 14, U64)


def number(choose: Choices, least: int = 0) -> int:
    """The value of an SDNV field: mostly small, at the edges of one octet more, or as large as 64
    bits."""
    width = choose.integer(0, 3)
    if width == 0:
        return choose.pick([edge for edge in _EDGES if edge >= least] or [least])
    return choose.integer(least, min(U64, least + _SPANS[width]))


@strategy
def session_ids(choose: Choices, *, engine: int | None = None) -> SessionId:
    """Session ids (RFC 5326 §3.1), of one engine if so wished."""
    return SessionId(number(choose) if engine is None else engine, number(choose))


_SESSIONS = session_ids.maker()


@strategy
def extensions(choose: Choices) -> tuple[Extension, ...]:
    """Header or trailer extensions (RFC 5326 §3.1.4): usually none, at most 15."""
    if not choose.flip(3):
        return ()
    some = choose.many(0, EXTENSIONS_MAX)
    return tuple(Extension(choose.integer(0, 255), choose.octets(0, 40)) for _ in some)


_EXTENSIONS = extensions.maker()


@strategy
def data_segments(
    choose: Choices,
    *,
    session: Source[SessionId] = _SESSIONS,
    kinds: tuple[SegmentType, ...] = DATA_KINDS,
    data: Source[bytes] | None = None,
) -> DataSegment:
    """Red and green data (RFC 5326 §3.2.1), checkpoints among them, that end below 2^64."""
    kind = choose.pick(kinds)
    checkpoint = kind in CHECKPOINT_KINDS
    octets = choose.draw(data) if data is not None else _some_data(choose)
    return DataSegment(
        session=choose.draw(session),
        header=_EXTENSIONS(choose),
        trailer=_EXTENSIONS(choose),
        kind=kind,
        client_service=number(choose),
        offset=min(number(choose), U64 - len(octets)),
        data=octets,
        checkpoint_serial=number(choose, 1) if checkpoint else 0,
        report_serial=number(choose) if checkpoint else 0,
    )


def _some_data(choose: Choices) -> bytes:
    """Content of a segment: none at all more often than by chance, as few think of that."""
    return b"" if choose.flip(8) else choose.octets(0, 200)


@strategy
def report_segments(
    choose: Choices, *, session: Source[SessionId] = _SESSIONS, claims_max: int = 10
) -> ReportSegment:
    """Reports (RFC 5326 §3.2.2) of one claim or more, in order, apart, within their scope."""
    claims: list[Claim] = []
    reached = 0
    for _ in choose.many(1, claims_max):
        gap = choose.integer(1 if claims else 0, 1000)
        claims.append(Claim(reached + gap, choose.integer(1, 1000)))
        reached = sum(claims[-1])
    lower = choose.integer(0, 300 if choose.flip() else 1 << 40)
    return ReportSegment(
        session=choose.draw(session),
        header=_EXTENSIONS(choose),
        trailer=_EXTENSIONS(choose),
        report_serial=number(choose, 1),
        checkpoint_serial=number(choose),
        upper=lower + reached + choose.integer(0, 50),
        lower=lower,
        claims=tuple(claims),
    )


@strategy
def report_acks(choose: Choices, *, session: Source[SessionId] = _SESSIONS) -> ReportAck:
    """Acknowledgements of reports (RFC 5326 §3.2.3)."""
    return ReportAck(
        session=choose.draw(session),
        header=_EXTENSIONS(choose),
        trailer=_EXTENSIONS(choose),
        report_serial=number(choose, 1),
    )


@strategy
def cancel_segments(choose: Choices, *, session: Source[SessionId] = _SESSIONS) -> CancelSegment:
    """Cancellations by either side (RFC 5326 §3.2.4), of every reason that has a name."""
    return CancelSegment(
        session=choose.draw(session),
        header=_EXTENSIONS(choose),
        trailer=_EXTENSIONS(choose),
        by_sender=choose.flip(),
        reason=choose.integer(0, 5),
    )


@strategy
def cancel_acks(choose: Choices, *, session: Source[SessionId] = _SESSIONS) -> CancelAck:
    """Acknowledgements of cancellations (RFC 5326 §3.2.4)."""
    return CancelAck(
        session=choose.draw(session),
        header=_EXTENSIONS(choose),
        trailer=_EXTENSIONS(choose),
        to_sender=choose.flip(),
    )


@strategy
def segments(choose: Choices, *, session: Source[SessionId] = _SESSIONS) -> Segment:
    """Any segment, of `session` if it is given."""
    kinds = (data_segments, report_segments, report_acks, cancel_segments, cancel_acks)
    return kinds[choose.integer(0, 4)].make(choose, session=session)


@strategy
def encoded_segments(choose: Choices, *, session: Source[SessionId] = _SESSIONS) -> bytes:
    """The octets of any segment."""
    return encode_segment(segments.make(choose, session=session))


# ------------------------------------------------------------------------------ nearly valid

Fields = dict[str, bytes]
"""The fields of one segment, in their order on the wire."""


def fields(segment: Segment) -> Fields:
    """A segment as its fields, which joined are its octets (RFC 5326 §3.1 to §3.3)."""
    kind, content = _content(segment)
    header, trailer = segment.header, segment.trailer
    return {
        "control": bytes((kind,)),
        "engine": sdnv(segment.session.engine),
        "number": sdnv(segment.session.number),
        "counts": bytes((len(header) << 4 | len(trailer),)),
        "header": b"".join(map(_extension, header)),
        **content,
        "trailer": b"".join(map(_extension, trailer)),
    }


def sdnv(value: int) -> bytes:
    """The shortest SDNV of a number of any size (RFC 6256 §2)."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))


def _extension(extension: Extension) -> bytes:
    return bytes((extension.tag,)) + sdnv(len(extension.value)) + extension.value


def _content(segment: Segment) -> tuple[int, Fields]:
    match segment:
        case DataSegment():
            content = {
                "client service": sdnv(segment.client_service),
                "offset": sdnv(segment.offset),
                "length": sdnv(len(segment.data)),
            }
            if segment.is_checkpoint:
                content["checkpoint serial"] = sdnv(segment.checkpoint_serial)
                content["report serial"] = sdnv(segment.report_serial)
            return segment.kind, content | {"data": bytes(segment.data)}
        case ReportSegment():
            return 8, {
                "report serial": sdnv(segment.report_serial),
                "checkpoint serial": sdnv(segment.checkpoint_serial),
                "upper": sdnv(segment.upper),
                "lower": sdnv(segment.lower),
                "claim count": sdnv(len(segment.claims)),
                "claims": _claims(*segment.claims),
            }
        case ReportAck():
            return 9, {"report serial": sdnv(segment.report_serial)}
        case CancelSegment():
            return 12 if segment.by_sender else 14, {"reason": bytes((segment.reason,))}
        case _:
            return 13 if segment.to_sender else 15, {}


def _claims(*claims: Claim) -> bytes:
    return b"".join(sdnv(value) for claim in claims for value in claim)


_SDNVS = frozenset(
    ("engine", "number", "client service", "offset", "length", "checkpoint serial",
     "report serial", "upper", "lower", "claim count")
)  # fmt: skip
"""Fields that are one SDNV."""

Spoil = Callable[[Choices, Fields, Any], None]
"""Changes the fields of a segment."""


def _rule(
    clause: str, words: str, made: Callable[[Choices], Segment], spoil: Spoil
) -> WireRule[Segment]:
    def spoilt(choose: Choices, segment: Segment) -> bytes:
        parts = fields(segment)
        spoil(choose, parts, segment)
        return b"".join(parts.values())

    return WireRule(Violation(f"RFC {clause}", words), made, spoilt)


def _version(choose: Choices, parts: Fields, segment: Segment) -> None:
    parts["control"] = bytes((choose.integer(1, 15) << 4 | parts["control"][0],))


def _type(*kinds: int) -> Spoil:
    def spoil(choose: Choices, parts: Fields, segment: Segment) -> None:
        parts["control"] = bytes((choose.pick(kinds),))

    return spoil


def _zero(name: str) -> Spoil:
    def spoil(choose: Choices, parts: Fields, segment: Segment) -> None:
        parts[name] = bytes((0x80,)) * choose.integer(0, 9) + b"\0"

    return spoil


def _cut(choose: Choices, parts: Fields, segment: Segment) -> None:
    octets = b"".join(parts.values())
    parts.clear()
    parts["cut"] = octets[: choose.integer(1, len(octets) - 1)]


def _some_number(choose: Choices, parts: Fields) -> str:
    return choose.pick([name for name in parts if name in _SDNVS])


def _unended(choose: Choices, parts: Fields, segment: Segment) -> None:
    name = _some_number(choose, parts)
    names = list(parts)
    for later in names[names.index(name) + 1 :]:
        del parts[later]
    parts[name] = bytes(0x80 | octet for octet in choose.octets(1, 9))


def _wide(choose: Choices, parts: Fields, segment: Segment) -> None:
    parts[_some_number(choose, parts)] = sdnv(choose.integer(U64 + 1, 1 << 200))


def _long(choose: Choices, parts: Fields, segment: Segment) -> None:
    parts[_some_number(choose, parts)] = bytes((0x80,)) * choose.integer(10, 40) + b"\1"


def _beyond(choose: Choices, parts: Fields) -> bytes:
    """A count of octets that are not left in this datagram, whatever is."""
    return sdnv(number(choose, sum(map(len, parts.values()))))


def _claimed_length(name: str) -> Spoil:
    def spoil(choose: Choices, parts: Fields, segment: Segment) -> None:
        parts[name] = _beyond(choose, parts)

    return spoil


def _few_extensions(choose: Choices, parts: Fields, segment: Segment) -> None:
    header, trailer = len(segment.header), len(segment.trailer)
    parts["counts"] = bytes((header << 4 | choose.integer(trailer + 1, EXTENSIONS_MAX),))


def _long_extension(choose: Choices, parts: Fields, segment: Segment) -> None:
    header, trailer = len(segment.header), len(segment.trailer)
    where, counts = choose.pick(
        (("header", header + 1 << 4 | trailer), ("trailer", header << 4 | trailer + 1))
    )
    parts["counts"] = bytes((counts,))
    parts[where] += bytes((choose.integer(0, 255),)) + _beyond(choose, parts)


def _reclaim(parts: Fields, segment: ReportSegment, *claims: Claim) -> None:
    """Give a report other claims, in a scope that is theirs."""
    parts["claim count"], parts["claims"] = sdnv(len(claims)), _claims(*claims)
    parts["upper"] = sdnv(segment.lower + max(map(sum, claims), default=0))


def _pair(choose: Choices) -> tuple[Claim, int]:
    """A claim, and the length of a second one."""
    return Claim(choose.integer(0, 1000), choose.integer(1, 1000)), choose.integer(1, 1000)


def _overlap(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    first, length = _pair(choose)
    _reclaim(parts, segment, first, Claim(choose.integer(first.offset, sum(first) - 1), length))


def _disorder(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    first, length = _pair(choose)
    later = Claim(sum(first) + choose.integer(1, 1000), length)
    _reclaim(parts, segment, later, first)


def _touch(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    first, length = _pair(choose)
    _reclaim(parts, segment, first, Claim(sum(first), length))


def _no_claims(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    _reclaim(parts, segment)
    parts["upper"] = sdnv(segment.upper)


def _empty_claim(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    claims = list(segment.claims)
    at = choose.integer(0, len(claims) - 1)
    claims[at] = Claim(claims[at].offset, 0)
    parts["claims"] = _claims(*claims)


def _outside(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    reach = sum(segment.claims[-1])
    parts["upper"] = sdnv(segment.lower + choose.integer(0, reach - 1))


def _backwards(choose: Choices, parts: Fields, segment: ReportSegment) -> None:
    upper = choose.integer(0, 1 << 40)
    parts["upper"], parts["lower"] = sdnv(upper), sdnv(number(choose, upper + 1))


_ANY = segments.maker()
_DATA = data_segments.maker()
_CHECKPOINTS = data_segments.maker(kinds=CHECKPOINT_KINDS)
_REPORTS = report_segments.maker()


def _extensible(choose: Choices) -> Segment:
    """Any segment with room for one more extension."""
    segment = _ANY(choose)
    return replace(segment, header=segment.header[:-1], trailer=segment.trailer[:-1])


SEGMENT_RULES = (
    _rule("5326 §3.1", "the version is not 0", _ANY, _version),
    _rule("5326 §3.1.2", "green data of an undefined type", _DATA, _type(5, 6)),
    _rule("5326 §3.1.2", "a control segment of an undefined type", _ANY, _type(10, 11)),
    _rule("5326 §3", "the datagram ends before the segment does", _ANY, _cut),
    _rule("6256 §2", "the datagram ends within a number", _ANY, _unended),
    _rule("6256 §3", "a number of more than 64 bits", _ANY, _wide),
    _rule("6256 §3", "a number of more octets than 64 bits need", _ANY, _long),
    _rule("5326 §3.1.4", "fewer extensions than are counted", _extensible, _few_extensions),
    _rule("5326 §3.1.4", "an extension longer than the datagram", _extensible, _long_extension),
    _rule("5326 §3.2.1", "more data than the datagram has", _DATA, _claimed_length("length")),
    _rule("5326 §3.2.1", "a checkpoint of serial number 0", _CHECKPOINTS,
          _zero("checkpoint serial")),
    _rule("5326 §3.2.2", "a report of serial number 0", _REPORTS, _zero("report serial")),
    _rule("5326 §3.2.2", "more claims than the datagram has", _REPORTS,
          _claimed_length("claim count")),
    _rule("5326 §3.2.2", "claims that overlap", _REPORTS, _overlap),
    _rule("5326 §3.2.2", "claims that touch", _REPORTS, _touch),
    _rule("5326 §3.2.2", "claims out of order", _REPORTS, _disorder),
    _rule("5326 §3.2.2", "a claim of no octets", _REPORTS, _empty_claim),
    _rule("5326 §3.2.2", "a claim beyond the scope", _REPORTS, _outside),
    _rule("5326 §3.2.2", "a report without claims", _REPORTS, _no_claims),
    _rule("5326 §3.2.2", "a lower bound above the upper bound", _REPORTS, _backwards),
)  # fmt: skip
"""What `nearly_segments` breaks: whoever reads one segment alone can see it.

RFC 6256 §3 leaves the bound of a number to the reader; 64 bits are what LTP's fields need."""


@strategy
def nearly_segments(
    choose: Choices, *, rules: Sequence[WireRule[Segment]] = SEGMENT_RULES
) -> Nearly:
    """One segment that breaks one rule, of `rules`, and no other."""
    return nearly(choose, rules, encode_segment)


@strategy
def mutated_segments(choose: Choices) -> bytes:
    """Octets of segments damaged at random.  LTP has no length or checksum over the whole."""
    return mutated.make(choose, encoded_segments.make)
