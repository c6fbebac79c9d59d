"""Octets that are simpler than others and like them: what a case is made smaller with, wherever it
came from.

Octets are cut out or become zero; of CBOR, items are dropped, emptied, or written shorter, with the
CRCs of blocks right or as they were; of CFDP PDUs, fields and TLVs are dropped or smaller.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from interop.strategies.items import (
    ARRAY,
    BSTR,
    MAP,
    TAG,
    TSTR,
    UINT,
    Item,
    least_extra,
    number,
    parse,
    paths,
    put,
    repair_crcs,
)
from interop.strategies.simpler_pdus import simpler_pdus
from stack.core.errors import DecodeError

Parts = TypeVar("Parts", bytes, tuple[bytes, ...])

CANDIDATES_MAX = 600
"""Of one input."""

ITEMS_TRIED = 120


def weight(encoded: bytes) -> tuple[int, int, bytes]:
    """What makes an input simple: few octets, few that are not zero, and small ones."""
    return len(encoded), len(encoded) - encoded.count(0), encoded


def shortest(parts: Parts, fails: Callable[[Parts], bool]) -> Parts:
    """Without all pieces that can go while `fails` stays true, large ones first."""
    size = (len(parts) + 1) // 2
    while size:
        at = 0
        while at < len(parts):
            cut = parts[:at] + parts[at + size :]
            if fails(cut):
                parts = cut
            else:
                at += size
        size //= 2
    return parts


def simplest(encoded: bytes, fails: Callable[[bytes], bool], *, cbor: bool = False) -> bytes:
    """An input like this one, and the simplest found, for which `fails` is still true; `cbor` says
    whether it is made of items."""
    if cbor:
        encoded = _simplest_items(encoded, fails)
    encoded = shortest(encoded, fails)
    for at, octet in enumerate(encoded):
        for less in sorted({0, octet // 2, octet - 1}) if octet else ():
            lesser = encoded[:at] + bytes((less,)) + encoded[at + 1 :]
            if fails(lesser):
                encoded = lesser
                break
    return encoded


def _simplest_items(encoded: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """By items alone.  After each that goes the next one is tried, and all again in the end."""
    before = b""
    while before != encoded:
        before, at = encoded, 0
        left = _structures(encoded)
        while (one := next(left, None)) is not None:
            at += 1
            if weight(one) < weight(encoded) and fails(one):
                encoded, at = one, at - 1
                left = _structures(encoded, at)
    return encoded


def candidates(encoded: bytes) -> list[bytes]:
    """Inputs that are simpler than this one, and like it."""
    found: dict[bytes, None] = {}
    most = weight(encoded)
    for one in (*_structures(encoded), *simpler_pdus(encoded), *_cuts(encoded)):
        if one not in found and weight(one) < most:
            found[one] = None
            if len(found) == CANDIDATES_MAX:
                break
    return list(found)


def _cuts(encoded: bytes) -> Iterator[bytes]:
    """Without a piece of every size at every place, large ones first."""
    size = len(encoded) // 2
    while size:
        for at in range(0, len(encoded), size):
            yield encoded[:at] + encoded[at + size :]
        size //= 2
    for at, octet in enumerate(encoded):
        if octet:
            yield encoded[:at] + b"\0" + encoded[at + 1 :]


def _structures(encoded: bytes, begin: int = 0) -> Iterator[bytes]:
    """With one item simpler, and the CRCs right or as they were; from the one of number `begin`."""
    try:
        root, end = parse(encoded)
    except DecodeError:
        return
    rest = encoded[end:]
    for changed in itertools.islice(_simpler_trees(root), begin // 2, None):
        yield repair_crcs(changed).encode() + rest
        yield changed.encode() + rest


def _simpler_trees(root: Item) -> Iterator[Item]:
    for index, block in enumerate(root.items):
        plain = _without_crc(block, index)
        if plain:
            yield put(root, (index,), [plain])
    tried = 0
    for path, item in paths(root):
        tried += 1
        if not path:
            continue
        if tried > ITEMS_TRIED:
            return
        if _parent(root, path).major in (ARRAY, MAP):
            yield put(root, path, [])
        for simpler in _simpler_items(item):
            yield put(root, path, [simpler])


def _parent(root: Item, path: tuple[int, ...]) -> Item:
    for index in path[:-1]:
        root = root.items[index]
    return root


def _simpler_items(item: Item) -> Iterator[Item]:
    if item.extra > least_extra(item.argument):
        yield replace(item, extra=least_extra(item.argument))
    if item.major in (BSTR, TSTR) and not item.indefinite:
        yield number(0)  # in place of a name, nobody
        for size in (0, 1, len(item.octets) // 2, len(item.octets) - 1):
            if 0 <= size < len(item.octets):
                octets = item.octets[:size]
                yield replace(item, extra=0).with_octets(octets)
                if item.extra > least_extra(size):
                    yield item.with_octets(octets)  # it may be the width that does it
    elif item.major == UINT and item.argument:
        for value in (0, 1, item.argument >> 8, item.argument & (item.argument - 1)):
            if value < item.argument:
                yield item.with_argument(value)
    elif item.major in (ARRAY, MAP, TAG):
        yield number(0)
        yield from item.items[:4]
        if item.indefinite and item.major == ARRAY:
            yield Item(ARRAY, len(item.items), least_extra(len(item.items)), items=item.items)


def _without_crc(block: Item, index: int) -> Item | None:
    """The block without the field and with a type that says so."""
    at = 2 if index == 0 else 3
    if block.major != ARRAY or len(block.items) < at + 2:
        return None
    if block.items[at].major != UINT or not block.items[at].argument:
        return None
    if block.items[-1].major != BSTR:
        return None
    inside = list(block.items[:-1])
    inside[at] = number(0)
    return block.holding(inside)
