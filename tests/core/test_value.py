"""Values that are quick to make: for which classes, and that these are like any other dataclass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from stack.core.value import quick


@quick
@dataclass(frozen=True, slots=True)
class Point:
    """A value."""

    x: int
    y: int = 2


def test_a_quick_value_is_a_frozen_one() -> None:
    point = Point(1)
    assert (point, hash(point), replace(point, x=3)) == (Point(1, 2), hash(Point(x=1)), Point(3))
    with pytest.raises(FrozenInstanceError):
        point.x = 4  # type: ignore[misc]


def with_factory() -> type:
    """Its default is made anew for each."""

    @dataclass(frozen=True, slots=True)
    class Factory:
        seen: list[int] = field(default_factory=list)

    return Factory


def with_check() -> type:
    """Its fields are checked."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        x: int

        def __post_init__(self) -> None:
            raise AssertionError

    return Checked


def with_inner_field() -> type:
    """A field is not set by who makes it."""

    @dataclass(frozen=True, slots=True)
    class Inner:
        x: int = field(default=1, init=False)

    return Inner


@pytest.mark.parametrize("make", [with_factory, with_check, with_inner_field])
def test_a_class_whose_constructor_does_more_is_refused(make: Callable[[], type]) -> None:
    with pytest.raises(TypeError, match="needs the constructor that `dataclass` makes"):
        quick(make())


def test_a_quick_class_has_no_subclass() -> None:
    with pytest.raises(TypeError, match="Solid: a class that is quick to make has no subclasses"):
        type("Solid", (Point,), {"__slots__": ()})
