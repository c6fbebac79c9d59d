"""What RFC 6363 and RFC 6865 let a sender and a receiver of FECFRAME do, with the simple
Reed-Solomon scheme over octets.

Repair symbols are computed here from the definition of the code: the k source symbols of a block
are the values at alpha^0 ... alpha^(k-1) of a polynomial of degree below k (one for each column),
and encoding symbol j is its value at alpha^j (RFC 5510 §8.2).  Nothing here comes from a coder of
ours.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from interop.machines.fault import require
from interop.machines.transitions import table
from interop.strategies.fecframe import Packet
from stack.core.errors import DecodeError
from stack.fec.config import FecConfig
from stack.wire.fecframe import PAYLOAD_ID_BYTES, PayloadId, decode_payload_id, encode_adui

_POLYNOMIAL: Final = 0x11D
"""x^8 + x^4 + x^3 + x^2 + 1 (RFC 5510 §8.1)."""

SOURCE_PACKET, REPAIR_PACKET = "RFC 6363 §5.3", "RFC 6363 §5.4"
SOURCE_ID, REPAIR_ID = "RFC 6865 §5.1.2", "RFC 6865 §5.1.3"
CODE = "RFC 6865 §8"
RECEIVER = "RFC 6363 §4.3"


PLENTY: Final = 1 << 22
"""Octets: with so much memory, no receiver gives up a block of the machine's."""

_ARRIVALS = {
    ("new", "source packet"): "open | whole",
    ("new", "repair packet"): "open",
    ("open", "source packet"): "open | recovered | whole",
    ("open", "repair packet"): "open | recovered",
    ("open", "source packet again"): "open",
    ("open", "repair packet again"): "open",
    ("recovered", "source packet"): "recovered | whole",
    ("recovered", "repair packet"): "recovered",
    ("recovered", "source packet again"): "recovered",
    ("recovered", "repair packet again"): "recovered",
    ("whole", "repair packet"): "whole",
    ("whole", "source packet again"): "whole",
    ("whole", "repair packet again"): "whole",
    ("new", "damaged source packet"): "spoilt",
    ("new", "damaged repair packet"): "spoilt",
    ("open", "damaged source packet"): "open | spoilt",
    ("open", "damaged repair packet"): "open | spoilt",
    ("spoilt", "source packet"): "spoilt",
    ("spoilt", "repair packet"): "spoilt",
}
FEC_TABLE: Final = tuple(table("block", _ARRIVALS))
"""What a receiver has of a block: nothing; some of it; any k symbols; all source packets; something
that is wrong."""


@functools.cache
def _powers() -> tuple[int, ...]:
    """alpha^0 ... alpha^254."""
    found = [1]
    while len(found) < 255:
        double = found[-1] << 1
        found.append(double ^ _POLYNOMIAL if double > 255 else double)
    return tuple(found)


@functools.cache
def _times(factor: int) -> bytes:
    """factor * 0 ... factor * 255."""
    alpha = _powers()
    log = {value: at for at, value in enumerate(alpha)}
    return bytes(
        alpha[(log[factor] + log[value]) % 255] if factor and value else 0 for value in range(256)
    )


@functools.cache
def _weights(k: int, esi: int) -> tuple[int, ...]:
    """What each source symbol counts in encoding symbol `esi`: Lagrange's polynomials."""
    alpha = _powers()
    found = []
    for i in range(k):
        weight = 0  # its logarithm
        for j in range(k):
            if j != i:
                weight += alpha.index(alpha[esi] ^ alpha[j]) - alpha.index(alpha[i] ^ alpha[j])
        found.append(alpha[weight % 255])
    return tuple(found)


def encoding_symbol(source: list[bytes], esi: int) -> bytes:
    """Repair symbol `esi` of a block of source symbols, all of one length (RFC 6865 §8)."""
    total = 0
    for symbol, weight in zip(source, _weights(len(source), esi), strict=True):
        total ^= int.from_bytes(symbol.translate(_times(weight)), "big")
    return total.to_bytes(len(source[0]), "big")


