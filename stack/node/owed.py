"""What has failed and must be done in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stack.core.clock import SECOND

AGAIN_NS = SECOND
"""After which time it is tried again."""


class Owed:
    """Does work that somebody waits for: if it fails, again a little later, until it is done.

    `attempt(what, work, *args)` says whether it was done, `after(delay_ns, work)` does it later.
    """

    def __init__(
        self, attempt: Callable[..., bool], after: Callable[[int, Callable[[], None]], None]
    ) -> None:
        self._attempt = attempt
        self._after = after
        self._owed: dict[object, Callable[[], None]] = {}

    def do(self, key: object, work: Callable[..., object], *args: Any) -> None:
        """Do it, now or later; what is owed under `key` already need not be done any more."""
        self._owed.pop(key, None)
        if self._attempt("owed", work, *args):
            return
        if not self._owed:
            self._after(AGAIN_NS, self._pay)
        self._owed[key] = lambda: self.do(key, work, *args)

    def _pay(self) -> None:
        owed, self._owed = self._owed, {}
        for again in owed.values():
            again()
