"""The machine talks with an LTP engine in another process, over UDP."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from interop.fuzzing import TargetOptions
from interop.machines import LtpPeerMachine, MachineFault, PeerFault, UdpLtpAdapter
from interop.machines.ports import free_ports
from interop.strategies.ltp_transfers import Transfer, pieces
from stack.core.errors import ConfigError

ROOT = Path(__file__).parents[3]
RUNS = TargetOptions()
FEW = settings(
    max_examples=2,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)


def machine_for(command: str, patience_ms: int = 1200) -> type[LtpPeerMachine]:
    """A machine for an engine that a command starts, with a free port in the place of PORT."""
    (port,) = free_ports(1)
    options = TargetOptions(start=command.replace("PORT", str(port)), timeout_s=0.5)
    return machine_at(port, options, patience_ms)


def machine_at(
    port: int, options: TargetOptions = RUNS, patience_ms: int = 1200
) -> type[LtpPeerMachine]:
    class Remote(LtpPeerMachine):
        adapter = UdpLtpAdapter(f"udp://127.0.0.1:{port}", options)
        sends = delivers = False
        patience_ns, silence_ns = patience_ms * 10**6, 10**8

    return Remote


def engine(fault: str = "") -> str:
    words = [sys.executable, "-m", "tests.interop.machines.udp_engine", "PORT", fault]
    return shlex.join(words)


@contextlib.contextmanager
def running(fault: str) -> Iterator[int]:
    """An engine that was not started by the machine: its port."""
    command = [sys.executable, "-m", "tests.interop.machines.udp_engine", "0", fault]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def block_over(kind: type[LtpPeerMachine]) -> None:
    """A block whose first piece is lost, in one case of Hypothesis, as its events need it."""

    @settings(FEW, max_examples=1)
    @given(st.just(pieces.maker(red=True, green=False).case(1, 0)))
    def once(block: Transfer) -> None:
        case = kind()
        try:
            case.start()
            case.begin(transfer=block)
            case.send_segment(pick=0, lost=True)
            while case.unsent:
                case.send_segment(pick=0, lost=False)
            case.fill_gaps(pick=0, lost=0)
            case.acknowledge(pick=0)
        finally:
            case.teardown()

    once()


@pytest.mark.slow
def test_our_engine_is_right_behind_a_port() -> None:
    with running("") as port:
        kind = machine_at(port)
        block_over(kind)
    steps = {step.what for step in kind.coverage.taken}
    assert {"checkpoint", "report", "report acknowledged"} <= steps


@pytest.mark.slow
def test_a_fault_is_found_behind_a_port() -> None:
    fault = "claims the first octets of any block"
    with running(fault) as port, pytest.raises(PeerFault) as found:
        block_over(machine_at(port))
    assert found.value.violation.clause == "RFC 5326 §6.11"


@pytest.mark.slow
def test_our_engine_is_right_over_a_socket_too() -> None:
    kind = machine_for(engine())
    run_state_machine_as_test(kind, settings=FEW)
    assert kind.coverage.taken


@pytest.mark.slow
def test_a_fault_is_found_over_a_socket() -> None:
    with pytest.raises(PeerFault) as found:
        run_state_machine_as_test(
            machine_for(engine("answers a checkpoint that never came")),
            settings=settings(FEW, max_examples=20),
        )
    assert found.value.violation.clause == "RFC 5326 §3.2.2"


@pytest.mark.slow
def test_an_engine_that_ends_is_a_fault() -> None:
    ends = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); "
    ends += "s.bind(('127.0.0.1', PORT)); d, a = s.recvfrom(9999); s.sendto(b'?', a); s.recv(9999)"
    with pytest.raises(MachineFault, match="exit code 0"):
        run_state_machine_as_test(
            machine_for(shlex.join([sys.executable, "-S", "-c", ends]), 50),
            settings=settings(FEW, max_examples=20),
        )


def test_only_udp_ports_are_taken() -> None:
    with pytest.raises(ConfigError, match="is no UDP port"):
        UdpLtpAdapter("tcp://127.0.0.1:4556", TargetOptions())(1, 2)
