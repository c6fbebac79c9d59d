"""Too little of what the operating system gives ends in one line that says what to do."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
id = "dtn://a/"
data_dir = "data"
security.protect = "none"
"""


@pytest.mark.parametrize(
    ("limit", "value", "remedy"),
    [
        (resource.RLIMIT_NOFILE, 12, "ulimit -n 1024"),
        (resource.RLIMIT_NOFILE, 24, "ulimit -n 1024"),
        (resource.RLIMIT_AS, 200_000 * 1024, "ulimit -v unlimited"),
    ],
)
def test_a_node_says_what_it_needs(tmp_path: Path, limit: int, value: int, remedy: str) -> None:
    (tmp_path / "node.toml").write_text(CONFIG)
    limited = (
        "import resource, sys\n"
        f"resource.setrlimit({limit}, ({value}, {value}))\n"
        "from stack.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", limited, "node", str(tmp_path / "node.toml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert remedy in ran.stderr
    assert not (tmp_path / "data").exists(), "nothing was begun"
