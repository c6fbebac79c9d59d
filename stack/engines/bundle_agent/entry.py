"""Stored bundles as the agent knows them, and those that wait for an endpoint."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

from stack.core.eid import Eid
from stack.engines.bundle_agent.notes import (
    is_bare,
    is_returned,
    owner_of,
    policy_and_rest,
    why_and_name,
)
from stack.policy import DataPolicy
from stack.ports.application import BundleId, Delivery
from stack.ports.store import Place, Put, Stored
from stack.wire.bundle import IS_ADMIN, STAMP_BYTES, Bundle, parse_stamp

_TIMELESS = bytes(8)
"""What keys begin with of bundles without creation time."""


_IDENTITY_BYTES = 32
"""Octets of the identity of a whole bundle (`bundle_key`)."""


EventSubject = tuple[str, str, bytes]
"""What all events of a bundle at a node have in common (see `stack.audit.event`): node, object and
the digest of its label, as that itself is as long as its owner likes, and may be that of many."""


@dataclass(slots=True)
class Entry:
    """A stored bundle; its octets are in the store."""

    ref: int
    place: Place
    destination: str
    source: str
    priority: int
    size: int
    expires_ms: int
    received_ms: int
    note: bytes
    key: bytes = b""
    """By which the store knows a bundle that was made here and is to leave; empty for all others.
    What goes by a tunnel has the key of the bundle within."""

    timeless: bool = False
    """It has no creation time (RFC 9171 §4.2.7)."""

    by_content: bool = False
    """Its key has more than its identity, as of what nobody had proven when it came."""

    previous: str = ""
    """The neighbour that it came from, as far as this process knows: it does not get it back."""

    owner: str = ""
    """Whose share of the store it counts to (see `stack.engines.bundle_agent.shares`)."""

    policy: DataPolicy | None = None
    """Who may read, hold and carry it, where its owner says so."""

    told: EventSubject | None = None
    """What its events begin with, where its story is written down (`trail`)."""

    @property
    def id(self) -> BundleId:
        """The id of a bundle that was made here."""
        creation_ms, sequence = parse_stamp(self.key[:STAMP_BYTES])
        return BundleId(Eid.parse(self.source), creation_ms, sequence)

    def delivery(self, bundle: Bundle) -> Delivery:
        """What an application gets of it: the bundle, opened."""
        primary = bundle.primary
        return Delivery(
            self.ref,
            BundleId(primary.source, primary.creation_ms, primary.sequence),
            primary.destination,
            bundle.payload.data,
            self.expires_ms,
            self.priority,
            bool(primary.flags & IS_ADMIN),
            self.policy,
        )


def entered(ref: int, put: Put, node: str) -> Entry:
    """The entry of a bundle that has just been stored at `node`."""
    key, place, note, policy, told = put.key, put.place, put.note, None, None
    if note:  # few have one
        policy, note = policy_and_rest(note)
        note = why_and_name(note)[0] if place is Place.QUARANTINE else note
    if put.event is not None:
        common, name = put.event
        told = common.node, name, common.label
    return Entry(
        ref,
        place,
        put.destination,
        put.source,
        put.priority,
        len(put.encoded),
        put.expires_ms,
        put.received_ms,
        b"" if note and is_bare(note) else note,
        _own_key(put, note, node) if place is Place.FORWARD else b"",
        key[:8] == _TIMELESS,
        len(key) > _IDENTITY_BYTES,
        put.previous,
        put.owner,
        policy,
        told,
    )


def restored(old: Stored, node: str, told: EventSubject | None = None) -> Entry:
    """The entry of a bundle that a restart found in the store of `node`; `told`: what its events
    begin with, if it has any."""
    quarantined = old.place is Place.QUARANTINE  # its note is why
    policy, note = policy_and_rest(old.note)
    if quarantined:
        note, _ = why_and_name(note)
    return Entry(
        old.ref,
        old.place,
        old.destination,
        old.source,
        old.priority,
        old.size,
        old.expires_ms,
        old.received_ms,
        b"" if is_bare(note) and not quarantined else note,
        _own_key(old, note, node),
        old.key.startswith(_TIMELESS),
        len(old.key) > _IDENTITY_BYTES,
        owner="" if quarantined else owner_of(note),
        policy=policy,
        told=told,
    )


def _own_key(bundle: Put | Stored, note: bytes, node: str) -> bytes:
    if bundle.place is not Place.FORWARD or node_and_service(bundle.source)[0] != node:
        return b""
    return b"" if is_returned(note) else bundle.key


@functools.lru_cache(maxsize=4096)
def node_and_service(endpoint: str) -> tuple[str, str]:
    """The node id and the service of an endpoint id."""
    eid = Eid.parse(endpoint)
    return str(eid.node), eid.service


class Waiting:
    """The bundles that wait for each local service, oldest first.

    Those that have left `alive` meanwhile (expired) are passed over.
    """

    def __init__(self, alive: Container[int]) -> None:
        self._alive = alive
        self._queues: dict[str, deque[int]] = {}

    def add(self, service: str, ref: int) -> None:
        """A bundle came for a service."""
        self._queues.setdefault(service, deque()).append(ref)

    def take(self, service: str, limit: int) -> list[int]:
        """Take up to `limit` bundles of a service."""
        queue = self._queues.get(service)
        taken: list[int] = []
        while queue and len(taken) < limit:
            ref = queue.popleft()
            if ref in self._alive:
                taken.append(ref)
        if queue is not None and not queue:
            del self._queues[service]  # services are named by peers: keep none for nothing
        return taken

    def drain(self) -> list[int]:
        """Take all, whatever for."""
        queues, self._queues = self._queues, {}
        return [ref for queue in queues.values() for ref in queue if ref in self._alive]

    def put_back(self, service: str, refs: Sequence[int]) -> None:
        """What an endpoint took and did not consume waits for the next registration, in front."""
        queue = self._queues.setdefault(service, deque())
        queue.extendleft(ref for ref in reversed(refs) if ref in self._alive)
