"""What a world makes of the rates of its links, from 1 kbit/s to 10 Gbit/s."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stack.core.clock import MILLISECOND, SECOND
from stack.engines.ltp import LtpConfig
from stack.simulator.loopback.world import TRAIN_BYTES_MAX, TRAIN_BYTES_MIN, tune
from stack.simulator.scenario import DirectionConfig
from stack.simulator.scenario.links import FecSection

rates = st.floats(1e3, 1e10)


@given(rates, st.floats(1, 20), st.sampled_from([0, 20, 500, 5000]), st.booleans())
def test_queues_hold_bursts_and_engines_hold_what_is_under_way(
    slow_bps: float, ratio: float, burst_ms: int, coded: bool
) -> None:
    fast_bps = min(slow_bps * ratio, 1e10)
    direction = DirectionConfig(
        rates=((5.0, slow_bps), (30.0, fast_bps)), fec=FecSection() if coded else None
    )
    found = tune(direction, 1400, burst_ms * MILLISECOND)
    burst_bytes = fast_bps * found.burst_ns / SECOND / 8
    assert found.burst_ns >= burst_ms * MILLISECOND
    # Half of the queue is where its port asks for a rest.
    assert found.queue_bytes >= 2 * burst_bytes or fast_bps * found.burst_ns / SECOND / 8 < 32_000
    assert found.queue_ns >= found.queue_bytes * 8 * SECOND / slow_bps - 1
    round_trip_ns = 2 * (burst_ms * MILLISECOND + found.coalesce_ns)
    assert found.engine_bytes >= fast_bps * round_trip_ns / SECOND / 8
    assert TRAIN_BYTES_MIN <= found.train_bytes <= TRAIN_BYTES_MAX
    assert (found.repair_ns > 0) is coded
    LtpConfig(
        local_engine_id=1,
        remote_engine_id=2,
        burst_ns=found.burst_ns,
        train_bytes=found.train_bytes,
        queue_bytes=found.engine_bytes,
    )


def test_what_the_scenario_says_goes_first() -> None:
    direction = DirectionConfig(rates=((5.0, 1e6),), queue_bytes=12_345, coalesce_ms=2.0)
    found = tune(direction, 1400, 500 * MILLISECOND)
    assert found.queue_bytes == 12_345
    assert found.coalesce_ns == 2 * MILLISECOND
