"""One name for one class, so that a reader who meets it knows which one is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.architecture.test_sizes import ROOT, _sources

SHARED: dict[str, str] = {}
"""Public class names that may stand for more than one class, and why they never meet."""


def _names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {name for name in found if not name.startswith("_")}


def test_a_public_class_name_stands_for_one_class() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in _sources():
        for name in _names(path):
            homes[name].append(path.relative_to(ROOT).as_posix())
    twice = {name: paths for name, paths in homes.items() if len(paths) > 1}
    unknown = [f"{name}: {', '.join(paths)}" for name, paths in twice.items() if name not in SHARED]
    assert not unknown, "\n".join(["one name for several classes:", *sorted(unknown)])
    stale = [name for name in SHARED if name not in twice]
    assert not stale, f"shared names that are needed no more: {stale}"
