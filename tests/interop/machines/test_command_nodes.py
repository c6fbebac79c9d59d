"""Two nodes in processes of their own, with real datagrams between them: nothing is found in ours,
and nodes that keep nothing on disk are."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path

import pytest

from interop.machines import CommandNodesAdapter, MachineFault, NodesPeerMachine
from interop.machines.command_nodes import HOST, DatagramChannel
from interop.machines.nodes import KEPT

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 120.0
"""A process that is alive answers within it, whatever else the machine does."""


def command(fault: str) -> str:
    words = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    return shlex.join([*words, "-m", "tests.interop.machines.node_process", fault])


class TheirNodes(NodesPeerMachine):
    adapter = CommandNodesAdapter(command(""), TIMEOUT_S)
    patience_s = 30.0


class NodesThatForget(NodesPeerMachine):
    adapter = CommandNodesAdapter(command("forgets"), TIMEOUT_S)
    patience_s = 0.5


def two_messages(kind: type[NodesPeerMachine]) -> None:
    """One each way; the sender of the first is killed before there is a contact."""
    case = kind()
    try:
        case.begin(up=False)
        case.send(node=0, size=5_000, count=1)
        case.kill(node=0, seconds=0.001)
        case.send(node=1, size=100, count=1)
        case.start()
        case.contact()
        case.lose(share=0.1)
    finally:
        case.teardown()


@pytest.mark.slow
def test_our_nodes_are_right_in_processes_that_are_killed() -> None:
    two_messages(TheirNodes)
    steps = {(step.state, step.what, step.after) for step in TheirNodes.coverage.taken}
    assert ("waits", "its sender is killed", "waits") in steps
    assert ("waits", "time passes", "arrived") in steps


@pytest.mark.slow
def test_nodes_that_keep_nothing_on_disk_are_found() -> None:
    with pytest.raises(MachineFault, match=f"{KEPT}: 1 do not arrive"):
        two_messages(NodesThatForget)


def test_datagrams_pass_in_contacts_alone_and_come_from_whom_the_other_side_sends_to() -> None:
    channel = DatagramChannel()
    sides = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    try:
        for side, listens in zip(sides, channel.listens, strict=True):
            side.bind((HOST, listens))
            side.setblocking(False)
        for up, loss in ((False, 0.0), (True, 1.0), (True, 0.0)):
            channel.up, channel.loss = up, loss
            sides[0].sendto(b"%d %d" % (up, loss), (HOST, channel.reaches[0]))
            channel.carry(0.05)
        assert sides[1].recvfrom(100) == (b"1 0", (HOST, channel.reaches[1]))
        with pytest.raises(BlockingIOError):
            sides[1].recv(100)
    finally:
        channel.close()
        for side in sides:
            side.close()
