"""What became of one case."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["taken", "refused", "unsaid", "crash", "hang", "growth"]
"""Taken or refused as the target says; unsaid where it says neither; and the faults."""

FAULTS: Final = frozenset(("crash", "hang", "growth"))

WORDS_MAX: Final = 2_000
PLACE_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a target did with one case."""

    verdict: Verdict
    words: str = ""
    """What it said, or what happened to it."""

    place: str = ""
    """Where a fault is, as far as can be told: cases with one place have one cause."""

    goes_on: bool = False
    """After a fault: whether the target is as it was, and need not be started anew."""

    answers: tuple[str, ...] = ()
    """The kinds of messages that it answered with, in order, as far as they can be told."""

    @property
    def is_fault(self) -> bool:
        """Whether this is something that no input may do."""
        return self.verdict in FAULTS


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)')
_ERROR = re.compile(r"^(?P<kind>[A-Za-z_][\w.]*)(?::|$)")
_MARKS = (
    re.compile(r"panicked at (?P<at>[^\n]{1,150})"),
    re.compile(r"ERROR: (?P<at>\w*Sanitizer: [\w-]+)"),
    re.compile(r"runtime error: (?P<at>[^\n]{1,150})"),
    re.compile(r"(?P<at>Assertion [^\n]{1,150} failed)"),
    re.compile(r"^(?P<at>(?:fatal error|panic|terminate called)[^\n]{0,150})", re.MULTILINE),
)
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d{3,}")


def fault_place(said: str) -> str:
    """Where a program failed, from what it printed as it did: the last frame of a traceback of
    Python, a panic, a report of a sanitiser, an assertion; "" where it printed nothing of the kind.

    Numbers that differ from run to run (addresses, process ids) are left out.
    """
    at = said.rfind("Traceback (most recent call last)")
    if at >= 0:
        frames = list(_FRAME.finditer(said, at))
        kind = ""
        for line in said[at:].splitlines()[1:]:
            if (found := _ERROR.match(line)) is not None:
                kind = found["kind"]
        if frames:
            last = frames[-1]
            file = last["file"].rpartition("/")[2]
            return f"{kind} in {file}:{last['line']} {last['name']}"[:PLACE_MAX]
    for mark in _MARKS:
        if (found := mark.search(said)) is not None:
            return _NUMBERS.sub("#", found["at"]).strip()[:PLACE_MAX]
    return ""
