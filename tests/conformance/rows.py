"""Does each row of the conformance tables name a test that fails when its rule is broken?

    python -m tests.conformance.rows             # every row (`make rows`)
    python -m tests.conformance.rows fec "§4.3"  # rows of one table, with these words

`*.toml` beside this file breaks each row's rule with one small edit of the code.  The edit is made
in memory, in a process of its own, and the tests that the row names are run there: one of them
must fail, and not for a name or a type that the edit has wrong.  Prints rows without an edit, edits
that do not fit the code any more, edits that no test noticed, and tests that no edit of their row
makes fail, and exits with 1 when there are any.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import re
import resource
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401 - for every child, but nothing of ours
import numpy.testing  # noqa: F401
import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[2]
DOCS, EDITS, TESTS = ROOT / "docs", Path(__file__).parent, ROOT / "tests"
WRONG = (SyntaxError, NameError, ImportError, AttributeError, TypeError)
"""What a test fails with when the edit is no code, rather than code that breaks a rule."""
SECONDS = 120
"""Of processor time for the tests of a row: an edit that has them go on for ever proves nothing."""


class Row(NamedTuple):
    """A row of a table that has a column of tests."""

    table: str
    text: str
    """Its first columns, as one line."""

    tests: tuple[str, ...]
    """Node ids, as pytest knows them."""


class Edit(NamedTuple):
    """One small change that breaks the rule of a row."""

    table: str
    row: str
    """Its text, or words of it that no other row of the table has."""

    file: str
    old: str
    new: str


def rows() -> list[Row]:
    """All rows that name a test."""
    where = _where()
    found = []
    for path in sorted(DOCS.glob("conformance-*.md")):
        table = path.stem.removeprefix("conformance-")
        hint = ""
        cells: list[str] = []
        for line in path.read_text().splitlines():
            before, cells = cells, [cell.strip() for cell in line.strip("|").split(" | ")]
            if not line.startswith("|"):
                hint, cells = "", []
            elif set(line) <= set("|-: "):
                hint = before[-1] if before[-1].lower().startswith("test") else ""
            elif hint and (names := _names(cells[-1])):
                tests = tuple(dict.fromkeys(i for n in names for i in _ids(n, hint, where, table)))
                found.append(Row(table, " | ".join(cells[:-1]), tests))
    return found


def _names(cell: str) -> list[tuple[str, str]]:
    """(file or "", test or "") for each test that a cell names; a file stays in force there."""
    found, file = [], ""
    for alias, named, test in re.findall(r"(\w+)(?=: `)|`([\w/]*test_\w+\.py)|(test_\w+)", cell):
        file = named or alias or file
        if test and not test.endswith("_"):
            found.append((file, test))
        elif named and f"`{named}`" in cell and f"`{named}`: `" not in cell:
            found.append((named, ""))
    return found


def _where() -> dict[str, list[Path]]:
    """Files by the names of the tests in them, and by their own."""
    found: dict[str, list[Path]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        found.setdefault(path.name, []).append(path.relative_to(ROOT))
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(path.relative_to(ROOT))
    return found


def _ids(name: tuple[str, str], hint: str, where: dict[str, list[Path]], table: str) -> list[str]:
    file, test = name
    paths = where.get(test or Path(file).name, [])
    aliases = {
        "auth": "test_ltp_authentication.py",
        "cookies": "test_ltp_cookies.py",
        "guard": "test_guard.py",
        "node": "node/test_cookies.py",
    }
    likely = aliases.get(file, Path(file).name) or Path(re.sub(r"[`()]|^test ", "", hint)).name
    ours = [path for path in paths if "/" in file and str(path).endswith(file)]
    ours = ours or [path for path in paths if path.name == likely]
    ours = ours or [path for path in paths if table in str(path)] or paths
    return [f"{path}::{test}" if test else str(path) for path in ours]


def edits() -> list[Edit]:
    """Everything in `tests/conformance`."""
    return [
        Edit(path.stem, each["row"], each["file"], each["old"], each["new"])
        for path in sorted(EDITS.glob("*.toml"))
        for each in tomllib.loads(path.read_text())["edit"]
    ]


def pairs(
    all_rows: Sequence[Row], all_edits: Sequence[Edit]
) -> tuple[list[tuple[Row, Edit]], list[str]]:
    """Rows with their edits, and what is wrong with the tables."""
    found, wrong = [], []
    for edit in all_edits:
        ours = [row for row in all_rows if row.table == edit.table]
        of = [row for row in ours if edit.row == row.text] or [
            row for row in ours if edit.row in row.text
        ]
        times = (ROOT / edit.file).read_text().count(edit.old)
        name = f"{edit.table}.toml, {edit.row!r}"
        if len(of) != 1:
            wrong.append(f"{name}: {len(of)} rows have these words")
        elif times != 1:
            wrong.append(f"{name}: `old` is {times} times in {edit.file}")
        else:
            found.append((of[0], edit))
    broken = {row for row, _ in found}
    wrong += [f"{row.table}: no edit for {row.text}" for row in all_rows if row not in broken]
    wrong += [f"{row.table}: no such test for {row.text}" for row in all_rows if not row.tests]
    return found, wrong


def broken(edit: Edit) -> None:
    """From here on the module that an edit is for comes with the edit."""
    path = str(ROOT / edit.file)
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, fullname: str) -> object:
        if loader.path != path:
            return plain(loader, fullname)
        return compile(Path(path).read_text().replace(edit.old, edit.new), path, "exec")

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]


class Verdict(NamedTuple):
    """What became of tests."""

    ended: int
    """What pytest ends with: 0 when all pass, 1 when some fail; anything else is no answer."""

    failed: dict[str, str]
    """What tests failed with, by their node ids; "" is what they may not fail with."""


def run(tests: Sequence[str], edit: Edit | None = None) -> Verdict:
    """Run tests in a process of their own, with an edit."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child:
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answer.seek(0)
            return Verdict(ended, json.loads(answer.read() or b"{}"))
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        if edit is not None:
            broken(edit)
        brief = Brief()
        options = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Hypothesis is loaded
        ended = int(pytest.main([*options, *tests], [brief]))
        answer.write(json.dumps(brief.failed).encode())
        answer.flush()
        os._exit(ended)


