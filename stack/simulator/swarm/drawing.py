"""A run, drawn from one seed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from stack.core.errors import ConfigError
from stack.simulator.swarm import faults as kinds
from stack.simulator.swarm.faults import (
    BACKUP,
    CONTROL,
    CORRUPT,
    HOSTILE,
    HOSTILE_MODES,
    KINDS,
    LATER,
    LISTENING_MODES,
    SOVEREIGN_MODES,
    Fault,
)
from stack.simulator.swarm.options import (
    DAY_S,
    LONG_S,
    NODES_MAX,
    NODES_MIN,
    FileOptions,
    JobOptions,
    LinkOptions,
    MessageOptions,
    Options,
    PassOptions,
    PolicyOptions,
)

JURISDICTIONS = ("KR", "SE", "XX")


def draw(
    seed: int, *, nodes: int | None = NODES_MIN, kinds: Collection[str] = tuple(KINDS)
) -> Options:
    """The run of a seed.  `nodes` of None draws their number too; `kinds` are those faults that may
    strike (the others are left out, which changes nothing else).  Raises `ConfigError` for other
    kinds and numbers."""
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ConfigError("faults", f"{unknown[0]!r} is unknown", ", ".join(KINDS))
    if nodes is not None and not NODES_MIN <= nodes <= NODES_MAX:
        raise ConfigError("nodes", f"{nodes} is not {NODES_MIN} to {NODES_MAX}")
    rng = random.Random(f"{seed}/options")
    count = nodes or rng.choice([3, 3, 3, 4, 4, 5, 6, 7, 8])
    flying = max(1, rng.randint(count // 3, count // 2))
    stations = [f"gs{n}" for n in range(1, count - flying + 1)]
    satellites = [f"sat{n}" for n in range(1, flying + 1)]
    links = _links(rng, stations, satellites)
    fec = rng.random() < 0.25
    if fec:  # a block of packets fills in a second or two
        links = [
            replace(one, rate_bps=max(one.rate_bps, 128e3), back_bps=max(one.back_bps, 128e3))
            for one in links
        ]
    faults_s = DAY_S * rng.uniform(0.25, 0.5)
    options = Options(
        seed=seed,
        faults_s=faults_s,
        nodes=(*stations, *satellites),
        links=tuple(links),
        passes=tuple(one for link in links if not link.always for one in _passes(rng, link)),
        store="sqlite" if rng.random() < 0.12 else "memory",
        quota_bytes=rng.choice([64 << 20] * 3 + [200_000, 400_000]),
        protect=rng.random() < 0.9,
        fec=fec,
        fragment_bytes=rng.choice([0, 0, 0, 2000, 6000]),
        block_bytes=rng.choice([4096, 16_384, 65_536]),
    )
    options = _work(rng, options, satellites)
    drawn = _faults(rng, options)
    struck = tuple(fault for fault in drawn if fault.kind in kinds)
    hostile = _hostile(random.Random(f"{seed}/hostile"), options, HOSTILE_MODES, 0.67)
    rng_later = random.Random(f"{seed}/authenticate")
    listening = _hostile(rng_later, options, LISTENING_MODES, 0.85)
    authenticate = rng_later.random() < 0.15 or any(one.mode == CONTROL for one in listening)
    hostile += listening
    again = _backups(random.Random(f"{seed}/backup"), options)
    upsets = _upsets(random.Random(f"{seed}/upset"), options)
    later = (fault for fault in (*hostile, *again, *upsets) if fault.kind in kinds)
    faults = sorted((*struck, *later), key=lambda fault: fault.at_s)
    if rng.random() < 0.2:
        options = replace(options, queue_bytes=4 * options.block_bytes)
    if rng.random() < 0.25:
        many = rng.choice([1, 1, len(options.nodes)])
        options = replace(options, clockless=tuple(sorted(rng.sample(options.nodes, many))))
    # Without security nobody can tell a forgery from what it forges; and with it a payload has no
    # CRC (RFC 9173 §4.8.1), so that only its link can tell a relay that it was damaged.
    protect = options.protect or bool(hostile)
    damaged = any(fault.kind == CORRUPT for fault in drawn) or any(
        fault.mode == "mutate" for fault in hostile
    )
    authenticate |= protect and damaged
    return replace(options, faults=tuple(faults), protect=protect, authenticate=authenticate)


def _links(rng: random.Random, stations: list[str], satellites: list[str]) -> list[LinkOptions]:
    links = []
    for a, b in itertools.product(stations, satellites):
        down = rng.choice([64e3, 256e3, 1e6, 4e6])
        up = rng.choice([down, down / 4, max(16e3, down / 100)])
        links.append(
            LinkOptions(
                a=a,
                b=b,
                rate_bps=up,
                back_bps=down,
                owlt_ms=round(rng.choice([rng.uniform(2, 20), rng.uniform(2, 20), 1300.0]), 3),
                loss=rng.choice([0.0, 0.0, 0.01, 0.05]),
            )
        )
    for a, b in itertools.pairwise(stations):
        if len(stations) > 2 or rng.random() < 0.1:
            links.append(
                LinkOptions(a=a, b=b, rate_bps=10e6, back_bps=10e6, owlt_ms=15.0, always=True)
            )
    return links


def _passes(rng: random.Random, link: LinkOptions) -> list[PassOptions]:
    """Some ten a day, two or three of which every fault leaves alone."""
    found = []
    period_s = rng.uniform(5400, 9000)
    at_s = rng.uniform(0, period_s)
    while at_s < DAY_S - 900:
        end_s = at_s + rng.uniform(60, 300)
        found.append(PassOptions(a=link.a, b=link.b, start_s=round(at_s), end_s=round(end_s)))
        at_s += period_s * rng.uniform(0.9, 1.1)
    return found


def _work(rng: random.Random, options: Options, satellites: list[str]) -> Options:
    pairs = list(itertools.permutations(options.nodes, 2))
    until_s = options.faults_s

    def octets(most: int) -> int:
        return round(math.exp(rng.uniform(math.log(20), math.log(most))))

    messages = []
    for number in range(rng.randint(6, 30)):
        source, destination = rng.choice(pairs)
        messages.append(
            MessageOptions(
                number=number,
                source=source,
                destination=destination,
                at_s=round(rng.uniform(0, until_s), 3),
                octets=octets(12_000),
                priority=rng.randrange(3),
                lifetime_s=rng.choice([LONG_S] * 5 + [rng.uniform(600, 10_800)]),
            )
        )
    files = []
    for number in range(rng.choice([0, 1, 1, 2])):
        source, destination = rng.choice(pairs)
        files.append(
            FileOptions(
                number=number,
                source=source,
                destination=destination,
                at_s=round(rng.uniform(0, until_s), 3),
                octets=octets(40_000),
                priority=rng.randrange(3),
            )
        )
    jobs = []
    for number in range(rng.choice([0, 0, 1])):
        source = rng.choice([name for name in options.nodes if name not in satellites])
        jobs.append(
            JobOptions(
                number=number,
                source=source,
                destination=rng.choice(satellites),
                at_s=round(rng.uniform(0, until_s * 0.7), 3),
                octets=octets(10_000),
                run_s=rng.choice([0.0, rng.uniform(1, 600)]),
            )
        )
    return replace(options, messages=tuple(messages), files=tuple(files), jobs=tuple(jobs))


def _faults(rng: random.Random, options: Options) -> tuple[Fault, ...]:
    """Each seed has a few kinds of faults, and often several of one kind."""
    found = []
    drawn = [kind for kind in KINDS if kind not in LATER]
    chosen = rng.sample(drawn, rng.choice([0, 1, 2, 3, 4, 5, 6]))
    for kind in sorted(chosen):
        for _ in range(rng.choice([1, 1, 2, 3, 5])):
            fault = _fault(rng, options, kind)
            if not (kind == kinds.CORRUPT and options.fec):
                found.append(fault)
    return tuple(sorted(found, key=lambda fault: fault.at_s))


def _backups(rng: random.Random, options: Options) -> tuple[Fault, ...]:
    """In one day of eight a node is set back by minutes or hours."""
    if rng.random() < 0.88:
        return ()
    at_s = rng.uniform(0, options.faults_s * 0.6)
    for_s = rng.choice([rng.uniform(10, 600), rng.uniform(600, options.faults_s * 0.35)])
    node = rng.choice(options.nodes)
    return (Fault(kind=BACKUP, node=node, at_s=round(at_s, 6), for_s=round(for_s, 6)),)


def _upsets(rng: random.Random, options: Options) -> tuple[Fault, ...]:
    """In half of the days with real disks, radiation."""
    if options.store == "memory" or rng.random() < 0.5:
        return ()
    found = []
    for _ in range(kinds.UPSETS):
        at_s = rng.uniform(0, options.faults_s)
        found.append(Fault(kind=kinds.UPSET, node=rng.choice(options.nodes), at_s=round(at_s, 6)))
    return tuple(found)


def _hostile(
    rng: random.Random, options: Options, modes: tuple[str, ...], quiet: float
) -> tuple[Fault, ...]:
    """But for a share of `quiet` days, somebody is on a link or two, for hours."""
    if rng.random() < quiet:
        return ()
    found = []
    for _ in range(rng.choice([1, 1, 2, 4])):
        link = rng.choice(options.links)
        node, peer = rng.sample([link.a, link.b], 2)
        at_s = rng.uniform(0, options.faults_s * 0.5)
        found.append(
            Fault(
                kind=HOSTILE,
                node=node,
                peer=peer,
                at_s=round(at_s, 6),
                for_s=round(rng.uniform(0.3, 1.0) * (options.faults_s - at_s), 6),
                mode=rng.choice(modes),
            )
        )
    return tuple(found)


def _fault(rng: random.Random, options: Options, kind: str) -> Fault:
    node = rng.choice(options.nodes)
    peer = ""
    near: list[PassOptions] = list(options.passes)
    if kind in kinds.ON_LINKS:
        link = rng.choice(options.links)
        node, peer = rng.sample([link.a, link.b], 2)
        near = [one for one in near if {one.a, one.b} == {node, peer}]
    at_s = rng.uniform(0, options.faults_s * 0.95)
    near = [one for one in near if one.start_s < options.faults_s * 0.9]
    if near and rng.random() < 0.7:  # where there is traffic, faults do more
        one = rng.choice(near)
        at_s = rng.uniform(one.start_s - 5, one.end_s)
    at_s = min(max(0.0, at_s), options.faults_s * 0.95)
    most_s = options.faults_s - at_s
    lasts_s = min(
        most_s, rng.choice([rng.uniform(0, 60), rng.uniform(0, 600), rng.uniform(0, 7200)])
    )
    amount, mode = _how(rng, kind)
    return Fault(
        kind=kind,
        node=node,
        peer=peer,
        at_s=round(at_s, 6),
        for_s=round(lasts_s, 6),
        amount=amount,
        mode=mode,
    )


def _how(rng: random.Random, kind: str) -> tuple[float, str]:
    """Amount and mode."""
    sign = rng.choice([-1.0, 1.0])
    if kind in (kinds.LOSS, kinds.DUPLICATE, kinds.REORDER):
        return rng.uniform(0.02, 0.4), ""
    if kind == kinds.CORRUPT:
        return rng.uniform(0.005, 0.05), ""
    if kind == kinds.DELAY:
        return rng.uniform(0.1, 10.0), ""
    if kind == kinds.SLOW:
        return rng.choice([rng.uniform(0.001, 0.1), rng.uniform(0.1, 5.0)]), ""
    if kind == kinds.STEP:
        return sign * rng.choice([rng.uniform(0.01, 10), rng.uniform(10, 5400)]), ""
    if kind == kinds.DRIFT:
        return sign * rng.choice([rng.uniform(1, 100), rng.uniform(100, 2000)]), ""
    if kind == kinds.RESTART:
        return float(rng.choice([0, rng.randint(1, 40)])), ""
    if kind == kinds.COMMIT:
        return 0.0, rng.choice(kinds.COMMIT_MODES)
    if kind == kinds.PLAN:
        mode = rng.choice(kinds.PLAN_MODES)
        return (
            rng.choice([0.1, 0.5, 2.0, 10.0]) if mode == "rate" else sign * rng.uniform(10, 1800)
        ), mode
    return 0.0, ""


def under_laws(options: Options) -> Options:
    """The same day with nodes under several jurisdictions, data with policies, and in half of the
    days somebody on a link who brings it where it must not be; drawn from the seed of `options`.
    """
    rng = random.Random(f"{options.seed}/laws")

    def somewhere() -> dict[str, str]:
        return {name: rng.choice(JURISDICTIONS) for name in options.nodes}

    laws, outdated = somewhere(), somewhere()
    mistaken = rng.sample(options.nodes, 1) if rng.random() < 0.2 else []

    def ruled(one: MessageOptions | FileOptions | JobOptions, share: float) -> Any:
        if rng.random() >= share:
            return one
        ends = {laws[one.source], laws[one.destination]}
        sets = [
            tuple(sorted({*rng.sample(JURISDICTIONS, rng.randint(1, 3)), *kept}))
            for kept in (ends if rng.random() < 0.9 else set(), ends, set())
        ]
        readers, rest, transit = sets
        ends_s = 0.0
        if isinstance(one, MessageOptions) and rng.random() < 0.2:
            ends_s = round(min(DAY_S, one.at_s + rng.uniform(600, 20_000)), 3)
        policy = PolicyOptions(readers=readers, rest=rest, transit=transit, expires_s=ends_s)
        return replace(one, policy=policy)

    smugglers = _hostile(rng, options, SOVEREIGN_MODES, 0.5)
    return replace(
        options,
        protect=True,
        jurisdictions=laws,
        outdated=outdated,
        mistaken=tuple(mistaken),
        messages=tuple(ruled(one, 0.8) for one in options.messages),
        files=tuple(ruled(one, 1.0) for one in options.files),
        jobs=tuple(ruled(one, 1.0) for one in options.jobs),
        faults=tuple(sorted((*options.faults, *smugglers), key=lambda fault: fault.at_s)),
    )
