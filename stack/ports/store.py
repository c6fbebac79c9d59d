"""The durable store of a node, seen by everything above the storage backends.

One call, `commit`, applies a batch of operations as one durable transaction: when it returns,
the batch survives `kill -9`.  A convergence layer acknowledges a bundle only after the commit
that holds its `Put`.  The store recognises duplicates itself, by `key`, until `expires_ms`;
those for local applications also after they have been released.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from stack.audit.event import Happened
from stack.core.train import Buffer
from stack.core.value import quick
from stack.ports.security import Opened
from stack.wire.bundle import Bundle


class Place(enum.IntEnum):
    """Why the node still holds a bundle (the retention constraints of RFC 9171 §5)."""

    FORWARD = 0
    """Waits for a contact towards its destination."""

    DELIVER = 1
    """In custody of a local application: never evicted, only released by it or at its expiry."""

    FRAGMENT = 2
    """A fragment that waits for its siblings (RFC 9171 §5.9)."""

    DEFER = 3
    """For a local endpoint at which nobody is registered (RFC 9171 §5.7).  Peers can name any
    endpoint, so that this must not fill the store for good: it may be evicted."""

    QUARANTINE = 4
    """Work on it has failed, and it holds up no other: kept for the operator, and the first to be
    evicted."""


QUARANTINE_PRIORITY = -1
"""Priority of what is in quarantine: below that of every bundle, so that any may take its room."""


@quick
@dataclass(frozen=True, slots=True)
class Stored:
    """What the node knows of a stored bundle without reading its octets."""

    ref: int
    """The store's own name of the bundle: positive, growing, never used again."""

    key: bytes
    place: Place
    destination: str
    source: str
    priority: int
    size: int
    """Octets of the whole encoded bundle."""

    expires_ms: int
    """DTN time at which the bundle's lifetime ends, by this node's clock."""

    received_ms: int
    """DTN time at which this node took the bundle (its age starts to grow here)."""

    note: bytes = b""
    """Opaque to the store: what the agent needs to know again after a restart."""


class Put(NamedTuple):
    """Store a bundle, unless it is a duplicate: a bundle of the same `key` is held, or, for a
    local application (any `place` but FORWARD), was ever stored and has not expired.

    A bundle in transit that comes back after it was released is stored again: the node that has
    given it back has forgotten it, and dropping it would lose it.
    """

    key: bytes
    """What makes another bundle the same (see `stack.engines.bundle_agent.admission`), at most 64
    octets, beginning with its creation time big-endian so that keys which come together lie
    together in the index."""

    encoded: Buffer
    place: Place
    destination: str
    source: str
    priority: int
    expires_ms: int
    received_ms: int
    note: bytes = b""
    required: bool = False
    """True: when there is no room for it, the whole `commit` raises `StoreFullError`, doing nothing
    (an application's transaction is all or nothing); False: its ref is then `NO_ROOM` or
    `OVER_SHARE`."""

    evicts: bool = True
    """False: nothing that is held goes to make room for it, however low its priority."""

    known: Opened | Bundle | None = None
    """Not stored: of a bundle for here, what it was decoded or opened as."""

    previous: str = ""
    """Not stored: of another, the neighbour that brought it."""

    spare: tuple[int, int] = (0, 0)
    """Octets and bundles of the quotas that must stay free beside it: else there is no room."""

    part_of: bytes = b""
    """The key of the whole: while that is known, a part of it is a duplicate too."""

    owner: str = ""
    """Not stored: whose share it counts to (see `stack.engines.bundle_agent.shares`)."""

    event: Happened | None = None
    """What to write down when it is stored, in the node's log (see `RecordEvent`)."""

    also: tuple[Happened, ...] = ()
    """What to write down besides: of what is within it, or of what it came in."""


class Release(NamedTuple):
    """Forget a bundle's octets; its key stays known as seen, mostly until its lifetime ends."""

    ref: int
    known_until_ms: int | None = None
    """DTN time until which the key stays known instead; one that has passed forgets it at once,
    so that a bundle of the same key is taken when it comes."""

    event: Happened | None = None
    """What to write down when it was held until now, in the node's log (see `RecordEvent`)."""


@dataclass(frozen=True, slots=True)
class Move:
    """Change why a bundle is held (and its note).  In `Place.QUARANTINE` its priority becomes
    `QUARANTINE_PRIORITY`.  Of several for one bundle in a commit the last one counts."""

    ref: int
    place: Place
    note: bytes = b""

    def priority(self, before: int) -> int:
        """The bundle's priority from then on."""
        return QUARANTINE_PRIORITY if self.place is Place.QUARANTINE else before


