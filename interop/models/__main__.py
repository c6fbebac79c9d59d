"""Explore the models, and say how far: `python -m interop.models`."""

from __future__ import annotations

import sys

from interop.models.checker import explore
from interop.models.closure import ClosureModel
from interop.models.custody import CustodyModel

MODELS = (
    ("custody", CustodyModel(), False),
    ("custody, acknowledged before durable", CustodyModel(before_durable=True), True),
    ("custody, identities not kept", CustodyModel(no_duplicates_known=True), True),
    ("LTP session closure", ClosureModel(), False),
    ("LTP session closure, of three segments", ClosureModel(segments=3, faults=0), False),
    ("LTP session closure, reports never given up", ClosureModel(gives_up=False), True),
    ("LTP session closure, closed sessions forgotten", ClosureModel(forgets=True), True),
    (
        "LTP session closure, closed before acknowledged",
        ClosureModel(closes_early=True, cancels=False),
        True,
    ),
)
"""Name, model, and whether it has a mistake that must be found."""


def main() -> int:
    """0 when the models hold and all mistakes are found."""
    good = True
    for name, model, mistaken in MODELS:
        found = explore(model)  # type: ignore[misc]
        fault = found.wrong or ("stuck: no way to the end any more" if found.stuck else "")
        good &= bool(fault) == mistaken
        print(
            f"{name}: {model}: {found.states:,} states, {found.transitions:,} transitions, "
            f"depth {found.depth}: {fault or 'holds'}"
        )
        for step in found.trace:
            print(f"    {step}")
    return not good


if __name__ == "__main__":
    sys.exit(main())
