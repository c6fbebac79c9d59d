"""Storing bundles that came together and have nothing else to do with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stack.core.errors import StoreError, StoreFullError
from stack.ports.store import Committed, Op

Done = Callable[[Committed | StoreError], object]


def store_each(
    submit: Callable[[Sequence[Op], Done], None], puts: Sequence[Op], done: Done
) -> None:
    """Commit `puts` as one; if the store cannot, and not because its disk is full, each by itself:
    one that fails keeps no other out.  `done` hears the outcome of all, an error if one failed."""
    refs: list[int] = []
    errors: list[StoreError] = []
    left = len(puts)

    def one(outcome: Committed | StoreError) -> None:
        nonlocal left
        left -= 1
        if isinstance(outcome, StoreError):
            errors.append(outcome)
        else:
            refs.extend(outcome.refs)
        if not left:
            done(errors[0] if errors else Committed(refs))

    def all_of_them(outcome: Committed | StoreError) -> None:
        broken = isinstance(outcome, StoreError) and not isinstance(outcome, StoreFullError)
        if not broken or len(puts) < 2:
            done(outcome)
            return
        for put in puts:
            submit([put], one)

    submit(puts, all_of_them)
