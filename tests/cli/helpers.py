"""Running commands in this process, and nodes in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.cli.main import main
from stack.security import new_key_file

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)


def write_config(
    folder: Path, name: str, *, peer: str = "", ports: Sequence[int] = (), extra: str = ""
) -> Path:
    """The configuration of a node with at most one link, and the key file that all share."""
    keys = folder / "keys.toml"
    if not keys.exists():
        new_key_file(keys, os.urandom, "test")
    text = f"""
id = "dtn://{name}/"
data_dir = "{name}"
control = "{name}.sock"
[security]
key_file = "keys.toml"
[store]
synchronous = "normal"
{extra}
"""
    if peer:
        local, remote = sorted((name, peer)).index(name) + 1, sorted((name, peer)).index(peer) + 1
        text += f"""
[[links]]
name = "{peer}"
peer = "dtn://{peer}/"
local = "127.0.0.1:{ports[0]}"
remote = "127.0.0.1:{ports[1]}"
[links.ltp]
local_engine_id = {local}
remote_engine_id = {remote}
"""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def start(*arguments: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """`orbitferry` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "stack.cli.main", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`orbitferry` in a process that has said its first line, and that line."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        start(*arguments, stderr=errors.fileno()) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                process.wait(10)
                errors.seek(0)
                pytest.fail(f"{arguments} did not start: {errors.read()}")
            yield process, line
        finally:
            process.kill()


@contextmanager
def running_node(config: Path) -> Iterator[subprocess.Popen[str]]:
    """A node that is ready."""
    with running("node", config) as (process, line):
        assert "is running" in line
        yield process


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out, err or "")


def write_places(folder: Path) -> Path:
    """A scenario in which the nodes of small worlds have places."""
    path = folder / "places.toml"
    path.write_text(
        'title = "places"\nstart = "2026-12-01T00:00:00Z"\n'
        + "".join(
            f'[[stations]]\nid = "dtn://{name}/"\nlatitude_deg = 40\nlongitude_deg = {east}\n'
            for name, east in (("gs1", 0), ("home", 10), ("abroad", 170))
        )
        + '[[constellations]]\nid = "dtn://sat{}/"\ncount = 1\n'
        '[[radios]]\nup = { preset = "s-band-up" }\ndown = { preset = "x-band-down" }\n'
    )
    return path
