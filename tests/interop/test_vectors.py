"""Every file of outside vectors is listed with its source and terms, and can be read."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from interop.vectors import load

FOLDER = Path(__file__).parents[2] / "interop" / "vectors"
MANIFEST = tomllib.loads((FOLDER / "manifest.toml").read_text("utf-8"))["file"]
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".json", ".npz"))

CODE = {"__init__.py", "manifest.toml", "__pycache__"}


def test_the_manifest_lists_every_file_once() -> None:
    assert sorted(row["name"] for row in MANIFEST) == FILES
    assert {path.name for path in FOLDER.iterdir()} - set(FILES) <= CODE


@pytest.mark.parametrize("row", MANIFEST, ids=lambda row: row["name"])
def test_each_row_says_what_and_whence(row: dict[str, str]) -> None:
    assert set(row) == {"name", "about", "source", "licence"}
    assert all(text and text.strip() == text for text in row.values())
    assert row["licence"] == "facts"


STEPS = "bpsec_rfc9173_computation.json"
"""Not octets to decode but computations, step by step."""


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.endswith(".json") and name != STEPS]
)
def test_each_entry_has_octets_an_expectation_and_a_source(name: str) -> None:
    vectors = load(name.removesuffix(".json"))
    assert vectors
    for vector in vectors:
        assert vector.name
        assert vector.kind
        assert vector.expect
        assert vector.source


def test_each_computation_came_out_as_expected() -> None:
    content = json.loads((FOLDER / STEPS).read_text("utf-8"))
    assert content["source"]
    for step in content["steps"].values():
        assert step["ok"]
        assert step.get("computed") == step.get("expected")


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".npz")])
def test_each_array_file_holds_octets(name: str) -> None:
    with np.load(FOLDER / name, allow_pickle=False) as arrays:
        assert arrays.files
        for key in arrays.files:
            assert arrays[key].dtype == np.uint8
            assert arrays[key].size
