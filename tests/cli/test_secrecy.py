"""A node leaves no core dump, which would have its keys."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from stack.cli.node.secrecy import keep_secrets
from tests.cli.helpers import running_node, write_config


@pytest.mark.slow
def test_a_node_writes_no_core_dumps(tmp_path: Path) -> None:
    with running_node(write_config(tmp_path, "gs1")) as process:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] == "0"


@pytest.mark.parametrize("limit", [4096, 65_536])
def test_memory_is_not_locked_where_that_could_end_the_process(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert not keep_secrets()
