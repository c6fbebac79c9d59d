"""`orbitferry bench`: the benchmarks of the repository."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from stack.cli.common import CommandError, Json
from stack.cli.output import answer, emit, say
from stack.core.errors import ConfigError

FOLDER: Final = "tests/benchmarks"
PREFIX: Final = "bench_"

LONGEST_S: Final = 900.0
"""A benchmark that runs longer than this hangs."""


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which ones; all by default.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Say which there are.")] = False,
    as_json: Json = False,
) -> None:
    """Run the benchmarks.

    They come with the repository, not with an installed package. Absolute figures move by a
    factor of two from run to run on a busy machine: compare within one run.

    \b
    Examples:
      orbitferry bench --list
      orbitferry bench fec routing
      orbitferry bench ltp --json
    """
    root = Path(__file__).parents[2]
    known = benchmarks(root)
    if not known:
        raise CommandError(
            f"there are no benchmarks in {root / FOLDER}",
            "run this in a checkout of the repository",
        )
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError("NAME", f"{unknown[0]!r} is unknown", f"there are {', '.join(known)}")
    if listing:
        for name in known:
            answer({"name": name}, as_json, name)
        return
    failed = [name for name in names or known if not _run(root, name, as_json)]
    if failed:
        raise CommandError(f"failed: {', '.join(failed)}", "see above")


def benchmarks(root: Path) -> list[str]:
    """The names of the benchmarks of a checkout, none where it is no checkout."""
    return sorted(path.stem.removeprefix(PREFIX) for path in (root / FOLDER).glob(f"{PREFIX}*.py"))


def _run(root: Path, name: str, as_json: bool) -> bool:
    """Run one; whether it went well."""
    module = f"{FOLDER.replace('/', '.')}.{PREFIX}{name}"
    if not as_json:
        say(f"== {name}")
    begun = time.monotonic()
    # In a session of its own: Ctrl-C ends it and the processes that it has started, without a word.
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", module],
        cwd=root,
        stdout=subprocess.PIPE if as_json else None,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise CommandError(
                f"{name}: did not end within {LONGEST_S:.0f} s", "run it alone"
            ) from None
        except KeyboardInterrupt:
            _kill(process)
            raise
    seconds = time.monotonic() - begun
    if as_json:
        lines = output.splitlines()
        emit({"name": name, "exit_code": process.returncode, "seconds": seconds, "lines": lines})
    else:
        say(f"   {seconds:.1f} s\n")
    return process.returncode == 0


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
