"""Data policies (docs/sovereignty.md), as labels in bundles and as files: valid, and breaking one
rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from interop.strategies.choices import Choices
from interop.strategies.fields import (
    FieldBreak,
    FieldList,
    cut_off,
    fewer_fields,
    more_fields,
    more_octets,
    with_field,
)
from interop.strategies.making import strategy
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.cose.values import encode
from stack.policy.label import CATEGORIES_MAX, MAGIC, MARKINGS_MAX, TEXT_CHARS_MAX
from stack.policy.node_set import CHARS_MAX, DEPTH_MAX

_ATOMS = ("any", "KR", "US-CA", "none", "domain:kari", "role:relay", "node:dtn://kiruna/",
          "node:ipn:[1-9].0", 'node:"ipn:**"')  # fmt: skip


def _set(choose: Choices, depth: int = 0) -> str:
    if depth == 3 or not choose.flip():
        return choose.pick(_ATOMS)
    left, right = (_set(choose, depth + 1) for _ in range(2))
    return f"({left}) {choose.pick(('|', '&', '-'))} {right}"


def _marking(choose: Choices) -> FieldList:
    categories: FieldList = [choose.pick(("A", "B", "\uc77c")) for _ in choose.many(0, 3)]
    policy = choose.pick(("NATO", "KR-MSIT"))
    return [policy, choose.pick(("SECRET", "RESTRICTED")), categories, choose.uint()]


def _label(choose: Choices) -> FieldList:
    sets = [_set(choose) for _ in range(3)]
    markings: FieldList = [_marking(choose) for _ in choose.many(0, 3)]
    return [MAGIC, *sets, choose.uint(), int(choose.flip()), markings]


NO_SETS: Final = (
    "", "KR |", "| KR", "(KR", "KR)", "KR EU", "node:", "node:mars", "domain:", "team:a", "\u00e9",
    "KR\x00", "(" * (DEPTH_MAX + 1) + "KR" + ")" * (DEPTH_MAX + 1), "KR" + " " * CHARS_MAX,
)  # fmt: skip
"""What no set of nodes is."""


def _any_set(choose: Choices, fields: FieldList) -> bytes:
    return with_field(choose.integer(1, 3), *NO_SETS)(choose, fields)


def _no_text(choose: Choices, fields: FieldList) -> bytes:
    return with_field(choose.integer(1, 3), b"KR", 0, [])(choose, fields)


def _with_marking(*options: FieldList) -> FieldBreak:
    return with_field(6, *([one] for one in options))


_LONG = "x" * (TEXT_CHARS_MAX + 1)
_LABEL_RULES: tuple[tuple[str, FieldBreak], ...] = (
    ("a label says that it is one", with_field(0, "", "data-polic", "Data-policy", 0, b"data")),
    ("a set of nodes is one", _any_set),
    ("a set of nodes is text", _no_text),
    ("a time is unsigned", with_field(4, -1, "", b"", [])),
    ("audit is 0 or 1", with_field(5, 2, 1 << 63, -1, "")),
    ("markings are an array", with_field(6, 0, "", b"")),
    ("markings are few", with_field(6, [["a", "b", [], 0]] * (MARKINGS_MAX + 1))),
    ("a marking has four fields", _with_marking([], ["a", "b", []], ["a", "b", [], 0, 0])),
    ("a marking has few categories",
     _with_marking(["a", "b", [str(n) for n in range(CATEGORIES_MAX + 1)], 0])),
    ("the texts of a marking are short", _with_marking([_LONG, "b", [], 0], ["a", _LONG, [], 0],
                                                       ["a", "b", [_LONG], 0])),
    ("the fields of a marking are of their kinds", _with_marking(
        [0, "b", [], 0], ["a", b"", [], 0], ["a", "b", "", 0], ["a", "b", [0], 0],
        ["a", "b", [], -1])),
    ("a label has 4,096 octets at most", lambda choose, fields: encode(
        [*fields[:6], [["a", "b", ["x" * 250 + str(n) for n in range(20)], 0]]])),
    ("a label has all its fields", fewer_fields),
    ("a label has no more fields", more_fields),
    ("a label fills its block", more_octets),
    ("a label ends where its array does", cut_off),
)  # fmt: skip

LABEL_RULES: Final[tuple[WireRule[FieldList], ...]] = tuple(
    WireRule(Violation("docs/sovereignty.md", words), _label, spoil)
    for words, spoil in _LABEL_RULES
)
"""What can be wrong with a label."""


@strategy
def encoded_labels(choose: Choices) -> bytes:
    """A label that is right."""
    return encode(_label(choose))


@strategy
def nearly_labels(choose: Choices, *, rules: Sequence[WireRule[FieldList]] = LABEL_RULES) -> Nearly:
    """A label that breaks one of some rules."""
    return nearly(choose, rules, encode)


# ---- files

_NAMES = ("readers", "rest", "transit")
_TIMES = ("2027-01-01T00:00:00Z", "7d", "90m", "")
Lines = list[str]


def _file(choose: Choices) -> Lines:
    lines = [f"{name} = '{_set(choose)}'" for name in _NAMES if choose.flip()]
    lines += [f'expires = "{choose.pick(_TIMES)}"', f"audit = {choose.pick(('false', 'true'))}"]
    for _ in choose.many(0, 2):
        lines += ["[[marking]]", 'policy_id = "NATO"', 'classification = "SECRET"']
        lines += [f'categories = ["{choose.pick(("A", "B"))}"]'] if choose.flip() else []
    return lines


def _first(*options: str) -> Callable[[Choices, Lines], bytes]:
    """A line at the head of the file, in place of one with its key."""

    def spoil(choose: Choices, lines: Lines) -> bytes:
        line = choose.pick(options)
        key = line.split("=")[0]
        return text([line, *(one for one in lines if one.split("=")[0] != key)])

    return spoil


def _last(*options: str) -> Callable[[Choices, Lines], bytes]:
    return lambda choose, lines: text([*lines, choose.pick(options)])


def text(lines: Lines) -> bytes:
    """A file of lines."""
    return ("\n".join(lines) + "\n").encode()


_MARKING = '[[marking]]\npolicy_id = "a"\n'
_FILE_RULES: tuple[tuple[str, Callable[[Choices, Lines], bytes]], ...] = (
    ("a set of nodes is one", lambda choose, lines: _first(
        *(f"{name} = '{one}'" for name in _NAMES for one in NO_SETS if one.isprintable()))(
            choose, lines)),
    ("a key is known", _first("reader = 'KR'", "Readers = 'KR'", "policy = 1")),
    ("a value is of its kind", _first("readers = 5", "rest = ['KR']", "audit = 'yes'",
                                      "expires = 2027-01-01T00:00:00Z", "marking = 'NATO'")),
    ("a time is one", _first(*(f'expires = "{one}"' for one in (
        "soon", "2027-13-01T00:00:00Z", "-7d", "1e400d", "nan d", "9" * 20 + "d",
        "9" * 400 + "d")))),
    ("a marking has what it must", _last(_MARKING, '[[marking]]\nclassification = "b"')),
    ("the review of a marking is a moment",
     _last(_MARKING + 'classification = "b"\nreview = "7d"')),
    ("the texts of a marking are short", _last(f'{_MARKING}classification = "{_LONG}"')),
    ("a file is TOML", _last("readers", "= 1", '"', "[", "audit = true = true")),
)  # fmt: skip

FILE_RULES: Final[tuple[WireRule[Lines], ...]] = tuple(
    WireRule(Violation("docs/sovereignty.md", words), _file, spoil) for words, spoil in _FILE_RULES
)
"""What can be wrong with a file."""


@strategy
def policy_files(choose: Choices) -> bytes:
    """A file that is right."""
    return text(_file(choose))


@strategy
def nearly_policy_files(
    choose: Choices, *, rules: Sequence[WireRule[Lines]] = FILE_RULES
) -> Nearly:
    """A file that breaks one of some rules."""
    return nearly(choose, rules, text)
