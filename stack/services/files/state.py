"""What the file service keeps of objects: their states (`stack.services.files.steps`) and the
durable records."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from stack.core.clock import SECOND
from stack.core.eid import EID_CHARS_MAX, Eid
from stack.core.ranges import RangeSet
from stack.core.train import Buffer
from stack.policy import DataPolicy
from stack.ports.application import Expected, Outgoing
from stack.services.codec import decode, encode
from stack.services.files import messages
from stack.services.files.messages import Offer, chunk_count
from stack.services.files.paths import NAME_CHARS_MAX
from stack.services.files.steps import (
    IN_STEPS,
    OUT_OPEN,
    OUT_STEPS,
    InState,
    InStep,
    OutState,
    OutStep,
)
from stack.services.policies import VERSION, label, take_policy

SPACE_OUT: Final = "files.out"
SPACE_IN: Final = "files.in"
SPACE_INBOX: Final = "files.inbox"

_SECTION: Final = "durable record of the file service"
_PATH_OCTETS_MAX: Final = 4096
_TIME_MAX: Final = (1 << 63) - 1
_SPANS_MAX: Final = 16_384


@dataclass(frozen=True, slots=True)
class OutSpec:
    """What is sent where; never changes."""

    object_id: bytes
    path: str
    destination: Eid
    name: str
    size: int
    sha256: bytes
    modified_ns: int
    """Modification time of the file when it was hashed: it must not change until sent."""

    chunk_bytes: int
    priority: int
    tag: str
    expires_ms: int
    admitted_ms: int
    """DTN time of admission: first in, first out within a priority, also after a restart."""

    policy: DataPolicy | None = None

    @property
    def key(self) -> str:
        """The object's durable key, and its name in logs."""
        return self.object_id.hex()

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return chunk_count(self.size, self.chunk_bytes)

    def outgoing(self, payload: Buffer, lifetime_ms: int, service: str) -> Outgoing:
        """A bundle about the object."""
        to, priority, policy = self.destination, self.priority, self.policy
        return Outgoing(to, payload, lifetime_ms, service, priority=priority, policy=policy)

    def offer(self, sent_round: int) -> Offer:
        """The object's Offer message."""
        return Offer(
            self.object_id,
            self.name,
            self.size,
            self.sha256,
            self.chunk_bytes,
            self.priority,
            self.tag,
            sent_round,
        )

    def encode(self) -> bytes:
        """The durable record."""
        return encode(
            (
                VERSION,
                self.object_id,
                self.path.encode("utf-8", "surrogateescape"),
                str(self.destination),
                self.name,
                self.size,
                self.sha256,
                self.modified_ns,
                self.chunk_bytes,
                self.priority,
                self.tag,
                self.expires_ms,
                self.admitted_ms,
                label(self.policy),
            )
        )

    @staticmethod
    def decode(data: bytes) -> OutSpec:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        spec = OutSpec(
            fields.blob(messages.ID_BYTES, messages.ID_BYTES),
            fields.blob(_PATH_OCTETS_MAX).decode("utf-8", "surrogateescape"),
            Eid.parse(fields.text(2 * EID_CHARS_MAX)),
            fields.text(NAME_CHARS_MAX),
            fields.uint(messages.OBJECT_BYTES_MAX),
            fields.blob(messages.SHA256_BYTES, messages.SHA256_BYTES),
            fields.uint(_TIME_MAX),
            fields.uint(messages.CHUNK_BYTES_MAX, messages.CHUNK_BYTES_MIN),
            fields.uint(messages.PRIORITY_MAX),
            fields.text(messages.TAG_CHARS_MAX),
            fields.uint(_TIME_MAX),
            fields.uint(_TIME_MAX),
            take_policy(fields, version),
        )
        fields.end()
        return spec


