"""Reed-Solomon parity of stored bundles, against bits that flip at rest (radiation).

The octets of a bundle are taken in parts of `PART_BYTES`.  Octet i of a part belongs to codeword
i modulo the number of its codewords, and so do those of its parity: so what is wrong within one
sector of a disk is spread over all of them.  Each is one of RS(255,223) (CCSDS 131.0-B §4), in
which 16 octets may be wrong.  Whether a bundle is as it was stored, and whether mending it has
succeeded, its checksum alone decides: parity that is missing, old or damaged costs no bundle.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from fastcrc import crc32

from stack.core.train import Buffer
from stack.fec.gf256 import U8
from stack.fec.reed_solomon import LinkCodeConfig, NumpyLinkCode
from stack.ports.store import Put
from stack.storage import sql

_CODE: Final = LinkCodeConfig(correctable=16, dual_basis=False)
DATA_BYTES: Final = _CODE.symbols
PARITY_BYTES: Final = _CODE.parity_bytes

CODEWORDS_MAX: Final = 512
"""Codewords of a part: a burst of 16 times as many octets can be mended."""

PART_BYTES: Final = CODEWORDS_MAX * DATA_BYTES
"""Octets that are worked on at once, some milliseconds, however large a bundle is."""


def parts_of(size: int) -> int:
    """Parts of a bundle of `size` octets."""
    return -(-size // PART_BYTES)


def part_bytes(size: int, part: int) -> int:
    """Octets of one of them, counted from 0."""
    return min(PART_BYTES, size - part * PART_BYTES)


class Mended(NamedTuple):
    """What a part and its parity should be."""

    octets: bytes
    parity: bytes


class Parity:
    """Makes parity and mends with it; may be used by several threads."""

    def __init__(self) -> None:
        self._code = NumpyLinkCode(_CODE)
        self._lock = threading.Lock()

    def encode(self, parts: Sequence[Buffer]) -> list[bytes]:
        """The parity of each of `parts`, of at most `PART_BYTES`: small ones cost less together."""
        made: list[bytes] = []
        for group in _groups(parts):
            widths = [_codewords(len(part)) for part in group]
            symbols = np.zeros((DATA_BYTES, sum(widths)), np.uint8)
            first = 0
            for part, width in zip(group, widths, strict=True):
                symbols[:, first : first + width] = _matrix(part, width)
                first += width
            with self._lock:
                parity = self._code.parity_of(symbols)
            first = 0
            for width in widths:
                made.append(parity[:, first : first + width].tobytes())
                first += width
        return made

    def mend(self, part: Buffer, parity: Buffer) -> Mended | None:
        """What `part` and `parity` were when at most 16 octets of each codeword have changed, or
        None.  One hopeless codeword in 16! comes back as another: a checksum must follow."""
        width = _codewords(len(part))
        if len(parity) != width * PARITY_BYTES:
            return None
        given = _matrix(part, width)
        check = np.frombuffer(parity, np.uint8).reshape(PARITY_BYTES, width)
        with self._lock:
            decoded = self._code.decode_many(np.concatenate([given, check]).T)
            if not decoded.ok.all():
                return None
            symbols = decoded.data.T
            whole = symbols.tobytes()
            renewed = self._code.parity_of(symbols).tobytes()
        return Mended(whole[: len(part)], renewed) if not any(whole[len(part) :]) else None


def _codewords(size: int) -> int:
    return -(-size // DATA_BYTES)


def _matrix(part: Buffer, width: int) -> U8:
    """A codeword's data in each column."""
    symbols = np.zeros(DATA_BYTES * width, np.uint8)
    symbols[: len(part)] = np.frombuffer(part, np.uint8)
    return symbols.reshape(DATA_BYTES, width)


def _groups(parts: Sequence[Buffer]) -> Iterator[list[Buffer]]:
    """What is encoded together: about one large part's worth."""
    group: list[Buffer] = []
    octets = 0
    for part in parts:
        if group and octets + len(part) > PART_BYTES:
            yield group
            group, octets = [], 0
        group.append(part)
        octets += len(part)
    if group:
        yield group


