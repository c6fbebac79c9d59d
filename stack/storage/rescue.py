"""Takes bundles back from the payload log when the database has lost them.

Behind the octets of each commit the log has a record of their rows, so that a bundle can be
found again without the database.  What the database let go of after that is not recorded: of a
database that is behind its mark, bundles may come back that had been sent or delivered already.
Their receivers know them as duplicates; losing one would be worse.
"""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from fastcrc import crc32

from stack.storage import sql
from stack.storage.rows import BundleRow, wire_checksum
from stack.storage.tally import Tally

_MAGIC: Final = b"\xf0OFrows\n"
_ENCODER: Final = msgspec.msgpack.Encoder()
_HEAD_BYTES: Final = len(_MAGIC) + 8


def record(commits: int, rows: Sequence[Sequence[object]]) -> bytes:
    """What goes behind the octets of `rows` in the log: rows, and how many commits came before."""
    body = _ENCODER.encode((commits, rows))
    return b"".join(
        (_MAGIC, len(body).to_bytes(4, "big"), crc32.iscsi(body).to_bytes(4, "big"), body)
    )


def readopt(
    db: sqlite3.Connection,
    directory: Path,
    commits: int,
    tally: Tally,
    let_go: Callable[[int], bool] | None = None,
) -> int:
    """Store again what the log has of commits behind the first `commits`; how many bundles.  A
    bundle whose key is remembered was let go of; `let_go` says of a ref whether that is so when
    the key does not tell.  Raises `sqlite3.Error`, `OSError`."""
    bundles = 0
    db.execute("BEGIN IMMEDIATE")
    for path in sorted(directory.glob("payload-*.log")):
        if not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
            for row in _rows(log, commits):
                encoded = log[row.start : row.start + row.size]
                if not row.intact() or wire_checksum(row.ref, encoded) != row.wire_check:
                    continue
                known = db.execute(sql.SELECT_SEEN[-1][1], (row.key,)).fetchone()
                if known is None:
                    db.execute(sql.MEND_SEEN, (row.key, row.expires_ms, row.ref))
                    tally.keys += 1
                elif let_go is None or known[1] != row.ref or let_go(row.ref):
                    continue  # it is there, or was let go of before
                elif db.execute(sql.SELECT_COUNTED[-1][1], (row.ref,)).fetchone():
                    continue
                db.execute(sql.INSERT_BUNDLE[-1][1], row)
                tally.count(1, row.size, row.priority, row.place, row.segment)
                bundles += 1
    db.execute("COMMIT")
    return bundles


def _rows(log: mmap.mmap, commits: int) -> Iterator[BundleRow]:
    """The rows of commits behind the first `commits`, the newest record of a bundle last."""
    found: list[tuple[int, list[BundleRow]]] = []
    # From the end: what looks like a record within the octets of a bundle is part of that bundle,
    # and may have been sent by anybody.
    end = len(log)
    while (at := log.rfind(_MAGIC, 0, end)) >= 0:
        record = _record(log, at)
        end = at + len(_MAGIC) - 1
        if record is not None:
            found.append(record)
            end = record[1][0].start
    newest = {row.ref: row for number, rows in reversed(found) if number >= commits for row in rows}
    yield from newest.values()


def _record(log: mmap.mmap, at: int) -> tuple[int, list[BundleRow]] | None:
    """How many commits came before, and the rows, if what is there is the record of the octets
    before it."""
    size, check = (
        int.from_bytes(log[at + len(_MAGIC) + part : at + len(_MAGIC) + part + 4], "big")
        for part in (0, 4)
    )
    body = log[at + _HEAD_BYTES : at + _HEAD_BYTES + size]
    if len(body) != size or crc32.iscsi(body) != check:
        return None
    try:
        number, fields = msgspec.msgpack.decode(body, type=tuple[int, list[list[object]]])
        rows = [BundleRow(*each) for each in fields]  # type: ignore[arg-type]
        if not rows or not all(row.intact() for row in rows):
            return None
    except (msgspec.MsgspecError, TypeError):
        return None  # octets of a bundle that look like a record
    start = rows[0].start
    return (number, rows) if 0 <= start == at - sum(row.size for row in rows) else None
