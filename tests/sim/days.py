"""Small days, made by hand."""

from __future__ import annotations

import itertools
from typing import Any

from stack.simulator.swarm import Fault, Options
from stack.simulator.swarm.options import FileOptions, LinkOptions, MessageOptions, PassOptions

GAP_S = 1200.0
PASS_S = 120.0


def small(*faults: Fault, **changes: Any) -> Options:
    """Two stations, a satellite, four hours with a pass each ten minutes, eight messages that
    cross it and a file; the faults are over after one hour."""
    passes = []
    for number, start_s in enumerate(range(0, 14_000, 600)):
        station = f"gs{number % 2 + 1}"
        end_s = start_s + PASS_S
        passes.append(PassOptions(a=station, b="sat1", start_s=float(start_s), end_s=end_s))
    pairs = list(itertools.permutations(("gs1", "gs2", "sat1"), 2))
    messages = [
        MessageOptions(
            number=number,
            source=pairs[number % 6][0],
            destination=pairs[number % 6][1],
            at_s=100.0 + 300.0 * number,
            octets=600,
            priority=number % 3,
        )
        for number in range(8)
    ]
    values: dict[str, Any] = {
        "seed": 1,
        "day_s": 14_400.0,
        "faults_s": 3600.0,
        "nodes": ("gs1", "gs2", "sat1"),
        "links": tuple(
            LinkOptions(a=station, b="sat1", rate_bps=256e3, back_bps=1e6, owlt_ms=5.0)
            for station in ("gs1", "gs2")
        ),
        "passes": tuple(passes),
        "messages": tuple(messages),
        "files": (
            FileOptions(number=0, source="gs1", destination="gs2", at_s=50.0, octets=20_000),
        ),
        "faults": faults,
    }
    return Options(**(values | changes))
