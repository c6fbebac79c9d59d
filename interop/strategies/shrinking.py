"""A failing case of a quick stream, made small by the choices of which it was made.

The answers that a maker got are written down, and then tried with fewer and with smaller ones: as
Hypothesis does, but for cases that it has not drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from interop.strategies.choices import Answer, Choices, Making, Quick, SharesParts, edges

T = TypeVar("T")

TRIES = 5_000
"""Cases that are made to find a smaller one, at most."""

_SPANS = (16, 8, 4, 2, 1)
"""Answers that are left out at once."""


class Recording(Quick):
    """The choices of `Quick`, written down; each counts from the least there is."""

    __slots__ = ("answers",)

    def __init__(self, rng: random.Random, shared: SharesParts | None = None) -> None:
        super().__init__(rng, shared)
        self.answers: list[Answer] = []

    def prepared(self, make: st.SearchStrategy[T] | Callable[..., T], **how: Any) -> T:
        part, answers = self._prepared(make, how)
        self.answers += answers
        return part

    def integer(self, least: int, most: int) -> int:
        value = super().integer(least, most)
        self.answers.append(value - least)
        return value

    def flip(self, one_in: int = 2) -> bool:
        value = super().flip(one_in)
        self.answers.append(int(value))
        return value

    def pick(self, options: Sequence[T]) -> T:
        at = int(self._random() * len(options))
        self.answers.append(at)
        return options[at]

    def octets(self, least: int, most: int) -> bytes:
        value = super().octets(least, most)
        self.answers.append(value)
        return value

    def uint(self, bits: int = 64, least: int = 0) -> int:
        kept = len(self.answers)
        value = super().uint(bits, least)
        self.answers[kept:] = [value - least]
        return value

    def text(self, alphabet: str, least: int, most: int) -> str:
        kept = len(self.answers)
        value = super().text(alphabet, least, most)
        self.answers[kept:] = [value]
        return value


class Answers(Choices):
    """Choices that are known beforehand; the least ones when they have run out or do not fit."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._left = iter(answers)
        self.used: list[Answer] = []
        """The answers as they were taken."""

    def integer(self, least: int, most: int) -> int:
        answer = next(self._left, 0)
        value = min(answer, most - least) if isinstance(answer, int) else 0
        self.used.append(value)
        return least + value

    def flip(self, one_in: int = 2) -> bool:
        return self.integer(0, 1) == 1

    def uint(self, bits: int = 64, least: int = 0) -> int:
        return self.integer(least, edges(bits, least)[-1])

    def octets(self, least: int, most: int) -> bytes:
        answer = next(self._left, b"")
        value = answer[:most].ljust(least, b"\0") if isinstance(answer, bytes) else bytes(least)
        self.used.append(value)
        return value

    def text(self, alphabet: str, least: int, most: int) -> str:
        answer = next(self._left, "")
        text = answer[:most] if isinstance(answer, str) and set(answer) <= set(alphabet) else ""
        value = text.ljust(least, alphabet[0])
        self.used.append(value)
        return value


def shrink(make: Making[T], answers: Sequence[Answer], fails: Callable[[T], bool]) -> T:
    """The smallest case that is found to fail too, from the answers that one was made of."""
    choose = Answers(answers)
    best = make(choose)
    least = choose.used
    left = TRIES
    again = True
    while again:
        again = False
        for candidate in _smaller(least):
            if not left:
                return best
            left -= 1
            choose = Answers(candidate)
            case = make(choose)
            if _size(choose.used) < _size(least) and fails(case):
                best, least, again = case, choose.used, True
                break
    return best


def _size(answers: Sequence[Answer]) -> tuple[int, list[tuple[int, Answer]]]:
    return len(answers), [_one_size(answer) for answer in answers]


def _one_size(answer: Answer) -> tuple[int, Answer]:
    return (0, answer) if isinstance(answer, int) else (len(answer), answer)


def _smaller(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """What may be smaller: without some answers, and with lesser ones."""
    for span in _SPANS:
        for start in range(len(answers) - span, -1, -1):
            yield [*answers[:start], *answers[start + span :]]
    for at, answer in enumerate(answers):
        for lesser in _lesser(answer):
            yield [*answers[:at], lesser, *answers[at + 1 :]]


def _lesser(answer: Answer) -> Iterator[Answer]:
    if isinstance(answer, int):
        step = answer
        while step:
            yield answer - step
            step //= 2
        return
    yield answer[:0]
    size = len(answer)
    while size := size // 2:
        for start in range(0, len(answer), size):
            if isinstance(answer, bytes):
                yield answer[:start] + answer[start + size :]
            else:
                yield answer[:start] + answer[start + size :]
    if isinstance(answer, bytes) and any(answer):
        yield bytes(len(answer))
