"""The K = 7, rate 1/2 convolutional code of CCSDS 131.0-B §3, and its maximum-likelihood decoder.

It is here to measure what `link_models.budget.curves` tabulates:

    python -m tests.link_models.budget.viterbi
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY = 6
STATES = 1 << MEMORY
GENERATORS = (0o171, 0o133)  # CCSDS 131.0-B §3.3.1; the inversion of the second does not matter

# The seven bits of the register that lead into each state, with either oldest bit.
_INTO = np.array([[(state << 1) | oldest for state in range(STATES)] for oldest in (0, 1)])
_FROM = _INTO & (STATES - 1)


def _parity(register: int, generator: int) -> int:
    return (register & generator).bit_count() & 1


_OUTPUT = np.array(
    [2 * _parity(r, GENERATORS[0]) + _parity(r, GENERATORS[1]) for r in range(2 * STATES)]
)


def encode(bits: NDArray[Any]) -> NDArray[Any]:
    """Pairs of coded bits of each row, beginning in state 0: rows x bits x 2."""
    state = np.zeros(len(bits), dtype=np.int64)
    coded = np.empty((*bits.shape, 2), dtype=np.int8)
    for at in range(bits.shape[1]):
        register = (bits[:, at].astype(np.int64) << MEMORY) | state
        pair = _OUTPUT[register]
        coded[:, at, 0], coded[:, at, 1] = pair >> 1, pair & 1
        state = register >> 1
    return coded


def decode(soft: NDArray[Any]) -> NDArray[Any]:
    """The most likely bits for soft values (positive for 0), beginning in state 0."""
    rows, length, _ = soft.shape
    metric = np.full((rows, STATES), -1e9, dtype=np.float32)
    metric[:, 0] = 0.0
    oldest = np.empty((length, rows, STATES), dtype=bool)
    out = _OUTPUT[_INTO]
    for at in range(length):
        first, second = soft[:, at, 0], soft[:, at, 1]
        both = np.stack([first + second, first - second, second - first, -first - second], axis=1)
        low = metric[:, _FROM[0]] + both[:, out[0]]
        high = metric[:, _FROM[1]] + both[:, out[1]]
        oldest[at] = high > low
        metric = np.maximum(low, high)
    state = metric.argmax(axis=1)
    bits = np.empty((rows, length), dtype=np.int8)
    every = np.arange(rows)
    for at in range(length - 1, -1, -1):
        bits[:, at] = state >> (MEMORY - 1)
        state = ((state << 1) | oldest[at, every, state]) & (STATES - 1)
    return bits


def error_rates(eb_n0_db: float, rows: int, length: int, seed: int) -> tuple[float, float]:
    """Measured error rates of bits and of octets after decoding, at a bit's Eb/N0."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, (rows, length), dtype=np.int8)
    sigma = math.sqrt(1.0 / (2.0 * 0.5 * 10.0 ** (eb_n0_db / 10.0)))
    sent = 1.0 - 2.0 * encode(bits).astype(np.float32)
    decoded = decode(sent + sigma * random.standard_normal(sent.shape, dtype=np.float32))
    wrong = (decoded != bits)[:, 64 : length - 64]  # away from the ends, and whole octets
    return float(wrong.mean()), float(wrong.reshape(rows, -1, 8).any(axis=2).mean())


def main() -> None:
    """Print the table of `link_models.budget.curves`."""
    for place in range(17):
        eb_n0_db = 0.25 * place
        runs = [error_rates(eb_n0_db, 400, 64 * 34, seed) for seed in range(2 + place)]
        bit, octet = (float(np.mean(column)) for column in zip(*runs, strict=True))
        print(f"({eb_n0_db}, {math.log10(bit):.3f}, {math.log10(octet):.3f}),")


if __name__ == "__main__":
    main()
