"""The block CRCs against published check values and a bit by bit computation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.vectors import Vector, load
from stack.wire.crc import crc16_x25, crc32c
from tests.wire.bundle.reference import crc_bits


@pytest.mark.parametrize("vector", load("crc"), ids=lambda vector: vector.name)
def test_check_values(vector: Vector) -> None:
    compute = {"crc16x25": crc16_x25, "crc32c": crc32c}[vector.kind]
    assert compute(vector.data) == int(vector.expect, 16)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_any_data_in_one_piece_or_two(data: bytes, cut: int) -> None:
    view = memoryview(data)
    assert crc16_x25(view) == crc_bits(data, 16, 0x8408)
    assert crc32c(view) == crc_bits(data, 32, 0x82F63B78)
    assert crc16_x25(view[cut:], crc16_x25(view[:cut])) == crc16_x25(data)
    assert crc32c(view[cut:], crc32c(view[:cut])) == crc32c(bytearray(data))
