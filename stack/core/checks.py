"""What the classes of configuration files check their fields with."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError


def check(key: str, fine: bool, message: str, remedy: str = "") -> None:
    """Raise `ConfigError` at `key` unless `fine`."""
    if not fine:
        raise ConfigError(key, message, remedy)


def check_range(key: str, value: float, least: float, most: float) -> None:
    """Raise `ConfigError` unless `value` is within both bounds; what is not a number is not."""
    if not least <= value <= most:
        raise ConfigError(key, f"{value} is not within {_shown(least)} to {_shown(most)}")


def check_one_of(key: str, value: str, known: Collection[str]) -> None:
    """Raise `ConfigError` unless `value` is one of the words."""
    if value not in known:
        near = difflib.get_close_matches(value, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "one of " + ", ".join(known)
        raise ConfigError(key, f"{value!r} is unknown", remedy)


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


def _shown(bound: float) -> str:
    return f"{bound:,}".replace(",", " ") if abs(bound) < 1e15 else f"{bound:g}"
