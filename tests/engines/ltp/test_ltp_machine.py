"""A rule-based machine over two engines: faults first, then none, and everything has arrived.

What can be said of an engine from outside, `interop.machines.LtpPeerMachine` says (`OurEngine` in
`tests/interop/machines`).  This one is for what no datagram and no block shows: that tables are
bounded, that all state of a session ends, and that sums which are kept beside them are right.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stack.core.clock import MILLISECOND, SECOND
from stack.core.train import single
from stack.wire.ltp import DataSegment, SegmentType, encode_segment
from tests.engines.ltp.inside import check_sums
from tests.engines.ltp.pair import Faults, Pair, Side

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
        self.given_up: set[int] = set()
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

    def side(self, back: bool) -> Side:
        return self.pair.b if back else self.pair.a

    @rule(
        sizes=st.lists(st.integers(12, 12_000), min_size=1, max_size=6),
        back=st.booleans(),
        green=st.sampled_from([False, False, True]),
    )
    def submit(self, sizes: list[int], back: bool, green: bool) -> None:
        side = self.side(back)
        for size in sizes:
            ref = self.pair.submit(side, size)
            if green:
                side.green.add(ref)

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
        self.pair.restart(self.side(back))

    @rule(back=st.booleans())
    def set_back(self, back: bool) -> None:
        self.pair.set_back(self.side(back))

    @rule(back=st.booleans(), every=st.sampled_from([0, 2]))
    def refuse(self, back: bool, every: int) -> None:
        self.side(back).refuse_every = every

    @rule(back=st.booleans(), pick=st.integers(0, 1000))
    def cancel(self, back: bool, pick: int) -> None:
        """The client has no use for one of its units any more."""
        side = self.side(back)
        under_way = [ref for ref in side.outgoing if ref not in side.done]
        if under_way:
            ref = under_way[pick % len(under_way)]
            side.engine.cancel([ref])
            side.done.add(ref)
            self.given_up.add(ref)
            side.waiting = [other for other in side.waiting if other != ref]

    @rule(back=st.booleans(), pick=st.integers(0, 1000))
    def miscolour(self, back: bool, pick: int) -> None:
        """Something on the way makes a green segment of what was red."""
        side = self.side(back)
        sessions = list(side.engine._receiver.table)
        if sessions:
            victim = sessions[pick % len(sessions)]
            green = DataSegment(
                session=victim.id,
                kind=SegmentType.GREEN,
                client_service=victim.client_service,
                offset=0,
                data=b"x",
            )
            side.driver.receive([single(encode_segment(green))], self.pair.now)

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "pair"):
            return
        for side in (self.pair.a, self.pair.b):
            sender, receiver = side.engine._sender, side.engine._receiver
            assert len(sender._table.sessions) <= BOUNDS["export_sessions_max"]
            assert sender._table.held <= BOUNDS["queue_bytes"] + 12_000
            assert len(receiver.table) <= BOUNDS["import_sessions_max"]
            assert len(receiver.table._closed) <= BOUNDS["closed_max"]
            assert receiver.table.allocated <= BOUNDS["import_bytes_max"] * 4 + 65_536

    @invariant()
    def the_sums_are_right(self) -> None:
        if not hasattr(self, "pair"):
            return
        for side in (self.pair.a, self.pair.b):
            check_sums(side.engine)

    def teardown(self) -> None:
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        pair.faults = Faults()
        pair.a.refuse_every = pair.b.refuse_every = 0
        pair.rate_bps = 1e7
        pair.set_link(True)
        pair.run_until_idle(3600 * SECOND)
        for side in (pair.a, pair.b):
            loose = side.green | self.given_up
            red = {ref: unit for ref, unit in side.outgoing.items() if ref not in loose}
            stored = side.peer.stored.items()
            assert {ref: unit for ref, unit in stored if ref not in self.given_up} == red
        # All state ends: the notes are deleted, the sessions gone, no timer runs for ever.
        pair.run(4 * 86_400 * SECOND)
        for side in (pair.a, pair.b):
            assert not side.notes
            assert not side.engine._sender._table.sessions
            assert not len(side.engine._receiver.table)
            assert side.engine.held_bytes == 0
            assert side.engine.next_deadline() is None


TestTwoEngines = TwoEngines.TestCase
TestTwoEngines.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
