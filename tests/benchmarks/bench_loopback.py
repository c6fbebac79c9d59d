"""Simulated seconds per second of wall time: the scenario of `make demo`, whole.

python -m tests.benchmarks.bench_loopback
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from stack.simulator import load_scenario, run_scenario

SCENARIO = Path(__file__).parents[2] / "examples" / "sso_day" / "scenario.toml"


def main() -> int:
    """Print the table."""
    scenario = load_scenario(SCENARIO)
    cpu = time.process_time()
    started = time.perf_counter()
    result = run_scenario(scenario)
    wall_s = time.perf_counter() - started
    cpu_s = time.process_time() - cpu
    simulated_s = result.ended_s
    print("scenario                   simulated     wall      CPU  simulated s per wall s")
    print(
        f"{SCENARIO.parent.name:<24} {simulated_s:>9,.0f} s {wall_s:>6.1f} s {cpu_s:>6.1f} s "
        f"{simulated_s / wall_s:>23,.0f}"
    )
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
