"""Agents, contacts and work of a run of bare agents, drawn from a seed."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Final

FRAGMENT_BYTES: Final = 512
SIZES: Final = (20, 300, 3000)
LEVELS: Final = (0, 1, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsOptions:
    """Agents, contacts and work, drawn from one seed."""

    seed: int
    nodes: int
    contacts: tuple[tuple[int, int, float, float], ...]
    """(one end, other end, from, to), nodes by number, times in seconds."""

    messages: tuple[tuple[int, int, float, int, int], ...]
    """(source, destination, at, octets, priority)."""

    faults_s: float
    day_s: float
    loss: float
    """Share of bundles, and of answers, that are lost on a hop while there are faults."""

    duplicate: float
    crash: float
    """Share of bundles after whose storing the node crashes, before it answers."""

    owlt_s: float
    fragment_bytes: int
    restarts: tuple[tuple[float, int], ...]
    deaf: tuple[tuple[float, float, int], ...]
    """(from, to, node): a node refuses all that comes, as with a full disk."""

    def line(self) -> str:
        """What it is, in one line."""
        return repr(self)


def draw_agents(seed: int) -> AgentsOptions:
    """The agents of a seed."""
    rng = random.Random(f"{seed}/agents")
    nodes = rng.randint(2, 6)
    pairs = list(itertools.combinations(range(nodes), 2))
    linked = [(number, rng.randrange(number)) for number in range(1, nodes)]  # all are connected
    linked += [pair for pair in pairs if rng.random() < 0.5]
    faults_s, day_s = rng.uniform(200, 1500), 7200.0
    contacts = []
    for a, b in sorted({tuple(sorted(pair)) for pair in linked}):
        at_s = rng.uniform(0, 300)
        if rng.random() < 0.3:  # a line on the ground
            contacts.append((a, b, 0.0, day_s))
            continue
        while at_s < day_s:
            end_s = at_s + rng.uniform(20, 300)
            contacts.append((a, b, round(at_s, 3), round(end_s, 3)))
            at_s = end_s + rng.uniform(1, 300)
    return AgentsOptions(
        seed=seed,
        nodes=nodes,
        contacts=tuple(contacts),
        messages=tuple(
            (source, destination, rng.uniform(0, faults_s), rng.choice(SIZES), rng.choice(LEVELS))
            for source, destination in (
                rng.sample(range(nodes), 2) for _ in range(rng.randint(1, 12))
            )
        ),
        faults_s=faults_s,
        day_s=day_s,
        loss=rng.choice([0.0, rng.uniform(0, 0.5)]),
        duplicate=rng.choice([0.0, rng.uniform(0, 0.3)]),
        crash=rng.choice([0.0, rng.uniform(0, 0.3)]),
        owlt_s=rng.choice([0.005, 1.0]),
        fragment_bytes=rng.choice([0, 0, FRAGMENT_BYTES]),
        restarts=tuple(
            sorted(
                (rng.uniform(0, faults_s), rng.randrange(nodes))
                for _ in range(rng.choice([0, 1, 3, 6]))
            )
        ),
        deaf=tuple(
            (start_s, min(faults_s, start_s + rng.uniform(1, 300)), rng.randrange(nodes))
            for start_s in (rng.uniform(0, faults_s) for _ in range(rng.choice([0, 0, 1, 2])))
        ),
    )
