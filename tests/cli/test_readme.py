"""The README's first example, word for word."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_first_example_of_the_readme(tmp_path: Path) -> None:
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    hello = tmp_path / "examples" / "hello"
    hello.mkdir(parents=True)
    for path in (ROOT / "examples" / "hello").glob("*.toml"):
        (hello / path.name).write_text(path.read_text())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    if not (tmp_path / ".venv" / "bin" / "orbitferry").exists():
        pytest.skip("the command is not installed beside this Python")
    shell = subprocess.Popen(
        ["bash", "-e", "-c", block[1] + "wait\n"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=90)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # the nodes, where the block did not stop them
        shell.communicate()
    assert shell.returncode == 0, output
    assert "3 of 3 answered" in output
    assert "gs1.toml: delivered" in output
    assert "finished, 1 run" in output
    received = hello / "sat1-data" / "files" / "gs1.toml"
    assert received.read_text() == (hello / "gs1.toml").read_text()