def protect(db: sqlite3.Connection, code: Parity, puts: Sequence[tuple[int, Put, int]]) -> None:
    """Store the parity of bundles: ref, what is put, and its octets."""
    names: list[tuple[int, int]] = []
    parts: list[Buffer] = []
    for ref, put, size in puts:
        encoded = memoryview(put.encoded)
        for part in range(parts_of(size)):
            first = part * PART_BYTES
            names.append((ref, part))
            parts.append(encoded[first : first + PART_BYTES])
    made = code.encode(parts)
    sql.insert(db, sql.INSERT_PARITY, [(*name, one) for name, one in zip(names, made, strict=True)])


@dataclass(slots=True)
class PartsVerdict:
    """What an examination has found."""

    sound: bool
    """Whether the bundle is, or can be made, what was stored."""

    wrong: int = 0
    """Octets, of it and its parity, that are not as they should be."""

    patches: list[tuple[int, npt.NDArray[np.int64], U8]] = field(default_factory=list)
    """Where a part begins in the bundle, which of its octets are wrong, and what they should be."""

    parity: list[tuple[int, bytes]] = field(default_factory=list)
    """Parts whose parity is missing or wrong, and what it should be."""


class Examination:
    """Looks at a stored bundle, part by part."""

    def __init__(self, ref: int, size: int, wire_check: int) -> None:
        self.ref, self.size, self.wire_check = ref, size, wire_check
        self.part = 0
        """The part that is to come."""
        self._meant = wire_check ^ (ref & 0xFFFFFFFF)
        self._crc_found = self._crc_mended = 0
        self._hopeless = False
        self._found = PartsVerdict(True)
        """If the octets are sound as they are."""
        self._mended = PartsVerdict(True)
        """If what they are mended to is."""

    @property
    def wanted(self) -> int:
        """Octets of the part that is to come; 0 when there is none."""
        return max(0, part_bytes(self.size, self.part))

    def feed(self, octets: bytes, stored: bytes | None, made: bytes, code: Parity) -> None:
        """The next part as it was found (fewer octets than `wanted` when the rest cannot be read),
        its parity as it was found, and the parity `made` of what was found."""
        self._crc_found = crc32.iscsi(octets, self._crc_found)
        part, size = self.part, self.wanted
        self.part += 1
        whole = len(octets) == size
        if stored == made and whole:
            self._crc_mended = crc32.iscsi(octets, self._crc_mended)
            return
        self._found.parity.append((part, made))
        self._found.wrong += _unlike(stored, made)
        possible = None if stored is None else code.mend(octets.ljust(size, b"\0"), stored)
        if possible is None:
            self._hopeless |= stored is not None or not whole
            possible = Mended(octets, made)
        self._crc_mended = crc32.iscsi(possible.octets, self._crc_mended)
        self._note(part, octets, stored, possible)

    def _note(self, part: int, octets: bytes, stored: bytes | None, mended: Mended) -> None:
        verdict = self._mended
        meant = np.frombuffer(mended.octets, np.uint8)
        wrong = np.ones(len(meant), np.bool_)
        wrong[: len(octets)] = np.frombuffer(octets, np.uint8) != meant[: len(octets)]
        places = np.flatnonzero(wrong)
        if len(places):
            verdict.patches.append((part * PART_BYTES, places, meant[places]))
        if mended.parity != stored:
            verdict.parity.append((part, mended.parity))
        verdict.wrong += len(places) + _unlike(stored, mended.parity)

    def verdict(self) -> PartsVerdict:
        """After the last part."""
        if self._crc_found == self._meant:
            return self._found
        if not self._hopeless and self._crc_mended == self._meant:
            return self._mended
        return PartsVerdict(False)


def _unlike(stored: bytes | None, meant: bytes) -> int:
    """Octets of stored parity that are wrong; of none that is not there."""
    if stored is None:
        return 0
    if len(stored) != len(meant):
        return len(meant)
    return int(np.count_nonzero(np.frombuffer(stored, np.uint8) != np.frombuffer(meant, np.uint8)))
