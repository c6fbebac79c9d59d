"""Runs of plain data segments, written and recognised a whole train at a time.

Consecutive full segments of a block differ only in their offset field.  A run of them is therefore
one matrix: a row for each segment, header columns that repeat, offset columns computed for all
rows at once, and the block's octets reshaped into the rest.  The sender fills such matrices, the
receiver compares a train's header columns with those that it expects; nothing is done per segment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stack.core.train import Buffer, Train
from stack.engines.ltp.envelope import Envelope
from stack.wire.sdnv import encode_sdnv

Octets = npt.NDArray[np.uint8]

RUN_MIN = 3
"""Below this many segments the matrix costs more than it saves."""

RUN_MAX = 64
"""Segments of one matrix; one UDP segmentation offload call carries no more datagrams."""

_NONE: Octets = np.empty(0, np.uint8)

_HEADS_MAX = 4096
"""Runs remembered: a block of 1024 segments begins no more, and they take 2 MB at most."""


def sdnv_width(value: int) -> int:
    """Octets of the shortest SDNV of `value`."""
    return max(1, (value.bit_length() + 6) // 7)


def data_step(space: int) -> int:
    """The most data octets that fit into `space` together with their length field."""
    step = space - 1
    while step + sdnv_width(step) > space:
        step -= 1
    return step


class RunHeads:
    """The offset and length columns of runs, kept for the next block: blocks are cut alike.

    `tails(offset, step)` depends on nothing but its arguments, so that engines may share a store.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Octets] = {}

    def tails(self, offset: int, step: int) -> Octets:
        """A row (offset, length) for each segment of `step` octets from `offset` on, until the
        SDNV of the offset grows or after `RUN_MAX` rows; their lengths are in shortest form."""
        found = self._kept.get((offset, step))
        if found is None:
            if len(self._kept) >= _HEADS_MAX:
                self._kept.clear()
            found = self._kept[offset, step] = _tails(offset, step)
        return found

    def count_run(self, rows: Octets, prefix: bytes, offset: int, step: int, head: int) -> int:
        """How many of the first rows continue the run that begins at `offset` in steps of
        `step` with headers of `head` octets; at least 1, as the first row is known to."""
        tails = self.tails(offset, step)
        count = min(len(rows), len(tails))
        at = len(prefix)
        if at + tails.shape[1] != head:
            return 1  # a number that is not in its shortest form
        actual = rows[:count, :head]
        if actual[:, at:].tobytes() == tails[:count].tobytes() and (
            actual[:, :at].tobytes() == prefix * count
        ):
            return count
        expected: Octets = np.empty((count, head), np.uint8)
        expected[:, :at] = np.frombuffer(prefix, np.uint8)
        expected[:, at:] = tails[:count]
        return max(1, int((actual == expected).all(axis=1).argmin()))


def _tails(offset: int, step: int) -> Octets:
    width = sdnv_width(offset)
    count = min(_until_wider(offset, step), RUN_MAX)
    length = encode_sdnv(step)
    rows: Octets = np.empty((count, width + len(length)), np.uint8)
    offsets = np.arange(offset, offset + count * step, step, dtype=np.int64)
    for column in range(width - 1):  # RFC 6256 §2: most significant group first
        rows[:, column] = (offsets >> (7 * (width - 1 - column))) & 0x7F | 0x80
    rows[:, width - 1] = offsets & 0x7F
    rows[:, width:] = np.frombuffer(length, np.uint8)
    return rows


