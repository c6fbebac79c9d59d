"""A state machine of Hypothesis that is the channel between a sender and a receiver of FECFRAME
(RFC 6363) with the simple Reed-Solomon scheme (RFC 6865), and judges both.

    class Mine(FecMachine):
        adapter = MyFec

    TestMine = Mine.TestCase

`MyFec(config, first_sbn, genuine)` makes a `FecPeer`; the machine makes two, one to send and one to
receive.  Packets of both flows are lost, repeated, reordered, held up and damaged, blocks are
interleaved and end early, and either side is restarted.  Every packet that leaves is held against
`fecframe_model`, which has a small coder of its own.  Of the receiver it is asked that all source
packets that come are handed on, once, that nothing else is but what was sent, that any k symbols
of a block are enough, as soon as they are there, and that it keeps to its memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Protocol

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from interop.machines.channel import WELL, Passage, PeerChannel, passages
from interop.machines.fault import MachineFault, require
from interop.machines.fecframe_model import FEC_TABLE, RECEIVER, FecModel
from interop.machines.machine import PeerMachine
from interop.strategies.fecframe import (
    REPAIR_ID_RULES,
    SOURCE_ID_RULES,
    Packet,
    fec_configs,
    nearly_payload_ids,
)
from interop.strategies.violation import Nearly
from stack.core.clock import MILLISECOND
from stack.fec.config import FecConfig
from stack.wire.fecframe import PAYLOAD_ID_BYTES, SBN_MODULUS

OVERDUE_TIMEOUTS = 4
"""No packet is on its way for so many decode timeouts: a receiver may forget a block then."""

_PICKS = st.integers(0, 1 << 16)
_SELDOM = st.sampled_from([False, False, False, True])
_SIZES = st.lists(st.integers(8, 40), min_size=1, max_size=12) | st.builds(
    lambda size, count: [size] * count, st.integers(8, 40), st.integers(1, 36)
)


def genuine(adu: bytes | bytearray | memoryview) -> bool:
    """Whether the machine has made this ADU: its last four octets are a CRC, in place of the
    authentication that the layer above may have."""
    return len(adu) >= 4 and zlib.crc32(adu[:-4]).to_bytes(4, "big") == bytes(adu[-4:])


class FecPeer(Protocol):
    """An implementation under test, as sender or as receiver.  Times are nanoseconds from any
    moment, and never go back."""

    def protect(self, adus: Sequence[bytes], now_ns: int) -> Iterable[Packet]:
        """These ADUs are to be sent: their source packets, and repair packets of all blocks that
        are full."""
        ...

    def flush(self, now_ns: int) -> Iterable[Packet]:
        """Nothing more will be sent for now: what closes the blocks that are open."""
        ...

    def advance(self, now_ns: int) -> Iterable[Packet]:
        """Time has passed: what closes blocks that are older than `config.block_time_ns`."""
        ...

    def receive(self, packets: Sequence[Packet], now_ns: int) -> Iterable[bytes]:
        """Packets arrive, whatever they hold: the ADUs that come of them."""
        ...

    def held_bytes(self) -> int:
        """Octets of packets that the receiver keeps, to compare with `config.memory_bytes_max`."""
        ...


class MakesFecPeer(Protocol):
    """Makes an implementation under test."""

    def __call__(
        self, config: FecConfig, first_sbn: int, genuine: Callable[[memoryview], bool], /
    ) -> FecPeer:
        """One that numbers its blocks from `first_sbn`; `genuine` tells it which ADUs are
        authentic."""
        ...


class FecMachine(PeerMachine):
    """The channel between two peers.  Set `adapter`."""

    adapter: ClassVar[MakesFecPeer]
    """Makes the implementation under test; a class, usually.  The machine's `sender` is one, and
    its `peer`, which receives, another."""

    copies_max: ClassVar[int] = 1
    """How often an ADU may be delivered whose source packet is repeated.  2 for those who look
    whether a packet is genuine only when another one has its id."""

    table = FEC_TABLE

    damage_max: ClassVar[int] = 1 << 16
    """Packets damaged in one run; 0 for implementations that cannot be told what is genuine: they
    need a layer below that drops what is damaged."""

    @initialize(
        config=fec_configs(),
        first_sbn=st.sampled_from([0, SBN_MODULUS - 3, 1000]),
    )
    def start(self, config: FecConfig, first_sbn: int) -> None:
        """Two peers."""
        self.config = config
        self.first_sbn = first_sbn
        self.number = 0
        self.damaged = 0
        self.model = FecModel(config, self.took, self.copies_max)
        self.channel: PeerChannel[tuple[int, Packet]] = PeerChannel()
        self.sender = type(self).adapter(config, first_sbn, genuine)
        self.peer = type(self).adapter(config, 0, genuine)

    # ---------------------------------------------------------------------------- the sender

    @rule(sizes=_SIZES)
    def send(self, sizes: list[int]) -> None:
        """ADUs of such sizes, unlike all others."""
        adus = []
        for size in sizes:
            self.number += 1
            body = self.number.to_bytes(4, "big").ljust(size - 4, b"\x5a")
            adus.append(body + zlib.crc32(body).to_bytes(4, "big"))
        self.model.waiting += adus
        self._leave(self.sender.protect(adus, self.now_ns))
        self.model.all_left()

    @rule()
    def flush(self) -> None:
        """All blocks end here."""
        self._leave(self.sender.flush(self.now_ns))
        self.model.closed(None)

    @rule(milliseconds=st.integers(0, 60))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.now_ns += milliseconds * MILLISECOND
        self._leave(self.sender.advance(self.now_ns))
        self.model.closed(self.now_ns)
        require(not list(self.peer.advance(self.now_ns)), RECEIVER, "a receiver sends")

    @rule(really=_SELDOM)
    def restart_sender(self, really: bool) -> None:
        """It begins with other block numbers; what had not been protected never will be."""
        if really:
            self.first_sbn = (self.first_sbn + 100_000) % SBN_MODULUS
            self.model.sender_restarted()
            self.part(self.sender)
            self.sender = type(self).adapter(self.config, self.first_sbn, genuine)

    def _leave(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self.model.leaves(packet, self.now_ns)
            self.channel.put([(self.now_ns, packet)])

    # -------------------------------------------------------------------------- the receiver

    @precondition(lambda self: self.channel.flying)
    @rule(passage=passages())
    def arrive(self, passage: Passage) -> None:
        """What is on its way arrives, or does not."""
        overdue = self.now_ns - OVERDUE_TIMEOUTS * self.config.decode_timeout_ns
        packets = [packet for since, packet in self.channel.take(passage) if since > overdue]
        for packet in packets:
            self.model.reaches(packet, self.now_ns, damaged=False)
        self._receive(packets, set())

    @precondition(lambda self: self.channel.flying and self.damaged < self.damage_max)
    @rule(pick=_PICKS, at=_PICKS, bit=st.integers(0, 7), instead=st.booleans())
    def arrive_damaged(self, pick: int, at: int, bit: int, instead: bool) -> None:
        """A packet arrives with one bit flipped behind its id; and later as it was, or never."""
        index = pick % len(self.channel.flying)
        since, packet = self.channel.flying[index]
        size = len(packet.octets) - PAYLOAD_ID_BYTES
        if since != self.now_ns or not size:
            return
        if instead:
            del self.channel.flying[index]
        octets = bytearray(packet.octets)
        octets[at % size + (PAYLOAD_ID_BYTES if packet.repair else 0)] ^= 1 << bit
        wrong = packet._replace(octets=bytes(octets))
        event(f"damaged: {'repair' if packet.repair else 'source'} packet")
        self.damaged += 1
        self.model.reaches(wrong, self.now_ns, damaged=True)
        self._receive([wrong], set() if packet.repair else {wrong.octets[:-PAYLOAD_ID_BYTES]})

    @rule(
        nearly=nearly_payload_ids(rules=SOURCE_ID_RULES).map(lambda one: (one, False))
        | nearly_payload_ids(rules=REPAIR_ID_RULES).map(lambda one: (one, True)),
        body=st.binary(max_size=40),
    )
    def break_a_rule(self, nearly: tuple[Nearly, bool], body: bytes) -> None:
        """A packet without an id that can be: nothing may come of it.  Raises `MachineFault`."""
        broken, repair = nearly
        event(f"broken: {broken.violation}")
        octets = broken.encoded
        if len(octets) == PAYLOAD_ID_BYTES:
            octets = octets + body if repair else body + octets
        got = list(self.peer.receive([Packet(repair, octets)], self.now_ns)) if octets else []
        if got:
            raise MachineFault(broken.violation.clause, f"taken: {broken.violation.words}", got)

    @rule(really=_SELDOM)
    def restart_receiver(self, really: bool) -> None:
        """It knows nothing any more."""
        if really:
            self.model.receiver_restarted()
            self.part(self.peer)
            self.peer = type(self).adapter(self.config, 0, genuine)

    def _receive(self, packets: list[Packet], passing: set[bytes]) -> None:
        for adu in self.peer.receive(packets, self.now_ns) if packets else ():
            self.model.gives(bytes(adu), passing)
        for words in self.model.owed(self.now_ns):
            raise MachineFault(RECEIVER, words)

    # ------------------------------------------------------------------------ what must hold

    @invariant()
    def memory_is_bounded(self) -> None:
        """Whatever came."""
        held = self.peer.held_bytes()
        most = self.config.memory_bytes_max
        require(0 <= held <= most, RECEIVER, "more memory than allowed", (held, most))

    def finish(self) -> None:
        """Blocks end, and what is on its way arrives."""
        self.flush()
        if self.channel.flying:
            self.arrive(WELL)

    def teardown(self) -> None:
        """The end of a case, and of both."""
        try:
            super().teardown()
        finally:
            self.part(getattr(self, "sender", None))
