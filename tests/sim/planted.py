"""Bugs that are planted one after the other, to see whether and when the swarm finds each.

    python -m tests.sim.planted --seeds 500

runs the fitting kind of swarm with each bug in turn, seed after seed until an invariant breaks, and
prints the seed count at which it did.  A bug that all seeds have not shown is a hole in the swarm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import pytest

from stack.simulator.swarm import Fault, Options, RunOutcome, draw, faults, run, under_laws
from stack.simulator.swarm.agents import run_agents
from stack.simulator.swarm.engines import run_pair
from stack.simulator.swarm.options import FileOptions, JobOptions, PolicyOptions
from tests.sim import test_planted as one
from tests.sim import test_planted_hostile as neighbour
from tests.sim.bugs import damaged, flip, no_shares, owed
from tests.sim.mistakes import (
    audits,
    begin_anew,
    bundles,
    laws,
    ltp,
    nodes,
)

Plant = Callable[[pytest.MonkeyPatch], None]
Swarm = Callable[[int], RunOutcome]


def pairs(seed: int) -> RunOutcome:
    """LTP engines, two and two."""
    return run_pair(2 * seed)


def agents(seed: int) -> RunOutcome:
    """Bundle agents alone."""
    return run_agents(2 * seed + 1)


@cache
def days(change: Callable[[Options], Options]) -> Swarm:
    """Days of whole nodes, all of which are changed in one way: one swarm for each way."""

    def day(seed: int) -> RunOutcome:
        return run(change(draw(seed)))

    day.__name__ = "days"
    return day


def as_drawn(options: Options) -> Options:
    """No change."""
    return options


def in_memory(options: Options) -> Options:
    """With the store whose mistakes are planted."""
    return replace(options, store="memory")


def with_files(options: Options) -> Options:
    """With a file, however it was drawn."""
    a, b = options.nodes[0], options.nodes[-1]
    file = FileOptions(number=0, source=a, destination=b, at_s=60.0, octets=30_000)
    return replace(options, files=(file,))


def coded(options: Options) -> Options:
    """With erasure coding."""
    links = tuple(
        replace(each, rate_bps=max(each.rate_bps, 128e3), back_bps=max(each.back_bps, 128e3))
        for each in options.links
    )
    calm = tuple(fault for fault in options.faults if fault.kind != "corrupt")
    return replace(options, fec=True, links=links, faults=calm)


def small_store(options: Options) -> Options:
    """With a store that fills up."""
    return replace(options, store="memory", quota_bytes=20_000)


def clockless(options: Options) -> Options:
    """With nodes that do not trust their clocks, and lifetimes of days."""
    return replace(options, clockless=options.nodes)


def flipped(options: Options) -> Options:
    """With many bits that flip at rest."""
    flips = tuple(
        Fault(kind=faults.FLIP_DISK, node=node, at_s=round(options.faults_s * part / 40, 3))
        for part in range(1, 40)
        for node in options.nodes
    )
    return replace(options, faults=(*options.faults, *flips))


def crowded(options: Options) -> Options:
    """With strangers who bring more than stores hold, on every link."""
    return replace(neighbour.hostile(options, "strange"), store="memory", quota_bytes=40_000)


def computing(options: Options) -> Options:
    """In several jurisdictions, with a job in the one where its data may be."""
    everywhere = dict.fromkeys(options.nodes, "KR")
    only = PolicyOptions(readers=("KR",), rest=("KR",), transit=("KR",))
    job = JobOptions(
        number=0,
        source=options.nodes[0],
        destination=options.nodes[-1],
        at_s=60.0,
        octets=10_000,
        run_s=1.0,
        policy=only,
    )
    return replace(under_laws(options), jurisdictions=everywhere, mistaken=(), jobs=(job,))


def relabelled(options: Options) -> Options:
    """In several jurisdictions, with somebody on every link who changes labels."""
    return neighbour.hostile(under_laws(options), faults.LABELS)


def twins(options: Options) -> Options:
    """With forged bundles."""
    return neighbour.hostile(options, "bundles")


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug, and the swarm that is to find it."""

    area: str
    plant: Plant
    swarm: Swarm
    first: int = 0
    """The seed from which on few are needed."""

    @property
    def name(self) -> str:
        """What it does."""
        return self.plant.__name__.replace("_", " ")


