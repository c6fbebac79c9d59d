"""Where implementations disagree on an input, and which inputs they disagree on alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from interop.differential.minimise import AT_ONCE, ROUNDS_MAX, Least, minimise
from interop.differential.topics import topic_of
from interop.differential.verdict import Implementation, Occasional, Verdict, read_all
from interop.strategies.simpler import weight

ACCEPTS = "accepts"
"""It takes what the reference refuses; the cause is the reference's reason."""

REFUSES = "refuses"
"""It refuses what the reference takes; the cause is its own reason."""

READS = "reads"
"""Both take it, and it reads a field otherwise; the cause is the field's name."""

SENDS = "sends"
"""Both take it, and what it sends on is not what came in, as the reference reads it; the cause is
why the reference refuses that, or the field."""

BLAMES = "blames"
"""Both refuse it, each for another thing; the cause is these two, the reference's first."""

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


Read = Callable[[bytes], Verdict | None]


def disagreements(
    reference: Verdict, others: Mapping[str, Verdict | None], read: Read | None = None
) -> set[Disagreement]:
    """How the others differ from the reference on one input; `read` is how the reference reads
    what they send on, and without it that is not looked at."""
    return {
        Disagreement(kind, name, cause)
        for name, other in others.items()
        if other is not None
        for kind, cause in _differences(reference, other, read)
    }


def _differences(mine: Verdict, other: Verdict, read: Read | None) -> Iterator[tuple[str, str]]:
    trait = f" ({mine.trait})" if mine.trait else ""
    if other.broke:
        yield BREAKS, cause_of(other)
    elif mine.accepted and other.accepted:
        for key in _unlike(mine, other):
            yield READS, key + trait
        sent = read(other.sent) if read and other.sent is not None else None
        if sent and not sent.accepted:
            yield SENDS, cause_of(sent)
        elif sent:
            unlike = list(_unlike(mine, sent))
            if not unlike and mine.sent not in (None, other.sent):
                unlike = ["other octets that say the same"]
            for key in unlike:
                yield SENDS, key
    elif other.accepted:
        yield ACCEPTS, cause_of(mine)
    elif mine.accepted:
        yield REFUSES, cause_of(other) + trait
    else:
        ours, theirs = topic_of(mine.reason), topic_of(other.reason)
        if ours and theirs and ours != theirs:
            yield BLAMES, f"{ours}; {theirs}"


def _unlike(mine: Verdict, other: Verdict) -> Iterator[str]:
    return (key for key, value in other.fields.items() if mine.fields.get(key, value) != value)


@dataclass(slots=True)
class Cluster:
    """Inputs that an implementation differs on in one way."""

    inputs: int = 0
    smallest: bytes = b""
    verdicts: dict[str, str] = field(default_factory=dict)
    """What everybody says of the smallest."""

    minimal: bool = False
    """Whether nothing smaller was found by looking for it."""


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
            found = self._found(verdicts)
            self.differing += bool(found)
            for one in found:
                cluster = self.clusters.setdefault(one, Cluster())
                cluster.inputs += 1
                if cluster.inputs == 1 or weight(encoded) < weight(cluster.smallest):
                    cluster.smallest, cluster.verdicts = encoded, _words(verdicts)
                    cluster.minimal = False

    def minimise(self, rounds: int = ROUNDS_MAX, keep: Callable[[], None] = lambda: None) -> None:
        """Put smaller cases in place of the smallest inputs that came, in so many rounds; `keep`
        is called when some were put."""

        def put(least: Mapping[Disagreement, Least]) -> None:
            for key, found in least.items():
                self.clusters[key].minimal = found.minimal
            changed = {
                key: found.best
                for key, found in least.items()
                if self.clusters[key].smallest != found.best
            }
            verdicts = self._ask(list(changed.values()), self._always())
            for one, (key, best) in zip(verdicts, changed.items(), strict=True):
                self.clusters[key].smallest, self.clusters[key].verdicts = best, _words(one)
            keep()

        begin = {
            key: cluster.smallest for key, cluster in self.clusters.items() if not cluster.minimal
        }
        put(minimise(begin, self._does, rounds, self._at_once, _hangs, put))

    def _always(self) -> list[Implementation]:
        return [
            one.always() if isinstance(one, Occasional) else one for one in self.implementations
        ]

    def _at_once(self, key: Disagreement) -> int:
        """What ends a process costs a new one each time."""
        if key.kind == BREAKS:
            return 2
        slow = {one.name for one in self.implementations if isinstance(one, Occasional)}
        return AT_ONCE // 5 if key.name in slow else AT_ONCE

    def _does(self, pairs: Sequence[tuple[Disagreement, bytes]]) -> list[bool]:
        """Whether each input makes the disagreement with it: asks only the two that disagree."""
        reference, *others = self._always()
        found: dict[tuple[str, bytes], set[Disagreement]] = {}
        for other in others:
            inputs = list(dict.fromkeys(one for key, one in pairs if key.name == other.name))
            for one, verdicts in zip(inputs, self._ask(inputs, (reference, other)), strict=True):
                found[other.name, one] = self._found(verdicts)
        return [key in found[key.name, one] for key, one in pairs]

    def _found(self, verdicts: Mapping[str, Verdict | None]) -> set[Disagreement]:
        (_, reference), *others = verdicts.items()
        read = self.implementations[0].read
        return disagreements(reference, dict(others), read) if reference else set()

    @staticmethod
    def _ask(
        inputs: Sequence[bytes], implementations: Sequence[Implementation]
    ) -> list[dict[str, Verdict | None]]:
        columns = {one.name: read_all(one, inputs) for one in implementations}
        return [
            {name: column[row] for name, column in columns.items()} for row in range(len(inputs))
        ]


def _hangs(key: Disagreement) -> bool:
    return key.kind == BREAKS and key.cause.startswith("no answer")


def _words(verdicts: Mapping[str, Verdict | None]) -> dict[str, str]:
    return {name: one.words if one else "not asked" for name, one in verdicts.items()}
