"""Any program that reads an input on its standard input and says by its exit code what it holds
of it; those that are known are found on PATH, and none is fetched or built."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence

from interop.differential.process import ask
from interop.differential.verdict import Verdict, broken, refused

NO_VERDICT = 126
"""Exit codes from here on say that the shell could not start it, or that it was killed."""

VARIABLE = "ORBITFERRY_DIFFERENTIAL"
"""Further commands for bundles: ``name=command with arguments``, several with ``;`` between."""

KNOWN: Mapping[str, tuple[str, ...]] = {
    "dtn7-rs": ("bp", "decode", "-"),
    "hardy": ("bundle", "validate", "-"),
}
"""Tools that take a bundle on standard input."""


class Program:
    """A program: exit code 0 takes the input, 1 to 125 refuse it; anything else is no verdict."""

    def __init__(self, name: str, command: Sequence[str], version: str = "?") -> None:
        self.name = name
        self.version = version
        self._command = list(command)

    def read(self, encoded: bytes) -> Verdict:
        """Start it once more."""
        try:
            answer = ask(self._command, encoded)
        except OSError as error:
            return broken(f"cannot be started: {error.strerror}")
        if answer.end or answer.code >= NO_VERDICT:
            return broken(answer.end or f"ended with exit code {answer.code}")
        if not answer.code:
            return Verdict(True)
        lines = (answer.errors or answer.shown).decode("utf-8", "replace").strip().splitlines()
        return refused(lines[-1] if lines else f"exit code {answer.code}")


def commands() -> Iterator[Program]:
    """The known programs on PATH, and those that the variable names.  Raises `ValueError` for an
    entry of the variable that is no name=command."""
    for name, (program, *arguments) in KNOWN.items():
        found = shutil.which(program)
        if found:
            yield Program(name, [found, *arguments])
    for entry in filter(None, os.environ.get(VARIABLE, "").split(";")):
        name, _, command = entry.strip().partition("=")
        if not name or not command.strip():
            raise ValueError(f"{VARIABLE}: name=command, not {entry!r}")
        yield Program(name, shlex.split(command))
