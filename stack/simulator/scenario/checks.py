"""What all sections of a scenario are checked with."""

from __future__ import annotations

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError


def check(key: str, fine: bool, message: str, remedy: str = "") -> None:
    """Raise `ConfigError` at `key` unless `fine`."""
    if not fine:
        raise ConfigError(key, message, remedy)


def check_node_id(text: str) -> None:
    """Raise `ConfigError` unless the text is a node id."""
    try:
        eid = Eid.parse(text)
    except DecodeError as error:
        raise ConfigError("id", str(error), 'a node id is "dtn://name/" or "ipn:5.0"') from None
    if eid != eid.node or eid.is_null:
        raise ConfigError("id", f"{text!r} is no node id", f'did you mean "{eid.node}"?')
