"""How a flow of datagrams is protected: one frozen object for the sender and the receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError
from stack.core.limits import DATAGRAM_BYTES_MAX
from stack.fec.erasure import SYMBOLS_MAX, Engine
from stack.wire.fecframe import ADUI_HEADER_BYTES, PAYLOAD_ID_BYTES, Fssi

OVERHEAD_BYTES: Final = PAYLOAD_ID_BYTES + ADUI_HEADER_BYTES
"""What a repair packet has beyond the largest ADU of its block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FecConfig:
    """Parameters of FECFRAME with the simple Reed-Solomon scheme (RFC 6865).

    Raises ConfigError when they cannot work together.
    """

    k: int = 64
    """Source packets of a block (RFC 6865 §4.1).  With r = 16 a block of 64 costs 25 % and
    survives the loss of a fifth; larger blocks ride out longer bursts but are complete later."""

    r: int = 16
    """Repair packets of a full block; short blocks get the same share, rounded up.  k + r <= 255.
    0 sends no repair packets at all."""

    interleave: int = 1
    """Blocks filled in turn, so that a burst of b lost packets costs each of them only
    b / interleave.  The receiver holds this many blocks at least."""

    adu_bytes_max: int = 1_400
    """Largest datagram to protect, in octets.  Bounds the symbols that a receiver will decode; a
    repair packet is 9 octets longer and must fit the path (RFC 6363 §5.1)."""

    block_time_ns: int = 100 * MILLISECOND
    """After this time a block is closed, however few packets it has, so that its last packets
    are protected too.  Short against the retransmission timer of the layer above, long against
    the time that k packets take at the link's rate."""

    decode_timeout_ns: int = SECOND
    """How long a receiver waits for the rest of a block.  More than `block_time_ns` plus the
    sending time of the repair packets plus reordering; more only costs memory."""

    flow_id: int = 0
    """Flow id in every ADUI (RFC 6865 §4.3); both ends agree on it.  One octet."""

    engine: Engine = "numpy"
    """`numpy`, or the 1,000 times slower reference `reedsolo`."""

    fill_short_blocks: bool = False
    """False: a block that ends early has a smaller k in its repair packets than in its source
    packets, which had left by then; our receivers take the repair packets' word.  True: it is
    filled up with empty ADUs, so that k never differs; for peers that insist."""

    blocks_max: int = 256
    """Blocks that a receiver remembers, a power of two: the window within which duplicates are
    recognised.  Costs 2.3 KB each."""

    memory_bytes_max: int = 64 * 1024 * 1024
    """Octets of packets that a receiver keeps for decoding; the oldest block is given up first."""

    def __post_init__(self) -> None:
        def check(fine: bool, key: str, message: str, remedy: str) -> None:
            if not fine:
                raise ConfigError(key, message, remedy)

        check(1 <= self.k <= SYMBOLS_MAX, "k", "must be 1 to 255", "64 is usual")
        check(0 <= self.r <= SYMBOLS_MAX - self.k, "r", "k + r must not exceed 255", "lower r or k")
        limit = DATAGRAM_BYTES_MAX - OVERHEAD_BYTES
        check(1 <= self.adu_bytes_max <= limit, "adu_bytes_max", f"must be 1 to {limit}", "1400")
        power = self.blocks_max > 0 and self.blocks_max & (self.blocks_max - 1) == 0
        check(
            power and 2 * self.interleave <= self.blocks_max <= 65_536,
            "blocks_max",
            "must be a power of two, at least twice interleave and at most 65536",
            "256",
        )
        check(self.interleave >= 1, "interleave", "must be at least 1", "1 for no interleaving")
        check(0 <= self.flow_id <= 255, "flow_id", "must be 0 to 255", "0")
        check(self.block_time_ns > 0, "block_time_ns", "must be positive", "100 ms")
        check(
            self.decode_timeout_ns > self.block_time_ns,
            "decode_timeout_ns",
            "must be longer than block_time_ns",
            "ten times block_time_ns",
        )
        check(self.engine in ("numpy", "reedsolo"), "engine", "unknown engine", "numpy or reedsolo")
        need = 2 * self.interleave * (self.k + self.r) * (self.adu_bytes_max + OVERHEAD_BYTES)
        check(
            self.memory_bytes_max >= need,
            "memory_bytes_max",
            f"cannot hold two sets of {self.interleave} interleaved blocks",
            f"at least {need}",
        )

    @property
    def fssi(self) -> Fssi:
        """What a peer must be told (RFC 6865 §5.1.1.2)."""
        return Fssi(self.adu_bytes_max + ADUI_HEADER_BYTES)