class Brief:
    """A plugin of pytest that leaves out what takes long and does not matter here."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}

    @staticmethod
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(session: pytest.Session) -> None:
        """What fails need not be made small; what no test asks for need not be loaded."""
        usual = settings.get_profile("commit")
        settings.register_profile("brief", usual, phases=(Phase.explicit, Phase.generate))
        settings.load_profile("brief")
        plugins = session.config.pluginmanager
        for plugin in plugins.get_plugins():
            if getattr(plugin, "__file__", None) == str(TESTS / "conftest.py"):
                plugins.unregister(plugin)
                del plugin.pytest_collection_finish  # it is registered again

    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[object]
    ) -> None:
        """Note what a test fails with."""
        if isinstance(node, pytest.Item) and call.excinfo is not None:
            what = call.excinfo.value
            while isinstance(what, BaseExceptionGroup):
                what = what.exceptions[0]
            test = node.nodeid.partition("[")[0]
            wrong = isinstance(what, WRONG) or str(what).startswith("Timeout")
            right = "" if wrong else type(what).__name__
            self.failed[test] = self.failed.get(test) or right


def tried(chosen: Sequence[tuple[Row, Edit]]) -> Iterator[str]:
    """Try every edit, and say what no test noticed, and which tests noticed nothing."""
    noticed: dict[Row, set[str]] = {row: set() for row, _ in chosen}
    for row, edit in chosen:
        began = time.monotonic()
        ended, failed = run(row.tests, edit)
        by = {test: what for test, what in failed.items() if what}
        answer = "caught" if by else {0: "NOT NOTICED", 1: "NO CODE"}.get(ended, "NO ANSWER")
        noticed[row] |= {test for test in row.tests if any(each.startswith(test) for each in by)}
        tell = ", ".join(f"{_name(test)} ({what})" for test, what in failed.items())
        took = f"{time.monotonic() - began:6.1f} s"
        print(f"{took}  {answer:12} {edit.table}: {edit.row}: {tell}", flush=True)
        if not by:
            yield f"{edit.table}: {edit.row}: {answer.lower()} by {', '.join(row.tests)}"
    for row, tests in noticed.items():
        names = {_name(test) for test in tests}
        for test in row.tests:
            if _name(test) not in names:  # of namesakes in several files one will do
                yield f"{row.table}: {row.text}: {test} fails with no edit"


def _name(test: str) -> str:
    return test.rpartition("::")[2]


def main() -> None:
    """Try, and tell."""
    words, tables = sys.argv[1:], {path.stem for path in EDITS.glob("*.toml")}
    found, wrong = pairs(rows(), edits())
    chosen = [
        (row, edit)
        for row, edit in found
        if all(word == row.table if word in tables else word in row.text for word in words)
    ]
    every = sorted({test for row, _ in chosen for test in row.tests})
    print(f"{len(chosen)} edits; {len(every)} tests without any ...", flush=True)
    plain = run(every) if every else Verdict(0, {})
    if plain.ended:
        sys.exit(f"these fail without any edit, mend that first: {', '.join(plain.failed) or '?'}")
    wrong += tried(chosen)
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
