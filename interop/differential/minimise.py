"""Smaller inputs that still do the same: octets cut out, and CBOR items dropped or emptied.

Readers may be slow to start and quick after that (a process that reads a capture), so all inputs
are made smaller at the same time, and each round asks about all candidates of all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from interop.differential.items import (
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
from stack.core.errors import DecodeError

Key = TypeVar("Key", bound=Hashable)
Does = Callable[[Sequence[tuple[Key, bytes]]], Sequence[bool]]
"""Whether each of many inputs does what the key with it says."""

CANDIDATES_MAX = 600
"""Of one input."""

AT_ONCE = 40
"""Candidates of one input that are asked about together."""

ROUNDS_MAX = 200
ITEMS_TRIED = 120


def minimise(
    begin: Mapping[Key, bytes],
    does: Does[Key],
    rounds: int = ROUNDS_MAX,
    at_once: Callable[[Key], int] = lambda key: AT_ONCE,
) -> dict[Key, bytes]:
    """For each key an input, no larger than the one given, that still does what the key says.

    `at_once` says how many candidates of a key are asked about in one round.
    """
    searches = {key: _Search(encoded, at_once(key)) for key, encoded in begin.items()}
    for _ in range(rounds):
        asked = {key: search.next() for key, search in searches.items()}
        pairs = [(key, one) for key, some in asked.items() for one in some]
        if not pairs:
            break
        found: dict[Key, list[bytes]] = {}
        for (key, one), kept in zip(pairs, does(pairs), strict=True):
            if kept:
                found.setdefault(key, []).append(one)
        for key, some in found.items():
            searches[key] = _Search(min(some, key=weight), at_once(key))
    return {key: search.best for key, search in searches.items()}


class _Search:
    """What is simpler than the best so far, a few at a time, simplest first."""

    def __init__(self, best: bytes, at_once: int) -> None:
        self.best = best
        self._at_once = at_once
        self._left: list[bytes] | None = None

    def next(self) -> list[bytes]:
        """What to try next; nothing when all was tried."""
        if self._left is None:
            self._left = sorted(candidates(self.best), key=weight)
        some, self._left = self._left[: self._at_once], self._left[self._at_once :]
        return some


def weight(encoded: bytes) -> tuple[int, int, bytes]:
    """What makes an input simple: few octets, few that are not zero, and small ones."""
    return len(encoded), len(encoded) - encoded.count(0), encoded


def candidates(encoded: bytes) -> list[bytes]:
    """Inputs that are simpler than this one, and like it."""
    found: dict[bytes, None] = {}
    most = weight(encoded)
    for one in (*_structures(encoded), *_cuts(encoded)):
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


def _structures(encoded: bytes) -> Iterator[bytes]:
    """With one item simpler, and the CRCs right or as they were."""
    try:
        root, end = parse(encoded)
    except DecodeError:
        return
    rest = encoded[end:]
    for changed in _simpler_trees(root):
        if changed.items:
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
        for size in (0, 1, len(item.octets) // 2, len(item.octets) - 1):
            if 0 <= size < len(item.octets):
                yield item.with_octets(item.octets[:size])
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
