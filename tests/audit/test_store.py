"""An event and its effect are one transaction: at kill -9, on a full disk, when it fails."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stack.audit.event import Act, AuditEvent, decode_event, encode_event
from stack.core.errors import LocalError, StoreError
from stack.ports.store import Op, PruneEvents, RecordEvent, Release
from stack.storage import SqliteStore, StoreConfig, sql
from stack.storage.event_rows import event_check
from stack.storage.memory import MemoryStore
from stack.storage.migrations import MIGRATIONS, migrate
from stack.wire import cbor
from tests.audit.killed import story
from tests.audit.stories import NODE, Told, check, entries
from tests.storage.bundles import LIFETIME_MS, NOW_MS, put

GONE = int(Act.FORWARDED | Act.DELETED)


@pytest.mark.slow
def test_no_effect_without_its_event_and_none_without_its_effect_at_kill_9(tmp_path: Path) -> None:
    first, said = 0, 0
    for _ in range(3):
        command = [sys.executable, "-m", "tests.audit.killed", str(tmp_path / "store"), str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(40)]
            os.kill(process.pid, signal.SIGKILL)
            lines += process.stdout.readlines()
        told = [line.split() for line in lines[1:] if line.endswith("\n")]
        store = SqliteStore(tmp_path / "store")
        events = check(store)
        assert len(events) >= int(told[-1][1]) > said  # what was told is there
        acts = {event.acts for event in events}
        assert {int(Act.EXPIRED), int(Act.DELETED), int(Act.FORWARDED | Act.DELETED)} <= acts
        store.close()
        first, said = int(told[-1][0]) + 100, len(events)


class Crashes(RuleBasedStateMachine):
    """Both stores, through commits that hold, fail or are cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.now_ms = NOW_MS

    @initialize(durable=st.booleans())
    def begin(self, durable: bool) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory() if durable else None
        self.memory = MemoryStore(3000, 20)
        self.open()

    def open(self) -> None:
        config = StoreConfig(quota_bytes=3000, quota_bundles=20, log_batch_bytes=1000)
        self.store: Any = self.memory
        if self.folder is not None:
            self.store = SqliteStore(Path(self.folder.name) / "store", config)
        self.store.ledger = Told()

    def ops(self, count: int, release: int) -> list[Op]:
        held = list(self.store.scan())[:release]
        ops: list[Op] = [
            Release(one.ref, event=Told().left(one, Act.FORWARDED | Act.DELETED, ""))
            for one in held
        ]
        for _ in range(count):
            one = put(self.number, 200, priority=self.number % 3)
            event = story(self.number, Act.RECEIVED, Act.STORED)
            ops.append(one._replace(event=event, expires_ms=self.now_ms + 100))
            self.number += 1
        return ops

    @rule(count=st.integers(0, 8), release=st.integers(0, 8), again=st.booleans())
    def commit(self, count: int, release: int, again: bool) -> None:
        ops = self.ops(count, release)
        self.store.commit(ops, self.now_ms)
        if again:  # duplicates, and releases of what has gone, are told by nobody
            before = self.store.events_end
            self.store.commit([op for op in ops if isinstance(op, Release)], self.now_ms)
            assert self.store.events_end == before

    @rule(count=st.integers(1, 8), release=st.integers(0, 8))
    def fail(self, count: int, release: int) -> None:
        before = entries(self.store)
        with pytest.raises((LocalError, StoreError)):
            self.store.commit([*self.ops(count, release), "not an operation"], self.now_ms)
        assert entries(self.store) == before

    @rule(later_ms=st.integers(0, 120), limit=st.integers(1, 20))
    def expire(self, later_ms: int, limit: int) -> None:
        self.now_ms += later_ms
        self.store.expire(self.now_ms, limit)

    @rule()
    def note(self) -> None:
        self.store.commit([RecordEvent(story(self.number, Act.REFUSED))], self.now_ms)
        (last,) = self.store.events(self.store.events_end - 1, 9)
        assert entries(self.store)[-1].time_ms == self.now_ms
        assert last[0] == self.store.events_end - 1

    @rule(count=st.integers(1, 8))
    def crash(self, count: int) -> None:
        """What was staged and not finished never was."""
        if self.folder is None:
            return
        before = entries(self.store)
        staged = self.store.stage(self.ops(count, 3), self.now_ms)
        del staged
        self.store._db.execute("ROLLBACK")
        self.store._writing.release()
        self.store._log.abandon()
        self.store.close()
        self.open()
        assert entries(self.store) == before

    @invariant()
    def says_what_is_so(self) -> None:
        if hasattr(self, "store"):
            check(self.store)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            if self.folder is not None:
                self.folder.cleanup()


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


