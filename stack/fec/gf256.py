"""Arithmetic in GF(2^8), and linear maps over it at memory speed.

Every code in this package is a linear map from a few input symbols to a few output symbols, done
for thousands of columns at once.  NumPy has no carry-less multiplication, so a product must be a
table look-up; the trick is to look up *all* outputs of one input octet at once.  For input `i`
and octet `v` a table holds the products of `v` with the coefficients of up to 32 outputs in one
row of 1 to 32 octets.  A column then costs one gathered row and one wide XOR per input octet,
whatever the number of outputs.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

LANE_BYTES_MAX: Final = 32
"""Outputs per gathered row: NumPy copies rows of 1, 2, 4, 8, 16 and 32 octets with one move."""

GATHER_BYTES: Final = 1 << 21
"""Working memory for gathered rows; smaller spends more on calls, larger leaves the cache."""

INDICES_MAX: Final = 4
"""Shapes of input whose row numbers are kept: decoding a link code takes three in turn."""

_INDEX_BYTES: Final = np.dtype(np.intp).itemsize
_LOW_OCTET: Final = 0 if sys.byteorder == "little" else _INDEX_BYTES - 1


class Field:
    """GF(2^8) modulo `polynomial` (bit 8 set, primitive: 2 generates the field).

    `exp[i]` is 2^i for 0 <= i < 510, `log[x]` its inverse with `log[0]` = 0 (so that a sum of
    logarithms over differences may leave the zero difference in), `mul[a, b]` the product,
    `inverse[a]` 1 / a (and 1 for a = 0, which nobody may ask), and `nibbles[a]` the products of a
    with 0, 1, ... 15 and with 0, 16, ... 240.  The arrays are read-only.  `ValueError` for a
    polynomial that is none.
    """

    def __init__(self, polynomial: int) -> None:
        exp = np.zeros(510, np.uint8)
        log = np.zeros(256, np.int64)
        value = 1
        for power in range(255):
            exp[power] = exp[power + 255] = value
            log[value] = power
            value <<= 1
            if value & 0x100:
                value ^= polynomial
        if value != 1 or np.unique(exp).size != 255:
            raise ValueError(f"polynomial {polynomial:#x} is not primitive")
        mul = exp[log[:, None] + log[None, :]]
        mul[0, :] = mul[:, 0] = 0
        nibbles = np.concatenate([mul[:, :16], mul[:, ::16]], axis=1)
        inverse = exp[255 - log]
        for table in (exp, log, mul, nibbles, inverse):
            table.flags.writeable = False
        self.polynomial = polynomial
        self.exp: U8 = exp
        self.log: npt.NDArray[np.int64] = log
        self.mul: U8 = mul
        self.nibbles: U8 = nibbles
        self.inverse: U8 = inverse


RFC5510: Final = Field(0x11D)
"""x^8 + x^4 + x^3 + x^2 + 1 (RFC 5510 §8.1, table for m = 8)."""

CCSDS: Final = Field(0x187)
"""x^8 + x^7 + x^2 + x + 1 (CCSDS 131.0-B §4.3.3)."""


class Workspace:
    """Scratch buffers that linear maps share, so that no call allocates (and faults in) megabytes.

    Not to be used by two calls at once; one codec object owns one.
    """

    def __init__(self) -> None:
        self._gathered: U8 = np.empty(GATHER_BYTES, np.uint8)
        self._indices: dict[tuple[int, int], npt.NDArray[np.intp]] = {}

    def index(self, inputs: int, columns: int) -> npt.NDArray[np.intp]:
        """Row numbers `256 * i + v` with the octet `v` still to be written (see `octets`)."""
        found = self._indices.get((inputs, columns))
        if found is None:
            if len(self._indices) == INDICES_MAX:
                self._indices.clear()
            found = np.empty((inputs, columns), np.intp)
            found[:] = np.arange(inputs, dtype=np.intp)[:, None] * 256
            self._indices[inputs, columns] = found
        return found

    def gathered(self, shape: tuple[int, int], row: np.dtype[Any]) -> npt.NDArray[Any]:
        """An uninitialised array of rows.  Raises `ValueError` when the workspace is too small for
        it."""
        count = shape[0] * shape[1] * row.itemsize
        if count > self._gathered.size:  # one column of 255 inputs fits; so this is our mistake
            raise ValueError("gather larger than the workspace")
        return self._gathered[:count].view(row).reshape(shape)


def octets(index: npt.NDArray[np.intp]) -> U8:
    """The low octet of every index, as a writable view: writing a symbol there makes the row
    number of its products, in one pass and without widening the symbols first."""
    return index.view(np.uint8)[:, _LOW_OCTET::_INDEX_BYTES]


class LinearMap:
    """`output[o] = sum over i of coefficients[i, o] * input[i]`, for many columns.

    Building it costs 256 octets per coefficient; `octets_held` says how much memory it keeps.
    """

    def __init__(self, field: Field, coefficients: U8) -> None:
        self.inputs, self.outputs = coefficients.shape
        self._tables: list[npt.NDArray[Any]] = []
        for start in range(0, self.outputs, LANE_BYTES_MAX):
            group = coefficients[:, start : start + LANE_BYTES_MAX]
            self._tables.append(_product_rows(field, group))
        self.octets_held = sum(table.nbytes for table in self._tables)

    def translate(self, inward: U8, outward: U8) -> None:
        """Take inputs and give outputs in another representation of the field's elements.

        `inward[v]` is the element that input octet v stands for, `outward[x]` the octet for the
        element x; both linear over GF(2), so that XOR is addition before and after.
        """
        for at, table in enumerate(self._tables):
            width = table.dtype.itemsize
            rows = table.view(np.uint8).reshape(self.inputs, 256, width)[:, inward]
            self._tables[at] = outward[rows].reshape(-1).view(table.dtype)

    def apply(self, inputs: U8, outputs: U8, workspace: Workspace) -> None:
        """Map `inputs` of shape (inputs, columns) into `outputs` of shape (outputs, columns).

        Any strides will do; `outputs` must not overlap `inputs`.
        """
        columns = inputs.shape[1]
        if not columns or not self._tables:
            outputs[:] = 0
            return
        widest = self._tables[0].dtype.itemsize
        room = max(1, GATHER_BYTES // (self.inputs * widest))
        step = -(-columns // -(-columns // room))  # equal chunks, so that one index serves all
        index = workspace.index(self.inputs, step)
        low = octets(index)
        for start in range(0, columns, step):
            width = min(step, columns - start)
            low[:, :width] = inputs[:, start : start + width]
            rows = index[:, :width]
            first = 0
            for table in self._tables:
                gathered = workspace.gathered((self.inputs, width), table.dtype)
                # Every index is in range by construction: "clip" only spares the checking pass.
                table.take(rows, out=gathered, mode="clip")
                lanes = np.bitwise_xor.reduce(gathered.view(_lane(table.dtype)), axis=0)
                count = min(LANE_BYTES_MAX, self.outputs - first)
                summed = lanes.view(np.uint8).reshape(width, table.dtype.itemsize)
                outputs[first : first + count, start : start + width] = summed[:, :count].T
                first += count


def _lane(row: np.dtype[Any]) -> np.dtype[Any]:
    """The unsigned integer in which rows of this size are XORed."""
    return np.dtype(f"u{min(row.itemsize, 8)}")


def _product_rows(field: Field, coefficients: U8) -> npt.NDArray[Any]:
    """Table of `256 * inputs` rows; row `256 * i + v` holds v times the coefficients of input i."""
    inputs, outputs = coefficients.shape
    row_bytes = 1 << (outputs - 1).bit_length()
    row = np.dtype(f"V{row_bytes}")
    lane = _lane(row)
    lanes = row_bytes // lane.itemsize
    padded = np.zeros((inputs, row_bytes), np.uint8)
    padded[:, :outputs] = coefficients
    # Multiplication is linear over XOR: 16 products of low and 16 of high nibbles make all 256.
    products = field.nibbles.take(padded, axis=0).transpose(0, 2, 1)
    nibbles = np.ascontiguousarray(products).view(row)[:, :, 0]
    rows = nibbles[:, 16:].repeat(16, axis=1).view(lane).reshape(inputs, 16, 16 * lanes)
    rows ^= np.ascontiguousarray(nibbles[:, :16]).view(lane).reshape(inputs, 1, 16 * lanes)
    return rows.reshape(-1).view(row)
