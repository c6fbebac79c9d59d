"""CBOR items as a tree that is written back exactly as it came: to change one thing and no other.

Unlike a decoder this keeps the width of every head and the form of every length, and so it can say
of an input that is wrong in one place what it would be with less around that place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stack.core.errors import DecodeError
from stack.wire.crc import crc16_x25, crc32c

DEPTH_MAX = 64
ITEMS_MAX = 20_000
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
UINT, NEGATIVE, BSTR, TSTR, ARRAY, MAP, TAG, SIMPLE = range(8)


@dataclass(frozen=True, slots=True)
class Item:
    """One item.  `extra` octets of its head follow the first; 0 to 8."""

    major: int
    argument: int
    extra: int = 0
    indefinite: bool = False
    octets: bytes = b""
    """Of a string of definite length."""

    items: tuple[Item, ...] = ()
    """Of arrays, of maps (keys and values in turn), of a tag, of a string of indefinite length."""

    def encode(self) -> bytes:
        """The octets."""
        if self.indefinite:
            inside = b"".join(item.encode() for item in self.items)
            return bytes((self.major << 5 | 31,)) + inside + b"\xff"
        head = _head(self.major, self.argument, self.extra)
        return head + (self.octets or b"".join(item.encode() for item in self.items))

    def holding(self, items: Sequence[Item]) -> Item:
        """The same with other items in it, the count right."""
        kept = tuple(items)
        if self.indefinite or self.major == TAG:
            return replace(self, items=kept)
        count = len(kept) // (2 if self.major == MAP else 1)
        return replace(self, items=kept, argument=count, extra=max(self.extra, least_extra(count)))

    def with_octets(self, octets: bytes) -> Item:
        """The same string with other content, the length right."""
        extra = (
            max(self.extra, least_extra(len(octets))) if self.extra else least_extra(len(octets))
        )
        return replace(self, octets=octets, argument=len(octets), extra=extra)

    def with_argument(self, argument: int) -> Item:
        """The same with another number, in its shortest form."""
        return replace(self, argument=argument, extra=least_extra(argument))


def least_extra(argument: int) -> int:
    """Octets of the shortest head after its first."""
    if argument < 24:
        return 0
    return 1 if argument < 1 << 8 else 2 if argument < 1 << 16 else 4 if argument < 1 << 32 else 8


def number(value: int) -> Item:
    """An unsigned integer in its shortest form."""
    return Item(UINT, value, least_extra(value))


def string(octets: bytes) -> Item:
    """A byte string."""
    return Item(BSTR, len(octets), least_extra(len(octets)), octets=octets)


def _head(major: int, argument: int, extra: int) -> bytes:
    if not extra:
        return bytes((major << 5 | argument,))
    info = {1: 24, 2: 25, 4: 26, 8: 27}[extra]
    return bytes((major << 5 | info,)) + argument.to_bytes(extra, "big")


def parse(data: bytes) -> tuple[Item, int]:
    """The item that `data` begins with, and where it ends.  Raises `DecodeError`."""
    reader = _Reader(data)
    return reader.item(0), reader.at


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.count = 0

    def take(self, size: int) -> bytes:
        """The next octets."""
        if size > len(self.data) - self.at:
            raise DecodeError("truncated", "RFC 8949 §3", self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def item(self, depth: int) -> Item:
        """The next item."""
        self.count += 1
        if depth > DEPTH_MAX or self.count > ITEMS_MAX:
            raise DecodeError("too deep or too many items", "RFC 8949 §10", self.at)
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info == 31:
            return self._open(major, depth)
        if info > 27:
            raise DecodeError("reserved head", "RFC 8949 §3", self.at)
        extra = _WIDTHS.get(info, 0)
        argument = int.from_bytes(self.take(extra), "big") if extra else info
        if major in (BSTR, TSTR):
            return Item(major, argument, extra, octets=self.take(argument))
        inside = {ARRAY: argument, MAP: 2 * argument, TAG: 1}.get(major, 0)
        if inside > len(self.data) - self.at:
            raise DecodeError("truncated", "RFC 8949 §3", self.at)
        return Item(
            major, argument, extra, items=tuple(self.item(depth + 1) for _ in range(inside))
        )

    def _open(self, major: int, depth: int) -> Item:
        if major not in (BSTR, TSTR, ARRAY, MAP):
            raise DecodeError("no such indefinite length", "RFC 8949 §3.2", self.at)
        inside: list[Item] = []
        while self.data[self.at : self.at + 1] != b"\xff":
            inside.append(self.item(depth + 1))
        self.at += 1
        return Item(major, 0, indefinite=True, items=tuple(inside))


Path = tuple[int, ...]
"""Which of the items in which of the items."""


def paths(item: Item, here: Path = ()) -> Iterator[tuple[Path, Item]]:
    """Every item of the tree, outer ones first."""
    yield here, item
    for index, inner in enumerate(item.items):
        yield from paths(inner, (*here, index))


def put(item: Item, path: Path, others: Sequence[Item]) -> Item:
    """The tree with `others` in place of the item at `path` (which is not the root's)."""
    index, *rest = path
    inside = list(item.items)
    if rest:
        inside[index] = put(inside[index], tuple(rest), others)
        return replace(item, items=tuple(inside))
    inside[index : index + 1] = others
    return item.holding(inside)


def repair_crcs(bundle: Item) -> Item:
    """The bundle with the CRC right in every block that has a field for one (RFC 9171 §4.2.2)."""
    return replace(bundle, items=tuple(map(_repaired, bundle.items, range(len(bundle.items)))))


def _repaired(block: Item, index: int) -> Item:
    kinds = block.items[2 if index == 0 else 3 :]
    if block.major != ARRAY or len(kinds) < 2 or kinds[-1].major != BSTR or kinds[-1].indefinite:
        return block
    size = {1: 2, 2: 4}.get(kinds[0].argument, 0) if kinds[0].major == UINT else 0
    if not size or len(kinds[-1].octets) != size:
        return block
    empty = replace(block, items=(*block.items[:-1], replace(kinds[-1], octets=bytes(size))))
    crc = (crc16_x25 if size == 2 else crc32c)(empty.encode())
    last = replace(kinds[-1], octets=crc.to_bytes(size, "big"))
    return replace(block, items=(*block.items[:-1], last))
