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
    """The fragments of one data unit: of equal total length, none of them empty or beyond it."""

    def __init__(self, fragments: Sequence[Bundle]) -> None:
        self._fragments = fragments
        self._data = [bytes(fragment.payload.data) for fragment in fragments]
        self._starts = [fragment.primary.fragment_offset or 0 for fragment in fragments]
        self._ends = [
            start + len(data) for start, data in zip(self._starts, self._data, strict=True)
        ]
        self._total = fragments[0].primary.total_adu_length or 0
        self._kin: dict[int, tuple[object, ...]] = {}
        self._next = self._stabbed()
        self._work = WORK_BYTES + 4 * self._total

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate, the likelier ones first, until too much was compared."""
        shells = set()
        for first, start in enumerate(self._starts):
            if start:
                continue
            fragment = self._fragments[first]
            blocks = tuple(_content(block) for block in fragment.blocks[:-1])
            shell = (fragment.primary, blocks, self._data[first])
            if shell not in shells:
                shells.add(shell)
                yield from self._from(first)

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
        steps = [_Step(len(octets), digest, self._choices(first, len(octets)))]
        seen: set[tuple[int, bytes]] = set()
        while steps:
            step = steps[-1]
            if step.end == self._total:
                yield Candidate(self._whole(first, octets), tuple(path))
            index = next(step.choices, None)
            if index is None or self._work < 0:
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
            steps.append(_Step(end, digest, self._choices(first, end)))

    def _choices(self, first: int, end: int) -> Iterator[int]:
        """Fragments that go on where `end` is, best first: those that look like the first one,
        those that begin just there, the longest."""
        found = self._next.get(end, ())
        if len(found) > 1:
            kin = self._kin_of(first)

            def rank(index: int) -> tuple[bool, bool, int]:
                return (self._kin_of(index) != kin, self._starts[index] != end, -self._ends[index])

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
        payload = replace(fragment.payload, data=bytes(octets), wire=None)
        return reassemble([Bundle(fragment.primary, (*fragment.blocks[:-1], payload))])


def _content(block: CanonicalBlock) -> tuple[object, ...]:
    return (block.type, block.number, block.flags, bytes(block.data))
