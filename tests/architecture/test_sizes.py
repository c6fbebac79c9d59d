"""Modules, classes and functions stay small enough to be read in one go."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("stack", "link_models", "interop")

MODULE_LINES_MAX = 500
CLASS_LINES_MAX = 300
FUNCTION_LINES_MAX = 70

SHARE_MAX = 0.3


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _too_long() -> Iterator[str]:
    for path in _sources():
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text()
        lines = text.count("\n")
        if lines > MODULE_LINES_MAX:
            yield f"{name}: {lines} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                most = CLASS_LINES_MAX
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                most = FUNCTION_LINES_MAX
            else:
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > most:
                yield f"{name}:{node.name}: {length} lines"


@pytest.mark.slow
def test_nothing_is_too_long() -> None:
    found = list(_too_long())
    assert not found, "\n".join(["too long to read:", *found])


def test_no_folder_holds_most_of_the_lines() -> None:
    """Folders of `stack`, and the packages beside it."""
    lines: Counter[str] = Counter()
    for path in _sources():
        package, *inside = path.relative_to(ROOT).parent.parts
        room = f"{package}/{inside[0]}" if package == "stack" and inside else package
        lines[room] += path.read_text().count("\n")
    total = lines.total()
    assert not {room: n / total for room, n in lines.items() if n > SHARE_MAX * total}
