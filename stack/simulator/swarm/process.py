"""The process that has a disk in a simulation."""

from __future__ import annotations

from typing import Protocol

from stack.core.errors import StoreError


class Crashed(StoreError):
    """The process that asks has ended, though it does not know."""


class Process(Protocol):
    """What a disk must know of the process that uses it."""

    dead: bool

    def crash(self) -> None:
        """End it, here and now."""
        ...
