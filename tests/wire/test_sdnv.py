"""SDNVs: the examples of RFC 6256, round trips, bounds and noise."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError
from stack.wire.sdnv import SDNV_BYTES_MAX, SDNV_MAX, decode_sdnv, encode_sdnv


@pytest.mark.parametrize("vector", load("sdnv"), ids=lambda vector: vector.name)
def test_examples_of_rfc_6256(vector: Vector) -> None:
    match = re.fullmatch(r"decodes to (0x[0-9a-f]+)", vector.expect)
    assert match is not None
    value = int(match[1], 16)
    assert decode_sdnv(vector.data) == (value, len(vector.data))
    assert encode_sdnv(value) == vector.data


@given(st.integers(0, SDNV_MAX) | st.integers(0, 20_000), st.binary(max_size=4))
def test_round_trip_anywhere_in_a_buffer(value: int, rest: bytes) -> None:
    encoded = encode_sdnv(value)
    assert len(encoded) == max(1, -(-value.bit_length() // 7))
    data = memoryview(b"\x80\x7f" + encoded + rest)
    assert decode_sdnv(data, 2) == (value, 2 + len(encoded))
    for cut in range(len(encoded)):
        with pytest.raises(DecodeError, match="truncated"):
            decode_sdnv(encoded[:cut])


def test_bounds() -> None:
    assert decode_sdnv(encode_sdnv(SDNV_MAX)) == (SDNV_MAX, SDNV_BYTES_MAX)
    for value in (-1, SDNV_MAX + 1):
        with pytest.raises(LocalError):
            encode_sdnv(value)
    with pytest.raises(DecodeError, match="64 bits"):
        decode_sdnv(b"\x82" + b"\x80" * 8 + b"\x00")
    with pytest.raises(DecodeError, match="10 octets"):
        decode_sdnv(b"\x80" * 1_000_000)
    assert decode_sdnv(b"\x80" * (SDNV_BYTES_MAX - 1) + b"\x05") == (5, SDNV_BYTES_MAX)


@given(st.binary(max_size=14), st.integers(0, 16))
def test_noise_raises_only_decode_errors(data: bytes, offset: int) -> None:
    try:
        value, end = decode_sdnv(data, offset)
    except DecodeError:
        return
    assert 0 <= value <= SDNV_MAX
    assert offset < end <= len(data)
    assert data[end - 1] < 0x80
