"""CBOR by hand (RFC 8949): a deterministic encoder, and a decoder that checks what it reads.

Everything that BPv7 puts around a payload is a few octets of small heads, for which a general
library costs more than the parsing itself, hides non-shortest forms and copies payloads.  Readers
take (buffer, offset) and give (value, offset after it); they raise only `DecodeError`.  `strict`
asks for the shortest form of every head (RFC 8949 §4.2.1), as RFC 9171 §4.1 does.

RFC 9171 does not prohibit items of indefinite length.  They are rare, so readers know definite
lengths only and raise `IndefiniteLength` for the others: whoever can meet them reads again what
`deterministic` makes of the octets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer

UINT = 0
NEGATIVE = 1
BSTR = 2
TSTR = 3
ARRAY = 4
MAP = 5
TAG = 6
SIMPLE = 7

INDEFINITE = -1
"""Argument of a head that says "until the break" (RFC 8949 §3.2)."""

ARRAY_OPEN = b"\x9f"
BREAK = b"\xff"
FALSE = b"\xf4"
TRUE = b"\xf5"

UINT_MAX = (1 << 64) - 1

DEPTH_MAX = 16
"""Nesting of an item that we only pass by: no block of BPv7 or BPSec needs more than 5."""

ITEMS_MAX = 4096
"""Items within one that we only pass by: bounds the time for what we do not even understand."""

_OCTETS = tuple(bytes((octet,)) for octet in range(256))
_SHORT = tuple(bytes((major << 5 | 24, value)) for major in range(8) for value in range(256))
_SHORTEST = "RFC 8949 §4.2.1"
_WELL_FORMED = "RFC 8949 §3"

# What an open item of indefinite length waits for, in `skip_item`; an array's is `INDEFINITE`.
_KEY = -5
_VALUE = -6
_CHUNKS = {BSTR: -2, TSTR: -3}


class IndefiniteLength(DecodeError):
    """A well-formed item of indefinite length, where a reader knows definite ones only."""

    def __init__(self, offset: int) -> None:
        super().__init__("an item of indefinite length", "RFC 8949 §3.2", offset)


def head(major: int, value: int) -> bytes:
    """The shortest head of a major type and argument (RFC 8949 §3, §4.2.1).  Raises `LocalError`
    below 0 and above 64 bits."""
    if value < 24:
        if value < 0:
            raise LocalError(f"negative CBOR argument: {value}")
        return _OCTETS[major << 5 | value]
    if value < 0x100:
        return _SHORT[major << 8 | value]
    if value < 0x10000:
        return (major << 21 | 25 << 16 | value).to_bytes(3, "big")
    if value < 0x1_0000_0000:
        return (major << 37 | 26 << 32 | value).to_bytes(5, "big")
    if value > UINT_MAX:
        raise LocalError(f"CBOR argument over 64 bits: {value:#x}")
    return (major << 69 | 27 << 64 | value).to_bytes(9, "big")


def head_size(value: int) -> int:
    """Octets of the shortest head with the argument `value`."""
    if value < 24:
        return 1
    if value < 0x100:
        return 2
    if value < 0x10000:
        return 3
    return 5 if value < 0x1_0000_0000 else 9


def uint(value: int) -> bytes:
    """An unsigned integer of at most 64 bits."""
    return _OCTETS[value] if 0 <= value < 24 else head(UINT, value)


def bstr(data: Buffer) -> bytes:
    """A byte string (copies: for large ones, send `head(BSTR, len(data))` and then the data)."""
    return head(BSTR, len(data)) + data


def tstr(text: str) -> bytes:
    """A text string."""
    encoded = text.encode()
    return head(TSTR, len(encoded)) + encoded


def array(items: Iterable[bytes]) -> bytes:
    """A definite-length array of items that are already encoded."""
    parts = list(items)
    return head(ARRAY, len(parts)) + b"".join(parts)


def read_head(data: Buffer, offset: int, strict: bool = True) -> tuple[int, int, int]:
    """Read the head of any item: (major type, argument, offset after the head).

    The argument of an indefinite-length head and of the break (major type 7) is `INDEFINITE`.
    """
    if not 0 <= offset < len(data):
        raise DecodeError("truncated CBOR", _WELL_FORMED, offset)
    initial = data[offset]
    major = initial >> 5
    info = initial & 0x1F
    if info < 24:
        return major, info, offset + 1
    if info == 31 and major not in (UINT, NEGATIVE, TAG):
        return major, INDEFINITE, offset + 1
    if info > 27:
        raise DecodeError("reserved CBOR head", _WELL_FORMED, offset)
    size = 1 << (info - 24)
    end = offset + 1 + size
    if end > len(data):
        raise DecodeError("truncated CBOR", _WELL_FORMED, offset)
    value = int.from_bytes(data[offset + 1 : end], "big")
    # A float (major type 7) has a fixed width; anything else must not fit in the next smaller one.
    if strict and major != SIMPLE and value < (24 if size == 1 else 1 << (4 * size)):
        raise DecodeError("CBOR argument not in its shortest form", _SHORTEST, offset)
    if major == SIMPLE and size == 1 and value < 32:
        raise DecodeError("simple value in two octets", "RFC 8949 §3.3", offset)
    return major, value, end


def _wrong(what: str, offset: int) -> NoReturn:
    raise DecodeError(f"expected {what}", _WELL_FORMED, offset)


def read_uint(data: Buffer, offset: int, strict: bool = True) -> tuple[int, int]:
    """Read an unsigned integer of at most 64 bits."""
    major, value, end = read_head(data, offset, strict)
    if major != UINT:
        _wrong("an unsigned integer", offset)
    return value, end


def read_bool(data: Buffer, offset: int) -> tuple[bool, int]:
    """Read `false` or `true`."""
    major, value, end = read_head(data, offset)
    if major != SIMPLE or value not in (20, 21) or end != offset + 1:
        _wrong("a boolean", offset)
    return value == 21, end


def read_bstr(data: Buffer, offset: int, strict: bool = True) -> tuple[memoryview, int]:
    """Read a definite-length byte string, as a view into `data`."""
    major, size, start = read_head(data, offset, strict)
    if major != BSTR:
        _wrong("a byte string", offset)
    if size == INDEFINITE:
        raise IndefiniteLength(offset)
    if size > len(data) - start:
        raise DecodeError("truncated byte string", _WELL_FORMED, offset)
    return memoryview(data)[start : start + size], start + size


def read_tstr(data: Buffer, offset: int, strict: bool = True) -> tuple[str, int]:
    """Read a definite-length text string of UTF-8."""
    major, size, start = read_head(data, offset, strict)
    if major != TSTR:
        _wrong("a text string", offset)
    if size == INDEFINITE:
        raise IndefiniteLength(offset)
    if size > len(data) - start:
        raise DecodeError("truncated text string", _WELL_FORMED, offset)
    return _utf8(bytes(data[start : start + size]), offset), start + size


def read_array(data: Buffer, offset: int, strict: bool = True) -> tuple[int, int]:
    """Read the head of a definite-length array: (number of items, offset of the first)."""
    major, count, end = read_head(data, offset, strict)
    if major != ARRAY:
        _wrong("an array", offset)
    if count == INDEFINITE:
        raise IndefiniteLength(offset)
    return count, end


def skip_item(data: Buffer, offset: int, strict: bool = True) -> int:
    """Pass by one well-formed item of any kind: the offset after it.

    Never recurses.  At most `DEPTH_MAX` levels and `ITEMS_MAX` items (RFC 8949 §10).
    """
    return _skip(data, offset, strict, ITEMS_MAX)[0]


def _skip(data: Buffer, offset: int, strict: bool, items: int) -> tuple[int, int]:
    """`skip_item` with its own bound: the offset after the item, and what is left of `items`."""
    waiting: list[int] = []  # for each open level items still to come, or what is below zero
    while items:
        items -= 1
        start = offset
        major, value, offset = read_head(data, start, strict)
        chunk = bool(waiting) and waiting[-1] in _CHUNKS.values()
        if major == SIMPLE and value == INDEFINITE:
            if not waiting or waiting[-1] >= 0 or waiting.pop() == _VALUE:
                raise DecodeError("break outside an indefinite item", _WELL_FORMED, start)
        elif chunk and (value == INDEFINITE or _CHUNKS.get(major) != waiting[-1]):
            raise DecodeError("a chunk of another kind than its string", "RFC 8949 §3.2.3", start)
        elif major in _CHUNKS and value != INDEFINITE:
            if value > len(data) - offset:
                raise DecodeError("truncated string", _WELL_FORMED, start)
            offset += value
        elif major in (BSTR, TSTR, ARRAY, MAP, TAG):
            if len(waiting) == DEPTH_MAX:
                raise DecodeError("CBOR nested too deeply", "RFC 8949 §10", start)
            if value == INDEFINITE:
                waiting.append(_KEY if major == MAP else _CHUNKS.get(major, INDEFINITE))
                continue
            value = 1 if major == TAG else value * 2 if major == MAP else value
            if value:
                waiting.append(value)
                continue
        while waiting:
            if waiting[-1] < 0:
                if waiting[-1] in (_KEY, _VALUE):
                    waiting[-1] = _KEY + _VALUE - waiting[-1]
                break
            waiting[-1] -= 1
            if waiting[-1]:
                break
            waiting.pop()
        else:
            return offset, items
    raise DecodeError("too many CBOR items", "RFC 8949 §10", offset)


def deterministic(data: Buffer, strict: bool = True) -> bytes:
    """A sequence of items in core deterministic encoding (RFC 8949 §4.2.1): definite lengths in
    their shortest form, maps in the order of their keys.

    Bounded as `skip_item` is.  Floating-point numbers stay as they are: BPv7 has none.
    """
    parts = []
    offset = 0
    items = ITEMS_MAX
    while offset < len(data):
        end, items = _skip(data, offset, strict, items)
        parts.append(_rewritten(data, offset)[0])
        offset = end
    return b"".join(parts)


def _rewritten(data: Buffer, offset: int) -> tuple[bytes, int]:
    """The deterministic form of one item that `_skip` has passed, and the offset after it."""
    major, value, start = read_head(data, offset, False)
    if major in _CHUNKS:
        content, start = _string(data, start, value)
        if major == TSTR:
            _utf8(content, offset)
        return head(major, len(content)) + content, start
    if major not in (ARRAY, MAP, TAG):
        return (bytes(data[offset:start]) if major == SIMPLE else head(major, value)), start
    parts: list[bytes] = []
    count = 1 if major == TAG else value * 2 if major == MAP else value
    while len(parts) != count if value != INDEFINITE else data[start] != BREAK[0]:
        part, start = _rewritten(data, start)
        parts.append(part)
    if value == INDEFINITE:
        start += 1
    if major == MAP:
        pairs = sorted(zip(parts[::2], parts[1::2], strict=True))
        return head(MAP, len(pairs)) + b"".join(key + item for key, item in pairs), start
    return head(major, value if major == TAG else len(parts)) + b"".join(parts), start


def _string(data: Buffer, start: int, size: int) -> tuple[bytes, int]:
    """The content of a string that begins at `start`, its chunks put together."""
    if size != INDEFINITE:
        return bytes(data[start : start + size]), start + size
    chunks = []
    while data[start] != BREAK[0]:
        major, size, begin = read_head(data, start, False)
        start = begin + size
        chunks.append(bytes(data[begin:start]))
        if major == TSTR:
            _utf8(chunks[-1], begin)  # RFC 8949 §3.2.3: no character is divided
    return b"".join(chunks), start + 1


def _utf8(text: bytes, offset: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise DecodeError("text that is no UTF-8", "RFC 8949 §3.1", offset) from None
