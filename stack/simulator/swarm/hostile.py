"""Somebody on a link who hears everything, sends what he likes, and has no key.

He speaks as the neighbour: his datagrams come out of the same port, and his sessions have the
neighbour's engine number.  What he sends is made of what he has heard, so that it fits: the same
bundles with another content, fragments that contradict the genuine ones, the same datagrams again,
damaged, cut short, or more than anybody can hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.core.train import FLOW_SOURCE, Train, single
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import encode_label
from stack.simulator.swarm.control import Sessions
from stack.simulator.swarm.faults import CANCEL, CONTROL, LABELS, SMUGGLE
from stack.simulator.swarm.plans import EPOCH_MS
from stack.wire.bundle import (
    CRC_32,
    DATA_POLICY,
    IS_FRAGMENT,
    LENIENT,
    PAYLOAD,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_age,
    decode_bundle,
    encode_bundle,
    hop_count,
    priority_block,
)
from stack.wire.ltp import CLIENT_BP, DataSegment, SegmentType, SessionId, encode_segment

T = TypeVar("T")

HEARD_MAX: Final = 200
"""Datagrams that he remembers, and bundles."""

AT_ONCE: Final = 12
"""Datagrams that he sends at a time."""

PERIOD_S: Final = 3.0
"""How often he sends."""

AT_ONCE_S: Final = 0.03
"""How long he waits to answer what he hears, where that is his way."""

SEGMENT_BYTES: Final = 1000
BUNDLE_OPENING: Final = 0x9F
CONTROL_TYPES: Final = 8
"""LTP segments of this type or above are reports and cancellations (RFC 5326 §3.1)."""

DAY_MS: Final = 86_400_000

ANYBODY: Final = encode_label(DataPolicy(readers=NodeSet.ANY))
"""The label that he would like to see on all data."""


def ignore_heard() -> None:
    """The `on_heard` that does nothing."""


class Hearsay:
    """The bundles that any of the intruders of a run has heard: what one hears on its first link
    another may forge on the next, before it comes there."""

    def __init__(self, seed: str) -> None:
        self.bundles: list[Bundle] = []
        self._rng = random.Random(seed)

    def read(self, octets: bytes) -> None:
        """A bundle may begin here."""
        try:
            bundle, _ = decode_bundle(octets, mode=LENIENT)
        except DecodeError:
            return
        self.keep(self.bundles, bundle)

    def keep(self, kept: list[T], one: T) -> None:
        """Remember something, and for it forget something else."""
        if len(kept) < HEARD_MAX:
            kept.append(one)
        else:
            kept[self._rng.randrange(HEARD_MAX)] = one


class Intruder:
    """Hears what `node` sends to `peer`, and makes what arrives at `peer` beside it."""

    def __init__(
        self, engine: int, nodes: Sequence[str], mode: str, hearsay: Hearsay, seed: str
    ) -> None:
        """`engine` is the LTP engine number of `node`, under which he sends."""
        self._engine = engine
        self._nodes = nodes
        self._hearsay = hearsay
        self._rng = random.Random(seed)
        self._heard: list[bytes] = []
        self._sessions = Sessions(engine, random.Random(f"{seed}/sessions"))
        self._answers = mode in (CANCEL, CONTROL)
        self.on_heard: Callable[[], None] = ignore_heard
        """Called for what he means to answer at once."""

        self._forge: Callable[[int], list[bytes]] = {
            "replay": self._again,
            "mutate": self._mutated,
            "truncate": self._cut_short,
            "bundles": self._twins,
            "fragments": self._pieces,
            "strange": self._strange,
            "flood": self._unfinished,
            SMUGGLE: self._smuggled,
            LABELS: self._relabelled,
            "comb": lambda now_ms: self._sessions.combed(),
            CANCEL: lambda now_ms: self._sessions.forged(reports=False),
            CONTROL: lambda now_ms: self._sessions.forged(reports=True),
        }[mode]

    def hear(self, train: Train) -> None:
        """A train goes by."""
        if train.flow != FLOW_SOURCE:
            return
        for datagram in train.datagrams():
            octets = bytes(datagram)
            if self._answers:
                self._sessions.read(octets)
                if octets[0] & 15 < CONTROL_TYPES:
                    self.on_heard()
                continue
            self._hearsay.keep(self._heard, octets)
            at = octets.find(BUNDLE_OPENING)
            if at >= 0 and octets[0] & 15 < CONTROL_TYPES:
                self._hearsay.read(octets[at:])

    def strike(self, now_s: float) -> list[Train]:
        """What he sends now."""
        now_ms = EPOCH_MS + round(now_s * 1000)
        return [single(octets) for octets in self._forge(now_ms) if octets]

    # ---- what was heard, again -----------------------------------------------------------

    def _again(self, now_ms: int) -> list[bytes]:
        if not self._heard:
            return []
        return [self._rng.choice(self._heard) for _ in range(AT_ONCE)]

    def _data(self) -> list[bytes]:
        return [octets for octets in self._again(0) if octets[0] & 15 < CONTROL_TYPES]

    def _mutated(self, now_ms: int) -> list[bytes]:
        found = []
        for octets in self._data():
            damaged = bytearray(octets)
            for _ in range(self._rng.randint(1, 3)):
                damaged[self._rng.randrange(1, len(damaged))] = self._rng.randrange(256)
            found.append(bytes(damaged))
        return found

    def _cut_short(self, now_ms: int) -> list[bytes]:
        return [octets[: self._rng.randrange(1, len(octets))] for octets in self._data()]

    # ---- bundles of his own --------------------------------------------------------------

    def _block(self, octets: bytes) -> list[bytes]:
        """A block as the neighbour would send it: red, and to be reported on."""
        session = SessionId(self._engine, self._rng.getrandbits(32))
        found = []
        for at in range(0, len(octets), SEGMENT_BYTES):
            last = at + SEGMENT_BYTES >= len(octets)
            segment = DataSegment(
                session=session,
                kind=SegmentType.RED_END_BLOCK if last else SegmentType.RED,
                client_service=CLIENT_BP,
                offset=at,
                data=octets[at : at + SEGMENT_BYTES],
                checkpoint_serial=self._rng.randint(1, 1 << 14) if last else 0,
            )
            found.append(encode_segment(segment))
        return found

    def _some(self) -> list[Bundle]:
        known = self._hearsay.bundles
        return [self._rng.choice(known) for _ in range(3)] if known else []

    def _twins(self, now_ms: int) -> list[bytes]:
        """The identity of a genuine bundle, and another content."""
        found = []
        for old in self._some():
            kind = self._rng.randrange(4)
            payload, blocks, primary = old.payload, old.blocks, old.primary
            if self._rng.random() < 0.3:  # the next of its source, before that is made
                number = primary.sequence + self._rng.randint(1, 3)
                primary = replace(primary, encoded=None, sequence=min(number, (1 << 64) - 1))
            if kind == 0:  # in clear, as if nobody had asked for security
                blocks = (replace(payload, data=b"forged", encoded=None),)
            elif kind == 1:  # one octet of the ciphertext is another
                data = bytearray(payload.data)
                if data:
                    data[self._rng.randrange(len(data))] ^= 1
                blocks = (*blocks[:-1], replace(payload, data=bytes(data), encoded=None))
            elif kind == 2:  # the security blocks are gone
                blocks = (payload,)
            else:  # and they are others
                blocks = tuple(
                    replace(one, data=self._rng.randbytes(len(one.data)), encoded=None)
                    if one.type in (11, 12)
                    else one
                    for one in blocks
                )
            found += self._block(encode_bundle(Bundle(primary, blocks)))
        return found

    def _pieces(self, now_ms: int) -> list[bytes]:
        """Fragments that contradict the genuine ones: empty, elsewhere, of another whole."""
        found = []
        for old in self._some():
            primary, data = old.primary, bytes(old.payload.data)
            if primary.fragment_offset is None or primary.total_adu_length is None:
                start, total = 0, len(data)
            else:
                start, total = primary.fragment_offset, primary.total_adu_length
            rng = self._rng
            length = rng.choice((0, 1, min(64, max(1, total)), len(data)))
            offset = rng.choice((0, start, max(0, total - length), rng.randrange(total + 1)))
            changed = replace(
                primary,
                encoded=None,
                flags=primary.flags | IS_FRAGMENT,
                fragment_offset=offset,
                total_adu_length=rng.choice((total, total, total + 1, 1 << 40)),
            )
            forged = CanonicalBlock(PAYLOAD, 1, 0, rng.randbytes(length), CRC_32)
            security = tuple(one for one in old.blocks[:-1] if rng.random() < 0.5)
            found += self._block(encode_bundle(Bundle(changed, (*security, forged))))
        return found

    def _strange(self, now_ms: int) -> list[bytes]:
        """Bundles at the ends of what numbers can say, for anybody and anywhere."""
        rng = self._rng
        found = []
        for _ in range(4):
            far = Eid.parse("dtn://far/x")
            near = Eid.parse(f"dtn://{rng.choice(self._nodes)}/swarm")
            creation_ms = rng.choice((0, now_ms, now_ms + 10 * DAY_MS, (1 << 64) - 1))
            primary = PrimaryBlock(
                rng.choice((far, near)),
                rng.choice((Eid.parse("dtn://evil/x"), Eid.NONE, near)),
                Eid.NONE,
                creation_ms,
                rng.getrandbits(40),
                rng.choice((1, DAY_MS, (1 << 64) - 1)),
                0x000004,
            )
            ages = (0, 1, DAY_MS, (1 << 64) - 1)
            blocks = [
                bundle_age(rng.choice(ages), number=2, crc_type=CRC_32),
                hop_count(255, rng.choice((0, 254, 255)), number=3),
                priority_block(rng.choice((0, 2, 3, 1 << 63)), number=4),
                CanonicalBlock(rng.choice((6, 7, 10, 192, 250)), 5, 0, rng.randbytes(3), 0),
                CanonicalBlock(PAYLOAD, 1, 0, rng.randbytes(rng.choice((0, 9, 900))), CRC_32),
            ]
            found += self._block(encode_bundle(Bundle(primary, tuple(blocks[rng.randrange(4) :]))))
        return found

    # ---- data that has a policy -----------------------------------------------------------

    def _smuggled(self, now_ms: int) -> list[bytes]:
        """Genuine bundles, from wherever they were heard, to who is here."""
        return [each for old in self._some() for each in self._block(encode_bundle(old))]

    def _relabelled(self, now_ms: int) -> list[bytes]:
        """Genuine bundles with another label, or none, or sealed under a key of his own."""
        found = []
        for old in self._some():
            kind, blocks = self._rng.randrange(3), old.blocks
            if kind == 0:
                blocks = tuple(one for one in blocks if one.type != DATA_POLICY)
            elif kind == 1:
                blocks = tuple(
                    replace(one, data=ANYBODY, encoded=None) if one.type == DATA_POLICY else one
                    for one in blocks
                )
            else:
                data = self._rng.randbytes(len(old.payload.data))
                blocks = (*blocks[:-1], replace(old.payload, data=data, encoded=None))
            found += self._block(encode_bundle(Bundle(old.primary, blocks)))
        return found

    # ---- more than anybody can hold --------------------------------------------------------

    def _unfinished(self, now_ms: int) -> list[bytes]:
        """Sessions that never end, with gaps between all octets, and questions about them."""
        rng = self._rng
        session = SessionId(self._engine, rng.getrandbits(32))
        found = []
        for number in range(AT_ONCE):
            if rng.random() < 0.5:
                session = SessionId(self._engine, rng.getrandbits(32))
            ask = rng.random() < 0.5
            segment = DataSegment(
                session=session,
                kind=SegmentType.RED_CHECKPOINT if ask else SegmentType.RED,
                client_service=CLIENT_BP,
                offset=rng.choice((2 * number, rng.randrange(1 << 20), rng.getrandbits(50))),
                data=rng.randbytes(rng.choice((1, 1, 500))),
                checkpoint_serial=rng.randint(1, 1 << 14) if ask else 0,
            )
            found.append(encode_segment(segment))
        return found
