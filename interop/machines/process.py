"""An implementation in another process, asked line by line: what is under the adapters of commands.

The command is a shim of a few dozen lines around the implementation, in any language.  It runs in a
folder of its own, which is its disk.  It reads its questions, and writes its answers, as
`interop.machines.lines` says.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from typing import IO

from interop.fuzzing.reaction import WORDS_MAX, fault_place
from interop.machines.fault import MachineFault
from interop.machines.lines import AskedPeer
from stack.core.errors import ConfigError


class AskedProcess(AskedPeer):
    """The command, and the folder in which it runs.  Raises `ConfigError` for what is none."""

    def __init__(self, command: str, timeout_s: float) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ConfigError("command", f"{command!r} is no command: {error}") from None
        if not self._words:
            raise ConfigError("command", "is empty")
        super().__init__(timeout_s)
        self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-peer-")
        self._process: subprocess.Popen[bytes]
        self._said: IO[bytes]

    def _open(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is the user's own
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                cwd=self._folder.name,
                start_new_session=True,
            )
        except OSError as error:
            self._said.close()
            why = error.strerror or str(error)
            raise ConfigError("command", f"{self._words[0]} cannot be run: {why}") from None
        os.set_blocking(self._input(), False)

    def _input(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def _output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _ended(self) -> MachineFault:
        code = self._waited()
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), WORDS_MAX, max(0, size - WORDS_MAX))
        words = said.decode("utf-8", "replace").strip()
        return MachineFault("crash", fault_place(words) or f"exit code {code}", words)

    def end(self) -> None:
        """It is told that nothing more comes, and ends.  Raises `MachineFault`."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._waited():
            raise self._ended()
        self.kill()

    @property
    def runs(self) -> bool:
        """Whether it was launched, and not killed since."""
        return not self._said.closed

    def _waited(self) -> int:
        """Its exit code.  Raises `MachineFault` when it does not end in time."""
        try:
            return self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            raise MachineFault("hang", f"no end within {self._timeout_s:g} s") from None

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started, where they run still."""
        if not self.runs:
            return  # killed already: its number may be another's by now
        process = self._process
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, self._said):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """End it, and take its folder away."""
        self.kill()
        self._folder.cleanup()
