"""TM transfer frames: vectors of another implementation, the layout, round trips, any octets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError
from stack.wire.ccsds import FIRST_HEADER_IDLE, TmFrame, decode_tm, encode_tm

VECTORS = {vector.name: vector for vector in load("ccsds_frames")}

# Those tests pass the frame length beside the octets: the first two lack their last octet.
FRAME_BYTES = {"TM frame FECF+OCF": 16, "TM frame no OCF": 11, "TM frame bad FECF": 16}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=lambda vector: vector.name)
def test_outside_vectors(vector: Vector) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_tm(vector.data, frame_bytes=FRAME_BYTES[vector.name])
    bad_fecf = vector.expect.startswith("invalid FECF")
    assert caught.value.reason == ("FECF does not match" if bad_fecf else "frame cut short")


@pytest.mark.parametrize(
    ("name", "last"),
    [("TM frame FECF+OCF", "4a"), ("TM frame no OCF", "78"), ("TM frame bad FECF", "814a")],
)
def test_outside_vectors_made_whole(name: str, last: str) -> None:
    size = FRAME_BYTES[name]
    octets = (VECTORS[name].data[: size - len(last) // 2]) + bytes.fromhex(last)
    frame, end = decode_tm(octets, frame_bytes=size)
    assert end == size
    assert encode_tm(frame) == octets
    ocf = name != "TM frame no OCF"
    assert frame == TmFrame(
        spacecraft=3,
        channel=7,
        master_count=0,
        channel_count=0,
        first_header=FIRST_HEADER_IDLE,
        data=bytes.fromhex("00000102") if ocf else bytes.fromhex("000102"),
        ocf=bytes.fromhex("01000000") if ocf else None,
    )


def test_layout_with_everything() -> None:
    # header of §4.1.2 by hand; the FECF 626a is what spacepackets 0.32.0 expects of this frame
    octets = bytes.fromhex("003f 00 00 9ffe 01 05 000102 10000000 626a")
    frame = TmFrame(
        spacecraft=3,
        channel=7,
        master_count=0,
        channel_count=0,
        first_header=FIRST_HEADER_IDLE,
        secondary=b"\x05",
        data=b"\x00\x01\x02",
        ocf=b"\x10\x00\x00\x00",
    )
    assert encode_tm(frame) == octets
    assert decode_tm(b"-" + octets + b"-", 1, frame_bytes=17) == (frame, 18)


@st.composite
def frames(draw: st.DrawFn) -> TmFrame:
    sync = draw(st.booleans())
    octet = st.integers(0, 255)
    return TmFrame(
        spacecraft=draw(st.integers(0, 1023)),
        channel=draw(st.integers(0, 7)),
        master_count=draw(octet),
        channel_count=draw(octet),
        data=draw(st.binary(max_size=100)),
        first_header=draw(st.integers(0, 2047)),
        sync=sync,
        packet_order=sync and draw(st.booleans()),
        segment_length=draw(st.integers(0, 3)) if sync else 3,
        secondary=draw(st.none() | st.binary(min_size=1, max_size=63)),
        ocf=draw(st.none() | st.binary(min_size=4, max_size=4)),
    )


@given(frames(), st.booleans())
def test_round_trip(frame: TmFrame, fecf: bool) -> None:
    octets = encode_tm(frame, fecf=fecf)
    if len(octets) > 6:
        assert decode_tm(octets, frame_bytes=len(octets), fecf=fecf) == (frame, len(octets))


@given(frames(), st.data())
def test_the_fecf_notices_any_altered_octet(frame: TmFrame, data: st.DataObject) -> None:
    octets = bytearray(encode_tm(frame))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecodeError):
        decode_tm(octets, frame_bytes=len(octets))


@given(
    st.binary(max_size=80)
    | st.builds(lambda head, rest: bytes((head,)) + rest, st.integers(0, 63), st.binary()),
    st.integers(7, 80),
    st.booleans(),
)
def test_any_octets_decode_or_raise_the_one_error(octets: bytes, size: int, fecf: bool) -> None:
    try:
        frame, end = decode_tm(octets, frame_bytes=size, fecf=fecf)
    except DecodeError:
        return
    assert encode_tm(frame, fecf=fecf) == octets[:end]


@pytest.mark.parametrize(
    "octets",
    [
        "403e 00 00 1ffe 000102",  # version 1 (AOS)
        "003e 00 00 3ffe 000102",  # packet order without synchronization flag
        "003e 00 00 17fe 000102",  # segment length id without synchronization flag
        "003e 00 00 9ffe 00 0102",  # secondary header without data
        "003e 00 00 9ffe 41 0102",  # secondary header of another version
        "003e 00 00 9ffe 03 0102",  # secondary header longer than the frame
        "003f 00 00 1ffe 000102",  # no room for the OCF
    ],
)
def test_broken_frames(octets: str) -> None:
    with pytest.raises(DecodeError):
        decode_tm(bytes.fromhex(octets), frame_bytes=9, fecf=False)


def test_a_secondary_header_of_another_version_is_none_of_64_octets() -> None:
    with pytest.raises(DecodeError, match="secondary header version"):
        decode_tm(bytes.fromhex("003e 00 00 9ffe 40") + bytes(80), frame_bytes=87, fecf=False)


def _frame(**fields: Any) -> TmFrame:
    base: dict[str, Any] = {
        "spacecraft": 0,
        "channel": 0,
        "master_count": 0,
        "channel_count": 0,
        "data": b"",
    }
    return TmFrame(**{**base, **fields})


@pytest.mark.parametrize(
    "make",
    [
        lambda: _frame(spacecraft=1024),
        lambda: _frame(channel=8),
        lambda: _frame(master_count=256),
        lambda: _frame(channel_count=-1),
        lambda: _frame(first_header=2048),
        lambda: _frame(segment_length=2),
        lambda: _frame(packet_order=True),
        lambda: _frame(secondary=b""),
        lambda: _frame(secondary=bytes(64)),
        lambda: _frame(ocf=b"123"),
        lambda: decode_tm(bytes(10), frame_bytes=6),
        lambda: decode_tm(bytes(10), frame_bytes=65537),
    ],
)
def test_what_has_no_encoding_is_refused(make: Any) -> None:
    with pytest.raises(LocalError):
        make()
