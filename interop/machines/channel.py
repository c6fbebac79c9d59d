"""A channel between two peers: what is put into it comes out late, twice, in another order, or not
at all, as Hypothesis likes.  It knows nothing of what it carries."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st

T = TypeVar("T")


class Fate(enum.StrEnum):
    """What becomes of one thing on its way."""

    ARRIVES = "arrives"
    LATE = "late"
    """It stays on its way, and whatever is put in later may overtake it."""

    TWICE = "twice"
    LOST = "lost"


class Order(enum.StrEnum):
    """In which order things arrive."""

    SENT = "as sent"
    BACKWARDS = "backwards"
    APART = "neighbours apart"


class Passage(NamedTuple):
    """What befalls the things that are on their way."""

    fates: tuple[Fate, ...]
    """Those of the first, the second, ...; and so on from the beginning."""

    order: Order

    def __str__(self) -> str:
        return f"{', '.join(sorted(set(self.fates)))}; {self.order}"


WELL = Passage((Fate.ARRIVES,), Order.SENT)
"""Nothing befalls anything."""


def passages() -> st.SearchStrategy[Passage]:
    """From a perfect channel to a hopeless one."""
    fates = st.sampled_from([*[Fate.ARRIVES] * 3, *[Fate.LOST] * 2, Fate.LATE, Fate.TWICE])
    several = st.lists(fates, min_size=1, max_size=9).map(tuple)
    return st.builds(Passage, st.just(WELL.fates) | several, st.sampled_from(Order))


@dataclass
class PeerChannel(Generic[T]):
    """One direction."""

    flying: list[T] = field(default_factory=list)
    """What is on its way."""

    def put(self, things: Iterable[T]) -> None:
        """These leave."""
        self.flying += things

    def take(self, passage: Passage) -> list[T]:
        """What arrives now."""
        if not self.flying:
            return []
        if currently_in_test_context():
            event(f"channel: {passage}")
        out: list[T] = []
        late: list[T] = []
        for thing, fate in zip(self.flying, itertools.cycle(passage.fates), strict=False):
            if fate is Fate.LATE:
                late.append(thing)
            elif fate is not Fate.LOST:
                out += [thing] * (2 if fate is Fate.TWICE else 1)
        self.flying = late
        return _ordered(out, passage.order)


def _ordered(things: list[T], order: Order) -> list[T]:
    if order is Order.BACKWARDS:
        return things[::-1]
    if order is Order.APART:
        return things[::2] + things[1::2]
    return things
