"""A few mutated inputs for everything that reads; `make soak` feeds millions."""

from __future__ import annotations

from functools import cache

import pytest

from tests.fuzz.run import Tally, feed
from tests.fuzz.targets import Target, targets

INPUTS = 1500
PARTS = 2

everything = cache(targets)
"""What they are fed takes seconds to make: not while tests are collected."""


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_from_outside_does_harm(part: int) -> None:
    for target in everything()[part::PARTS]:
        tally = Tally(target.name)
        feed(target, "commit", INPUTS, tally)
        assert not tally.faults, "\n".join(tally.faults)
        assert tally.taken, f"{target.name} never took an input: too rough to reach deep"


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
