"""Hypothesis strategies for forward error correction: blocks, datagrams."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from stack.core.train import FLOW_SOURCE, Train
from stack.wire.fecframe import ENCODING_SYMBOLS_MAX

U8 = npt.NDArray[np.uint8]


@st.composite
def block_shapes(draw: st.DrawFn) -> tuple[int, int]:
    """(k, r) over the whole range of the code, its corners over-represented."""
    corners = st.sampled_from(
        [(1, 254), (254, 1), (1, 1), (127, 128), (64, 16), (255, 0), (33, 33)]
    )
    if draw(st.booleans()):
        return draw(corners)
    k = draw(st.integers(1, ENCODING_SYMBOLS_MAX - 1))
    return k, draw(st.integers(1, ENCODING_SYMBOLS_MAX - k))


def octet_arrays(rows: int, columns: int) -> st.SearchStrategy[U8]:
    """Arrays of random octets, all zero and all ones among them."""

    def build(seed: int) -> U8:
        if seed < 2:
            return np.full((rows, columns), 255 * seed, np.uint8)
        return np.random.default_rng(seed).integers(0, 256, (rows, columns), np.uint8)

    return st.integers(0, 1 << 32).map(build)


@st.composite
def numbered_trains(draw: st.DrawFn, start: int, size_max: int = 40) -> list[Train]:
    """Up to three trains of datagrams whose first four octets number them from `start`."""
    trains: list[Train] = []
    number = start
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(4, size_max))
        count = draw(st.integers(1, 12))
        tail = draw(st.integers(4, size))
        rows = [(number + i).to_bytes(4, "big").ljust(size, b"\x5a") for i in range(count)]
        rows[-1] = rows[-1][:tail]
        number += count
        trains.append(Train(b"".join(rows), size, FLOW_SOURCE))
    return trains


def regroup(packets: list[tuple[bytes, int]]) -> list[Train]:
    """Neighbours of one flow and size as one train, the next shorter one at its end, as UDP GRO
    does it."""
    out: list[Train] = []
    at = 0
    while at < len(packets):
        first, flow = packets[at]
        size, end = len(first), at + 1
        while end < len(packets) and (len(packets[end][0]), packets[end][1]) == (size, flow):
            end += 1
        if end < len(packets) and packets[end][1] == flow and len(packets[end][0]) < size:
            end += 1
        out.append(Train(b"".join(p for p, _ in packets[at:end]), size, flow))
        at = end
    return out