@pytest.mark.parametrize("durable", [True, False])
def test_what_came_in_another_is_told_with_it_and_only_if_it_is_stored(
    tmp_path: Path, durable: bool
) -> None:
    store: Any = SqliteStore(tmp_path / "store") if durable else MemoryStore(10_000)
    said, outer, inner = story(1, Act.STORED), story(7, Act.DELETED), story(8, Act.RECEIVED)
    told: list[int] = []
    for number, event in enumerate((said, None)):
        one = put(number, 200)._replace(event=event, also=(outer, inner))
        told += [int(Act.STORED)] * (event is not None) + [int(Act.DELETED), int(Act.RECEIVED)]
        for _ in range(2):  # the second is a duplicate
            store.commit([one], NOW_MS)
            assert [each.acts for each in entries(store)] == told
    store.close()


@pytest.mark.parametrize("durable", [True, False])
def test_what_had_gone_is_not_told_beside_what_goes(tmp_path: Path, durable: bool) -> None:
    store: Any = SqliteStore(tmp_path / "store") if durable else MemoryStore(10_000)
    first, second = store.commit([put(1, 200), put(2, 200)], NOW_MS).refs
    store.commit([Release(first)], NOW_MS)
    store.commit([Release(ref, event=story(ref, Act.DELETED)) for ref in (first, second)], NOW_MS)
    assert [each.object for each in entries(store)] == [f"dtn://sat1/files@{NOW_MS}.{second}"]
    store.close()


def test_of_what_made_room_nothing_is_told_that_damage_may_have_made_up(tmp_path: Path) -> None:
    config = StoreConfig(quota_bytes=1000)
    store = SqliteStore(tmp_path / "store", config)
    store.commit([put(n, 400, priority=0) for n in (1, 2)], NOW_MS)
    store.close()
    with sqlite3.connect(tmp_path / "store" / "store.db") as db:
        db.execute("UPDATE bundle SET source = 'dtn://other/app' WHERE ref = 1")
    db.close()
    store = SqliteStore(tmp_path / "store", config)
    store.ledger = Told()
    assert store.commit([put(3, 900, priority=1)], NOW_MS).evicted == [1, 2]
    assert [each.object for each in entries(store)] == [f"dtn://sat1/files@{NOW_MS}.2"]
    store.close()


@pytest.mark.parametrize("durable", [True, False])
def test_pruning_leaves_the_numbers_as_they_are(tmp_path: Path, durable: bool) -> None:
    store: Any = SqliteStore(tmp_path / "store") if durable else MemoryStore(10_000)
    store.commit([RecordEvent(story(n, Act.REFUSED)) for n in range(10)], NOW_MS)
    store.commit([PruneEvents(4), RecordEvent(story(10, Act.REFUSED))], NOW_MS)
    assert [number for number, _ in store.events(0, 99)] == list(range(4, 11))
    assert [number for number, _ in store.events(6, 2)] == [6, 7]
    store.commit([RecordEvent(story(n, Act.REFUSED)) for n in (11, 12)], NOW_MS)
    store.commit([PruneEvents(99)], NOW_MS)
    assert [number for number, _ in store.events(0, 99)] == [12]
    if durable:
        store.close()
        store = SqliteStore(tmp_path / "store")
    store.commit([RecordEvent(story(13, Act.REFUSED))], NOW_MS)
    assert [number for number, _ in store.events(0, 99)] == [12, 13]
    store.close()


