"""`orbitferry loopback`: a whole network in one process, in virtual time."""

from __future__ import annotations


def loopback() -> None:
    """Simulate."""