def _until_wider(offset: int, step: int) -> int:
    """Rows from `offset` on until the SDNV of the offset grows."""
    return -(-((1 << 7 * sdnv_width(offset)) - offset) // step)


class TrainPacker:
    """Packs segments into trains: equal sizes, only the last of a train shorter."""

    __slots__ = (
        "_around",
        "_end",
        "_envelope",
        "_heads",
        "_octets",
        "_overhead",
        "_segment_bytes",
        "_size",
        "_train_bytes",
        "_used",
        "left",
        "taken",
        "trains",
    )

    def __init__(
        self,
        heads: RunHeads,
        segment_bytes: int,
        train_bytes: int,
        overhead_bytes: int,
        budget: int,
        envelope: Envelope | None = None,
    ) -> None:
        """`envelope` is put around each segment.  It does not count to the sizes above, nor to the
        budget other than with `overhead_bytes`."""
        self._heads = heads
        self._envelope = envelope
        self._around = 0 if envelope is None else envelope.octets
        self._segment_bytes = segment_bytes
        self._train_bytes = train_bytes
        self._overhead = overhead_bytes
        self._octets: Octets = _NONE
        """The train that is being packed, with room for all that it may have."""

        self._end = 0
        """Where the next segment of it begins."""

        self._size = 0
        self._used = 0
        self.left = budget
        """Octets that may still leave, with the overhead of each datagram."""

        self.taken = 0
        """Octets taken from the budget so far."""

        self.trains: list[Train] = []

    def segment(self, octets: bytes) -> bool:
        """Append one segment; False, with nothing done, when the budget does not hold it."""
        length = len(octets)
        if not self._charge(1, length):
            return False
        if self._used and (length > self._size or self._used + length > self._most(self._size)):
            self.flush()
        put = octets if self._envelope is None else self._envelope.around(octets)
        self._room(1, length)[0] = np.frombuffer(put, np.uint8)
        if length < self._size:
            self.flush()
        return True

    def run(self, prefix: bytes, data: Octets, start: int, stop: int) -> tuple[int, int]:
        """Append full segments of data[start:stop] while the budget lasts: the offset reached
        and the number of segments.  A rest that fills no segment is left to the caller."""
        count = 0
        begun, trailer = prefix, b""
        if self._envelope is not None:
            begun, trailer = self._envelope.begun(prefix), self._envelope.trailer
        while True:
            space = self._segment_bytes - len(prefix) - sdnv_width(start)
            step = data_step(space)
            size = self._segment_bytes - space + step + sdnv_width(step)
            if self._used and (size != self._size or self._used + size > self._most(size)):
                self.flush()
            rows = min(
                (stop - start) // step,
                self.left // (size + self._overhead),
                (self._most(size) - self._used) // size,
                _until_wider(start, step),
            )
            if rows <= 0:
                return start, count
            self._charge(rows, size)
            end = start + rows * step
            if rows < RUN_MIN:
                length = encode_sdnv(step)
                for at in range(start, end, step):
                    head = b"".join((begun, encode_sdnv(at), length))
                    row, content = self._room(1, size)[0], len(head)
                    row[:content] = np.frombuffer(head, np.uint8)
                    row[content : content + step] = data[at : at + step]
                    row[content + step :] = np.frombuffer(trailer, np.uint8)
            else:
                matrix = self._room(rows, size)
                tails = self._heads.tails(start, step)[:rows]
                content = len(begun) + tails.shape[1]
                matrix[:, : len(begun)] = np.frombuffer(begun, np.uint8)
                matrix[:, len(begun) : content] = tails
                matrix[:, content : content + step] = data[start:end].reshape(rows, step)
                matrix[:, content + step :] = np.frombuffer(trailer, np.uint8)
            start = end
            count += rows

    def flush(self) -> None:
        """End the train that is being packed."""
        if not self._used:
            return
        data: Buffer = self._octets[: self._end].data
        if self._end < self._octets.size // 2:
            # A train may wait for long, and keeps no more memory than it needs.
            data = bytearray(data)
        self.trains.append(Train(data, self._size + self._around))
        self._octets, self._end, self._used = _NONE, 0, 0

    def _room(self, count: int, size: int) -> Octets:
        """Where the next segments come, in rows."""
        if not self._used:
            self._size, most = size, max(size, self._most(size))
            around = self._around * (most // size + 1)  # the last one may be shorter
            self._octets = np.empty(most + around, np.uint8)
        begin = self._end
        self._used += count * size
        self._end += count * (size + self._around)
        return self._octets[begin : self._end].reshape(count, size + self._around)

    def _most(self, size: int) -> int:
        """The most octets of a train of segments of this size."""
        return min(self._train_bytes, RUN_MAX * size)

    def _charge(self, count: int, size: int) -> bool:
        cost = count * (size + self._overhead)
        if cost > self.left:
            return False
        self.left -= cost
        self.taken += cost
        return True
