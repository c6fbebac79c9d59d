"""What public calls take from programs: an EID or its text, a path or its text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError

_ROWS: Final = tuple((kind, 1, True) for kind in ("B", "b", "c"))
"""Format, dimensions and contiguity of views of octets."""


def eid_of(name: str, value: Eid | str) -> Eid:
    """An EID as it is, or read from its text.  Raises `LocalError` that says what the argument
    `name` has to be."""
    if value.__class__ is Eid:
        return value
    expected = 'it takes an Eid or its text, such as "dtn://sat1/" or "ipn:5.0"'
    if not isinstance(value, str):
        raise LocalError(f"{name}: {_shown(value)} is no EID; {expected}")
    try:
        return Eid.parse(value)
    except DecodeError as error:
        raise LocalError(f"{name}: {value[:100]!r} is no EID: {error.reason}; {expected}") from None


def path_of(name: str, value: str | os.PathLike[str]) -> Path:
    """A path.  Raises `LocalError` that says what the argument `name` has to be."""
    expected = "it takes a pathlib.Path or its text"
    if not isinstance(value, str | os.PathLike):
        raise LocalError(f"{name}: {_shown(value)} is no path; {expected}")
    try:
        path = Path(value)
    except TypeError:  # a PathLike of octets
        raise LocalError(f"{name}: {_shown(value)} is no path; {expected}") from None
    if not str(value) or "\0" in str(path):
        raise LocalError(f"{name}: {str(value)[:100]!r} is no path; {expected}")
    return path


def paths_of(name: str, values: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Paths.  Raises `LocalError` that says what the argument `name` has to be."""
    if isinstance(values, str | os.PathLike) or not isinstance(values, Iterable):
        raise LocalError(f"{name}: {_shown(values)}; it takes a list of paths")
    return [path_of(name, value) for value in values]


def id_of(name: str, value: bytes) -> bytes:
    """An id of a file or job.  Raises `LocalError` that says what the argument `name` has to be."""
    check_kind(name, value, bytes, "it takes what the call that began it returned")
    return value


def check_number(name: str, value: object, least: int, most: int) -> None:
    """Raises `LocalError` unless the argument `name` is a whole number from `least` to `most`."""
    if not isinstance(value, int):
        raise LocalError(f"{name}: {_shown(value)} is no whole number in {least}..{most}")
    if not least <= value <= most:
        raise LocalError(f"{name} {value} is not in {least}..{most}")


def check_kind(name: str, value: object, kind: type, remedy: str) -> None:
    """Raises `LocalError` unless the argument `name` is of this kind."""
    if not isinstance(value, kind):
        raise LocalError(f"{name}: {_shown(value)} is no {kind.__name__}; {remedy}")


def check_octets(name: str, value: object) -> None:
    """Raises `LocalError` unless the argument `name` is a buffer of octets."""
    if not isinstance(value, bytes | bytearray | memoryview):
        remedy = 'write b"..." or text.encode()' if isinstance(value, str) else "it takes bytes"
        raise LocalError(f"{name}: {_shown(value)} holds no octets; {remedy}")
    # The length of any other view is not that of its octets.
    if isinstance(value, memoryview) and (value.format, value.ndim, value.contiguous) not in _ROWS:
        raise LocalError(f"{name}: {_shown(value)} is no row of octets; write bytes(view)")


def _shown(value: object) -> str:
    return f"{repr(value)[:100]} ({type(value).__name__})"
