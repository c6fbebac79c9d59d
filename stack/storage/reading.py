"""The reading half of the SQLite store: a connection of its own, so that no read waits for a
commit, and one lock, under which payload files are neither closed nor removed."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stack.core.train import Buffer
from stack.ports.store import Place
from stack.storage import files, sql
from stack.storage.config import StoreConfig
from stack.storage.event_rows import events_in
from stack.storage.parity import PART_BYTES, part_bytes, parts_of
from stack.storage.payload_log import PayloadLog
from stack.storage.rows import BundleRow, is_sound_state, wire_checksum

RUN_BYTES_MAX: Final = 1 << 20
"""Neighbouring bundles are read from the log in one go up to this size: the views handed out
share one buffer, which lives as long as the last of them."""

Damaged = list[tuple[int, Buffer]]
"""Refs of damaged bundles, with what was found in place of their octets."""

DamagedState = tuple[object, object, object]
"""Space, key and value of an entry of state, as they were found."""


class Reader:
    """Reads that change nothing.  Every method raises `StoreError` when the database fails."""

    def __init__(self, directory: Path, config: StoreConfig, log: PayloadLog) -> None:
        self._directory = directory
        self._config = config
        self._log = log
        self.lock = threading.Lock()
        self.damaged_states: list[DamagedState] = []
        """Entries that were passed over, for whoever tells of them."""
        self.open_database()

    def open_database(self) -> None:
        """Open the database (again, after `close_database`).  Raises `sqlite3.Error`."""
        self._db = files.connect(self._directory, self._config, reader=True)

    def close_database(self) -> None:
        """Close it; the caller holds the lock."""
        self._db.close()

    def close(self) -> None:
        """Close the connection."""
        with self.lock:
            self.close_database()

    def load(self, refs: Sequence[int]) -> tuple[dict[int, Buffer], Damaged]:
        """The octets of bundles by ref, and the bundles that are damaged."""
        sound: dict[int, Buffer] = {}
        damaged: Damaged = []
        placed: list[tuple[int, int, int, int, int]] = []
        with self.lock:
            try:
                rows = sql.select(self._db, sql.SELECT_OCTETS, refs)
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
            for ref, segment, start, size, check, encoded in rows:
                if segment:
                    placed.append((segment, start, size, check, ref))
                elif (
                    isinstance(encoded, bytes)
                    and len(encoded) == size
                    and wire_checksum(ref, encoded) == check
                ):
                    sound[ref] = encoded
                else:
                    damaged.append((ref, encoded if isinstance(encoded, bytes) else b""))
            placed.sort()
            first = 0
            while first < len(placed):
                last = _run_end(placed, first)
                self._read_run(placed[first:last], sound, damaged)
                first = last
        return sound, [each for each in damaged if not self._set_aside(each[0])]

    def row(self, ref: int) -> BundleRow | None:
        """A bundle's row, unless it is damaged."""
        found = [row for row in self.page(ref - 1, 1) if row.ref == ref and row.intact()]
        return found[0] if found else None

    def _set_aside(self, ref: int) -> bool:
        """Whether a damaged bundle is known as such."""
        row = self.row(ref)
        return row is not None and row.place == Place.QUARANTINE

    def remains(self, ref: int) -> bytes | None:
        """The octets of a bundle in quarantine as they are found."""
        row = self.row(ref)
        if row is None or row.place != Place.QUARANTINE:
            return None
        parts = range(parts_of(row.size))
        found = [self.piece(ref, part, part_bytes(row.size, part)) for part in parts]
        return b"".join(piece[0] for piece in found if piece is not None)

    def piece(self, ref: int, part: int, octets: int) -> tuple[bytes, bytes | None] | None:
        """A part of a bundle (see `parity.PART_BYTES`) as it is found, `octets` or fewer, and its
        parity; None when the bundle is not there."""
        first = part * PART_BYTES
        with self.lock:
            try:
                asked = (first + 1, octets, part, ref)
                row = self._db.execute(sql.SELECT_PIECE, asked).fetchone()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
            if row is None:
                return None
            segment, start, found, parity = row
            if segment:
                try:
                    found = self._log.read(segment, start + first, octets)
                except (OSError, TypeError, ValueError, OverflowError):
                    found = b""
        return (
            found if isinstance(found, bytes) else b"",
            parity if isinstance(parity, bytes) else None,
        )

    def page(self, after: int, limit: int) -> list[BundleRow]:
        """The next `limit` rows behind ref `after`, which may be damaged."""
        with self.lock:
            try:
                found = self._db.execute(sql.SELECT_PAGE, (after, limit)).fetchall()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
        return [BundleRow(*row) for row in found]

    def first_expiry(self) -> int | None:
        """The earliest time at which a key is forgotten."""
        with self.lock:
            try:
                (found,) = self._db.execute(sql.FIRST_EXPIRY).fetchone()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
        return found if isinstance(found, int) else None  # a damaged row may hold anything

    def events(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """Events of the node's log, but for those that are damaged."""
        with self.lock:
            try:
                return read_events(self._db, first, limit)
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error

    def held(self, key: bytes) -> int | None:
        """The ref of the bundle that is held under a key."""
        with self.lock:
            try:
                row = self._db.execute(sql.SELECT_HELD, (key,)).fetchone()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
        return None if row is None else int(row[0])

    def state(self, space: str, key: str) -> bytes | None:
        """One entry of durable state; None for one that is damaged."""
        with self.lock:
            try:
                row = self._db.execute(sql.SELECT_STATE, (space, key)).fetchone()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
        return row[0] if row is not None and self._sound(space, key, *row) else None

    def states(self, space: str, prefix: str) -> list[tuple[str, bytes]]:
        """The entries of a space whose keys begin with `prefix`, in key order, but for those that
        are damaged."""
        entries = []
        with self.lock:
            try:
                cursor = self._db.execute(sql.SELECT_STATE_FROM, (space, prefix))
                for key, value, check in cursor:
                    if not key.startswith(prefix):
                        break
                    if self._sound(space, key, value, check):
                        entries.append((key, value))
                cursor.close()
            except (sqlite3.Error, ValueError) as error:
                raise files.explained(error, self._directory) from error
        return entries

    def _read_run(
        self,
        run: list[tuple[int, int, int, int, int]],
        sound: dict[int, Buffer],
        damaged: Damaged,
    ) -> None:
        segment, origin = run[0][:2]
        octets = self._payload(segment, origin, run[-1][1] + run[-1][2] - origin)
        view = memoryview(octets)
        for _, start, size, check, ref in run:
            encoded = view[start - origin : start - origin + size]
            if len(encoded) == size and wire_checksum(ref, encoded) == check:
                sound[ref] = encoded
            else:
                damaged.append((ref, encoded))

    def _payload(self, segment: int, start: int, size: int) -> bytes:
        try:
            return self._log.read(segment, start, size)
        except (OSError, ValueError, OverflowError):  # a damaged row may name any place
            return b""

    def _sound(self, space: object, key: object, value: object, check: object) -> bool:
        sound = is_sound_state(space, key, value, check)
        if not sound:
            self.damaged_states.append((space, key, value))
        return sound


def read_events(db: sqlite3.Connection, first: int, limit: int) -> list[tuple[int, bytes]]:
    """Up to `limit` events (-1: all) of table `audit` from number `first` on, but for those that
    are damaged.  Raises `sqlite3.Error`."""
    found: list[tuple[int, bytes]] = []
    with contextlib.closing(db.execute(sql.SELECT_EVENTS, (first, limit))) as rows:
        for row in rows:
            events = events_in(*row)
            found += events[max(0, first - events[0][0]) :] if events else ()
            if 0 <= limit <= len(found):
                return found[:limit]
    return found


def _run_end(placed: list[tuple[int, int, int, int, int]], first: int) -> int:
    """Where the bundles that follow one another in the log, from `first` on, end."""
    segment, origin, size = placed[first][:3]
    end = origin + size
    index = first + 1
    while index < len(placed):
        other, start, size = placed[index][:3]
        if other != segment or start != end or end + size - origin > RUN_BYTES_MAX:
            break
        end += size
        index += 1
    return index
