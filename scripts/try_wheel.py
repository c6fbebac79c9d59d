"""Tries the package as a newcomer does: a wheel in an empty environment, first without any extra.

    python scripts/try_wheel.py [--python PYTHON]

Builds the wheel, installs it (which takes packages from the index), runs every program of
`docs/how-to-embed.md` and of the README there, has mypy check them against the installed types, and
runs those that are tests with a pytest that is installed then, and finds our fixtures by itself.
Last comes the extra `fuzz`, and the programs of `docs/how-to-fuzz.md`.
With --python it tries what is installed for that interpreter.  Ends with code 1 at the first
trouble.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stack.core.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/how-to-embed.md")
WITH_FUZZ = ("docs/how-to-fuzz.md",)


def run(*command: object, cwd: Path) -> str:
    """Run a program; what it prints.  Ends this one when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def install(folder: Path) -> Path:
    """A new environment with the wheel in it; its interpreter."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    run(*pip(python), "wheel", "--no-deps", "-w", folder / "wheels", ROOT, cwd=folder)
    (wheel,) = (folder / "wheels").glob("orbitferry-*.whl")
    run(*pip(python), "install", wheel, cwd=folder)
    return python


def pip(python: Path) -> tuple[object, ...]:
    """The installer of an environment."""
    return (python, "-m", "pip", "--disable-pip-version-check", "-q")


def programs(folder: Path, documents: Sequence[str]) -> list[Path]:
    """The Python blocks of documents, each in a file."""
    found = []
    for document in documents:
        text = (ROOT / document).read_text(encoding="utf-8")
        for match in re.finditer(r"```python\n(.*?)```", text, re.S):
            path = folder / f"{Path(document).stem.lower().replace('-', '_')}_{len(found)}.py"
            path.write_text(match[1], encoding="utf-8")
            found.append(path)
    return found


def main() -> None:
    """See the text at the top."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", help="the interpreter of an environment that has it")
    wanted = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="orbitferry-wheel-") as name:
        folder = Path(name)
        python = Path(wanted).absolute() if wanted else install(folder)
        for package in EXTRAS:
            find = f"importlib.util.find_spec({package!r})"
            run(python, "-c", f"import importlib.util, sys; sys.exit(bool({find}))", cwd=folder)
        print(run(python, "-m", "orbitferry", "--version", cwd=folder), end="")
        found = programs(folder, DOCUMENTS)
        if not wanted:
            run(*pip(python), "install", "pytest", cwd=folder)
        check(python, found)
        if not wanted:
            run(*pip(python), "install", "orbitferry[fuzz]", "cbor2", cwd=folder)
            check(python, programs(folder, WITH_FUZZ))


def check(python: Path, found: Sequence[Path]) -> None:
    """Run programs, with pytest those that are tests, and check their types."""
    folder = found[0].parent
    tests = [path for path in found if "\ndef test_" in path.read_text(encoding="utf-8")]
    for path in found:
        if path not in tests:
            print(run(python, "-W", "error", path, cwd=folder), end="")
    print(run(python, "-m", "pytest", "-q", "-W", "error", *tests, cwd=folder), end="")
    checker = (sys.executable, "-m", "mypy", "--strict", "--python-executable", python)
    print(run(*checker, *found, cwd=folder), end="")


if __name__ == "__main__":
    main()
