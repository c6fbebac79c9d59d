"""A disk in memory: a store whose bundles can be copied and damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from stack.audit.event import Act
from stack.core.train import Buffer
from stack.node.config import StoreSection
from stack.simulator.swarm.ledger import Key
from stack.storage.files import DamagedError
from stack.storage.journal import Journal
from stack.storage.memory import MemoryStore
from stack.storage.mending import LOST_WHY


class MemoryImage(MemoryStore):
    """A `MemoryStore` with checksums and copies, as a disk has them."""

    def __init__(self, section: StoreSection) -> None:
        super().__init__(section.quota_bytes, section.quota_bundles, section.keys_max)
        self._damaged: set[int] = set()

    def copy(self) -> MemoryImage:
        """What a process would find after a power cut now."""
        twin = MemoryImage.__new__(MemoryImage)
        for name, value in vars(self).items():
            vars(twin)[name] = value.copy() if isinstance(value, (dict, list, set)) else value
        twin._state = {space: dict(entries) for space, entries in self._state.items()}
        return twin

    def flip(self, rng: random.Random) -> Key | None:
        """Flip a bit of some bundle at rest; its key."""
        if not self._held:
            return None
        ref = rng.choice(sorted(self._held))
        stored, encoded = self._held[ref]
        self._held[ref] = (stored, flipped(encoded, rng))
        self._damaged.add(ref)
        return stored.key

    def damaged(self, refs: Sequence[int]) -> list[int]:
        """Which of these it would drop."""
        return [ref for ref in refs if ref in self._damaged and ref in self._held]

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """As `SqliteStore` does: what is damaged is dropped, its key forgotten, and told.  Raises
        `DamagedError`."""
        bad = self.damaged(refs)
        if bad:
            lost = [self._held[ref][0] for ref in bad]
            journal = Journal(self.ledger, self.events_end, max(one.received_ms for one in lost))
            journal.left(lost, Act.DELETED, LOST_WHY)
            self._write_down(journal)
            for one in lost:
                self._seen.pop(one.key, None)
                self._drop(one.ref)
            raise DamagedError(Path("memory"), bad)
        return super().load(refs)


def flipped(encoded: Buffer, rng: random.Random) -> bytes:
    """The octets with one bit wrong."""
    octets = bytearray(encoded)
    octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
    return bytes(octets)