@dataclass(frozen=True, slots=True)
class Write:
    """Set (or, with None, delete) one entry of durable application or engine state."""

    space: str
    key: str
    value: bytes | None


class RecordEvent(NamedTuple):
    """Write an event into the node's log, behind all that are there.  Their numbers begin with 0
    and are without gaps; like everything of a commit they are there with its effects, or not.
    The time of every event is that of the commit."""

    event: Happened


class PruneEvents(NamedTuple):
    """Forget the events before number `before`; the last one stays."""

    before: int


Op = Put | Release | Move | Write | RecordEvent | PruneEvents


@dataclass(frozen=True, slots=True)
class Committed:
    """The outcome of one `commit`."""

    refs: list[int]
    """One per `Put` of the batch, in order: the new ref (> 0), or `DUPLICATE`, or `NO_ROOM`, or
    `OVER_SHARE` where there would be room but for what has to stay `spare`."""

    evicted: list[int] = field(default_factory=list)
    """Refs that were dropped to make room (expired first, then lowest priority).  Their keys are
    forgotten with them: what was not kept may come again."""

    @property
    def kept_all(self) -> bool:
        """Whether each bundle of the batch is held now, or was before."""
        return min(self.refs, default=DUPLICATE) >= DUPLICATE


DUPLICATE = 0
NO_ROOM = -1
OVER_SHARE = -2


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the store is."""

    bundles: int
    bytes: int
    quota_bytes: int
    full: bool = False
    """Whether the disk has no room: bundles are let go of, and next to none are taken."""

    reserve_bytes: int = 0
    """Octets of disk put aside for that."""

    missing: int = 0
    """Bundles that the store had, and did not find when it was opened or rescued."""

    rescues: int = 0
    """Times that the database was found damaged and made anew since the store was opened."""

    damaged: int = 0
    """Bundles found damaged at rest beyond repair since then."""

    damaged_states: int = 0
    """Entries of durable state found damaged since then, and passed over."""

    repaired: int = 0
    """Bundles (or their parity) found damaged at rest and mended since then."""

    repaired_octets: int = 0
    """Octets that were put right."""

    scrubbed_bytes: int = 0
    """Octets at which the scrubber has looked."""


class EventLedger(Protocol):
    """Says what is to be written down of what a store does by itself."""

    def left(self, stored: Stored, acts: int, why: str) -> Happened | None:
        """The event of a bundle that the store lets go of (`Act.EXPIRED`, `Act.DELETED`), or
        nothing."""
        ...


class BundleStore(Protocol):
    """A synchronous store; `stack.adapters` decides on which thread it runs."""

    ledger: EventLedger | None
    """Who is asked about bundles that expire or are evicted; None: nothing is written down."""

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """Apply `ops` in order as one durable transaction.  `now_ms` (DTN) decides what has
        expired.  Raises `StoreError` when nothing of it was applied (disk full, damage)."""
        ...

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """The octets of bundles, None for one that is gone.  Raises `StoreError` on a checksum
        that does not match: what can be mended is mended before, what cannot is in quarantine from
        then on, and None when it is asked for again."""
        ...

    def remains(self, ref: int) -> bytes | None:
        """The octets, as they are, of a bundle that is in quarantine."""
        ...

    def scan(self) -> Iterator[Stored]:
        """Every stored bundle, in order of ref; used once, when a node starts."""
        ...

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """Release up to `limit` bundles whose lifetime has ended, and forget their keys."""
        ...

    def held(self, key: bytes) -> int | None:
        """The ref of the bundle that is held under `key`, or None when it is only remembered, or
        unknown."""
        ...

    def next_expiry(self) -> int | None:
        """The DTN time from which on `expire` has something to do, or None.  It may be that of a
        key which is only remembered."""
        ...

    def read(self, space: str, key: str) -> bytes | None:
        """One entry of durable state; one that is damaged is told, and as if it were not there."""
        ...

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """All entries of a space whose keys begin with `prefix`, in key order.  What is damaged is
        told, and left out."""
        ...

    def events(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """Up to `limit` events of the node's log, from number `first` on, with their numbers.
        What is damaged is left out."""
        ...

    @property
    def events_end(self) -> int:
        """The number that the next event will have."""
        ...

    def usage(self) -> Usage:
        """How full the store is."""
        ...

    def close(self) -> None:
        """Flush and close; the store can be opened again by a new object."""
        ...
