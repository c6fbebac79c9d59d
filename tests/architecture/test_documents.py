"""What the documents show is true: snippets run where the package is installed, without the
repository and with no extras but those that they need, and files that they name exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.installed import ROOT, Installed

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(path.stem, match[1], id=f"{path.stem}-{number}")
    for path in DOCUMENTS
    if path.exists()
    for number, match in enumerate(re.finditer(r"```python\n(.*?)```", path.read_text(), re.S), 1)
]


SIM = ("how-to-inspect", "how-to-test-a-link", "link-models", "orbits", "planning")

NEEDS = {"how-to-fuzz": ("fuzz",), **dict.fromkeys(SIM, ("sim",))}
"""Extras that programs of a document need; those of all others do with none."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installed]:
    """What is installed for a reader of a document who has followed it."""

    @cache
    def with_extras(*extras: str) -> Installed:
        folder = tmp_path_factory.mktemp("installed") / "packages"
        return Installed(folder, *extras, also=("pytest", *(["cbor2"] if "fuzz" in extras else [])))

    return lambda document: with_extras(*NEEDS.get(document, ()))


@pytest.mark.slow
@pytest.mark.parametrize(("document", "snippet"), SNIPPETS)
def test_python_snippets_run(
    document: str, snippet: str, installed: Callable[[str], Installed], tmp_path: Path
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    program = tmp_path / "test_snippet.py"
    program.write_text(snippet)
    options = ("-m", "pytest", "-q") if "\ndef test_" in snippet else ()
    done = installed(document).run("-W", "error", *options, program, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


ALSO = {"how-to-fuzz.md": ("cbor2", "hypothesis", "interop"), "store.md": ("stack",)}
"""What else programs import: strategies are public where they are, and a node has its store."""

FOR_PROGRAMS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("how-to-*.md"))]


def test_programs_import_only_the_face() -> None:
    for path in DOCUMENTS:
        own = {"orbitferry", "numpy", *sys.stdlib_module_names, *ALSO.get(path.name, ())}
        for snippet in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
            assert set(re.findall(r"^\s*(?:from|import) ([\w]+)", snippet, re.M)) <= own, path


@pytest.mark.slow
def test_programs_pass_strict_type_checks(tmp_path: Path) -> None:
    """Against what is installed, which has to say that it is typed (PEP 561)."""
    found = [
        match[1]
        for path in FOR_PROGRAMS
        for match in re.finditer(r"```python\n(.*?)```", path.read_text(), re.S)
    ]
    assert len(found) > 6
    for number, snippet in enumerate(found):
        (tmp_path / f"snippet_{number}.py").write_text(snippet)
    installed = Installed(tmp_path / "packages", "sim", "fuzz", also=("cbor2", "mypy", "pytest"))
    done = installed.run("-m", "mypy", "--strict", *sorted(tmp_path.glob("*.py")), cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:stack|link_models|interop|tests|examples|docs)/[\w/.-]+)", path.read_text()
    )
    missing = [
        name
        for name in named
        if not (ROOT / name.rstrip(".")).exists() and not list(ROOT.glob(name.rstrip(".") + "*"))
    ]
    assert not missing


def test_code_follows_the_revisions_of_drafts_that_the_documents_name() -> None:
    def revisions(paths: list[Path]) -> set[str]:
        found = (re.findall(r"\bdraft-[a-z-]+-\d\d\b", path.read_text()) for path in paths)
        return {draft for drafts in found for draft in drafts}

    code = [path for root in ("stack", "interop") for path in (ROOT / root).rglob("*.py")]
    assert revisions(code) == revisions(DOCUMENTS)


def test_conformance_documents_name_tests_that_exist() -> None:
    defined = {
        match[1]
        for path in (ROOT / "tests").rglob("test_*.py")
        for match in re.finditer(r"def (test_\w+)", path.read_text())
    }
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for path in (ROOT / "docs").glob("conformance-*.md"):
        text = path.read_text()
        for name in re.findall(r"\b(test_\w+)\b(?!\.py|\*)", text):
            if name.endswith("_"):
                continue  # a pattern of file names
            assert name in defined or f"{name}.py" in files, f"{path.name} names {name}"
