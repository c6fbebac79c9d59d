"""A target that is started here: restarted when it ends, and watched while it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
from typing import IO, Final

from interop.fuzzing.command import judged
from interop.fuzzing.reaction import WORDS_MAX, Reaction, fault_place
from interop.fuzzing.target import words_of_command
from interop.fuzzing.watch import GrowthBounds, Watch
from stack.core.errors import ConfigError

SAID_MAX: Final = 64 * 1024
GRACE_S: Final = 3.0
"""So long it has to end when asked to."""


class Server:
    """One started command, and what it printed last.  Raises `ConfigError` for what is none."""

    def __init__(self, command: str, bounds: GrowthBounds) -> None:
        self._words = words_of_command("--start", command)
        self._bounds = bounds
        self._process: subprocess.Popen[bytes] | None = None
        self._out: IO[bytes] | None = None
        self._watch: Watch | None = None
        self._heard = 0

    def start(self) -> None:
        """Start it, anew if it runs.  Raises `ConfigError` if that cannot be."""
        self.stop()
        self._out = tempfile.TemporaryFile("ab+")  # noqa: SIM115 - closed by stop()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is the user's own
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._out,
                start_new_session=True,
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError("--start", f"{self._words[0]} cannot be run: {why}") from None
        self._watch, self._heard = None, 0

    def settled(self) -> None:
        """It answers now: what it takes from here on counts as growth."""
        if self._process is not None:
            self._watch = Watch(self._process.pid, self._bounds)

    def ended(self, within_s: float = 0) -> Reaction | None:
        """A crash, if it has ended: nothing that it is sent may bring it to that."""
        if self._process is None:
            return None
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None
        found = judged(self._process.returncode, self.said())
        if found.verdict == "crash":
            return dataclasses.replace(found, goes_on=False)
        words = f"ended with exit code {self._process.returncode}\n{found.words}".strip()
        return Reaction("crash", words, f"exit code {self._process.returncode}")

    def grown(self) -> Reaction | None:
        """Growth, if it takes much more than when it was `settled`."""
        return self._watch.grown() if self._watch is not None else None

    def said(self, since: int = 0) -> str:
        """What it printed, the last of it; `since` is an octet of its output."""
        if self._out is None:
            return ""
        size = os.fstat(self._out.fileno()).st_size
        start = max(since, size - SAID_MAX)
        # Not by seeking: the target writes where this file stands.
        return os.pread(self._out.fileno(), size - start, start).decode("utf-8", "replace")

    def complained(self) -> Reaction | None:
        """A crash, if it printed one since it was last asked, though it goes on."""
        if self._out is None:
            return None
        size = os.fstat(self._out.fileno()).st_size
        if size == self._heard:
            return None
        said, self._heard = self.said(self._heard), size
        place = fault_place(said)
        words = said.strip()[-WORDS_MAX:]
        return Reaction("crash", words, place, goes_on=True) if place else None

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End it and all that it started: asked first, if there is `grace_s`, then made to."""
        process, self._process = self._process, None
        if process is not None:
            if grace_s:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(grace_s)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._out is not None:
            self._out.close()
            self._out = None
