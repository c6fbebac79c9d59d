"""What a transaction writes into the node's log: it is there together with the effects, or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from stack.audit.event import AuditEvent, encode_event
from stack.ports.store import EventLedger, Stored
from stack.storage import sql
from stack.storage.rows import event_check


class Journal:
    """The events of one transaction."""

    def __init__(self, ledger: EventLedger | None, end: int, now_ms: int) -> None:
        """`end` is the number of the next event."""
        self._ledger = ledger
        self._now_ms = now_ms
        self.end = end
        self.events: list[tuple[int, bytes]] = []
        self.prune_before = 0

    @property
    def asks(self) -> bool:
        """Whether anybody wants to know of bundles that the store lets go of."""
        return self._ledger is not None

    def add(self, events: Iterable[AuditEvent]) -> None:
        """These happen in this transaction.  Raises `LocalError` for one that is too large."""
        for event in events:
            self.events.append((self.end, encode_event(event, self._now_ms)))
            self.end += 1

    def left(self, stored: Iterable[Stored], acts: int, why: str) -> None:
        """The store lets go of these by itself."""
        if self._ledger is not None:
            for one in stored:
                event = self._ledger.left(one, acts, why)
                if event is not None:
                    self.add((event,))

    def write(self, db: sqlite3.Connection) -> None:
        """Make it part of the open transaction.  Raises `sqlite3.Error`."""
        if self.events:
            rows = [(number, event_check(number, event), event) for number, event in self.events]
            sql.insert(db, sql.INSERT_EVENT, rows)
        if self.prune_before:
            db.execute(sql.PRUNE_EVENTS, (self.prune_before,))