DAYS: Final = days(as_drawn)
MEMORY: Final = days(in_memory)
BUGS: Final[tuple[Bug, ...]] = (
    Bug("LTP sessions", ltp.accepts_before_it_is_durable, pairs),
    Bug("LTP sessions", ltp.hands_over_damaged_blocks, pairs),
    Bug("LTP sessions", ltp.hands_over_blocks_twice, pairs),
    Bug("LTP sessions", ltp.claims_what_it_refuses, pairs),
    Bug("LTP sessions", ltp.tells_nobody_of_failed_blocks, pairs),
    Bug("LTP sessions", ltp.never_forgets_what_arrived, pairs),
    Bug("LTP reports", ltp.believes_more_than_is_claimed, pairs),
    Bug("LTP reports", ltp.sends_nothing_again, pairs),
    Bug("LTP timers", ltp.never_looks_at_its_timers, pairs),
    Bug("LTP timers", ltp.arms_no_checkpoint_timer, pairs),
    Bug("LTP timers", ltp.never_resumes_its_timers, pairs),
    Bug("LTP restart", ltp.forgets_its_claims_at_a_restart, pairs),
    Bug("LTP link state", ltp.never_probes_a_stalled_link, pairs),
    Bug("routing", one.forgets_what_failed, agents),
    Bug("routing", bundles.forgets_what_has_no_way, agents),
    Bug("routing", bundles.forgets_what_links_were_given, agents),
    Bug("routing", bundles.never_tries_again, agents),
    Bug("contacts", nodes.misses_the_next_contact, DAYS),
    Bug("custody", one.forgets_echoes, agents),
    Bug("custody", one.acknowledges_without_storing, DAYS),
    Bug("duplicates", one.knows_no_duplicates, agents),
    Bug("delivery", one.alters_what_it_delivers, agents),
    Bug("delivery", one.delivers_twice, DAYS),
    Bug("delivery", one.delivers_on_the_way, DAYS),
    Bug("reassembly", bundles.never_joins_fragments, agents),
    Bug("reassembly", bundles.swaps_the_halves_of_large_payloads, agents),
    Bug("restart", bundles.passes_over_fragments_at_a_restart, agents),
    Bug("restart", bundles.passes_over_transit_at_a_restart, agents),
    Bug("expiry", bundles.takes_lifetimes_for_seconds, agents),
    Bug("expiry", nodes.expires_without_a_word, MEMORY),
    Bug("priorities", nodes.evicts_the_urgent_first, days(small_store), first=15),
    Bug("clocks", nodes.ends_what_has_no_creation_time, DAYS),
    Bug("clocks", nodes.takes_ages_for_seconds, days(clockless)),
    Bug("store", one.forgets_what_was_acknowledged, MEMORY),
    Bug("store", one.minds_no_quota, days(small_store)),
    Bug("store", one.keeps_what_it_has_sent, DAYS),
    Bug("store", owed, DAYS),
    Bug("store", no_shares, days(crowded)),
    Bug("store", damaged, days(flipped)),
    Bug("confinement", flip, DAYS),
    Bug("confinement", one.raises_now_and_then, DAYS),
    Bug("security", one.does_not_encrypt, DAYS),
    Bug("security", nodes.takes_what_nobody_has_signed, days(twins), first=3),
    Bug("security", neighbour.knows_bundles_by_their_identity, days(twins)),
    Bug("security", neighbour.believes_everybody, days(neighbour.controlled)),
    Bug("security", neighbour.lets_strangers_cancel, days(neighbour.controlled)),
    Bug(
        "security",
        neighbour.takes_a_count_and_tag_that_came_before,
        days(neighbour.controlled),
    ),
    Bug("security", neighbour.begins_again_with_its_old_salt, days(neighbour.restarted)),
    Bug("security", neighbour.lets_itself_be_combed, days(neighbour.combed)),
    Bug("data policies: routing", laws.routes_over_anybody, days(under_laws), first=3),
    Bug("data policies: reception", laws.takes_in_what_may_not_rest, days(under_laws), first=29),
    Bug("data policies: sending", laws.lets_everything_leave, days(under_laws)),
    Bug("data policies: storage", laws.keeps_what_has_ended, days(under_laws)),
    Bug("data policies: storage", laws.forgets_policies_at_restart, days(under_laws), first=23),
    Bug("data policies: keys", laws.seals_under_no_label, days(relabelled), first=27),
    Bug("data policies: compute", laws.forgets_policies_of_results, days(computing)),
    Bug("audit", audits.writes_down_later_what_was_done, days(under_laws)),
    Bug("audit", audits.says_not_who_got_it, days(under_laws)),
    Bug("audit", audits.says_nothing_of_what_it_refuses, days(relabelled), first=3),
    Bug("audit", audits.says_twice_what_it_refuses, days(relabelled), first=3),
    Bug("audit", audits.says_that_it_refused_what_it_took, days(under_laws)),
    Bug("audit", audits.says_twice_who_got_it, days(under_laws)),
    Bug("audit", audits.makes_up_the_contacts, days(under_laws)),
    Bug("audit", audits.says_not_that_it_came_opened, days(under_laws)),
    Bug("audit", audits.says_not_that_applications_have_it, days(under_laws)),
    Bug("audit", audits.says_nothing_of_what_the_store_lets_go, days(under_laws)),
    Bug("audit", audits.signs_another_history, days(under_laws)),
    Bug("sequence numbers", begin_anew, days(neighbour.set_back)),
    Bug("FEC", nodes.swallows_lone_packets, days(coded)),
    Bug("files", nodes.forgets_chunks, days(with_files)),
    Bug("timers", one.leaks_timers, DAYS),
    Bug("timers", one.sets_no_timer, DAYS),
    Bug("accounts", one.loses_count_of_datagrams, DAYS),
    Bug("life cycle", one.does_not_stop, DAYS),
)
"""Every bug that the swarm is known to find."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a bug."""

    seeds: int
    """Seeds that were run, the one that showed it included."""

    broken: tuple[str, ...]
    """The invariants that broke; none when it was not found."""


