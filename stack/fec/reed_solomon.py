"""The Reed-Solomon codes of CCSDS telemetry, TM Synchronization and Channel Coding (131.0-B §4).

RS(255,223) corrects E = 16 octets of a codeword, RS(255,239) E = 8; up to eight codewords are
interleaved into one code block, and leading octets of each may be virtual fill that is never sent.
Many code blocks are worked on at once, one column of an array for each codeword: all that is
linear (parity, syndromes, the search for roots) is a `LinearMap`; a codeword is decoded only if
its parity, computed again, differs from what came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stack.core.errors import ConfigError, LocalError
from stack.core.train import Buffer
from stack.fec.gf256 import CCSDS, U8, LinearMap, Workspace

CODEWORD_BYTES: Final = 255
GENERATOR_POWER: Final = 11
"""The code's roots are powers of a^11 (CCSDS 131.0-B §4.3.4)."""

INTERLEAVE_MAX: Final = 8
"""Depths 1, 2, 3, 4, 5 and 8 are allowed (CCSDS 131.0-B §4.3.5); 6 and 7 work as well."""

BATCH_BLOCKS: Final = 1_024
"""Code blocks checked together: enough to hide the cost of calls, few enough for the cache."""

BATCH_CORRECTIONS: Final = 512
"""Bad codewords corrected together, for the same reasons."""

# Row k is the dual-basis octet of the element 2^k (CCSDS 131.0-B annex F, matrix T).
_DUAL_OF_BIT: Final = (0x7B, 0xAF, 0x99, 0xFA, 0x86, 0xEC, 0xEF, 0x8D)

FAILED: Final = -1

_FIELD: Final = CCSDS
_MUL: Final = _FIELD.mul.reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCodeConfig:
    """One of the Reed-Solomon codes of CCSDS 131.0-B §4.  Raises ConfigError if there is none."""

    correctable: Literal[8, 16] = 16
    """E, octets that a codeword can have wrong: 16 is RS(255,223), 8 RS(255,239).  With 8 keep a
    CRC in the frame: about one hopeless codeword in 8! is changed into a wrong one."""

    interleave: int = 1
    """Codewords in a code block, so that an error burst hits each of them for a part only."""

    fill_bytes: int = 0
    """Virtual fill: octets at the start of every codeword that are zero and not sent, which fits
    the code to shorter frames (CCSDS 131.0-B §4.3.7)."""

    dual_basis: bool = True
    """Berlekamp's dual basis, as the standard wants (§4.3.3), or the conventional one."""

    engine: Literal["numpy", "reedsolo"] = "numpy"
    """`numpy`, or the 1,000 times slower reference `reedsolo`, which also takes erasures."""

    def __post_init__(self) -> None:
        if self.correctable not in (8, 16):
            raise ConfigError("fec.correctable", "must be 8 or 16", "16")
        if not 1 <= self.interleave <= INTERLEAVE_MAX:
            raise ConfigError("fec.interleave", "must be 1 to 8", "1, 2, 3, 4, 5 or 8")
        if not 0 <= self.fill_bytes < CODEWORD_BYTES - 2 * self.correctable:
            raise ConfigError("fec.fill_bytes", "leaves no room for data", "0")
        if self.engine not in ("numpy", "reedsolo"):
            raise ConfigError("fec.engine", "unknown engine", "numpy or reedsolo")

    @property
    def parity_bytes(self) -> int:
        """Parity octets of one codeword: 2E."""
        return 2 * self.correctable

    @property
    def symbols(self) -> int:
        """Data octets of one codeword that are sent."""
        return CODEWORD_BYTES - self.parity_bytes - self.fill_bytes

    @property
    def data_bytes(self) -> int:
        """Data octets of a code block: the length of a transfer frame."""
        return self.symbols * self.interleave

    @property
    def block_bytes(self) -> int:
        """Octets of a code block."""
        return self.data_bytes + self.parity_bytes * self.interleave


class Decoded(NamedTuple):
    """What became of code blocks, one row for each.

    `data` is as it came where decoding failed.  `corrected` counts corrected octets by codeword,
    parity included, and is FAILED (-1) where there were too many errors; `ok` says that no
    codeword of the block failed.
    """

    data: U8
    corrected: npt.NDArray[np.int16]
    ok: npt.NDArray[np.bool_]


class LinkCode(Protocol):
    """A link code with either engine."""

    config: LinkCodeConfig

    def encode_many(self, frames: U8) -> U8:
        """The code blocks of frames, one in each row."""
        ...

    def decode_many(self, blocks: U8) -> Decoded:
        """The frames of code blocks, one in each row, and which could not be corrected."""
        ...


