"""One name for one class, and nobody reaches through others into what is not theirs."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.test_sizes import ROOT, _sources

SHARED: dict[str, str] = {
    "Violation": "what a swarm finds wrong in a run, and the rule of a protocol that octets break",
}
"""Public class names that may stand for more than one class, and why they never meet."""

LONG = 4
"""So many attributes one after the other go through two objects of others at least."""

REACHING: dict[str, str] = {
    "life.node.port.driver.octets.cache": "a flipped bit in memory asks for no interface",
    "node.services.files.inbox.taken": "the documented way to a service",
}
"""What may be reached through, and why."""


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


def _chains(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Whole chains of attributes, with the name that each begins with."""
    tree = ast.parse(path.read_text())
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in attributes}
    for node in attributes:
        if id(node) in inner:
            continue
        names: list[str] = []
        whole: ast.expr = node
        while isinstance(whole, ast.Attribute):
            names.insert(0, whole.attr)
            whole = whole.value
        base = whole.id if isinstance(whole, ast.Name) else "()"
        if base not in imported:
            yield base, names


def test_nobody_reaches_through_others() -> None:
    found: dict[str, str] = {}
    for path in _sources():
        for base, names in _chains(path):
            private = [name for name in names if name.startswith("_") and name[:2] != "__"]
            of_others = private and names.index(private[-1]) > 0
            if len(names) >= LONG or len(private) > 1 or of_others:
                found[".".join([base, *names])] = path.relative_to(ROOT).as_posix()
    unknown = [f"{path}: {chain}" for chain, path in found.items() if chain not in REACHING]
    assert not unknown, "\n".join(["reaches through others:", *sorted(unknown)])
    stale = [chain for chain in REACHING if chain not in found]
    assert not stale, f"exceptions that are needed no more: {stale}"
