"""The machine of bundle agents between real neighbours: TCPCL and LTP over loopback."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from interop.machines import (
    LtpLink,
    MachineFault,
    RemoteAgentMachine,
    SocketAgentAdapter,
    TcpclLink,
)
from interop.machines.agent_model import EAST, NODE, NOWHERE, WEST
from interop.machines.ports import free_ports
from stack.core.errors import ConfigError
from stack.wire.bundle import REPORT_FORWARDING, REPORT_RECEPTION

ROOT = Path(__file__).parents[3]
FEW = settings(
    max_examples=1,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)
HOUR_MS = 3_600_000


def over_tcpcl(fault: str = "") -> type[RemoteAgentMachine]:
    (port,) = free_ports(1)
    link = TcpclLink(f"127.0.0.1:{port}")
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m"]
    words += ["tests.interop.machines.tcpcl_agent", str(port), "{}", fault]

    class Theirs(RemoteAgentMachine):
        adapter = SocketAgentAdapter(west=link, east=link, start=shlex.join(words))
        patience_ms = 400

    return Theirs


NODE_FILE = """
id = "dtn://under-test/"
data_dir = "data"
[security]
protect = "none"
[agent]
status_reports = true
status_reports_per_s = 1000
"""
LINK = """
[[links]]
name = "{name}"
peer = "dtn://{name}/"
local = "127.0.0.1:{local}"
remote = "127.0.0.1:{remote}"
authentication = "off"
rate_bps = 50_000_000
owlt_ms = 1.0
[links.ltp]
local_engine_id = 1
remote_engine_id = {engine}
backoff_ns_max = 200_000_000
timer_margin_ns = 50_000_000
"""


def over_ltp(tmp_path: Path) -> type[RemoteAgentMachine]:
    """Our own node, as `orbitferry node` runs it."""
    ports = free_ports(4)
    text, links = NODE_FILE, []
    for at, name in enumerate(("west", "east")):
        local, remote = ports[2 * at : 2 * at + 2]
        text += LINK.format(name=name, local=local, remote=remote, engine=at + 2)
        links.append(LtpLink(f"127.0.0.1:{remote}", f"127.0.0.1:{local}", at + 2, 1))
    (tmp_path / "node.toml").write_text(text)
    orbitferry = Path(sys.executable).with_name("orbitferry")
    node = f"cp {tmp_path}/node.toml {{}}/ && exec {orbitferry} node {{}}/node.toml"

    class Ours(RemoteAgentMachine):
        adapter = SocketAgentAdapter(
            west=links[0], east=links[1], start=shlex.join(["sh", "-c", node])
        )

    return Ours


def one_case(kind: type[RemoteAgentMachine]) -> None:
    """Bundles with all kinds of blocks, for neighbours and for nobody, before and after a kill."""
    case = kind()
    try:
        case.start()
        asked = REPORT_RECEPTION | REPORT_FORWARDING
        case.receive(to=EAST, flags=asked, blocks="all", wrong="", size=5, lifetime_ms=HOUR_MS)
        case.receive(to=EAST, flags=0, blocks="hops", wrong="hops", size=5, lifetime_ms=HOUR_MS)
        case.receive(to=NOWHERE, flags=0, blocks="", wrong="", size=5, lifetime_ms=HOUR_MS)
        case.restart()
        case.contact(neighbour=EAST)
        case.be_patient()
        case.receive_again(pick=0)
        case.receive(to=WEST, flags=0, blocks="age", wrong="", size=300, lifetime_ms=HOUR_MS)
    finally:
        case.teardown()


def steps(kind: type[RemoteAgentMachine]) -> set[tuple[str, str, str]]:
    return {(step.state, step.what, step.after) for step in kind.coverage.taken}


@pytest.mark.slow
@pytest.mark.parametrize("link", ["tcpcl", "ltp"])
def test_an_agent_that_is_right_is_right_over_sockets_too(link: str, tmp_path: Path) -> None:
    kind = over_tcpcl() if link == "tcpcl" else over_ltp(tmp_path)
    one_case(kind)
    taken = steps(kind)
    assert {
        ("waiting", "restart", "waiting"),
        ("forwarded", "comes again", "forwarded"),
        ("new", "comes", "refused"),
    } <= taken
    # As the contact begins, or on a busy host while one is patient.
    assert "forwarded" in {after for state, _, after in taken if state == "waiting"}


@pytest.mark.slow
def test_cases_of_hypothesis_run_over_sockets() -> None:
    run_state_machine_as_test(over_tcpcl(), settings=FEW)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("changes", "the payload changes|CRC does not match"),
        ("acknowledges early", "RFC 9171 .* is not sent|no report that bundle"),
    ],
)
def test_faults_are_found_over_tcpcl(fault: str, words: str) -> None:
    with pytest.raises(MachineFault, match=words):
        one_case(over_tcpcl(fault))


def test_an_agent_that_nobody_started_is_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    link = TcpclLink(f"127.0.0.1:{port}")
    for start, error in (("", ConfigError), ("false", MachineFault), ("/no/such", ConfigError)):
        with pytest.raises(error):
            SocketAgentAdapter(west=link, east=link, start=start)(NODE, (WEST, EAST), "app")
    with pytest.raises(ConfigError, match="is no address"):
        TcpclLink("4556")(WEST, 1.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        taken = LtpLink(f"127.0.0.1:{held.getsockname()[1]}", "127.0.0.1:9", 2, 1)
        with pytest.raises(ConfigError):
            taken(EAST, 1.0)