def link_code(config: LinkCodeConfig) -> LinkCode:
    """The code with the engine that the configuration asks for."""
    return NumpyLinkCode(config) if config.engine == "numpy" else ReedsoloLinkCode(config)


def encode_block(code: LinkCode, frame: Buffer) -> bytes:
    """The code block of one frame."""
    return code.encode_many(np.frombuffer(frame, np.uint8)[None]).tobytes()


def decode_block(code: LinkCode, block: Buffer) -> bytes | None:
    """The frame in one code block, or None if it cannot be corrected."""
    decoded = code.decode_many(np.frombuffer(block, np.uint8)[None])
    return decoded.data.tobytes() if decoded.ok[0] else None


class NumpyLinkCode:
    """The default engine, for batches of code blocks."""

    def __init__(self, config: LinkCodeConfig) -> None:
        self.config = config
        self._workspace = Workspace()
        parity = config.parity_bytes
        first = 128 - config.correctable  # CCSDS 131.0-B §4.3.4: roots a^(11 j), 128-E <= j < 128+E
        roots = _powers(np.arange(first, first + parity))
        self._parity = LinearMap(_FIELD, _remainders(roots)[config.fill_bytes :])
        to_dual = _dual_basis()
        self._outward: U8 = to_dual if config.dual_basis else np.arange(256, dtype=np.uint8)
        self._inward: U8 = np.argsort(self._outward).astype(np.uint8)
        if config.dual_basis:
            self._parity.translate(self._inward, self._outward)
        # Syndromes of a remainder r(x), highest power first: r at every root.
        degree = np.arange(parity - 1, -1, -1)
        self._syndromes = LinearMap(
            _FIELD, _powers(degree[:, None] * np.arange(first, first + parity))
        )
        # The locator polynomial at the inverse of a^(11 p), for p = 254 (first octet) down to 0.
        power = np.arange(CODEWORD_BYTES - 1, -1, -1)
        self._locator = LinearMap(
            _FIELD, _powers(-np.arange(config.correctable + 1)[:, None] * power)
        )
        self._first_root = first

    def encode_many(self, frames: U8) -> U8:
        """Code blocks of shape (n, block_bytes) for frames of shape (n, data_bytes).

        Raises LocalError if the frames have another length.
        """
        config = self.config
        _check(frames, config.data_bytes)
        blocks = np.empty((len(frames), config.block_bytes), np.uint8)
        blocks[:, : config.data_bytes] = frames
        for column in range(config.interleave):  # CCSDS 131.0-B §4.4.1: codewords take turns
            data = frames[:, column :: config.interleave]
            parity = blocks[:, config.data_bytes + column :: config.interleave]
            self._parity.apply(data.T, parity.T, self._workspace)
        return blocks

    def parity_of(self, symbols: U8) -> U8:
        """Parity of shape (parity_bytes, n) for data of shape (symbols, n): a codeword a column."""
        parity = np.empty((self.config.parity_bytes, symbols.shape[1]), np.uint8)
        self._parity.apply(symbols, parity, self._workspace)
        return parity

    def decode_many(self, blocks: U8) -> Decoded:
        """The frames in code blocks of shape (n, block_bytes), corrected where possible.

        Raises LocalError if the blocks have another length.
        """
        config = self.config
        _check(blocks, config.block_bytes)
        depth = config.interleave
        data = blocks[:, : config.data_bytes].copy()
        corrected = np.zeros((len(blocks), depth), np.int16)
        bad: list[npt.NDArray[np.int64]] = []
        remainders: list[U8] = []
        for start in range(0, len(blocks), BATCH_BLOCKS):
            batch = blocks[start : start + BATCH_BLOCKS]
            difference = np.empty((len(batch), config.parity_bytes), np.uint8)
            for column in range(depth):
                symbols = batch[:, column : config.data_bytes : depth]
                self._parity.apply(symbols.T, difference.T, self._workspace)
                difference ^= batch[:, config.data_bytes + column :: depth]
                wrong = np.flatnonzero(difference.any(axis=1))
                if wrong.size:
                    bad.append((wrong + start) * depth + column)
                    remainders.append(self._inward[difference[wrong]].T)
        if bad:
            words, remainder = np.concatenate(bad), np.concatenate(remainders, axis=1)
            for first in range(0, words.size, BATCH_CORRECTIONS):
                some = slice(first, first + BATCH_CORRECTIONS)
                self._correct(remainder[:, some], words[some], data, corrected)
        return Decoded(data, corrected, np.min(corrected, axis=1, initial=0) >= 0)

    def _correct(
        self, remainder: U8, bad: npt.NDArray[np.int64], data: U8, corrected: npt.NDArray[np.int16]
    ) -> None:
        """Decode the codewords with non-zero remainders (of shape (2E, len(bad))): `bad[i]` counts
        the codewords of all blocks."""
        config = self.config
        syndromes = np.empty(remainder.shape, np.uint8)
        self._syndromes.apply(remainder, syndromes, self._workspace)
        locator, length = _berlekamp_massey(syndromes, config.correctable)
        values = np.empty((CODEWORD_BYTES, bad.size), np.uint8)
        self._locator.apply(locator, values, self._workspace)
        is_root = values == 0
        # A codeword can be corrected if its locator has as many roots as its degree says; a root
        # in the virtual fill, which cannot be wrong, means that there were more errors than that.
        good = is_root.view(np.uint8).sum(axis=0, dtype=np.uint8) == length
        good &= ~is_root[: config.fill_bytes].any(axis=0)
        is_root &= good
        place, word = np.divmod(np.flatnonzero(is_root), bad.size)
        magnitude = self._magnitudes(syndromes, locator, place, word)
        at = place - config.fill_bytes
        inside = at < config.symbols
        frame, column = np.divmod(bad, config.interleave)
        word = word[inside]
        octet = at[inside] * config.interleave + column[word]  # CCSDS 131.0-B §4.4.1
        data[frame[word], octet] ^= self._outward[magnitude[inside]]
        corrected[frame, column] = np.where(good, length, FAILED)

    def _magnitudes(
        self,
        syndromes: U8,
        locator: U8,
        place: npt.NDArray[np.int64],
        word: npt.NDArray[np.int64],
    ) -> U8:
        """Forney's formula: the error at each root found."""
        limit = max(1, int(np.flatnonzero(locator.any(axis=1))[-1]))  # the highest degree there is
        evaluator = np.zeros((limit, syndromes.shape[1]), np.uint8)
        for shift in range(limit):
            evaluator[shift:] ^= _multiply(locator[shift], syndromes[: limit - shift])
        power = CODEWORD_BYTES - 1 - place
        inverse = _powers(-power)
        square = _multiply(inverse, inverse)
        above = np.zeros(place.size, np.uint8)
        for coefficient in evaluator[::-1]:
            above = _multiply(above, inverse) ^ coefficient[word]
        below = np.zeros(place.size, np.uint8)  # the derivative keeps the odd coefficients
        for coefficient in locator[1 : limit + 1 : 2][::-1]:
            below = _multiply(below, square) ^ coefficient[word]
        scale = _powers(power * (1 - self._first_root))
        return _multiply(_multiply(above, scale), _FIELD.inverse[below])


