"""A state machine of Hypothesis for a node whose store neighbours share: nobody takes the room that
is kept for others.

    class Mine(SharesMachine):
        adapter = MyNode
        part_bytes = 6_000

    TestMine = Mine.TestCase

`MyNode(neighbours, quota_bytes, quota_bundles)` makes a `SharesPeer`.  Neighbours bring what they
like, one bundle or floods, and what leads nowhere too; bundles leave, expire and fail; the node
restarts.  The machine keeps books of its own of who brought what.  Whoever is under its part is
admitted, whatever the others have done, and what was admitted is not let go of to make room.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Final, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from interop.machines.fault import require
from interop.machines.machine import PeerMachine
from interop.machines.transitions import table

NEIGHBOURS: Final = ("dtn://gs1/", "dtn://gs3/", "dtn://gs4/")
QUOTA_BYTES: Final = 40_000
QUOTA_BUNDLES: Final = 100
LEAST: Final = QUOTA_BYTES // QUOTA_BUNDLES
"""What a bundle counts at least: tiny ones use up the number of bundles."""

OVERHEAD_MAX: Final = 200
"""Octets of a bundle of the machine beside its payload, at most."""

OWN: Final = "own"
ON, NOWHERE, HERE = "on", "nowhere", "here"
"""Where a bundle leads: to a node to which there is a way, or to one to which there is none, or to
an application of this node that is not there."""

_UNDER, _OVER = "under its part", "over its part"
_ROWS = {
    (_UNDER, ON): "admitted",
    (_UNDER, HERE): "admitted",
    (_UNDER, NOWHERE): "admitted | refused",
    (_OVER, ON): "admitted | refused",
    (_OVER, HERE): "admitted | refused",
    (_OVER, NOWHERE): "admitted | refused",
}
_PICKS = st.integers(0, 1 << 16)


class SharesPeer(Protocol):
    """A node under test, on whose links anybody may pretend to be a neighbour."""

    def arrive(self, neighbour: str, octets: int, leads: str, lifetime_ms: int) -> Hashable | None:
        """A neighbour brings a bundle unlike all others, with a payload of so many octets, for a
        place to which it leads (`ON`, `NOWHERE`, `HERE`): what names it while it is held, or None
        when it is refused."""
        ...

    def send(self, octets: int) -> Hashable | None:
        """An application of the node itself sends such a bundle, that leads on."""
        ...

    def held(self) -> Mapping[Hashable, int]:
        """All bundles that are held, and the octets of each."""
        ...

    def leave(self, count: int) -> None:
        """Up to so many bundles leave for the next node."""
        ...

    def fail(self, name: Hashable) -> None:
        """Work on a bundle fails, for now."""
        ...

    def advance(self, milliseconds: int) -> None:
        """So much time passes: what has expired goes."""
        ...

    def restart(self) -> None:
        """It is killed, and begins anew with what is in its store."""
        ...


class MakesSharesPeer(Protocol):
    """Makes a node under test."""

    def __call__(
        self, neighbours: Sequence[str], quota_bytes: int, quota_bundles: int, /
    ) -> SharesPeer:
        """One with an empty store of these quotas."""
        ...


class SharesMachine(PeerMachine):
    """The neighbours of one node.  Set `adapter` and what it keeps for each."""

    adapter: ClassVar[MakesSharesPeer]
    """Makes the node under test; a class, usually."""

    part_bytes: ClassVar[int]
    """Octets that are kept for each neighbour."""

    own_bytes: ClassVar[int] = 0
    """Octets that are kept for the applications of the node itself."""

    table = tuple(table("bundle", _ROWS))

    peer: SharesPeer

    @initialize()
    def start(self) -> None:
        """A node with an empty store."""
        self.owners: dict[Hashable, str] = {}
        self.peer = type(self).adapter(NEIGHBOURS, QUOTA_BYTES, QUOTA_BUNDLES)

    # --------------------------------------------------------------------------------- rules

    @rule(
        neighbour=st.sampled_from(NEIGHBOURS),
        leads=st.sampled_from((ON, HERE, NOWHERE)),
        octets=st.integers(0, 12_000),
        lifetime_ms=st.integers(1, 50_000),
    )
    def comes(self, neighbour: str, leads: str, octets: int, lifetime_ms: int) -> None:
        """One bundle."""
        self._arrives(neighbour, octets, leads, lifetime_ms)

    @rule(
        neighbour=st.sampled_from(NEIGHBOURS),
        leads=st.sampled_from((ON, NOWHERE)),
        octets=st.integers(0, 2_000),
        count=st.integers(1, 40),
    )
    def floods(self, neighbour: str, leads: str, octets: int, count: int) -> None:
        """Many, all alike."""
        for _ in range(count):
            self._arrives(neighbour, octets, leads, 50_000)

    @rule(octets=st.integers(0, 4_000))
    def sends(self, octets: int) -> None:
        """An application of the node itself, that minds its own part too."""
        weight = max(LEAST, octets + OVERHEAD_MAX)
        if self.weight_of(OWN) + weight <= self.own_bytes:
            name = self.peer.send(octets)
            require(name is not None, "own", "there is no room in what is kept for it", octets)
            self.owners[name] = OWN

    @rule(count=st.integers(1, 20))
    def leave(self, count: int) -> None:
        """Bundles go on."""
        self.peer.leave(count)

    @rule(milliseconds=st.integers(1, 20_000))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.peer.advance(milliseconds)

    @precondition(lambda self: self.peer.held())
    @rule(pick=_PICKS)
    def fail(self, pick: int) -> None:
        """Work on a bundle fails: it is put off."""
        names = list(self.peer.held())
        self.peer.fail(names[pick % len(names)])

    @rule()
    def restart(self) -> None:
        """Killed, and begun anew."""
        before = self.peer.held()
        self.peer.restart()
        require(self.peer.held() == before, "restart", "not what was held before")

    def _arrives(self, neighbour: str, octets: int, leads: str, lifetime_ms: int) -> None:
        before = self.peer.held()
        weight = max(LEAST, octets + OVERHEAD_MAX)
        under = self.weight_of(neighbour) + weight <= self.part_bytes
        name = self.peer.arrive(neighbour, octets, leads, lifetime_ms)
        self.took(
            "bundle", _UNDER if under else _OVER, leads, "refused" if name is None else "admitted"
        )
        if name is not None:
            self.owners[name] = NOWHERE if leads == NOWHERE else neighbour
        elif under and leads != NOWHERE:
            require(False, "admission", "whoever is under its part is refused", neighbour)
        gone = before.keys() - self.peer.held().keys()
        require(not gone, "admission", "what was admitted goes to make room", gone)

    # ------------------------------------------------------------------------ what must hold

    def weight_of(self, owner: str) -> int:
        """What counts as an owner's of all that is held."""
        held = self.peer.held()
        return sum(max(LEAST, held[name]) for name in held if self.owners.get(name) == owner)

    @invariant()
    def what_is_kept_is_there(self) -> None:
        """All that is held is within the quotas, and so is what is kept for others beside it."""
        held = self.peer.held()
        strange = held.keys() - self.owners.keys()
        require(not strange, "books", "a bundle that nobody brought", strange)
        parts = {**dict.fromkeys(NEIGHBOURS, self.part_bytes), OWN: self.own_bytes}
        unused = sum(max(0, part - self.weight_of(owner)) for owner, part in parts.items())
        octets = sum(held.values())
        require(octets + unused <= QUOTA_BYTES, "books", "no room is left for others", octets)
        count = len(held) + unused // LEAST
        require(count <= QUOTA_BUNDLES, "books", "no bundle is left for others", len(held))
