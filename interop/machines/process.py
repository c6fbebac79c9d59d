"""An implementation in another process, asked line by line: what is under the adapters of commands.

The command is a shim of a few dozen lines around the implementation, in any language.  It runs in a
folder of its own, which is its disk.  Each line that it reads is a JSON object whose ``do`` says
what happens.  When that is done, it writes one line: an object that has what the adapter names.
Octets are in hex.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any, Final, TypeVar

import msgspec

from interop.fuzzing.reaction import WORDS_MAX, fault_place
from interop.machines.fault import MachineFault
from stack.core.errors import ConfigError

ANSWER_BYTES_MAX: Final = 1 << 26

START_TIMES: Final = 10
"""The first answer may take so many times as long as others: the program has to be loaded, on a
machine that may be busy."""

T = TypeVar("T")


class Hex(bytes):
    """Octets that are in hex in a line."""


class Done(msgspec.Struct):
    """The answer where there is nothing to say: an object."""


@dataclass(frozen=True)
class CommandAdapter:
    """What adapters to an implementation behind a command consist of."""

    command: str
    timeout_s: float = 10.0
    """Each answer takes no longer, and the first no longer than ten times that."""


class AskedProcess:
    """The command, and the folder in which it runs.  Raises `ConfigError` for what is none."""

    def __init__(self, command: str, timeout_s: float) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise ConfigError("command", f"{command!r} is no command: {error}") from None
        if not self._words:
            raise ConfigError("command", "is empty")
        self._timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-peer-")
        self._process: subprocess.Popen[bytes]
        self._said: IO[bytes]

    def launch(self, kind: type[T], **fields: Any) -> T:
        """Run it, in its folder, and have it ``start``: what is answered.  Raises `MachineFault`,
        and `ConfigError` for a command that cannot be run."""
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
            self._folder.cleanup()
            why = error.strerror or str(error)
            raise ConfigError("command", f"{self._words[0]} cannot be run: {why}") from None
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        usual_s = self._timeout_s
        self._timeout_s *= START_TIMES
        try:
            return self.ask(kind, "start", **fields)
        except BaseException:
            self.close()
            raise
        finally:
            self._timeout_s = usual_s

    def tell(self, do: str, **fields: Any) -> None:
        """Have something done, and do not wait for it.  Raises `MachineFault`."""
        assert self._process.stdin is not None
        line = memoryview(msgspec.json.encode({"do": do, **fields}, enc_hook=bytes.hex) + b"\n")
        pipe = self._process.stdin.fileno()  # does not block: see `launch`
        end = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while line:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise MachineFault("hang", f"{do} is not read within {self._timeout_s:g} s")
                try:
                    line = line[os.write(pipe, line) :]
                except BrokenPipeError:
                    raise self._ended() from None

    def ask(self, kind: type[T], do: str, **fields: Any) -> T:
        """Have something done: what is answered.  Raises `MachineFault` when that fails."""
        self.tell(do, **fields)
        try:
            return msgspec.json.decode(self._line(), type=kind, dec_hook=_octets)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = f"{do} is answered with what is no answer: {error}"
            raise MachineFault("interop.machines.process", words) from None

    def _line(self) -> bytes:
        """The next line that it writes.  Raises `MachineFault` when there is none in time."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        end = time.monotonic() + self._timeout_s
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise MachineFault("hang", f"no answer within {self._timeout_s:g} s")
                some = os.read(output, 65_536)
                if not some:
                    raise self._ended()
                line += some
                if len(line) > ANSWER_BYTES_MAX:
                    raise MachineFault("growth", f"an answer of more than {len(line)} octets")
        return line

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
        process = self._process
        if not self.runs:
            return  # killed already: its number may be another's by now
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


def _octets(kind: type, value: Any) -> Hex:
    """What is in hex in a line.  Raises `ValueError`."""
    if kind is not Hex or not isinstance(value, str):
        raise ValueError(f"{value!r} is no hex")
    return Hex.fromhex(value)
