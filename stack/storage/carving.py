"""Reads the rows of a SQLite database page by page, without its trees, schema or indexes.

A page of a b-tree says itself what it holds, so that one damaged page costs its own rows and no
others.  The format is in https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from stack.storage.files import PAGE_BYTES

Value = int | str | bytes | None

INDEX_INTERIOR: Final = 2
TABLE_INTERIOR: Final = 5
INDEX_LEAF: Final = 10
TABLE_LEAF: Final = 13
_HEADERS: Final = {INDEX_INTERIOR: 12, TABLE_INTERIOR: 12, INDEX_LEAF: 8, TABLE_LEAF: 8}

_LOCAL_MIN: Final = (PAGE_BYTES - 12) * 32 // 255 - 23
_LOCAL_MAX: Final = {
    TABLE_LEAF: PAGE_BYTES - 35,
    INDEX_LEAF: (PAGE_BYTES - 12) * 64 // 255 - 23,
    INDEX_INTERIOR: (PAGE_BYTES - 12) * 64 // 255 - 23,
}
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_RECORD_BYTES_MAX: Final = 1 << 30

Fetch = Callable[[int], bytes]
"""The page of a number, counted from 1; empty when there is none."""


class Carved(NamedTuple):
    """What one page holds."""

    rows: list[tuple[Value, ...]]
    """Rows of a table begin with their rowid in place of the column that stands for it."""
    table: bool
    """Whether they are; else they are entries of an index, or of a table without rowids."""
    sound: bool
    """Whether nothing in it was unreadable."""


def carve(fetch: Fetch, number: int) -> Carved | None:
    """The rows of a page, or None for one that holds none: of another kind, or unreadable."""
    page, at = fetch(number), _origin(number)
    if len(page) < PAGE_BYTES or page[at] not in _LOCAL_MAX:
        return None
    kind = page[at]
    rows = []
    sound = True
    for start in _cells(page, at):
        try:
            rows.append(_row(fetch, page, kind, start))
        except (ValueError, IndexError, struct.error):
            sound = False
    return Carved(rows, kind == TABLE_LEAF, sound)


def free_pages(fetch: Fetch, count: int) -> set[int]:
    """The pages, of `count`, that are in no tree: what is on them was deleted."""
    free: set[int] = set()
    trunk = int.from_bytes(fetch(1)[32:36], "big")
    while 1 < trunk <= count and trunk not in free:
        free.add(trunk)
        page = fetch(trunk)
        following, leaves = struct.unpack_from(">2I", page)
        if leaves > PAGE_BYTES // 4 - 2:
            break
        free.update(each for each in struct.unpack_from(f">{leaves}I", page, 8) if each > 1)
        trunk = following
    # The list may be damaged too: what a tree points to is not free.
    used = [child for number in range(1, count + 1) for child in _children(fetch, number, free)]
    return free.difference(used)


def _children(fetch: Fetch, number: int, free: set[int]) -> Iterator[int]:
    page, at = fetch(number), _origin(number)
    if number in free or len(page) < PAGE_BYTES:
        return
    if page[at] not in (TABLE_INTERIOR, INDEX_INTERIOR):
        return
    yield int.from_bytes(page[at + 8 : at + 12], "big")
    for start in _cells(page, at):
        yield int.from_bytes(page[start : start + 4], "big")


def _origin(number: int) -> int:
    return 100 if number == 1 else 0


def _cells(page: bytes, at: int) -> tuple[int, ...]:
    """Where the cells of a page begin."""
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    first = at + _HEADERS[page[at]]
    count = min(count, (PAGE_BYTES - first) // 2)
    return struct.unpack_from(f">{count}H", page, first)


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    value = 0
    for index in range(at, at + 8):
        octet = octets[index]
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            return value, index + 1
    return value << 8 | octets[at + 8], at + 9


def _row(fetch: Fetch, page: bytes, kind: int, at: int) -> tuple[Value, ...]:
    """One row.  Raises `ValueError`, `IndexError`, `struct.error` when it is damaged."""
    if kind == INDEX_INTERIOR:
        at += 4
    size, at = _varint(page, at)
    rowid = None
    if kind == TABLE_LEAF:
        rowid, at = _varint(page, at)
    if size > _RECORD_BYTES_MAX:
        raise ValueError("a record of more than a GiB")
    values = _values(_payload(fetch, page, kind, at, size))
    return values if rowid is None else (rowid, *values[1:])


def _payload(fetch: Fetch, page: bytes, kind: int, at: int, size: int) -> bytes:
    local = size
    if size > _LOCAL_MAX[kind]:
        local = _LOCAL_MIN + (size - _LOCAL_MIN) % (PAGE_BYTES - 4)
        if local > _LOCAL_MAX[kind]:
            local = _LOCAL_MIN
    parts = [page[at : at + local]]
    left = size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big") if left else 0
    while left > 0:
        octets = fetch(following)
        if len(octets) < PAGE_BYTES:
            raise ValueError("the rest of a record is not there")
        parts.append(octets[4 : 4 + left])
        left -= PAGE_BYTES - 4
        following = int.from_bytes(octets[:4], "big")
    record = b"".join(parts)
    if len(record) != size:
        raise ValueError("a record is longer than its page")
    return record


def _values(record: bytes) -> tuple[Value, ...]:
    header, at = _varint(record, 0)
    values: list[Value] = []
    body = header
    while at < header:
        kind, at = _varint(record, at)
        length = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES.get(kind, 0)
        octets = record[body : body + length]
        if len(octets) != length or kind in (7, 10, 11):
            raise ValueError("no such value")
        if kind >= 12:
            values.append(octets.decode("utf-8", "surrogateescape") if kind & 1 else octets)
        elif kind == 0:
            values.append(None)
        else:
            values.append(kind - 8 if kind > 7 else int.from_bytes(octets, "big", signed=True))
        body += length
    if body != len(record):
        raise ValueError("a record has another length")
    return tuple(values)
