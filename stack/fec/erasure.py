"""The systematic Reed-Solomon erasure code of RFC 5510 §8 over GF(2^8).

The k source symbols of a block are, column by column, the values of one polynomial of degree
below k at 1, a, a^2, ... a^(k-1); repair symbol j is its value at a^(k+j).  This is the generator
matrix V(k,k)^-1 * V(k,n) of RFC 5510 §8.3 said differently, and it makes encoding and decoding
one operation: interpolate at the points one has, evaluate at the points one lacks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from stack.core.errors import LocalError
from stack.core.train import Buffer
from stack.fec.gf256 import RFC5510, U8, LinearMap, Workspace

SYMBOLS_MAX: Final = 255
"""n <= q - 1 for GF(2^8) (RFC 5510 §8.2)."""

CACHE_BYTES: Final = 16 * 1024 * 1024
"""Product tables kept by a codec: (k, r) pairs and loss patterns come back, within one block's
interleaving partners and from one block to the next.  A table takes 256 * k * r octets."""

Engine = Literal["numpy", "reedsolo"]


class ErasureCode(Protocol):
    """What the FEC framework needs of a code."""

    def encode(self, source: U8, repair_count: int) -> U8:
        """Repair symbols of shape (repair_count, L) for source symbols of shape (k, L)."""
        ...

    def recover(self, symbols: U8, esis: Sequence[int], wanted: Sequence[int]) -> U8:
        """The symbols `wanted`, from k of a block of which `esis` says which they are."""
        ...


def erasure_code(engine: Engine) -> ErasureCode:
    """The code with the chosen engine; both give the same octets."""
    return NumpyErasureCode() if engine == "numpy" else ReedsoloErasureCode()


class SharedCodes:
    """One code of each engine, for all links of a thread: its tables and scratch memory take
    megabytes, and hold nothing of a link between two calls."""

    def __init__(self) -> None:
        self._codes: dict[Engine, ErasureCode] = {}

    def code(self, engine: Engine) -> ErasureCode:
        """The code with an engine."""
        found = self._codes.get(engine)
        if found is None:
            found = self._codes[engine] = erasure_code(engine)
        return found


class NumpyErasureCode:
    """The default engine: one look-up per octet for up to 32 repair symbols."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache_bytes = cache_bytes
        self.cached_bytes = 0
        self._maps: OrderedDict[tuple[bytes, bytes], LinearMap] = OrderedDict()
        self._workspace = Workspace()

    def encode(self, source: U8, repair_count: int) -> U8:
        """Repair symbols of shape (repair_count, L) for source symbols of shape (k, L).

        Raises LocalError unless 1 <= k and k + repair_count <= 255.
        """
        k = source.shape[0]
        check_block(k, repair_count)
        return self._evaluate(source, bytes(range(k)), bytes(range(k, k + repair_count)))

    def recover(self, symbols: U8, esis: Sequence[int], wanted: Sequence[int]) -> U8:
        """The symbols `wanted` (encoding symbol ids) from any k others.

        `symbols` has shape (k, L), and row i is the symbol with id `esis[i]`; the ids are
        distinct, below 255, and none of them is wanted.
        """
        check_ids(symbols, esis, wanted)
        return self._evaluate(symbols, bytes(esis), bytes(wanted))

    def decode(self, k: int, received: Mapping[int, Buffer]) -> U8:
        """All k source symbols from at least k received ones, by encoding symbol id.

        Raises LocalError when fewer than k came or their lengths differ.
        """
        return decode_block(self, k, received)

    def _evaluate(self, symbols: U8, have: bytes, want: bytes) -> U8:
        result = np.empty((len(want), symbols.shape[1]), np.uint8)
        if want:
            self._map(have, want).apply(symbols, result, self._workspace)
        return result

    def _map(self, have: bytes, want: bytes) -> LinearMap:
        key = (have, want)
        found = self._maps.get(key)
        if found is not None:
            self._maps.move_to_end(key)
            return found
        made = LinearMap(RFC5510, interpolation(have, want))
        self._maps[key] = made
        self.cached_bytes += made.octets_held
        while self.cached_bytes > self._cache_bytes and len(self._maps) > 1:
            self.cached_bytes -= self._maps.popitem(last=False)[1].octets_held
        return made


