"""What stands between data and an earlier path is found, and what it could ever reach."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.policy import DataPolicy, Directory, NodeFacts, NodeSet, PolicyGate
from stack.routing.admissible import Admissible, RouteRequest, admissible, reach
from stack.routing.router import Router, RouterConfig

HOUR_MS = 3_600_000
LAWS = {"gs": "KR", "sat": "KR", "home": "KR", "east": "JP", "west": "US"}
EXACT = RouterConfig(tolerance_ms=0, tolerance_ratio=0)


def name(word: str) -> str:
    return f"dtn://{word}/"


def facts_of(
    word: str, law: str, domain: str = "", purposes: tuple[str, ...] = ("read", "rest", "pass")
) -> NodeFacts:
    laws = frozenset({law} if law else ())
    return NodeFacts(Eid.parse(name(word)), domain, laws, frozenset(), frozenset(purposes))


def plan_of(contacts: list[tuple[str, str, int]]) -> Plan:
    """Contacts that begin at these hours and last ten."""
    return Plan(
        Contact(name(a), name(b), hour * HOUR_MS, (hour + 10) * HOUR_MS, 1e6)
        for a, b, hour in contacts
    )


def judged(
    policy: DataPolicy, contacts: list[tuple[str, str, int]], facts: list[NodeFacts] | None = None
) -> Admissible:
    """A transfer from gs to sat."""
    known = [facts_of(*each) for each in LAWS.items()] if facts is None else facts
    gate = PolicyGate(Directory(known), name("gs"))
    router = Router(plan_of(contacts), name("gs"), config=EXACT)
    return admissible(router, gate, policy, RouteRequest(name("sat"), 1000, 1, 0, 100 * HOUR_MS))


def through(transit: str, rest: str = "any") -> DataPolicy:
    return DataPolicy(transit=NodeSet.parse(transit), rest=NodeSet.parse(rest))


RELAYS = [("gs", "home", 3), ("home", "sat", 3), ("gs", "east", 1), ("east", "sat", 1)]
CHAIN = [("gs", "west", 0), ("west", "east", 0), ("east", "sat", 0)]


def test_the_missing_permission_for_an_earlier_path_is_named() -> None:
    found = judged(through("KR"), RELAYS)
    assert found.words == (
        "no admissible path before 2000-01-01T03:00:00.016Z;"
        " with transit through JP it would be 2000-01-01T01:00:00.016Z"
    )
    found = judged(through("KR", rest="KR"), RELAYS)
    assert [str(one) for one in found.missing] == ["rest at and transit through JP"]
    found = judged(through("KR | JP", rest="KR"), RELAYS)
    assert [str(one) for one in found.missing] == ["rest at JP"]
    found = judged(through("any"), RELAYS)
    assert found.words == "first admissible path arrives 2000-01-01T01:00:00.016Z"


def test_of_permissions_that_are_as_good_the_one_that_lets_in_fewest_is_named() -> None:
    facts = [facts_of(*each) for each in LAWS.items()]
    more = [*facts, facts_of("north", "JP")]
    north = [("gs", "north", 2), ("north", "sat", 2)]
    (one,) = judged(through("KR"), [*RELAYS, *north], more).missing
    assert one.nodes == "node:dtn://east/", "JP would let in another relay"
    apart = [facts_of(word, law, "agency" if word == "east" else "") for word, law in LAWS.items()]
    apart.append(facts_of("north", "JP"))
    (one,) = judged(through("KR"), [*RELAYS, *north], apart).missing
    assert one.nodes == "domain:agency"


def test_of_several_paths_that_are_closed_that_of_one_permission_is_named() -> None:
    (one,) = judged(through("KR"), [*RELAYS, *CHAIN]).missing
    assert one.nodes == "JP", "alone it opens a path that is earlier than home's"
    found = judged(through("KR"), [("gs", "home", 3), ("home", "sat", 3), *CHAIN])
    assert {one.nodes for one in found.missing} == {"node:dtn://east/", "node:dtn://west/"}, (
        "only both together do"
    )


def test_without_any_admissible_path_the_best_of_all_is_told() -> None:
    found = judged(through("none"), RELAYS)
    assert found.route is None
    assert found.words.startswith("no admissible path; with transit through JP it would be 2000")


def test_of_whom_nothing_is_known_no_permission_helps() -> None:
    known = [facts_of(word, "KR") for word in ("gs", "sat")]
    found = judged(through("any"), RELAYS[2:], known)
    words = "no admissible path; in its way is dtn://east/"
    assert found.words == f"{words}, of whom nothing is known"
    distrusted = [*known, facts_of("east", "JP", purposes=("read", "rest"))]
    found = judged(through("any"), RELAYS[2:], distrusted)
    assert found.words == f"{words}: 'JP, trusted to read, rest only'"
    assert (found.missing, found.better) == ((), None)


NAMES = ["home", "east", "west", "north", "far"]
SETS = ["KR", "JP", "US", "domain:a", "domain:b", *(f"node:dtn://{one}/" for one in NAMES)]
SOME = st.sampled_from(["any", "none", "KR", "KR | JP", "any - US", "domain:a", "KR & domain:b"])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[NodeFacts], list[tuple[str, str, int]], DataPolicy]:
    """Ends that may do everything, and five others of whom not all is known."""
    facts = [facts_of("gs", "KR"), facts_of("sat", "KR")]
    for one in draw(st.sets(st.sampled_from(NAMES))):
        law, domain = draw(st.sampled_from(["", "KR", "JP", "US"])), draw(st.sampled_from("ab"))
        purposes = draw(st.sampled_from([("read", "rest", "pass"), ("rest",), ("pass", "rest")]))
        facts.append(facts_of(one, law, draw(st.sampled_from(["", domain])), purposes))
    ends = st.sampled_from(["gs", "sat", *NAMES])
    contacts = draw(st.lists(st.tuples(ends, ends, st.integers(0, 20)), max_size=14))
    rest = NodeSet.parse(draw(SOME)) | NodeSet.parse("node:dtn://gs/ | node:dtn://sat/")
    policy = DataPolicy(transit=NodeSet.parse(draw(SOME)), rest=rest)
    return facts, [each for each in contacts if each[0] != each[1]], policy


def arrival_by_hand(
    facts: list[NodeFacts], contacts: list[tuple[str, str, int]], policy: DataPolicy
) -> int | None:
    """When a bundle is there: waves over the contacts, told nothing of routers and gates."""
    known = {str(one.id): one for one in facts}
    there = {name("gs"): 0}
    for _ in range(len(NAMES) + 1):
        for a, b, hour in contacts:
            one, held = known.get(name(b)), there.get(name(a))
            if held is None or held >= (hour + 10) * HOUR_MS or one is None:
                continue
            passes = name(b) == name("sat") or (
                {"pass", "rest"} <= one.purposes
                and policy.transit.holds(one)
                and policy.rest.holds(one)
            )
            reached = max(held, hour * HOUR_MS) + 8  # 1000 octets at 1 Mbit/s
            if passes and reached <= (hour + 10) * HOUR_MS:
                there[name(b)] = min(reached, there.get(name(b), reached))
    return there.get(name("sat"))


@settings(max_examples=150)
@given(worlds())
def test_the_permission_found_is_what_trying_all_gives(
    world: tuple[list[NodeFacts], list[tuple[str, str, int]], DataPolicy],
) -> None:
    facts, contacts, policy = world
    found = judged(policy, contacts, facts)
    allowed = arrival_by_hand(facts, contacts, policy)
    assert (found.route and found.route.arrival_ms) == allowed
    tried: dict[str, int] = {}
    for text in SETS:
        more = NodeSet.parse(text)
        wider = replace(policy, rest=policy.rest | more, transit=policy.transit | more)
        arrival = arrival_by_hand(facts, contacts, wider)
        if arrival is not None and (allowed is None or arrival < allowed):
            tried[text] = arrival
    if tried:
        (one,) = found.missing
        assert found.better is not None
        assert tried[one.nodes] == found.better.arrival_ms == min(tried.values())
        more = NodeSet.parse(one.nodes)
        least = replace(
            policy,
            rest=policy.rest | more if one.rest else policy.rest,
            transit=policy.transit | more if one.transit else policy.transit,
        )
        assert arrival_by_hand(facts, contacts, least) == found.better.arrival_ms
    else:
        assert len(found.missing) != 1


def test_data_comes_to_whom_a_carrier_gives_it() -> None:
    onward = [("gs", "home", 3), ("home", "sat", 3), ("home", "west", 4), ("west", "east", 5)]
    gate = PolicyGate(Directory(facts_of(*each) for each in LAWS.items()), name("gs"))

    def reached(transit: str) -> frozenset[str]:
        return reach(plan_of(onward), gate, through(transit), name("gs"), name("sat"), 0)

    assert reached("KR") == {name("gs"), name("home"), name("sat")}
    assert name("west") in reached("KR | US")


def test_no_contact_leads_nowhere() -> None:
    found = judged(through("any"), [("sat", "gs", 0)])
    assert (found.route, found.better, found.missing) == (None, None, ())
