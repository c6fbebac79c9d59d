"""What many runs have shown together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from stack.simulator.swarm.day import RunOutcome
from stack.simulator.swarm.tasks import ScenarioOutcome

PERCENTILES: Final = (50, 90, 99, 100)


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of runs, in the order of their seeds."""

    runs: int
    failed: tuple[RunOutcome, ...]
    faults: dict[str, int]
    """Injected, by kind."""

    checks: dict[str, int]
    """How often each invariant was looked at."""

    totals: dict[str, int]
    """Datagrams, bundles stored, things delivered, events of nodes."""

    slowest_seed: int
    slowest_s: float
    cpu_s: float
    simulated_s: float
    converged_s: dict[int, float]
    """Percentiles of the virtual time from the end of the faults to the last arrival."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "runs": self.runs,
            "ok": not self.failed,
            "failed": [
                {
                    "seed": outcome.seed,
                    "problems": [
                        {"invariant": one.invariant, "at_s": one.at_s, "text": one.text}
                        for one in outcome.problems
                    ],
                }
                for outcome in self.failed
            ],
            "faults": self.faults,
            "checks": self.checks,
            **self.totals,
            "slowest": {"seed": self.slowest_seed, "cpu_s": round(self.slowest_s, 3)},
            "cpu_s": round(self.cpu_s, 3),
            "simulated_s": round(self.simulated_s, 3),
            "converged_s": {f"p{key}": value for key, value in self.converged_s.items()},
        }


def summarise(outcomes: Sequence[RunOutcome]) -> Summary:
    """The summary of at least one run."""
    faults: Counter[str] = Counter()
    checks: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for one in outcomes:
        faults.update(one.faults)
        checks.update(one.checks)
        for key in ("datagrams", "bundles", "delivered", "events"):
            totals[key] += getattr(one, key)
    slowest = max(outcomes, key=lambda one: one.cpu_s)
    return Summary(
        len(outcomes),
        tuple(one for one in outcomes if not one.ok),
        dict(sorted(faults.items())),
        dict(sorted(checks.items())),
        dict(sorted(totals.items())),
        slowest.seed,
        slowest.cpu_s,
        sum(one.cpu_s for one in outcomes),
        sum(one.simulated_s for one in outcomes),
        percentiles(one.converged_s for one in outcomes if one.converged_s is not None),
    )


@dataclass(frozen=True, slots=True)
class ScenarioSummary:
    """Totals of the runs of a scenario."""

    runs: int
    failed: tuple[ScenarioOutcome, ...]
    objects: int
    arrived: int
    latencies_s: dict[str, dict[int, float]]
    """Percentiles of the time under way, by kind of object."""

    counts: dict[str, int]
    """How many of each kind arrived."""

    slowest_seed: int
    slowest_s: float
    cpu_s: float
    simulated_s: float

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "runs": self.runs,
            "ok": not self.failed,
            "failed": [{"seed": one.seed, "problems": list(one.problems)} for one in self.failed],
            "objects": self.objects,
            "arrived": self.arrived,
            "latency_s": {
                kind: {f"p{key}": value for key, value in found.items()}
                for kind, found in self.latencies_s.items()
            },
            "slowest": {"seed": self.slowest_seed, "cpu_s": round(self.slowest_s, 3)},
            "cpu_s": round(self.cpu_s, 3),
            "simulated_s": round(self.simulated_s, 3),
        }


def summarise_scenario(outcomes: Sequence[ScenarioOutcome]) -> ScenarioSummary:
    """The summary of at least one run of a scenario."""
    by_kind: dict[str, list[float]] = {}
    for one in outcomes:
        for kind, latency_s in one.latencies_s:
            by_kind.setdefault(kind, []).append(latency_s)
    slowest = max(outcomes, key=lambda one: one.cpu_s)
    return ScenarioSummary(
        len(outcomes),
        tuple(one for one in outcomes if not one.ok),
        sum(one.objects for one in outcomes),
        sum(one.arrived for one in outcomes),
        {kind: percentiles(found) for kind, found in sorted(by_kind.items())},
        {kind: len(found) for kind, found in sorted(by_kind.items())},
        slowest.seed,
        slowest.cpu_s,
        sum(one.cpu_s for one in outcomes),
        sum(one.simulated_s for one in outcomes),
    )


def percentiles(values: Iterable[float]) -> dict[int, float]:
    """`PERCENTILES` of values; nothing of none."""
    found = np.fromiter(values, np.float64)
    if not len(found):
        return {}
    return {key: round(float(np.percentile(found, key)), 3) for key in PERCENTILES}
