"""What every machine raises: an implementation under test broke a rule, and which."""

from __future__ import annotations

from interop.strategies.violation import Violation


class MachineFault(AssertionError):
    """The implementation under test did what it must not, or did not do what it must."""

    def __init__(self, clause: str, words: str, what: object = None) -> None:
        """`what` is that on which it was seen."""
        self.violation = Violation(clause, words)
        super().__init__(f"{self.violation}" + (f": {what}" if what is not None else ""))


def require(holds: object, clause: str, words: str, what: object = None) -> None:
    """Raises `MachineFault` unless `holds`; `words` say what is wrong then."""
    if not holds:
        raise MachineFault(clause, words, what)
