"""Which packets of which source blocks a receiver has, and the packets themselves.

Packets come in runs of consecutive symbol ids, and a set of symbols is one integer, so that a
whole run costs a few operations.  Nothing grows without a bound: the table has one slot for every
`sbn % blocks_max`; packets are kept only for open blocks, up to `memory_bytes_max`; and blocks
stay open only for `decode_timeout_ns`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from stack.fec.config import FecConfig
from stack.fec.gf256 import U8
from stack.wire.fecframe import ADUI_HEADER_BYTES, SBN_MODULUS, Ints, Run, fits

FORGET_TIMEOUTS: Final = 8
"""After this many decode timeouts without a packet, a block number is used again: the sender has
restarted, and no packet of the old block is still on its way."""


@dataclass(slots=True)
class Segment:
    """Packets of one train, kept while open blocks use them: rows of `width` octets, the last one
    possibly shorter."""

    data: U8
    width: int
    users: int = 0


@dataclass(slots=True)
class Block:
    """What is known of a block.  Sets of symbols have bit `esi` set."""

    sbn: int
    deadline: int
    touched: int
    is_open: bool = True
    source_k: int = 0
    """Block length in the source packets; 0 until one comes."""

    repair_k: int = 0
    """Block length in the repair packets, which decides; 0 until one comes."""

    symbol_bytes: int = 0
    """Length of the repair symbols, which every symbol of the block has when padded."""

    handed_on: int = 0
    """Source packets that must not be handed on again."""

    usable: int = 0
    """Source and repair packets that are kept for decoding."""

    attempts: int = 0
    """How often it was decoded in vain."""

    pieces: list[tuple[Segment, Run]] = field(default_factory=list)

    @property
    def k(self) -> int:
        """The block length, as far as it is known."""
        return self.repair_k or self.source_k


class BlockTable:
    """The memory of a receiver.  `lost(block, counter)` is called for every block given up."""

    def __init__(self, config: FecConfig, lost: Callable[[Block, str], None]) -> None:
        self._config = config
        self._lost = lost
        self._slots: list[Block | None] = [None] * config.blocks_max
        self._forget_ns = FORGET_TIMEOUTS * config.decode_timeout_ns
        self.open: OrderedDict[int, Block] = OrderedDict()
        self.held_bytes = 0

    def find(self, sbn: int, now: int) -> Block | None:
        """The block `sbn`, begun anew if need be; None if its slot belongs to a newer one."""
        at = sbn % len(self._slots)
        block = self._slots[at]
        if block is not None:
            idle_ns = now - block.touched
            if block.sbn == sbn and idle_ns < self._forget_ns:
                block.touched = now
                return block
            older = (sbn - block.sbn) % SBN_MODULUS >= SBN_MODULUS // 2
            if older and idle_ns <= self._config.decode_timeout_ns:
                return None
            if block.is_open:
                self.fail(block, "blocks_evicted")
        block = Block(sbn, now + self._config.decode_timeout_ns, now)
        self._slots[at] = self.open[sbn] = block
        return block

    def take_source(self, run: Run, now: int) -> tuple[str, Block | None]:
        """Note source packets as handed on.  The verdict is one of

        "kept"          all are new; they are to be given to `keep` with the block
        "unprotected"   the block is not tracked
        "inconsistent"  the ids contradict others of the block: they cannot serve for decoding
        "duplicates"    handed on before (a run of one packet)
        "malformed"     there are no such ids (a run of one packet)
        "split"         not all alike: ask again for each packet
        """
        many = run.rows.size > 1
        if not fits(run, repair=False):
            return ("split" if many else "malformed"), None
        block = self.find(run.sbn, now)
        if block is None:
            return "unprotected", None
        symbols = _bits(run)
        if block.handed_on & symbols:
            return ("split" if many else "duplicates"), None
        block.handed_on |= symbols
        if not block.source_k:
            block.source_k = run.k
        if run.k != block.source_k or run.esi + run.rows.size > block.k:
            return "inconsistent", None
        block.usable |= symbols
        return "kept", block

    def take_repair(self, run: Run, symbol_bytes: int, now: int) -> tuple[str, Block | None]:
        """Note repair packets, with the verdicts of `take_source` or "late_repairs": nothing is
        missing any more, or never will be known to be."""
        many = run.rows.size > 1
        if not fits(run, repair=True):
            return ("split" if many else "malformed"), None
        block = self.find(run.sbn, now)
        if block is None or not block.is_open:
            return "late_repairs", None
        if not _agree(block, run.k, symbol_bytes):
            return "inconsistent", None
        symbols = _bits(run)
        if block.usable & symbols:
            return ("split" if many else "duplicates"), None
        block.usable |= symbols
        return "kept", block

    def keep(self, segment: Segment, taken: list[tuple[Block, Run]]) -> None:
        """Keep the packets of a train for the open blocks that they serve."""
        for block, run in taken:
            if block.is_open:
                block.pieces.append((segment, run))
                segment.users += 1
        if segment.users:
            self.held_bytes += segment.data.size

    def trim(self) -> None:
        """Give up the oldest blocks until their packets fit the memory allowed."""
        while self.held_bytes > self._config.memory_bytes_max:
            self.fail(next(iter(self.open.values())), "blocks_evicted")

    def symbols(self, block: Block, without: int = 0) -> tuple[U8, list[int]] | None:
        """k symbols of a block that has as many, and their ids; None if an ADU is longer than the
        repair symbols allow.  Repair symbols stand in for the source symbols that are not there,
        or are in the set `without`.
        """
        k = block.repair_k
        symbols = np.zeros((k, block.symbol_bytes), np.uint8)
        ids = list(range(k))
        usable = block.usable & ~without
        free = iter([esi for esi in ids if not usable >> esi & 1])
        for segment, run in sorted(block.pieces, key=lambda piece: piece[1].esi >= k):
            if run.esi < k:
                target = symbols[run.esi : run.esi + run.rows.size]
                if not self._place(target, segment, run.rows):
                    return None
                continue
            packets = segment.data.reshape(-1, segment.width)
            for esi, row in enumerate(run.rows.tolist(), run.esi):
                if without >> esi & 1:
                    continue
                at = next(free, None)
                if at is None:
                    break
                symbols[at] = packets[row]
                ids[at] = esi
        return symbols, ids

    def sources(self, block: Block) -> Iterator[tuple[int, memoryview]]:
        """The source packets kept for a block, by their symbol ids."""
        for segment, run in block.pieces:
            if run.esi < block.k:
                view = segment.data.data
                for esi, row in enumerate(run.rows.tolist(), run.esi):
                    yield esi, view[row * segment.width : (row + 1) * segment.width]

    def _place(self, target: U8, segment: Segment, rows: Ints) -> bool:
        """Write the ADU information (RFC 6865 §4.3) of a segment's rows."""
        width = segment.width
        full = segment.data.size // width if width else 0
        tail = segment.data[full * width :]
        whole = rows < full
        lengths = np.where(whole, width, tail.size)
        if ADUI_HEADER_BYTES + int(lengths.max()) > target.shape[1]:
            return False
        target[:, 0] = self._config.flow_id
        target[:, 1] = lengths >> 8
        target[:, 2] = lengths & 0xFF
        if whole.any():
            packets = segment.data[: full * width].reshape(full, width)
            target[whole, ADUI_HEADER_BYTES : ADUI_HEADER_BYTES + width] = packets[rows[whole]]
        target[~whole, ADUI_HEADER_BYTES : ADUI_HEADER_BYTES + tail.size] = tail
        return True

    def finish(self, block: Block) -> None:
        """All source packets have been handed on; later copies of them are duplicates."""
        block.handed_on |= (1 << block.k) - 1
        self._release(block)

    def fail(self, block: Block, counter: str) -> None:
        """Give a block up; source packets of it that still come are handed on all the same."""
        self._lost(block, counter)
        self._release(block)

    def expire(self, now: int) -> None:
        """Give up the blocks whose time is over."""
        while self.open:
            block = next(iter(self.open.values()))
            if now < block.deadline:
                return
            # Without a repair packet the end of a short block is not known: nothing may be missing.
            gap = block.handed_on & (block.handed_on + 1)
            unsure = not block.repair_k and not gap
            self.fail(block, "blocks_unfinished" if unsure else "blocks_failed")

    def _release(self, block: Block) -> None:
        del self.open[block.sbn]
        block.is_open = False
        for segment, _ in block.pieces:
            segment.users -= 1
            if not segment.users:
                self.held_bytes -= segment.data.size
        block.pieces = []


def _bits(run: Run) -> int:
    return ((1 << run.rows.size) - 1) << run.esi


def _agree(block: Block, k: int, symbol_bytes: int) -> bool:
    """Whether repair packets' block and symbol length fit what is known of the block.

    The first repair packet decides.  Its k may be below that of the source packets, because the
    sender closed the block before it was full; but not below a symbol that was there.
    """
    if not block.repair_k:
        if (block.source_k and k > block.source_k) or block.handed_on >> k:
            return False
        block.repair_k = k
        block.symbol_bytes = symbol_bytes
    return block.repair_k == k and block.symbol_bytes == symbol_bytes
