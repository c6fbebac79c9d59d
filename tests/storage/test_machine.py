"""Every store against the machine for stores, through closing, crashes and torn tails; and stores
with planted faults."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from interop.machines import MachineFault
from interop.machines.store import COMMIT_BYTES_MAX, QUOTA_BUNDLES, QUOTA_BYTES, StoreMachine
from stack.ports.store import Op
from stack.storage import MemoryStore, SqliteStore, StagingStore, StoreConfig
from tests.storage import faulty
from tests.storage.conftest import scratch


class Memory:
    """The store in memory."""

    def __init__(self, quota_bytes: int, quota_bundles: int) -> None:
        self.store = MemoryStore(quota_bytes, quota_bundles, keys_max=10_000)

    def reopen(self) -> None:
        raise NotImplementedError

    def crash(self) -> None:
        raise NotImplementedError

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.store.close()


class OnDisk:
    """The durable store, in a folder of its own."""

    def __init__(self, config: StoreConfig) -> None:
        self._base = scratch()
        self._generation = 0
        self._config = config
        self._open()

    @property
    def path(self) -> Path:
        return self._base / str(self._generation)

    def _open(self) -> None:
        self.store = SqliteStore(self.path, self._config)

    def _kill(self) -> None:
        """Go on with the files as they are now, as if the process had been killed."""
        old = self.path
        self._generation += 1
        # The index of the write-ahead log is rebuilt from it by whoever opens it first.
        shutil.copytree(old, self.path, ignore=shutil.ignore_patterns("*-shm"))

    def reopen(self) -> None:
        self.store.close()
        self._open()

    def crash(self) -> None:
        self._kill()
        self.reopen()

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        staged = self.store.stage(ops, now_ms)
        self._kill()
        staged.finish()
        self.reopen()

    def crash_with(self, tail: bytes) -> None:
        """Killed while the payload log was being written, in an old file and in a new one."""
        self._kill()
        logs = sorted(self.path.glob("payload-*.log"))
        for log in logs[-1:]:
            with log.open("ab") as file:
                file.write(tail)
        (self.path / "payload-0000999999.log").write_bytes(tail)
        self.reopen()

    def close(self) -> None:
        self.store.close()
        assert self.store.usage().damaged == 0
        shutil.rmtree(self._base)


class StagingMachine(StoreMachine):
    """Our stores can do a commit in two halves."""

    @rule(data=st.data())
    def stage(self, data: st.DataObject) -> None:
        """The same in two halves."""
        store = self.store
        assert isinstance(store, MemoryStore | SqliteStore)
        staging: StagingStore = store
        self.do(self.draw_ops(data), lambda ops, now_ms: staging.stage(ops, now_ms).finish())


class MemoryMachine(StagingMachine):
    """The store in memory."""

    adapter = Memory
    durable = False


class SqliteMachine(StagingMachine):
    """The durable store."""

    peer: OnDisk

    @initialize(
        log_batch_bytes=st.sampled_from([0, 300, 1 << 30]),
        segment_bytes=st.sampled_from([1, 700, 1 << 20]),
        synchronous=st.sampled_from(["full", "normal"]),
    )
    def start(self, log_batch_bytes: int, segment_bytes: int, synchronous: Any) -> None:
        """Payload in the database, in the log, or in both; many log files, or one."""
        self.config = StoreConfig(
            quota_bytes=QUOTA_BYTES,
            quota_bundles=QUOTA_BUNDLES,
            keys_max=10_000,
            log_batch_bytes=log_batch_bytes,
            segment_bytes=segment_bytes,
            synchronous=synchronous,
        )
        self.peer = OnDisk(self.config)

    @rule(tail=st.binary(min_size=1, max_size=600))
    def crash_with_torn_tail(self, tail: bytes) -> None:
        """Killed while the payload log was being written."""
        self.peer.crash_with(tail)

    @invariant()
    def no_dead_files(self) -> None:
        """Once everything is tidy, sealed files are within twice what is alive, and one."""
        while self.peer.store.untidy:
            assert self.peer.store.tidy()
        files = sorted(self.peer.path.glob("payload-*.log"))
        sealed = sum(file.stat().st_size for file in files[:-1])
        assert sealed <= 2 * self.model.octets() + max(self.config.segment_bytes, COMMIT_BYTES_MAX)


TestMemoryStore = pytest.mark.slow(MemoryMachine.TestCase)
TestMemoryStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSqliteStore = pytest.mark.slow(SqliteMachine.TestCase)
TestSqliteStore.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@pytest.mark.slow
@pytest.mark.parametrize("fault", faulty.FAULTS, ids=lambda fault: fault.__name__)
def test_each_planted_fault_is_found(fault: type[faulty.Durable]) -> None:
    """Each breaks another promise of the port; which one is named."""

    class Broken(StoreMachine):
        adapter = fault

    quick = settings(
        max_examples=1000,
        stateful_step_count=20,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(MachineFault) as found:
        run_state_machine_as_test(Broken, settings=quick)
    assert found.value.violation.clause in fault.breaks


def test_a_store_without_faults_has_none() -> None:
    class Right(StoreMachine):
        adapter = faulty.Durable

    run_state_machine_as_test(Right, settings=settings(max_examples=40, stateful_step_count=20))
