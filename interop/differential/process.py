"""A process that is asked once: bounded in time, and not there any more when we are not."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

CPU_S = 4
"""Seconds of processor time after which the kernel ends it, on a busy machine as on an idle one,
and also when who asked has died meanwhile."""

ANSWER_S = 600
"""Seconds after which it is taken to wait for something that never comes: so many that on a busy
machine what computes comes to the end of its processor time before."""


class Answer(NamedTuple):
    """What it said, and how it ended."""

    shown: bytes
    errors: bytes
    code: int
    """Its exit code, when it came to an end of its own."""

    end: str
    """How it ended otherwise; empty when it did not."""


def ask(
    command: Sequence[str],
    given: bytes,
    environment: Mapping[str, str] | None = None,
    cpu_s: int = CPU_S,
) -> Answer:
    """Start it, and give it all on its standard input.  Raises `OSError` when it cannot be
    started."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own programs
            command, input=given, capture_output=True, timeout=ANSWER_S, check=False,
            env=environment, preexec_fn=lambda: _limit(cpu_s),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Answer(error.stdout or b"", error.stderr or b"", 0, f"no answer in {ANSWER_S} s")
    if done.returncode == -signal.SIGXCPU:
        return Answer(done.stdout, done.stderr, 0, f"no answer in {cpu_s} s of processor time")
    end = f"ended by signal {-done.returncode}" if done.returncode < 0 else ""
    return Answer(done.stdout, done.stderr, done.returncode, end)


def _limit(cpu_s: int) -> None:
    """In the child, before it becomes the program: system calls only."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
