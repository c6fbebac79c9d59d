"""Rows of table `audit`: what one transaction has written into the node's log shares them, as a row
for each event costs more than to make the events.

A row goes by the number of its last event.  It is an array of indefinite length (RFC 8949 §3.2.2)
of events, each a byte string, and of events that differ in their object alone, together in an array

    [what is before the object, what is after it, *object]

of two byte strings and texts, which takes a quarter of the room.  Older stores have rows that are
one event as it is.  A checksum is bound to the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from struct import iter_unpack
from typing import Final

from fastcrc import crc32

from stack.audit.event import Alike, encode_texts
from stack.core.errors import DecodeError
from stack.wire import cbor

ROW_EVENTS_MAX: Final = 256
"""Events in one row: what is lost with it, and read to have one of them."""

Row = tuple[int, int, bytes]

_SECTION: Final = "docs/audit.md"


def rows_of(groups: Iterable[Alike], first: int) -> list[Row]:
    """The rows of events, the first of which has number `first`."""
    rows: list[Row] = []
    items: list[bytes] = []
    count = 0
    for before, after, objects in groups:
        at = 0
        while at < len(objects):
            some = objects[at : at + ROW_EVENTS_MAX - count]
            items += (cbor.head(cbor.ARRAY, 2 + len(some)), cbor.bstr(before), cbor.bstr(after))
            items.append(encode_texts(some))
            at += len(some)
            count += len(some)
            if count == ROW_EVENTS_MAX:
                first += count
                rows.append(row_of(items, first - 1))
                items, count = [], 0
    if count:
        rows.append(row_of(items, first + count - 1))
    return rows


def row_of(items: Sequence[bytes], last: int) -> Row:
    """The row of these items, the last event of which has number `last`."""
    octets = b"".join((cbor.ARRAY_OPEN, *items, cbor.BREAK))
    return last, event_check(last, octets), octets


def events_in(number: int, check: object, octets: object) -> list[tuple[int, bytes]]:
    """The events of a row, with their numbers; none when it is not as it was written, or is not
    what it should be in spite of its checksum."""
    if not isinstance(octets, bytes) or event_check(number, octets) != check:
        return []
    if octets[:1] != cbor.ARRAY_OPEN:
        return [(number, octets)]
    events: list[bytes] = []
    at, end = 1, len(octets) - 1
    try:
        while at < end:
            if octets[at] >> 5 == cbor.ARRAY:
                at = _read_alike(octets, at, events)
            else:
                event, at = cbor.read_bstr(octets, at)
                events.append(bytes(event))
    except DecodeError:
        return []
    if octets[at:] != cbor.BREAK:
        return []
    return list(enumerate(events, number - len(events) + 1))


def _read_alike(octets: bytes, at: int, events: list[bytes]) -> int:
    """Add the events of an array to `events`; where it ends.  Raises `DecodeError`."""
    count, at = cbor.read_array(octets, at)
    before, at = cbor.read_bstr(octets, at)
    after, at = cbor.read_bstr(octets, at)
    begin, rest = bytes(before), bytes(after)
    many, size = count - 2, len(octets)
    step = octets[at + 1] + 2 if at + 1 < size else 2
    run = octets[at : at + step * max(0, many)]
    alike = len(run) == step * many and run[::step] == _HEAD_24 * many
    if alike and run[1::step] == run[1:2] * many:  # all of one length, as most are
        events += [begin + text + rest for (text,) in iter_unpack(f"{step}s", run)]
        return at + len(run)
    ends = _ends_of(octets, at, many)
    events += [begin + octets[here:then] + rest for here, then in pairwise(ends)]
    return ends[-1]


def _ends_of(octets: bytes, at: int, many: int) -> list[int]:
    """Where so many texts begin that follow one another, and where the last one ends; that may be
    beyond the end of `octets`.  Raises `DecodeError`."""
    size = len(octets)
    ends = [at]
    for _ in range(many):
        # Mostly a short text: a checked read of each head would take most of the time.
        kind = octets[at] if at < size else -1
        if kind == _TEXT_24 and at + 1 < size:
            at += 2 + octets[at + 1]
        elif _TEXT <= kind < _TEXT_24:
            at += 1 + kind - _TEXT
        else:
            major, length, at = cbor.read_head(octets, at)
            if major != cbor.TSTR:
                raise DecodeError("an object is a text", _SECTION, ends[-1])
            at += length
        ends.append(at)
    return ends


_TEXT: Final = cbor.TSTR << 5
_TEXT_24: Final = _TEXT | 24
"""Head of a text of 24 octets or more, but below 256."""

_HEAD_24: Final = bytes((_TEXT_24,))


def event_check(number: int, octets: bytes) -> int:
    """CRC-32C of a row of the node's log, bound to its number."""
    return int(crc32.iscsi(octets)) ^ (number & 0xFFFFFFFF)
