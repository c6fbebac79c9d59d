"""Days in several jurisdictions: data goes nowhere that its policy does not name, and arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from stack.core.errors import ConfigError
from stack.simulator.swarm import Fault, Options, draw, run, under_laws
from stack.simulator.swarm.faults import HOSTILE, SMUGGLE
from stack.simulator.swarm.laws import Laws
from stack.simulator.swarm.options import LinkOptions, PolicyOptions
from tests.sim.days import small
from tests.sim.mistakes import audits, laws
from tests.sim.planted import computing

DAYS = (*range(1, 10), 14)
"""`orbitferry swarm 500 --laws --nodes 0` runs more.  Day 10 takes five times
as long as all of these."""

ONLY_KR = PolicyOptions(readers=("KR",), rest=("KR",), transit=("KR",))


@pytest.mark.slow
def test_nothing_goes_where_it_must_not() -> None:
    looked: Counter[str] = Counter()
    for seed in DAYS:
        options = under_laws(draw(seed, nodes=None))
        outcome = run(options)
        words = "\n".join(f"{one.invariant}: {one.text}" for one in outcome.problems)
        assert outcome.ok, f"{options.line()}\n{words}"
        looked.update(outcome.checks)
    for invariant in ("rest", "readers", "refused", "ended", "hop", "audit"):
        assert looked[invariant], invariant


def abroad(law: str) -> Options:
    """A day whose satellite stands under `law`, and whose stations send each other data that is
    only for KR."""
    day = small()
    between = [one for one in day.messages if "sat1" not in (one.source, one.destination)]
    return replace(
        day,
        jurisdictions={"gs1": "KR", "gs2": "KR", "sat1": law},
        messages=tuple(replace(one, policy=ONLY_KR) for one in between),
        files=(),
    )


@pytest.mark.parametrize(("law", "arrives"), [("KR", True), ("XX", False)])
def test_what_only_a_foreign_node_could_carry_stays(law: str, arrives: bool) -> None:
    options = abroad(law)
    assert options.messages
    outcome = run(options)
    assert outcome.ok, outcome.problems
    assert outcome.delivered == (len(options.messages) if arrives else 0)


def smuggled(policy: PolicyOptions) -> Options:
    """The same with a line between the stations, and somebody who hears it and brings what goes
    there to the satellite, which stands elsewhere."""
    day = abroad("XX")
    line = LinkOptions(a="gs1", b="gs2", rate_bps=1e6, back_bps=1e6, owlt_ms=5.0, always=True)
    return replace(
        day,
        links=(*day.links, line),
        messages=tuple(replace(one, policy=policy) for one in day.messages),
        faults=tuple(
            Fault(kind=HOSTILE, node=a, peer=b, at_s=0.0, for_s=300.0, mode=SMUGGLE)
            for a, b in (("gs1", "gs2"), ("gs2", "gs1"), ("gs1", "sat1"))
        ),
    )


def to_the_satellite(*, mistaken: tuple[str, ...] = ()) -> Options:
    """A message that may rest at the satellite and not be read there, from who should know."""
    day = abroad("XX")
    policy = PolicyOptions(readers=("KR",), rest=("KR", "XX"), transit=("KR",))
    message = replace(day.messages[0], source="gs1", destination="sat1", policy=policy)
    before = dict.fromkeys(day.nodes, "KR")
    return replace(day, messages=(message,), outdated=before, mistaken=mistaken)


def ending() -> Options:
    """Data that has no admissible way, until its policy ends."""
    day = abroad("XX")
    soon = replace(ONLY_KR, expires_s=3000.0)
    return replace(day, messages=tuple(replace(one, policy=soon) for one in day.messages))


def test_a_job_whose_client_may_not_read_what_it_makes_fails() -> None:
    day = computing(abroad("XX"))
    policy = PolicyOptions(readers=("XX",), rest=("KR", "XX"), transit=("KR", "XX"))
    assert {one.destination for one in day.jobs} == {"sat1"}
    jobs = tuple(replace(one, policy=policy) for one in day.jobs)
    ruled = abroad("XX").jurisdictions
    outcome = run(replace(day, jurisdictions=ruled, messages=(), jobs=jobs))
    assert outcome.ok, outcome.problems
    assert outcome.delivered == 0


PLANTED = [
    (laws.takes_in_what_may_not_rest, "rest", smuggled(ONLY_KR)),
    (laws.takes_in_what_may_not_rest, "transit", smuggled(replace(ONLY_KR, rest=("KR", "XX")))),
    (laws.takes_in_what_may_not_rest, "readers", to_the_satellite(mistaken=("gs1",))),
    (laws.routes_over_anybody, "hop", abroad("XX")),
    (laws.lets_everything_leave, "refused", to_the_satellite()),
    (laws.keeps_what_has_ended, "ended", ending()),
    (laws.forgets_policies_of_results, "label", computing(small())),
    (audits.writes_down_later_what_was_done, "audit", abroad("KR")),
    (audits.says_not_who_got_it, "audit", abroad("KR")),
    (audits.says_nothing_of_what_it_refuses, "audit", smuggled(ONLY_KR)),
    (audits.says_nothing_of_what_the_store_lets_go, "audit", ending()),
    (audits.signs_another_history, "audit", abroad("KR")),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "invariant", "options"), PLANTED, ids=[f"{p[0].__name__}-{p[1]}" for p in PLANTED]
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    invariant: str,
    options: Options,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quiet = run(options)
    assert quiet.ok, quiet.problems
    plant(monkeypatch)
    assert invariant in {one.invariant for one in run(options).problems}


def test_what_a_policy_forbids_need_not_arrive() -> None:
    """Nothing is due that has no admissible way, or that somebody sends elsewhere by mistake."""
    at_home, elsewhere = Laws(abroad("KR")), Laws(abroad("XX"))
    thing = next(iter(at_home.of))
    assert at_home.carriers(thing, "gs1", "gs2") == frozenset(("gs1", "gs2", "sat1"))
    assert elsewhere.carriers(thing, "gs1", "gs2") == frozenset(("gs1", "gs2"))
    assert not elsewhere.may_send(thing, "gs1", "sat1")
    before = dict.fromkeys(("gs1", "gs2", "sat1"), "KR")
    wrong = Laws(replace(abroad("XX"), outdated=before, mistaken=("gs1",)))
    assert wrong.carriers(thing, "gs1", "gs2") is None
    assert wrong.may_send(thing, "gs1", "sat1")


def test_laws_are_of_all_nodes_or_of_none() -> None:
    with pytest.raises(ConfigError, match="names other nodes"):
        replace(small(), jurisdictions={"gs1": "KR"})
    with pytest.raises(ConfigError, match="none of the nodes"):
        replace(small(), mistaken=("gs9",))


def test_a_day_under_laws_is_what_its_seed_says() -> None:
    day = draw(7, nodes=5)
    assert under_laws(day) == under_laws(day)
    ruled = under_laws(day)
    assert {*ruled.jurisdictions} == {*day.nodes}
    assert all(one.policy for one in ruled.files)


def test_what_a_disk_in_memory_loses_is_written_down() -> None:
    options = under_laws(draw(185))
    assert options.store == "memory"
    outcome = run(options)
    assert outcome.ok, outcome.problems
