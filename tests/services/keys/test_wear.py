"""A key that has nearly encrypted as often as it may has the authority rotate, but not at will."""

from __future__ import annotations

from stack.services.keys.authority import ASKED_MS
from stack.services.keys.member import SPACING_MS
from tests.services.keys.test_machine import NAMES, Distribution


def test_a_worn_key_is_followed_by_the_next_epoch() -> None:
    world = Distribution()
    world.begin()
    world.the_network_is_well()
    world.rotate()
    world.settle()
    first = world.authority.epochs.newest
    assert first is not None
    member = world.members[NAMES[0]]
    worn = f"kari-epoch-{first.number}-aes"
    for wait_ms, rotated in ((SPACING_MS, False), (ASKED_MS, True)):
        world.now += wait_ms  # a node that asks again and again wears out nobody else
        member.worn(worn)
        world.work()
        world.settle()
        newest = world.authority.epochs.newest
        assert newest is not None
        assert (newest.number > first.number) == rotated
    world.now += SPACING_MS
    world.work()
    world.settle()
    last = world.authority.epochs.newest
    assert last is not None
    assert all(one.epochs.newest == last for one in world.members.values())
    member.worn(worn)  # of an epoch that has a successor: there is nothing to ask for
    assert not member._worn
