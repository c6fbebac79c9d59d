"""Atheris as a source of cases: a fuzzer that is led by coverage, where it is installed.

It looks for octets that reach new code of a Python target, in a process of its own, and writes them
into a folder.  The campaign feeds each of them as a case of its own, and so judges, keeps and
shrinks what comes of it as of any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final

from interop.fuzzing.protocols import function_of, known
from interop.fuzzing.target import PYTHON, TargetOptions
from interop.strategies.mutation import mutate
from stack.core.errors import ConfigError, DecodeError

MODULE: Final = "atheris"
SEEDS: Final = 200
"""Cases that it begins with."""

OCTETS_MAX: Final = 4_096
SAID_MAX: Final = 65_536
EVERY_S: Final = 0.5
"""Between two looks into its folder."""


class Guide:
    """The process, and what it has found.  Raises `ConfigError` where Atheris is not installed, or
    the target is no function of Python."""

    def __init__(self, target: str, protocol: str, seed: int, options: TargetOptions) -> None:
        if not target.startswith(PYTHON):
            raise ConfigError("--atheris", "is for targets in Python", "python:MODULE:FUNCTION")
        if importlib.util.find_spec(MODULE) is None:
            raise ConfigError(
                "--atheris", "Atheris is not installed", "pip install atheris; or leave it out"
            )
        self._command = [
            *(sys.executable, "-m", __name__, target.removeprefix(PYTHON), protocol),
            *(str(math.ceil(options.timeout_s)), *options.refusals),
        ]
        self._seed = seed
        self._seen: set[str] = set()
        self._looked_s = 0.0
        self._useful = False
        """Whether it has left anything since it was started."""

        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._out: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seeds: Iterable[bytes]) -> None:
        """Begin from some cases."""
        self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-atheris-")
        for number, octets in enumerate(itertools.islice(seeds, SEEDS)):
            name = f"seed-{number}"
            self._seen.add(name)
            (Path(self._folder.name) / name).write_bytes(octets)
        self._run()

    def new(self) -> list[bytes]:
        """What it has found since it was last asked.  Raises `ConfigError` if it does not run."""
        now = time.monotonic()
        if self._folder is None or now < self._looked_s + EVERY_S:
            return []
        self._looked_s = now
        ended = self._process is not None and self._process.poll() is not None
        paths = [path for path in Path(self._folder.name).iterdir() if path.name not in self._seen]
        self._seen.update(path.name for path in paths)
        self._useful |= bool(paths)
        if ended:
            if not self._useful:
                raise ConfigError("--atheris", f"it has ended, and left nothing: {self._said()}")
            self._run()  # it ends at hangs, and leaves the case
        found = []
        for path in sorted(paths):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes())
        return found

    def _run(self) -> None:
        assert self._folder is not None
        self.stop()
        self._seed = self._seed % 0x7FFF_FFFF + 1
        self._useful = False
        self._out = tempfile.TemporaryFile("ab+")  # noqa: SIM115 - closed by stop()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*self._command[:5], self._folder.name, str(self._seed), *self._command[5:]],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._out,
        )

    def _said(self) -> str:
        if self._out is None:
            return ""
        self._out.seek(0)
        return _last_line(self._out.read(SAID_MAX))

    def stop(self) -> None:
        """End it; its folder stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._out is not None:
            self._out.close()
            self._out = None

    def close(self) -> None:
        """End it, and take its folder away."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _fed(
    function: Callable[[bytes], object], folder: Path, refusals: frozenset[str]
) -> Callable[[bytes], None]:
    """Calls a function; what makes it fail is written down once for each place, and it goes on."""
    told: set[tuple[str, object]] = set()

    def feed(data: bytes) -> None:
        try:
            function(data)
        except Exception as error:
            if isinstance(error, DecodeError | ValueError) or refusals & {
                kind.__name__ for kind in type(error).__mro__
            }:
                return
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = type(error).__name__, trace and (trace.tb_frame.f_code, trace.tb_lineno)
            if place not in told:
                told.add(place)
                (folder / hashlib.sha256(data).hexdigest()[:24]).write_bytes(data)

    return feed


def main(
    reference: str, protocol: str, place: str, seed: str, timeout: str, *refusals: str
) -> None:
    """Run Atheris on a function until somebody ends it."""
    atheris: Any = importlib.import_module(MODULE)
    module_name, _, name = reference.partition(":")
    sys.path.insert(0, "")
    with atheris.instrument_imports(include=[module_name.partition(".")[0]]):
        function = getattr(importlib.import_module(module_name), name)
    repair_name = known(protocol).repair
    repair = function_of(repair_name) if repair_name else bytes

    def changed(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        octets = atheris.Mutate(data, most) if rng.random() < 0.5 else mutate(data, (data,), rng)
        return bytes(repair(bytes(octets))[:most])

    arguments = [sys.argv[0], place, f"-seed={seed}", f"-timeout={timeout}", "-verbosity=0"]
    arguments += [f"-artifact_prefix={place}/", f"-max_len={OCTETS_MAX}", "-rss_limit_mb=4096"]
    feed = _fed(function, Path(place), frozenset(refusals))
    atheris.Setup(arguments, feed, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
