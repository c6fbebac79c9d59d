"""Frees the space of dead bundles in the payload log, in small steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from stack.core.train import Buffer
from stack.ports.store import Place
from stack.storage import sql
from stack.storage.config import StoreConfig
from stack.storage.payload_log import PayloadLog
from stack.storage.reading import Damaged, Reader
from stack.storage.rows import BundleRow
from stack.storage.staging import Staging
from stack.storage.tally import Tally

COMPACT_BYTES: Final = 1 << 20
"""Octets copied by one step of compaction: some milliseconds."""


def compact(
    staging: Staging, db: sqlite3.Connection, tally: Tally, log: PayloadLog, reader: Reader
) -> Damaged:
    """Copy up to about `COMPACT_BYTES` of the file with least alive to the end of the log; the
    bundles that were found damaged on the way.  Raises `sqlite3.Error`, `StoreError`."""
    segments = tally.segments
    sealed = [segment for segment in segments if log.sealed_size(segment)]
    if not sealed:
        return []
    emptiest = min(sealed, key=lambda each: segments[each][1] / log.sealed_size(each))
    rows: list[BundleRow] = []
    damaged: Damaged = []
    budget = COMPACT_BYTES
    for found in db.execute(sql.SELECT_IN_SEGMENT, (emptiest, sql.ROWS_MAX)).fetchall():
        row = BundleRow(*found)
        if row.intact():
            rows.append(row)
            budget -= row.size
        else:
            damaged.append((row.ref, b""))
        if budget <= 0:
            break
    sound, bad = reader.load([row.ref for row in rows])
    damaged += bad
    for row in rows:
        if row.place == Place.QUARANTINE and row.ref not in sound:  # known to be damaged
            remains = reader.remains(row.ref) or b""
            sound[row.ref] = remains[: row.size].ljust(row.size, b"\0")
    _relocate(staging, db, log, [row for row in rows if row.ref in sound], sound)
    return damaged


def surplus(tally: Tally, log: PayloadLog, config: StoreConfig, active: int) -> bool:
    """Whether so much in the sealed files is dead that copying the rest is worth it."""
    sealed = log.octets - log.active_octets
    if sealed <= config.segment_bytes:
        return False
    alive = tally.octets
    for segment in (0, active):
        if segment in tally.segments:
            alive -= tally.segments[segment][1]
    return (sealed - config.segment_bytes) * config.compact_below > alive


def _relocate(
    staging: Staging,
    db: sqlite3.Connection,
    log: PayloadLog,
    rows: Sequence[BundleRow],
    sound: Mapping[int, Buffer],
) -> None:
    """Append the octets of `rows` to the log again, at its end."""
    segment, start = log.place()
    updates = []
    moved = []
    for row in rows:
        new = row.moved(segment, start + staging.octets)
        updates.append((new.segment, new.start, new.row_check, new.ref))
        staging.change.count(-1, -row.size, row.priority, row.place, row.segment)
        staging.change.count(1, row.size, row.priority, row.place, segment)
        staging.buffers.append(sound[row.ref])
        staging.octets += row.size
        moved.append(new)
    if moved:
        staging.record(moved)
    db.executemany(sql.UPDATE_SEGMENT, updates)
