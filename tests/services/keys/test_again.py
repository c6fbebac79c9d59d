"""Who says the same again and again has others say little."""

from __future__ import annotations

from stack.cose import HpkePrivateKey
from stack.security.epochs import EPOCHS_MAX
from stack.services.keys.authority import AGAIN_MS
from stack.services.keys.member import SPACING_MS
from stack.services.keys.messages import KeyHolding, make_holding
from tests.services.keys.test_machine import DAY, HOME, NAMES, Distribution


def test_a_grant_that_is_replayed_for_days_has_a_node_say_little() -> None:
    """Holdings wait for a week at a node that reaches nobody."""
    world = Distribution()
    world.begin()
    world.the_network_is_well()
    world.rotate()
    grant = next(octets for _, to, octets in world.flying if to == NAMES[0])
    member, told = world.members[NAMES[0]], []
    for _ in range(DAY // 20_000):
        member.receive(grant, HOME, world.now)
        told += member.poll(world.now)
        world.now += 20_000
    assert 24 <= len(told) <= 24 + 10
    world.authority.receive(told[-1][1], NAMES[0], world.now)
    world.rotate()  # what is new is told at once
    grant = [octets for _, to, octets in world.flying if to == NAMES[0]][-1]
    assert member.receive(grant, HOME, world.now)
    world.now += SPACING_MS
    assert len(member.poll(world.now)) == 1


def test_a_node_that_asks_without_end_gets_little() -> None:
    """Grants wait for weeks at the authority's node for one that nobody reaches."""
    world = Distribution()
    world.begin()
    world.the_network_is_well()
    name, grants = NAMES[0], 0
    key = HpkePrivateKey.generate(world.entropy, "X25519").public
    for counter in range(10_000):
        asks = KeyHolding(
            domain="kari", node=name, counter=world.now + counter, numbers=(), key=key, wants=True
        )
        octets = make_holding(asks, world.owners[name].signing)
        assert world.authority.receive(octets, name, world.now)
        grants += len(world.authority.poll(world.now))
        world.now += DAY // 10_000
    assert DAY // AGAIN_MS <= grants <= EPOCHS_MAX * (DAY // AGAIN_MS + 1)
