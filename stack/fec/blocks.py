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
from stack.wire.fecframe import ADUI_HEADER_BYTES, SBN_MODULUS, Ints, PacketRun, fits, split_run

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


CLAIMS_MAX: Final = 4
"""Block and symbol lengths that a receiver tries for one block, where it can tell which is true."""


@dataclass(slots=True)
class RepairClaim:
    """What repair packets say of their block, and those that say the same."""

    k: int
    symbol_bytes: int
    """Length of the repair symbols, which every symbol of the block has when padded."""

    repairs: int = 0
    """Repair packets that are kept for decoding."""

    attempts: int = 0
    """How often it was decoded in vain."""


@dataclass(slots=True)
class SourceBlock:
    """What is known of a block.  Sets of symbols have bit `esi` set."""

    sbn: int
    deadline: int
    touched: int
    is_open: bool = True
    source_k: int = 0
    """Block length in the source packets; 0 until one comes."""

    claims: list[RepairClaim] = field(default_factory=list)
    """What repair packets say, the first one's claim first."""

    handed_on: int = 0
    """Source packets that must not be handed on again."""

    sources: int = 0
    """Source packets that are kept for decoding."""

    authentic: int = 0
    """Source packets of which an authentic one has been handed on."""

    pieces: list[tuple[Segment, PacketRun]] = field(default_factory=list)

    @property
    def k(self) -> int:
        """The block length, as far as it is known: the repair packets decide."""
        return self.claims[0].k if self.claims else self.source_k

    def usable(self, claim: RepairClaim) -> int:
        """Source and repair packets from which the block can be decoded if `claim` is true."""
        return self.sources & (1 << claim.k) - 1 | claim.repairs

    def packets(self) -> int:
        """Packets that are kept for decoding."""
        return self.sources.bit_count() + sum(claim.repairs.bit_count() for claim in self.claims)


