"""LTP segments: outside vectors, the layout of every type, and whatever octets may come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.strategies.ltp import mutated_segments, segments
from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError
from stack.wire.ltp import (
    CLAIMS_MAX,
    CancelAck,
    CancelReason,
    CancelSegment,
    Claim,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)

VECTORS = load("ltp")
SESSION = SessionId(1000, 77)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector.name for vector in VECTORS])
def test_outside_vectors(vector: Vector) -> None:
    octets = vector.data
    if vector.expect.startswith("invalid"):
        with pytest.raises(DecodeError):
            decode_segment(octets)
        return
    segment, end = decode_segment(octets)
    assert end == len(octets)
    assert encode_segment(segment) == octets


# Each octet string is written down from the figures of RFC 5326 §3: control octet, engine 1000
# (87 68), session 77 (4d), extension counts, content.
LAYOUTS: list[tuple[str, Segment]] = [
    (
        "00 8768 4d 00 01 00 02 6162",
        DataSegment(session=SESSION, kind=SegmentType.RED, client_service=1, offset=0, data=b"ab"),
    ),
    (
        "01 8768 4d 00 01 8100 01 05 09 7a",
        DataSegment(
            session=SESSION,
            kind=SegmentType.RED_CHECKPOINT,
            client_service=1,
            offset=128,
            data=b"z",
            checkpoint_serial=5,
            report_serial=9,
        ),
    ),
    (
        "07 8768 4d 00 02 03 01 21",
        DataSegment(
            session=SESSION,
            kind=SegmentType.GREEN_END_BLOCK,
            client_service=2,
            offset=3,
            data=b"!",
        ),
    ),
    (
        "08 8768 4d 00 09 00 8800 64 02 00 0a 14 05",
        ReportSegment(
            session=SESSION,
            report_serial=9,
            checkpoint_serial=0,
            upper=1024,
            lower=100,
            claims=(Claim(0, 10), Claim(20, 5)),
        ),
    ),
    ("09 8768 4d 00 09", ReportAck(session=SESSION, report_serial=9)),
    ("0c 8768 4d 00 02", CancelSegment(session=SESSION, by_sender=True, reason=2)),
    ("0d 8768 4d 00", CancelAck(session=SESSION, to_sender=True)),
    (
        "0e 8768 4d 00 03",
        CancelSegment(session=SESSION, by_sender=False, reason=CancelReason.MISCOLORED),
    ),
    ("0f 8768 4d 00", CancelAck(session=SESSION, to_sender=False)),
    (
        "09 8768 4d 21 01 01 ff c0 00 05 00 02 aabb",
        ReportAck(
            session=SESSION,
            report_serial=5,
            header=(Extension(1, b"\xff"), Extension(0xC0, b"")),
            trailer=(Extension(0, b"\xaa\xbb"),),
        ),
    ),
]


@pytest.mark.parametrize(("octets", "segment"), LAYOUTS, ids=[each[0][:2] for each in LAYOUTS])
def test_the_layout_of_each_type(octets: str, segment: Segment) -> None:
    encoded = bytes.fromhex(octets)
    assert encode_segment(segment) == encoded
    assert decode_segment(encoded) == (segment, len(encoded))
    assert decode_segment(b"\xff\xff" + encoded + b"\x00", 2) == (segment, len(encoded) + 2)


@pytest.mark.parametrize("kind", [5, 6, 10, 11])
def test_undefined_types_are_refused(kind: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_segment(bytes((kind, 1, 1, 0, 1, 0, 1, 0x61)))
    assert caught.value.section == "RFC 5326 §3.1.2"


@pytest.mark.parametrize(
    "octets",
    [
        "00 01 01 00 01 00 05 61626364",  # data shorter than its length field
        "01 01 01 00 01 00 01 00 00 61",  # checkpoint serial number 0
        "08 01 01 00 00 05 08 00 01 00 08",  # report serial number 0
        "08 01 01 00 09 05 08 00 01 00 00",  # claim of nothing
        "08 01 01 00 09 05 08 00 01 04 05",  # claim beyond the scope
        "08 01 01 00 09 05 08 00 02 00 05 04 01",  # claims overlap
        "08 01 01 00 09 05 08 09 00",  # lower bound above upper bound
        "08 01 01 00 09 05 08 00 ffffffffffffffff7f 00 01",  # absurd number of claims
        "0c 01 01 00",  # no reason code
        "00 01 01 10 00 7f 00",  # extension longer than the segment
        "09 01 01 01 05",  # promised trailer is missing
        "00 81818181818181818181 01 00 01 00 01 61",  # SDNV without end
        "",
    ],
)
def test_broken_segments_are_refused(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_segment(bytes.fromhex(octets))


def test_a_report_of_too_many_claims_is_not_read() -> None:
    """Each claim is two octets on the wire and much more of work."""
    claims = tuple(Claim(2 * at, 1) for at in range(CLAIMS_MAX + 1))
    report = _report(lower=0, upper=2 * len(claims), claims=claims[:-1])
    assert decode_segment(encode_segment(report))[0] == report
    with pytest.raises(DecodeError, match="more than 4096"):
        decode_segment(encode_segment(replace(report, claims=claims)))


def test_a_session_id_in_words() -> None:
    assert str(SESSION) == "1000.77"


@given(segments(), st.binary(max_size=5), st.binary(max_size=5))
def test_round_trip(segment: Segment, before: bytes, after: bytes) -> None:
    encoded = encode_segment(segment)
    assert decode_segment(before + encoded + after, len(before)) == (
        segment,
        len(before) + len(encoded),
    )


@given(segments())
def test_every_cut_is_noticed(segment: Segment) -> None:
    encoded = encode_segment(segment)
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_segment(encoded[:size])


@given(st.one_of(st.binary(max_size=80), mutated_segments()))
def test_any_octets_decode_or_raise_the_one_error(octets: bytes) -> None:
    try:
        segment, end = decode_segment(octets)
    except DecodeError:
        return
    assert 0 < end <= len(octets)
    # What was understood is a segment that we could have sent, in its shortest form.
    again = encode_segment(segment)
    assert len(again) <= end
    assert decode_segment(again) == (segment, len(again))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Extension(256, b""),
        lambda: ReportAck(session=SessionId(-1, 0), report_serial=1),
        lambda: ReportAck(session=SESSION, report_serial=1, header=(Extension(0, b""),) * 16),
        lambda: CancelSegment(session=SESSION, by_sender=True, reason=256),
        lambda: _data(kind=SegmentType.REPORT),
        lambda: _data(kind=SegmentType.RED, checkpoint_serial=1),
        lambda: _data(kind=SegmentType.RED_END, checkpoint_serial=0),
        lambda: _report(report_serial=0),
        lambda: _report(lower=9),
        lambda: _report(claims=(Claim(0, 9),)),
    ],
)
def test_constructors_refuse_what_no_peer_may_send(make: Any) -> None:
    with pytest.raises(LocalError):
        make()


def _data(**fields: Any) -> DataSegment:
    base: dict[str, Any] = {"client_service": 1, "offset": 0, "data": b"", "session": SESSION}
    return DataSegment(**{**base, **fields})


def _report(**fields: Any) -> ReportSegment:
    base: dict[str, Any] = {"report_serial": 1, "checkpoint_serial": 1, "upper": 8, "lower": 0}
    return ReportSegment(**{"session": SESSION, "claims": (), **base, **fields})