class ReedsoloErasureCode:
    """The same code through the `reedsolo` package, one column at a time: the reference engine.

    Evaluation at a^0 ... a^254 makes codewords whose reversal is cyclic with the roots
    a^k ... a^254, so that source symbols come first and repair symbols follow in order.  The
    repair symbols that nobody sent count as erasures.
    """

    def encode(self, source: U8, repair_count: int) -> U8:
        """As `NumpyErasureCode.encode`."""
        k, columns = source.shape
        check_block(k, repair_count)
        repair = np.empty((repair_count, columns), np.uint8)
        codec = self._codec(k)
        for column in range(columns):
            word = codec.encode(source[:, column].tobytes())
            repair[:, column] = np.frombuffer(word, np.uint8)[k : k + repair_count]
        return repair

    def recover(self, symbols: U8, esis: Sequence[int], wanted: Sequence[int]) -> U8:
        """As `NumpyErasureCode.recover`."""
        check_ids(symbols, esis, wanted)
        k, columns = symbols.shape
        result = np.empty((len(wanted), columns), np.uint8)
        codec = self._codec(k)
        missing = sorted(set(range(SYMBOLS_MAX)) - set(esis))
        word = np.zeros(SYMBOLS_MAX, np.uint8)
        for column in range(columns):
            word[list(esis)] = symbols[:, column]
            whole = codec.decode(word.tobytes(), erase_pos=missing)[1]
            result[:, column] = np.frombuffer(whole, np.uint8)[list(wanted)]
        return result

    def decode(self, k: int, received: Mapping[int, Buffer]) -> U8:
        """As `NumpyErasureCode.decode`."""
        return decode_block(self, k, received)

    @staticmethod
    def _codec(k: int) -> Any:
        # Imported here: the package is needed only by whoever chose this engine.
        import reedsolo

        return reedsolo.RSCodec(SYMBOLS_MAX - k, nsize=SYMBOLS_MAX, fcr=k, prim=0x11D, generator=2)


def check_block(k: int, repair_count: int) -> None:
    """Raise LocalError unless the code has blocks of k and `repair_count` symbols."""
    if k < 1 or repair_count < 0 or k + repair_count > SYMBOLS_MAX:
        raise LocalError(f"no Reed-Solomon block of {k}+{repair_count} symbols over GF(2^8)")


def check_ids(symbols: U8, esis: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise LocalError unless the ids are usable for `recover`."""
    have = set(esis)
    everything = have | set(wanted)
    if (
        len(have) != symbols.shape[0]
        or len(esis) != len(have)
        or len(everything) != len(have) + len(wanted)
        or (everything and not 0 <= min(everything) <= max(everything) < SYMBOLS_MAX)
    ):
        raise LocalError("encoding symbol ids repeat, overlap or exceed 254")


def decode_block(code: ErasureCode, k: int, received: Mapping[int, Buffer]) -> U8:
    """All k source symbols, from at least k symbols by id, with either engine.  Raises `LocalError`
    when they are fewer, or not of one length."""
    check_block(k, 0)
    present = [esi for esi in range(k) if esi in received]
    missing = [esi for esi in range(k) if esi not in received]
    repairs = sorted(esi for esi in received if esi >= k)[: len(missing)]
    if len(repairs) < len(missing):
        raise LocalError(f"{len(received)} symbols cannot decode a block of {k}")
    esis = present + repairs
    rows = [np.frombuffer(received[esi], np.uint8) for esi in esis]
    if any(row.size != rows[0].size for row in rows):
        raise LocalError("symbols of one block differ in length")
    symbols = np.stack(rows)
    source = np.empty((k, symbols.shape[1]), np.uint8)
    source[present] = symbols[: len(present)]
    if missing:
        source[missing] = code.recover(symbols, esis, missing)
    return source


def interpolation(have: bytes, want: bytes) -> U8:
    """Lagrange coefficients of shape (len(have), len(want)) from points a^have to points a^want.

    In logarithms, with P(x) the product of x - x_m over the points one has:
    L_s(x_d) = P(x_d) / ((x_d - x_s) * P'(x_s)).
    """
    exp, log = RFC5510.exp, RFC5510.log
    points: npt.NDArray[np.uint8] = exp[np.frombuffer(have, np.uint8)]
    targets: npt.NDArray[np.uint8] = exp[np.frombuffer(want, np.uint8)]
    derivative = log[points[:, None] ^ points].sum(axis=1)
    difference = log[points[:, None] ^ targets]
    product = difference.sum(axis=0)
    coefficients: U8 = exp[(product - difference - derivative[:, None]) % 255]
    return coefficients
