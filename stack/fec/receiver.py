"""The receiving side of FECFRAME (RFC 6363 §4.3) with the simple Reed-Solomon scheme (RFC 6865).

Source packets are handed on at once, without their payload ids; nothing is decoded, and nothing
is copied a second time, unless packets are missing and enough repair packets have come.

A fixed table with one slot for every `sbn % blocks_max` says which packets of which block came;
it answers for a whole train with a few array operations.  Nothing else grows without a bound:
packets are kept only for open blocks, up to `memory_bytes_max`, and blocks stay open only for
`decode_timeout_ns`.  Whatever a packet's id says, FEC never makes a link worse than it is without:
a source packet that cannot be followed is handed on unprotected.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stack.core.sansio import Trace, no_trace
from stack.core.train import FLOW_REPAIR, Train
from stack.fec.config import OVERHEAD_BYTES, FecConfig
from stack.fec.erasure import erasure_code
from stack.wire.fecframe import (
    ADUI_HEADER_BYTES,
    PAYLOAD_ID_BYTES,
    SBN_MODULUS,
    Ints,
    decode_payload_ids,
    valid_ids,
)

U8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SYMBOL_COLUMNS: Final = 256
"""Columns of the table for source symbols, and as many again for repair symbols: a block length
that somebody made up must not let the one shadow the other."""

FORGET_TIMEOUTS: Final = 8
"""After this many decode timeouts without a packet, a block number is used again: the sender has
restarted, and no packet of the old block is still on its way."""

ROW_BITS: Final = 32
NOT_KEPT: Final = -1

COUNTERS: Final = (
    "source_packets",
    "repair_packets",
    "delivered",
    "recovered",
    "duplicates",
    "malformed",
    "inconsistent",
    "unprotected",
    "late_repairs",
    "blocks_complete",
    "blocks_decoded",
    "blocks_failed",
    "blocks_evicted",
)


@dataclass(slots=True)
class _Segment:
    """Packets of one train, kept while open blocks use them; rows of `width`, the last one
    possibly shorter."""

    data: U8
    width: int
    users: int = 0


@dataclass(slots=True)
class _Block:
    """A block that is not complete yet."""

    sbn: int
    slot: int
    deadline: int
    usable: int = 0
    repair_k: int = 0
    symbol_bytes: int = 0
    serials: list[int] = field(default_factory=list)


class FecReceiver:
    """Takes both flows of a FECFRAME instance, and gives the datagrams of the source flow."""

    def __init__(self, config: FecConfig, trace: Trace = no_trace) -> None:
        self._config = config
        self._trace = trace
        self._code = erasure_code(config.engine)
        slots = config.blocks_max
        self._mask = slots - 1
        self._forget_ns = FORGET_TIMEOUTS * config.decode_timeout_ns
        self._sbn: Ints = np.full(slots, -1, np.int64)
        self._k: Ints = np.zeros(slots, np.int64)
        self._repair_k: Ints = np.full(slots, SYMBOL_COLUMNS, np.int64)
        self._touched: Ints = np.zeros(slots, np.int64)
        self._is_open: Mask = np.zeros(slots, np.bool_)
        self._have: Mask = np.zeros((slots, 2 * SYMBOL_COLUMNS), np.bool_)
        self._where: Ints = np.full((slots, 2 * SYMBOL_COLUMNS), NOT_KEPT, np.int64)
        self._open: OrderedDict[int, _Block] = OrderedDict()
        self._segments: dict[int, _Segment] = {}
        self._serial = 0
        self._held_bytes = 0
        self._counters = dict.fromkeys(COUNTERS, 0)

    def receive(self, train: Train, now: int) -> list[Train]:
        """Datagrams that this train brings: its own, and those that can be recovered now."""
        self._expire(now)
        data = np.frombuffer(train.data, np.uint8)
        size = min(train.size, data.size)
        if train.flow != FLOW_REPAIR:
            return self._source(data, size, now)
        full, tail = divmod(data.size, size)
        out = self._repair(data[: full * size].reshape(full, size), now) if full else []
        if tail:
            out += self._repair(data[full * size :].reshape(1, tail), now)
        return out

    def next_deadline(self) -> int | None:
        """When the oldest open block is given up, in monotonic nanoseconds."""
        for block in self._open.values():
            return block.deadline
        return None

    def handle_deadline(self, now: int) -> list[Train]:
        """Give up blocks whose time is over; no datagrams come of it."""
        self._expire(now)
        return []

    def counters(self) -> dict[str, int]:
        """Totals since the start, and `open_blocks` and `held_bytes` as they are now."""
        gauges = {"open_blocks": len(self._open), "held_bytes": self._held_bytes}
        return self._counters | gauges

    # Source packets

    def _source(self, data: U8, size: int, now: int) -> list[Train]:
        full, tail = divmod(data.size, size)
        short = 0 < tail < PAYLOAD_ID_BYTES
        if size < PAYLOAD_ID_BYTES or short:
            self._counters["malformed"] += full + 1 if size < PAYLOAD_ID_BYTES else 1
            if size < PAYLOAD_ID_BYTES or not full:
                return []
            data, tail = data[: full * size], 0
        rows = data[: full * size].reshape(full, size)
        ids = rows[:, -PAYLOAD_ID_BYTES:]
        if tail:
            ids = np.concatenate([ids, data[-PAYLOAD_ID_BYTES:].reshape(1, -1)])
        sbn, esi, k = decode_payload_ids(ids)
        self._counters["source_packets"] += sbn.size
        deliver, slot, code = self._sift(sbn, esi, k, now)
        width = size - PAYLOAD_ID_BYTES
        if deliver is None:
            count = sbn.size
            kept_rows, kept_tail = rows, tail
        else:
            count = int(deliver.sum())
            if not count:
                return []
            kept_rows = rows[deliver[:full]]
            kept_tail = tail if tail and deliver[-1] else 0
        filler = width == 0 or kept_tail == PAYLOAD_ID_BYTES
        adus = np.empty(kept_rows.shape[0] * width + max(0, kept_tail - PAYLOAD_ID_BYTES), np.uint8)
        body = kept_rows.shape[0] * width
        adus[:body].reshape(kept_rows.shape[0], width)[:] = kept_rows[:, :width]
        if kept_tail:
            adus[body:] = data[data.size - tail : -PAYLOAD_ID_BYTES]
        empty = (kept_rows.shape[0] if width == 0 else 0) + (kept_tail == PAYLOAD_ID_BYTES)
        self._counters["delivered"] += count - (empty if filler else 0)
        out = [Train(adus.data, width)] if adus.size else []
        return out + self._track(slot, code, _Segment(adus, width))

    def _sift(self, sbn: Ints, esi: Ints, k: Ints, now: int) -> tuple[Mask | None, Ints, Ints]:
        """Decide about source packets by their ids.

        Returns which of them to hand on (None: all), and for those to keep for decoding their
        slots and codes (serial of the segment, row among the packets handed on).
        """
        slot = sbn & self._mask
        fine = self._sbn[slot] == sbn
        fine &= self._k[slot] == k
        fine &= esi < np.minimum(k, self._repair_k[slot])
        fine &= self._touched[slot] + self._forget_ns > now
        fine &= ~self._have[slot, esi]
        base = self._serial << ROW_BITS
        code = np.arange(base, base + sbn.size)
        if fine.all():
            self._where[slot, esi] = code
            if (self._where[slot, esi] == code).all():  # no id twice within the train
                self._have[slot, esi] = True
                self._touched[slot] = now
                return None, slot, code
            self._where[slot, esi] = NOT_KEPT
        return self._sift_slowly(sbn, esi, k, now)

    def _sift_slowly(
        self, sbn: Ints, esi: Ints, k: Ints, now: int
    ) -> tuple[Mask | None, Ints, Ints]:
        """`_sift`, one packet at a time: blocks that begin, duplicates, strange ids."""
        count = self._counters
        base = self._serial << ROW_BITS
        deliver = np.zeros(sbn.size, np.bool_)
        slots: list[int] = []
        codes: list[int] = []
        row = 0
        for at, (number, symbol, length) in enumerate(
            zip(sbn.tolist(), esi.tolist(), k.tolist(), strict=True)
        ):
            slot = number & self._mask
            if not symbol < length < SYMBOL_COLUMNS:
                count["malformed"] += 1
                continue
            tracked = self._admit(number, length, now)
            if tracked and self._have[slot, symbol]:
                count["duplicates"] += 1
                continue
            deliver[at] = True
            if not tracked:
                count["unprotected"] += 1
            else:
                self._have[slot, symbol] = True
                if self._k[slot] == length and symbol < self._repair_k[slot]:
                    self._where[slot, symbol] = base + row
                    slots.append(slot)
                    codes.append(base + row)
                else:
                    self._where[slot, symbol] = NOT_KEPT
                    count["inconsistent"] += 1
            row += 1
        everything = None if deliver.all() else deliver
        return everything, np.array(slots, np.int64), np.array(codes, np.int64)

    def _admit(self, sbn: int, source_k: int, now: int) -> bool:
        """Whether block `sbn` has its slot, after opening it if it is new (`source_k` is 0 for a
        repair packet)."""
        slot = sbn & self._mask
        occupant = int(self._sbn[slot])
        idle_ns = now - int(self._touched[slot])
        if occupant == sbn and idle_ns < self._forget_ns:
            self._touched[slot] = now
            if not self._k[slot]:
                self._k[slot] = source_k
            return True
        older = occupant >= 0 and (sbn - occupant) % SBN_MODULUS >= SBN_MODULUS // 2
        if older and idle_ns <= self._config.decode_timeout_ns:
            return False
        if occupant in self._open:
            self._fail(self._open[occupant], "blocks_evicted")
        self._sbn[slot] = sbn
        self._k[slot] = source_k
        self._repair_k[slot] = SYMBOL_COLUMNS
        self._touched[slot] = now
        self._is_open[slot] = True
        self._have[slot] = False
        self._open[sbn] = _Block(sbn, slot, now + self._config.decode_timeout_ns)
        return True

    def _track(self, slot: Ints, code: Ints, segment: _Segment) -> list[Train]:
        """Keep a train for the open blocks that it serves, and finish those that it completes."""
        touched = [
            (self._open.get(int(self._sbn[number])), count)
            for number, count in _tally(slot)
            if self._is_open[number]
        ]
        serial = self._serial
        self._serial += 1
        held = [(block, count) for block, count in touched if block is not None]
        self._retain(serial, segment, [block for block, _ in held])
        out: list[Train] = []
        for block, count in held:
            block.usable += count
            if self._open.get(block.sbn) is block:
                out += self._settle(block)
        return out

    # Repair packets

    def _repair(self, rows: U8, now: int) -> list[Train]:
        """Packets of one size: id, then one repair symbol."""
        count = self._counters
        count["repair_packets"] += len(rows)
        symbol_bytes = rows.shape[1] - PAYLOAD_ID_BYTES
        longest = self._config.adu_bytes_max + OVERHEAD_BYTES - PAYLOAD_ID_BYTES
        if not ADUI_HEADER_BYTES <= symbol_bytes <= longest:
            count["malformed"] += len(rows)
            return []
        sbn, esi, k = decode_payload_ids(rows[:, :PAYLOAD_ID_BYTES])
        valid = valid_ids(esi, k, repair=True)
        if not valid.all():
            count["malformed"] += int((~valid).sum())
            rows, sbn, esi, k = rows[valid], sbn[valid], esi[valid], k[valid]
        slot = sbn & self._mask
        known = self._sbn[slot] == sbn
        if (known & ~self._is_open[slot]).all():  # nothing is missing any more
            count["late_repairs"] += len(rows)
            return []
        base = self._serial << ROW_BITS
        chosen: list[int] = []
        slots: list[int] = []
        codes: list[int] = []
        for at, (number, symbol, length) in enumerate(
            zip(sbn.tolist(), esi.tolist(), k.tolist(), strict=True)
        ):
            block = self._open.get(number) if self._admit(number, 0, now) else None
            if block is None:
                count["late_repairs"] += 1
            elif not self._agrees(block, length, symbol_bytes):
                count["inconsistent"] += 1
            elif self._have[block.slot, SYMBOL_COLUMNS + symbol]:
                count["duplicates"] += 1
            else:
                self._have[block.slot, SYMBOL_COLUMNS + symbol] = True
                self._where[block.slot, SYMBOL_COLUMNS + symbol] = base + len(chosen)
                slots.append(block.slot)
                codes.append(base + len(chosen))
                chosen.append(at)
        if not chosen:
            return []
        symbols = rows[chosen, PAYLOAD_ID_BYTES:]  # a copy: the caller's buffer is his own
        segment = _Segment(symbols.reshape(-1), symbol_bytes)
        return self._track(np.array(slots, np.int64), np.array(codes, np.int64), segment)

    def _agrees(self, block: _Block, k: int, symbol_bytes: int) -> bool:
        """Whether a repair packet's block and symbol length fit what is known of the block.

        The first repair packet decides.  Its k may be below that of the source packets, because
        the sender closed the block before it was full; but not below a symbol that was there.
        """
        if not block.repair_k:
            source_k = int(self._k[block.slot])
            if (source_k and k > source_k) or self._have[block.slot, k:SYMBOL_COLUMNS].any():
                return False
            block.repair_k = k
            block.symbol_bytes = symbol_bytes
            self._repair_k[block.slot] = k
        return block.repair_k == k and block.symbol_bytes == symbol_bytes

    # Blocks

    def _settle(self, block: _Block) -> list[Train]:
        """Close a block if all its source packets came, or decode it if that is possible now."""
        k = block.repair_k or int(self._k[block.slot])
        if block.usable < k:
            return []
        have = self._have[block.slot, :k]
        if have.all():
            self._counters["blocks_complete"] += 1
            self._release(block)
            return []
        if not block.repair_k:
            return []
        missing = np.flatnonzero(~have)
        symbols = self._collect(block)
        if symbols is None:
            self._counters["inconsistent"] += 1
            self._fail(block, "blocks_failed")
            return []
        recovered = self._code.recover(*symbols, missing.tolist())
        have[:] = True
        self._counters["blocks_decoded"] += 1
        self._trace("fec.decoded", {"sbn": block.sbn, "k": k, "missing": int(missing.size)})
        self._release(block)
        return self._adus(recovered)

    def _collect(self, block: _Block) -> tuple[U8, list[int]] | None:
        """k symbols of the block and their ids, source symbols first; None if an ADU is longer
        than the repair symbols allow."""
        k, symbol_bytes = block.repair_k, block.symbol_bytes
        where = self._where[block.slot]
        kept = self._have[block.slot] & (where != NOT_KEPT)
        source = np.flatnonzero(kept[:k])
        repair = np.flatnonzero(kept[SYMBOL_COLUMNS:])[: k - source.size]
        codes = np.concatenate([where[source], where[SYMBOL_COLUMNS + repair]])
        symbols = np.zeros((k, symbol_bytes), np.uint8)
        for serial in np.unique(codes >> ROW_BITS).tolist():
            at = np.flatnonzero(codes >> ROW_BITS == serial)
            rows = codes[at] & ((1 << ROW_BITS) - 1)
            segment = self._segments[serial]
            if at[0] >= source.size:
                symbols[at] = segment.data.reshape(-1, segment.width)[rows]
            elif not self._place(symbols, at, rows, segment):
                return None
        return symbols, source.tolist() + repair.tolist()

    def _place(self, symbols: U8, at: Ints, rows: Ints, segment: _Segment) -> bool:
        """Write ADU information (RFC 6865 §4.3) of a segment's rows into `symbols[at]`."""
        width = segment.width
        full = segment.data.size // width if width else 0
        lengths = np.where(rows < full, width, segment.data.size - full * width)
        if ADUI_HEADER_BYTES + int(lengths.max()) > symbols.shape[1]:
            return False
        symbols[at, 0] = self._config.flow_id
        symbols[at, 1] = lengths >> 8
        symbols[at, 2] = lengths & 0xFF
        whole = rows < full
        if width:
            packets = segment.data[: full * width].reshape(full, width)
            symbols[at[whole], ADUI_HEADER_BYTES : ADUI_HEADER_BYTES + width] = packets[rows[whole]]
        for index in at[~whole].tolist():
            tail = segment.data[full * width :]
            symbols[index, ADUI_HEADER_BYTES : ADUI_HEADER_BYTES + tail.size] = tail
        return True

    def _adus(self, recovered: U8) -> list[Train]:
        """Trains of the ADUs in recovered symbols; those that make no sense are only counted."""
        lengths = recovered[:, 1].astype(np.int64) << 8 | recovered[:, 2]
        body = recovered[:, ADUI_HEADER_BYTES:]
        padding = np.arange(body.shape[1]) >= lengths[:, None]
        sound = (recovered[:, 0] == self._config.flow_id) & (lengths <= body.shape[1])
        sound &= ~((body != 0) & padding).any(axis=1)
        self._counters["malformed"] += int((~sound).sum())
        sound &= lengths > 0  # an empty ADU only filled a short block
        body, lengths = body[sound], lengths[sound]
        self._counters["recovered"] += len(body)
        edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(body)]
        out: list[Train] = []
        for start, end in zip(edges, edges[1:], strict=False):
            if end > start:
                size = int(lengths[start])
                out.append(Train(body[start:end, :size].reshape(-1).data, size))
        return out

    def _retain(self, serial: int, segment: _Segment, users: list[_Block]) -> None:
        if not users:
            return
        segment.users = len(users)
        self._segments[serial] = segment
        self._held_bytes += segment.data.size
        for block in users:
            block.serials.append(serial)
        while self._held_bytes > self._config.memory_bytes_max:
            self._fail(next(iter(self._open.values())), "blocks_evicted")

    def _release(self, block: _Block) -> None:
        """The block needs no packets any more."""
        del self._open[block.sbn]
        self._is_open[block.slot] = False
        for serial in block.serials:
            segment = self._segments[serial]
            segment.users -= 1
            if not segment.users:
                self._held_bytes -= segment.data.size
                del self._segments[serial]

    def _fail(self, block: _Block, counter: str) -> None:
        self._counters[counter] += 1
        fields: dict[str, Any] = {"sbn": block.sbn, "usable": block.usable, "why": counter}
        self._trace("fec.block_lost", fields)
        self._release(block)

    def _expire(self, now: int) -> None:
        while self._open:
            block = next(iter(self._open.values()))
            if now < block.deadline:
                return
            self._fail(block, "blocks_failed")


def _tally(slot: Ints) -> list[tuple[int, int]]:
    """Each slot that occurs, with how often."""
    values, counts = np.unique(slot, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
