"""Any program that reads an input on its standard input and says by its exit code what it holds
of it; those that are known are found on PATH, and none is fetched or built."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from interop.differential.verdict import Verdict, broken, refused

ANSWER_S = 10
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
            done = subprocess.run(  # noqa: S603
                self._command, input=encoded, capture_output=True, timeout=ANSWER_S, check=False
            )
        except subprocess.TimeoutExpired:
            return broken(f"no answer within {ANSWER_S} s")
        except OSError as error:
            return broken(f"cannot be started: {error.strerror}")
        if not done.returncode:
            return Verdict(True)
        if not 0 < done.returncode < 126:
            return broken(f"ended by signal {-done.returncode}" if done.returncode < 0
                          else f"ended with exit code {done.returncode}")  # fmt: skip
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        return refused(lines[-1] if lines else f"exit code {done.returncode}")


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
