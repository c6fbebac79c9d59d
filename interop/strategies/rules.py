"""Rules of a format, and how each is broken alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from interop.strategies.choices import Choices
from interop.strategies.violation import Nearly, Violation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WireRule(Generic[T]):
    """One rule, and a way to break it and no other."""

    violation: Violation

    made: Callable[[Choices], T]
    """Makes something valid."""

    spoil: Callable[[Choices, T], bytes]
    """The octets of it that break the rule."""


def nearly(
    choose: Choices, rules: Sequence[WireRule[Any]], encode: Callable[[Any], bytes]
) -> Nearly:
    """Octets that break one of some rules, and what `encode` gives without that: when somebody
    asks, for that may have to be signed."""
    rule = choose.pick(rules)
    value = rule.made(choose)
    return Nearly(rule.spoil(choose, value), rule.violation, lambda: encode(value))