def hunt(bug: Bug, first: int, seeds: int) -> Found:
    """Run seeds from `first` on until the bug shows, at most so many."""
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for count in range(seeds):
            problems = bug.swarm(first + count).problems
            if problems:
                return Found(count + 1, tuple(sorted({each.invariant for each in problems})))
    return Found(seeds, ())


def main() -> int:
    """Hunt each; 1 when one was not found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=500, help="of each bug (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="first seed (default %(default)s)")
    parser.add_argument("--only", default="", help="only bugs with this in their name or area")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin none after this time")
    options = parser.parse_args()
    end_s = time.monotonic() + 60 * options.minutes
    missed = hunted = 0
    turn = options.first % len(BUGS)  # so that each has its turn when the time is short
    for bug in BUGS[turn:] + BUGS[:turn]:
        if options.only not in f"{bug.area} {bug.name}" or time.monotonic() > end_s:
            continue
        hunted += 1
        found = hunt(bug, options.first or bug.first, options.seeds)
        missed += not found.broken
        what = ", ".join(found.broken) or "NOT FOUND"
        print(
            f"| {bug.area} | {bug.name} | {bug.swarm.__name__} | {found.seeds} | {what} |",
            flush=True,
        )
    print(f"\n{hunted} bugs, {hunted - missed} found, {missed} not")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
