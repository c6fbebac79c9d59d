"""Radiation on the disks of a swarm: with parity all that was promised arrives all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stack.simulator.swarm.day import run
from stack.simulator.swarm.drawing import draw
from stack.simulator.swarm.faults import UPSET, UPSET_OCTETS, Fault
from stack.simulator.swarm.options import Options
from stack.simulator.swarm.world import SwarmWorld
from stack.storage.parity import Parity


def radiated(seed: int) -> Options:
    """The day of a seed on real disks, without other faults; every node is struck four times."""
    options = replace(draw(seed), store="sqlite")
    faults = [
        Fault(kind=UPSET, node=node, at_s=round(options.faults_s * part, 3))
        for node in options.nodes
        for part in (0.2, 0.4, 0.6, 0.8)
    ]
    return replace(options, faults=tuple(sorted(faults, key=lambda fault: fault.at_s)))


def events_of(options: Options) -> tuple[bool, dict[str, int]]:
    """Whether a run was clean, and how often its nodes said what."""
    worlds: list[SwarmWorld] = []

    def make_world(*args: Any, **more: Any) -> SwarmWorld:
        worlds.append(SwarmWorld(*args, **more))
        return worlds[-1]

    outcome = run(options, make_world=make_world)
    return outcome.ok, dict(worlds[0].events)


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_what_flips_within_power_arrives(seed: int) -> None:
    clean, events = events_of(radiated(seed))
    assert clean
    assert events["store.repaired"] > 0
    assert events.get("store.damaged", 0) == 0


def test_without_mending_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 4 * UPSET_OCTETS <= 16, "what a codeword can have wrong"
    monkeypatch.setattr(Parity, "mend", lambda *_: None)
    clean, events = events_of(radiated(3))
    assert not clean
    assert events["store.damaged"] > 0
