"""Octets that were right once: changed at random, and made to look right again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from interop.strategies.choices import Choices, Quick, Source
from interop.strategies.making import strategy

_EDGES = """
00 17 18 1817 1818 18ff 190000 19ffff 1a00000000 1affffffff 1b0000000000000000 1b7fffffffffffffff
1b8000000000000000 1bffffffffffffffff 1c 1f 20 3bffffffffffffffff 40 5b00000000ffffffff
5bffffffffffffffff 5f 60 7f 80 81 82 9b7fffffffffffffff 9f a0 bf c0 d820 f4 f6 f7 f97e00 ff
7f 8000 ff7f 81ffffffffffffffff7f 81ffffffffffffffffff7f 8080808000
ffffffff 7fffffff 80000000 ffff 7fff 8000
"""
EDGES = tuple(bytes.fromhex(each) for each in _EDGES.split())
"""Integers at the ends of their widths, lengths beyond all buffers, and other heads of CBOR; the
same as SDNVs; and fields of fixed width."""

NESTS = tuple(bytes.fromhex(each) for each in ["81", "9f", "a100", "bf00", "c6", "5f", "80"])
"""What may be put into itself as often as somebody likes: arrays, maps and tags of CBOR; strings of
indefinite length, which may not; and an SDNV that does not end."""

LONGEST = 70_000
"""Octets of what comes out, at most: a datagram, and something beyond."""

Repair = Callable[[bytes], bytes]
"""Computes lengths and checksums of changed octets anew, as far as it can still find them."""


@strategy
def mutated(
    choose: Choices,
    octets: Source[bytes],
    repair: Repair | None = None,
    *,
    others: Sequence[bytes] = (),
) -> bytes:
    """Octets with one to four changes, in a sound state again after `repair` if there is one, so
    that they are not refused for their checksum alone.  `others` are what pieces are taken from."""
    data = choose.prepared(octets)
    changed = change(data, others or (data,), choose)
    return changed if repair is None else repair(changed)


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four changes: bits, octets, edges, pieces gone, doubled, moved, or from another."""
    return change(data, others, Quick(rng))


def change(data: bytes, others: Sequence[bytes], choose: Choices) -> bytes:
    """What `mutate` does, for other makers."""
    changed = bytearray(data)
    for _ in range(choose.pick((1, 1, 1, 2, 3, 4))):
        at = choose.integer(0, len(changed))
        choose.pick(_CHANGES)(changed, at, others, choose)
    return bytes(changed[:LONGEST])


_Change = Callable[[bytearray, int, Sequence[bytes], Choices], None]


def _bit(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    if at < len(changed):
        changed[at] ^= 1 << choose.integer(0, 7)


def _octet(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    if at < len(changed):
        changed[at] = choose.integer(0, 255)


def _by_one(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    if at < len(changed):
        changed[at] = (changed[at] + choose.pick((1, -1))) % 256


def _gone(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    del changed[at : at + choose.pick((1, 1, 2, 4, 16, len(changed)))]


def _edge(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    if choose.flip(20):
        changed[at:at] = choose.pick(NESTS) * choose.pick((20, 200, 2_000, 20_000))
        return
    changed[at : at + choose.pick((0, 1, 1, 2, 4, 8))] = choose.pick(EDGES)


def _put_in(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    size = choose.pick((1, 1, 2, 4, 16))
    changed[at:at] = choose.octets(size, size)


def _doubled(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    piece = changed[at : at + choose.integer(1, 40)]
    changed[at:at] = piece * choose.pick((1, 1, 2, 30))


def _moved(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    piece = changed[at : at + choose.integer(1, 20)]
    del changed[at : at + len(piece)]
    back = choose.integer(0, len(changed))
    changed[back:back] = piece


def _from_another(changed: bytearray, at: int, others: Sequence[bytes], choose: Choices) -> None:
    other = choose.pick(others)
    start = choose.integer(0, len(other))
    changed[at : at + choose.integer(0, 40)] = other[start : start + choose.integer(1, 60)]


_CHANGES: tuple[_Change, ...] = (
    _bit,
    _octet,
    _by_one,
    _gone,
    _edge,
    _put_in,
    _doubled,
    _moved,
    _from_another,
)
