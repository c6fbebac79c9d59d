"""A state machine of Hypothesis over two whole nodes and what is between them.

    class Mine(NodesPeerMachine):
        adapter = MyNodes

    TestMine = Mine.TestCase

`MyNodes()` makes a `NodesPeer`: two nodes that run, and a link over which there is no contact yet.
The machine sends messages both ways, kills nodes at any moment and starts them again, lets contacts
begin and end and datagrams be lost.  The model is the promise of such a stack, and no more: what a
node has acknowledged to its application arrives at the other's, once, whatever happens between;
and when all has arrived, nobody holds anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import ClassVar, Final, Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from interop.machines.fault import MachineFault, require
from interop.machines.machine import PeerMachine
from interop.machines.transitions import table

KEPT: Final = "what is acknowledged is kept"
ONCE: Final = "what is sent is delivered once"
LET_GO: Final = "what has arrived is let go of"

PARTS: Final = 20
"""Of the patience at the end, in each of which it is seen whether all is over."""

T = TypeVar("T")

_NODES = st.integers(0, 1)
_TIMES_S = st.sampled_from([0.001, 0.006, 0.02, 0.3, 2.0, 30.0])


class NodesPeer(Protocol):
    """Two nodes under test, 0 and 1: in virtual time, or processes."""

    def send(self, node: int, payload: bytes) -> None:
        """The application of a node that runs sends this to that of the other one.  When this
        returns, the node has said that it has it for good."""
        ...

    def received(self, node: int) -> Iterable[bytes]:
        """All that the application of a node that runs has ever dealt with, as often as it has: it
        writes that down in the transaction that lets go of the delivery."""
        ...

    def kill(self, node: int) -> None:
        """A node ends here and now; what is on its disk stays."""
        ...

    def start(self, node: int) -> None:
        """It starts again."""
        ...

    def contact(self, up: bool) -> None:
        """A contact begins, or ends."""
        ...

    def lose(self, share: float) -> None:
        """From now on such a share of all datagrams is lost, 0 to 1."""
        ...

    def run(self, seconds: float) -> None:
        """Time passes."""
        ...

    def held(self, node: int) -> int:
        """How many bundles a node that runs holds."""
        ...

    def close(self) -> None:
        """All is over."""
        ...


class MakesNodesPeer(Protocol):
    """Makes two nodes under test."""

    def __call__(self) -> NodesPeer:
        """Both run."""
        ...


class NodesPeerMachine(PeerMachine):
    """What befalls two nodes.  Set `adapter`."""

    adapter: ClassVar[MakesNodesPeer]
    """Makes the nodes under test; a class, usually."""

    patience_s: ClassVar[float] = 300.0
    """In a contact in which nothing is lost all has arrived within this time, and nothing is held
    after three times as long."""

    table = table(
        "message",
        {
            ("new", "is sent"): "waits",
            ("waits", "time passes"): "waits | arrived",
            ("waits", "its sender is killed"): "waits",
            ("waits", "its receiver is killed"): "waits",
            ("waits", "its sender starts"): "waits",
            ("waits", "its receiver starts"): "waits",
            ("waits", "a contact begins"): "waits",
            ("waits", "a contact ends"): "waits",
            ("arrived", "its sender is killed"): "arrived",
            ("arrived", "its receiver is killed"): "arrived",
            ("arrived", "its sender starts"): "arrived",
            ("arrived", "its receiver starts"): "arrived",
        },
    )
    peer: NodesPeer

    @initialize(up=st.booleans())
    def begin(self, up: bool) -> None:
        """Two nodes, in a contact or not."""
        self.peer = type(self).adapter()
        self.runs = [True, True]
        self.up = False
        self.sent: dict[bytes, int] = {}
        """What has been acknowledged, and by which node."""

        self.arrived: set[bytes] = set()
        if up:
            self.contact()

    def _step(self, what: str, node: int | None = None) -> None:
        """Something has happened, to a node or to both."""
        self.note(what if node is None else f"a node {what}")
        before = set(self.arrived)
        self._look()
        for payload, sender in self.sent.items():
            words = what
            if node is not None:
                words = f"its {'sender' if sender == node else 'receiver'} {what}"
            elif payload in before:
                continue
            after = "arrived" if payload in self.arrived else "waits"
            self.took("message", "arrived" if payload in before else "waits", words, after)

    def _look(self) -> None:
        """See what the applications have."""
        for node in (0, 1):
            if not self.runs[node]:
                continue
            counts = Counter(bytes(payload) for payload in self.peer.received(node))
            for payload, count in counts.items():
                known = self.sent.get(payload) == 1 - node
                require(known, ONCE, "what nobody sent is delivered", payload.hex())
                require(count == 1, ONCE, f"delivered {count} times", payload.hex())
            for payload, sender in self.sent.items():
                if payload in self.arrived and sender != node:
                    require(payload in counts, KEPT, "a delivery is undone", payload.hex())
            self.arrived |= set(counts)

    @precondition(lambda self: any(self.runs))
    @rule(node=_NODES, size=st.sampled_from([0, 100, 5_000, 60_000]), count=st.integers(1, 3))
    def send(self, node: int, size: int, count: int) -> None:
        """Messages are sent."""
        if not self.runs[node]:
            node = 1 - node
        for _ in range(count):
            payload = len(self.sent).to_bytes(4, "big") + bytes(size)
            # It may be there before it is acknowledged.
            self.sent[payload] = node
            self.peer.send(node, payload)
            self._look()
            self.took(
                "message", "new", "is sent", "arrived" if payload in self.arrived else "waits"
            )

    @precondition(lambda self: any(self.runs))
    @rule(node=_NODES, seconds=_TIMES_S)
    def kill(self, node: int, seconds: float) -> None:
        """A node is killed, a moment after something else."""
        self.run(seconds if seconds < 1 else 0.001)
        if not self.runs[node]:
            node = 1 - node
        self.peer.kill(node)
        self.runs[node] = False
        self._step("is killed", node)

    @precondition(lambda self: not all(self.runs))
    @rule()
    def start(self) -> None:
        """A node starts again."""
        node = self.runs.index(False)
        self.peer.start(node)
        self.runs[node] = True
        self._step("starts", node)

    @rule()
    def contact(self) -> None:
        """A contact begins, or ends."""
        self.up = not self.up
        self.peer.contact(self.up)
        self._step("a contact begins" if self.up else "a contact ends")

    @rule(share=st.sampled_from([0.0, 0.1, 0.5]))
    def lose(self, share: float) -> None:
        """Datagrams are lost."""
        self.peer.lose(share)

    @rule(seconds=_TIMES_S)
    def run(self, seconds: float) -> None:
        """Time passes, but never more than it may take until all is there."""
        self.peer.run(min(seconds, type(self).patience_s))
        self._step("time passes")

    def finish(self) -> None:
        """All is well from now on: everything arrives, and is let go of.  Raises
        `MachineFault`."""
        while not all(self.runs):
            self.start()
        self.peer.lose(0)
        if not self.up:
            self.contact()
        patience_s = type(self).patience_s
        if missing := self._left_after(patience_s, lambda: self.sent.keys() - self.arrived):
            raise MachineFault(KEPT, f"{len(missing)} do not arrive", min(missing)[:4].hex())
        held = self._left_after(2 * patience_s, lambda: [n for n in (0, 1) if self.peer.held(n)])
        require(not held, LET_GO, "bundles are held by nodes", held)

    def _left_after(self, seconds: float, look: Callable[[], Collection[T]]) -> Collection[T]:
        """What is still to be seen after so much time, or none, as soon as there is nothing: one
        part of the time passes in any case, in which something wrong may still come."""
        left: Collection[T] = ()
        for _ in range(PARTS):
            self.run(seconds / PARTS)
            if not (left := look()):
                break
        return left
