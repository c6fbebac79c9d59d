"""Commits in two halves, so that an event loop need not wait for the disk.

`stage` does the work that needs the interpreter, on the caller's thread; `Staged.finish` does the
work that waits for the disk (two or three system calls), on any thread.  A worker thread that ran
the SQL statements itself would have to win the interpreter lock back after every one of them, up
to 5 ms each time beside a busy loop: 1,300 bundles/s measured instead of 50,000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from stack.ports.store import BundleStore, Committed, Op, Stored

T = TypeVar("T")


class Staged(Generic[T]):
    """A transaction whose outcome is known but not durable yet.  `finish` must be called, once;
    the store takes no other transaction before that."""

    __slots__ = ("_finish", "_result")

    def __init__(self, result: T, finish: Callable[[], None]) -> None:
        self._result = result
        self._finish = finish

    def finish(self) -> T:
        """Make it durable.  Raises `StoreError` when nothing of it was applied."""
        self._finish()
        return self._result


@dataclass(slots=True)
class Scrubbed:
    """What a step of the scrubber has looked at; known when it is finished."""

    bundles: int = 0
    octets: int = 0
    over: bool = False
    """Whether a pass through the store has ended."""

    damaged: list[int] = field(default_factory=list)
    """Refs of bundles that are damaged beyond repair: in quarantine, or gone."""


class StagingStore(BundleStore, Protocol):
    """A store that a `StoreWriter` can drive."""

    def stage(self, ops: Sequence[Op], now_ms: int) -> Staged[Committed]:
        """The first half of `commit`.  Raises like it, and then leaves nothing staged."""
        ...

    def stage_expire(self, now_ms: int, limit: int) -> Staged[list[Stored]]:
        """The first half of `expire`."""
        ...

    def stage_scrub(self) -> Staged[Scrubbed]:
        """A bounded step of looking for what has changed at rest, all of it in `finish`."""
        ...

    @property
    def untidy(self) -> bool:
        """Whether `tidy` would do something."""
        ...

    def tidy(self) -> bool:
        """One bounded step of housekeeping that nobody waits for; True when it did something.
        Never raises `StoreError`."""
        ...
