"""What has failed and must be done in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stack.core.clock import SECOND

AGAIN_NS = SECOND
"""After which time it is tried again."""


class Owed:
    """Does work that somebody waits for: if it fails, again a little later, until it is done.

    `attempt(what, work, *args)` says whether it was done; the last argument of work is `now`.
    """

    __slots__ = ("_attempt", "_owed", "due_at")

    def __init__(self, attempt: Callable[..., bool]) -> None:
        self._attempt = attempt
        self._owed: dict[object, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self.due_at: int | None = None
        """When `retry` has something to do."""

    def do(self, now: int, key: object, work: Callable[..., object], *args: Any) -> None:
        """Do it, now or later; what is owed under `key` already need not be done any more."""
        self._owed.pop(key, None)
        if not self._attempt("owed", work, *args, now):
            if not self._owed:
                self.due_at = now + AGAIN_NS
            self._owed[key] = (work, args)
        elif not self._owed:
            self.due_at = None

    def retry(self, now: int) -> None:
        """Try again whatever is owed."""
        owed, self._owed = self._owed, {}
        for key, (work, args) in owed.items():
            self.do(now, key, work, *args)
