"""Which rules an implementation keeps: cases that break one each, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from interop.fuzzing.protocols import FuzzedProtocol, maker_of
from interop.fuzzing.target import Target
from interop.strategies.violation import Nearly, Violation
from stack.core.errors import ConfigError

DRY_MAX: Final = 3_000
"""Cases on end of rules that were tried enough: then there is no other rule."""


@dataclass(slots=True)
class Kept:
    """How an implementation treats cases that break one rule; of none for valid ones."""

    violation: Violation | None
    tried: int = 0
    refused: int = 0
    faults: int = 0
    example: bytes = b""
    """The shortest one with which it did what it must not."""

    said: str = ""
    """What it said of that one."""

    @property
    def holds(self) -> bool:
        """Whether it did right each time: refused what breaks a rule, took what breaks none."""
        wanted = self.tried if self.violation is not None else 0
        return self.refused == wanted and not self.faults

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        rule = self.violation
        return {
            "clause": rule.clause if rule else None,
            "rule": rule.words if rule else "valid",
            "tried": self.tried,
            "refused": self.refused,
            "faults": self.faults,
            "holds": self.holds,
            "example": self.example.hex() or None,
            "said": self.said or None,
        }


def conform(
    target: Target,
    known: FuzzedProtocol,
    *,
    each: int,
    seed: int,
    told: Callable[[int], object] = lambda cases: None,
) -> list[Kept]:
    """Feed `each` cases of every rule that the protocol's strategies can break, and as many valid
    ones as there are rules; by clause, valid ones first.  Raises `ConfigError` for a target that
    does not say what it refuses."""
    if not target.judges:
        raise ConfigError(
            "--target",
            "does not say what it takes and what it refuses",
            "give a command (exit code 0 takes a case), or python:MODULE:FUNCTION",
        )
    if not known.nearly or not known.valid:
        raise ConfigError("--protocol", "has no cases that break one rule each")
    rules: dict[Violation | None, Kept] = {None: Kept(None)}
    target.open()
    try:
        for count, case in enumerate(_enough(known, rules, each, seed)):
            _try(target, rules[case.violation], case.encoded)
            told(count + 1)
        valid: Iterator[bytes] = maker_of(known.valid).cases(seed)
        for _ in range(each * max(1, len(rules) - 1)):
            _try(target, rules[None], next(valid))
    finally:
        target.close()
    return sorted(rules.values(), key=_order)


def _enough(
    known: FuzzedProtocol, rules: dict[Violation | None, Kept], each: int, seed: int
) -> Iterator[Nearly]:
    dry = 0
    for case in maker_of(known.nearly).cases(seed):
        kept = rules.setdefault(case.violation, Kept(case.violation))
        if kept.tried < each:
            dry = 0
            yield case
            continue
        dry += 1
        if dry > DRY_MAX:
            return


def _try(target: Target, kept: Kept, encoded: bytes) -> None:
    reaction = target.feed((encoded,))
    kept.tried += 1
    kept.refused += reaction.verdict == "refused"
    kept.faults += reaction.is_fault
    if reaction.is_fault and not reaction.goes_on:
        target.close()
        target.open()
    right = "refused" if kept.violation is not None else "taken"
    if reaction.verdict != right and (not kept.example or len(encoded) < len(kept.example)):
        kept.example = encoded
        kept.said = reaction.words


def _order(kept: Kept) -> tuple[object, ...]:
    if kept.violation is None:
        return ("",)
    words = re.split(r"[§. ]+", kept.violation.clause)
    numbers = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in words)
    return (kept.violation.clause.split("§")[0], numbers, kept.violation.words)
