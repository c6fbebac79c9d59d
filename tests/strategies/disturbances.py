"""Disturbances for Hypothesis, as a file says them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Plain = dict[str, Any]

PLACE = {"latitude_deg": 47.0, "longitude_deg": 8.0}

LOSSES: dict[str, Plain] = {
    "random": {"loss": 0.1},
    "bit-errors": {"bit_error_rate": 1e-5, "overhead_bytes": 28},
    "gilbert-elliott": {"good_s": 0.02, "bad_s": 0.01, "good_loss": 0.01, "bad_loss": 0.7},
    "bursts": {"loss": 0.1, "burst_packets": 5, "packets_per_s": 1000},
    "netem-gemodel": {"p": 0.05, "r": 0.3, "one_minus_h": 0.6, "packets_per_s": 1000},
    "netem-state": {"p13": 0.05, "p31": 0.3, "p32": 0.2, "p23": 0.5, "p14": 0.02},
    "blackouts": {"spans_s": [[0.01, 0.02], [0.1, 0.15]]},
    "outage": {"mtbf_s": 0.05, "mttr_s": 0.02},
    "flapping": {"period_s": 0.05, "down_s": 0.01},
    "limit": {"bytes_max": 200_000},
    "clouds": {"cloud_fraction": 0.5, **PLACE},
    "rain-front": {
        "start_latitude_deg": 47.0,
        "start_longitude_deg": 8.0,
        "heading_deg": 90.0,
        "speed_m_s": 100_000.0,
        "peak_db": 10.0,
        **PLACE,
    },
    "scintillation": {"rytov_variance": 1.0, "margin_db": 2.0},
    "jamming": {"from_s": 0.05, "until_s": 0.1, "loss": 0.5},
}
"""One of each kind that only loses, with times that suit a run of a fifth of a second."""

OTHERS: dict[str, Plain] = {
    "slots": {"period_s": 0.05, "phase_s": 0.01, "change_ms": 5.0, "loss": 0.1},
    "time-slots": {"period_ms": 7.0},
    "jitter": {"mean_ms": 1.0, "spread_ms": 1.0, "shape": "paretonormal", "correlation": 0.5},
    "reorder": {"share": 0.3, "gap": 3, "correlation": 0.3},
    "duplicate": {"share": 0.2, "later_ms": 2.0, "correlation": 0.2},
    "corrupt": {"share": 0.2},
}
"""One of each kind that does something else, too."""

ALL = LOSSES | OTHERS


def disturbance(kind: str) -> Plain:
    """An example of a kind."""
    return {"kind": kind, **ALL[kind]}


@st.composite
def disturbances(
    draw: st.DrawFn, kinds: tuple[str, ...] = tuple(ALL), size_max: int = 4
) -> list[Plain]:
    """Some of them together, some of them only for a while."""
    found = [
        disturbance(kind)
        for kind in draw(st.lists(st.sampled_from(kinds), max_size=size_max, unique=True))
    ]
    for one in found:
        if "from_s" not in one and draw(st.booleans()):
            one["from_s"] = 0.03
            one["until_s"] = 0.12
    return found
