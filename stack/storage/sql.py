"""Every SQL statement of the store, and how many rows go through one at once.

One statement for many rows costs a third of one statement a row.  The numbers of rows are powers
of two, so that the connection's cache of prepared statements holds them all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

ROWS_MAX = 256
"""Rows of the longest statement: more gains nothing, and SQLite's limit on variables is far."""

Row = tuple[Any, ...]
Batched = tuple[tuple[int, str], ...]


def _insert(head: str, columns: int) -> Batched:
    marks = "(" + ",".join("?" * columns) + ")"
    return tuple((n, head + ",".join([marks] * n)) for n in _sizes())


def _within(head: str, tail: str = "") -> Batched:
    return tuple((n, head + "(" + ",".join("?" * n) + ")" + tail) for n in _sizes())


def _sizes() -> list[int]:
    return [ROWS_MAX >> shift for shift in range(ROWS_MAX.bit_length())]


INSERT_SEEN: Final = _insert("INSERT INTO seen (key, expires_ms, ref) VALUES ", 3)
MEND_SEEN: Final = "INSERT OR IGNORE INTO seen (key, expires_ms, ref) VALUES (?, ?, ?)"
INSERT_BUNDLE: Final = _insert("INSERT INTO bundle VALUES ", 14)
INSERT_BODY: Final = _insert("INSERT INTO body (ref, wire) VALUES ", 2)
INSERT_PARITY: Final = _insert("INSERT INTO parity (ref, part, octets) VALUES ", 3)
RENEW_PARITY: Final = "INSERT OR REPLACE INTO parity (ref, part, octets) VALUES (?, ?, ?)"
SELECT_SEEN: Final = _within("SELECT key, ref, expires_ms FROM seen WHERE key IN ")
DELETE_SEEN: Final = _within("DELETE FROM seen WHERE key IN ")
DELETE_SEEN_REF: Final = _within("DELETE FROM seen WHERE ref IN ")
# A damaged row may hold anything anywhere; what is only counted becomes a number.
_COUNTED: Final = (
    "SELECT ref, coalesce(CAST(size AS INTEGER), 0), coalesce(CAST(priority AS INTEGER), 0),"
    " coalesce(CAST(place AS INTEGER), 0), coalesce(CAST(segment AS INTEGER), 0) FROM bundle"
)
# All columns, in the order of `rows.BundleRow`.
SELECT_BUNDLE: Final = _within("SELECT * FROM bundle WHERE ref IN ")
SELECT_COUNTED: Final = _within(_COUNTED + " WHERE ref IN ")
SELECT_OCTETS: Final = _within(
    "SELECT bundle.ref, coalesce(CAST(segment AS INTEGER), 0), coalesce(CAST(start AS INTEGER), 0),"
    " coalesce(CAST(size AS INTEGER), 0), wire_check, wire FROM bundle"
    " LEFT JOIN body ON body.ref = bundle.ref WHERE bundle.ref IN "
)
DELETE_BUNDLE: Final = _within("DELETE FROM bundle WHERE ref IN ")
DELETE_BODY: Final = _within("DELETE FROM body WHERE ref IN ")
DELETE_PARITY: Final = _within("DELETE FROM parity WHERE ref IN ")
ANY_PARITY: Final = "SELECT EXISTS (SELECT 1 FROM parity)"

