"""What is known of the ways to disagree: which clause decides, and who is right."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources

from interop.differential.compare import Disagreement

RIGHT = ("reference", "other", "both", "neither")
"""Who keeps to the clause.  "both": the clause leaves it open."""


@dataclass(frozen=True, slots=True)
class Label:
    """What to say of clusters whose kind, implementation and cause match these patterns."""

    kind: str
    name: str
    cause: str
    clause: str
    right: str
    words: str

    def fits(self, one: Disagreement) -> bool:
        """Whether it is about this."""
        return (
            self.kind == one.kind
            and fnmatchcase(one.name, self.name)
            and fnmatchcase(one.cause, self.cause)
        )


def load_labels(protocol: str) -> list[Label]:
    """Those of a protocol, the most particular first.  Raises `ValueError` for a faulty table."""
    text = resources.files(__package__).joinpath("labels.toml").read_text("utf-8")
    rows = tomllib.loads(text).get(protocol, [])
    labels = [
        Label(row["kind"], row.get("name", "*"), _pattern(row["cause"]), row["clause"],
              row["right"], " ".join(row["words"].split()))
        for row in rows
    ]  # fmt: skip
    wrong = [label for label in labels if label.right not in RIGHT]
    if wrong:
        raise ValueError(f"labels.toml: right is one of {', '.join(RIGHT)}, not {wrong[0].right!r}")
    return labels


def _pattern(text: str) -> str:
    """Only the star is special: causes hold brackets."""
    return text.replace("[", "[[]")


def label_of(one: Disagreement, labels: Sequence[Label]) -> Label | None:
    """The first that is about it."""
    return next((label for label in labels if label.fits(one)), None)
