"""Whether to ask once more for what does not verify."""

from __future__ import annotations

from stack.engines.bundle_agent.doubts import EARNED_BY, IN_VAIN_MAX, Doubts
from stack.wire.bundle import encode_bundle
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import NOW
from tests.engines.bundle_agent.test_identity import garbled, secured

FORGER, OTHER = "dtn://forger/", "dtn://other/"


def weary(doubts: Doubts) -> None:
    """The forger's bundles come again as they were until that is enough."""
    for number in range(IN_VAIN_MAX):
        digest = number.to_bytes(2)
        assert doubts.ask(digest, FORGER)
        assert not doubts.ask(digest, FORGER)


def test_who_brings_forgeries_is_not_asked_for_ever() -> None:
    doubts = Doubts()
    weary(doubts)
    assert not doubts.ask(b"next", FORGER)
    assert not doubts.ask(b"next", FORGER)
    assert doubts.ask(b"next", OTHER), "others are"


def test_what_has_been_damaged_and_comes_otherwise_costs_nothing() -> None:
    doubts = Doubts()
    assert all(doubts.ask(number.to_bytes(2), OTHER) for number in range(100 * IN_VAIN_MAX))


def test_what_is_proven_makes_up_for_it() -> None:
    doubts = Doubts()
    weary(doubts)
    for _ in range(EARNED_BY - 1):
        doubts.proven(FORGER)
    assert not doubts.ask(b"too early", FORGER)
    doubts.proven(FORGER)
    assert doubts.ask(b"once", FORGER)
    assert not doubts.ask(b"once", FORGER)
    assert not doubts.ask(b"no more", FORGER)


def test_all_that_is_proven_makes_up_for_no_more_than_was_asked() -> None:
    doubts = Doubts()
    for _ in range(2 * IN_VAIN_MAX * EARNED_BY):
        doubts.proven(FORGER)
    weary(doubts)
    assert not doubts.ask(b"next", FORGER)


def test_what_was_under_way_when_that_was_enough_costs_no_more() -> None:
    doubts = Doubts()
    for number in range(10 * IN_VAIN_MAX):
        assert doubts.ask(number.to_bytes(2), FORGER)
    for number in range(10 * IN_VAIN_MAX):
        assert not doubts.ask(number.to_bytes(2), FORGER)
    for _ in range(EARNED_BY):
        doubts.proven(FORGER)
    assert doubts.ask(b"next", FORGER)


def test_the_genuine_ones_of_a_neighbour_who_brings_forgeries_pay_for_them() -> None:
    """As the agent has it: by neighbour, and by what security says."""
    desk = Desk(security=keyed())

    def kept(number: int, neighbour: str) -> bool:
        forged = encode_bundle(garbled(secured(b"%d" % number), 1))
        return not desk.agent.receive(forged, NOW, 0, neighbour).intact

    for number in range(IN_VAIN_MAX):
        assert [kept(number, FORGER) for _ in range(2)] == [True, False]
    assert not kept(-1, FORGER)
    assert kept(-1, OTHER)
    genuine = encode_bundle(secured(b"genuine"))
    for _ in range(EARNED_BY):
        desk.agent.receive(genuine, NOW, 0, FORGER)
    assert kept(-2, FORGER)
