"""A store writer that waits for nothing, for drivers without an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from stack.core.errors import StoreError
from stack.ports.store import Committed, Op, Stored

Request = tuple[
    Sequence[Op], Callable[[list[int], list[int]], object], Callable[[Exception], object] | None
]


class ImmediateWriter:
    """Commits at once.  What is submitted from within an answer has its turn after that answer,
    as with a writer that has to wait."""

    def __init__(
        self,
        commit: Callable[[Sequence[Op]], Committed],
        expire: Callable[[int], list[Stored]],
    ) -> None:
        """`commit` and `expire` are those of a store, with the time known to them."""
        self._commit = commit
        self._expire = expire
        self._waiting: deque[Request] = deque()
        self._busy = False

    def submit(
        self,
        ops: Sequence[Op],
        done: Callable[[list[int], list[int]], object],
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        """See `stack.storage.writer.StoreWriter.submit`."""
        self._waiting.append((ops, done, failed))
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._next(self._waiting.popleft())
        finally:
            self._busy = False

    def _next(self, request: Request) -> None:
        ops, done, failed = request
        try:
            outcome = self._commit(ops)
        except StoreError as error:
            if failed is not None:
                failed(error)
            return
        done(outcome.refs, outcome.evicted)

    async def expire(self, limit: int) -> list[Stored]:
        """See `stack.storage.writer.StoreWriter.expire`."""
        return self._expire(limit)