@dataclass(slots=True)
class OutObject:
    """An object on its way out: its spec, its durable progress, and this run's figures."""

    spec: OutSpec
    state: OutState = OutState.SENDING
    round: int = 1
    offered: bool = False
    text: str = ""
    pending: list[tuple[int, int]] = field(default_factory=list)
    """Chunk numbers still to hand over, ascending."""

    order: int = 0
    """Settles the order of what was admitted in the same millisecond."""

    nudge_s: float = 0.0
    started_ns: int = 0
    held_bytes: int = 0
    """Octets that were handed over and that the next hop has not confirmed, when last looked at."""

    storing_bytes: int = 0
    """Octets of the batch that is being handed over: neither still here nor the node's yet."""

    first_bytes: int | None = None
    """Octets that had left when this run first looked, for the rate."""

    expected: Expected | None = None
    foreseen: bool = False
    """Whether the contact plan has been asked for `expected`."""

    @property
    def handed_bytes(self) -> int:
        """Octets that were handed to the node."""
        return self.spec.size - self.pending_bytes - self.storing_bytes

    @property
    def left_bytes(self) -> int:
        """Octets that the receiver, or at least the next hop, has confirmed."""
        return max(self.handed_bytes - self.held_bytes, 0)

    @property
    def pending_bytes(self) -> int:
        """Octets of the chunks still to hand over, at most the object's size."""
        chunks = sum(end - start for start, end in self.pending)
        return min(chunks * self.spec.chunk_bytes, self.spec.size)

    def step(self, step: OutStep, text: str = "") -> bool:
        """Take a step; whether the state machine has it."""
        then = OUT_STEPS.get((self.state, step))
        if then is None:
            return False
        self.state = then
        if then is OutState.DELIVERED or step is OutStep.BUSY:
            self.pending.clear()
        if then is OutState.DELIVERED:
            self.held_bytes = 0
        if text or then not in OUT_OPEN:
            self.text = text
        return True

    def take(self, room: int) -> list[int]:
        """Take up to `room` chunk numbers from what is still to hand over; until they are stored
        `storing_bytes` has their octets."""
        taken: list[int] = []
        before_bytes = self.pending_bytes
        while self.pending and len(taken) < room:
            start, end = self.pending[0]
            until = min(end, start + room - len(taken))
            taken.extend(range(start, until))
            if until == end:
                self.pending.pop(0)
            else:
                self.pending[0] = (until, end)
        self.storing_bytes = before_bytes - self.pending_bytes
        return taken

    def stored(self, octets: int) -> None:
        """What was taken last is the node's now, which holds so many octets more."""
        self.storing_bytes = 0
        self.held_bytes += octets

    def progress(self, now_ns: int) -> Progress:
        """How far the object is."""
        is_open = self.state in OUT_OPEN
        moved = self.left_bytes - (self.first_bytes or 0)
        return Progress(
            self.spec.object_id,
            self.spec.destination,
            self.spec.name,
            "out",
            self.state.name.lower(),
            is_open,
            self.left_bytes,
            self.spec.size,
            rate_of(max(moved, 0), self.started_ns, now_ns) if is_open else 0.0,
            self.text,
            bytes_handed=self.handed_bytes,
            expected=self.expected if is_open else None,
        )

    def encode(self) -> bytes:
        """The durable progress."""
        return encode((1, int(self.state), self.round, self.offered, self.text, self.pending))

    @staticmethod
    def decode(spec: OutSpec, data: bytes) -> OutObject:
        """Read durable progress.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        fields.uint(1, 1)
        obj = OutObject(
            spec,
            OutState(fields.uint(max(OutState))),
            fields.uint(messages.ROUND_MAX),
            fields.flag(),
            fields.text(messages.TEXT_CHARS_MAX),
            fields.spans(_SPANS_MAX, spec.chunks),
        )
        fields.end()
        return obj


@dataclass(slots=True)
class InObject:
    """An object on its way in."""

    key: str
    source: Eid
    object_id: bytes
    size: int
    chunk_bytes: int
    expires_ms: int
    offer: Offer | None = None
    policy: DataPolicy | None = None
    """That of all bundles about it."""

    state: InState = InState.RECEIVING
    round: int = 1
    settling: bool = False
    """The sender has said that round `round` is fully sent."""

    failures: int = 0
    text: str = ""
    have: RangeSet = field(default_factory=RangeSet)
    """Chunk numbers on disk."""

    started_ns: int = 0
    got_bytes: int = 0
    """Octets received in this run, for the rate."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return chunk_count(self.size, self.chunk_bytes)

    @property
    def have_bytes(self) -> int:
        """Octets on disk."""
        return min(len(self.have) * self.chunk_bytes, self.size)

    @property
    def complete(self) -> bool:
        """Whether everything is here and waits to be verified."""
        return (
            self.state is InState.RECEIVING
            and self.offer is not None
            and len(self.have) == self.chunks
        )

    def missing(self, limit: int) -> tuple[tuple[int, int], ...]:
        """The first `limit` spans of missing chunks."""
        return tuple(islice(self.have.gaps(0, self.chunks), limit))

    def step(self, step: InStep, text: str = "") -> bool:
        """Take a step; whether the state machine has it."""
        then = IN_STEPS.get((self.state, step))
        if then is None:
            return False
        self.state = then
        self.text = text
        self.settling = False
        self.have = RangeSet()
        return True

    def encode(self) -> bytes:
        """The durable record."""
        offer = b"" if self.offer is None else self.offer.encode()
        return encode(
            (
                VERSION,
                str(self.source),
                self.object_id,
                self.size,
                self.chunk_bytes,
                self.expires_ms,
                offer,
                int(self.state),
                self.round,
                self.settling,
                self.failures,
                self.text,
                list(self.have),
                label(self.policy),
            )
        )

    @staticmethod
    def decode(key: str, data: bytes) -> InObject:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        obj = InObject(
            key,
            Eid.parse(fields.text(2 * EID_CHARS_MAX)),
            fields.blob(messages.ID_BYTES, messages.ID_BYTES),
            fields.uint(messages.OBJECT_BYTES_MAX),
            fields.uint(messages.CHUNK_BYTES_MAX, messages.CHUNK_BYTES_MIN),
            fields.uint(_TIME_MAX),
        )
        offer = fields.view(_PATH_OCTETS_MAX * 2)
        if offer:
            message = messages.decode_message(offer)
            if not isinstance(message, Offer):
                raise fields.fail("not an Offer")
            obj.offer = message
        obj.state = InState(fields.uint(max(InState)))
        obj.round = fields.uint(messages.ROUND_MAX)
        obj.settling = fields.flag()
        obj.failures = fields.uint(_TIME_MAX)
        obj.text = fields.text(messages.TEXT_CHARS_MAX)
        obj.have = RangeSet(fields.spans(_SPANS_MAX, obj.chunks))
        obj.policy = take_policy(fields, version)
        fields.end()
        return obj