class ReedsoloLinkCode:
    """The reference engine: one codeword at a time, with the `reedsolo` package."""

    def __init__(self, config: LinkCodeConfig) -> None:
        # Imported here: the package is needed only by whoever chose this engine.
        import reedsolo

        self.config = config
        self._failure: type[Exception] = reedsolo.ReedSolomonError
        root = int(_powers(np.array(1)))
        self._codec: Any = reedsolo.RSCodec(
            config.parity_bytes,
            nsize=CODEWORD_BYTES,
            fcr=128 - config.correctable,
            prim=_FIELD.polynomial,
            generator=root,
            c_exp=8,
        )
        self._outward: U8 = _dual_basis() if config.dual_basis else np.arange(256, dtype=np.uint8)
        self._inward: U8 = np.argsort(self._outward).astype(np.uint8)

    def encode_many(self, frames: U8) -> U8:
        """As `NumpyLinkCode.encode_many`."""
        config = self.config
        _check(frames, config.data_bytes)
        blocks = np.empty((len(frames), config.block_bytes), np.uint8)
        for frame, block in zip(frames, blocks, strict=True):
            block[: config.data_bytes] = frame
            for column in range(config.interleave):
                message = self._inward[frame[column :: config.interleave]].tobytes()
                word = self._codec.encode(bytes(config.fill_bytes) + message)
                parity = np.frombuffer(word, np.uint8)[-config.parity_bytes :]
                block[config.data_bytes + column :: config.interleave] = self._outward[parity]
        return blocks

    def decode_many(self, blocks: U8, erasures: tuple[int, ...] = ()) -> Decoded:
        """As `NumpyLinkCode.decode_many`.  `erasures` are octets of the code block that are known
        to be unreliable; two of them cost as much as one error elsewhere."""
        config = self.config
        _check(blocks, config.block_bytes)
        data = blocks[:, : config.data_bytes].copy()
        corrected = np.zeros((len(blocks), config.interleave), np.int16)
        fill = bytes(config.fill_bytes)
        for number, block in enumerate(blocks):
            for column in range(config.interleave):
                word = fill + self._inward[block[column :: config.interleave]].tobytes()
                known = [
                    place // config.interleave + config.fill_bytes
                    for place in erasures
                    if place % config.interleave == column
                ]
                try:
                    message, whole, _ = self._codec.decode(word, erase_pos=known or None)
                except self._failure:
                    corrected[number, column] = FAILED
                    continue
                if bytes(whole[: config.fill_bytes]) != fill:
                    corrected[number, column] = FAILED
                    continue
                wrong = sum(a != b for a, b in zip(whole, word, strict=True))
                corrected[number, column] = wrong
                symbols = np.frombuffer(bytes(message), np.uint8)[config.fill_bytes :]
                data[number, column :: config.interleave] = self._outward[symbols]
        return Decoded(data, corrected, np.min(corrected, axis=1, initial=0) >= 0)


