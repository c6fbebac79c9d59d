"""One transaction of the SQLite store in the making.

A commit is a set, applied in this order: moves, releases, puts, writes.  Among puts, the urgent
ones come first, so that none of them is refused in favour of a lesser one of the same commit.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from stack.audit.event import Act, Happened
from stack.core.errors import LocalError, StoreFullError
from stack.core.train import Buffer
from stack.ports.store import (
    DUPLICATE,
    NO_ROOM,
    OVER_SHARE,
    Committed,
    Move,
    Op,
    Place,
    Put,
    Stored,
)
from stack.storage import rescue, sql
from stack.storage.config import KEY_BYTES_MAX, StoreConfig
from stack.storage.journal import Journal
from stack.storage.kinds import Kinds
from stack.storage.parity import Parity, protect
from stack.storage.payload_log import PayloadLog
from stack.storage.rows import BundleRow, new_row, state_check
from stack.storage.tally import Tally

EXPIRED_MAX = 4096
"""Expired bundles dropped at most by one commit that needs room: bounds its time."""

POOL_ROWS = 64
"""Candidates for eviction fetched at once."""

FORGET_ROWS = 1024
"""Keys looked at by one commit while more than `keys_max` are remembered."""

ROW_OCTETS = 512
"""What a bundle takes in the database beside its octets, at most by rule."""

FIRST_KEY = (-(1 << 63), b"")
"""Below every (expiry, key)."""

EVICTED = "it made room for another"

NOTHING_TOLD: Mapping[int, Happened] = MappingProxyType({})

LOWEST = -(1 << 63)
"""Below every priority."""

_NEVER = (1 << 63) - 1

_UNKNOWN = (0, LOWEST)


class Staging:
    """Statements run inside an open transaction, and what they change in memory once it holds."""

    def __init__(
        self,
        db: sqlite3.Connection,
        log: PayloadLog,
        tally: Tally,
        config: StoreConfig,
        next_ref: int,
        journal: Journal,
        room: int | None = None,
        commits: int = 0,
        code: Parity | None = None,
    ) -> None:
        """`commits` is how many came before.  `room`: octets of bundles that may be stored, in
        the database alone, because the disk is full; None: it is not.  `code`: there is parity in
        the store, or is to be."""
        self.db = db
        self.log = log
        self._tally = tally
        self._config = config
        self.next_ref = next_ref
        self.journal = journal
        self.change = Tally()
        self.buffers: list[Buffer] = []
        """What the payload log must hold before the transaction may be committed."""
        self.octets = 0
        """Octets of `buffers`."""
        self.recorded = 0
        """Those among them that are of no bundle."""
        self._evicted: list[int] = []
        self._seen: dict[bytes, tuple[int, int]] = {}
        """Of keys that are being put: the ref and expiry under which they are known."""
        self._pool: deque[sql.Row] = deque()
        self._purged = False
        self._room = room
        self._commits = commits
        self._code = code

    def apply(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """Run all of `ops`.  Raises `LocalError` for what is no operation."""
        kinds = Kinds(ops)
        if kinds.moves:
            self._move(kinds.moves)
        if kinds.known:
            self._know(kinds.known, now_ms)
        if kinds.releases:
            self.drop(kinds.releases, kinds.told)
        refs = self._put(kinds.puts, now_ms) if kinds.puts else []
        if kinds.writes:
            write_state(self.db, kinds.writes)
        self.journal.add(kinds.events)
        self.journal.prune_before = kinds.prune
        return Committed(refs, self._evicted)

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """Drop up to `limit` bundles whose lifetime has ended, forgetting keys on the way."""
        expired: list[Stored] = []
        examined = 0
        while len(expired) < limit and examined < limit + EXPIRED_MAX:
            seen = self.db.execute(sql.SELECT_EXPIRED, (now_ms, sql.ROWS_MAX)).fetchall()
            if not seen:
                break
            refs = [ref for _, ref in seen]
            rows = {row[0]: row for row in sql.select(self.db, sql.SELECT_BUNDLE, refs)}
            gone, keys, mended, stored = _judged(seen, rows, now_ms, limit - len(expired))
            expired += stored
            self.journal.left(stored, Act.EXPIRED, "its lifetime had ended")
            self.drop(gone)
            self.forget(keys)
            self.change.keys += sum(
                self.db.execute(sql.MEND_SEEN, each).rowcount for each in mended
            )
            examined += len(keys)
        return expired

    def _know(self, until: Mapping[int, int], now_ms: int) -> None:
        """Recognise the keys of bundles that are still held until the times given."""
        held = [
            (until[row[0]], row[1]) for row in sql.select(self.db, sql.SELECT_BUNDLE, list(until))
        ]
        self.forget([key for until_ms, key in held if until_ms <= now_ms])
        self.db.executemany(sql.UPDATE_SEEN, [each for each in held if each[0] > now_ms])

    def forget(self, keys: Sequence[bytes]) -> None:
        """No longer recognise `keys` as duplicates."""
        self.change.keys -= sql.delete(self.db, sql.DELETE_SEEN, keys)

    def forget_surplus(self, after: tuple[int, bytes]) -> tuple[int, bytes]:
        """While there are more keys than `keys_max`, forget some of released bundles, those that
        expire first, going on behind `after`; returns where to go on next time."""
        surplus = self._tally.keys + self.change.keys - self._config.keys_max
        if surplus <= 0:
            return after
        rows = self.db.execute(sql.SELECT_FORGETTABLE, (*after, FORGET_ROWS)).fetchall()
        self.forget([key for key, _, held in rows if not held][:surplus])
        return (rows[-1][1], rows[-1][0]) if len(rows) == FORGET_ROWS else FIRST_KEY

    def forget_damaged(self, keys: Sequence[bytes], refs: Sequence[int]) -> None:
        """No longer recognise the keys of bundles that are damaged."""
        self.forget(keys)
        # Where the key itself is what was damaged, only a search through all of them finds it.
        self.change.keys -= sql.delete(self.db, sql.DELETE_SEEN_REF, refs)

    def _move(self, moves: dict[int, Move]) -> None:
        updates = []
        for found in sql.select(self.db, sql.SELECT_BUNDLE, list(moves)):
            row = BundleRow(*found)
            if not row.intact():
                continue  # a new checksum would hide the damage: leave it to scan and load
            move = moves[row.ref]
            new = row.placed(move)
            updates.append((new.place, new.note, new.priority, new.row_check, new.ref))
            self.change.count(-1, -row.size, row.priority, row.place, row.segment)
            self.change.count(1, row.size, new.priority, new.place, row.segment)
        self.db.executemany(sql.UPDATE_PLACE, updates)

    def drop(self, refs: Sequence[int], told: Mapping[int, Happened] = NOTHING_TOLD) -> None:
        """Remove bundles, leaving their keys; `told`: what is written down of them."""
        refs = [*dict.fromkeys(refs)]  # one may be named twice
        found = sql.select(self.db, sql.SELECT_COUNTED, refs)
        if not found:
            return
        inline = []
        alike: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        for ref, size, priority, place, segment in found:
            if not segment:
                inline.append(ref)
            alike[priority, place, segment].append(size)
        for kind, sizes in alike.items():
            self.change.count(-len(sizes), -sum(sizes), *kind)
        if told:
            self.journal.add([told[row[0]] for row in found if row[0] in told])
        sql.delete(self.db, sql.DELETE_BUNDLE, refs)
        if self._code is not None:
            sql.delete(self.db, sql.DELETE_PARITY, refs)
        if inline:
            sql.delete(self.db, sql.DELETE_BODY, inline)

    def _put(self, puts: Sequence[Put], now_ms: int) -> list[int]:
        asked = [put.key for put in puts] + [put.part_of for put in puts if put.part_of]
        seen = self._seen = {
            key: (ref, expires_ms)
            for key, ref, expires_ms in sql.select(self.db, sql.SELECT_SEEN, asked)
        }
        refs = [0] * len(puts)
        accepted: list[tuple[int, Put, int]] = []
        stale: dict[bytes, int] = {}
        octets = 0
        room = self._config.quota_bytes - self._tally.octets - self.change.octets
        free = self._config.quota_bundles - self._tally.bundles - self.change.bundles
        lesser = [-put.priority for put in puts]
        for index in sorted(range(len(puts)), key=lesser.__getitem__):
            put = puts[index]
            key = put.key
            old = seen.get(key)
            if old is not None and old[1] > now_ms and not self._came_back(put, *old):
                refs[index] = DUPLICATE
                continue
            if put.part_of and seen.get(put.part_of, _UNKNOWN)[1] > now_ms:
                refs[index] = DUPLICATE
                continue
            size = len(put.encoded)
            if self._room is not None:
                if size > self._room:
                    if put.required:
                        raise StoreFullError(f"the store's disk is full: no room for {size} octets")
                    refs[index] = NO_ROOM
                    continue
                self._room -= size + ROW_OCTETS
            spare, few = put.spare
            if size + spare > room or free <= few:
                before = (self.change.octets, self.change.bundles)
                level = put.priority if put.evicts else LOWEST
                fits = self._make_room(size + spare - room, 1 + few - free, level, now_ms)
                room += before[0] - self.change.octets
                free += before[1] - self.change.bundles
                if not fits and put.required:
                    raise StoreFullError(f"no room for {size} octets of priority {put.priority}")
                if not fits:
                    refs[index] = NO_ROOM if size > room or free < 1 else OVER_SHARE
                    continue
            if old is not None:
                stale[key] = old[0]
            ref = self.next_ref
            self.next_ref = ref + 1
            refs[index] = ref
            seen[key] = (ref, _NEVER)
            accepted.append((ref, put, size))
            octets += size
            room -= size
            free -= 1
        if stale:
            self._drop_stale(stale)
        if accepted:
            self._insert(accepted, octets)
        return refs

    def _came_back(self, put: Put, ref: int, expires_ms: int) -> bool:
        """Whether a bundle that was seen as `ref` is in transit and no longer held here."""
        if put.place is not Place.FORWARD or expires_ms == _NEVER:  # _NEVER: in this transaction
            return False
        return not sql.select(self.db, sql.SELECT_COUNTED, [ref])

    def _insert(self, accepted: list[tuple[int, Put, int]], octets: int) -> None:
        segment = start = 0
        out_of_line = self._room is None and octets >= self._config.log_batch_bytes
        if out_of_line:
            segment, start = self.log.place()
            self.buffers += [put.encoded for _, put, _ in accepted]
            self.octets += octets
        rows = []
        seen = []
        alike: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for ref, put, size in accepted:
            if len(put.key) > KEY_BYTES_MAX:
                raise LocalError(f"a key of {len(put.key)} octets, where {KEY_BYTES_MAX} fit")
            rows.append(new_row(put, ref, size, segment, start))
            seen.append((put.key, put.expires_ms, ref))
            if out_of_line:
                start += size
            alike[put.priority, put.place].append(size)
        self.journal.add([put.event for _, put, _ in accepted if put.event is not None])
        self.journal.add([event for _, put, _ in accepted if put.also for event in put.also])
        if out_of_line:
            self.record(rows)
        sql.insert(self.db, sql.INSERT_SEEN, seen)
        self.change.keys += len(seen)
        sql.insert(self.db, sql.INSERT_BUNDLE, rows)
        if not out_of_line:
            sql.insert(self.db, sql.INSERT_BODY, [(ref, put.encoded) for ref, put, _ in accepted])
        if self._code is not None and self._config.parity and self._room is None:
            protect(self.db, self._code, accepted)
        for (priority, place), sizes in alike.items():
            self.change.count(len(sizes), sum(sizes), priority, place, segment)

    def record(self, rows: Sequence[Sequence[object]]) -> None:
        """Say in the log whose octets these are, should the database be lost."""
        record = rescue.record(self._commits, rows)
        self.buffers.append(record)
        self.octets += len(record)
        self.recorded += len(record)

    def _drop_stale(self, stale: dict[bytes, int]) -> None:
        """Keys came again after their lifetimes: what is still held under them goes."""
        rows = sql.select(self.db, sql.SELECT_BUNDLE, [*stale.values()])
        self._evict([row[0] for row in rows if row[1] in stale])
        self.forget([*stale])

    def _make_room(self, octets: int, bundles: int, priority: int, now_ms: int) -> bool:
        """Evict until `octets` and `bundles` fit, or say that they cannot; the caller reads from
        `self.change` what went.  Expired bundles first, then the lowest priority, oldest first."""
        if not self._purged:
            self._purged = True  # once is enough: nothing is left, or plenty was dropped
            before = (self.change.octets, self.change.bundles)
            self._evicted += [each.ref for each in self.expire(now_ms, EXPIRED_MAX)]
            octets -= before[0] - self.change.octets
            bundles -= before[1] - self.change.bundles
        if octets <= 0 and bundles <= 0:
            return True
        mine = self._tally.evictable_below(priority)
        changed = self.change.evictable_below(priority)
        if mine[0] + changed[0] < bundles or mine[1] + changed[1] < octets:
            return False
        chosen: list[int] = []
        while octets > 0 or bundles > 0:
            if not self._pool:
                self._evict(chosen)
                chosen = []
                self._pool.extend(self.db.execute(sql.SELECT_EVICTABLE, (priority, POOL_ROWS)))
            if not self._pool or self._pool[0][2] >= priority:
                break  # only when a damaged database disagrees with the tally
            ref, size, *_ = self._pool.popleft()
            chosen.append(ref)
            octets -= size
            bundles -= 1
        self._evict(chosen)
        return octets <= 0 and bundles <= 0

    def _evict(self, refs: Sequence[int]) -> None:
        rows = sql.select(self.db, sql.SELECT_BUNDLE, refs)
        keys = {row[1]: row[0] for row in rows}
        if self.journal.asks:
            whole = [row for row in (BundleRow(*each) for each in rows) if row.intact()]
            self.journal.left([row.stored() for row in whole], Act.DELETED, EVICTED)
        self.drop(refs)
        self.forget(list(keys))
        for key, ref in keys.items():
            if self._seen.get(key, (0, 0))[0] == ref:
                del self._seen[key]
        self._evicted += refs


def write_state(db: sqlite3.Connection, writes: Mapping[tuple[str, str], bytes | None]) -> None:
    """Set and delete entries of durable state."""
    gone = [name for name, value in writes.items() if value is None]
    kept = [
        (space, key, value, state_check(space, key, value))
        for (space, key), value in writes.items()
        if value is not None
    ]
    if gone:
        db.executemany(sql.DELETE_STATE, gone)
    if kept:
        db.executemany(sql.INSERT_STATE, kept)


def _judged(
    seen: Sequence[sql.Row], rows: Mapping[int, sql.Row], now_ms: int, limit: int
) -> tuple[list[int], list[bytes], list[sql.Row], list[Stored]]:
    """Of keys that have expired: refs to drop, keys to forget, what to remember in their place, and
    up to `limit` bundles that have expired.  What is remembered has no checksum; the rows have."""
    gone: list[int] = []
    keys: list[bytes] = []
    mended: list[sql.Row] = []
    expired: list[Stored] = []
    for key, ref in seen:
        if ref in rows:
            if len(expired) == limit:
                break
            row = BundleRow(*rows[ref])
            intact = row.intact()
            if intact and (row.key != key or row.expires_ms > now_ms):
                mended.append((row.key, row.expires_ms, ref))
            else:
                gone.append(ref)
                if intact:
                    expired.append(row.stored())
        keys.append(key)
    return gone, keys, mended, expired
