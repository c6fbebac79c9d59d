"""What breaks one rule, and says which."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True, repr=False)
class Nearly:
    """Octets that break exactly one rule."""

    encoded: bytes
    violation: Violation
    valid: bytes
    """What they were before: right in every way."""

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
