"""What breaks one rule, and says which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that something breaks."""

    clause: str
    """Where the rule stands, such as ``RFC 9171 §4.3.1``."""

    words: str
    """What is wrong, in words."""

    def __str__(self) -> str:
        return f"{self.clause}: {self.words}"


class Nearly:
    """Octets that break exactly one rule; not to be changed."""

    __slots__ = ("_valid", "encoded", "violation")

    def __init__(
        self, encoded: bytes, violation: Violation, valid: bytes | Callable[[], bytes]
    ) -> None:
        self.encoded = encoded
        self.violation = violation
        self._valid = valid

    @property
    def valid(self) -> bytes:
        """What they were before: right in every way.  Made when it is asked for the first time,
        where that was given as a function."""
        if not isinstance(self._valid, bytes):
            self._valid = self._valid()
        return self._valid

    def _parts(self) -> tuple[bytes, Violation, bytes]:
        return self.encoded, self.violation, self.valid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nearly) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((self.encoded, self.violation))

    def __reduce__(self) -> tuple[type[Nearly], tuple[bytes, Violation, bytes]]:
        return Nearly, self._parts()

    def __repr__(self) -> str:
        # As code that makes it again, with octets as people read them.
        return (
            f"Nearly(bytes.fromhex({self.encoded.hex()!r}), {self.violation!r}, "
            f"bytes.fromhex({self.valid.hex()!r}))"
        )


@dataclass(frozen=True, slots=True)
class NearlySet:
    """Things on the wire that are each right, and break one rule together."""

    encoded: tuple[bytes, ...]
    violation: Violation
    valid: tuple[bytes, ...]
    """Without what contradicts them."""
