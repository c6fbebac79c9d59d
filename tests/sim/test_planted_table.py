"""The bugs of `tests.sim.planted` that no other test plants are found from few seeds."""

from __future__ import annotations

import pytest

from stack.simulator.swarm.invariants import INVARIANTS
from tests.sim import test_laws, test_planted, test_planted_hostile
from tests.sim.planted import BUGS, Bug, hunt

SEEDS = 80
"""The command runs 500 of each."""

HERE = [bug for bug in BUGS if bug.plant.__module__.startswith("tests.sim.mistakes.")]


def test_there_are_many_of_many_kinds() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 30
    assert len({bug.area for bug in BUGS}) >= 12


def test_every_invariant_has_a_planted_bug() -> None:
    hostile = {invariant for _, invariant, _ in test_planted_hostile.PLANTED}
    under_laws = {invariant for _, invariant, _ in test_laws.PLANTED}
    own = {invariant for _, invariant, _ in test_planted.PLANTED}
    assert own | hostile | under_laws == set(INVARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("bug", HERE, ids=lambda bug: bug.name.replace(" ", "-"))
def test_it_is_found(bug: Bug) -> None:
    assert hunt(bug, bug.first, SEEDS).broken, f"{SEEDS} seeds have not shown it"


@pytest.mark.slow
@pytest.mark.parametrize("bug", {bug.swarm: bug for bug in BUGS}.values(), ids=lambda bug: bug.name)
def test_without_it_the_same_seeds_are_quiet(bug: Bug) -> None:
    for seed in range(3):
        assert bug.swarm(seed).ok
