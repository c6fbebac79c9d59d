"""What the classes of configuration files check their fields with.

Bounds stand at the field, `antennas: Annotated[int, Meta(ge=1, le=1000)] = 1`.  Files are checked
against them as they are read (`stack.core.toml`), objects that are made in Python by
`check_bounds`; the reference shows them.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Annotated, Any

from msgspec import Meta

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError


def check(key: str, fine: bool, message: str, remedy: str = "") -> None:
    """Raise `ConfigError` at `key` unless `fine`."""
    if not fine:
        raise ConfigError(key, message, remedy)


def check_range(key: str, value: float, least: float, most: float) -> None:
    """Raise `ConfigError` unless `value` is within both bounds; what is not a number is not."""
    if not least <= value <= most:
        huge = isinstance(value, int) and value.bit_length() > 128  # a file may have any digits
        shown = f"a number of {int(value).bit_length()} bits" if huge else f"{value}"
        raise ConfigError(key, f"{shown} is not within {_shown(least)} to {_shown(most)}")


def check_bounds(one: Any) -> None:
    """Raise `ConfigError` for the first field whose value is beyond its bounds."""
    kind: Any = type(one)
    for key, bounds in _bounds(kind):
        value = getattr(one, key)
        if value is not None:
            check_meta(key, value, bounds)


def check_meta(key: str, value: float, bounds: Meta) -> None:
    """Raise `ConfigError` for a value that is not within `ge` to `le`; what is not a number
    is not."""
    check_range(key, value, *_sides(bounds))


@lru_cache(maxsize=1024)
def bounds_of(hint: Any) -> Meta | None:
    """The bounds of a field, be it optional."""
    if typing.get_origin(hint) is Annotated:
        return next((one for one in hint.__metadata__ if isinstance(one, Meta)), None)
    found = map(bounds_of, members(hint))
    return next((one for one in found if one), None) if hint not in members(hint) else None


def members(hint: Any) -> tuple[Any, ...]:
    """The types that a value may be of."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)


@lru_cache(maxsize=256)
def _bounds(kind: type[Any]) -> tuple[tuple[str, Meta], ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple((key, found) for key, hint in hints.items() if (found := bounds_of(hint)))


def check_one_of(key: str, value: str, known: Collection[str]) -> None:
    """Raise `ConfigError` unless `value` is one of the words."""
    if value not in known:
        near = difflib.get_close_matches(value, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "one of " + ", ".join(known)
        raise ConfigError(key, f"{value!r} is unknown", remedy)


def check_unique(places: Iterable[tuple[str, str]]) -> None:
    """Raise `ConfigError` at the first of the keys whose value an earlier one has; it tells
    both."""
    seen: dict[str, str] = {}
    for key, value in places:
        if value in seen:
            message = f"{value!r} is used twice"
            raise ConfigError(key, message, "give each its own", other=seen[value])
        seen[value] = key


def check_node_id(key: str, text: str) -> None:
    """Raise `ConfigError` unless the text is a node id."""
    try:
        eid = Eid.parse(text)
    except DecodeError as error:
        raise ConfigError(key, str(error), 'a node id is "dtn://name/" or "ipn:5.0"') from None
    if eid != eid.node or eid.is_null:
        raise ConfigError(
            key, f"{text!r} is an endpoint, not a node", f'did you mean "{eid.node}"?'
        )


def bounds_text(bounds: Meta) -> str:
    """Bounds in words: "1 to 1 000"."""
    return " to ".join(map(_shown, _sides(bounds)))


def _sides(bounds: Meta) -> tuple[float, float]:
    assert bounds.ge is not None, "bounds have two sides"
    assert bounds.le is not None, "bounds have two sides"
    return bounds.ge, bounds.le


def _shown(bound: float) -> str:
    whole = isinstance(bound, int) or (bound == int(bound) and abs(bound) < 1e15)
    return f"{int(bound):,}".replace(",", " ") if whole else f"{bound:g}"
