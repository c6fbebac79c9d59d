"""A failing case as people want to see it: as code that makes it again, as hex, and as a tree."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from hypothesis import note

from interop.inspect import Tree, dissect
from interop.strategies.violation import Nearly
from stack.core.eid import Eid


def explain(case: object, kind: str = "auto") -> str:
    """What a case is: octets of a `kind` (one of `interop.inspect.KINDS`) as hex and as a tree,
    with the rule that they break if they are `Nearly`; anything else as code."""
    if isinstance(case, Nearly):
        return f"breaks {case.violation}\n{explain(case.encoded, kind)}"
    if isinstance(case, bytes | bytearray | memoryview):
        octets = bytes(case)
        lines = [f"bytes.fromhex({octets.hex()!r})", *_lines(dissect(octets, kind), 0)]
        return "\n".join(lines)
    return code(case)


def noted(case: Any, kind: str = "auto") -> Any:
    """The case itself, with a note for Hypothesis that explains it where it fails."""
    note(_Lazily(case, kind))
    return case


class _Lazily:
    """Explained only if somebody reads it."""

    def __init__(self, case: object, kind: str) -> None:
        self._case = case
        self._kind = kind

    def __repr__(self) -> str:
        return explain(self._case, self._kind)


def _lines(tree: Tree, depth: int) -> list[str]:
    said = " ".join(filter(None, (f"{tree.label}:", str(tree.value), tree.status, tree.section)))
    note = f"  ({tree.note})" if tree.note else ""
    lines = [f"{'  ' * depth}{tree.offset:>5} {said}{note}"]
    for child in tree.children:
        lines += _lines(child, depth + 1)
    return lines


@singledispatch
def code(value: object) -> str:
    """A Python expression that makes a value again: of the values of this project (frozen
    dataclasses, named tuples, enumerations) and of what they hold."""
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.init and field.repr]
        given = [
            f"{field.name}={code(getattr(value, field.name))}"
            for field in fields
            if getattr(value, field.name) != field.default
        ]
        return f"{type(value).__name__}({', '.join(given)})"
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    return repr(value)


@code.register
def _(value: bytes | bytearray | memoryview) -> str:
    octets = bytes(value)
    return f"bytes.fromhex({octets.hex()!r})" if octets else "b''"


@code.register
def _(value: Eid) -> str:
    if isinstance(value.ssp, bytes):
        return f"Eid({value.scheme}, {code(value.ssp)})"
    return f"Eid.parse({str(value)!r})"


@code.register
def _(value: tuple) -> str:  # type: ignore[type-arg]
    names: tuple[str, ...] = getattr(value, "_fields", ())
    if names:
        given = (f"{name}={code(part)}" for name, part in zip(names, value, strict=True))
        return f"{type(value).__name__}({', '.join(given)})"
    return f"({''.join(code(part) + ', ' for part in value).rstrip()})"


@code.register
def _(value: list) -> str:  # type: ignore[type-arg]
    return f"[{', '.join(map(code, value))}]"


@code.register
def _(value: Mapping) -> str:  # type: ignore[type-arg]
    return f"{{{', '.join(f'{code(key)}: {code(part)}' for key, part in value.items())}}}"
