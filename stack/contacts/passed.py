"""What a reader of foreign plans passes over: harmless to us, but never in silence."""

from __future__ import annotations


class PassedOver:
    """Lines or entries that were passed over, by kind: how many, and where the first one is."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add(self, kind: str, where: str) -> None:
        """Count one; `kind` is a noun phrase in the singular."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._first.setdefault(kind, where)

    def __str__(self) -> str:
        """For a line to an operator; empty when nothing was passed over."""
        return ", ".join(
            f"{count} x {kind} (first: {self._first[kind]})" for kind, count in self.counts.items()
        )
