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
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.machines import (
    CommandFilesAdapter,
    CommandJobsAdapter,
    CommandNodesAdapter,
    CommandStoreAdapter,
    FilesMachine,
    JobsMachine,
    MachineFault,
    NodesPeerMachine,
    StoreMachine,
)
from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done
from interop.machines.nodes import KEPT
from stack.core.errors import ConfigError
from tests.interop.machines.test_command_nodes import two_messages
from tests.interop.machines.test_command_peers import ROOT, TIMEOUT_S, files_of, jobs_of, life_of

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


def test_our_store_keeps_what_it_has_behind_a_port(listens: Listens) -> None:
    class Theirs(StoreMachine):
        adapter = CommandStoreAdapter(listens("peer_process", "store", ""), TIMEOUT_S)

    life_of(Theirs)
    steps = {(step.state, step.what) for step in Theirs.coverage.taken}
    assert {("held", "crash"), ("held", "reopen"), ("held", "release")} <= steps


def test_our_file_service_is_right_behind_a_port(listens: Listens) -> None:
    class Theirs(FilesMachine):
        adapter = CommandFilesAdapter(listens("peer_process", "files", ""), TIMEOUT_S)

    files_of(Theirs)
    assert {step.after for step in Theirs.coverage.taken} == {"open", "delivered", "cancelled"}


def test_a_file_service_behind_a_port_that_keeps_nothing_is_found(listens: Listens) -> None:
    class Theirs(FilesMachine):
        adapter = CommandFilesAdapter(listens("peer_process", "files", "forgets"), TIMEOUT_S)

    with pytest.raises(MachineFault, match="states: a file is forgotten that is not over"):
        files_of(Theirs)


def test_our_job_service_is_right_behind_a_port(listens: Listens) -> None:
    class Theirs(JobsMachine):
        adapter = CommandJobsAdapter(listens("peer_process", "jobs", ""), TIMEOUT_S)

    jobs_of(Theirs)
    assert "finished" in {step.after for step in Theirs.coverage.taken}


def test_a_job_service_behind_a_port_that_keeps_nothing_is_found(listens: Listens) -> None:
    class Theirs(JobsMachine):
        adapter = CommandJobsAdapter(listens("peer_process", "jobs", "forgets"), TIMEOUT_S)

    with pytest.raises(MachineFault, match=r"at the end: job .* stays so"):
        jobs_of(Theirs)


def test_our_nodes_are_right_behind_a_port(listens: Listens) -> None:
    class Theirs(NodesPeerMachine):
        adapter = CommandNodesAdapter(listens("node_process", ""), TIMEOUT_S)
        patience_s = 30.0

    two_messages(Theirs)
    steps = {(step.state, step.what, step.after) for step in Theirs.coverage.taken}
    assert ("waits", "its sender is killed", "waits") in steps


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
