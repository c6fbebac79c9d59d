"""Machines whose peer is behind a port, and was not started by them: nothing is found in ours, and
those that keep nothing on disk are found."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from interop.machines import (
    AgentPeerMachine,
    BpSecMachine,
    CommandAgentAdapter,
    CommandBpSecAdapter,
    CommandFecAdapter,
    CommandFilesAdapter,
    CommandJobsAdapter,
    CommandNodesAdapter,
    CommandRouterAdapter,
    CommandSharesAdapter,
    CommandStoreAdapter,
    FecMachine,
    FilesMachine,
    JobsMachine,
    MachineFault,
    NodesPeerMachine,
    PeerMachine,
    RouterPeerMachine,
    SharesMachine,
    StoreMachine,
)
from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done
from interop.machines.nodes import KEPT
from stack.core.errors import ConfigError
from tests.interop.machines.test_command_agent import one_case
from tests.interop.machines.test_command_nodes import two_messages
from tests.interop.machines.test_command_peers import (
    ROOT,
    TIMEOUT_S,
    bundles_for,
    day_of,
    files_of,
    flow_of,
    jobs_of,
    life_of,
    share,
)

Listens = Callable[..., str]


@pytest.fixture
def listens(tmp_path: Path) -> Iterator[Listens]:
    """Has a shim listen: its address."""
    with contextlib.ExitStack() as opened:

        def listens(module: str, *arguments: str) -> str:
            command = [sys.executable, "-m", "tests.interop.machines.port_shim", str(tmp_path)]
            command += [sys.executable, "-m", f"tests.interop.machines.{module}", *arguments]
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            opened.callback(process.wait)
            opened.callback(os.killpg, process.pid, signal.SIGKILL)
            assert process.stdout is not None
            with process.stdout as said:
                return f"tcp://127.0.0.1:{int(said.readline())}"

        yield listens


class Kind(NamedTuple):
    """A machine, what happens to its peer, and how a mistake of that is seen."""

    machine: type[PeerMachine]
    adapter: Callable[[str, float], object]
    happens: Callable[[Any], None]
    shim: tuple[str, ...]
    steps: set[str]
    """States, and what happens in them, that right peers are led to."""

    fault: str
    """The argument of the shim that plants it."""

    seen: str
    settings: Mapping[str, int] = MappingProxyType({})

    def behind(self, address: str) -> type[PeerMachine]:
        """The machine whose peer listens there."""
        inside = {"adapter": self.adapter(address, TIMEOUT_S), **self.settings}
        return type(f"Their{self.machine.__name__}", (self.machine,), inside)


def peer(*arguments: str) -> tuple[str, ...]:
    return "peer_process", *arguments


KINDS = {
    "store": Kind(
        StoreMachine, CommandStoreAdapter, life_of, peer("store"),
        {"held", "crash", "reopen", "release"}, "forgets", r"BundleStore\.(commit|scan)"),
    "files": Kind(
        FilesMachine, CommandFilesAdapter, files_of, peer("files"),
        {"open", "delivered", "cancelled"}, "forgets",
        "states: a file is forgotten that is not over"),
    "jobs": Kind(
        JobsMachine, CommandJobsAdapter, jobs_of, peer("jobs"),
        {"finished"}, "forgets", r"at the end: job .* stays so"),
    "shares": Kind(
        SharesMachine, CommandSharesAdapter, share, peer("shares"),
        {"admitted", "refused"}, "keeps nothing", "books: no room is left for others",
        {"part_bytes": 6_000}),
    "router": Kind(
        RouterPeerMachine, CommandRouterAdapter, day_of, peer("router"),
        {"failed", "comes back", "is given back"}, "books nothing", r"CCSDS 734\.3-B-1 §3\.2\.6"),
    "FECFRAME": Kind(
        FecMachine, CommandFecAdapter, flow_of, peer("fec"),
        {"source packet", "repair packet", "whole"}, "code", "RFC 6865 §8", {"copies_max": 2}),
    "BPSec": Kind(
        BpSecMachine, CommandBpSecAdapter, bundles_for, peer("bpsec"),
        {"valid", "nearly valid", "altered", "stripped", "no keys"}, "believes",
        r"RFC 917[23]"),
    "agent": Kind(
        AgentPeerMachine, CommandAgentAdapter, one_case, ("agent_process",),
        {"waiting", "forwarded", "deferred", "restart"}, "forgets",
        r"RFC 9171 §5.* is not (sent|delivered)"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_right_is_right_behind_a_port(kind: Kind, listens: Listens) -> None:
    machine = kind.behind(listens(*kind.shim, ""))
    kind.happens(machine)
    assert kind.steps <= {word for step in machine.coverage.taken for word in step[1:]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_mistake_is_found_behind_a_port(kind: Kind, listens: Listens) -> None:
    with pytest.raises(MachineFault, match=kind.seen):
        kind.happens(kind.behind(listens(*kind.shim, kind.fault)))


@pytest.mark.slow
def test_our_nodes_are_right_behind_a_port(listens: Listens) -> None:
    class Theirs(NodesPeerMachine):
        adapter = CommandNodesAdapter(listens("node_process", ""), TIMEOUT_S)
        patience_s = 30.0

    two_messages(Theirs)
    steps = {(step.state, step.what, step.after) for step in Theirs.coverage.taken}
    assert ("waits", "its sender is killed", "waits") in steps


@pytest.mark.slow
def test_nodes_behind_a_port_that_keep_nothing_are_found(listens: Listens) -> None:
    class Theirs(NodesPeerMachine):
        adapter = CommandNodesAdapter(listens("node_process", "forgets"), TIMEOUT_S)
        patience_s = 0.5

    with pytest.raises(MachineFault, match=f"{KEPT}: 1 do not arrive"):
        two_messages(Theirs)


def answered(*answers: bytes) -> tuple[str, threading.Thread]:
    """The address of somebody who answers lines with these, and is gone then."""
    door = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with door, door.accept()[0] as connection, connection.makefile("rb") as lines:
            for one in answers:
                lines.readline()
                connection.sendall(one)
            with contextlib.suppress(ConnectionResetError):
                lines.readline()

    thread = threading.Thread(target=answer)
    thread.start()
    return f"tcp://127.0.0.1:{door.getsockname()[1]}", thread


@pytest.mark.parametrize(
    ("answers", "violation"),
    [
        ((b"{}\n", b"{}\n", b"no answer\n"), "interop.machines.lines"),
        ((b"{}\n", b"{}\n", b"{"), "hang"),
    ],
)
def test_a_connection_that_says_anything_is_a_fault(
    answers: tuple[bytes, ...], violation: str
) -> None:
    address, thread = answered(*answers)
    asked = CommandAdapter(address, TIMEOUT_S if violation != "hang" else 0.2).asked()
    asked.launch(Done)
    with pytest.raises(MachineFault) as found:
        asked.ask(Done, "advance")
    assert found.value.violation.clause == violation
    asked.close()
    asked.close()
    assert not asked.runs
    thread.join()


def test_a_connection_that_is_closed_is_a_crash() -> None:
    address, thread = answered(b"{}\n", b"{}\n")
    asked = CommandAdapter(address, TIMEOUT_S).asked()
    asked.launch(Done)
    with pytest.raises(MachineFault, match="crash: the connection is closed"):
        asked.ask(Done, "advance")
    asked.close()
    thread.join()


def test_who_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        asked = CommandAdapter(f"tcp://127.0.0.1:{door.getsockname()[1]}", 0.01).asked()
        with pytest.raises(MachineFault, match="hang"):
            asked.launch(Done)
        assert not asked.runs


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:1", "is not reached"),
        ("tcp://127.0.0.1", "names no host and port"),
        ("tcp://127.0.0.1:99999", "is no address"),
        ("tcp://192.0.2.1:4556", "is another machine"),
    ],
)
def test_what_is_no_place_to_ask_is_said_so(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CommandAdapter(address).asked().launch(Done)
