"""Fixtures of the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from tests.cli.helpers import Cli, running_node, write_config


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs commands in this process, with no node named by the environment."""
    monkeypatch.delenv("ORBITFERRY_NODE", raising=False)
    return Cli(capsys)


Pair = tuple[Path, Path]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two nodes, joined by UDP over the loopback interface: their configurations."""
    folder = tmp_path_factory.mktemp("pair")
    ports = free_ports(2)
    handlers = """
[[services.handlers]]
name = "count"
command = ["/bin/sh", "-c", "wc -c < '{input:0}' > '{output}'/count.txt"]
[[services.handlers]]
name = "fail"
command = ["/bin/sh", "-c", "echo no luck >&2; exit 7"]
[[services.handlers]]
name = "sleep"
command = ["/bin/sleep", "1000"]
"""
    ground = write_config(folder, "gs", peer="sat", ports=ports)
    satellite = write_config(folder, "sat", peer="gs", ports=ports[::-1], extra=handlers)
    with running_node(ground), running_node(satellite):
        yield ground, satellite
