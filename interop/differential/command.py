"""Programs that read a bundle and say by their exit code what they hold of it; those that are known
are found on PATH, and none is fetched or built."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from interop.differential.process import Answer, ask
from interop.differential.verdict import Verdict, broken, refused

NO_VERDICT = 126
"""Exit codes from here on say that the shell could not start it, or that it was killed."""

VARIABLE = "ORBITFERRY_DIFFERENTIAL"
"""Further commands for bundles: ``name=command with arguments``, several with ``;`` between."""

FILE = "{}"
"""Stands in a command for the name of a file with the input; without it that is on standard
input."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "dtn7-rs": ("bp7", "decode", "-"),
    "hardy": ("bundle", "validate", "-"),
    "µD3TN": ("ud3tndecode", "-7", FILE),
}
"""Tools that come with them, as their own documentation says they are called: `bp7` of the crate
bp7, `bundle` of hardy-bpv7-tools, and what `make data-decoder` of µD3TN makes."""


class Program:
    """A program: exit code 0 takes the input, 1 to 125 refuse it; anything else is no verdict."""

    def __init__(self, name: str, command: Sequence[str], version: str = "?") -> None:
        self.name = name
        self.version = version
        self._command = list(command)

    def read(self, encoded: bytes) -> Verdict:
        """Start it once more."""
        try:
            answer = self._ask(encoded)
        except OSError as error:
            return broken(f"cannot be started: {error.strerror}")
        if answer.end or answer.code >= NO_VERDICT:
            return broken(answer.end or f"ended with exit code {answer.code}")
        if not answer.code:
            return Verdict(True)
        lines = (answer.errors or answer.shown).decode("utf-8", "replace").strip().splitlines()
        return refused(lines[-1] if lines else f"exit code {answer.code}")

    def _ask(self, encoded: bytes) -> Answer:
        if not any(FILE in word for word in self._command):
            return ask(self._command, encoded)
        with tempfile.TemporaryDirectory(prefix="orbitferry-differential-") as folder:
            path = Path(folder) / "case"
            path.write_bytes(encoded)
            return ask([word.replace(FILE, str(path)) for word in self._command], b"")


def commands() -> Iterator[Program]:
    """The known programs on PATH, and those that the variable names.  Raises `ValueError` for an
    entry of the variable that is no name=command."""
    for name, (program, *arguments) in KNOWN.items():
        found = shutil.which(program)
        if found:
            yield Program(name, [found, *arguments])
    for name, command in entries(VARIABLE, "command"):
        yield Program(name, shlex.split(command))


def entries(variable: str, what: str) -> Iterator[tuple[str, str]]:
    """What an environment variable names: ``name=what``, several with ``;`` between.  Raises
    `ValueError` for anything else."""
    for entry in filter(None, os.environ.get(variable, "").split(";")):
        name, _, value = entry.strip().partition("=")
        if not name or not value.strip():
            raise ValueError(f"{variable}: name={what}, not {entry!r}")
        yield name, value.strip()
