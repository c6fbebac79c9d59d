"""The choices of which a case is made, and who makes them.

A maker (`interop.strategies.making`) is a function that asks for choices and builds one case of
them.  Hypothesis answers where cases are to shrink and failures to be kept (`Drawn`); a generator
of random numbers answers where cases are to be many (`Quick`).  Every choice is such that the least
answer makes the simplest case.
"""

from __future__ import annotations

import abc
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

POOL = 100
"""Examples of a strategy of Hypothesis of which quick cases have their parts."""

_POOLS_MAX = 64


class Making(Protocol[T_co]):
    """Makes one case of the choices that it asks for."""

    def __call__(self, choose: Choices, /) -> T_co:
        """One case."""
        ...


Source = st.SearchStrategy[T] | Making[T]
"""What parts of cases may come from: any strategy of Hypothesis, or a maker."""


class Choices(abc.ABC):
    """What a maker may ask for.  All of it rests on `integer`; who makes the choices may have
    shorter ways to the rest."""

    __slots__ = ()

    @abc.abstractmethod
    def integer(self, least: int, most: int) -> int:
        """An integer from `least` to `most`."""

    def draw(self, source: Source[T]) -> T:
        """A part that somebody else makes.  Of a strategy of Hypothesis it is one of `POOL`
        examples, unless Hypothesis itself makes the choices."""
        if isinstance(source, st.SearchStrategy):
            pool: tuple[T, ...] = _pool(source)
            return self.pick(pool)
        return source(self)

    def prepared(self, make: st.SearchStrategy[T] | Callable[..., T], **how: Any) -> T:
        """A part that is changed afterwards.  A quick stream shares such parts among its cases,
        which costs less than to make one for each; all others have one of their own."""
        return self.draw(make) if isinstance(make, st.SearchStrategy) else make(self, **how)

    def flip(self, one_in: int = 2) -> bool:
        """True in one of so many cases."""
        return self.integer(0, one_in - 1) == one_in - 1

    def pick(self, options: Sequence[T]) -> T:
        """One of some things; the first is the simplest."""
        return options[self.integer(0, len(options) - 1)]

    def uint(self, bits: int = 64, least: int = 0) -> int:
        """An unsigned integer from `least`, at the edges of the widths of CBOR more often than
        its share."""
        at = edges(bits, least)
        if self.flip(3):
            return self.pick(at)
        width = self.integer(1, bits)
        return max(least, self.integer(0, (1 << width) - 1))

    def many(self, least: int, most: int) -> Iterator[int]:
        """Count from 0 to a number from `least` to `most`: for lists, which then shrink by
        their items."""
        for count in range(most):
            if count >= least and not self.flip():
                return
            yield count

    def octets(self, least: int, most: int) -> bytes:
        """A string of so many octets."""
        return bytes(self.integer(0, 255) for _ in range(self.integer(least, most)))

    def text(self, alphabet: str, least: int, most: int) -> str:
        """A text of so many characters of an alphabet."""
        return "".join(self.pick(alphabet) for _ in range(self.integer(least, most)))


@functools.cache
def edges(bits: int, least: int = 0) -> tuple[int, ...]:
    """The ends of every width that CBOR has for integers up to `bits`, from `least`."""
    top = (1 << bits) - 1
    ends = [0, 23, 24, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFF_FFFF, 0x1_0000_0000, top]
    kept = {edge for edge in (least, *ends) if least <= edge <= top}
    return tuple(sorted(kept))


class Draw(Protocol):
    """Draws an example, as what `st.composite` and `st.data` give does."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T:
        """One example."""
        ...


class Drawn(Choices):
    """Choices of Hypothesis: they shrink."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def integer(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    def draw(self, source: Source[T]) -> T:
        if isinstance(source, st.SearchStrategy):
            return self._draw(source)
        return source(self)

    def uint(self, bits: int = 64, least: int = 0) -> int:
        return self._draw(uints(bits, least))

    def octets(self, least: int, most: int) -> bytes:
        return self._draw(st.binary(min_size=least, max_size=most))

    def text(self, alphabet: str, least: int, most: int) -> str:
        return self._draw(texts(alphabet, least, most))


@functools.lru_cache(maxsize=256)
def texts(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    """Texts of an alphabet.  Not `st.text`: that begins with a table of all of Unicode, which in
    a new place takes seconds."""
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map("".join)


@functools.cache
def uints(bits: int = 64, least: int = 0) -> st.SearchStrategy[int]:
    """Unsigned integers from `least`, with the edges of every CBOR head width over-represented."""
    return st.sampled_from(edges(bits, least)) | st.integers(least, (1 << bits) - 1)


Answer = int | bytes | str
"""What a maker was given for what it asked; integers count from the least."""


class SharesParts(Protocol):
    """What cases of a stream share."""

    parts: int
    """How many of each kind."""

    def part(
        self, number: int, make: Callable[..., T], how: dict[str, Any]
    ) -> tuple[T, Sequence[Answer]]:
        """Part `number` of one kind, and the answers of which it was made."""
        ...


class Quick(Choices):
    """Choices of a generator of random numbers: they are quick."""

    __slots__ = ("_bits", "_randbytes", "_random", "_shared")

    def __init__(self, rng: random.Random, shared: SharesParts | None = None) -> None:
        self._shared = shared
        self._random = rng.random
        self._bits = rng.getrandbits
        self._randbytes = rng.randbytes

    def integer(self, least: int, most: int) -> int:
        span = most - least + 1
        if span < 1 << 32:
            return least + int(self._random() * span)
        return least + self._bits(span.bit_length() + 8) % span

    def prepared(self, make: st.SearchStrategy[T] | Callable[..., T], **how: Any) -> T:
        return self._prepared(make, how)[0]

    def _prepared(
        self, make: st.SearchStrategy[T] | Callable[..., T], how: dict[str, Any]
    ) -> tuple[T, Sequence[Answer]]:
        """The part, and answers that were not asked of this."""
        shared = self._shared
        if shared is None or isinstance(make, st.SearchStrategy):
            return super().prepared(make, **how), ()
        return shared.part(int(self._random() * shared.parts), make, how)

    def flip(self, one_in: int = 2) -> bool:
        return self._random() * one_in < 1.0

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def octets(self, least: int, most: int) -> bytes:
        return self._randbytes(least + int(self._random() * (most - least + 1)))

    def uint(self, bits: int = 64, least: int = 0) -> int:
        random = self._random
        if random() * 3 < 1.0:
            at = edges(bits, least)
            return at[int(random() * len(at))]
        drawn = self._bits(1 + int(random() * bits))
        return drawn if drawn > least else least

    def text(self, alphabet: str, least: int, most: int) -> str:
        drawn = self._randbytes(least + int(self._random() * (most - least + 1)))
        return drawn.decode("latin-1").translate(_letters(alphabet))


@functools.lru_cache(maxsize=_POOLS_MAX)
def _letters(alphabet: str) -> dict[int, str]:
    """A letter for each octet."""
    return {octet: alphabet[octet % len(alphabet)] for octet in range(256)}


@functools.lru_cache(maxsize=_POOLS_MAX)
def _pool(strategy: st.SearchStrategy[Any]) -> tuple[Any, ...]:
    return tuple(examples(strategy, POOL))


def examples(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """Examples of a strategy: the same ones at every call."""
    found: list[T] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def gather(one: T) -> None:
        found.append(one)

    gather()
    return found
