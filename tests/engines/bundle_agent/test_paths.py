"""Whether a data policy leaves a path is no matter of what others have booked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import PolicyError
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.ports.application import Outgoing
from stack.routing.admissible import RouteRequest
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW

HOME = "dtn://home/"
ENDS = NOW + 3_600_000
LAWS = {HERE: "KR", FAR: "KR", HOME: "KR", NEXT: "EU"}
AT_HOME = DataPolicy(transit=NodeSet.parse("KR"))
NOWHERE = DataPolicy(transit=NodeSet.NONE)
WAYS = [(HERE, HOME), (HOME, FAR), (HERE, NEXT), (NEXT, FAR)]
ROOM = 450_000
"""Octets that a contact of 1,000 bit/s carries in an hour."""


def plan_of(ways: list[tuple[str, str]], rate_bps: float = 1000) -> Plan:
    """The way abroad is the faster one."""
    rates = [rate_bps if NEXT in way else 0.9 * rate_bps for way in ways]
    return Plan(Contact(*way, NOW, ENDS, rate) for way, rate in zip(ways, rates, strict=True))


def desk(ways: list[tuple[str, str]] = WAYS) -> Desk:
    facts = (
        NodeFacts(Eid.parse(node), jurisdictions=frozenset({law})) for node, law in LAWS.items()
    )
    gate = PolicyGate(Directory(facts), HERE)
    return Desk(security=keyed(), gate=gate, contacts=plan_of(ways))


def fill(here: Desk, *barred: str) -> None:
    """Others book all that the contacts carry of one way, at every priority."""
    router = here.agent.forwarder.router
    route = router.route(FAR, 1000, 2, NOW, ENDS, barred=frozenset(barred))
    assert route is not None
    router.book(route, ROOM, 2, NOW)


def request(destination: str = FAR, octets: int = 1000) -> RouteRequest:
    return RouteRequest(destination, octets, 1, NOW, ENDS)


def check(here: Desk, policy: DataPolicy, destination: str = FAR) -> None:
    here.agent.paths.check(policy, Eid.parse(destination), request(destination))


@pytest.mark.parametrize("why", ["booked", "silent"])
def test_what_a_policy_leaves_and_nobody_can_use_now_is_waited_for(why: str) -> None:
    here = desk()
    forwarder = here.agent.forwarder
    if why == "booked":
        fill(here, NEXT)
    else:
        here.agent.contact_failed(HOME, NOW)
    check(here, AT_HOME)
    found = here.agent.paths.admissible(AT_HOME, Eid.parse(FAR), request())
    assert found is not None
    assert found.words.startswith("no admissible path has room now; with transit through EU")
    outgoing = Outgoing(Eid.parse(FAR), bytes(1000), 60_000, "app", policy=AT_HOME)
    _, ops = here.agent.send([outgoing], NOW)
    here.commit(ops, NOW)
    assert (forwarder.stranded, forwarder.waiting(NEXT)) == (1, False)
    if why == "booked":
        here.agent.plan_changed(plan_of(WAYS, 2000), NOW)
    else:
        here.agent.contact_restored(HOME, NOW)
    assert (forwarder.stranded, forwarder.waiting(HOME)) == (0, True)


@pytest.mark.parametrize("booked", [(), (NEXT,), (HOME,), (NEXT, HOME)])
def test_a_policy_that_leaves_none_is_refused_whatever_is_booked(booked: tuple[str, ...]) -> None:
    here = desk()
    for other in booked:
        fill(here, other)
    for rest, missing in (("any", "transit through EU"), ("KR", "rest at and transit through EU")):
        policy = replace(NOWHERE, rest=NodeSet.parse(rest))
        with pytest.raises(PolicyError, match=f"no admissible path; with {missing} it would be"):
            check(here, policy)


def test_where_no_path_is_known_for_anybody_it_waits_as_all_does() -> None:
    check(desk([]), NOWHERE)


@pytest.mark.parametrize("default", [None, HOME, NEXT])
def test_what_is_for_the_node_itself_takes_no_path(default: str | None) -> None:
    here = desk([])
    here.agent.forwarder.default = default
    check(here, AT_HOME, HERE)
    assert here.agent.paths.admissible(AT_HOME, Eid.parse(HERE), request(HERE)) is None
    if default == NEXT:
        with pytest.raises(PolicyError, match="in its way is dtn://gs2/: 'EU'"):
            check(here, AT_HOME)
