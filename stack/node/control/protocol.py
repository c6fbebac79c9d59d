"""Lines and errors that both ends of a control socket share."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args

from stack.core.errors import OrbitferryError

REQUEST_BYTES_MAX: Final = 1024 * 1024
"""Longest line that a node reads: larger payloads are named by their path."""

REPLY_BYTES_MAX: Final = 96 * 1024 * 1024
"""Longest line that a client reads: the largest bundle's payload in Base64, and its names."""

SOCKET_NAME_BYTES_MAX: Final = 107
"""Octets of a name in a UNIX socket address of Linux, its closing zero not counted."""

Kind = Literal[
    "usage",
    "config",
    "refused",
    "store",
    "security",
    "system",
    "busy",
    "unknown",
    "timeout",
    "not_running",
    "internal",
]
"""`usage`: the request makes no sense; `config`: a file or setting is wrong; `refused`: it cannot
be done as things are; `store`: the store cannot take it; `security`: no key, or not allowed;
`system`: the operating system said no; `busy`: somebody else is at it; `unknown`: no such thing;
`timeout`: no answer in time; `not_running`: there is no node; `internal`: a bug."""

KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))


class ControlError(OrbitferryError):
    """A request failed: what of kind it is, what happened to which thing, and what to do."""

    def __init__(self, kind: Kind, message: str, remedy: str = "") -> None:
        super().__init__(message + (f" ({remedy})" if remedy else ""))
        self.kind: Kind = kind
        self.message = message
        self.remedy = remedy

    def as_dict(self) -> dict[str, str]:
        """The error as it travels."""
        return {"kind": self.kind, "message": self.message, "remedy": self.remedy}


def error_from(value: Any) -> ControlError:
    """The error that `as_dict` has made; whatever else comes is an internal one."""
    if not isinstance(value, dict):
        return ControlError("internal", "the node answered with something that is no error")
    kind = value.get("kind")
    return ControlError(
        kind if kind in KINDS else "internal",
        str(value.get("message", "")),
        str(value.get("remedy", "")),
    )


def encode_line(value: dict[str, Any]) -> bytes:
    """One line; text that is no Unicode (a path) travels escaped."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """The object on a line.  Raises `ControlError` of kind `usage`."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("usage", f"not a line of JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise ControlError("usage", "not a JSON object", "send one object on one line")
    return value


@contextlib.contextmanager
def socket_name(path: Path) -> Iterator[str]:
    """A name for the socket at `path` that fits into a socket address.

    Those hold 107 octets (unix(7)), and data folders can lie deeper: then the name goes by way of
    a handle of the folder, which Linux has under /proc.  Raises `OSError`.
    """
    text = str(path)
    if len(os.fsencode(text)) <= SOCKET_NAME_BYTES_MAX:
        yield text
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
