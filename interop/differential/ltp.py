"""LTP segments (RFC 5326): our reader and tshark's as they can be compared, and the cases."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from interop.differential.ours import version
from interop.differential.tshark import Dissector, Shown
from interop.differential.verdict import Value, Verdict, refused
from interop.pcap import LINKTYPE_RAW, capture, udp_between
from interop.strategies.ltp import encoded_segments, mutated_segments, nearly_segments
from stack.core.errors import DecodeError
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    Segment,
    decode_segment,
    encode_segment,
)


class OurSegments:
    """Our decoder of segments: one segment, and nothing after it."""

    name = "orbitferry"

    def __init__(self) -> None:
        self.version = version()

    def read(self, encoded: bytes) -> Verdict:
        """RFC 5326 §3."""
        try:
            segment, end = decode_segment(encoded)
            if end != len(encoded):
                raise DecodeError("octets after the segment", "RFC 5326 §3", end)
        except DecodeError as error:
            return refused(error.reason, error.section)
        fields: dict[str, Value] = {
            "engine": segment.session.engine,
            "session": segment.session.number,
            "header extensions": tuple(one.tag for one in segment.header),
            "trailer extensions": tuple(one.tag for one in segment.trailer),
        }
        match segment:
            case DataSegment():
                fields["client service"] = segment.client_service
                fields["offset"] = segment.offset
                fields["length"] = len(segment.data)
                if segment.is_checkpoint:
                    fields["checkpoint serial"] = segment.checkpoint_serial
                    fields["answered report"] = segment.report_serial
            case ReportSegment():
                fields["report serial"] = segment.report_serial
                fields["answered checkpoint"] = segment.checkpoint_serial
                fields["upper bound"], fields["lower bound"] = segment.upper, segment.lower
                fields["claim offsets"] = tuple(claim.offset for claim in segment.claims)
                fields["claim lengths"] = tuple(claim.length for claim in segment.claims)
            case ReportAck():
                fields["acknowledged report"] = segment.report_serial
            case CancelSegment():
                fields["reason"] = segment.reason
        return Verdict(True, fields=fields, trait=_trait(segment, encoded, fields))


def _trait(segment: Segment, encoded: bytes, fields: Mapping[str, Value]) -> str:
    numbers = [value for value in fields.values() if isinstance(value, int)]
    if segment.header:
        return "header extensions"
    if segment.trailer:
        return "trailer extensions"
    if isinstance(segment, CancelAck):
        return "a segment without content"
    if max(numbers) >> 56:
        return "a number over 56 bits"
    if encode_segment(segment) != encoded:
        return "a number with leading zeros"
    if isinstance(segment, ReportSegment) and not segment.claims:
        return "a report without claims"
    if isinstance(segment, ReportSegment) and segment.upper >> 31:
        return "a bound over 31 bits"
    return ""


_NUMBERS = {
    "engine": "ltp.session.orig",
    "session": "ltp.session.number",
    "client service": "ltp.data.client.id",
    "offset": "ltp.data.offset",
    "length": "ltp.data.length",
    "checkpoint serial": "ltp.data.chkp",
    "answered report": "ltp.data.rpt",
    "report serial": "ltp.rpt.sno",
    "answered checkpoint": "ltp.rpt.chkp",
    "upper bound": "ltp.rpt.ub",
    "lower bound": "ltp.rpt.lb",
    "acknowledged report": "ltp.rpt.ack.sno",
    "reason": "ltp.cancel.code",
}
_LISTS = {
    "header extensions": "ltp.hdr.extn.tag",
    "trailer extensions": "ltp.trl.extn.tag",
    "claim offsets": "ltp.rpt.clm.off",
    "claim lengths": "ltp.rpt.clm.len",
}
_PORT = 1113


def _read(shown: Shown) -> Verdict:
    if len(shown["ltp.session.number"]) != 1:
        return refused(f"{len(shown['ltp.session.number'])} segments were found")
    fields: dict[str, Value] = {
        name: int(shown[theirs][0], 0) for name, theirs in _NUMBERS.items() if shown[theirs]
    }
    for name, theirs in _LISTS.items():
        fields[name] = tuple(int(value, 0) for value in shown[theirs])
    return Verdict(True, fields=fields)


def _datagram(segment: bytes) -> bytes:
    ends = ("10.0.0.1", _PORT), ("10.0.0.2", _PORT)
    return udp_between(*ends, segment, linktype=LINKTYPE_RAW)


def _datagrams(inputs: Sequence[bytes]) -> bytes:
    return capture([_datagram(one) for one in inputs], LINKTYPE_RAW)


LTP = Dissector(
    "ltp",
    (*_NUMBERS.values(), *_LISTS.values()),
    _read,
    packets=_datagrams,
)


class SegmentCases:
    """Segments that are right, nearly right, or damaged."""

    def __init__(self, seed: str | int = 0) -> None:
        self._rng = random.Random(f"ltp/{seed}")  # noqa: S311 - it must come again
        number = self._rng.randrange(1 << 32)
        self._right = encoded_segments.maker().cases(number)
        self._nearly = nearly_segments.maker().cases(number)
        self._damaged = mutated_segments.maker().cases(number)

    def draw(self) -> bytes:
        """One case."""
        way = self._rng.randrange(4)
        if way == 0:
            return next(self._right)
        return next(self._nearly).encoded if way == 1 else next(self._damaged)
