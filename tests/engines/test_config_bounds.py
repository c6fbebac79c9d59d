"""What can be configured, up to its very bounds, and what is said beyond them."""

from __future__ import annotations

from typing import Any

import pytest

from stack.core.clock import MILLISECOND, SECOND
from stack.core.errors import ConfigError
from stack.core.limits import BUNDLE_BYTES_MAX, DATAGRAM_BYTES_MAX
from stack.engines.bundle_agent import AgentConfig
from stack.engines.ltp import LtpConfig
from stack.routing.config import RouterConfig, consumption
from stack.wire.sdnv import SDNV_MAX

DAY_NS = 86_400 * SECOND
MANY = (1, 10**12)
TIMES = (1, 3660 * DAY_NS)
RELATED = {
    "train_bytes": "segment_bytes is above train_bytes",
    "block_bytes": "block_bytes is above block_bytes_max",
    "window_bytes": "window_bytes is below 4 segment_bytes",
}
"""What else bounds a key than numbers, and what is said of it."""

LTP_BOUNDS: dict[str, tuple[int, int]] = {
    "local_engine_id": (0, SDNV_MAX),
    "remote_engine_id": (0, SDNV_MAX),
    "segment_bytes": (128, DATAGRAM_BYTES_MAX),
    "train_bytes": (1400, 1 << 24),
    "block_bytes": (1, BUNDLE_BYTES_MAX + 65_536),
    "block_bytes_max": (1, 1 << 34),
    "window_bytes": (4 * 1400, 10**12),
    "export_sessions_max": MANY,
    "import_sessions_max": MANY,
    "queue_bytes": MANY,
    "stall_after": MANY,
    "checkpoint_limit": (1, 1 << 20),
    "report_limit": (1, 1 << 20),
    "cancel_limit": (1, 1 << 20),
    "claims_max": (1, 1 << 20),
    "gaps_max": (1, 10**9),
    "reports_max": (1, 10**9),
    "closed_max": (1, 10**9),
    "acks_max": (1, 10**9),
    "violations_max": (1, 10**9),
    "aggregation_ns": (0, DAY_NS),
    "burst_ns": (0, DAY_NS),
    "queue_ns": (MILLISECOND, DAY_NS),
    "report_delay_ns": (0, DAY_NS),
    "async_report_ns": (0, DAY_NS),
    "timer_margin_ns": TIMES,
    "backoff_ns_max": TIMES,
    "session_lifetime_ns": TIMES,
    "green_idle_ns": TIMES,
    "checkpoint_every": (0, 10**12),
    "overhead_bytes": (0, 10**12),
    "import_bytes_max": (0, 10**12),
    "window_bytes_max": (0, 10**12),
    "green_bytes_max": (0, 10**12),
}


def ltp(**changed: Any) -> LtpConfig:
    """A configuration in which one thing is as said, and nothing else in its way."""
    if "segment_bytes" in changed:
        changed = {"train_bytes": 1 << 20, **changed}
    if "block_bytes_max" in changed:
        changed = {"block_bytes": 1, **changed}
    return LtpConfig(**{"local_engine_id": 1, "remote_engine_id": 2, **changed})


@pytest.mark.parametrize("key", LTP_BOUNDS)
def test_what_ltp_can_be_told(key: str) -> None:
    low, high = LTP_BOUNDS[key]
    for good in (low, high):
        assert getattr(ltp(**{key: good}), key) == good
    for bad in (low - 1, high + 1):
        with pytest.raises(ConfigError) as caught:
            ltp(**{key: bad})
        assert key in caught.value.key.split(", ")
        said = caught.value.message
        if key in RELATED:
            assert said == RELATED[key] or said.startswith(f"{bad} is not within")
        else:
            assert said == f"{bad} is not within {low:,} to {high:,}".replace(",", " ")


AGENT: list[tuple[str, list[Any], list[Any], str, str]] = [
    ("hop_limit", [1, 255], [0, 256], "{} is not within 1 to 255", ""),
    ("priority_block", [192, 255], [191, 256], "{} is not within 192 to 255", ""),
    ("crc_type", [0, 1, 2], [-1, 3], "{} is not within 0 to 2", ""),
    ("fragment_bytes", [0, 256], [1, 255], "{} is too small", "use 0 for never, or at least 256"),
    ("creation_ahead_ms_max", [0, 1], [-1], "{} is not within 0 to 1 000 000 000 000", ""),
    ("replay_memory_ms", [0, 1], [-1], "{} is not within 0 to 1 000 000 000 000", ""),
    ("status_reports_per_s", [0.01, 1], [0, -1], "{} is not within 0.001 to 1 000 000", ""),
]
ROUTER: list[tuple[str, list[Any], list[Any], str, str]] = [
    ("tolerance_ms", [0, 1], [-1], "{} is not within 0 to 86 400 000", ""),
    ("tolerance_ratio", [0, 0.5], [-0.1, float("nan")], "{} is not within 0 to 100", ""),
    ("margin_ms", [0, 1], [-1], "{} is not within 0 to 86 400 000", ""),
    ("overhead_ratio", [0, 0.5], [-0.1, float("nan")], "{} is not within 0 to 100", ""),
    ("confidence_min", [0, 1], [-0.1, 1.1, float("nan")], "{} is not within 0 to 1", ""),
    ("confidence_wanted", [0, 1], [-0.1, 1.1, float("nan")], "{} is not within 0 to 1", ""),
    ("searches_max", [1, 2], [0, -1], "{} is not within 1 to 1 000 000 000", ""),
]


@pytest.mark.parametrize(
    ("make", "key", "good", "bad", "words", "remedy"),
    [(AgentConfig, *row) for row in AGENT] + [(RouterConfig, *row) for row in ROUTER],
)
def test_what_an_agent_and_a_router_can_be_told(
    make: type[Any], key: str, good: list[Any], bad: list[Any], words: str, remedy: str
) -> None:
    for one in good:
        assert getattr(make(**{key: one}), key) == one
    for one in bad:
        with pytest.raises(ConfigError) as caught:
            make(**{key: one})
        told = caught.value.key, caught.value.message, caught.value.remedy
        assert told == (key, words.format(one), remedy)


def test_the_overhead_of_a_bundle() -> None:
    assert RouterConfig(overhead_bytes=0).overhead_bytes == 0
    with pytest.raises(ConfigError):
        RouterConfig(overhead_bytes=-1)
    config = RouterConfig(overhead_bytes=100, overhead_ratio=0.03)
    # SABR §2.4.3: 3 % or 100 octets, whichever is more
    assert [consumption(config, size) for size in (0, 1000, 3333, 3334, 10_000)] == [
        100,
        1100,
        3433,
        3435,
        10_300,
    ]
