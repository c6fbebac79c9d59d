"""A node that asks for epochs again and again ends none of those in force before its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.core.errors import SecurityError
from stack.security.epochs import ENDED, EPOCHS_MAX
from stack.services.keys.authority import AHEAD_MAX, ASKED_MS, EpochTerms, KeyAuthority
from stack.services.keys.messages import KeyHolding, make_holding
from tests.services.keys.test_machine import DAY, NAMES, Distribution, Owner

TERMS = {
    "default": EpochTerms(),
    "many in force": EpochTerms(period_ms=3 * DAY, overlap_ms=12 * DAY, lead_ms=DAY),
    "most in force": EpochTerms(period_ms=2 * DAY, overlap_ms=11 * DAY, lead_ms=DAY),
    "no overlap": EpochTerms(period_ms=2 * DAY, overlap_ms=0, lead_ms=DAY),
}


class Insatiable:
    """A node that is not content, at its authority."""

    def __init__(self, terms: EpochTerms) -> None:
        world = Distribution()
        self.now, self.owner = world.now, Owner(world.entropy)
        self.authority = KeyAuthority(
            "kari", signing=world.signing, entropy=world.entropy, terms=terms
        )
        certified = self.owner.certified.public
        self.authority.follow([(NAMES[0], self.owner.signing.public, certified)], self.now)
        self.authority.poll(self.now)

    def newest(self) -> int:
        assert self.authority.epochs.newest is not None
        return self.authority.epochs.newest.number

    def say(self, number: int, worn: int = 0) -> None:
        holding = KeyHolding(
            domain="kari",
            node=NAMES[0],
            counter=self.now,
            numbers=(number,),
            key=self.owner.certified.public,
            worn=worn,
        )
        octets = make_holding(holding, self.owner.signing)
        self.authority.receive(octets, NAMES[0], self.now)


@pytest.mark.slow
@pytest.mark.parametrize("worn", [True, False])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_all_epochs_last_until_their_end(terms: EpochTerms, worn: bool) -> None:
    node = Insatiable(terms)
    epochs, made = node.authority.epochs, {node.newest()}
    for _ in range(90):
        node.now += ASKED_MS + 1000
        if worn:
            node.say(node.newest(), worn=node.newest())
        else:
            node.say(node.newest() + AHEAD_MAX)  # of an authority that was restored
        node.authority.poll(node.now)
        made |= {epoch.number for epoch in epochs.held}
        assert epochs.floor == 0
        assert set(epochs.gone.values()) <= {ENDED}
        epochs.told(list(epochs.gone))
    asked = len(made) - 90 * ASKED_MS // terms.period_ms
    assert (asked > 5) == (terms is not TERMS["most in force"])  # there is room for it, or not


def test_an_operator_has_a_place_left() -> None:
    node = Insatiable(EpochTerms())
    first = node.newest()
    for _ in range(10):
        node.now += ASKED_MS
        node.say(node.newest(), worn=node.newest())
        node.authority.poll(node.now)
    assert len(node.authority.epochs.held) < EPOCHS_MAX
    node.authority.rotate(node.now)
    assert node.authority.epochs.get(first) is not None
    assert node.authority.epochs.floor == 0


@pytest.mark.parametrize("number", [AHEAD_MAX + 1, (1 << 32) - 1])
def test_an_epoch_that_cannot_be_is_not_had(number: int) -> None:
    node = Insatiable(EpochTerms())
    last, node.now = node.newest(), node.now + 2 * ASKED_MS
    record = replace(node.authority.recipients[NAMES[0]].record)
    with pytest.raises(SecurityError, match="an epoch that cannot be"):
        node.say(min(last + number, (1 << 32) - 1))
    assert node.newest() == last
    assert node.authority.recipients[NAMES[0]].record == record
