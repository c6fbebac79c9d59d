"""From one function that makes a case: a strategy of Hypothesis, and a quick stream of cases.

@strategy
def pairs(choose: Choices, *, most: int = 9) -> tuple[int, int]:
    return choose.integer(0, most), choose.uint(32)

pairs(most=5)                         a strategy: for `@given`, shrinks, composes with others
pairs.make(choose, most=5)            one case, as a part of others
pairs.maker(most=5)                   what makes them, for who takes a source: `choose.draw(...)`
pairs.maker(most=5).cases(seed=1)     an endless stream, many times as fast; case n of a seed
                                      is always the same
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from hypothesis import strategies as st

from interop.strategies.choices import Answer, Choices, Drawn, Making, Quick
from interop.strategies.shrinking import Recording, shrink

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 64
"""Cases of one state of the generator: to begin anew costs as much as a small case."""

SHARING = 16
"""Batches that share prepared parts."""


class Maker(Generic[T]):
    """Makes one kind of case, of whoever's choices."""

    def __init__(self, make: Making[T], name: str) -> None:
        self._make = make
        self.name = name

    def __call__(self, choose: Choices) -> T:
        """One case."""
        return self._make(choose)

    def strategy(self) -> st.SearchStrategy[T]:
        """The strategy of Hypothesis that makes these cases."""
        return _made(self)

    def numbered(self, seeds: int = 1 << 16) -> st.SearchStrategy[T]:
        """A strategy that draws one number for each case, its seed: for state machines, which have
        to make many cases of few draws.  Such a case does not shrink in itself."""
        return st.integers(0, seeds - 1).map(lambda seed: self.case(seed, 0))

    def cases(self, seed: int = 0) -> Iterator[T]:
        """An endless stream of cases.  Parts that come from strategies of Hypothesis are taken
        from a pool of examples."""
        for batch in itertools.count():
            choose = self._begin(seed, batch)
            for _ in range(BATCH):
                yield self._make(choose)

    def case(self, seed: int, number: int) -> T:
        """Case `number`, from 0, of the stream of a seed."""
        choose = self._begin(seed, number // BATCH)
        for _ in range(number % BATCH):
            self._make(choose)
        return self._make(choose)

    def smallest(
        self, fails: Callable[[T], bool], *, seed: int = 0, count: int = 100_000
    ) -> T | None:
        """The first of `count` cases of a stream for which `fails` is true, made as small as may
        be, or None."""
        for number, case in enumerate(itertools.islice(self.cases(seed), count)):
            if fails(case):
                return self.shrunk(fails, seed, number)
        return None

    def shrunk(self, fails: Callable[[T], bool], seed: int, number: int) -> T:
        """Case `number` of the stream of a seed, for which `fails` is true, made as small as may
        be with `fails` true still."""
        choose = Recording(*self._of(seed, number // BATCH))
        for _ in range(number % BATCH):
            self._make(choose)
        choose.answers.clear()
        self._make(choose)
        return shrink(self._make, choose.answers, fails)

    def _begin(self, seed: int, batch: int) -> Quick:
        return Quick(*self._of(seed, batch))

    def _of(self, seed: int, batch: int) -> tuple[random.Random, SharedParts]:
        """Of what the choices of a batch are made."""
        return random.Random(f"{seed}/{batch}"), shared_parts(seed, batch // SHARING)

    def __repr__(self) -> str:
        return self.name


class SharedParts:
    """What cases of some batches share: it is the same whichever of them asks first."""

    parts = 64

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[Hashable, tuple[Any, Sequence[Answer]]] = {}

    def part(
        self, number: int, make: Callable[..., T], how: dict[str, Any]
    ) -> tuple[T, Sequence[Answer]]:
        """See `SharesParts`."""
        key = (number, make, *how.values())
        found = self._known.get(key)
        if found is None:
            choose = Recording(random.Random(f"{self._name}/{number}"))
            found = self._known[key] = (make(choose, **how), choose.answers)
        return found


@functools.lru_cache(maxsize=4)
def shared_parts(seed: int, number: int) -> SharedParts:
    """Those of the batches from `number * SHARING` of the stream of a seed."""
    return SharedParts(f"{seed}/{number} shared")


@st.composite
def _made(draw: st.DrawFn, maker: Maker[T]) -> T:
    return maker(Drawn(draw))


class strategy(Generic[P, T]):
    """Makes a function of choices one that gives a strategy."""

    def __init__(self, make: Callable[Concatenate[Choices, P], T]) -> None:
        self.make = make
        """The function itself: one case of whoever's choices."""
        functools.update_wrapper(self, make)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> st.SearchStrategy[T]:
        """The strategy with these arguments."""
        return self.maker(*args, **kwargs).strategy()

    def maker(self, *args: P.args, **kwargs: P.kwargs) -> Maker[T]:
        """What makes its cases."""
        shown = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return Maker(
            lambda choose: self.make(choose, *args, **kwargs),
            f"{self.make.__name__}({', '.join(shown)})",
        )
