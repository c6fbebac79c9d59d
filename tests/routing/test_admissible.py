"""What stands between data and a better way is found, and what it could ever reach."""

from __future__ import annotations

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.routing.admissible import Admissible, admissible

HOUR_MS = 3_600_000
LAWS = {"gs": "KR", "sat": "KR", "home": "KR", "east": "JP", "west": "US"}


def name(word: str) -> str:
    return f"dtn://{word}/"


def judged(transit: str, contacts: list[tuple[str, str, int]], readers: str = "any") -> Admissible:
    """A transfer from gs to sat over contacts that begin at these hours and last ten."""
    plan = Plan(
        Contact(name(a), name(b), hour * HOUR_MS, (hour + 10) * HOUR_MS, 1e6)
        for a, b, hour in contacts
    )
    facts = [
        NodeFacts(Eid.parse(name(n)), jurisdictions=frozenset({law})) for n, law in LAWS.items()
    ]
    gate = PolicyGate(Directory(facts), name("gs"))
    policy = DataPolicy(
        transit=NodeSet.parse(transit), rest=NodeSet.parse("any"), readers=NodeSet.parse(readers)
    )
    return admissible(plan, gate, policy, name("gs"), name("sat"), 1000, 0, 100 * HOUR_MS)


RELAYS = [("gs", "home", 3), ("home", "sat", 3), ("gs", "east", 1), ("east", "sat", 1)]


def test_the_missing_permission_for_a_better_way_is_named() -> None:
    found = judged("KR", RELAYS)
    assert found.route is not None
    assert found.better is not None
    assert found.route.arrival_ms // HOUR_MS == 3
    assert (found.missing, found.better.arrival_ms // HOUR_MS) == ((name("east"),), 1)
    assert judged("any", RELAYS).better is None


def test_of_several_ways_that_are_closed_that_of_one_permission_is_named() -> None:
    chain = [("gs", "west", 0), ("west", "east", 0), ("east", "sat", 0)]
    found = judged("KR", [*RELAYS, *chain])
    assert found.missing == (name("east"),), "alone it opens a way that is earlier than home's"
    found = judged("KR", [("gs", "home", 3), ("home", "sat", 3), *chain])
    assert set(found.missing) == {name("east"), name("west")}, "only both together do"


def test_without_any_way_that_is_allowed_the_best_of_all_is_told() -> None:
    found = judged("none", RELAYS)
    assert found.route is None
    assert found.better is not None
    assert found.missing == (name("east"),)


def test_data_comes_to_whom_a_carrier_gives_it() -> None:
    onward = [("home", "west", 4), ("west", "east", 5)]
    found = judged("KR", [("gs", "home", 3), ("home", "sat", 3), *onward])
    assert found.reach == {name("gs"), name("home"), name("sat")}
    found = judged("KR | US", [("gs", "home", 3), ("home", "sat", 3), *onward])
    assert name("west") in found.reach


def test_no_contact_leads_nowhere() -> None:
    found = judged("any", [("sat", "gs", 0)])
    assert (found.route, found.better, found.missing) == (None, None, ())
