"""Octets from outside this project, with what a conforming implementation says of them.

`manifest.toml` lists each file with its source and terms; each entry names its own source too.
"""

from __future__ import annotations

import json
import tomllib
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


@dataclass(frozen=True, slots=True)
class VectorFile:
    """One file of entries."""

    name: str
    about: str
    source: str
    count: int


def catalogue() -> list[VectorFile]:
    """Every file whose entries `load` gives, as the manifest has it."""
    folder = resources.files(__name__)
    manifest = tomllib.loads(folder.joinpath("manifest.toml").read_text("utf-8"))
    found = []
    for file in manifest["file"]:
        name, _, kind = file["name"].partition(".")
        if kind != "json":
            continue
        entries = json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
        if isinstance(entries, list):  # not steps of a computation
            found.append(VectorFile(name, file["about"], file["source"], len(entries)))
    return found


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
