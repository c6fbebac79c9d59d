"""GF(2^8): against multiplication by hand, and the linear maps built on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.fec.gf256 import CCSDS, RFC5510, Field, LinearMap, Workspace
from tests.strategies.fec import octet_arrays

FIELDS = {0x11D: RFC5510, 0x187: CCSDS}


def by_hand(left: int, right: int, polynomial: int) -> int:
    """Shift and add, without any table."""
    product = 0
    for bit in range(8):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= polynomial << (bit - 8)
    return product


@pytest.mark.parametrize("polynomial", FIELDS)
def test_products_of_all_pairs(polynomial: int) -> None:
    expected = [[by_hand(a, b, polynomial) for b in range(256)] for a in range(256)]
    assert FIELDS[polynomial].mul.tolist() == expected


@pytest.mark.parametrize("polynomial", FIELDS)
def test_inverse_times_value_is_one(polynomial: int) -> None:
    field = FIELDS[polynomial]
    values = np.arange(1, 256, dtype=np.uint8)
    assert (field.mul[values, field.inverse[values]] == 1).all()


@pytest.mark.parametrize("polynomial", [0x11B, 0x100, 0x11C])
def test_refuses_polynomials_that_do_not_generate_the_field(polynomial: int) -> None:
    with pytest.raises(ValueError, match="not primitive"):
        Field(polynomial)


def test_tables_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        RFC5510.mul[1, 1] = 0


@settings(max_examples=60, deadline=None)
@given(
    inputs=st.integers(1, 12),
    outputs=st.integers(0, 70),
    columns=st.integers(0, 9),
    data=st.data(),
)
def test_a_linear_map_is_the_sum_of_products(
    inputs: int, outputs: int, columns: int, data: st.DataObject
) -> None:
    coefficients = data.draw(octet_arrays(inputs, outputs))
    symbols = data.draw(octet_arrays(inputs, columns))
    expected = np.zeros((outputs, columns), np.uint8)
    for i in range(inputs):
        for o in range(outputs):
            expected[o] ^= RFC5510.mul[coefficients[i, o], symbols[i]]
    found = np.empty((outputs, columns), np.uint8)
    LinearMap(RFC5510, coefficients).apply(symbols, found, Workspace())
    assert (found == expected).all()


def test_columns_beyond_one_gather_and_other_strides() -> None:
    rng = np.random.default_rng(11)
    coefficients = rng.integers(0, 256, (200, 33), np.uint8)
    symbols = rng.integers(0, 256, (1_501, 200), np.uint8).T
    workspace = Workspace()
    whole = np.empty((1_501, 33), np.uint8)
    mapped = LinearMap(RFC5510, coefficients)
    mapped.apply(symbols, whole.T, workspace)
    for column in (0, 700, 1_500):
        alone = np.empty((33, 1), np.uint8)
        mapped.apply(symbols[:, column : column + 1], alone, workspace)
        assert (alone[:, 0] == whole[column]).all()
