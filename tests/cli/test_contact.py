"""Contacts begun by hand, and critical messages, against running nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.machines.ports import free_ports
from tests.cli.conftest import Pair
from tests.cli.helpers import Cli, running_node, write_config

SATELLITE = "dtn://sat/"


@pytest.mark.slow
def test_a_contact_begun_by_hand_carries_what_waits(cli: Cli, tmp_path: Path) -> None:
    ports = free_ports(2)
    ground = write_config(tmp_path, "gs", peer="sat", ports=ports)
    satellite = write_config(tmp_path, "sat", peer="gs", ports=ports[::-1])
    for path in (ground, satellite):
        path.write_text(path.read_text().replace("[links.ltp]", "scheduled = true\n[links.ltp]"))
    with running_node(ground), running_node(satellite):
        assert cli("send", SATELLITE, "-m", "hello", "-n", ground).code == 0
        assert cli("receive", "--messages", "--no-wait", "-n", satellite).code == 3
        (told,) = cli("contact", "begin", "dtn://gs/", "-n", satellite, "--json").json
        assert told["neighbour"] == "dtn://gs/"
        ran = cli(
            *("contact", "begin", SATELLITE, "--for", "5m", "--rate", "1M", "--light-ms", "0.1"),
            *("-n", ground),
        )
        assert ran.code == 0
        assert ran.out.startswith("dtn://sat/: in contact until 2")
        ran = cli("receive", "--messages", "-c", 1, "--timeout", "30s", "-n", satellite)
        assert ran.out == "dtn://gs/messages: hello\n"
        ran = cli("contact", "end", SATELLITE, "-n", ground)
        assert (ran.code, ran.out) == (0, "dtn://sat/: over\n")
        ran = cli("contact", "end", SATELLITE, "-n", ground)
        assert (ran.code, ran.out) == (0, "dtn://sat/: was not begun by hand\n")
        assert not cli("contact", "end", SATELLITE, "-n", ground, "--json").json[0]["found"]


@pytest.mark.slow
def test_a_link_that_is_always_up_needs_no_contact(cli: Cli, pair: Pair) -> None:
    for command in ("begin", "end"):
        ran = cli("contact", command, SATELLITE, "-n", pair[0])
        assert ran.code == 2
        assert "no scheduled link to dtn://sat/" in ran.err
    assert cli("contact", "begin", "sat", "-n", pair[0]).code == 2


@pytest.mark.slow
def test_a_critical_message_arrives_once(cli: Cli, pair: Pair) -> None:
    assert cli("send", SATELLITE, "-m", "safe mode", "--critical", "-n", pair[0]).code == 0
    options = ("--messages", "-c", 1, "--timeout", "30s", "-n", pair[1])
    (event,) = cli("receive", *options, "--json").json
    assert event["priority"] == 3
    assert cli("receive", "--messages", "--no-wait", "-n", pair[1]).code == 3
