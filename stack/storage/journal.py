"""What a transaction writes into the node's log: it is there together with the effects, or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from stack.audit.event import Alike, Happened, encode_alike
from stack.ports.store import EventLedger, Stored
from stack.storage import sql
from stack.storage.event_rows import events_in, row_of, rows_of
from stack.wire import cbor


class Journal:
    """The events of one transaction."""

    def __init__(self, ledger: EventLedger | None, end: int, now_ms: int) -> None:
        """`end` is the number of the next event."""
        self._ledger = ledger
        self._now_ms = now_ms
        self._first = end
        self._groups: list[Alike] = []
        self.prune_before = 0

    @property
    def asks(self) -> bool:
        """Whether anybody wants to know of bundles that the store lets go of."""
        return self._ledger is not None

    @property
    def end(self) -> int:
        """The number of the event that follows."""
        return self._first + sum(len(group.objects) for group in self._groups)

    @property
    def events(self) -> list[tuple[int, bytes]]:
        """All that happens in this transaction, with its numbers."""
        events = [event for group in self._groups for event in group.events]
        return list(enumerate(events, self._first))

    def add(self, events: Sequence[Happened]) -> None:
        """These happen in this transaction.  Raises `LocalError` for one that is too large."""
        self._groups += encode_alike(events, self._now_ms)

    def left(self, stored: Iterable[Stored], acts: int, why: str) -> None:
        """The store lets go of these by itself."""
        if self._ledger is not None:
            for one in stored:
                event = self._ledger.left(one, acts, why)
                if event is not None:
                    self.add((event,))

    def write(self, db: sqlite3.Connection) -> None:
        """Make it part of the open transaction.  Raises `sqlite3.Error`."""
        if self._groups:
            sql.insert(db, sql.INSERT_EVENT, rows_of(self._groups, self._first))
        if self.prune_before:
            self._prune(db)

    def _prune(self, db: sqlite3.Connection) -> None:
        """Let go of whole rows, and of the first events in the one that follows."""
        before = min(self.prune_before, self.end - 1)  # the last one stays
        db.execute(sql.PRUNE_EVENTS, (before,))
        for row in db.execute(sql.SELECT_EVENTS, (before, 1)).fetchall():
            kept = [cbor.bstr(event) for number, event in events_in(*row) if number >= before]
            if kept:
                number, check, octets = row_of(kept, row[0])
                db.execute(sql.UPDATE_EVENT, (check, octets, number))
