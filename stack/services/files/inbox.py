"""Inboxes: whole objects on their way to the applications, each handled exactly once.

An object enters its inbox in the transaction that marks it received, and leaves it in the
transaction of whoever handles it.  Between the two it survives every restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from stack.core.eid import Eid
from stack.ports.application import AppPort
from stack.ports.store import Write
from stack.services.batch import Batch
from stack.services.files.messages import Offer
from stack.services.files.state import SPACE_INBOX, Received
from stack.services.policies import readable
from stack.services.shares import PeerShares

Place = Callable[[Eid, Offer], str | None]
"""`place(source, offer)`: the relative path under the service's directory at which to put an
offered object, or None to refuse it.  Must give the same answer each time it is asked."""


def place_by_name(source: Eid, offer: Offer) -> str | None:
    """The place of objects that nobody asked for: the name that the sender gave."""
    return offer.name


class Inbox:
    """Objects whose tag begins with `prefix`, oldest first, but for those that may not be read here
    any more: these wait until that is put right.

        async for received in inbox:
            use(received.path)

    An object counts as handled when the loop comes back for the next one.  To tie it to other
    durable effects instead, take it with `receive` and put `taken(received)` among the writes of
    your own transaction.
    """

    def __init__(self, port: AppPort, prefix: str, place: Place, shares: PeerShares) -> None:
        """`shares`: what counts for its source until it is handled."""
        self.prefix = prefix
        self.place = place
        self._port = port
        self._shares = shares
        self._waiting: deque[Received] = deque()
        self._held: dict[tuple[Eid, bytes], Received] = {}
        self._arrived = asyncio.Event()
        self._open: Received | None = None
        port.on_policy_change(self._arrived.set)

    def put(self, received: Received) -> None:
        """Called by the file service when an object has arrived."""
        self._held[received.source.node, received.object_id] = received
        self._waiting.append(received)
        self._shares.add(received.source, received.key)
        self._arrived.set()

    async def receive(self) -> Received:
        """The next object, waiting for it if need be."""
        while True:
            for received in self._waiting:
                if readable(self._port, self._port.node_id, received.policy):
                    self._waiting.remove(received)
                    return received
            self._arrived.clear()
            await self._arrived.wait()

    def find(self, source: Eid, object_id: bytes) -> Received | None:
        """An object from the node of `source` that has arrived and is not taken yet."""
        return self._held.get((source.node, object_id))

    def held(self) -> list[Received]:
        """Everything that has arrived and is not taken yet."""
        return list(self._held.values())

    def taken(self, received: Received) -> Write:
        """The write which makes the object handled; commit it with what handling it caused."""
        self._held.pop((received.source.node, received.object_id), None)
        self._shares.remove(received.source, received.key)
        return Write(SPACE_INBOX, received.key, None)

    def drop(self, received: Received, batch: Batch) -> None:
        """It has gone before anybody has handled it."""
        waiting = self._held.pop((received.source.node, received.object_id), None)
        if waiting is not None:
            self._shares.remove(waiting.source, waiting.key)
            batch.write(SPACE_INBOX, waiting.key, None)
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def __len__(self) -> int:
        return len(self._held)

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Received:
        if self._open is not None:
            await self._port.commit(write=[self.taken(self._open)])
            self._open = None
        self._open = await self.receive()
        return self._open
