"""The sending side of FECFRAME (RFC 6363 §4.2) with the simple Reed-Solomon scheme (RFC 6865).

Source packets leave at once; what is kept is their ADU information, in the order in which blocks
take them in turn.  The symbols of all interleaved blocks then lie side by side in one array, and
one pass of the code makes the repair packets of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from stack.core.errors import LocalError
from stack.core.sansio import Trace, no_trace
from stack.core.train import FLOW_REPAIR, Train
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.wire.fecframe import ADUI_HEADER_BYTES, PAYLOAD_ID_BYTES, SBN_MODULUS, encode_payload_ids

U8 = npt.NDArray[np.uint8]


class FecSender:
    """Protects one flow of datagrams, without any input or output of its own.

    `first_sbn` is the number of the first block.  Give a random one: a receiver that outlives a
    restart of this sender would otherwise take its new packets for duplicates of the old.
    """

    def __init__(
        self,
        config: FecConfig,
        trace: Trace = no_trace,
        first_sbn: int = 0,
        codes: SharedCodes | None = None,
    ) -> None:
        self._config = config
        self._trace = trace
        self._code = (codes or SharedCodes()).code(config.engine)
        self._capacity = config.k * config.interleave
        self._sbn = first_sbn % SBN_MODULUS
        self._symbols: U8 = np.empty((0, 0), np.uint8)
        self._ids: U8 = np.empty((0, PAYLOAD_ID_BYTES), np.uint8)
        self._used = 0
        self._deadline: int | None = None
        self._counters = {
            "source_packets": 0,
            "repair_packets": 0,
            "filler_packets": 0,
            "blocks": 0,
            "short_blocks": 0,
        }

    def protect(self, trains: Iterable[Train], now: int) -> list[Train]:
        """The trains with payload ids appended, and repair trains where blocks became full.

        Raises LocalError, before anything changes, for a datagram above `adu_bytes_max`.
        """
        trains = list(trains)
        limit = self._config.adu_bytes_max
        for train in trains:
            if min(train.size, len(train.data)) > limit:
                raise LocalError(f"datagram of {train.size} octets to protect, limit {limit}")
        out: list[Train] = []
        for train in trains:
            data = np.frombuffer(train.data, np.uint8)
            size = min(train.size, data.size)
            taken = 0
            while taken < data.size:
                if not self._used:
                    self._begin(size, now)
                chunk = data[taken : taken + (self._capacity - self._used) * size]
                taken += chunk.size
                out.append(self._source(chunk, size))
                if self._used == self._capacity:
                    out.extend(self._close())
        return out

    def flush(self, now: int) -> list[Train]:
        """Close the blocks that are open, and return their repair trains."""
        del now
        if not self._used:
            return []
        self._counters["short_blocks"] += min(self._used, self._config.interleave)
        filler = self._fill() if self._config.fill_short_blocks else []
        return filler + self._close()

    def next_deadline(self) -> int | None:
        """When the open blocks must be closed, in monotonic nanoseconds."""
        return self._deadline

    def handle_deadline(self, now: int) -> list[Train]:
        """Repair trains of the open blocks, if their time is up."""
        if self._deadline is None or now < self._deadline:
            return []
        out = self.flush(now)
        self._symbols = np.empty((0, 0), np.uint8)  # the link is idle, maybe until the next pass
        return out

    def counters(self) -> dict[str, int]:
        """Totals since the start."""
        return dict(self._counters)

    def _begin(self, size: int, now: int) -> None:
        """Start a set of `interleave` blocks: slot t is symbol t // interleave of block
        t % interleave."""
        config = self._config
        shape = (self._capacity, ADUI_HEADER_BYTES + size)
        if self._symbols.shape != shape and config.r:
            self._symbols = np.empty(shape, np.uint8)
        slot = np.arange(self._capacity, dtype=np.int64)
        esi, block = np.divmod(slot, config.interleave)
        self._ids = encode_payload_ids((self._sbn + block) % SBN_MODULUS, esi, config.k)
        self._deadline = now + config.block_time_ns

    def _source(self, chunk: U8, size: int) -> Train:
        """Source packets: payload id at the end (RFC 6363 §5.3)."""
        full, tail = divmod(chunk.size, size)
        count = full + (tail > 0)
        ids = self._ids[self._used : self._used + count]
        width = size + PAYLOAD_ID_BYTES
        encoded = np.empty(chunk.size + count * PAYLOAD_ID_BYTES, np.uint8)
        if full:
            rows = encoded[: full * width].reshape(full, width)
            adus = chunk[: full * size].reshape(full, size)
            rows[:, :size] = adus
            rows[:, size:] = ids[:full]
            self._keep(adus)
        if tail:
            last = encoded[full * width :]
            last[:tail] = chunk[full * size :]
            last[tail:] = ids[full]
            self._keep(chunk[full * size :].reshape(1, tail))
        self._counters["source_packets"] += count
        return Train(encoded.data, width)

    def _keep(self, adus: U8) -> None:
        """Remember ADU information (RFC 6865 §4.3) for the repair packets."""
        count, size = adus.shape
        start = self._used
        self._used += count
        if not self._config.r:
            return
        end = ADUI_HEADER_BYTES + size
        if end > self._symbols.shape[1]:  # E is the longest ADUI of the block
            wider = np.zeros((self._capacity, end), np.uint8)
            wider[:start, : self._symbols.shape[1]] = self._symbols[:start]
            self._symbols = wider
        rows = self._symbols[start : self._used]
        rows[:, 0] = self._config.flow_id
        rows[:, 1] = size >> 8
        rows[:, 2] = size & 0xFF
        rows[:, ADUI_HEADER_BYTES:end] = adus
        rows[:, end:] = 0

    def _fill(self) -> list[Train]:
        """Empty ADUs up to the end of the blocks, as source packets that are only an id."""
        ids = self._ids[self._used :]
        self._counters["filler_packets"] += len(ids)
        self._keep(np.empty((len(ids), 0), np.uint8))
        return [Train(ids.reshape(-1).data, PAYLOAD_ID_BYTES)]

    def _close(self) -> list[Train]:
        """Repair trains for all blocks of the set, and the end of the set."""
        config = self._config
        used, span = self._used, config.interleave
        blocks = min(used, span)
        longest = -(-used // span)
        longer = used - (longest - 1) * span  # the first blocks of a short set have one more
        out: list[Train] = []
        if config.r:
            parts = ((0, longer, longest), (longer, blocks, longest - 1))
            out = [self._repair(first, end, k) for first, end, k in parts if end > first and k]
        self._counters["blocks"] += blocks
        fields: dict[str, Any] = {"sbn": self._sbn, "blocks": blocks, "packets": used}
        self._trace("fec.blocks_closed", fields)
        self._sbn = (self._sbn + blocks) % SBN_MODULUS
        self._used = 0
        self._deadline = None
        return out

    def _repair(self, first: int, end: int, k: int) -> Train:
        """Repair packets, payload id in front (RFC 6363 §5.4), of blocks `first` to `end`, in
        turns like the source packets."""
        config = self._config
        span, blocks = config.interleave, end - first
        symbol_bytes = self._symbols.shape[1]
        source = self._symbols[: k * span].reshape(k, span, symbol_bytes)[:, first:end]
        count = -(-config.r * k // config.k)
        repair = self._code.encode(source.reshape(k, blocks * symbol_bytes), count)
        order = np.arange(count * blocks, dtype=np.int64)
        turn, block = np.divmod(order, blocks)
        ids = encode_payload_ids((self._sbn + first + block) % SBN_MODULUS, k + turn, k)
        packets = np.empty((count * blocks, PAYLOAD_ID_BYTES + symbol_bytes), np.uint8)
        packets[:, :PAYLOAD_ID_BYTES] = ids
        packets[:, PAYLOAD_ID_BYTES:] = repair.reshape(count * blocks, symbol_bytes)
        self._counters["repair_packets"] += count * blocks
        return Train(packets.reshape(-1).data, packets.shape[1], FLOW_REPAIR)