@dataclass
class BlockUnderWay:
    """A source block."""

    k: int
    """Its length as its source packets say it."""

    since_ns: int
    """When its first packet left."""

    adus: dict[int, bytes] = field(default_factory=dict)
    repairs: dict[int, bytes] = field(default_factory=dict)
    repair_k: int = 0
    """Its length as its repair packets say it; 0 until one has left."""

    here: set[int] = field(default_factory=set)
    """Symbols that have reached the receiver as they were sent."""

    spoilt: set[int] = field(default_factory=set)
    """Symbols that have reached it damaged."""

    first_ns: int | None = None
    """When the first of all did."""

    @property
    def state(self) -> str:
        """What the receiver can make of it."""
        if not self.here:
            return "spoilt" if self.spoilt else "new"
        if self.spoilt:
            return "spoilt"
        if set(self.adus) <= self.here:
            return "whole"
        return "recovered" if self.recoverable else "open"

    @property
    def recoverable(self) -> bool:
        """Whether any k of its symbols are there, and at most one wrong repair symbol beside them.
        A wrong source packet is handed on, as without FEC."""
        wrong = {esi for esi in self.spoilt if esi >= self.repair_k}
        if self.spoilt - wrong or len(wrong) > 1:
            return False
        return 0 < self.repair_k <= len(self.here - wrong)


