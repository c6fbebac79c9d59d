"""The API reference: every public name with its signature and what its docstring says."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

WIDTH: Final = 96

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def api_document(module: ModuleType) -> str:
    """The generated part of ``api.md`` or ``api-models.md``: names that a module passes on."""
    return "\n".join(_entry(name, module.home_of(name)) for name in dir(module))


def _entry(name: str, home: str) -> str:
    node, text = _definition(name, home)
    parts = [f"## `{name}`\n"]
    if isinstance(node, _Function):
        parts.append(_code(_signature(node)))
    elif not isinstance(node, ast.ClassDef):
        parts.append(_code(ast.unparse(node)))
    parts.append(_prose(text))
    if isinstance(node, ast.ClassDef):
        bases = [ast.unparse(base) for base in node.bases]
        if bases:
            parts.insert(1, _code(f"class {name}({', '.join(bases)})"))
        parts += [f"- `{field}`{_tail(about)}\n" for field, about in _fields(node)]
        for method in _methods(node):
            parts.append(_code(_signature(method)) + "\n" + _prose(ast.get_docstring(method) or ""))
    return "\n".join(parts)


def _definition(name: str, home: str) -> tuple[ast.stmt, str]:
    """Where a name is defined, through all modules that pass it on, and its docstring."""
    module = importlib.import_module(home)
    found = getattr(module, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        module = importlib.import_module(found.__module__)
    while True:
        body = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
        for place, one in enumerate(body):
            if isinstance(one, _Function | ast.ClassDef) and one.name == name:
                return one, ast.get_docstring(one) or ""
            if isinstance(one, ast.Assign | ast.AnnAssign) and _target(one) == name:
                return one, _string(body[place + 1 : place + 2])
        module = importlib.import_module(_passed_on(body, name))


def _target(one: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(one.target if isinstance(one, ast.AnnAssign) else one.targets[0])


def _passed_on(body: list[ast.stmt], name: str) -> str:
    return next(
        str(one.module)
        for one in body
        if isinstance(one, ast.ImportFrom) and name in [alias.name for alias in one.names]
    )


def _methods(node: ast.ClassDef) -> Iterator[_Function]:
    for one in node.body:
        if not isinstance(one, _Function):
            continue
        if not one.name.startswith("_") or (one.name == "__init__" and ast.get_docstring(one)):
            yield one


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The annotated fields and the members of an enumeration, with the string under each."""
    for place, one in enumerate(node.body):
        if isinstance(one, ast.AnnAssign | ast.Assign) and not _target(one).startswith("_"):
            yield ast.unparse(one), _string(node.body[place + 1 : place + 2])


def _string(after: list[ast.stmt]) -> str:
    """The docstring of an assignment: the text that follows it, if one does."""
    for one in after:
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
            return inspect.cleandoc(str(one.value.value))
    return ""


def _signature(node: _Function) -> str:
    """The line that defines a function; one argument a line where it is long."""
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    marks = [f"@{ast.unparse(one)}\n" for one in node.decorator_list]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    whole = f"{start} {node.name}({ast.unparse(node.args)}){result}"
    if len(whole) > WIDTH:
        whole = textwrap.fill(whole, WIDTH, subsequent_indent="    ", break_long_words=False)
    return "".join(marks) + whole


def _code(text: str) -> str:
    return f"```text\n{text}\n```\n"


def _tail(text: str) -> str:
    return ": " + " ".join(text.split()) if text else ""


def _prose(text: str) -> str:
    """A docstring as Markdown, whose indented examples stay what they are."""
    return text + "\n" if text else ""
