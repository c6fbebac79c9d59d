"""What a bundle store must do (`stack.ports.store`), written down as plainly as possible; nothing
here is fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interop.machines.fault import require
from interop.machines.transitions import table
from stack.ports.store import (
    DUPLICATE,
    NO_ROOM,
    Committed,
    Move,
    Op,
    Place,
    Put,
    Release,
    Stored,
    Write,
)

COMMIT = "BundleStore.commit"

_ROWS = {
    ("new", "put"): "held | new",
    ("held", "put"): "held",
    ("known", "put"): "held | known",
    ("held", "release"): "known | new",
    ("held", "move"): "held",
    ("held", "eviction"): "new",
    ("held", "expiry"): "new",
    ("held", "reopen"): "held",
    ("known", "reopen"): "known",
    ("held", "crash"): "held",
    ("known", "crash"): "known",
}
STORE_TABLE = tuple(table("bundle", _ROWS))
"""Of a bundle the store has nothing, has it, or only knows that it had it."""


class StoreModel:
    """A bundle store as plain dicts.  New refs are taken from the store under test."""

    def __init__(self, quota_bytes: int, quota_bundles: int) -> None:
        self.quota_bytes = quota_bytes
        self.quota_bundles = quota_bundles
        self.held: dict[int, tuple[Stored, bytes]] = {}
        self.seen: dict[bytes, tuple[int, int]] = {}
        self.state: dict[tuple[str, str], bytes] = {}
        self.last_ref = 0

    def octets(self) -> int:
        """Octets held."""
        return sum(stored.size for stored, _ in self.held.values())

    def key_of(self, op: Op) -> bytes | None:
        """Which bundle an operation is about, if it is about one that is known."""
        if isinstance(op, Put):
            return op.key
        held = self.held.get(op.ref) if isinstance(op, Release | Move) else None
        return held and held[0].key

    def states(self, now_ms: int) -> dict[bytes, str]:
        """``held`` or ``known``, by key."""
        known = {key: "known" for key, (_, until_ms) in self.seen.items() if until_ms > now_ms}
        return known | {stored.key: "held" for stored, _ in self.held.values()}

    def commit(self, ops: Sequence[Op], now_ms: int, committed: Committed) -> None:
        """Do what `ops` say.  Raises `MachineFault` where `committed` says something else."""
        moves = {op.ref: op for op in ops if isinstance(op, Move)}  # of several the last one counts
        for ref, move in moves.items():
            if ref in self.held:
                stored, encoded = self.held[ref]
                priority = -1 if move.place is Place.QUARANTINE else stored.priority
                moved = replace(stored, place=move.place, note=move.note, priority=priority)
                self.held[ref] = (moved, encoded)
        known = {
            op.ref: op.known_until_ms
            for op in ops
            if isinstance(op, Release) and op.known_until_ms is not None
        }
        for ref, until_ms in known.items():
            if ref in self.held:
                self.seen[self.held[ref][0].key] = (ref, until_ms)
        for op in ops:
            if isinstance(op, Release):
                self.held.pop(op.ref, None)
        puts = [op for op in ops if isinstance(op, Put)]
        require(len(committed.refs) == len(puts), COMMIT, "one ref for each put", committed)
        evicted = self._put(puts, now_ms, committed.refs)
        same = sorted(committed.evicted) == sorted(evicted)
        require(
            same, COMMIT, "room is made of what has expired, then of the least urgent", committed
        )
        for op in ops:
            if isinstance(op, Write):
                self.state.pop((op.space, op.key), None)
                if op.value is not None:
                    self.state[op.space, op.key] = op.value

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """The earliest `limit` of what has expired."""
        expired = sorted(
            (stored for stored, _ in self.held.values() if stored.expires_ms <= now_ms),
            key=lambda stored: (stored.expires_ms, stored.key),
        )[:limit]
        for stored in expired:
            del self.held[stored.ref]
        return expired

    def _put(self, puts: Sequence[Put], now_ms: int, refs: Sequence[int]) -> list[int]:
        evicted: list[int] = []
        fresh: dict[int, tuple[Stored, bytes]] = {}
        purged = False
        for index in sorted(range(len(puts)), key=lambda i: -puts[i].priority):
            put, ref = puts[index], refs[index]
            old = self.seen.get(put.key)
            if any(stored.key == put.key for stored, _ in fresh.values()) or (
                old is not None
                and old[1] > now_ms
                and (old[0] in self.held or put.place is not Place.FORWARD)
            ):
                require(ref == DUPLICATE, COMMIT, "a duplicate is taken for none", put)
                continue
            size = len(put.encoded)
            if not self._fits(fresh, size) and not purged:
                purged = True
                evicted += [stored.ref for stored in self.expire(now_ms, 1 << 30)]
            lesser = sorted(
                (stored.priority, stored.ref)
                for stored, _ in self.held.values()
                if put.evicts
                and stored.priority < put.priority
                and stored.place is not Place.DELIVER
            )
            kept = dict(self.held)
            gone: list[int] = []
            while not self._fits(fresh, size) and lesser:
                gone.append(lesser.pop(0)[1])
                del self.held[gone[-1]]
            if not self._fits(fresh, size):
                self.held = kept
                require(ref == NO_ROOM, COMMIT, "a bundle is taken for which there is no room", put)
                continue
            evicted += gone
            for each in gone:
                self.seen.pop(kept[each][0].key)
            require(ref > 0, COMMIT, "a new bundle is refused although there is room", put)
            require(ref > self.last_ref, COMMIT, "a ref is used again, or does not grow", ref)
            self.last_ref = ref
            fresh[ref] = (
                Stored(
                    ref,
                    put.key,
                    put.place,
                    put.destination,
                    put.source,
                    put.priority,
                    size,
                    put.expires_ms,
                    put.received_ms,
                    put.note,
                ),
                bytes(put.encoded),
            )
        for ref, (stored, encoded) in fresh.items():
            old = self.seen.get(stored.key)
            if old is not None and old[0] in self.held:
                evicted.append(old[0])
                del self.held[old[0]]
            self.held[ref] = (stored, encoded)
            self.seen[stored.key] = (ref, stored.expires_ms)
        return evicted

    def _fits(self, fresh: dict[int, tuple[Stored, bytes]], size: int) -> bool:
        octets = self.octets() + sum(stored.size for stored, _ in fresh.values())
        return (
            octets + size <= self.quota_bytes and len(self.held) + len(fresh) < self.quota_bundles
        )
