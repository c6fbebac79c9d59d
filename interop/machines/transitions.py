"""Which transitions of a protocol's table the cases of a machine have taken."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Transition(NamedTuple):
    """One step of one thing that has states, as a peer sees it from outside."""

    of: str
    """What has the states, such as ``block to the engine``."""

    state: str
    what: str
    after: str

    def __str__(self) -> str:
        return f"{self.of}: {self.state} -- {self.what} -> {self.after}"


def table(of: str, rows: Mapping[tuple[str, str], str]) -> Iterator[Transition]:
    """The transitions of a table: state and what happens, and the states that may come of it, with
    ``|`` between them."""
    for (state, what), after in rows.items():
        for each in after.split("|"):
            yield Transition(of, state, what, each.strip())


class Coverage:
    """Transitions that were taken, by how many cases, of those of a table."""

    def __init__(self, transitions: Iterable[Transition] = ()) -> None:
        self.table = tuple(transitions)
        self.cases = 0
        self.taken: Counter[Transition] = Counter()

    def add(self, steps: Iterable[Transition], cases: int = 1) -> None:
        """Cases have ended; `steps` has each transition once for each case that took it."""
        self.cases += cases
        self.taken.update(steps)

    def rarity(self, steps: Iterable[Transition]) -> float:
        """How much a case with these steps has that few cases before it had."""
        return math.fsum(1 / (1 + self.taken[step]) for step in steps)

    def never(self) -> list[Transition]:
        """Those of the table that no case has taken."""
        return [step for step in self.table if not self.taken[step]]

    def lines(self) -> Iterator[str]:
        """A table for people: each transition, and how many cases took it, or that none did."""
        taken = sum(self.taken[step] > 0 for step in self.table)
        yield f"{self.cases} cases, {taken} of {len(self.table)} transitions taken"
        for step in dict.fromkeys((*self.table, *sorted(self.taken))):
            yield f"{self.taken[step] or 'never':>8}  {step}"
