"""A program that reads one case each time it is run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from interop.fuzzing.reaction import WORDS_MAX, Reaction, fault_place
from interop.fuzzing.target import TargetOptions
from stack.core.errors import ConfigError

_SAID_MAX = 64 * 1024


class CommandTarget:
    """Runs a command for each case: exit code 0 takes it, others refuse it; a signal, a
    traceback, a panic or a report of a sanitiser is a crash."""

    judges = True
    keeps_state = False
    opening: bytes = b""
    between: tuple[bytes, ...] = ()

    def __init__(self, words: Sequence[str], options: TargetOptions) -> None:
        self.name = " ".join(words)
        self._words = list(words)
        self._by_file = any("{}" in word for word in words)
        self._timeout_s = options.timeout_s
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self) -> None:
        """Make room for files of cases."""
        if self._by_file and self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-fuzz-")

    def feed(self, messages: Sequence[bytes]) -> Reaction:
        """Run it once.  Raises `ConfigError` if there is no such program."""
        data = b"".join(messages)
        words, given = self._words, data
        if self._folder is not None:
            path = Path(self._folder.name) / "case"
            path.write_bytes(data)
            words, given = [word.replace("{}", str(path)) for word in words], b""
        with tempfile.TemporaryFile() as out:
            try:
                process = subprocess.Popen(  # noqa: S603 - the command is the user's own
                    words, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True
                )
            except OSError as error:
                why = error.strerror or str(error)
                raise ConfigError("--target", f"{words[0]} cannot be run: {why}") from None
            try:
                process.communicate(given, timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                self._end(process)
                words_ = f"not over after {self._timeout_s:g} s"
                return Reaction("hang", words_, "hang", goes_on=True)
            except BaseException:
                self._end(process)
                raise
            size = out.tell()
            out.seek(max(0, size - _SAID_MAX))
            said = out.read().decode("utf-8", "replace")
        return judged(process.returncode, said)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def coverage(self) -> int:
        """Nobody sees inside."""
        return 0

    def close(self) -> None:
        """Take the files of cases away."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def judged(code: int, said: str) -> Reaction:
    """What an exit code and the last words of a program mean, of which the next is as fresh."""
    place = fault_place(said)
    words = said.strip()[-WORDS_MAX:]
    if code < 0:
        name = signal_name(-code)
        return Reaction("crash", f"ended by {name}\n{words}".strip(), place or name, goes_on=True)
    if code and place:
        return Reaction("crash", words, place, goes_on=True)
    return Reaction("refused" if code else "taken", words)


def signal_name(number: int) -> str:
    """Such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
