"""The erasure code of RFC 5510: against its definition, and against reedsolo octet by octet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stack.core.errors import LocalError
from stack.fec.erasure import (
    NumpyErasureCode,
    ReedsoloErasureCode,
    erasure_code,
    interpolation,
)
from stack.fec.gf256 import RFC5510
from tests.fec.test_gf256 import by_hand
from tests.strategies.fec import block_shapes, octet_arrays


def power(exponent: int) -> int:
    value = 1
    for _ in range(exponent % 255):
        value = by_hand(value, 2, 0x11D)
    return value


def generator_matrix(k: int, n: int) -> list[list[int]]:
    """RFC 5510 §8.3.1: V(k,k)^-1 * V(k,n) by Gauss-Jordan elimination of [V(k,k) | V(k,n)]."""
    rows = [[power(i * j) for j in (*range(k), *range(n))] for i in range(k)]
    for pivot in range(k):
        swap = next(i for i in range(pivot, k) if rows[i][pivot])
        rows[pivot], rows[swap] = rows[swap], rows[pivot]
        inverse = power(-int(RFC5510.log[rows[pivot][pivot]]))
        rows[pivot] = [by_hand(inverse, x, 0x11D) for x in rows[pivot]]
        for other in range(k):
            factor = rows[other][pivot]
            if other != pivot and factor:
                rows[other] = [
                    x ^ by_hand(factor, y, 0x11D)
                    for x, y in zip(rows[other], rows[pivot], strict=True)
                ]
    return [row[k:] for row in rows]


@pytest.mark.parametrize(("k", "n"), [(1, 4), (2, 5), (5, 12), (11, 16)])
def test_coefficients_are_the_generator_matrix_of_the_standard(k: int, n: int) -> None:
    expected = generator_matrix(k, n)
    assert [row[:k] for row in expected] == np.eye(k, dtype=int).tolist()
    found = interpolation(bytes(range(k)), bytes(range(k, n)))
    assert found.tolist() == [row[k:] for row in expected]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(shape=block_shapes(), data=st.data())
def test_repair_symbols_are_those_of_reedsolo(shape: tuple[int, int], data: st.DataObject) -> None:
    k, r = shape
    source = data.draw(octet_arrays(k, 2))
    mine = NumpyErasureCode().encode(source, r)
    assert (mine == ReedsoloErasureCode().encode(source, r)).all()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(shape=block_shapes(), data=st.data())
def test_recovery_is_that_of_reedsolo(shape: tuple[int, int], data: st.DataObject) -> None:
    k, r = shape
    source = data.draw(octet_arrays(k, 1))
    everything = np.concatenate([source, NumpyErasureCode().encode(source, r)])
    esis = data.draw(st.permutations(range(k + r)))[:k]
    wanted = sorted(set(range(k + r)) - set(esis))
    for code in (NumpyErasureCode(), ReedsoloErasureCode()):
        assert (code.recover(everything[list(esis)], esis, wanted) == everything[wanted]).all()


@settings(max_examples=80, deadline=None)
@given(shape=block_shapes(), length=st.integers(0, 40), data=st.data())
@example(shape=(64, 16), length=1_400, data=None)
def test_any_k_symbols_give_the_block(
    shape: tuple[int, int], length: int, data: st.DataObject | None
) -> None:
    k, r = shape
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)) if data else 1)
    source = rng.integers(0, 256, (k, length), np.uint8)
    code = NumpyErasureCode()
    everything = np.concatenate([source, code.encode(source, r)])
    spare = int(rng.integers(0, r + 1))
    kept = rng.permutation(k + r)[: k + spare].tolist()
    received = {esi: everything[esi].tobytes() for esi in kept}
    assert (code.decode(k, received) == source).all()


def test_one_symbol_less_is_refused() -> None:
    code = NumpyErasureCode()
    source = np.arange(40, dtype=np.uint8).reshape(4, 10)
    repair = code.encode(source, 3)
    with pytest.raises(LocalError, match="cannot decode"):
        code.decode(4, {1: source[1].tobytes(), 4: repair[0].tobytes(), 6: repair[2].tobytes()})


@pytest.mark.parametrize("engine", ["numpy", "reedsolo"])
def test_misuse_is_refused(engine: str) -> None:
    code = erasure_code("numpy" if engine == "numpy" else "reedsolo")
    symbols = np.zeros((2, 3), np.uint8)
    with pytest.raises(LocalError, match="no Reed-Solomon block"):
        code.encode(symbols, 254)
    with pytest.raises(LocalError, match="no Reed-Solomon block"):
        code.encode(symbols[:0], 1)
    for esis, wanted in (
        ([0, 0], [2]),
        ([0, 1], [1]),
        ([0, 255], [2]),
        ([0], [2]),
        ([0, 1], [2, 2]),
    ):
        with pytest.raises(LocalError, match="ids"):
            code.recover(symbols, esis, wanted)


def test_symbols_of_different_length_are_refused() -> None:
    with pytest.raises(LocalError, match="length"):
        NumpyErasureCode().decode(2, {0: b"abc", 2: b"ab"})


def test_tables_are_kept_within_their_bound() -> None:
    code = NumpyErasureCode(cache_bytes=200_000)
    source = np.ones((16, 8), np.uint8)
    expected = [code.encode(source, r) for r in range(1, 40)]
    assert code.cached_bytes <= 200_000
    for r, repair in enumerate(expected, 1):
        assert (code.encode(source, r) == repair).all()
    assert code.cached_bytes <= 200_000
