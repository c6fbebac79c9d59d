"""The gates that every change passes: format, style, types and the direction of imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

GATES = {
    "ruff format": ["ruff", "format", "--check", "."],
    "ruff check": ["ruff", "check", "."],
    "import layers": ["lint-imports", "--no-cache"],
    "mypy": ["mypy"],
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("gate", GATES)
def test_gate(gate: str) -> None:
    command = [str(BIN / GATES[gate][0]), *GATES[gate][1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"
