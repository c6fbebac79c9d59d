"""Reads a node's log out of the folder of its store, whether the node runs or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from stack.audit.export import LogExport
from stack.audit.log import FORKED, SEEN, WITNESS, ClosedLog, node_of
from stack.audit.note import WITNESS_KEY, LogCheckpoint, NoteKey, NoteSigner, SignedNote
from stack.core.errors import DecodeError, StoreError
from stack.storage import sql
from stack.storage.files import DATABASE_NAME
from stack.storage.reading import read_events
from stack.storage.rows import is_sound_state

T = TypeVar("T")

SPACE = "audit"
BASE, KEY, LOG, NOTE, VKEY = "base", "key", "log", "checkpoint", "vkey"
VOUCHER = "voucher"
NOTES = "audit-notes"
WAYS = "audit-ways"
"""Spaces and keys of the store in which a node keeps what belongs to its log; in the last one are
earlier states of it, by which it goes on behind entries that are damaged."""


def read_log(folder: Path) -> LogExport:
    """The log of the node whose data folder, or store, this is, up to its last checkpoint and
    beyond.  Raises `StoreError` when there is none that can be read."""
    return _within(folder, _read)


def read_secret(folder: Path) -> bytes:
    """The secret half of the key of that log.  Raises `StoreError` likewise."""
    return _within(folder, lambda db, path: _state(db, KEY))


def read_witness(folder: Path) -> NoteKey:
    """The public key with which the node of a folder cosigns.  Raises `StoreError` for one that has
    not cosigned yet."""
    return _within(folder, _witness)


def _witness(db: sqlite3.Connection, path: Path) -> NoteKey:
    row = db.execute(sql.SELECT_STATE, WITNESS).fetchone()
    for _, note, _ in db.execute(sql.SELECT_STATE_FROM, (SEEN, "")) if row is not None else ():
        signed = SignedNote.parse(bytes(note))
        for name, _, _ in signed.signatures:
            key = NoteSigner(name, bytes(row[0]), WITNESS_KEY).key
            if key.time_of(signed) is not None:
                return key
    raise StoreError(f"{path}: it has cosigned nothing yet; see `witness` in [audit]")


def _within(folder: Path, read: Callable[[sqlite3.Connection, Path], T]) -> T:
    path = next(
        (p for p in (folder / "store" / DATABASE_NAME, folder / DATABASE_NAME) if p.exists()), None
    )
    if path is None:
        raise StoreError(f"{folder} has no store: give the data_dir of a node")
    try:
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            db.execute("BEGIN")  # all of one moment
            return read(db, path)
        finally:
            db.close()
    except (sqlite3.Error, DecodeError) as error:
        raise StoreError(f"{path}: {error}") from error


def _read(db: sqlite3.Connection, path: Path) -> LogExport:
    note, vkey = _state(db, NOTE), _state(db, VKEY)
    if not note or not vkey:
        raise StoreError(
            f"{path}: nothing was closed by a checkpoint yet; see `checkpoint_s` in [audit]"
        )
    origin = LogCheckpoint.parse(SignedNote.parse(note).text).origin
    node = node_of(origin)
    log = ClosedLog.decode(node, _state(db, LOG))
    base = ClosedLog.decode(node, _state(db, BASE) or log.begun().encode())
    if base.origin != origin:
        base = log.begun()
    export = LogExport(origin, NoteKey.parse(vkey.decode()), base.peaks)
    export.voucher = _state(db, VOUCHER)
    ways = [
        ClosedLog.decode(node, bytes(value))
        for key, value, check in _states(db, WAYS)
        if is_sound_state(WAYS, key, value, check)
    ]
    _take_events(db, export, log, [way for way in ways if way.origin == origin])
    found = ((NOTES, export.checkpoints), (SEEN, export.seen), (FORKED, export.seen))
    for space, notes in found:
        notes += [bytes(value) for _, value, _ in _states(db, space)]
    export.checkpoints.append(note)
    return export


def _take_events(
    db: sqlite3.Connection, export: LogExport, log: ClosedLog, ways: list[ClosedLog]
) -> None:
    """Its events; behind one that is damaged it goes on with the next state that is known."""
    later = sorted((*ways, log), key=lambda way: way.next)
    for number, event in read_events(db, log.start + export.size, -1):
        while number > log.start + export.size:
            way = next((way for way in later if way.peaks.size > export.size), None)
            if way is None:
                return  # what follows is another log's
            export.resume(way.peaks)
        if number == log.start + export.size:
            export.events.append(event)
    if export.size < log.peaks.size:
        export.resume(log.peaks)


def _states(db: sqlite3.Connection, space: str) -> list[tuple[str, bytes, int]]:
    return db.execute(sql.SELECT_STATE_FROM, (space, "")).fetchall()


def _state(db: sqlite3.Connection, key: str) -> bytes:
    row = db.execute(sql.SELECT_STATE, (SPACE, key)).fetchone()
    return b"" if row is None else bytes(row[0])