@dataclass(frozen=True, slots=True)
class Received:
    """A whole object in its place, to be handled once by the application that its tag names."""

    key: str
    source: Eid
    object_id: bytes
    name: str
    path: Path
    """Where the file is."""

    size: int
    sha256: bytes
    tag: str
    priority: int
    expires_ms: int
    policy: DataPolicy | None = None
    """Who may read, hold and carry it, where its sender says so."""

    def encode(self) -> bytes:
        """The durable record."""
        return encode(
            (
                VERSION,
                str(self.source),
                self.object_id,
                self.name,
                str(self.path).encode("utf-8", "surrogateescape"),
                self.size,
                self.sha256,
                self.tag,
                self.priority,
                self.expires_ms,
                label(self.policy),
            )
        )

    @staticmethod
    def decode(key: str, data: bytes) -> Received:
        """Read a durable record.  Raises `DecodeError`."""
        fields = decode(data, _SECTION)
        version = fields.uint(VERSION, 1)
        received = Received(
            key,
            Eid.parse(fields.text(2 * EID_CHARS_MAX)),
            fields.blob(messages.ID_BYTES, messages.ID_BYTES),
            fields.text(NAME_CHARS_MAX),
            Path(fields.blob(2 * _PATH_OCTETS_MAX).decode("utf-8", "surrogateescape")),
            fields.uint(messages.OBJECT_BYTES_MAX),
            fields.blob(messages.SHA256_BYTES, messages.SHA256_BYTES),
            fields.text(messages.TAG_CHARS_MAX),
            fields.uint(messages.PRIORITY_MAX),
            fields.uint(_TIME_MAX),
            take_policy(fields, version),
        )
        fields.end()
        return received


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an object is, for people and programs."""

    object_id: bytes
    peer: Eid
    name: str
    direction: str
    """``out`` or ``in``."""

    state: str
    """The name of its `OutState` or `InState`, in lower case."""

    open: bool
    """Whether it is still under way."""

    bytes_done: int
    """Octets that the receiver, or at least the next hop, has confirmed (out), or that are on disk
    here (in).  Chunks that got lost behind the next hop, and are sent again, count no more."""

    bytes_total: int
    rate_bytes_s: float
    """Mean rate of `bytes_done` since this process took the object up; 0 when not known."""

    text: str
    """Why, where it failed."""

    bytes_handed: int = 0
    """Octets that were handed to this node to send, `bytes_done` among them; 0 on the way in."""

    expected: Expected | None = None
    """When the contact plan has all of it at its receiver, behind what is sent to the same node
    before it, and over how many contacts; None when the plan does not say."""

    @property
    def rest_s(self) -> float | None:
        """Seconds until the rest is done at the mean rate; None when not known.  Gaps between
        passes count into the rate, so that it is right over days and rough over minutes:
        `expected` is better."""
        left = self.bytes_total - self.bytes_done
        return left / self.rate_bytes_s if self.rate_bytes_s > 0 else None


def rate_of(count: int, since_ns: int, now_ns: int) -> float:
    """Octets a second."""
    return count * SECOND / (now_ns - since_ns) if now_ns > since_ns else 0.0


@dataclass(frozen=True, slots=True)
class FileEvent:
    """Something happened to an object.  `kind`: ``progress``, ``repair`` (chunks were missing),
    ``damaged`` (content did not match), the name of a final state in lower case, or ``erased``:
    what was received is gone, as its data policy has ended."""

    kind: str
    progress: Progress