class FecModel:
    """Both ends of a flow, and what is between them."""

    def __init__(
        self, config: FecConfig, took: Callable[[str, str, str, str], None], copies_max: int
    ) -> None:
        self._config = config
        self._copies_max = copies_max
        self._took = took
        self.blocks: dict[int, BlockUnderWay] = {}
        self.waiting: list[bytes] = []
        """ADUs that were given to the sender, and have not left."""

        self.sent: set[bytes] = set()
        self.delivered: Counter[bytes] = Counter()
        """By the receiver that lives now."""

        self._old: set[int] = set()
        """Blocks of a sender that is no more."""

        self._seen: set[int] = set()
        """Block numbers of which anything has reached a receiver."""

    # ------------------------------------------------------------------------------ the sender

    def leaves(self, packet: Packet, now_ns: int) -> None:
        """The sender gave this.  Raises `MachineFault`."""
        if packet.repair:
            self._repair_leaves(packet)
            return
        require(
            len(packet.octets) >= PAYLOAD_ID_BYTES, SOURCE_PACKET, "a source packet without an id"
        )
        adu = packet.octets[:-PAYLOAD_ID_BYTES]
        name = _id(packet)
        require(name is not None, SOURCE_ID, "no source payload id", packet.octets.hex())
        assert name is not None
        if adu or not self._config.fill_short_blocks:
            due = self.waiting.pop(0) if self.waiting else b""
            require(adu == due, SOURCE_PACKET, "not the ADU whose turn it is", adu.hex())
            self.sent.add(adu)
        block = self.blocks.setdefault(name.sbn, BlockUnderWay(name.k, now_ns))
        require(name.k == block.k, SOURCE_ID, "the length of a block changes", name)
        require(name.esi not in block.adus, SOURCE_ID, "a symbol id for two packets", name)
        require(not block.repair_k, REPAIR_ID, "a source packet after its block was closed", name)
        block.adus[name.esi] = adu

    def _repair_leaves(self, packet: Packet) -> None:
        name = _id(packet)
        require(name is not None, REPAIR_ID, "no repair payload id", packet.octets.hex())
        assert name is not None
        block = self.blocks.get(name.sbn)
        require(block is not None, REPAIR_ID, "a repair packet of a block without sources", name)
        assert block is not None
        whole = sorted(block.adus) == list(range(name.k))
        require(whole, REPAIR_ID, "a block length that is not that of its source packets", name)
        require(block.repair_k in (0, name.k), REPAIR_ID, "the length of a block changes", name)
        require(name.esi not in block.repairs, REPAIR_ID, "a symbol id for two packets", name)
        block.repair_k = name.k
        symbol = packet.octets[PAYLOAD_ID_BYTES:]
        longest = max(map(len, block.adus.values()))
        require(len(symbol) >= 3 + longest, REPAIR_PACKET, "a symbol shorter than an ADU", name)
        source = [
            encode_adui(self._config.flow_id, block.adus[esi], len(symbol)) for esi in range(name.k)
        ]
        right = encoding_symbol(source, name.esi)
        require(symbol == right, CODE, "a repair symbol that is not that of the code", name)
        block.repairs[name.esi] = symbol

    def all_left(self) -> None:
        """Source packets wait for nothing.  Raises `MachineFault`."""
        require(not self.waiting, SOURCE_PACKET, "an ADU does not leave", len(self.waiting))

    def sender_restarted(self) -> None:
        """Blocks that were open will never be protected."""
        self._old.update(self.blocks)

    def closed(self, now_ns: int | None) -> None:
        """Blocks are closed now: those whose time is up, or, with None, all.  Raises
        `MachineFault`."""
        if not self._config.r:
            return
        for sbn, block in self.blocks.items():
            overdue = now_ns is None or now_ns >= block.since_ns + self._config.block_time_ns
            if overdue and sbn not in self._old:
                full = len(block.adus) == block.k
                least = self._config.r if full else 1
                require(
                    len(block.repairs) >= least, "RFC 6363 §4.2",
                    "a block whose time is up is not protected", sbn,
                )  # fmt: skip

    # ---------------------------------------------------------------------------- the receiver

    def reaches(self, packet: Packet, now_ns: int, *, damaged: bool) -> None:
        """This reaches the receiver, its id as it was."""
        name = _id(packet)
        assert name is not None
        block = self.blocks[name.sbn]
        what = "repair packet" if packet.repair else "source packet"
        before = block.state
        if block.first_ns is None:
            block.first_ns = now_ns
        self._seen.add(name.sbn)
        if damaged:
            what = f"damaged {what}"
            block.spoilt |= {name.esi} - block.here
        elif name.esi in block.here:
            what = f"{what} again"
        else:
            block.here.add(name.esi)
        self._took("block", before, what, block.state)

    def gives(self, adu: bytes, passing: set[bytes]) -> None:
        """The receiver delivers an ADU.  `passing`: what was damaged and is in packets that it has
        just got, which FEC cannot know.  Raises `MachineFault`."""
        if adu in passing:
            return
        require(adu in self.sent, RECEIVER, "an ADU that was never sent", adu.hex())
        self.delivered[adu] += 1
        once = self.delivered[adu] <= self._copies_max
        require(once, RECEIVER, "an ADU is delivered too often", adu.hex())

    def receiver_restarted(self) -> None:
        """There is a new receiver, that knows nothing."""
        self.delivered.clear()
        self._seen.clear()
        for block in self.blocks.values():
            block.here.clear()
            block.spoilt.clear()
            block.first_ns = None

    def owed(self, now_ns: int) -> Iterator[str]:
        """What a receiver has to deliver and has not, in words."""
        for sbn, block in self.blocks.items():
            for esi in block.here:
                adu = block.adus.get(esi)
                if adu and adu not in self.delivered:
                    yield f"source packet {esi} of block {sbn} came and is not delivered"
            if not block.recoverable or self._rivals(sbn) or self._short_of_memory:
                continue
            if now_ns >= (block.first_ns or 0) + self._config.decode_timeout_ns:
                continue  # the last of them came when the block had been given up
            for esi, adu in block.adus.items():
                if adu and adu not in self.delivered:
                    yield (
                        f"symbol {esi} of block {sbn} is not recovered, though {len(block.here)} "
                        f"of {block.repair_k} needed are there"
                    )

    @property
    def _short_of_memory(self) -> bool:
        """Whether the receiver may have to give up blocks that it could have recovered."""
        return self._config.memory_bytes_max < PLENTY

    def _rivals(self, sbn: int) -> bool:
        """Whether the window of block numbers has been left since the receiver began: it cannot
        tell then which of two blocks is the older."""
        window = self._config.blocks_max
        return any(other != sbn and (other - sbn) % window == 0 for other in self._seen)


def _id(packet: Packet) -> PayloadId | None:
    """The payload id of a packet, if it is one."""
    octets = packet.octets if packet.repair else packet.octets[-PAYLOAD_ID_BYTES:]
    try:
        return decode_payload_id(octets, repair=packet.repair)[0]
    except DecodeError:
        return None