class BlockTable:
    """The memory of a receiver.  `lost(block, counter)` is called for every block whose
    time or room is over.

    `judged`: what is decoded will be proven authentic or not.  Then no id is believed for being
    first: source packets are kept whatever block length they name, and up to `CLAIMS_MAX` claims
    of the repair packets beside each other."""

    def __init__(
        self, config: FecConfig, lost: Callable[[SourceBlock, str], None], judged: bool = False
    ) -> None:
        self._config = config
        self._judged = judged
        self._lost = lost
        self._slots: list[SourceBlock | None] = [None] * config.blocks_max
        self._forget_ns = FORGET_TIMEOUTS * config.decode_timeout_ns
        self.open: OrderedDict[int, SourceBlock] = OrderedDict()
        self.held_bytes = 0

    def find(self, sbn: int, now: int) -> SourceBlock | None:
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
        block = SourceBlock(sbn, now + self._config.decode_timeout_ns, now)
        self._slots[at] = self.open[sbn] = block
        return block

    def take_source(self, run: PacketRun, now: int) -> tuple[str, SourceBlock | None]:
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
        if not block.source_k or (self._judged and run.k > block.source_k):
            block.source_k = run.k
        known = run.k == block.source_k and run.esi + run.rows.size <= block.k
        if not (known or self._judged):
            return "inconsistent", None
        block.sources |= symbols
        return "kept", block

    def held(self, one: PacketRun) -> memoryview | None:
        """The packet that an open block keeps as the source packet of a run of one."""
        block = self.open.get(one.sbn)
        for segment, run in block.pieces if block else ():
            at = one.esi - run.esi
            if not _is_repair(run) and 0 <= at < run.rows.size:
                return _packet(segment, int(run.rows[at]))
        return None

    def take_again(self, run: PacketRun, now: int) -> tuple[str, SourceBlock | None]:
        """Note a source packet (a run of one) that has the id of one handed on before, but is
        authentic, which the other may not have been.  The verdicts are those of `take_source`;
        "duplicates" if the block has seen an authentic one."""
        block = self.find(run.sbn, now)
        symbol = _bits(run)
        if block is None or block.authentic & symbol:
            return "duplicates", None
        block.authentic |= symbol
        block.sources |= symbol
        return "kept", block

    def take_repair(
        self, run: PacketRun, symbol_bytes: int, now: int
    ) -> tuple[str, SourceBlock | None]:
        """Note repair packets, with the verdicts of `take_source` or "late_repairs": nothing is
        missing any more, or never will be known to be."""
        many = run.rows.size > 1
        if not fits(run, repair=True):
            return ("split" if many else "malformed"), None
        block = self.find(run.sbn, now)
        if block is None or not block.is_open:
            return "late_repairs", None
        claim = self._claim(block, run.k, symbol_bytes)
        if claim is None:
            return "inconsistent", None
        symbols = _bits(run)
        if claim.repairs & symbols:
            return ("split" if many else "duplicates"), None
        claim.repairs |= symbols
        return "kept", block

    def _claim(self, block: SourceBlock, k: int, symbol_bytes: int) -> RepairClaim | None:
        """The claim of a repair packet, if it can be true as far as is known.

        Its k may be below that of the source packets, because the sender closed the block before
        it was full; but not below a symbol that was there.  Unless the outcome is judged, the first
        repair packet decides.
        """
        for claim in block.claims:
            if (claim.k, claim.symbol_bytes) == (k, symbol_bytes):
                return claim
        wrong = (block.source_k and k > block.source_k) or block.handed_on >> k
        if (len(block.claims) >= CLAIMS_MAX) if self._judged else (block.claims or wrong):
            return None
        block.claims.append(RepairClaim(k, symbol_bytes))
        return block.claims[-1]

    def keep(self, segment: Segment, taken: list[tuple[SourceBlock, PacketRun]]) -> None:
        """Keep the packets of a train for the open blocks that they serve."""
        for block, run in taken:
            if block.is_open:
                segment.users += 1
                if not _is_repair(run) and block.authentic & _bits(run):
                    self._displace(block, run.esi)
                block.pieces.append((segment, run))
        if segment.users:
            self.held_bytes += segment.data.size

    def _displace(self, block: SourceBlock, esi: int) -> None:
        """Let go of the packet that is kept as symbol `esi`, for an authentic one."""
        pieces = block.pieces
        block.pieces = []
        for segment, run in pieces:
            at = esi - run.esi
            if _is_repair(run) or not 0 <= at < run.rows.size:
                block.pieces.append((segment, run))
                continue
            before, after = run._replace(rows=run.rows[:at]), run.rows[at + 1 :]
            left = [before, run._replace(esi=esi + 1, rows=after)]
            block.pieces += [(segment, part) for part in left if part.rows.size]
            self._unuse(segment, 1 - sum(part.rows.size > 0 for part in left))

    def trim(self) -> None:
        """Give up the oldest blocks until their packets fit the memory allowed."""
        while self.held_bytes > self._config.memory_bytes_max:
            self.fail(next(iter(self.open.values())), "blocks_evicted")

    def symbols(
        self, block: SourceBlock, claim: RepairClaim, without: int = 0
    ) -> tuple[U8, list[int]] | None:
        """k symbols of a block that has as many, and their ids, if `claim` is true; None if an ADU
        is longer than the repair symbols allow.  Repair symbols stand in for the source symbols
        that are not there, or are in the set `without`.
        """
        k = claim.k
        symbols = np.zeros((k, claim.symbol_bytes), np.uint8)
        ids = list(range(k))
        usable = block.usable(claim) & ~without
        free = iter([esi for esi in ids if not usable >> esi & 1])
        left_out = without | -1 << k
        for segment, run in sorted(block.pieces, key=lambda piece: _is_repair(piece[1])):
            if not _is_repair(run):
                for part in split_run(run) if left_out & _bits(run) else [run]:
                    target = symbols[part.esi : part.esi + part.rows.size]
                    if not (left_out & _bits(part) or self._place(target, segment, part.rows)):
                        return None
                continue
            if (run.k, segment.width) != (k, claim.symbol_bytes):
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

    def source_packets(self, block: SourceBlock) -> Iterator[tuple[int, memoryview]]:
        """The source packets kept for a block, by their symbol ids."""
        for segment, run in block.pieces:
            if not _is_repair(run):
                for esi, row in enumerate(run.rows.tolist(), run.esi):
                    yield esi, _packet(segment, row)

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

    def is_complete(self, block: SourceBlock) -> bool:
        """Whether all source packets have been handed on, whoever is right about their number."""
        k = max(block.k, block.source_k) if self._judged else block.k
        return not ~block.handed_on & (1 << k) - 1

    def finish(self, block: SourceBlock, k: int) -> None:
        """All k source packets have been handed on; later copies of them are duplicates."""
        block.handed_on |= (1 << k) - 1
        self._release(block)

    def fail(self, block: SourceBlock, counter: str) -> None:
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
            missing = gap or (block.claims and ~block.handed_on & (1 << block.k) - 1)
            whole = "blocks_complete" if block.claims else "blocks_unfinished"
            self.fail(block, "blocks_failed" if missing else whole)

    def _release(self, block: SourceBlock) -> None:
        del self.open[block.sbn]
        block.is_open = False
        for segment, _ in block.pieces:
            self._unuse(segment, 1)
        block.pieces = []

    def _unuse(self, segment: Segment, users: int) -> None:
        segment.users -= users
        if not segment.users:
            self.held_bytes -= segment.data.size


def _packet(segment: Segment, row: int) -> memoryview:
    view: memoryview = segment.data.data
    return view[row * segment.width : (row + 1) * segment.width]


def _bits(run: PacketRun) -> int:
    return ((1 << run.rows.size) - 1) << run.esi


def _is_repair(run: PacketRun) -> bool:
    return run.esi >= run.k
