"""A silent peer is asked for an answer: seldom, and no longer than it takes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stack.core.clock import SECOND
from stack.engines.ltp.probe import PROBE_NS_MAX
from stack.wire.ltp import CancelAck, CancelSegment
from tests.engines.ltp.lone import Lone


def asked(lone: Lone, seconds: int) -> list[int]:
    """At which second each probe left."""
    times = []
    for second in range(seconds):
        for segment in lone.said():
            assert isinstance(segment, CancelSegment)
            times.append(second)
        lone.wait(SECOND)
    return times


def test_a_silent_peer_is_asked_ever_more_seldom() -> None:
    lone = Lone()
    lone.engine.probe(lone.now)
    lone.engine.probe(lone.now)  # once is enough
    times = asked(lone, 1000)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps == sorted(gaps)
    most = PROBE_NS_MAX // SECOND
    assert 15 <= gaps.count(most) + gaps.count(most + 1) >= len(gaps) - 10
    assert not lone.engine.asking, "it stands in the way of nothing"


def test_it_ends_when_anything_is_heard_and_can_begin_again() -> None:
    lone = Lone()
    for _ in range(2):
        lone.engine.probe(lone.now)
        (probe,) = lone.said()
        lone.wait(SECOND)
        lone.feed(CancelAck(session=probe.session, to_sender=True))
        lone.said()
        lone.wait(PROBE_NS_MAX)
        assert asked(lone, 200) == []


def test_it_ends_when_the_link_is_down() -> None:
    lone = Lone()
    lone.engine.probe(lone.now)
    lone.said()
    for up in (False, True):
        lone.engine.link(lone.now, tx_up=up, rx_up=up, rate_bps=None, owlt_ns=0)
        lone.wait(2 * PROBE_NS_MAX)
        assert asked(lone, 200) == []


@pytest.mark.parametrize("owlt_s", [1, 300])
def test_a_far_peer_has_time_to_answer(owlt_s: int) -> None:
    lone = Lone()
    owlt_ns = owlt_s * SECOND
    lone.engine.link(lone.now, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=owlt_ns)
    lone.engine.probe(lone.now)
    times = asked(lone, 3000)
    assert times[1] >= 2 * owlt_s
