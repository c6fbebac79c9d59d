"""SIGKILL at random moments: nothing acknowledged is lost, nothing is delivered twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from stack.security import new_key_file
from stack.storage.sqlite import SqliteStore
from tests.node.kill_worker import NEXT, SPACE
from tests.node.mixed_worker import FILES, GONE, JOBS

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("ORBITFERRY_KILLS", "25"))
CONVERGE_S = 60.0


class Processes:
    """The two nodes, and what happened to them."""

    def __init__(self, root: Path, worker: str = "kill_worker") -> None:
        self.root = root
        self.worker = f"tests.node.{worker}"
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, role: str) -> None:
        self.running[role] = subprocess.Popen(
            [sys.executable, "-m", self.worker, role, str(self.root)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self, role: str) -> None:
        process = self.running[role]
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", f"{role} did not start after a kill: {line!r}"

    def kill(self, role: str) -> None:
        process = self.running.pop(role)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    (tmp_path / "ports").write_text(" ".join(map(str, free_ports(2))))
    new_key_file(tmp_path / "keys.toml", os.urandom, "kill")
    seed = int(os.environ.get("ORBITFERRY_SEED", "1"))
    print(f"seed {seed}")  # shown when the test fails
    rng = random.Random(seed)
    nodes = Processes(tmp_path)
    try:
        for role in ("source", "sink"):
            nodes.start(role)
        for role in ("source", "sink"):
            nodes.wait_ready(role)
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.0, 0.4))  # the random moment itself, not a wait for anything
            victims = rng.choice([["source"], ["sink"], ["sink"], ["source", "sink"]])
            for role in victims:
                nodes.kill(role)
            for role in victims:
                nodes.start(role)
            if rng.random() < 0.7:  # otherwise it may be killed again while it starts
                for role in victims:
                    nodes.wait_ready(role)
        (tmp_path / "enough").touch()
        deadline = time.monotonic() + CONVERGE_S
        while not (tmp_path / "complete").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for role in list(nodes.running):
            nodes.kill(role)
    check(tmp_path)


def check(root: Path) -> None:
    """Every number that the source durably sent was counted exactly once."""
    source = SqliteStore(root / "source" / "store")
    sent = int(source.read(SPACE, NEXT) or b"0")
    left = source.usage().bundles
    source.close()
    sink = SqliteStore(root / "sink" / "store")
    counts = {int(key): int(value) for key, value in sink.read_all(SPACE)}
    sink.close()
    assert sent > KILLS, "the test sent next to nothing"
    lost = [number for number in range(sent) if number not in counts]
    twice = {number: count for number, count in counts.items() if count != 1}
    assert not lost, f"{len(lost)} of {sent} lost, such as {lost[:5]}; {left} left at the source"
    assert not twice, f"delivered more than once: {twice}"
    with sqlite3.connect(f"file:{next((root / 'sink').rglob('*.db'))}?mode=ro", uri=True) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)


MIXED_S = 10.0


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_sigkill_under_mixed_load_and_pressure(tmp_path: Path) -> None:
    (tmp_path / "ports").write_text(" ".join(map(str, free_ports(2))))
    new_key_file(tmp_path / "keys.toml", os.urandom, "kill")
    rng = random.Random(int(os.environ.get("ORBITFERRY_SEED", "1")))
    nodes = Processes(tmp_path, "mixed_worker")
    try:
        for role in ("source", "sink"):
            nodes.start(role)
        for role in ("source", "sink"):
            nodes.wait_ready(role)
        end = time.monotonic() + MIXED_S
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.0, 0.8))  # the random moment itself, not a wait for anything
            victims = rng.choice([["source"], ["sink"], ["source", "sink"]])
            for role in victims:
                nodes.kill(role)
                nodes.start(role)
            for role in victims:
                nodes.wait_ready(role)
        (tmp_path / "enough").touch()
        deadline = time.monotonic() + CONVERGE_S
        while not (tmp_path / "complete").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / "complete").exists(), "something waits for ever"
    finally:
        for role in list(nodes.running):
            nodes.kill(role)
    source = SqliteStore(tmp_path / "source" / "store")
    sent = {str(number) for number in range(int(source.read(SPACE, NEXT) or b"0"))}
    gone = {f"gone/{name}" for name, _ in source.read_all(GONE)}
    files = {name for name, _ in source.read_all(FILES)}
    jobs = source.read_all(JOBS)
    source.close()
    sink = SqliteStore(tmp_path / "sink" / "store")
    counts = {key: int(value) for key, value in sink.read_all(SPACE)}
    arrived = {key: int(value) for key, value in sink.read_all(FILES)}
    sink.close()
    print(len(sent), len(gone), len(files), len(jobs))  # shown when the test fails
    assert sent
    assert gone
    assert files
    assert jobs, "nothing was put to the test"
    assert sent <= counts.keys(), f"lost: {sorted(sent - counts.keys())[:5]}"
    assert not gone & counts.keys(), "cancelled, and delivered all the same"
    assert files <= arrived.keys(), f"lost: {files - arrived.keys()}"
    assert set(counts.values()) == {1}, "delivered more than once"
    assert set(arrived.values()) == {1}, "a file came twice, or damaged"
