"""The same inputs to several implementations: where they disagree, with minimal cases and clauses.

    from interop.differential import Comparison, OurBundles

    comparison = Comparison([OurBundles(), Mine()])
    comparison.feed(inputs)
    comparison.minimise()

`Mine` is anything with a `name`, a `version` and `read(encoded) -> Verdict`.  `python -m
interop.differential` compares all that are installed (`docs/differential.md`).
"""

from __future__ import annotations

from interop.differential.command import Program
from interop.differential.compare import Cluster, Comparison, Disagreement, disagreements
from interop.differential.minimise import minimise
from interop.differential.ours import OurBundles
from interop.differential.verdict import Implementation, Verdict, broken, refused

__all__ = [
    "Cluster",
    "Comparison",
    "Disagreement",
    "Implementation",
    "OurBundles",
    "Program",
    "Verdict",
    "broken",
    "disagreements",
    "minimise",
    "refused",
]
