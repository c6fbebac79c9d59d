"""One name for one class, and nobody reaches through others into what is not theirs."""

from __future__ import annotations

import ast
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_sizes import ROOT, _sources

SHARED: dict[str, str] = {
    "Verdict": "what a policy says of an offered file, and a reader of an input",
    "Violation": "what a swarm finds wrong in a run, and the rule of a protocol that octets break",
}
"""Public class names that may stand for more than one class, and why they never meet."""

LONG = 4
"""So many attributes one after the other go through two objects of others at least."""

GROUPS = {"services"}
"""What only groups things: `node.services.files` is a step to the files of a node."""


def _names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {name for name in found if not name.startswith("_")}


@pytest.mark.slow
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


def _chain(node: ast.expr) -> tuple[str, list[str]]:
    """The name that a chain of attributes and calls begins with, and the attributes."""
    names: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return node.id if isinstance(node, ast.Name) else "()", names


def _aliases(nodes: list[ast.AST]) -> dict[str, tuple[str, list[str]]]:
    """Local names that are given a chain, once, with the chain."""
    stored = Counter(
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    found = {}
    for node in nodes:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs: list[tuple[ast.expr, ast.expr]] = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                once = isinstance(name, ast.Name) and stored[name.id] == 1
                if isinstance(name, ast.Name) and once and isinstance(value, ast.Attribute):
                    found[name.id] = _chain(value)
    return found


def _chains(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Whole chains of attributes and calls, with the name that each begins with.  Local names in
    a function stand for what they were given there."""
    imported = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, functions))]:
        nodes = list(ast.walk(scope))
        aliases = _aliases(nodes) if scope is not tree else {}
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        inner = {id(getattr(node.value, "func", node.value)) for node in attributes}
        for node in attributes:
            if id(node) not in inner:
                base, names = _chain(node)
                seen: set[str] = set()
                while base in aliases and base not in seen:
                    seen.add(base)
                    base, before = aliases[base]
                    names = before + names
                if base not in imported:
                    yield base, [name for name in names if name not in GROUPS]


def _reaches(tree: ast.Module) -> set[str]:
    found = set()
    for base, names in _chains(tree):
        private = [name for name in names if name.startswith("_") and name[:2] != "__"]
        of_others = private and names.index(private[-1]) > 0
        if len(names) >= LONG or len(private) > 1 or of_others:
            found.add(".".join([base, *names]))
    return found


@pytest.mark.slow
def test_nobody_reaches_through_others() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}: {chain}"
        for path in _sources()
        for chain in sorted(_reaches(ast.parse(path.read_text())))
    ]
    assert not found, "\n".join(["reaches through others:", *found])


@pytest.mark.parametrize(
    ("code", "chain"),
    [
        ("self.driver.agent.forwarder.router", "self.driver.agent.forwarder.router"),
        ("agent = self.driver.agent\nx = agent.waiting.take(1)", "self.driver.agent.waiting.take"),
        ("a, b = self.driver.agent, 1\na.waiting.take(b)", "self.driver.agent.waiting.take"),
        ("a = self.box\nb = a.tap\nb.one.two()", "self.box.tap.one.two"),
        ("self.node().port().driver.agent", "self.node.port.driver.agent"),
        ("peer = self._peer\npeer._closed", "self._peer._closed"),
        ("peer._closed()", ""),
        ("a = self.one.two\na = None\na.three.four", ""),
        ("node.services.files.inbox.taken", ""),
    ],
)
def test_what_reaching_through_is(code: str, chain: str) -> None:
    tree = ast.parse(f"def f():\n{textwrap.indent(code, '    ')}")
    assert _reaches(tree) == ({chain} if chain else set())