def test_a_store_from_before_is_migrated(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = SqliteStore(folder)
    store.commit([put(1)], NOW_MS)
    store.close()
    db = sqlite3.connect(folder / "store.db", isolation_level=None)
    db.execute("DROP TABLE audit")
    version = next(n for n, step in enumerate(MIGRATIONS) if "TABLE audit" in "".join(step))
    db.execute(f"PRAGMA user_version = {version}")
    assert migrate(db, folder) == version
    db.close()
    store = SqliteStore(folder)
    store.ledger = Told()
    assert [one.place for one in store.scan()] == [0]
    store.expire(NOW_MS + LIFETIME_MS + 1, 10)
    assert [event.names for event in entries(store)] == [["expired"]]
    store.close()


def test_a_version_whose_sign_was_damaged_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    migrate(db, tmp_path)
    db.execute("PRAGMA user_version = -2147483645")
    with pytest.raises(StoreError, match="schema version -2147483645"):
        migrate(db, tmp_path)
    db.close()


def test_events_survive_the_rescue_of_a_damaged_database(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = SqliteStore(folder)
    store.commit([put(1), *(RecordEvent(story(n, Act.REFUSED)) for n in range(200))], NOW_MS)
    before = store.events(0, 999)
    store.close()
    path = folder / "store.db"
    octets = bytearray(path.read_bytes())
    octets[100] ^= 0xFF  # the kind of the schema's page
    path.write_bytes(bytes(octets))
    store = SqliteStore(folder)
    assert store.usage().rescues == 1
    assert store.events(0, 999) == before
    store.close()


def test_a_damaged_row_is_left_out(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store")
    for first in (0, 2, 4):
        store.commit([RecordEvent(story(n, Act.REFUSED)) for n in (first, first + 1)], NOW_MS)
    store._db.execute("UPDATE audit SET event = x'9f00ff' WHERE number = 3")
    assert [number for number, _ in store.events(0, 9)] == [0, 1, 4, 5]
    store.close()


NO_ROWS = ["9f01ff", "9f5affffffffff", "9f4201ff", "9f410100", "9f"]
NO_ALIKE = ["9f80ff", "9f814101ff", "9f83414161ff", "9f834141410141ff", "9f8341410161ff", "9f8341"]
NO_OBJECTS = ["9f8341414178ff", "9f8341414178ffff", "9f8341414161616201ff", "9f8341414161"]
NO_EVENTS = ["9f8241414141ff", "9f83414141410161ff", "9f834141414101ff"]


@pytest.mark.parametrize("octets", [*NO_ROWS, *NO_ALIKE, *NO_OBJECTS, *NO_EVENTS])
def test_a_row_that_is_no_array_is_left_out_in_spite_of_its_checksum(
    tmp_path: Path, octets: str
) -> None:
    store = SqliteStore(tmp_path / "store")
    for first in (0, 2, 4):
        store.commit([RecordEvent(story(n, Act.REFUSED)) for n in (first, first + 1)], NOW_MS)
    event = bytes.fromhex(octets)
    store._db.execute(sql.UPDATE_EVENT, (event_check(3, event), event, 3))
    assert [number for number, _ in store.events(0, 9)] == [0, 1, 4, 5]
    store.commit([PruneEvents(3)], NOW_MS)
    assert [number for number, _ in store.events(0, 9)] == [4, 5]
    store.commit([PruneEvents(5)], NOW_MS)
    assert [number for number, _ in store.events(0, 9)] == [5]
    store.close()


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 1), (256, 1), (257, 2)])
def test_events_of_a_transaction_share_rows(tmp_path: Path, count: int, rows: int) -> None:
    alone = SqliteStore(tmp_path / "alone")
    for n in range(count):
        alone.commit([RecordEvent(story(n, Act.REFUSED))], NOW_MS)
    store = SqliteStore(tmp_path / "store")
    store.commit([RecordEvent(story(n, Act.REFUSED)) for n in range(count)], NOW_MS)
    assert store._db.execute("SELECT count(*) FROM audit").fetchone() == (rows,)
    expected = alone.events(0, 999)
    assert [number for number, _ in expected] == list(range(count))
    for first, limit in ((0, 999), (0, 1), (count - 1, 3), (count // 2, 2), (count, 5)):
        assert store.events(first, limit) == expected[first : first + limit]
    store.close()
    store = SqliteStore(tmp_path / "store")
    assert store.events_end == count
    store.commit([PruneEvents(count // 2)], NOW_MS)
    assert store.events(0, 999) == expected[count // 2 :]
    store.close()
    alone.close()


def test_events_of_all_kinds_share_a_row_and_are_as_they_are_alone(tmp_path: Path) -> None:
    mixed = [
        AuditEvent(Act.REFUSED, NOW_MS, NODE, "x" * length, peer="dtn://b/" if n % 4 else "")
        for n, length in enumerate((0, 23, 24, 255, 256, 2048, 1, 1, 1))
    ]
    store = SqliteStore(tmp_path / "store")
    store.commit([RecordEvent(each.happened) for each in mixed], NOW_MS)
    assert store._db.execute("SELECT count(*) FROM audit").fetchone() == (1,)
    events = [encode_event(each) for each in mixed]
    assert store.events(0, 99) == list(enumerate(events))
    for before in range(1, len(mixed)):
        store.commit([PruneEvents(before)], NOW_MS)
        assert store.events(0, 99) == list(enumerate(events))[before:]
    store.close()


@pytest.mark.parametrize(
    "names",
    [
        *(["x" * length] * 3 for length in (1, 23, 24, 127, 128, 255, 256)),
        ["x" * 24, "y" * 24, "z" * 25],
        ["x" * 24, "x" * 50, "x" * 24],
        ["x" * 30, "\xe9" * 30],
        ["\xe9" * 30, "x" * 60, "\u20ac" * 20],
        ["\xe9" * 30, "\xe8" * 30],
    ],
)
def test_names_of_one_length_are_read_as_those_of_many(tmp_path: Path, names: list[str]) -> None:
    told = [AuditEvent(Act.REFUSED, NOW_MS, NODE, name) for name in names]
    store = SqliteStore(tmp_path / "store")
    store.commit([RecordEvent(each.happened) for each in told], NOW_MS)
    events = [encode_event(each) for each in told]
    assert store.events(0, 99) == list(enumerate(events))
    assert [decode_event(event).object for event in events] == names
    store.close()


def test_rows_of_older_stores_are_read(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store")
    store.commit([RecordEvent(story(n, Act.REFUSED)) for n in range(4)], NOW_MS)
    events = [event for _, event in store.events(0, 9)]
    several = cbor.ARRAY_OPEN + b"".join(map(cbor.bstr, events[1:])) + cbor.BREAK
    store._db.execute("DELETE FROM audit")
    for last, octets in ((0, events[0]), (3, several)):
        store._db.execute(sql.RENEW_EVENT, (last, event_check(last, octets), octets))
    assert store.events(0, 9) == list(enumerate(events))
    store.commit([PruneEvents(2)], NOW_MS)
    assert store.events(0, 9) == list(enumerate(events))[2:]
    store.close()


def test_a_program_that_takes_a_row_for_one_event_refuses_the_store(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "store").close()
    db = sqlite3.connect(tmp_path / "store" / "store.db", isolation_level=None)
    with pytest.raises(StoreError, match="knows up to 3"):
        migrate(db, tmp_path, MIGRATIONS[:3])
    db.close()
