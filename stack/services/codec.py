"""Application messages and durable records as CBOR arrays (RFC 8949), read strictly.

Services exchange arrays of integers, octet strings, text, booleans, null and arrays; nothing
else.  Only the deterministic encoding is read (RFC 8949 §4.2.1): shortest heads, definite
lengths, no trailing octets.  Tags, maps and floats are refused before they are looked at, so that
no peer reaches a general decoder.  Octet strings come out as views into the input: a chunk of a
file is never copied on its way to the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stack.core.errors import DecodeError
from stack.core.train import Buffer
from stack.wire.cbor import ARRAY, BSTR, INDEFINITE, NEGATIVE, UINT, head, read_head, tstr

Item = int | bytes | memoryview | str | bool | None | Sequence["Item"]

DEPTH_MAX: Final = 6
"""Deepest nesting of arrays: a report holds a list of outputs, each an array."""

ITEMS_MAX: Final = 65_536
"""Most items in one message: a durable range map has up to 4,096 spans of two integers."""

_CONSTANTS: Final[dict[int, bool | None]] = {0xF4: False, 0xF5: True, 0xF6: None}


def encode(item: Item) -> bytes:
    """The deterministic encoding of `item`; integers must fit RFC 8949's 64 bits."""
    out: list[Buffer] = []
    _encode(item, out)
    return b"".join(out)


def _encode(item: Item, out: list[Buffer]) -> None:
    if item is None or isinstance(item, bool):
        out.append(b"\xf6" if item is None else (b"\xf5" if item else b"\xf4"))
    elif isinstance(item, int):
        out.append(head(UINT, item) if item >= 0 else head(NEGATIVE, -1 - item))
    elif isinstance(item, str):
        out.append(tstr(item))
    elif isinstance(item, (bytes, memoryview)):
        out.append(head(BSTR, len(item)))
        out.append(item)
    else:
        out.append(head(ARRAY, len(item)))
        for part in item:
            _encode(part, out)


class _Reader:
    """One pass over a buffer."""

    __slots__ = ("at", "data", "items", "section")

    def __init__(self, data: memoryview, section: str) -> None:
        self.data = data
        self.at = 0
        self.items = 0
        self.section = section

    def fail(self, reason: str) -> DecodeError:
        return DecodeError(reason, self.section, self.at)

    def item(self, depth: int) -> Item:
        data, at = self.data, self.at
        if at >= len(data):
            raise self.fail("message ends early")
        self.items += 1
        if self.items > ITEMS_MAX:
            raise self.fail(f"more than {ITEMS_MAX} items")
        first = data[at]
        if first >> 5 > ARRAY:
            if first not in _CONSTANTS:
                raise self.fail(f"item of initial octet 0x{first:02x} is not allowed")
            self.at = at + 1
            return _CONSTANTS[first]
        major, value = first >> 5, first & 31
        at += 1
        if value >= 24:  # most heads are short
            try:
                value, at = read_head(data, at - 1)[1:]
            except DecodeError as error:
                raise self.fail(error.reason) from None
        self.at = at
        if major == UINT:
            return value
        if major == NEGATIVE:
            return -1 - value
        if value == INDEFINITE:
            raise self.fail("indefinite length")
        if major == ARRAY:
            return self.array(value, depth)
        end = at + value
        if end > len(data):
            raise self.fail("string runs past the end")
        self.at = end
        if major == BSTR:
            return data[at:end]
        try:
            return str(data[at:end], "utf-8")
        except UnicodeDecodeError as error:
            raise self.fail("text is not UTF-8") from error

    def array(self, count: int, depth: int) -> list[Item]:
        if depth >= DEPTH_MAX:
            raise self.fail(f"arrays nested deeper than {DEPTH_MAX}")
        if count > len(self.data) - self.at:  # each item takes at least one octet
            raise self.fail("array longer than the message")
        return [self.item(depth + 1) for _ in range(count)]


def decode(data: Buffer, section: str) -> Fields:
    """Read one array that fills `data` exactly.  Raises `DecodeError` naming `section`."""
    reader = _Reader(memoryview(data).cast("B"), section)
    item = reader.item(0)
    if not isinstance(item, list):
        raise DecodeError("message is not an array", section, 0)
    if reader.at != len(reader.data):
        raise reader.fail("octets after the message")
    return Fields(item, section)


class Fields:
    """A decoded array, taken field by field; every taker checks type and bound.

    All takers raise `DecodeError`.  Call `end()` last: unknown extra fields are refused.
    """

    __slots__ = ("_at", "_items", "section")

    def __init__(self, items: list[Item], section: str) -> None:
        self._items = items
        self._at = 0
        self.section = section

    def fail(self, reason: str) -> DecodeError:
        """A `DecodeError` about the field taken last."""
        return DecodeError(f"field {self._at - 1}: {reason}", self.section)

    def _take(self) -> Item:
        if self._at >= len(self._items):
            raise DecodeError(f"field {self._at} is missing", self.section)
        item = self._items[self._at]
        self._at += 1
        return item

    def uint(self, most: int, least: int = 0) -> int:
        """An integer in [least, most]."""
        item = self._take()
        if isinstance(item, bool) or not isinstance(item, int):
            raise self.fail("not an integer")
        if not least <= item <= most:
            raise self.fail(f"{item} is not in {least}..{most}")
        return item

    def flag(self) -> bool:
        """A boolean."""
        item = self._take()
        if not isinstance(item, bool):
            raise self.fail("not a boolean")
        return item

    def view(self, most: int, least: int = 0) -> memoryview:
        """An octet string of `least` to `most` octets, as a view into the message."""
        item = self._take()
        if not isinstance(item, memoryview):
            raise self.fail("not an octet string")
        if not least <= len(item) <= most:
            raise self.fail(f"{len(item)} octets, not {least}..{most}")
        return item

    def blob(self, most: int, least: int = 0) -> bytes:
        """An octet string of `least` to `most` octets, copied."""
        return bytes(self.view(most, least))

    def text(self, most: int) -> str:
        """Text of at most `most` characters."""
        item = self._take()
        if not isinstance(item, str):
            raise self.fail("not text")
        if len(item) > most:
            raise self.fail(f"text of {len(item)} characters, not up to {most}")
        return item

    def array(self, most: int) -> list[Fields]:
        """An array of at most `most` arrays."""
        item = self._take()
        if not isinstance(item, list):
            raise self.fail("not an array")
        if len(item) > most:
            raise self.fail(f"{len(item)} entries, not up to {most}")
        rows = []
        for part in item:
            if not isinstance(part, list):
                raise self.fail("entry is not an array")
            rows.append(Fields(part, self.section))
        return rows

    def spans(self, most: int, limit: int) -> list[tuple[int, int]]:
        """Up to `most` non-empty, ascending, non-touching spans below `limit`."""
        spans: list[tuple[int, int]] = []
        floor = 0
        for row in self.array(most):
            start, end = row.uint(limit, floor), row.uint(limit)
            row.end()
            if end <= start:
                raise self.fail("empty or reversed span")
            spans.append((start, end))
            floor = end + 1
        return spans

    def end(self) -> None:
        """No field may be left.  Raises `DecodeError`."""
        if self._at != len(self._items):
            raise DecodeError(f"{len(self._items) - self._at} fields too many", self.section)
