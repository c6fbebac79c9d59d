"""A rule-based machine over two engines: faults first, then none, and everything has arrived."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stack.core.clock import MILLISECOND, SECOND
from tests.engines.ltp.pair import Faults, Pair

FAULTS = st.builds(
    Faults,
    loss=st.sampled_from([0, 0, 0.02, 0.3, 1.0]),
    duplicate=st.sampled_from([0, 0.3]),
    reorder=st.sampled_from([0, 0.3]),
    truncate=st.sampled_from([0, 0.1]),
    junk=st.sampled_from([0, 0.2]),
)

BOUNDS = {
    "block_bytes": 4000,
    "export_sessions_max": 6,
    "import_sessions_max": 8,
    "import_bytes_max": 400_000,
    "queue_bytes": 60_000,
    "window_bytes": 20_000,
    "gaps_max": 50,
    "closed_max": 20,
    "acks_max": 30,
    "green_idle_ns": SECOND,
}


class TwoEngines(RuleBasedStateMachine):
    """Whatever happens, nothing wrong is delivered; when it stops, everything is."""

    pair: Pair

    @initialize(
        seed=st.integers(0, 1 << 16),
        segment_bytes=st.sampled_from([200, 1400]),
        commit_ms=st.sampled_from([0, 15]),
        report_delay_ms=st.sampled_from([0, 5]),
        async_ms=st.sampled_from([0, 5]),
        checkpoint_every=st.sampled_from([0, 3, 1000]),
        claims_max=st.sampled_from([1, 2, 100]),
    )
    def start(
        self,
        seed: int,
        segment_bytes: int,
        commit_ms: int,
        report_delay_ms: int,
        async_ms: int,
        checkpoint_every: int,
        claims_max: int,
    ) -> None:
        self.pair = Pair(
            seed=seed,
            segment_bytes=segment_bytes,
            commit_ns=commit_ms * MILLISECOND,
            report_delay_ns=report_delay_ms * MILLISECOND,
            async_report_ns=async_ms * MILLISECOND,
            checkpoint_every=checkpoint_every,
            claims_max=claims_max,
            **BOUNDS,
        )

    @rule(sizes=st.lists(st.integers(12, 12_000), min_size=1, max_size=6), back=st.booleans())
    def submit(self, sizes: list[int], back: bool) -> None:
        for size in sizes:
            self.pair.submit(self.pair.b if back else self.pair.a, size)

    @rule(milliseconds=st.sampled_from([1, 15, 60, 400, 20_000]))
    def run(self, milliseconds: int) -> None:
        self.pair.run(milliseconds * MILLISECOND)

    @rule(faults=FAULTS)
    def change_faults(self, faults: Faults) -> None:
        self.pair.faults = faults

    @rule(rate_bps=st.sampled_from([None, 1e5, 1e7]))
    def change_rate(self, rate_bps: float | None) -> None:
        self.pair.rate_bps = rate_bps
        self.pair.cue()

    @rule(up=st.booleans())
    def contact(self, up: bool) -> None:
        self.pair.set_link(up)

    @rule(back=st.booleans())
    def restart(self, back: bool) -> None:
        self.pair.restart(self.pair.b if back else self.pair.a)

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "pair"):
            return
        for side in (self.pair.a, self.pair.b):
            sender, receiver = side.engine._sender, side.engine._receiver
            assert len(sender._table.sessions) <= BOUNDS["export_sessions_max"]
            assert sender._table.held <= BOUNDS["queue_bytes"] + 12_000
            assert 0 <= sender._table.in_flight <= sender._table.held * 2
            assert len(receiver.table) <= BOUNDS["import_sessions_max"]
            assert len(receiver.table._closed) <= BOUNDS["closed_max"]
            assert receiver.table.allocated == sum(
                session.red.allocated for session in receiver.table
            )
            assert receiver.table.allocated <= BOUNDS["import_bytes_max"] * 4 + 65_536

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        pair.faults = Faults()
        pair.rate_bps = 1e7
        pair.set_link(True)
        pair.run_until_idle(3600 * SECOND)
        assert pair.b.stored == pair.a.outgoing
        assert pair.a.stored == pair.b.outgoing
        # All state ends: the notes are deleted, the sessions gone, no timer runs for ever.
        pair.run(4 * 86_400 * SECOND)
        for side in (pair.a, pair.b):
            assert not side.notes
            assert not side.engine._sender._table.sessions
            assert not len(side.engine._receiver.table)
            assert side.engine.room(pair.now) == BOUNDS["queue_bytes"]
            assert side.engine.next_deadline() is None


TestTwoEngines = TwoEngines.TestCase
TestTwoEngines.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
