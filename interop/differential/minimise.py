"""Smaller inputs that still do the same: octets cut out, and CBOR items dropped or emptied.

Readers may be slow to start and quick after that (a process that reads a capture), so all inputs
are made smaller at the same time, and each round asks about all candidates of all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from interop.strategies.simpler import candidates, weight

Key = TypeVar("Key", bound=Hashable)
Does = Callable[[Sequence[tuple[Key, bytes]]], Sequence[bool]]
"""Whether each of many inputs does what the key with it says."""

AT_ONCE = 40
"""Candidates of one input that are asked about together."""

ROUNDS_MAX = 200

COARSE = 16
"""Where each candidate costs seconds, those are tried that are shorter by one part in so many."""

EVERY = 5
"""Rounds between two times that what was found so far is told."""


class Least(NamedTuple):
    """What is left of an input."""

    best: bytes
    minimal: bool
    """Whether all that is simpler was tried, and does not do the same; of what is slow, all that is
    simpler by much."""


def minimise(
    begin: Mapping[Key, bytes],
    does: Does[Key],
    rounds: int = ROUNDS_MAX,
    at_once: Callable[[Key], int] = lambda key: AT_ONCE,
    slow: Callable[[Key], bool] = lambda key: False,
    tell: Callable[[dict[Key, Least]], None] = lambda least: None,
) -> dict[Key, Least]:
    """For each key an input, no larger than the one given, that still does what the key says.

    `at_once` says how many candidates of a key are asked about in one round, `slow` of which keys
    each of them costs seconds; `tell` is told what there is, time and again.  An input that does
    not do it at all, alone or any more, stays as it is, and is not minimal.
    """
    doing = dict(zip(begin, does(list(begin.items())), strict=True))
    searches = {
        key: _Search(encoded, at_once(key) if doing[key] else 0, slow(key))
        for key, encoded in begin.items()
    }
    for number in range(rounds):
        asked = {key: search.next() for key, search in searches.items()}
        pairs = [(key, one) for key, some in asked.items() for one in some]
        if not pairs:
            break
        found: dict[Key, list[bytes]] = {}
        for (key, one), kept in zip(pairs, does(pairs), strict=True):
            if kept:
                found.setdefault(key, []).append(one)
        for key, some in found.items():
            searches[key] = _Search(min(some, key=weight), at_once(key), slow(key))
        if number % EVERY == EVERY - 1:
            tell(_least(searches))
    return _least(searches)


def _least(searches: Mapping[Key, _Search]) -> dict[Key, Least]:
    return {key: Least(search.best, search.is_over) for key, search in searches.items()}


class _Search:
    """What is simpler than the best so far, a few at a time: some much simpler and some less, for
    a round takes as long as it takes however few of them do."""

    def __init__(self, best: bytes, at_once: int, slow: bool) -> None:
        self.best = best
        self._at_once = at_once
        self._most = len(best) - (len(best) // COARSE if slow else 0)
        self._left: list[bytes] | None = None

    def next(self) -> list[bytes]:
        """What to try next; nothing when all was tried."""
        if self._left is None and self._at_once:
            simpler = sorted(self._simpler(), key=weight)
            step = -(-len(simpler) // self._at_once)
            self._left = [one for first in range(step) for one in simpler[first::step]]
        left = self._left or []
        some, self._left = left[: self._at_once], left[self._at_once :]
        return some

    def _simpler(self) -> list[bytes]:
        return [one for one in candidates(self.best) if len(one) <= self._most]

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to try."""
        return not self._left and self._at_once > 0
