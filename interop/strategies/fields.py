"""CBOR arrays of fields, and what is wrong with one: for messages and records of that form."""

from __future__ import annotations

from collections.abc import Callable

from interop.strategies.choices import Choices
from stack.cose.values import Value, encode

FieldList = list[Value]

FieldBreak = Callable[[Choices, FieldList], bytes]
"""The octets of an array that break a rule."""


def with_field(index: int, *options: Value) -> FieldBreak:
    """One field is something else."""

    def spoil(choose: Choices, fields: FieldList) -> bytes:
        return encode([*fields[:index], choose.pick(options), *fields[index + 1 :]])

    return spoil


def fewer_fields(choose: Choices, fields: FieldList) -> bytes:
    """The last one is missing, or several."""
    return encode(fields[: choose.integer(0, len(fields) - 1)])


def more_fields(choose: Choices, fields: FieldList) -> bytes:
    """There is one that nobody knows."""
    extra: tuple[Value, ...] = (0, b"", "", [], False)
    return encode([*fields, choose.pick(extra)])


def more_octets(choose: Choices, fields: FieldList) -> bytes:
    """Something stands behind the array."""
    return encode(fields) + choose.octets(1, 4)


def cut_off(choose: Choices, fields: FieldList) -> bytes:
    """It ends early."""
    whole = encode(fields)
    return whole[: choose.integer(1, len(whole) - 1)]
