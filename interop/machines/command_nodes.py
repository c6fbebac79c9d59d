"""Two whole nodes in processes of their own as the machine sees them: a command, asked line by
line, and real datagrams between them.

    class TestTheirs(NodesPeerMachine):
        adapter = CommandNodesAdapter("python shim.py")
        patience_s = 5.0

The command is a shim around a node, as `interop.machines.lines` says; it runs twice, each time in
a folder of its own.  The nodes have a link over UDP on this host, and the adapter is the channel of
that link: it is what each takes for the other.  Time is that on the wall, so that ``patience_s``
should be short.  An answer has what stands behind the arrow.

    start      node, peer, listen, reach  ->            the EIDs of itself and the other one; the
                                                        UDP port on which it listens, and that to
                                                        which it sends, both at 127.0.0.1
    contact    up                         ->            a contact with its peer begins, or ends
    send       payload                    ->            its application sends this to that of the
                                                        peer: answered when that is durable
    received                              -> payloads   all that its application has ever dealt
                                                        with, as often as it has
    held                                  -> bundles    how many it holds

Each is told of the contact again when it has started in one.  A kill is SIGKILL; then the command
runs again in the same folder.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import time
from collections.abc import Iterable
from typing import Final

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import Done, Hex
from interop.machines.ports import free_ports

NODES: Final = ("dtn://one/", "dtn://two/")
HOST: Final = "127.0.0.1"
DATAGRAM_BYTES_MAX: Final = 1 << 16


class _Received(msgspec.Struct):
    payloads: list[Hex]


class _Holds(msgspec.Struct):
    bundles: int


class DatagramChannel:
    """What is between two ports of this host; sides are 0 and 1."""

    def __init__(self) -> None:
        self._doors = [_bound() for _ in NODES]
        self.listens = tuple(free_ports(len(NODES)))
        """The ports on which the sides listen."""

        self.reaches = tuple(one.getsockname()[1] for one in self._doors)
        """The ports to which they send."""

        self.up = False
        self.loss = 0.0
        self._random = random.Random(1)  # noqa: S311 - what is lost, not a secret
        self._selector = selectors.DefaultSelector()
        for side, door in enumerate(self._doors):
            self._selector.register(door, selectors.EVENT_READ, side)

    def carry(self, seconds: float) -> None:
        """Take to either side what the other one sends, for so long."""
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                with contextlib.suppress(OSError):  # nobody listens: it is lost
                    datagram = self._doors[key.data].recv(DATAGRAM_BYTES_MAX)
                    if self.up and self._random.random() >= self.loss:
                        other = 1 - key.data
                        self._doors[other].sendto(datagram, (HOST, self.listens[other]))

    def close(self) -> None:
        """All is over."""
        self._selector.close()
        for door in self._doors:
            door.close()


def _bound() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((HOST, 0))
    one.setblocking(False)
    return one


class CommandNodes:
    """One case with them (see `NodesPeer`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(self, adapter: CommandNodesAdapter) -> None:
        with contextlib.ExitStack() as opened:
            self._channel = DatagramChannel()
            opened.callback(self._channel.close)
            self._processes = []
            for node in range(len(NODES)):
                self._processes.append(adapter.asked())
                self.start(node)
                opened.callback(self._processes[node].close)
            self.close = opened.pop_all().close

    def start(self, node: int) -> None:
        """See `NodesPeer`."""
        listen, reach = self._channel.listens[node], self._channel.reaches[node]
        who = {"node": NODES[node], "peer": NODES[1 - node]}
        self._processes[node].launch(Done, **who, listen=listen, reach=reach)
        if self._channel.up:
            self._processes[node].ask(Done, "contact", up=True)

    def kill(self, node: int) -> None:
        """See `NodesPeer`."""
        self._processes[node].kill()

    def send(self, node: int, payload: bytes) -> None:
        """See `NodesPeer`."""
        self._processes[node].ask(Done, "send", payload=Hex(payload))

    def received(self, node: int) -> Iterable[bytes]:
        """See `NodesPeer`."""
        return self._processes[node].ask(_Received, "received").payloads

    def held(self, node: int) -> int:
        """See `NodesPeer`."""
        return self._processes[node].ask(_Holds, "held").bundles

    def contact(self, up: bool) -> None:
        """See `NodesPeer`."""
        self._channel.up = up
        for process in self._processes:
            if process.runs:
                process.ask(Done, "contact", up=up)

    def lose(self, share: float) -> None:
        """See `NodesPeer`."""
        self._channel.loss = share

    def run(self, seconds: float) -> None:
        """See `NodesPeer`."""
        self._channel.carry(seconds)


class CommandNodesAdapter(CommandAdapter):
    """An adapter for `NodesPeerMachine`: nodes behind a command."""

    def __call__(self) -> CommandNodes:
        """Both, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandNodes(self)
