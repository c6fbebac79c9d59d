"""How a flow of datagrams is protected: one frozen object for the sender and the receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from stack.core.checks import check, check_bounds, check_one_of
from stack.core.clock import MILLISECOND, SECOND
from stack.core.limits import DATAGRAM_BYTES_MAX
from stack.fec.erasure import SYMBOLS_MAX, Engine
from stack.wire.fecframe import ADUI_HEADER_BYTES, PAYLOAD_ID_BYTES, Fssi

OVERHEAD_BYTES: Final = PAYLOAD_ID_BYTES + ADUI_HEADER_BYTES
"""What a repair packet has beyond the largest ADU of its block."""

BLOCKS_MAX: Final = 65_536
"""Most blocks that a receiver can remember."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FecConfig:
    """Parameters of FECFRAME with the simple Reed-Solomon scheme (RFC 6865).

    Raises ConfigError when they cannot work together.
    """

    k: Annotated[int, Meta(ge=1, le=SYMBOLS_MAX)] = 64
    """Source packets of a block (RFC 6865 §4.1).  With r = 16 a block of 64 costs 25 % and
    survives the loss of a fifth; larger blocks ride out longer bursts but are complete later."""

    r: Annotated[int, Meta(ge=0, le=SYMBOLS_MAX)] = 16
    """Repair packets of a full block; short blocks get the same share, rounded up.  k + r <= 255.
    0 sends no repair packets at all."""

    interleave: Annotated[int, Meta(ge=1, le=BLOCKS_MAX // 2)] = 1
    """Blocks filled in turn, so that a burst of b lost packets costs each of them only
    b / interleave.  The receiver holds this many blocks at least."""

    adu_bytes_max: Annotated[int, Meta(ge=1, le=DATAGRAM_BYTES_MAX - OVERHEAD_BYTES)] = 1_400
    """Largest datagram to protect, in octets.  Bounds the symbols that a receiver will decode; a
    repair packet is 9 octets longer and must fit the path (RFC 6363 §5.1)."""

    block_time_ns: Annotated[int, Meta(ge=1, le=3600 * SECOND)] = 100 * MILLISECOND
    """After this time a block is closed, however few packets it has, so that its last packets
    are protected too.  Short against the retransmission timer of the layer above, long against
    the time that k packets take at the link's rate."""

    decode_timeout_ns: Annotated[int, Meta(ge=1, le=86_400 * SECOND)] = SECOND
    """How long a receiver waits for the rest of a block.  More than `block_time_ns` plus the
    sending time of the repair packets plus reordering; more only costs memory."""

    flow_id: Annotated[int, Meta(ge=0, le=255)] = 0
    """Flow id in every ADUI (RFC 6865 §4.3); both ends agree on it.  One octet."""

    engine: Engine = "numpy"
    """`numpy`, or the 1,000 times slower reference `reedsolo`."""

    fill_short_blocks: bool = False
    """False: a block that ends early has a smaller k in its repair packets than in its source
    packets, which had left by then; our receivers take the repair packets' word.  True: it is
    filled up with empty ADUs, so that k never differs; for peers that insist."""

    blocks_max: Annotated[int, Meta(ge=2, le=BLOCKS_MAX)] = 256
    """Blocks that a receiver remembers, a power of two: the window within which duplicates are
    recognised.  Costs 2.3 KB each."""

    memory_bytes_max: Annotated[int, Meta(ge=1, le=10**12)] = 64 * 1024 * 1024
    """Octets of packets that a receiver keeps for decoding; the oldest block is given up first."""

    def __post_init__(self) -> None:
        check_bounds(self)
        fits = self.k + self.r <= SYMBOLS_MAX
        check("r, k", fits, f"k + r must not exceed {SYMBOLS_MAX}", "lower r or k")
        power = self.blocks_max & (self.blocks_max - 1) == 0
        check("blocks_max", power, "must be a power of two", "256")
        fits = 2 * self.interleave <= self.blocks_max
        check("blocks_max, interleave", fits, "blocks_max must be at least twice interleave")
        later = self.decode_timeout_ns > self.block_time_ns
        check(
            "decode_timeout_ns, block_time_ns",
            later,
            "decode_timeout_ns must be longer than block_time_ns",
            "ten times as long",
        )
        check_one_of("engine", self.engine, ("numpy", "reedsolo"))
        need = 2 * self.interleave * (self.k + self.r) * (self.adu_bytes_max + OVERHEAD_BYTES)
        check(
            "memory_bytes_max, interleave, k, r, adu_bytes_max",
            self.memory_bytes_max >= need,
            f"two sets of {self.interleave} interleaved blocks do not fit in memory_bytes_max",
            f"it needs {need}",
        )

    @property
    def fssi(self) -> Fssi:
        """What a peer must be told (RFC 6865 §5.1.1.2)."""
        return Fssi(self.adu_bytes_max + ADUI_HEADER_BYTES)
