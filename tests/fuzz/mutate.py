"""Octets that were right once: changed at random, and made to look right again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from stack.core.train import Buffer

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

LONGEST = 70_000

Repair = Callable[[bytes], bytes]


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four changes: bits, octets, edges, pieces gone, doubled, moved, or from another."""
    changed = bytearray(data)
    for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 4)):
        size = len(changed)
        at = rng.randrange(size + 1)
        way = rng.randrange(9)
        if way == 0 and at < size:
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1 and at < size:
            changed[at] = rng.randrange(256)
        elif way == 2:
            changed[at : at + rng.choice((0, 1, 1, 2, 4, 8))] = rng.choice(EDGES)
        elif way == 3:
            del changed[at : at + rng.choice((1, 1, 2, 4, 16, size))]
        elif way == 4:
            changed[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 16)))
        elif way == 5:
            piece = changed[at : at + rng.randint(1, 40)]
            changed[at:at] = piece * rng.choice((1, 1, 2, 30))
        elif way == 6:
            piece = changed[at : at + rng.randint(1, 20)]
            del changed[at : at + len(piece)]
            back = rng.randrange(len(changed) + 1)
            changed[back:back] = piece
        elif way == 7:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at : at + rng.randint(0, 40)] = other[start : start + rng.randint(1, 60)]
        elif at < size:
            changed[at] = (changed[at] + rng.choice((-1, 1))) % 256
    return bytes(changed[:LONGEST])


def as_octets(data: Buffer, rng: random.Random) -> Buffer:
    """The same octets as another kind of buffer: decoders take all kinds."""
    kind = rng.randrange(3)
    return bytearray(data) if kind == 1 else memoryview(data) if kind == 2 else data
