"""Bundles to compare readers on: right ones, and ones that are wrong in one place or two, with
lengths and CRCs right all the same, so that they get past the first checks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from interop.strategies.items import (
    ARRAY,
    BSTR,
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
    string,
)
from interop.strategies.mutation import mutate
from interop.vectors import load
from stack.core.errors import DecodeError
from stack.wire.bundle.types import (
    ACK_REQUESTED,
    BUNDLE_AGE,
    HOP_COUNT,
    IS_ADMIN,
    IS_FRAGMENT,
    NO_FRAGMENT,
    PREVIOUS_NODE,
    PRIORITY,
    REPORT_ANY,
    STATUS_TIME,
)

EDGES = (0, 1, 2, 6, 7, 10, 11, 12, 23, 24, 192, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32,
         (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
"""The ends of what each width of a head holds, and numbers that mean something."""

TIMES = (0, 1, 999, 1000, 820_540_800_123, 1 << 40, 1 << 48, (1 << 63) - 1, (1 << 64) - 1)
"""DTN times in milliseconds, from those without a clock to those beyond every calendar."""

_SPARE_FLAGS = tuple(1 << bit for bit in (3, 4, 7, 13, 15, 19, 20, 21, 40, 63))
_SOUND = (0, 0, 0, ACK_REQUESTED, STATUS_TIME, NO_FRAGMENT, REPORT_ANY, IS_FRAGMENT)
_GROUP = "//sat-1/~all"
_NODES = ("//gs1/files", "//sat-1/", _GROUP, "//a+b/x", "//n%20a/x", "//~1/a")
_TEXTS = ("none", "//", "///", "//a", "a/b", "", "//\u00e9/x", "//a/\u202e", "//a b/c", "//A/B#c")


def array(*inside: Item) -> Item:
    """An array of definite length."""
    return Item(ARRAY, len(inside), least_extra(len(inside)), items=inside)


def text(words: str) -> Item:
    """A text string."""
    octets = words.encode("utf-8", "surrogatepass")
    return Item(TSTR, len(octets), least_extra(len(octets)), octets=octets)


def endpoint(rng: random.Random) -> Item:
    """An EID that some node may have, or dtn:none."""
    way = rng.randrange(8)
    if way < 3:
        return array(number(1), text(rng.choice(_NODES)))
    if way < 6:
        node = rng.choice((1, 5, 23, 24, 4_294_967_294, 977_000 << 32 | 100))
        return array(number(2), array(number(node), number(rng.choice((0, 1, 70_000, 1 << 40)))))
    if way == 6:
        parts = (number(each) for each in (977_000, 100, 1))
        return array(number(2), array(*parts))
    return array(number(1), number(0))


def node(rng: random.Random) -> Item:
    """The same, and no group."""
    while (found := endpoint(rng)).items[1] == text(_GROUP):
        pass
    return found


def bundle(rng: random.Random) -> Item:
    """A bundle as RFC 9171 §4 has it; CRC fields are there, and hold zeros."""
    flags = rng.choice(_SOUND) | (IS_ADMIN if rng.random() < 0.15 else 0)
    source = node(rng)
    if flags & IS_ADMIN or source.items[1].argument == 0:
        flags &= ~REPORT_ANY
    if source.items[1] == number(0):
        flags = flags & ~IS_FRAGMENT | NO_FRAGMENT
    created = rng.choice(TIMES) if rng.random() < 0.5 else rng.randrange(1 << 42)
    payload = rng.randbytes(rng.choice((0, 1, 5, 30, 300)))
    if flags & IS_ADMIN and not flags & IS_FRAGMENT:
        payload = _report(rng).encode()
    if flags & IS_FRAGMENT:
        payload = payload or b"x"
    crc = rng.choice((1, 2, 2))
    primary = [number(7), number(flags), number(crc), endpoint(rng), source, endpoint(rng)]
    primary += [array(number(created), number(rng.choice(EDGES))), number(rng.choice(EDGES))]
    if flags & IS_FRAGMENT:
        offset = rng.choice((0, 7, 1 << 33))
        primary += [number(offset), number(offset + len(payload) + rng.choice((0, 1, 99)))]
    blocks = [array(*primary, string(bytes(2 * crc)))]
    kinds = [kind for kind in (PREVIOUS_NODE, HOP_COUNT, PRIORITY, 77) if rng.random() < 0.25]
    if not created or rng.random() < 0.3:
        kinds.append(BUNDLE_AGE)
    blocks += [
        _block(rng, kind, index + 2, _content(rng, kind)) for index, kind in enumerate(kinds)
    ]
    blocks.append(_block(rng, 1, 1, payload))
    return Item(ARRAY, 0, indefinite=True, items=tuple(blocks))


def _block(rng: random.Random, kind: int, place: int, content: bytes) -> Item:
    crc = rng.randrange(3)
    flags = rng.choice((0, 0, 1, 4, 16))
    head = [number(each) for each in (kind, place, flags, crc)]
    return array(*head, string(content), *([string(bytes(2 * crc))] if crc else []))


def _content(rng: random.Random, kind: int) -> bytes:
    if kind == PREVIOUS_NODE:
        return node(rng).encode()
    if kind == HOP_COUNT:
        return array(number(rng.choice((1, 30, 255))), number(rng.choice(EDGES[:8]))).encode()
    return number(rng.choice(EDGES)).encode() if kind in (BUNDLE_AGE, PRIORITY) else b"\xa0"


def _report(rng: random.Random) -> Item:
    """A bundle status report (RFC 9171 §6.1.1)."""
    yes, no = Item(7, 21), Item(7, 20)
    items = [array(yes, number(5)) if rng.random() < 0.3 else array(no) for _ in range(4)]
    subject = array(number(rng.choice(TIMES)), number(rng.choice(EDGES)))
    body = [array(*items), number(rng.choice((0, 1, 9, 16, 300))), endpoint(rng), subject]
    if rng.random() < 0.3:
        body += [number(4), number(9)]
    return array(number(1), array(*body))


def corpus() -> list[Item]:
    """The bundles of our vectors that are CBOR."""
    found = []
    for vector in (*load("bpv7_misc"), *load("bpsec_rfc9173")):
        try:
            item, end = parse(vector.data)
        except DecodeError:
            continue
        if end == len(vector.data) and item.major == ARRAY and len(item.items) > 1:
            found.append(item)
    return found


class BundleCases:
    """Draws one case after another; the same from the same seed."""

    def __init__(self, seed: str | int = 0) -> None:
        self._rng = random.Random(f"bundles/{seed}")  # noqa: S311 - it must come again
        self._corpus = corpus()

    def draw(self) -> bytes:
        """One case."""
        rng = self._rng
        tree = rng.choice(self._corpus) if rng.random() < 0.2 else bundle(rng)
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            tree = changed(tree, rng)
        encoded = (repair_crcs(tree) if rng.random() < 0.9 else tree).encode()
        return mutate(encoded, [encoded], rng) if rng.random() < 0.15 else encoded


def changed(tree: Item, rng: random.Random) -> Item:
    """The tree with one item, or the content of one block, otherwise."""
    places = [(path, item) for path, item in paths(tree) if path]
    if not places:
        return tree
    path, item = rng.choice(places)
    if item.major == BSTR and rng.random() < 0.5:
        inner = _inside(item.octets, rng)
        if inner is not None:
            return put(tree, path, [item.with_octets(inner)])
    return put(tree, path, _instead(item, [other for _, other in places], rng))


def _inside(octets: bytes, rng: random.Random) -> bytes | None:
    """The content of a block with one of its items otherwise."""
    try:
        inner, end = parse(octets)
    except DecodeError:
        return None
    rest = octets[end:]
    if not inner.items:
        return b"".join(one.encode() for one in _instead(inner, [number(3)], rng)) + rest
    return changed(inner, rng).encode() + rest


def _instead(item: Item, others: Sequence[Item], rng: random.Random) -> list[Item]:
    """What to put where an item was."""
    way = rng.randrange(12)
    if way == 0:
        return []
    if way == 1:
        return [item, item]
    if way == 2:
        return [rng.choice(others)]
    if way == 3:
        return [item, number(rng.choice(EDGES))]
    if way == 4 and not item.indefinite and item.major != 7:
        wider = [extra for extra in (1, 2, 4, 8) if extra > item.extra]
        return [replace(item, extra=rng.choice(wider))] if wider else [item]
    if way == 5:
        kinds = (Item(7, 22), Item(7, 20), Item(1, 0), string(b"x"), text("x"), array(),
                 Item(TAG, 24, 1, items=(item,)), Item(5, 0), Item(7, 0x7E00, 2))  # fmt: skip
        return [rng.choice(kinds)]
    if item.major == UINT:
        bit = rng.choice((*_SPARE_FLAGS, *(1 << each for each in range(20))))
        values = (rng.choice(EDGES), item.argument ^ bit, item.argument + rng.choice((-1, 1)))
        return [item.with_argument(rng.choice(values) % (1 << 64))]
    if item.major == TSTR:
        return [text(rng.choice(_TEXTS))]
    if item.major == BSTR and not item.indefinite:
        cut = rng.randrange(len(item.octets) + 1)
        if rng.random() < 0.2:
            pieces = (string(item.octets[:cut]), string(item.octets[cut:]))
            return [Item(BSTR, 0, indefinite=True, items=pieces)]
        return [item.with_octets(rng.choice((item.octets[:cut], item.octets + b"\0", b"")))]
    if item.major == ARRAY:
        if rng.random() < 0.4:
            opened = replace(item, argument=0, extra=0, indefinite=True)
            return [item.holding(item.items) if item.indefinite else opened]
        inside = list(item.items)
        rng.shuffle(inside)
        return [replace(item, items=tuple(inside))]
    return [item]
