"""Where implementations disagree on an input, and which inputs they disagree on alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from interop.differential.minimise import AT_ONCE, ROUNDS_MAX, minimise
from interop.differential.verdict import Implementation, Occasional, Verdict, read_all
from interop.strategies.simpler import weight

ACCEPTS = "accepts"
"""It takes what the reference refuses; the cause is the reference's reason."""

REFUSES = "refuses"
"""It refuses what the reference takes; the cause is its own reason."""

READS = "reads"
"""Both take it, and it reads a field otherwise; the cause is the field's name."""

BREAKS = "breaks"
"""It comes to no verdict; the cause is how it ended."""


class Disagreement(NamedTuple):
    """One way to differ from the reference: inputs that differ alike are one cluster."""

    kind: str
    name: str
    """Of the implementation that differs."""

    cause: str


_NUMBER = re.compile(r"0x[0-9a-fA-F]+|-?\b\d+\b")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|b'[^']*'")
CAUSE_CHARS = 120


def cause_of(verdict: Verdict) -> str:
    """The reason without what differs from one input to the next."""
    text = _QUOTED.sub("'…'", verdict.reason)
    text = " ".join(_NUMBER.sub("N", text).split())[:CAUSE_CHARS]
    return f"{text} [{verdict.clause}]" if verdict.clause else text


def disagreements(reference: Verdict, others: Mapping[str, Verdict | None]) -> set[Disagreement]:
    """How the others differ from the reference on one input."""
    found = set()
    for name, other in others.items():
        if other is None:
            continue
        if other.broke:
            found.add(Disagreement(BREAKS, name, cause_of(other)))
        elif other.accepted and not reference.accepted:
            found.add(Disagreement(ACCEPTS, name, cause_of(reference)))
        elif reference.accepted and not other.accepted:
            found.add(Disagreement(REFUSES, name, cause_of(other)))
        elif reference.accepted:
            mine = reference.fields
            found.update(
                Disagreement(READS, name, key)
                for key, value in other.fields.items()
                if key in mine and mine[key] != value
            )
    return found


@dataclass(slots=True)
class Cluster:
    """Inputs that an implementation differs on in one way."""

    inputs: int = 0
    smallest: bytes = b""
    verdicts: dict[str, Verdict | None] = field(default_factory=dict)
    """Of everybody, on the smallest."""


@dataclass(slots=True)
class Comparison:
    """Feeds the same inputs to implementations; the first is the reference.  Raises `ValueError`
    when they are fewer than two, or two have one name."""

    implementations: Sequence[Implementation]
    clusters: dict[Disagreement, Cluster] = field(default_factory=dict)
    inputs: int = 0
    taken: int = 0
    """By the reference."""

    differing: int = 0
    """Inputs with any disagreement."""

    def __post_init__(self) -> None:
        names = [one.name for one in self.implementations]
        if len(names) < 2 or len(set(names)) != len(names):
            raise ValueError(f"two or more implementations with names of their own, not {names}")

    def feed(self, inputs: Sequence[bytes]) -> None:
        """Ask everybody about some more inputs.  Raises `ValueError` when the reference is not
        always asked."""
        for encoded, verdicts in zip(inputs, self._ask(inputs, self.implementations), strict=True):
            reference = next(iter(verdicts.values()))
            if reference is None:
                raise ValueError("the reference must answer every time")
            self.inputs += 1
            self.taken += reference.accepted
            found = _found(verdicts)
            self.differing += bool(found)
            for one in found:
                cluster = self.clusters.setdefault(one, Cluster())
                cluster.inputs += 1
                if cluster.inputs == 1 or weight(encoded) < weight(cluster.smallest):
                    cluster.smallest, cluster.verdicts = encoded, verdicts

    def minimise(self, rounds: int = ROUNDS_MAX) -> None:
        """Put a minimal case in place of the smallest input of each cluster."""
        begin = {key: cluster.smallest for key, cluster in self.clusters.items()}
        least = minimise(begin, self._does, rounds, _at_once)
        for verdicts, (key, encoded) in zip(
            self._ask(list(least.values()), self._always()), least.items(), strict=True
        ):
            self.clusters[key].smallest, self.clusters[key].verdicts = encoded, verdicts

    def _always(self) -> list[Implementation]:
        return [
            one.always() if isinstance(one, Occasional) else one for one in self.implementations
        ]

    def _does(self, pairs: Sequence[tuple[Disagreement, bytes]]) -> list[bool]:
        """Whether each input makes the disagreement with it: asks only the two that disagree."""
        reference, *others = self._always()
        found: dict[tuple[str, bytes], set[Disagreement]] = {}
        for other in others:
            inputs = list(dict.fromkeys(one for key, one in pairs if key.name == other.name))
            for one, verdicts in zip(inputs, self._ask(inputs, (reference, other)), strict=True):
                found[other.name, one] = _found(verdicts)
        return [key in found[key.name, one] for key, one in pairs]

    @staticmethod
    def _ask(
        inputs: Sequence[bytes], implementations: Sequence[Implementation]
    ) -> list[dict[str, Verdict | None]]:
        columns = {one.name: read_all(one, inputs) for one in implementations}
        return [
            {name: column[row] for name, column in columns.items()} for row in range(len(inputs))
        ]


def _at_once(key: Disagreement) -> int:
    """What ends a process costs a new one each time."""
    return 2 if key.kind == BREAKS else AT_ONCE


def _found(verdicts: Mapping[str, Verdict | None]) -> set[Disagreement]:
    (_, reference), *others = verdicts.items()
    return disagreements(reference, dict(others)) if reference else set()
