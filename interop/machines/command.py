"""A bundle agent in another process as the machine sees it: a command, asked line by line.

    class TestTheirs(AgentPeerMachine):
        adapter = CommandAgentAdapter("python shim.py")

The command is a shim of a few dozen lines around the agent, in any language.  It runs in a folder
of its own, which is the disk of the agent.  Each line that it reads is a JSON object: ``do`` says
what happens, ``now_ms`` when (DTN time).  When it is done, and what was taken is durable, it writes
one line: an object with ``sent``, pairs of a neighbour and a bundle, and ``delivered``, payloads.
Octets are in hex.

    start       node, neighbours, service: once, as it begins
    receive     neighbour, bundle
    contact     neighbour, up
    register    active
    send        destination, payload, lifetime_ms
    advance

A restart is SIGKILL, and the command again in the same folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from interop.fuzzing.reaction import WORDS_MAX, fault_place
from interop.machines.fault import MachineFault
from stack.core.errors import ConfigError

ANSWER_BYTES_MAX: Final = 1 << 26


class CommandAgent:
    """One case with it.  Raises `ConfigError` for a command that cannot be run."""

    def __init__(
        self, words: Sequence[str], timeout_s: float, node: str, names: Sequence[str], service: str
    ) -> None:
        self._words = words
        self._timeout_s = timeout_s
        self._who = {"node": node, "neighbours": list(names), "service": service}
        self._folder = tempfile.TemporaryDirectory(prefix="orbitferry-agent-")
        self._up: dict[str, bool] = {}
        self._active = False
        self._sent: list[tuple[str, bytes]] = []
        self._delivered: list[bytes] = []
        self._process: subprocess.Popen[bytes]
        self._said: IO[bytes]
        self._launch(0)

    def _launch(self, now_ms: int) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_kill`
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
        try:
            self._ask("start", now_ms, **self._who)
        except BaseException:
            self.close()
            raise

    def _ask(self, do: str, now_ms: int, **fields: Any) -> None:
        """Have something done.  Raises `MachineFault` when that fails."""
        process = self._process
        assert process.stdin is not None
        line = json.dumps({"do": do, "now_ms": now_ms, **fields}).encode() + b"\n"
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = json.loads(self._line())
            self._sent += [(str(to), bytes.fromhex(octets)) for to, octets in answer["sent"]]
            self._delivered += [bytes.fromhex(octets) for octets in answer["delivered"]]
        except BrokenPipeError:
            raise self._ended() from None
        except (ValueError, TypeError, KeyError) as error:
            words = f"{do} is answered with what is no answer: {error}"
            raise MachineFault("interop.machines.command", words) from None

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
        code = self._process.wait()
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), WORDS_MAX, max(0, size - WORDS_MAX))
        words = said.decode("utf-8", "replace").strip()
        return MachineFault("crash", fault_place(words) or f"exit code {code}", words)

    def receive(self, bundle: bytes, neighbour: str, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._ask("receive", now_ms, neighbour=neighbour, bundle=bundle.hex())

    def contact(self, neighbour: str, up: bool, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._up[neighbour] = up
        self._ask("contact", now_ms, neighbour=neighbour, up=up)

    def register(self, active: bool, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._active = active
        self._ask("register", now_ms, active=active)

    def send(self, destination: str, payload: bytes, lifetime_ms: int, now_ms: int) -> None:
        """See `AgentPeer`."""
        fields = {"destination": destination, "payload": payload.hex(), "lifetime_ms": lifetime_ms}
        self._ask("send", now_ms, **fields)

    def restart(self, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._kill()
        self._launch(now_ms)
        for neighbour, up in self._up.items():
            if up:
                self._ask("contact", now_ms, neighbour=neighbour, up=True)
        if self._active:
            self._ask("register", now_ms, active=True)

    def advance(self, now_ms: int) -> None:
        """See `AgentPeer`."""
        self._ask("advance", now_ms)

    def poll(self) -> list[tuple[str, bytes]]:
        """See `AgentPeer`."""
        sent, self._sent = self._sent, []
        return sent

    def deliveries(self) -> list[bytes]:
        """See `AgentPeer`."""
        delivered, self._delivered = self._delivered, []
        return delivered

    def _kill(self) -> None:
        process = self._process
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, self._said):
            with contextlib.suppress(BrokenPipeError):  # what it has not read
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End it, and take its folder away."""
        self._kill()
        self._folder.cleanup()


@dataclass(frozen=True, slots=True)
class CommandAgentAdapter:
    """An adapter for `AgentPeerMachine`: the agent behind a command."""

    command: str
    timeout_s: float = 10.0
    """Each answer takes no longer."""

    def __call__(self, node: str, neighbours: Sequence[str], service: str, /) -> CommandAgent:
        """The agent, for one case.  Raises `ConfigError` for a command that cannot be run."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ConfigError("command", f"{self.command!r} is no command: {error}") from None
        if not words:
            raise ConfigError("command", "is empty")
        return CommandAgent(words, self.timeout_s, node, neighbours, service)
