"""The receiving side of FECFRAME (RFC 6363 §4.3) with the simple Reed-Solomon scheme (RFC 6865).

Source packets are handed on at once, without their payload ids; nothing is decoded, and nothing
is copied a second time, unless packets are missing and enough repair packets have come.
Whatever the id of a packet says, FEC never makes a link worse than it is without: a source packet
that cannot be followed is handed on unprotected.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from stack.core.sansio import Trace, no_trace
from stack.core.train import FLOW_REPAIR, Train
from stack.fec.blocks import BlockTable, RepairClaim, Segment, SourceBlock
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.fec.gf256 import U8
from stack.wire.fecframe import (
    ADUI_HEADER_BYTES,
    PAYLOAD_ID_BYTES,
    PacketRun,
    decode_runs,
    split_run,
)

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
    "blocks_poisoned",
    "blocks_failed",
    "blocks_unfinished",
    "blocks_evicted",
)


ATTEMPTS_MAX: Final = 64
"""Decodings in vain of one block: bounds the work that wrong symbols cause."""


class FecReceiver:
    """Takes both flows of a FECFRAME instance, and gives the datagrams of the source flow."""

    def __init__(
        self,
        config: FecConfig,
        trace: Trace = no_trace,
        codes: SharedCodes | None = None,
        genuine: Callable[[memoryview], bool] | None = None,
    ) -> None:
        """`genuine` says whether a datagram is authentic, where the layer above can tell; without
        it, a recovered one is judged by its ADU information alone."""
        self._config = config
        self._trace = trace
        self._code = (codes or SharedCodes()).code(config.engine)
        self._counters = dict.fromkeys(COUNTERS, 0)
        self.judge(genuine)

    def judge(self, genuine: Callable[[memoryview], bool] | None) -> None:
        """Judge datagrams by `genuine` from now on.  Blocks that are open are given up: nothing
        more is recovered of them."""
        self._genuine = genuine
        self._table = BlockTable(self._config, self._lost, judged=genuine is not None)

    def receive(self, train: Train, now: int) -> list[Train]:
        """Datagrams that this train brings: its own, and those that can be recovered now."""
        self._table.expire(now)
        data = np.frombuffer(train.data, np.uint8)
        size = min(train.size, data.size)
        if size < 1:  # an empty datagram, which a link may let through
            self._counters["malformed"] += 1
            return []
        if train.flow != FLOW_REPAIR:
            return self._source(data, size, now)
        full, tail = divmod(data.size, size)
        out = self._repair(data[: full * size].reshape(full, size), now)
        if tail:
            out += self._repair(data[full * size :].reshape(1, tail), now)
        return out

    def next_deadline(self) -> int | None:
        """When the oldest open block is given up, in monotonic nanoseconds."""
        for block in self._table.open.values():
            return block.deadline
        return None

    def handle_deadline(self, now: int) -> list[Train]:
        """Give up blocks whose time is over; no datagrams come of it."""
        self._table.expire(now)
        return []

    def counters(self) -> dict[str, int]:
        """Totals since the start, and `open_blocks` and `held_bytes` as they are now."""
        table = self._table
        return self._counters | {"open_blocks": len(table.open), "held_bytes": table.held_bytes}

    def _source(self, data: U8, size: int, now: int) -> list[Train]:
        """Source packets: an ADU and a payload id each (RFC 6363 §5.3)."""
        full, tail = divmod(data.size, size)
        if size < PAYLOAD_ID_BYTES:
            self._counters["malformed"] += full + (tail > 0)
            return []
        rows = data[: full * size].reshape(full, size)
        last = data[full * size :] if tail >= PAYLOAD_ID_BYTES else data[:0]
        self._counters["malformed"] += 0 < tail < PAYLOAD_ID_BYTES
        ids = rows[:, -PAYLOAD_ID_BYTES:]
        if last.size:
            ids = np.concatenate([ids, last[-PAYLOAD_ID_BYTES:].reshape(1, -1)])
        runs = decode_runs(ids)
        self._counters["source_packets"] += len(ids)
        view = data.data

        def adu(row: int) -> memoryview:
            end = min((row + 1) * size, data.size)
            return view[row * size : end - PAYLOAD_ID_BYTES]

        dropped, taken = self._sift(runs, adu, now)
        if dropped:
            deliver = np.ones(len(ids), np.bool_)
            deliver[dropped] = False
            row = np.cumsum(deliver) - 1  # rows of the packets that are left
            taken = [(block, run._replace(rows=row[run.rows])) for block, run in taken]
            rows = rows[deliver[:full]]
            last = last if deliver[-1] else last[:0]
        width = size - PAYLOAD_ID_BYTES
        body = len(rows) * width
        adus = np.empty(body + max(0, last.size - PAYLOAD_ID_BYTES), np.uint8)
        adus[:body].reshape(len(rows), width)[:] = rows[:, :width]
        adus[body:] = last[:-PAYLOAD_ID_BYTES]
        # An ADU without octets only fills up a block that ended early.
        self._counters["delivered"] += (len(rows) if width else 0) + (adus.size > body)
        out = [Train(adus.data, width)] if adus.size else []
        return out + self._track(Segment(adus, width), taken)

    def _sift(
        self, runs: list[PacketRun], adu: Callable[[int], memoryview], now: int
    ) -> tuple[list[int], list[tuple[SourceBlock, PacketRun]]]:
        """Decide about source packets by their ids: which packets of the train to drop, and which
        runs to keep for decoding their blocks."""
        dropped: list[int] = []
        taken: list[tuple[SourceBlock, PacketRun]] = []
        for run in runs:  # grows while it is read: what is split goes to the end
            verdict, block = self._table.take_source(run, now)
            if verdict == "duplicates" and self._genuine:
                octets = adu(int(run.rows[0]))
                # The link doubles packets too: of those that are alike one is handed on.
                held = self._table.held(run) or _beside(taken, run, adu)
                if held != octets and self._genuine(octets):
                    verdict, block = self._table.take_again(run, now)
            if block is not None:
                taken.append((block, run))
            elif verdict == "split":
                runs += split_run(run)
            else:
                self._counters[verdict] += run.rows.size
                if verdict in ("malformed", "duplicates"):
                    dropped += run.rows.tolist()
        return dropped, taken

    def _repair(self, rows: U8, now: int) -> list[Train]:
        """Repair packets of one size: payload id, then one repair symbol (RFC 6363 §5.4)."""
        self._counters["repair_packets"] += len(rows)
        symbol_bytes = rows.shape[1] - PAYLOAD_ID_BYTES
        if not 0 <= symbol_bytes - ADUI_HEADER_BYTES <= self._config.adu_bytes_max:
            self._counters["malformed"] += len(rows)
            return []
        taken: list[tuple[SourceBlock, PacketRun]] = []
        runs = decode_runs(rows[:, :PAYLOAD_ID_BYTES])
        for run in runs:  # grows while it is read: what is split goes to the end
            verdict, block = self._table.take_repair(run, symbol_bytes, now)
            if block is not None:
                taken.append((block, run))
            elif verdict == "split":
                runs += split_run(run)
            else:
                self._counters[verdict] += run.rows.size
        if not taken:
            return []
        symbols = rows[:, PAYLOAD_ID_BYTES:].reshape(-1)  # a copy: the buffer is the caller's
        return self._track(Segment(symbols, symbol_bytes), taken)

    def _track(self, segment: Segment, taken: list[tuple[SourceBlock, PacketRun]]) -> list[Train]:
        """Keep packets for the open blocks that they serve; finish blocks that they complete."""
        self._table.keep(segment, taken)
        out: list[Train] = []
        for block, _ in taken:
            if block.is_open:
                out += self._finish_or_decode(block)
        self._table.trim()
        return out

    def _finish_or_decode(self, block: SourceBlock) -> list[Train]:
        """Close a block if all its source packets came, or decode it if that is possible now."""
        if self._table.is_complete(block):
            self._counters["blocks_complete"] += 1
            self._table.finish(block, block.k)
            return []
        for claim in block.claims:
            missing = ~block.handed_on & (1 << claim.k) - 1
            enough = block.usable(claim).bit_count() >= claim.k
            if not missing or not enough or claim.attempts >= ATTEMPTS_MAX:
                continue
            adus = self._decode(block, claim)
            if adus is not None:
                self._counters["blocks_decoded"] += 1
                fields = {"sbn": block.sbn, "k": claim.k, "missing": missing.bit_count()}
                self._trace("fec.decoded", fields)
                self._table.finish(block, claim.k)
                return adus
            if not block.is_open:
                break
        return []  # what still comes may help; nothing wrong is handed on

    def _decode(self, block: SourceBlock, claim: RepairClaim) -> list[Train] | None:
        """The ADUs of a block that were not handed on, or were not genuine, if `claim` is true;
        None if they cannot be had.

        If a symbol is wrong, the block is decoded again without the source packets that are not
        genuine, and without one repair symbol after the other.
        """
        genuine = self._genuine
        adus = self._attempt(block, claim, 0)
        if adus is not None:
            return adus
        if genuine is None and self._table.symbols(block, claim) is None:
            self._counters["inconsistent"] += 1
            self._table.fail(block, "blocks_failed")
            return None
        self._counters["blocks_poisoned"] += not any(other.attempts for other in block.claims)
        bad = 0
        if genuine is not None:
            for esi, adu in self._table.source_packets(block):
                bad |= (len(adu) > 0 and not genuine(adu)) << esi
        repairs = [1 << esi for esi in range(claim.k, 255) if claim.repairs >> esi & 1]
        for without in (bad, *(bad | repair for repair in repairs)):
            if claim.attempts >= ATTEMPTS_MAX:
                return None
            if not without or (block.usable(claim) & ~without).bit_count() < claim.k:
                continue
            claim.attempts += 1
            adus = self._attempt(block, claim, without)
            if adus is not None:
                return adus
        claim.attempts += 1
        return None

    def _attempt(self, block: SourceBlock, claim: RepairClaim, without: int) -> list[Train] | None:
        """Decode without some of the symbols; None if what comes out cannot be right."""
        symbols = self._table.symbols(block, claim, without)
        if symbols is None:
            return None
        fine = block.handed_on & ~without
        missing = [esi for esi in range(claim.k) if not fine >> esi & 1]
        adus = self._adus(self._code.recover(*symbols, missing))
        if adus is not None and self._genuine is not None:
            block.authentic |= (
                1 << claim.k
            ) - 1  # one wrong symbol would have spoilt what came out
        return adus

    def _adus(self, recovered: U8) -> list[Train] | None:
        """Trains of the ADUs in recovered symbols; None if any of them is wrong, since then all of
        them may be: one wrong symbol spoils every one that is recovered with it."""
        lengths = recovered[:, 1].astype(np.int64) << 8 | recovered[:, 2]
        body = recovered[:, ADUI_HEADER_BYTES:]
        padding = np.arange(body.shape[1]) >= lengths[:, None]
        sound = (recovered[:, 0] == self._config.flow_id) & (lengths <= body.shape[1])
        sound &= ~((body != 0) & padding).any(axis=1)
        if not sound.all():
            return None
        sound = lengths > 0
        body, lengths = body[sound], lengths[sound]
        edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(body)]
        out: list[Train] = []
        for start, end in itertools.pairwise(edges):
            if end > start:
                size = int(lengths[start])
                out.append(Train(body[start:end, :size].reshape(-1).data, size))
        genuine = self._genuine
        if genuine is not None and not all(
            genuine(adu) for train in out for adu in train.datagrams()
        ):
            return None
        self._counters["recovered"] += len(body)
        return out

    def _lost(self, block: SourceBlock, counter: str) -> None:
        self._counters[counter] += 1
        if counter == "blocks_complete":
            return
        fields: dict[str, Any] = {
            "sbn": block.sbn,
            "packets": block.packets(),
            "why": counter,
        }
        self._trace("fec.block_lost", fields)


def _beside(
    taken: list[tuple[SourceBlock, PacketRun]], one: PacketRun, adu: Callable[[int], memoryview]
) -> memoryview | None:
    """What the same train has brought as the packet of a run of one."""
    for _, run in reversed(taken):
        at = one.esi - run.esi
        if run.sbn == one.sbn and 0 <= at < run.rows.size:
            return adu(int(run.rows[at]))
    return None
