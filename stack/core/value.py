"""Immutable values that are quick to make.

The constructor that `dataclass` makes of a frozen class sets each field by name, through
`object.__setattr__`.  A bundle passes through a dozen such objects, and it takes half the time to
fill one as an object of a class that is not frozen and has the same slots, and then to make it one
of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_class_of: Callable[[object, type], None] = object.__dict__["__class__"].__set__


def quick(cls: type[T]) -> type[T]:
    """Decorator of a `dataclass(frozen=True, slots=True)`: the same class, whose constructor is
    quick.  For classes without `default_factory` and `__post_init__`."""
    fields = [one for one in dataclasses.fields(cls) if one.init]  # type: ignore[arg-type]
    names = {one.name: f"_default_{one.name}" for one in fields}
    known: dict[str, Any] = {
        names[one.name]: one.default for one in fields if one.default is not dataclasses.MISSING
    }
    taken = ", ".join(
        one.name + (f"={names[one.name]}" if names[one.name] in known else "") for one in fields
    )
    lines = ["_class_of(self, _Open)", *(f"self.{name} = {name}" for name in names)]
    lines.append("_class_of(self, _Class)")
    known |= {"_class_of": _class_of, "_Class": cls}
    known["_Open"] = type(f"Open{cls.__name__}", (), {"__slots__": cls.__slots__})  # type: ignore[attr-defined]
    exec(f"def __init__(self, {taken}):\n    " + "\n    ".join(lines), known)  # noqa: S102
    made = known["__init__"]
    made.__annotations__ = {one.name: one.type for one in fields}
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    cls.__init__ = made  # type: ignore[method-assign]
    return cls
