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
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec

from stack.core.checks import bounds_of, bounds_text

WIDTH: Final = 99


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One key of a configuration file."""

    name: str
    kind: str
    default: str
    """As TOML has it; ``required``, or empty where there is none."""

    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a configuration file."""

    purpose: str
    keys: tuple[ConfigKey, ...]
    tables: list[str] = field(default_factory=list)
    """Where it may stand, with brackets: ``[[links]]``; ``[]`` at the top."""


def sections_of(kind: type[Any], but: frozenset[str] = frozenset()) -> list[Section]:
    """The tables of a configuration class, each class once, in the order of the fields; keys of
    the first that are named in `but` are left out."""
    found = {kind: section_of(kind, but)}
    _collect(kind, "", "[]", found)
    return list(found.values())


def reference_markdown(
    title: str,
    intro: str,
    kind: type[Any],
    examples: str = "",
    but: frozenset[str] = frozenset(),
) -> str:
    """The reference of one kind of file as Markdown.

    `examples` is a TOML document; each section shows the first of its tables there.  Keys at the
    top that are named in `but` are left out.
    """
    parts = [f"# {title}", intro]
    for section in sections_of(kind, but):
        first, *others = section.tables
        parts.append("## At the top" if first == "[]" else f"## `{first}`")
        parts.append(paragraph(section.purpose))
        if others:
            places = ", ".join(f"`{one}`" for one in others)
            parts.append(paragraph(f"The same keys in {places}."))
        parts += map(key_markdown, section.keys)
        shown = [example for table in section.tables if (example := toml_table(examples, table))]
        if shown:
            parts.append(fenced(shown[0]))
    return "\n\n".join(parts) + "\n"


def key_markdown(key: ConfigKey) -> str:
    """One key as an item of a list."""
    default = f"`{key.default}`" if key.default not in ("", "required") else key.default
    return paragraph(f"- **`{key.name}`** ({key.kind}{', ' * bool(default)}{default}): {key.text}")


def section_of(kind: type[Any], but: frozenset[str] = frozenset()) -> Section:
    """The keys of a class, less those named in `but`; tables without a text are no keys."""
    texts = _field_texts(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    keys = tuple(
        ConfigKey(name, _kind(hints[name]), default, texts[name])
        for name, default in _fields(kind)
        if name not in but and (texts[name] or _inner(hints[name]) is None)
    )
    purpose = _words(inspect.getdoc(kind) or "").partition(" Raises ")[0]  # that is for programs
    return Section(purpose, keys)


def toml_table(document: str, header: str, containing: str = "") -> str:
    """The first table with a header and some text, as it is written; ``[]`` is what comes before
    the first header; empty where there is none."""
    for block in re.split(r"^(?=\[)", document, flags=re.MULTILINE):
        found = block.partition("\n")[0] if block.startswith("[") else "[]"
        if found == header and containing in block:
            return block.strip()
    return ""


def fenced(example: str) -> str:
    """A piece of TOML in Markdown."""
    return f"```toml\n{example}\n```"


def paragraph(text: str) -> str:
    """A paragraph or an item of a list in lines of `WIDTH`."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(_words(text), WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def _collect(kind: type[Any], path: str, table: str, found: dict[type[Any], Section]) -> None:
    if kind not in found:
        found[kind] = section_of(kind)
    found[kind].tables.append(table)
    hints = typing.get_type_hints(kind)
    for name, _ in _fields(kind):
        inner = _inner(hints[name])
        if inner is not None:
            below = f"{path}.{name}" if path else name
            many = typing.get_origin(hints[name]) is tuple
            _collect(inner, below, f"[[{below}]]" if many else f"[{below}]", found)


def _fields(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """The name and the default of each field."""
    missing = (dataclasses.MISSING, msgspec.NODEFAULT)
    entries: tuple[Any, ...] = (
        msgspec.structs.fields(kind)
        if issubclass(kind, msgspec.Struct)
        else dataclasses.fields(kind)
    )
    for one in entries:
        if one.default not in missing:
            yield one.name, _toml(one.default)
        elif one.default_factory not in missing:
            yield one.name, _toml(one.default_factory())
        else:
            yield one.name, "required"


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
    if typing.get_origin(hint) is Annotated:
        bounds = bounds_of(hint)
        inside = f" {bounds_text(bounds)}" if bounds else ""
        return _kind(typing.get_args(hint)[0]) + inside
    if isinstance(hint, type) and not typing.get_args(hint):
        if issubclass(hint, msgspec.Struct):
            return "table with a `kind`"
        if _inner(hint) is not None:
            return "table"
        names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}
        return names.get(hint.__name__, hint.__name__)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(f'"{one}"' for one in arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = dict.fromkeys(_kind(one) for one in arguments if one is not type(None))
        return " or ".join(kinds)
    if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"table of {_kind(arguments[-1])}"
    return _list(arguments) if arguments else "list"


def _list(arguments: tuple[Any, ...]) -> str:
    """A list of any length, or of as many as there are arguments."""
    if arguments[-1] is not Ellipsis and len(arguments) > 1:
        return f"[{', '.join(map(_kind, arguments))}]"
    return f"list of {_kind(arguments[0])}".replace("table", "tables")


def _toml(value: Any) -> str:
    if value is None or dataclasses.is_dataclass(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int | float):
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
        if not dataclasses.is_dataclass(base) and not _is_struct(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = tree.body[0].body  # type: ignore[attr-defined]
        for place, statement in enumerate(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                after = body[place + 1] if place + 1 < len(body) else None
                text = ""
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    text = str(after.value.value)
                found[statement.target.id] = _words(text)
    return found


def _is_struct(base: type[Any]) -> bool:
    return issubclass(base, msgspec.Struct) and base is not msgspec.Struct


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
