"""A packet of a capture file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One packet of a capture."""

    time_ns: int
    """Nanoseconds since 1970-01-01T00:00:00Z."""

    linktype: int
    """How `data` begins: a LINKTYPE_ value."""

    data: bytes
    original_bytes: int
    """Length of the packet on the link; more than `data` has when the capture cut it short."""

    interface: str = ""
    """What the capture calls the interface; "" where it does not."""

    comment: str = ""
    outbound: bool | None = None
    """Whether it was sent there or received, where the capture says so."""
