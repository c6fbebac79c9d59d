"""The soak runs what it says: an option that is gone would show as a finding at each step."""

from __future__ import annotations

from functools import partial

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
