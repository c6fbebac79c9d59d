"""Values of CBOR as COSE has them in headers and keys: small trees, read with bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from stack.core.errors import DecodeError, LocalError
from stack.core.train import Buffer
from stack.wire import cbor

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[Any, Value] | None"
"""What an item means: an integer of 64 bits, strings, false, true, null, arrays, and maps whose
keys are integers or text."""

Label: TypeAlias = int | str

OCTETS_MAX = 16 * 1024 * 1024
"""Longest message or key that is read at all."""

_NULL = 0xF6

# To ask for these takes much less than for what is abstract, and nearly all values are of them.
_OCTETS = (bytes, bytearray, memoryview)
_ARRAYS = (list, tuple)
_MAPS = (dict, Mapping)


def encode(value: Value) -> bytes:
    """One item in deterministic encoding (RFC 8949 §4.2.1).  Raises `LocalError` for what is no
    `Value`."""
    if value is None:
        return bytes((_NULL,))
    if isinstance(value, bool):
        return cbor.TRUE if value else cbor.FALSE
    if isinstance(value, int):
        return cbor.uint(value) if value >= 0 else cbor.head(cbor.NEGATIVE, -1 - value)
    if isinstance(value, _OCTETS):
        return cbor.bstr(value)
    if isinstance(value, str):
        return cbor.tstr(value)
    if isinstance(value, _ARRAYS):
        return cbor.array(map(encode, value))
    if isinstance(value, _MAPS):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return cbor.head(cbor.MAP, len(pairs)) + b"".join(key + item for key, item in pairs)
    if isinstance(value, Sequence):
        return encode(list(value))
    raise LocalError(f"no CBOR form of {type(value).__name__}")


def is_label(value: Value) -> TypeGuard[Label]:
    """Whether it is what labels and names of algorithms are."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def decode(data: Buffer, section: str) -> Value:
    """The value of exactly one item.  Raises `DecodeError` naming `section` for anything else,
    and for more than `stack.wire.cbor` passes by (16 levels, 4,096 items) or `OCTETS_MAX`."""
    if len(data) > OCTETS_MAX:
        raise DecodeError(f"more than {OCTETS_MAX} octets", section)
    end = cbor.skip_item(data, 0)
    if end != len(data):
        raise DecodeError("octets after the item", section, end)
    return _value(data, 0, section)[0]


def _value(data: Buffer, offset: int, section: str) -> tuple[Value, int]:
    """The value of an item that `skip_item` has passed, and the offset after it."""
    major, value, start = cbor.read_head(data, offset)
    if value == cbor.INDEFINITE:
        raise cbor.IndefiniteLength(offset)
    if major == cbor.UINT:
        return value, start
    if major == cbor.NEGATIVE:
        return -1 - value, start
    if major == cbor.BSTR:
        return bytes(data[start : start + value]), start + value
    if major == cbor.TSTR:
        return cbor.read_tstr(data, offset)
    if major == cbor.ARRAY:
        items = []
        for _ in range(value):
            item, start = _value(data, start, section)
            items.append(item)
        return items, start
    if major == cbor.MAP:
        return _map(data, start, value, section)
    if major == cbor.SIMPLE and start == offset + 1 and value in (20, 21, 22):
        return (None if value == 22 else value == 21), start
    raise DecodeError("an item of a kind that is not used here", section, offset)


def _map(data: Buffer, start: int, count: int, section: str) -> tuple[Value, int]:
    pairs: dict[Label, Value] = {}
    for _ in range(count):
        at = start
        key, start = _value(data, start, section)
        if not is_label(key):
            raise DecodeError("a label that is neither integer nor text", section, at)
        if key in pairs:
            raise DecodeError(f"label {key!r} twice", section, at)
        pairs[key], start = _value(data, start, section)
    return pairs, start
