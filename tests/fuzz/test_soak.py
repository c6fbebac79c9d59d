"""The soak runs what it says: an option that is gone would show as a finding at each step."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.cli.test_main import parsed
from tests.fuzz import soak

SWARMS = [
    step.args[0]
    for _, _, _, step in soak.STEPS
    if isinstance(step, partial) and step.func is soak.swarm
]


@pytest.mark.parametrize("extra", SWARMS, ids=" ".join)
def test_swarms_of_the_soak_are_real_commands(extra: list[str]) -> None:
    line = f"orbitferry swarm 1 {' '.join(extra)} --seed 1 --jobs 1 --json"
    assert parsed(line) == ("swarm",)


def test_totals_of_several_runs_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "totals.json"
    first, second = (
        soak.Kind("mutated inputs", "inputs", count, 1.5, parts=Counter(eid=count))
        for count in (3, 4)
    )
    soak.add_totals(path, [first])
    (total,) = soak.add_totals(path, [second])
    assert (total.count, total.seconds, total.parts) == (7, 3.0, {"eid": 7})
    soak.add_totals(path, [soak.Kind("engines alone", "seeds", 5, 1.0)])
    (total,) = soak.add_totals(path, [soak.Kind("mutated inputs", "inputs")])
    assert total.count == 7
