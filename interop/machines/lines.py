"""What is under the adapters of commands: an implementation that is asked line by line.

Each line is a JSON object whose ``do`` says what happens.  When that is done, one line answers: an
object that has what the adapter names.  Octets are in hex.
"""

from __future__ import annotations

import abc
import os
import selectors
import time
from typing import Any, Final, TypeVar

import msgspec

from interop.machines.fault import MachineFault

ANSWER_BYTES_MAX: Final = 1 << 26

START_TIMES: Final = 10
"""The first answer may take so many times as long as others: the program has to be loaded, on a
machine that may be busy."""

T = TypeVar("T")


class Hex(bytes):
    """Octets that are in hex in a line."""


class Done(msgspec.Struct):
    """The answer where there is nothing to say: an object."""


class AskedPeer(abc.ABC):
    """Something that is asked, and what it keeps on its disk."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def launch(self, kind: type[T], **fields: Any) -> T:
        """Have it ``start``, with what is on its disk: what is answered.  Raises `MachineFault`,
        and `ConfigError` for what is not there."""
        usual_s = self._timeout_s
        self._timeout_s *= START_TIMES
        try:
            self._open()
            return self.ask(kind, "start", **fields)
        except BaseException:
            self.close()
            raise
        finally:
            self._timeout_s = usual_s

    def tell(self, do: str, **fields: Any) -> None:
        """Have something done, and do not wait for it.  Raises `MachineFault`."""
        line = memoryview(msgspec.json.encode({"do": do, **fields}, enc_hook=bytes.hex) + b"\n")
        pipe = self._input()
        end = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_WRITE)
            while line:
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise MachineFault("hang", f"{do} is not read within {self._timeout_s:g} s")
                try:
                    line = line[os.write(pipe, line) :]
                except (BrokenPipeError, ConnectionResetError):
                    raise self._ended() from None

    def ask(self, kind: type[T], do: str, **fields: Any) -> T:
        """Have something done: what is answered.  Raises `MachineFault` when that fails."""
        self.tell(do, **fields)
        try:
            return msgspec.json.decode(self._line(), type=kind, dec_hook=_octets)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = f"{do} is answered with what is no answer: {error}"
            raise MachineFault("interop.machines.lines", words) from None

    def _line(self) -> bytes:
        """The next line that it writes.  Raises `MachineFault` when there is none in time."""
        output = self._output()
        end = time.monotonic() + self._timeout_s
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    raise MachineFault("hang", f"no answer within {self._timeout_s:g} s")
                try:
                    some = os.read(output, 65_536)
                except ConnectionResetError:
                    some = b""
                if not some:
                    raise self._ended()
                line += some
                if len(line) > ANSWER_BYTES_MAX:
                    raise MachineFault("growth", f"an answer of more than {len(line)} octets")
        return line

    @abc.abstractmethod
    def _open(self) -> None:
        """Begin a life of it.  Raises `ConfigError`."""

    @abc.abstractmethod
    def _input(self) -> int:
        """The number of the file that takes what it is asked, and does not block."""

    @abc.abstractmethod
    def _output(self) -> int:
        """That of what it answers."""

    @abc.abstractmethod
    def _ended(self) -> MachineFault:
        """What is to be said of an end that nobody wanted."""

    @property
    @abc.abstractmethod
    def runs(self) -> bool:
        """Whether it was launched, and not killed since."""

    @abc.abstractmethod
    def end(self) -> None:
        """It is told that nothing more comes, and ends.  Raises `MachineFault`."""

    @abc.abstractmethod
    def kill(self) -> None:
        """It ends here and now, if it runs; what is on its disk stays."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it, and take its disk away where it is ours."""


def _octets(kind: type, value: Any) -> Hex:
    """What is in hex in a line.  Raises `ValueError`."""
    if kind is not Hex or not isinstance(value, str):
        raise ValueError(f"{value!r} is no hex")
    return Hex.fromhex(value)
