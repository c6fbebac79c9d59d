"""What an implementation says of an input, and what an implementation is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

Value = int | str | bytes | tuple[int, ...]
"""What a field holds: compared, and shown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an input was taken, why it was not, and what was read out of it."""

    accepted: bool
    reason: str = ""
    """Why it was refused, in the implementation's own words."""

    fields: Mapping[str, Value] = field(default_factory=dict)
    """What was read, by names that all implementations of a protocol share (`meaning.py`); an
    implementation leaves out what it does not tell."""

    clause: str = ""
    """The rule that the input breaks, where the implementation names it."""

    sent: bytes | None = None
    """What goes out when the input is sent on as it is, where the implementation writes at all."""

    trait: str = ""
    """What of an input that is taken others are known to stumble over: said by the reference, and
    part of the cause where one refuses such an input or reads it otherwise."""

    broke: bool = False
    """It came to no verdict: it crashed, hung, or failed in a way that its interface does not
    know."""

    @property
    def words(self) -> str:
        """What it says, in short."""
        return "taken" if self.accepted else self.reason


def refused(reason: str, clause: str = "") -> Verdict:
    """A verdict against the input."""
    return Verdict(False, reason, clause=clause)


def broken(how: str) -> Verdict:
    """No verdict: `how` it ended instead."""
    return Verdict(False, how, broke=True)


class Implementation(Protocol):
    """Something that reads what a protocol sends."""

    @property
    def name(self) -> str:
        """Short, and unlike the others' names."""

    @property
    def version(self) -> str:
        """As its makers count."""

    def read(self, encoded: bytes) -> Verdict | None:
        """What it makes of the octets; None when it was not asked.  Raises nothing for what the
        octets are."""


@runtime_checkable
class ReadsMany(Protocol):
    """An implementation that is started once for many inputs."""

    def read_many(self, inputs: Sequence[bytes]) -> list[Verdict | None]:
        """One verdict for each input."""


def read_all(implementation: Implementation, inputs: Sequence[bytes]) -> list[Verdict | None]:
    """A verdict for each input, in whichever way is quicker."""
    if isinstance(implementation, ReadsMany):
        return implementation.read_many(inputs)
    return [implementation.read(encoded) for encoded in inputs]


class Occasional:
    """A slow implementation, asked about every so many-th input only."""

    def __init__(self, implementation: Implementation, every: int) -> None:
        self._implementation = implementation
        self._every = every
        self._asked = 0

    @property
    def name(self) -> str:
        """That of the slow one."""
        return self._implementation.name

    @property
    def version(self) -> str:
        """That of the slow one."""
        return self._implementation.version

    def read(self, encoded: bytes) -> Verdict | None:
        """A verdict, or more often none."""
        self._asked += 1
        return self._implementation.read(encoded) if self._asked % self._every == 1 else None

    def always(self) -> Implementation:
        """The slow one itself, for the few inputs that matter."""
        return self._implementation
