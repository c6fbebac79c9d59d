"""Stored bundles as the agent knows them, and those that wait for an endpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass

from stack.ports.store import Place, Put, Stored


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
    previous: str = ""
    """The neighbour that it came from, as far as this process knows: it does not get it back."""


def entered(ref: int, put: Put) -> Entry:
    """The entry of a bundle that has just been stored."""
    return Entry(
        ref,
        put.place,
        put.destination,
        put.source,
        put.priority,
        len(put.wire),
        put.expires_ms,
        put.received_ms,
        put.tag,
        put.memo if isinstance(put.memo, str) else "",
    )


def restored(old: Stored) -> Entry:
    """The entry of a bundle that a restart found in the store."""
    return Entry(
        old.ref,
        old.place,
        old.destination,
        old.source,
        old.priority,
        old.size,
        old.expires_ms,
        old.received_ms,
        old.tag,
    )


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

    def put_back(self, service: str, refs: Sequence[int]) -> None:
        """What an endpoint took and did not consume waits for the next registration, in front."""
        queue = self._queues.setdefault(service, deque())
        queue.extendleft(ref for ref in reversed(refs) if ref in self._alive)