def _check(rows: U8, length: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != length:
        raise LocalError(f"expected rows of {length} octets, not shape {rows.shape}")


def _powers(exponent: npt.NDArray[np.int64]) -> U8:
    """(a^11)^exponent."""
    values: U8 = _FIELD.exp[exponent * GENERATOR_POWER % 255]
    return values


def _multiply(left: U8, right: U8) -> U8:
    """Products, element by element."""
    index = left.astype(np.uint16)
    index <<= 8
    return _MUL.take(index | right, mode="clip")  # never out of range: spares the checking pass


def _dual_basis() -> U8:
    """Dual-basis octets of all elements."""
    octets = np.zeros(256, np.uint8)
    for bit, image in enumerate(_DUAL_OF_BIT):
        octets[1 << bit : 2 << bit] = octets[: 1 << bit] ^ image
    return octets


def _remainders(roots: U8) -> U8:
    """Parity of unit vectors: row i is x^(254 - i) modulo the generator polynomial, highest power
    first."""
    generator = np.ones(1, np.uint8)
    for root in roots:
        generator = np.append(generator, 0) ^ np.append(0, _FIELD.mul[root][generator])
    low: U8 = generator[1:].astype(np.uint8)
    rows = np.empty((CODEWORD_BYTES - low.size, low.size), np.uint8)
    rows[-1] = low
    for at in range(len(rows) - 1, 0, -1):
        rows[at - 1] = np.append(rows[at][1:], 0) ^ _FIELD.mul[rows[at][0]][low]
    return rows


def _berlekamp_massey(syndromes: U8, limit: int) -> tuple[U8, npt.NDArray[np.int64]]:
    """Error locators (coefficients up to x^limit by rows, codewords by columns) and their degrees.

    All codewords take each step together.  Where the degree exceeds `limit` the locator is cut
    off, and useless.
    """
    steps, count = syndromes.shape
    locator = np.zeros((limit + 1, count), np.uint8)
    locator[0] = 1
    # The locator before its degree last rose, times x for every step since: a window that moves
    # up in an array of zeros.
    store = np.zeros((steps + limit + 1, count), np.uint8)
    store[steps] = 1
    scale = np.ones(count, np.uint8)  # one over the discrepancy of the step when it rose
    length = np.zeros(count, np.int64)
    top = 0  # the highest degree that any locator has
    for step in range(steps):
        previous = store[steps - 1 - step :][: limit + 1]
        window = syndromes[step - min(step, top) : step + 1][::-1]
        discrepancy = np.bitwise_xor.reduce(_multiply(locator[: len(window)], window), axis=0)
        wrong = discrepancy != 0
        if not wrong.any():
            # Usually all are done after twice as many steps as there are errors.
            if step == 2 * top and _predicts(locator[: top + 1], syndromes, step):
                break
            continue
        rises = wrong & (2 * length <= step)
        grown = np.where(rises, step + 1 - length, length)
        top = min(limit, int(grown.max()))
        change = _multiply(_multiply(discrepancy, scale), previous[: top + 1])
        before = locator[:, rises]
        locator[: top + 1] ^= change
        previous[:, rises] = before
        scale[rises] = _FIELD.inverse[discrepancy[rises]]
        length = grown
    return locator, length


def _predicts(locator: U8, syndromes: U8, start: int) -> bool:
    """Whether the syndromes from `start` on follow from the earlier ones, in every column."""
    rest = syndromes[start:].copy()
    for degree in range(1, len(locator)):
        known = syndromes[start - degree : len(syndromes) - degree]
        rest ^= _multiply(locator[degree], known)
    return not rest.any()
