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
    quick.  It has no subclasses, as the constructor makes objects of the class itself.  Raises
    `TypeError` for a class with a `default_factory`, `init=False` or `__post_init__`."""
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    if hasattr(cls, "__post_init__") or not all(
        one.init and one.default_factory is dataclasses.MISSING for one in fields
    ):
        raise TypeError(f"{cls.__name__} needs the constructor that `dataclass` makes")
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
    cls.__init_subclass__ = classmethod(_no_subclass)  # type: ignore[assignment]
    return cls


def _no_subclass(subclass: type, /, **_: object) -> None:
    raise TypeError(f"{subclass.__name__}: a class that is quick to make has no subclasses")
