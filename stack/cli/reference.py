"""The reference of configuration files, from the docstrings of the classes that read them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a configuration file."""

    table: str
    """The table that it is in, such as ``links.ltp``; empty at the top."""

    name: str
    kind: str
    default: str
    """As TOML has it; ``required``, or empty where there is none."""

    text: str


def keys_of(kind: type[Any], table: str = "") -> Iterator[Key | tuple[str, str]]:
    """Every key of a configuration class; before those of a table, (its header, its purpose)."""
    purpose = _paragraph(inspect.getdoc(kind) or "")
    yield table, purpose
    texts = _field_texts(kind)
    hints = typing.get_type_hints(kind)
    nested = []
    for field in dataclasses.fields(kind):
        path = f"{table}.{field.name}" if table else field.name
        inner = _inner(hints[field.name])
        if inner is not None:
            nested.append((inner, path))
            continue
        yield Key(table, field.name, _kind(hints[field.name]), _default(field), texts[field.name])
    for inner, path in nested:
        yield from keys_of(inner, path)


def reference_markdown(title: str, intro: str, kind: type[Any], arrays: frozenset[str]) -> str:
    """The reference of one kind of file as Markdown; `arrays` are tables that may be repeated."""
    parts = [f"# {title}", intro]
    for entry in keys_of(kind):
        if isinstance(entry, Key):
            default = (
                f"`{entry.default}`" if entry.default not in ("", "required") else entry.default
            )
            head = f"- **`{entry.name}`** ({entry.kind}{', ' if default else ''}{default}): "
            parts.append(textwrap.fill(head + entry.text, 99, subsequent_indent="  "))
        else:
            table, purpose = entry
            if table:
                brackets = f"[[{table}]]" if table in arrays else f"[{table}]"
                parts.append(f"## `{brackets}`")
            else:
                parts.append("## At the top")
            parts.append(textwrap.fill(purpose, 99))
    return "\n\n".join(parts) + "\n"


def _inner(hint: Any) -> type[Any] | None:
    """The configuration class in a type, be it optional or repeated."""
    candidates = typing.get_args(hint) if not isinstance(hint, type) else (hint,)
    for one in candidates:
        if isinstance(one, type) and dataclasses.is_dataclass(one) and one.__name__ != "Eid":
            return one
        if not isinstance(one, type) and typing.get_origin(one) is not None:
            found = _inner(one)
            if found is not None:
                return found
    return None


def _kind(hint: Any) -> str:
    if hint is type(None):
        return "nothing"
    if isinstance(hint, type) and not typing.get_args(hint):
        names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
        return names.get(hint.__name__, hint.__name__)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f'"{one}"' for one in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"table of {_kind(arguments[-1])}"
    return f"list of {_kind(arguments[0])}" if arguments else "list"


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _toml(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _toml(field.default_factory())
    return "required"


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{}" if not value else str(value)
    return str(value)


def _field_texts(kind: type[Any]) -> dict[str, str]:
    """The string under each field, base classes included."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body  # type: ignore[attr-defined]
        for place, statement in enumerate(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                after = body[place + 1] if place + 1 < len(body) else None
                text = ""
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    text = str(after.value.value)
                found[statement.target.id] = _paragraph(text)
    return found


def _paragraph(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
