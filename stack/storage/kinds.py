"""The operations of a commit by what they do: a commit is a set, applied kind after kind."""

from __future__ import annotations

from collections.abc import Sequence

from stack.audit.event import Happened
from stack.core.errors import LocalError
from stack.ports.store import Move, Op, PruneEvents, Put, RecordEvent, Release, Write


class Kinds:
    """The operations of one commit."""

    __slots__ = ("events", "known", "moves", "prune", "puts", "releases", "told", "writes")

    def __init__(self, ops: Sequence[Op]) -> None:
        """Raises `LocalError` for what is no operation."""
        self.puts: list[Put] = []
        self.releases: list[int] = []
        self.known: dict[int, int] = {}
        """Until when keys of bundles that are released stay known."""
        self.told: dict[int, Happened] = {}
        """What is written down of these."""
        self.moves: dict[int, Move] = {}
        self.writes: dict[tuple[str, str], bytes | None] = {}
        self.events: list[Happened] = []
        self.prune = 0
        puts, releases = self.puts, self.releases
        for op in ops:
            kind = type(op)
            if kind is Put:
                puts.append(op)  # type: ignore[arg-type]
            elif kind is Release:
                ref, known_until_ms, event = op  # type: ignore[misc]
                releases.append(ref)
                if known_until_ms is not None:
                    self.known[ref] = known_until_ms
                if event is not None:
                    self.told[ref] = event
            elif isinstance(op, Move):
                self.moves[op.ref] = op
            elif isinstance(op, Write):
                self.writes[op.space, op.key] = op.value
            elif isinstance(op, RecordEvent):
                self.events.append(op.event)
            elif isinstance(op, PruneEvents):
                self.prune = op.before
            else:
                raise LocalError(f"not a store operation: {op!r}")
