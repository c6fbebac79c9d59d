"""The record of conformance: what the specifications ask, clause by clause, and what keeps it.

A file of TOML beside this one is a page of the record.  It has the specifications, of each how
many requirement words its sections have, and rows: what is asked in words of our own, where it is
said, whether it is done, the code that does it, the tests that notice when it does not, and small
edits of the code after which they must.  `documents.py` writes `docs/conformance*.md` of it, and
`rows.py` makes the edits.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).parent


Support = Literal["yes", "partial", "no", "n/a"]


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One small change that breaks the rule of a row."""

    file: str
    old: str
    new: str


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature that a specification asks for, or that we add."""

    item: int
    """Its number in the document, which stays when others come and go."""

    feature: str
    clause: dict[str, str] = {}
    """Where it is asked for, by section, and in how many requirement words there: M for MUST, SHALL
    or REQUIRED, S for SHOULD or RECOMMENDED, O for MAY; "2M S" for two and one.  m stands for what
    the section asks without such a word.  "RFC 9172 §3.8" names a section of another document."""

    support: Support = "yes"
    why: str = ""
    """Needed for all but "yes"."""

    code: tuple[str, ...] = ()
    """`file:name`, or a file."""

    tests: tuple[str, ...] = ()
    """Node ids, as pytest knows them."""

    edit: tuple[Edit, ...] = ()

    @property
    def reference(self) -> str:
        """Its clauses, as one line."""
        return ", ".join(key if "§" in key else f"§{key}" for key in self.clause)

    @property
    def words(self) -> Iterator[tuple[str, str, int]]:
        """(section, letter, how many) of its requirement words."""
        for section, said in self.clause.items():
            for count, letter in re.findall(r"(\d*)([MSOm])", said):
                yield section, letter, int(count or 1)


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A specification, or a heading of our own."""

    name: str
    title: str
    items: str
    """What the numbers of its items begin with."""

    text: str = ""
    """What of its text has been read for this record."""

    condition: str = ""
    """When its demands hold, if not always."""

    words: dict[str, tuple[int, int]] = {}
    """MUST and SHOULD words by section; a section without any need not be here."""

    row: tuple[Row, ...] = ()


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page of the record has."""

    title: str
    document: tuple[Document, ...]


class Case(NamedTuple):
    """A row, and where it is."""

    page: str
    document: Document
    row: Row

    @property
    def name(self) -> str:
        """As one line, to search in."""
        item = f"{self.document.items}{self.row.item}"
        return f"{item} {self.document.name} {self.row.reference}: {self.row.feature}"


def pages() -> dict[str, Page]:
    """The whole record, by the names of its files."""
    return {
        path.stem: msgspec.convert(tomllib.loads(path.read_text()), Page)
        for path in sorted(RECORD.glob("*.toml"))
    }


def cases(record: dict[str, Page]) -> list[Case]:
    """Every row of it."""
    return [
        Case(name, document, row)
        for name, page in record.items()
        for document in page.document
        for row in document.row
    ]


def faults(record: dict[str, Page]) -> list[str]:
    """What is wrong with the record itself: everything that can be seen without making an edit."""
    wrong = []
    for case in cases(record):
        wrong += [f"{case.name}: {fault}" for fault in _faults_of(case.row)]
    documents = [document for page in record.values() for document in page.document]
    for document in documents:
        wrong += _numbers(document)
    wrong += _words(documents)
    return wrong


def _faults_of(row: Row) -> Iterator[str]:
    if row.support == "yes" and not row.tests:
        yield "done, but by no test"
    if row.support == "yes" and row.why:
        yield "what is done needs no excuse"
    if row.support != "yes" and not row.why:
        yield "nothing says why not"
    if bool(row.tests) != bool(row.edit):
        yield "tests and edits come together: neither proves anything without the other"
    if row.tests and not row.code:
        yield "no code is named"
    for name in row.code:
        path, _, symbol = name.partition(":")
        if not (ROOT / path).exists() or (symbol and symbol not in _defined(path)):
            yield f"no such code: {name}"
    for name in row.tests:
        path, _, symbol = name.partition("::")
        if not (ROOT / path).is_file() or symbol not in _defined(path):
            yield f"no such test: {name}"
    for edit in row.edit:
        times = _text(edit.file).count(edit.old)
        if times != 1:
            yield f"`old` of an edit is {times} times in {edit.file}: {edit.old!r}"


def _numbers(document: Document) -> Iterator[str]:
    for item, count in Counter(row.item for row in document.row).items():
        if count > 1:
            yield f"{document.name}: {count} rows are {document.items}{item}"


def _words(documents: Sequence[Document]) -> Iterator[str]:
    """Sections whose requirement words are not all in rows, or more than all."""
    found: Counter[tuple[str, str, str]] = Counter()
    for document in documents:
        for row in document.row:
            for section, letter, count in row.words:
                other, _, there = section.rpartition(" §")
                found[other or document.name, there, letter] += count
    for document in documents:
        asked = {
            (document.name, section, letter): count
            for section, counts in document.words.items()
            for letter, count in zip("MS", counts, strict=True)
        }
        ours = {key for key in found if key[0] == document.name and key[2] in "MS"}
        for key in sorted(ours | asked.keys()):
            if document.words and found[key] != asked.get(key, 0):
                words = {"M": "MUST", "S": "SHOULD"}[key[2]]
                yield (
                    f"{document.name} §{key[1]} has {asked.get(key, 0)} words of {words}, "
                    f"and rows account for {found[key]}"
                )


@cache
def _text(path: str) -> str:
    return (ROOT / path).read_text()


@cache
def _defined(path: str) -> frozenset[str]:
    """Names that a file of ours defines: `function`, `Class`, `Class.method`, `CONSTANT`."""
    if not path.endswith(".py"):
        return frozenset()
    return frozenset(_names(ast.parse(_text(path)), ""))


def _names(tree: ast.Module | ast.ClassDef, before: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield before + node.name
        if isinstance(node, ast.ClassDef):
            yield from _names(node, f"{before}{node.name}.")
        targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        yield from (before + target.id for target in targets if isinstance(target, ast.Name))
