"""What a transaction writes into the node's log: it is there together with the effects, or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from stack.audit.event import AuditEvent, encode_events
from stack.ports.store import EventLedger, Stored
from stack.storage import sql
from stack.storage.rows import event_rows, events_in


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
        octets = encode_events(events, self._now_ms)
        self.events += enumerate(octets, self.end)
        self.end += len(octets)

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
            sql.insert(db, sql.INSERT_EVENT, event_rows(self.events))
        if self.prune_before:
            self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        """Let go of whole rows, and of the first events in the one that follows."""
        before = min(self.prune_before, self.end - 1)  # the last one stays
        db.execute(sql.PRUNE_EVENTS, (before,))
        for row in db.execute(sql.SELECT_EVENTS, (before, 1)).fetchall():
            kept = [each for each in events_in(*row) if each[0] >= before]
            for number, check, octets in event_rows(kept):
                db.execute(sql.UPDATE_EVENT, (check, octets, number))
