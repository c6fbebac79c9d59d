"""The store of nodes that need not survive a restart, and of simulations: dicts and heaps."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from stack.audit.event import Act
from stack.core.errors import LocalError, StoreError
from stack.core.train import Buffer
from stack.ports.store import (
    DUPLICATE,
    NO_ROOM,
    OVER_SHARE,
    Committed,
    EventLedger,
    Move,
    Op,
    Place,
    Put,
    Stored,
    Usage,
)
from stack.storage.config import KEY_BYTES_MAX
from stack.storage.files import lock
from stack.storage.journal import Journal
from stack.storage.kinds import Kinds
from stack.storage.staged import Scrubbed, Staged
from stack.storage.staging import EVICTED, EXPIRED_MAX, LOWEST


class _NoDisk:
    """What a store without a disk has no need of, or little."""

    _lock: int | None = None
    """The descriptor that holds what was claimed."""

    def tidy(self) -> bool:
        """There is nothing to tidy up."""
        return False

    def stage_scrub(self) -> Staged[Scrubbed]:
        """Nothing is at rest."""
        return Staged(Scrubbed(over=True), _nothing)

    @property
    def untidy(self) -> bool:
        """There is nothing to tidy up."""
        return False

    def claim(self, directory: Path) -> None:
        """Have a directory until `close`, as a store on disk has its own: what its node counts
        there another would not see.  Raises `StoreError` when another has it."""
        self._lock = lock(directory)

    def close(self) -> None:
        """Let go of what was claimed; the contents stay with the object."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class MemoryStore(_NoDisk):
    """A `BundleStore` and `StagingStore` without a disk; it treats ops, room and duplicates
    exactly as `SqliteStore` does.  Wires are kept as they are given: do not change them."""

    def __init__(
        self, quota_bytes: int, quota_bundles: int = 10_000_000, keys_max: int = 20_000_000
    ) -> None:
        self._quota_bytes = quota_bytes
        self._quota_bundles = quota_bundles
        self._keys_max = max(keys_max, quota_bundles)
        self._next_ref = 1
        self._octets = 0
        self._held: dict[int, tuple[Stored, Buffer]] = {}
        self._seen: dict[bytes, tuple[int, int]] = {}
        """Ref and expiry by key."""
        self._expiry: list[tuple[int, bytes, int]] = []
        """Heap of (expiry, key, ref); entries whose key was taken over are skipped."""
        self._evictable: list[tuple[int, int]] = []
        """Heap of (priority, ref); entries that are gone or not evictable are skipped."""
        self._state: dict[str, dict[str, bytes]] = {}
        self.ledger: EventLedger | None = None
        self._events: list[tuple[int, bytes]] = []
        self.events_end = 0

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """See `BundleStore.commit`."""
        kinds = Kinds(ops)
        puts, releases = kinds.puts, kinds.releases
        for put in puts:
            if len(put.key) > KEY_BYTES_MAX:
                raise LocalError(f"a key of {len(put.key)} octets, where {KEY_BYTES_MAX} fit")
        if any(put.required for put in puts):
            self._check_room(puts, releases, now_ms)
        journal = Journal(self.ledger, self.events_end, now_ms)
        for move in kinds.moves.values():
            self._move(move)
        for ref, until_ms in kinds.known.items():
            self._know(ref, until_ms, now_ms)
        for ref in releases:
            if self._drop(ref) and ref in kinds.told:
                journal.add((kinds.told[ref],))
        committed = self._put(puts, now_ms, journal)
        for (space, key), value in kinds.writes.items():
            entries = self._state.setdefault(space, {})
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = bytes(value)
        journal.add(kinds.events)
        journal.prune_before = kinds.prune
        self._write_down(journal)
        return committed

    def events(self, first: int, limit: int) -> list[tuple[int, bytes]]:
        """See `BundleStore.events`."""
        start = max(0, first - self.events_end + len(self._events))
        return self._events[start : start + limit]

    def _write_down(self, journal: Journal) -> None:
        self._events += journal.events
        self.events_end = journal.end
        kept = max(1, journal.end - journal.prune_before) if journal.prune_before else None
        if kept is not None and kept < len(self._events):
            del self._events[:-kept]

    def stage(self, ops: Sequence[Op], now_ms: int) -> Staged[Committed]:
        """`commit`: there is no disk to wait for."""
        return Staged(self.commit(ops, now_ms), _nothing)

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """See `BundleStore.load`."""
        held = self._held
        return [held[ref][1] if ref in held else None for ref in refs]

    def remains(self, ref: int) -> bytes | None:
        """See `BundleStore.remains`."""
        entry = self._held.get(ref)
        return bytes(entry[1]) if entry is not None and entry[0].place is Place.QUARANTINE else None

    def scan(self) -> Iterator[Stored]:
        """See `BundleStore.scan`."""
        for ref in sorted(self._held):
            if ref in self._held:
                yield self._held[ref][0]

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """See `BundleStore.expire`."""
        journal = Journal(self.ledger, self.events_end, now_ms)
        expired = self._expire(now_ms, limit, journal)
        self._write_down(journal)
        return expired

    def _expire(self, now_ms: int, limit: int, journal: Journal) -> list[Stored]:
        expired: list[Stored] = []
        heap = self._expiry
        while heap and heap[0][0] <= now_ms:
            at_ms, key, ref = heap[0]
            entry = self._held.get(ref)
            if entry is not None:
                if len(expired) >= limit:
                    break
                expired.append(entry[0])
                self._drop(ref)
            heapq.heappop(heap)
            if self._seen.get(key) == (ref, at_ms):
                del self._seen[key]
        journal.left(expired, Act.EXPIRED, "its lifetime had ended")
        return expired

    def stage_expire(self, now_ms: int, limit: int) -> Staged[list[Stored]]:
        """`expire`: there is no disk to wait for."""
        return Staged(self.expire(now_ms, limit), _nothing)

    def held(self, key: bytes) -> int | None:
        """See `BundleStore.held`."""
        ref, _ = self._seen.get(key, (0, 0))
        return ref if ref in self._held else None

    def next_expiry(self) -> int | None:
        """See `BundleStore.next_expiry`."""
        return self._expiry[0][0] if self._expiry else None

    def read(self, space: str, key: str) -> bytes | None:
        """See `BundleStore.read`."""
        return self._state.get(space, {}).get(key)

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `BundleStore.read_all`."""
        entries = self._state.get(space, {})
        return sorted(item for item in entries.items() if item[0].startswith(prefix))

    def usage(self) -> Usage:
        """See `BundleStore.usage`."""
        return Usage(len(self._held), self._octets, self._quota_bytes)

    def _check_room(self, puts: Sequence[Put], releases: Sequence[int], now_ms: int) -> None:
        """Raise `StoreError` before anything has happened, if what is required may not fit."""
        need = sum(len(put.encoded) for put in puts)
        room = self._quota_bytes - self._octets
        count = self._quota_bundles - len(self._held)
        if need <= room and len(puts) <= count:
            return
        priority = max(put.priority for put in puts if put.required)
        sizes = _evictable(self._held.values(), set(releases), priority, now_ms)
        if need > room + sum(sizes) or len(puts) > count + len(sizes):
            raise StoreError(f"no room for {need} octets of priority {priority}")

    def _put(self, puts: Sequence[Put], now_ms: int, journal: Journal) -> Committed:
        refs = [0] * len(puts)
        evicted: list[int] = []
        accepted: dict[bytes, tuple[int, Put]] = {}
        octets = 0
        purged = False
        for index in sorted(range(len(puts)), key=lambda i: -puts[i].priority):
            put = puts[index]
            old = self._seen.get(put.key)
            known = put.key in accepted or (put.part_of and put.part_of in accepted)
            if known or self._duplicate(put, old, now_ms):
                refs[index] = DUPLICATE
                continue
            size = len(put.encoded)
            spare, few = put.spare
            need, count = octets + size + spare, len(accepted) + 1 + few
            if self._lacks(need, count):
                if not purged:
                    purged = True
                    evicted += [each.ref for each in self._expire(now_ms, EXPIRED_MAX, journal)]
                level = put.priority if put.evicts else LOWEST
                if not self._evict(need, count, level, evicted, journal):
                    refs[index] = NO_ROOM if self._lacks(need - spare, count - few) else OVER_SHARE
                    continue
            refs[index] = self._next_ref
            accepted[put.key] = (self._next_ref, put)
            self._next_ref += 1
            octets += size
        for ref, put in accepted.values():
            old = self._seen.get(put.key)
            if old is not None and old[0] in self._held:
                journal.left([self._held[old[0]][0]], Act.DELETED, EVICTED)
                self._drop(old[0])
                evicted.append(old[0])
            self._insert(ref, put)
            if put.event is not None:
                journal.add((put.event,))
            journal.add(put.also)
        self._bound()
        return Committed(refs, evicted)

    def _duplicate(self, put: Put, old: tuple[int, int] | None, now_ms: int) -> bool:
        """Whether a bundle whose key was seen as `old` (ref, expiry) is not to be taken again."""
        if put.part_of and self._seen.get(put.part_of, (0, LOWEST))[1] > now_ms:
            return True
        ref, expires_ms = old or (0, LOWEST)
        return expires_ms > now_ms and (ref in self._held or put.place is not Place.FORWARD)

    def _insert(self, ref: int, put: Put) -> None:
        size = len(put.encoded)
        stored = Stored(
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
        )
        self._held[ref] = (stored, put.encoded)
        self._octets += size
        self._seen[put.key] = (ref, put.expires_ms)
        heapq.heappush(self._expiry, (put.expires_ms, put.key, ref))
        if put.place is not Place.DELIVER:
            heapq.heappush(self._evictable, (put.priority, ref))

    def _lacks(self, octets: int, bundles: int) -> bool:
        return (
            self._octets + octets > self._quota_bytes
            or len(self._held) + bundles > self._quota_bundles
        )

    def _evict(
        self, octets: int, bundles: int, priority: int, evicted: list[int], journal: Journal
    ) -> bool:
        """Evict what is of lower priority, the lowest and oldest first, until so much fits;
        nothing at all when that cannot be enough."""
        chosen: dict[int, int] = {}
        heap = self._evictable
        while self._lacks(octets, bundles - len(chosen)):
            if not heap or heap[0][0] >= priority:
                for ref, level in chosen.items():
                    heapq.heappush(heap, (level, ref))
                return False
            level, ref = heapq.heappop(heap)
            entry = self._held.get(ref)
            if entry is None or entry[0].place is Place.DELIVER or ref in chosen:
                continue
            if entry[0].priority != level:
                continue  # it stands there again, by its priority of now
            chosen[ref] = level
            octets -= entry[0].size
        journal.left([self._held[ref][0] for ref in chosen], Act.DELETED, EVICTED)
        for ref in chosen:
            self._seen.pop(self._held[ref][0].key, None)
            self._drop(ref)
        evicted += chosen
        return True

    def _bound(self) -> None:
        """Keep what is only remembered in proportion to what is held; amortised O(1) a put."""
        if len(self._evictable) > 2 * len(self._held) + 64:
            self._evictable = [
                (stored.priority, ref)
                for ref, (stored, _) in self._held.items()
                if stored.place is not Place.DELIVER
            ]
            heapq.heapify(self._evictable)
        if len(self._seen) > self._keys_max:
            released = sorted(
                (expires_ms, key)
                for key, (ref, expires_ms) in self._seen.items()
                if ref not in self._held
            )
            for _, key in released[: len(self._seen) - self._keys_max * 7 // 8]:
                del self._seen[key]
            self._expiry = [(expires_ms, key, ref) for key, (ref, expires_ms) in self._seen.items()]
            heapq.heapify(self._expiry)

    def _drop(self, ref: int) -> bool:
        entry = self._held.pop(ref, None)
        if entry is None:
            return False
        self._octets -= entry[0].size
        return True

    def _know(self, ref: int, until_ms: int, now_ms: int) -> None:
        """Recognise the key of a bundle that is still held until the time given."""
        entry = self._held.get(ref)
        if entry is None:
            return
        key = entry[0].key
        if until_ms > now_ms:
            self._seen[key] = (ref, until_ms)
            heapq.heappush(self._expiry, (until_ms, key, ref))
        else:
            self._seen.pop(key, None)

    def _move(self, move: Move) -> None:
        entry = self._held.get(move.ref)
        if entry is None:
            return
        stored, encoded = entry
        priority = move.priority(stored.priority)
        moved = replace(stored, place=move.place, note=move.note, priority=priority)
        self._held[move.ref] = (moved, encoded)
        if move.place is not Place.DELIVER:
            heapq.heappush(self._evictable, (priority, move.ref))


def _evictable(
    held: Iterable[tuple[Stored, Buffer]], going: set[int], priority: int, now_ms: int
) -> list[int]:
    """The sizes of what goes, or may go for something of a priority."""
    return [
        stored.size
        for stored, _ in held
        if stored.ref in going
        or (stored.place is not Place.DELIVER and stored.priority < priority)
        or stored.expires_ms <= now_ms
    ]


def _nothing() -> None:
    pass
