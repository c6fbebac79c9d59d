"""`--pcap` of the commands, and `inspect` of what they have written."""

from __future__ import annotations

import signal
import stat
import subprocess
from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from tests.cli.helpers import ROOT, Cli, finish, running_node, start, write_config

SMALL = ROOT / "tests/simulator/loopback/small.toml"


@pytest.mark.slow
def test_a_node_captures_and_inspect_follows(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    ground = write_config(tmp_path, "gs", peer="sat", ports=ports)
    satellite = write_config(tmp_path, "sat", peer="gs", ports=ports[::-1])
    path = tmp_path / "pass.pcapng"
    with running_node(satellite):
        node = start("node", ground, "--pcap", path, stderr=subprocess.DEVNULL)
        try:
            assert node.stdout is not None
            assert "is running" in node.stdout.readline()
            assert cli("ping", "dtn://sat/", "--count", 2, "--node", ground).code == 0
            node.send_signal(signal.SIGINT)
            assert finish(node).code == 0
        finally:
            node.kill()
            node.wait()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ran = cli("inspect", path, "--conversations", "--json")
    assert ran.code == 0
    transfers = [one for one in ran.json if "transfer" in one]
    here, there = (f"127.0.0.1:{port}" for port in ports)
    assert {(one["source"], one["destination"]) for one in transfers} == {
        (here, there),
        (there, here),
    }
    asked = [one for one in ran.json if "bundle" in one and one["destination"] == "dtn://sat/echo"]
    assert [list(one["paths"]) for one in asked] == [[f"{here} to {there}"]] * 2
    shown = cli("inspect", path)
    assert shown.code == 0
    assert ", sat, sent, " in shown.out
    assert ", sat, received, " in shown.out


@pytest.mark.slow
def test_a_run_captures_and_says_so(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    ran = cli("loopback", SMALL, "--pcap", path, "--pcap-limit", "200kB", "--json")
    assert ran.code == 0
    (found,) = ran.json
    assert found["capture"]["path"] == str(path)
    assert found["capture"]["packets"] > 1000
    assert found["capture"]["trouble"] == ""
    assert path.stat().st_size <= 200_000
    assert (tmp_path / "run.1.pcapng").stat().st_size <= 200_000
    ran = cli("inspect", path, "-c")
    assert ran.code == 0
    assert "north:1113" in ran.out


def test_what_cannot_be_captured_is_refused_first(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    ran = cli("loopback", SMALL, "--pcap", path, "--pcap-link", "north-moon")
    assert ran.code == 2
    assert "no link 'north-moon'" in ran.err
    ran = cli("loopback", SMALL, "--pcap", path, "--pcap-limit", "10kB")
    assert ran.code == 2
    assert "--pcap-limit" in ran.err
    ran = cli("emulate", "--pcap", tmp_path / "gone" / "x", "--for", "10ms", "--listen-a",
              "127.0.0.1:0", "--listen-b", "127.0.0.1:0")  # fmt: skip
    assert ran.code == 2
    assert "gone" in ran.err