UPDATE_PLACE: Final = (
    "UPDATE bundle SET place = ?, tag = ?, priority = ?, row_check = ? WHERE ref = ?"
)
UPDATE_SPOILED: Final = (
    "UPDATE bundle SET key = ?, place = ?, tag = ?, priority = ?, row_check = ? WHERE ref = ?"
)
SELECT_BODY: Final = "SELECT wire FROM body WHERE ref = ?"
RENEW_BODY: Final = "INSERT OR REPLACE INTO body (ref, wire) VALUES (?, ?)"
# Of a part of a bundle: where it begins, counted from 1; its octets; its number; the ref.
SELECT_PIECE: Final = (
    "SELECT segment, start, substr(wire, ?, ?),"
    " (SELECT octets FROM parity WHERE parity.ref = bundle.ref AND part = ?)"
    " FROM bundle LEFT JOIN body ON body.ref = bundle.ref WHERE bundle.ref = ?"
)
UPDATE_SEGMENT: Final = "UPDATE bundle SET segment = ?, start = ?, row_check = ? WHERE ref = ?"
SELECT_PAGE: Final = "SELECT * FROM bundle WHERE ref > ? ORDER BY ref LIMIT ?"
SELECT_IN_SEGMENT: Final = (
    "SELECT * FROM bundle WHERE segment = ? AND segment > 0 ORDER BY ref LIMIT ?"
)
SELECT_HELD: Final = (
    "SELECT bundle.ref FROM seen JOIN bundle ON bundle.ref = seen.ref WHERE seen.key = ?"
)
SELECT_EXPIRED: Final = (
    "SELECT key, ref FROM seen WHERE expires_ms <= ? ORDER BY expires_ms, key LIMIT ?"
)
UPDATE_SEEN: Final = "UPDATE seen SET expires_ms = ? WHERE key = ?"
FIRST_EXPIRY: Final = "SELECT min(expires_ms) FROM seen"
SELECT_FORGETTABLE: Final = (
    "SELECT key, expires_ms, EXISTS (SELECT 1 FROM bundle WHERE bundle.ref = seen.ref)"
    " FROM seen WHERE (expires_ms, key) > (?, ?) ORDER BY expires_ms, key LIMIT ?"
)
SELECT_EVICTABLE: Final = (
    _COUNTED + " WHERE place <> 1 AND priority < ? ORDER BY priority, ref LIMIT ?"
)
SELECT_TALLY: Final = (
    "SELECT count(*), coalesce(CAST(sum(size) AS INTEGER), 0),"
    " coalesce(CAST(priority AS INTEGER), 0) AS level, coalesce(CAST(place AS INTEGER), 0) AS why,"
    " coalesce(CAST(segment AS INTEGER), 0) AS part FROM bundle GROUP BY level, why, part"
)
COUNT_SEEN: Final = "SELECT count(*) FROM seen"
INSERT_STATE: Final = (
    "INSERT OR REPLACE INTO state (space, key, value, row_check) VALUES (?, ?, ?, ?)"
)
DELETE_STATE: Final = "DELETE FROM state WHERE space = ? AND key = ?"
SELECT_STATE: Final = "SELECT value, row_check FROM state WHERE space = ? AND key = ?"
DELETE_DAMAGED_STATE: Final = (  # whatever text it has become
    "DELETE FROM state WHERE CAST(space AS BLOB) = ? AND CAST(key AS BLOB) = ?"
)
SELECT_STATES: Final = "SELECT space, key, value, row_check FROM state"
SELECT_STATE_FROM: Final = (
    "SELECT key, value, row_check FROM state WHERE space = ? AND key >= ? ORDER BY key"
)
INSERT_EVENT: Final = _insert("INSERT INTO audit (number, row_check, event) VALUES ", 3)
UPDATE_EVENT: Final = "UPDATE audit SET row_check = ?, event = ? WHERE number = ?"
RENEW_EVENT: Final = "INSERT OR IGNORE INTO audit (number, row_check, event) VALUES (?, ?, ?)"
SELECT_EVENTS: Final = (
    "SELECT number, row_check, event FROM audit WHERE number >= ? ORDER BY number LIMIT ?"
)
EVENTS_END: Final = "SELECT coalesce(max(number) + 1, 0) FROM audit"
PRUNE_EVENTS: Final = (
    "DELETE FROM audit WHERE number < ? AND number < (SELECT max(number) FROM audit)"
)
SELECT_META: Final = "SELECT value FROM meta WHERE name = ?"
SET_META: Final = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
UPDATE_META: Final = "UPDATE meta SET value = ? WHERE name = ?"


def insert(db: sqlite3.Connection, statements: Batched, rows: Sequence[Row]) -> None:
    """Insert `rows` with as few statements as possible."""
    start, count = 0, len(rows)
    for size, text in statements[-count.bit_length() :] if count else ():
        while count - start >= size:
            db.execute(text, list(chain.from_iterable(rows[start : start + size])))
            start += size


def select(db: sqlite3.Connection, statements: Batched, values: Sequence[object]) -> list[Row]:
    """The rows whose key is among `values`, in no order."""
    found: list[Row] = []
    start, count = 0, len(values)
    for size, text in statements[-count.bit_length() :] if count else ():
        while count - start >= size:
            found += db.execute(text, values[start : start + size])
            start += size
    return found


def delete(db: sqlite3.Connection, statements: Batched, values: Sequence[object]) -> int:
    """Delete the rows whose key is among `values`; how many there were."""
    deleted = start = 0
    count = len(values)
    for size, text in statements[-count.bit_length() :] if count else ():
        while count - start >= size:
            deleted += db.execute(text, values[start : start + size]).rowcount
            start += size
    return deleted
