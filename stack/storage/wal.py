"""Mends SQLite's write-ahead log after a process was killed, before the database is opened.

SQLite reads the log up to the first frame whose checksum does not fit, and takes it for the end:
one flipped bit there, and every commit behind it is gone without a word.  But each frame carries
the checksum of all before it, so that every frame can be checked alone, with the one that the
frame before it carries; and 64 bits of checksum over 4 KiB tell which single bit has flipped, or,
of the upper bits of a word, which few it may have been: then what the page held before tells.  (The
format is in https://www.sqlite.org/fileformat2.html#the_write_ahead_log.)

What a crash leaves unfinished at the end stays as it is: nothing in it was ever committed.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stack.storage.files import DATABASE_NAME, PAGE_BYTES

WAL_NAME: Final = DATABASE_NAME + "-wal"

_HEADER_BYTES: Final = 32
_FRAME_BYTES: Final = 24 + PAGE_BYTES
_MAGIC: Final = 0x377F0682
"""Its last bit says that checksums are of big-endian words."""

_COMMITS_BEHIND: Final = 2
"""A page that cannot be mended is taken as it is when so many commits follow it: then its own was
on the disk before the last one began.  The checksums of rows and bundles find what is wrong."""

U32 = npt.NDArray[np.uint32]


class WalRepair(NamedTuple):
    """What was found wrong, and done."""

    bits: int
    """Flipped bits that were put right."""

    pages: int
    """Pages that were taken as they are."""

    frames: int
    """Frames behind the first damage, which SQLite would have passed over."""

    lost: int
    """Frames of committed or unfinished transactions that cannot be used."""


def mend(directory: Path) -> WalRepair | None:
    """Mend the log in `directory`; None when there was nothing to mend.  Raises `OSError`."""
    path = directory / WAL_NAME
    if not path.exists() or path.stat().st_size < _HEADER_BYTES + _FRAME_BYTES:
        return None
    with path.open("r+b", buffering=0) as file:
        octets = bytearray(file.read())
        log = _Log(octets, directory / DATABASE_NAME)
        mended = log.mend()
        if mended is not None and (mended.bits or mended.pages):
            file.seek(0)
            file.write(log.octets)
            os.fsync(file.fileno())
        return mended


def committed(directory: Path) -> tuple[dict[int, bytes], int]:
    """The newest pages that whole transactions have left in the log in `directory`, by number,
    and how many pages the database has with them; 0: there are none.  Raises `OSError`."""
    path = directory / WAL_NAME
    if not path.exists() or path.stat().st_size < _HEADER_BYTES + _FRAME_BYTES:
        return {}, 0
    return _Log(bytearray(path.read_bytes())).committed()


class _Log:
    def __init__(self, octets: bytearray, database: Path | None = None) -> None:
        """`database` has the pages that the log has not."""
        self.octets = octets
        self._database = database
        count = (len(octets) - _HEADER_BYTES) // _FRAME_BYTES
        self._frames = np.frombuffer(octets, np.uint8, count * _FRAME_BYTES, _HEADER_BYTES).reshape(
            count, _FRAME_BYTES
        )
        self._bits = self._pages = 0
        self._step = _power((8 + PAGE_BYTES) // 8)

    def committed(self) -> tuple[dict[int, bytes], int]:
        if not self._readable():
            return {}, 0
        salts = np.frombuffer(self.octets, np.uint8, 8, 16)
        other = np.flatnonzero((self._frames[:, 8:16] != salts).any(axis=1))
        count = int(other[0]) if len(other) else len(self._frames)
        bad = self._bad(count, np.frombuffer(self.octets, ">u4", 2, 24).astype(np.uint32))
        count = int(bad[0]) if len(bad) else count
        commits = np.flatnonzero(self._frames[:count, 4:8].any(axis=1))
        if not len(commits):
            return {}, 0
        last = int(commits[-1])
        numbers = self._frames[: last + 1, :4].copy().view(">u4")[:, 0]
        pages = {int(number): self._frames[index, 24:] for index, number in enumerate(numbers)}
        size = int.from_bytes(self._frames[last, 4:8].tobytes(), "big")
        return {number: page.tobytes() for number, page in pages.items()}, size

    def _readable(self) -> bool:
        """Whether the header can be read, mended if need be."""
        header_bits = self._mend_header()
        if header_bits is None:
            return False
        self._bits = header_bits
        order = "<u4" if struct.unpack_from(">I", self.octets)[0] == _MAGIC else ">u4"
        self._order = np.dtype(order)
        self._coefficients = _coefficients((8 + PAGE_BYTES) // 4)
        return True

    def mend(self) -> WalRepair | None:
        if not self._readable():
            used = bool(np.any(np.frombuffer(self.octets, np.uint8, _HEADER_BYTES)))
            return WalRepair(0, 0, 0, len(self._frames)) if used else None
        salts = np.frombuffer(self.octets, np.uint8, 8, 16)
        # A flipped bit in a salt: of its 64 bits, all others still say that it is of this log.
        distance = np.unpackbits(self._frames[:, 8:16] ^ salts, axis=1).sum(axis=1)
        alike = np.flatnonzero(distance > 1)
        count = int(alike[0]) if len(alike) else len(self._frames)
        seed = np.frombuffer(self.octets, ">u4", 2, 24).astype(np.uint32)
        bad = self._bad(count, seed)
        first = int(bad[0]) if len(bad) else count
        salted = np.flatnonzero(distance[:count] == 1)
        first = min(first, int(salted[0])) if len(salted) else first
        if first == count:
            return WalRepair(self._bits, 0, count, 0) if self._bits else None
        for index in salted:
            self._frames[index, 8:16] = salts
            self._bits += 1
        end = self._mend_frames(first, count, seed)
        if end <= first and not self._bits:
            # What an unfinished transaction leaves behind looks like this too.
            return None
        return WalRepair(self._bits, self._pages, max(0, end - first), count - end)

    def _mend_header(self) -> int | None:
        """Bits put right in the header, or None when it cannot be read."""
        trials: list[bytearray] = []
        for position in range(-1, 8 * _HEADER_BYTES):
            trial = bytearray(self.octets[:_HEADER_BYTES])
            if position >= 0:
                trial[position // 8] ^= 1 << position % 8
            magic, version, page = struct.unpack_from(">3I", trial)
            if magic & ~1 != _MAGIC or version != 3007000 or page != PAGE_BYTES:
                continue
            words = np.frombuffer(trial, ">u4" if magic & 1 else "<u4", 6).astype(np.uint32)
            found = _coefficients(6) @ words
            if np.array_equal(found, np.frombuffer(trial, ">u4", 2, 24)):
                if position < 0:
                    return 0
                trials.append(trial)
        if not trials:
            return None
        # The checksum's last word and the last salt leave the same mark: the frames have the salts.
        salts = self._frames[0, 8:16].tobytes()
        self.octets[:_HEADER_BYTES] = next((t for t in trials if t[16:24] == salts), trials[0])
        return 1

    def _words(self, index: int) -> U32:
        frame = self._frames[index]
        octets = np.concatenate((frame[:8], frame[24:]))
        return octets.view(self._order).astype(np.uint32)

    def _stored(self, index: int) -> U32:
        return self._frames[index, 16:24].copy().view(">u4").astype(np.uint32)

    def _expected(self, index: int, before: U32) -> U32:
        """The checksum of a frame behind one that has the checksum `before`."""
        result: U32 = self._step @ before + self._coefficients @ self._words(index)
        return result

    def _bad(self, count: int, seed: U32) -> npt.NDArray[np.int64]:
        """The frames, of the first `count`, that do not follow from the one before."""
        step = self._step
        bad = []
        before = seed
        for index in range(count):
            stored = self._stored(index)
            if not np.array_equal(step @ before + self._coefficients @ self._words(index), stored):
                bad.append(index)
            before = stored
        return np.array(bad, dtype=np.int64)

    def _mend_frames(self, first: int, count: int, seed: U32) -> int:
        """Mend from `first` on; the number of frames that SQLite will read now."""
        before = self._stored(first - 1) if first else seed
        carried = before
        """What the next frame was written behind; `before` is what it will stand behind."""
        commits = [index for index in range(first, count) if self._commits(index)]
        for index in range(first, count):
            stored = self._stored(index)
            expected = self._expected(index, carried)
            if not np.array_equal(stored, expected):
                # A bit of the checksum may look like one of the page's end: the next frame knows.
                if _one_bit(stored, expected) and self._follows(index + 1, count, expected):
                    stored = expected
                    self._bits += 1
                elif self._mend_bit(index, expected, stored):
                    pass
                elif (
                    self._follows(index + 1, count, stored)
                    and sum(commit >= index for commit in commits) >= _COMMITS_BEHIND
                ):
                    self._pages += 1
                else:
                    return index
            carried = stored
            before = self._expected(index, before)
            self._frames[index, 16:24] = before.astype(">u4").view(np.uint8)
        return count

    def _commits(self, index: int) -> bool:
        return bool(self._frames[index, 4:8].any())

    def _follows(self, index: int, count: int, before: U32) -> bool:
        """Whether the frame `index`, if there is one, was written behind `before`."""
        return index < count and np.array_equal(self._expected(index, before), self._stored(index))

    def _mend_bit(self, index: int, expected: U32, stored: U32) -> bool:
        """Put the one bit right that makes the checksum of a frame fit, if there is one.  When it
        cannot be told from others, the page is taken as it is."""
        suspects = self._suspects(index, stored - expected)
        if _one_bit(stored, expected):
            suspects.append((16, 0))  # the checksum itself, which is written anew in any case
        if len(suspects) > 1:
            distances = [self._distance(index, *each) for each in suspects]
            least = min(distances)
            suspects = [
                each
                for each, distance in zip(suspects, distances, strict=True)
                if distance == least
            ]
        if len(suspects) == 1:
            place, bit = suspects[0]
            self._frames[index, place] ^= bit
            self._bits += 1
        elif suspects:
            self._pages += 1
        return bool(suspects)

    def _suspects(self, index: int, delta: U32) -> list[tuple[int, int]]:
        """The octets of a frame, each with a bit, of which one has flipped if the checksum is off
        by `delta`."""
        words = self._words(index)
        found: list[tuple[int, int]] = []
        for bit in range(32):
            value = np.uint32(1 << bit)
            change = self._coefficients * value
            up = (change == delta[:, None]).all(axis=0) & (words & value == 0)
            down = (change == (np.uint32(0) - delta)[:, None]).all(axis=0) & (words & value != 0)
            octet = bit // 8 if self._order.str[0] == "<" else 3 - bit // 8
            for word in np.flatnonzero(up | down).tolist():
                place = 4 * word if word < 2 else 4 * word + 16  # salts and checksum lie between
                found.append((place + octet, 1 << bit % 8))
        return found

    def _distance(self, index: int, place: int, bit: int) -> int:
        """How unlikely a frame is once this bit is put right: in how many octets its page differs
        from what it held before; and a size of the database that no other frame has is none."""
        frame = self._frames[index].copy()
        frame[place] ^= bit
        others = np.delete(self._frames[:, 4:8], index, axis=0)
        odd = 0 if (others == frame[4:8]).all(axis=1).any() else PAGE_BYTES
        before = self._version(index, frame[:4])
        return odd + (PAGE_BYTES if before is None else int(np.count_nonzero(frame[24:] != before)))

    def _version(self, index: int, number: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        """What the page of this number held before the frame `index`, if that is known."""
        earlier = np.flatnonzero((self._frames[:index, :4] == number).all(axis=1))
        if len(earlier):
            return self._frames[int(earlier[-1]), 24:]
        if self._database is None:
            return None
        with self._database.open("rb") as file:
            file.seek((int.from_bytes(number.tobytes(), "big") - 1) * PAGE_BYTES)
            page = file.read(PAGE_BYTES)
        return np.frombuffer(page, np.uint8) if len(page) == PAGE_BYTES else None


def _one_bit(left: U32, right: U32) -> bool:
    return sum(int(word).bit_count() for word in left ^ right) == 1


def _power(pairs: int) -> U32:
    """What `pairs` steps of the checksum do to its state."""
    result = np.identity(2, dtype=np.uint32)
    for _ in range(pairs):
        result = _STEP @ result
    return result


def _coefficients(words: int) -> U32:
    """What each of `words` words adds to the checksum, per unit: (2, words), modulo 2^32."""
    found = np.empty((2, words), dtype=np.uint32)
    state = np.identity(2, dtype=np.uint32)
    for pair in reversed(range(words // 2)):
        found[:, 2 * pair] = state @ np.array([1, 1], dtype=np.uint32)
        found[:, 2 * pair + 1] = state @ np.array([0, 1], dtype=np.uint32)
        state = _STEP @ state
    return found


_STEP: Final = np.array([[1, 1], [1, 2]], dtype=np.uint32)
"""s0 += a + s1; s1 += b + s0, as a matrix on (s0, s1); a adds (1, 1), b adds (0, 1)."""
