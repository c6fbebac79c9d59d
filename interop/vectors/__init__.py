"""Octets from outside this project, with what a conforming implementation says of them.

`manifest.toml` lists each file with its source and terms; each entry names its own source too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Vector:
    """One entry of a vector file."""

    name: str
    kind: str
    data: bytes
    expect: str
    """In words: valid, invalid, or the value that comes out."""

    source: str
    extra: dict[str, Any]
    """Every other key of the entry, such as keys or step by step values."""


def load(name: str) -> list[Vector]:
    """The entries of `name`.json, in order."""
    text = resources.files(__name__).joinpath(f"{name}.json").read_text("utf-8")
    known = ("name", "kind", "hex", "expect", "source")
    return [
        Vector(
            entry["name"],
            entry["kind"],
            bytes.fromhex(entry["hex"]),
            entry["expect"],
            entry["source"],
            {key: value for key, value in entry.items() if key not in known},
        )
        for entry in json.loads(text)
    ]
