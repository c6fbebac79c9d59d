"""Our agent whose store neighbours share as the machine sees it, without what the machine needs: it
begins soon in a process of its own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from stack.engines.bundle_agent import Beginning, Shares
from stack.ports.store import BundleStore
from stack.storage.memory import MemoryStore
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, bundle_for

RESERVED = 0.6
UNKNOWN = "dtn://nobody/app"
PLACES = {"on": FAR + "app", "nowhere": UNKNOWN, "here": HERE + "nobody"}


class OurShares:
    """An agent over a store in memory; what it does is done at once."""

    kind: ClassVar[type[Shares]] = Shares

    def __init__(
        self,
        neighbours: Sequence[str],
        quota_bytes: int,
        quota_bundles: int,
        store: BundleStore | None = None,
        starts: int = 0,
        passed_ms: int = 0,
    ) -> None:
        self.quotas = (tuple(neighbours), quota_bytes, quota_bundles)
        self.now = NOW + passed_ms
        self.number = starts << 20
        self.starts = starts
        self.desk = self.begin(store or MemoryStore(quota_bytes, quota_bundles))

    def begin(self, store: BundleStore) -> Desk:
        """One process."""
        beginning = Beginning(bytes(32), self.starts << 20)
        return Desk(store=store, shares=self.kind(*self.quotas, RESERVED), beginning=beginning)

    def arrive(self, neighbour: str, octets: int, leads: str, lifetime_ms: int) -> int | None:
        self.number += 1
        made = bundle_for(
            PLACES[leads],
            bytes(octets),
            sequence=self.number,
            source=neighbour + "x",
            lifetime_ms=lifetime_ms + self.now - NOW + 1000,
        )
        ref = self.desk.arrive(made, self.now, neighbour)
        return ref if ref is not None and ref > 0 else None

    def send(self, octets: int) -> int | None:
        before = {one.ref for one in self.desk.store.scan()}
        self.desk.send(FAR + "app", bytes(octets))
        (ref,) = {one.ref for one in self.desk.store.scan()} - before
        return ref

    def held(self) -> dict[Hashable, int]:
        return {one.ref: one.size for one in self.desk.store.scan()}

    def leave(self, count: int) -> None:
        agent = self.desk.agent
        agent.forwarded(agent.take(NEXT, 1 << 20, count, self.now), self.now, NEXT)
        self.desk.run_pending(self.now)

    def fail(self, name: Hashable) -> None:
        assert isinstance(name, int)
        self.desk.agent.fail(name, OSError("for a test"), self.now)
        self.desk.agent.retry(self.now)
        self.desk.run_pending(self.now)

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.desk.expire(self.now)

    def restart(self) -> None:
        self.starts += 1
        self.desk = self.begin(self.desk.store)


class KeepsNothing(OurShares):
    """Whoever comes first fills the store."""

    class kind(Shares):
        def spare(self, owner: str, size: int) -> tuple[int, int]:
            return (0, 0)
