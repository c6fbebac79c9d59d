"""Commands in a limited subprocess."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import re
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stack.core.errors import LocalError
from stack.services.jobs.context import JobContext, JobFailed
from stack.services.jobs.messages import JobLimits

CAPTURE_BYTES: Final = 64 * 1024
"""Octets of standard output, and of standard error, that are kept; the rest is read and
dropped, so that a talkative command neither blocks nor fills the memory."""

OPEN_FILES_MAX: Final = 256
_DRAIN_S: Final = 1.0
"""What a killed command had printed is read within this time, or not at all."""

_LINUX: Final = sys.platform == "linux"
_ERROR_TAIL_CHARS: Final = 1500
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_MARK: Final = "ORBITFERRY_JOB"
"""In the environment of a command, with its directory, and so of all that it starts."""

_SCANS_MAX: Final = 100
"""Looks for what a command has left, which may start others meanwhile."""

_SLOT: Final = re.compile(r"\{(inputs|output|work|input:\d{1,3}|arg:[A-Za-z0-9._-]+)\}")
_NEARLY_SLOT: Final = re.compile(r"\{(?:inputs?|outputs?|work|args?)\b[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run."""

    argv: Sequence[str]
    directory: str
    environment: Mapping[str, str]
    limits: JobLimits


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How it ended: `exit_code` is -n when signal n killed it."""

    exit_code: int
    stdout: bytes
    stderr: bytes


RunCommand = Callable[[Command], Awaitable[CommandResult]]
"""Runs a command to its end, and kills it when the awaiting task is cancelled."""


async def run_command(command: Command) -> CommandResult:
    """Run a command in its own session under `command.limits`.

    Memory (address space), CPU time and file size are limited by the kernel; elapsed time by
    whoever cancels.  All processes of the session's group are killed at the end, whatever it is;
    on Linux those as well that have left it and kept their environment.  There the kernel also
    kills the command when this process dies.  Raises `OSError` when the program cannot be started.
    """
    mark = _mark(command)
    loop = asyncio.get_running_loop()
    transport, process = await loop.subprocess_exec(
        _Process,
        *command.argv,
        cwd=command.directory,
        env={**command.environment, _MARK: mark},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_limiter(command.limits),
    )
    try:
        await process.exited.wait()
    finally:
        # Also after its own end: children that it left behind hold our pipes open.
        _kill_group(transport.get_pid())
        _kill_marked(mark)
        with contextlib.suppress(TimeoutError):  # one of them may have left the group
            async with asyncio.timeout(_DRAIN_S):
                await process.exited.wait()
                await process.drained.wait()
        transport.close()
    exit_code = transport.get_returncode()
    assert exit_code is not None
    return CommandResult(exit_code, bytes(process.kept[1]), bytes(process.kept[2]))


class _Process(asyncio.SubprocessProtocol):
    """Keeps the first octets of both outputs, and tells the end of the process from that of
    its pipes (which `asyncio.subprocess.Process.wait` does not)."""

    def __init__(self) -> None:
        self.kept = {1: bytearray(), 2: bytearray()}
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.kept[fd]
        kept += data[: CAPTURE_BYTES - len(kept)]

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.drained.set()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # start_new_session: its group has its pid


def _mark(command: Command) -> str:
    return os.path.abspath(command.directory)


def _kill_marked(mark: str) -> None:
    """Kill what has this mark, also in a session of its own, until a look finds none."""
    entry = os.fsencode(f"{_MARK}={mark}")
    for _ in range(_SCANS_MAX):
        found = [pid for pid in _processes() if entry in _environment(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if _LINUX else []


def _environment(pid: int) -> list[bytes]:
    """What it was started with; nothing of what has ended or is another user's."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def _limiter(limits: JobLimits) -> Callable[[], None]:
    """What the child does between fork and exec: system calls only, nothing that may lock."""
    libc = ctypes.CDLL(None) if _LINUX else None
    cpu_s = math.ceil(limits.time_s)
    wanted = (
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),  # SIGXCPU, which has a name, before SIGKILL
        (resource.RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX),
        (resource.RLIMIT_CORE, 0, 0),
    )
    pairs = []
    for kind, soft, hard in wanted:
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        pairs.append((kind, (soft, hard)))

    def limit() -> None:
        for kind, pair in pairs:
            resource.setrlimit(kind, pair)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return limit


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandHandler:
    """A handler that runs a program.

        CommandHandler(
            argv=["gdaldem", "hillshade", "-az", "{arg:azimuth}", "{input:0}", "{output}/out.tif"],
            arguments={"azimuth": r"[0-9]{1,3}"},
        )

    `argv` is never seen by a shell.  In each element ``{input:N}`` is the path of input N,
    ``{output}`` the directory for results, ``{work}`` a scratch directory, ``{arg:NAME}`` the
    value of an argument; an element that is just ``{inputs}`` becomes all input paths.  Every
    file in the output directory is a result; what the program printed is the result
    ``stdout.txt``.  Raises `LocalError` for a template that cannot work.
    """

    argv: Sequence[str]
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Arguments that a job may give, each with the regular expression that its whole value must
    match.  Others are refused: values come from the network."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to a minimal environment; nothing of the node's own is inherited."""

    priorities: Mapping[str, int] = field(default_factory=dict)
    """Priorities of results by name; others have the job's own."""

    run: RunCommand = run_command

    def __post_init__(self) -> None:
        if not self.argv:
            raise LocalError("argv is empty")
        for element in self.argv:
            for written in _NEARLY_SLOT.findall(element):
                if _SLOT.fullmatch(written) is None:
                    raise LocalError(
                        f"{written} is no placeholder: there are {{input:0}}, {{inputs}}, "
                        "{output}, {work} and {arg:NAME}"
                    )
            for slot in _SLOT.findall(element):
                if slot.startswith("arg:") and slot[4:] not in self.arguments:
                    raise LocalError(f"{{{slot}}} is not among the arguments")
                if slot == "inputs" and element != "{inputs}":
                    raise LocalError("{inputs} must be an element of its own")

    async def __call__(self, context: JobContext) -> None:
        """Run the program for one job.  Raises `JobFailed`."""
        work = str(context.work_directory)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": work,
            "TMPDIR": work,
            **self.environment,
        }
        command = Command(self.expand(context), work, environment, context.limits)
        for name, priority in self.priorities.items():
            context.output(name, priority)
        try:
            result = await self.run(command)
        except (OSError, ValueError) as error:
            raise JobFailed(f"cannot start {command.argv[0]}: {error}") from error
        if result.exit_code != 0:
            tail = result.stderr.decode("utf-8", "replace")[-_ERROR_TAIL_CHARS:].strip()
            raise JobFailed(
                _cause(result.exit_code) + (f": {tail}" if tail else ""), result.exit_code
            )
        if result.stdout:
            context.output("stdout.txt").write_bytes(result.stdout)

    def expand(self, context: JobContext) -> list[str]:
        """The argument vector for one job.  Raises `JobFailed` for arguments not allowed."""
        for name, value in context.args.items():
            pattern = self.arguments.get(name)
            if pattern is None:
                raise JobFailed(f"argument {name!r} is not known")
            if re.fullmatch(pattern, value) is None:
                raise JobFailed(f"argument {name!r} does not match {pattern}")

        def value_of(match: re.Match[str]) -> str:
            slot = match[1]
            if slot in ("output", "work"):
                is_output = slot == "output"
                return str(context.output_directory if is_output else context.work_directory)
            kind, _, name = slot.partition(":")
            if kind == "input":
                if int(name) >= len(context.inputs):
                    raise JobFailed(f"input {name} is missing")
                return str(context.inputs[int(name)])
            if name not in context.args:
                raise JobFailed(f"argument {name!r} is missing")
            return context.args[name]

        argv: list[str] = []
        for element in self.argv:
            if element == "{inputs}":
                argv.extend(map(str, context.inputs))
            else:
                argv.append(_SLOT.sub(value_of, element))  # one pass: values are not expanded
        return argv


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hints = {"SIGXCPU": " (CPU time limit)", "SIGXFSZ": " (output limit)"}
    return f"killed by {name}{hints.get(name, '')}"
