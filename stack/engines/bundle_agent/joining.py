"""The bundles that a set of fragments may make up, when not all of them are to be trusted.

Nothing proves a fragment; only the whole can be verified (RFC 9172 §5.2).  So where fragments
contradict one another, every way to put them together that is consistent in itself is a candidate,
and the acceptor's security decides.  Among fragments that agree there is one way and one candidate.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from stack.wire.bundle import (
    BUNDLE_AGE,
    HOP_COUNT,
    PREVIOUS_NODE,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    reassemble,
)

WORK_BYTES: Final = 64 * 1024 * 1024
"""Octets compared in the search for candidates, beside four times those of the unit itself: some
50 ms."""

LOOK_BYTES: Final = 256
"""What a look at one fragment costs, counted in octets compared."""

SHARE_BYTES: Final = 65_536
"""Of that, what each first fragment may take at least, beside twice the unit."""

CHOICES_MAX: Final = 64
"""Fragments that are tried at one place."""

_CHANGING: Final = frozenset({PREVIOUS_NODE, HOP_COUNT, BUNDLE_AGE})


class Candidate(NamedTuple):
    """One way to put fragments together."""

    bundle: Bundle
    used: tuple[int, ...]
    """Which of the fragments, from first to last."""


class _Step(NamedTuple):
    end: int
    digest: hashlib._Hash
    """Of the octets up to `end`."""
    choices: Iterator[int]


class Joining:
    """The fragments of one data unit, as they arrived: of equal total length, none of them empty
    or beyond it."""

    def __init__(self, fragments: Sequence[Bundle], turn: int = 0) -> None:
        """`turn`: which of the first fragments begins the search."""
        self._fragments = fragments
        self._turn = turn
        self._data = [bytes(fragment.payload.data) for fragment in fragments]
        self._starts = [fragment.primary.fragment_offset or 0 for fragment in fragments]
        self._ends = [
            start + len(data) for start, data in zip(self._starts, self._data, strict=True)
        ]
        self._total = fragments[0].primary.total_adu_length or 0
        self._kin: dict[int, tuple[object, ...]] = {}
        self._next = self._stabbed()
        self._work = WORK_BYTES + 4 * self._total
        self._floor = 0
        """Where the share of the work ends that the search may do now."""

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate, until too much was compared: first the likeliest one with each first
        fragment, so that whoever forges many cannot hide the genuine one, and then the others."""
        anchors = self._anchors()
        half = self._work // 2
        found = []
        for left, first in zip(range(len(anchors), 0, -1), anchors, strict=True):
            share = max((self._work - half) // left, 2 * self._total + SHARE_BYTES)
            self._floor = max(0, self._work - share)
            likeliest = next(self._from(first), None)
            found.append(likeliest is not None)
            if likeliest is not None:
                yield likeliest
        self._floor = 0
        for first, skip in zip(anchors, found, strict=True):
            yield from islice(self._from(first), skip, None)

    def _anchors(self) -> list[int]:
        """Fragments with which a whole may begin, those that are alike but once."""
        found: dict[tuple[object, ...], int] = {}
        for first, start in enumerate(self._starts):
            if not start:
                fragment = self._fragments[first]
                blocks = tuple(_content(block) for block in fragment.blocks[:-1])
                found.setdefault((fragment.primary, blocks, self._data[first]), first)
        anchors = list(found.values())
        turn = self._turn % max(1, len(anchors))
        return anchors[turn:] + anchors[:turn]

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because too much was compared."""
        return self._work < 0

    def agrees(self, index: int, whole: Bundle) -> bool:
        """Whether a fragment is a part of the whole."""
        data = whole.payload.data
        return self._data[index] == data[self._starts[index] : self._ends[index]]

    def _from(self, first: int) -> Iterator[Candidate]:
        """Candidates that begin with a fragment; a search in depth, without recursion."""
        octets = bytearray(self._data[first])
        digest = hashlib.sha256(octets)
        path = [first]
        steps = [_Step(len(octets), digest, self._choices(first, first, len(octets)))]
        seen: set[tuple[int, bytes]] = set()
        while steps:
            step = steps[-1]
            if step.end == self._total:
                yield Candidate(self._whole(first, octets), tuple(path))
            index = next(step.choices, None)
            if index is None or self._work < self._floor:
                steps.pop()
                path.pop()
                continue
            del octets[step.end :]
            start, data = self._starts[index], self._data[index]
            known = step.end - start
            self._work -= LOOK_BYTES + len(data)
            if octets[start:] != data[:known]:
                continue
            new = memoryview(data)[known:]
            digest = step.digest.copy()
            digest.update(new)
            end = self._ends[index]
            if (end, digest.digest()) in seen:
                continue
            seen.add((end, digest.digest()))
            octets += new
            path.append(index)
            steps.append(_Step(end, digest, self._choices(first, index, end)))

    def _choices(self, first: int, last: int, end: int) -> Iterator[int]:
        """Fragments that go on where `end` is, best first: those that look like the first one,
        those that begin just there, those that arrived next to the `last` one, the longest."""
        found = self._next.get(end, ())
        if len(found) > 1:
            kin = self._kin_of(first)

            def rank(index: int) -> tuple[bool, bool, int, int]:
                strange = self._kin_of(index) != kin
                return strange, self._starts[index] != end, abs(index - last), -self._ends[index]

            found = sorted(found, key=rank)[:CHOICES_MAX]
        return iter(found)

    def _kin_of(self, index: int) -> tuple[object, ...]:
        """What all fragments have in common that one node has made (RFC 9171 §5.8)."""
        kin = self._kin.get(index)
        if kin is None:
            kin = self._kin[index] = tuple(
                _content(block)
                for block in self._fragments[index].blocks[:-1]
                if block.flags & REPLICATE and block.type not in _CHANGING
            )
        return kin

    def _stabbed(self) -> dict[int, list[int]]:
        """For each place where a fragment ends, those that cover it."""
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        starts = [self._starts[index] for index in order]
        found: dict[int, list[int]] = {}
        active: list[int] = []
        taken = 0
        for end in sorted(set(self._ends)):
            upto = bisect_right(starts, end)
            active = [index for index in active + order[taken:upto] if self._ends[index] > end]
            taken = upto
            found[end] = active
        return found

    def _whole(self, first: int, octets: bytearray) -> Bundle:
        fragment = self._fragments[first]
        payload = replace(fragment.payload, data=bytes(octets), encoded=None)
        return reassemble([Bundle(fragment.primary, (*fragment.blocks[:-1], payload))])


def _content(block: CanonicalBlock) -> tuple[object, ...]:
    return (block.type, block.number, block.flags, bytes(block.data))
