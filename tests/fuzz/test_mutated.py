"""A few mutated inputs for everything that reads; `make soak` feeds millions."""

from __future__ import annotations

import pytest

from tests.fuzz.run import Tally, feed
from tests.fuzz.targets import Target, targets

INPUTS = 1500


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_nothing_from_outside_does_harm(target: Target) -> None:
    tally = Tally(target.name)
    feed(target, "commit", INPUTS, tally)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.taken, "no input was ever taken: the mutations are too rough to reach deep"


def test_a_fault_is_told_with_the_octets_that_show_it() -> None:
    def check(data: bytes, rng: object) -> bool:
        if b"\xff" in bytes(data):
            raise IndexError("planted")
        return True

    tally = Tally("planted")
    feed(Target("planted", [b"\x00\xfe"], check), "commit", 300, tally)
    assert tally.faults
    shown = bytes.fromhex(tally.faults[0].rsplit("'", 2)[1])
    assert b"\xff" in shown
    assert "IndexError: planted" in tally.faults[0]
