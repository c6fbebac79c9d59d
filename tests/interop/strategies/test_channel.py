"""Channels of the strategy: what they do to what is put in, and how small they become."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from examples.fuzz import tlv
from interop.strategies.channel import ChannelScript, ScriptedChannel, channels

QUIET = ChannelScript(1)
MESSAGES = [bytes((number,)) for number in range(4)]
FINDING = settings(max_examples=3000, derandomize=True, database=None, deadline=None)


def through(script: ChannelScript, count: int, step: int = 1) -> list[int]:
    """What comes of some numbers, one put in at each time."""
    channel: ScriptedChannel[int] = script.channel()
    found = []
    for now in range(count * step):
        if now % step == 0:
            channel.put(now // step, now)
        found += channel.take(now)
    while (at := channel.next_at()) is not None:
        found += channel.take(at)
    return found


@given(channels())
def test_nothing_is_made_up_and_in_the_end_all_arrives(script: ChannelScript) -> None:
    count = len(script.fates) + script.quiet_from + 5
    found = Counter(through(script, count))
    for number in range(count):
        fate = script.fates[number] if number < len(script.fates) else (0,)
        out = any(begin <= number < end for begin, end in script.blackouts)
        assert found[number] == (0 if out else len(fate))
    assert found[count - 1] == 1


@given(channels(loss=False, duplication=False, reordering=False, blackout=0))
def test_what_is_not_wished_for_does_not_happen(script: ChannelScript) -> None:
    assert through(script, 50) == list(range(50))


@given(channels(reordering=False), st.integers(1, 3))
def test_order_is_kept_where_it_is_to_be(script: ChannelScript, step: int) -> None:
    found = through(script, 50, step)
    assert found == sorted(found)


@pytest.mark.slow
def test_everything_comes_and_each_alone_shrinks_to_itself() -> None:
    assert find(channels(), lambda one: True, settings=FINDING) == QUIET
    lost = find(
        channels(blackout=0), lambda one: through(one, 9) == list(range(1, 9)), settings=FINDING
    )
    assert lost == ChannelScript(1, ((),))
    twice = find(channels(), lambda one: len(through(one, 9)) > 9, settings=FINDING)
    assert twice == ChannelScript(1, ((0, 0),))
    later = find(
        channels(),
        lambda one: through(one, 9)[:2] == [1, 0] and len(through(one, 9)) == 9,
        settings=FINDING,
    )
    assert later == ChannelScript(1, ((2,),))
    dark = find(channels(), lambda one: bool(one.blackouts), settings=FINDING)
    assert dark == ChannelScript(1, (), ((0, 1),))


@pytest.mark.slow
def test_a_protocol_is_tried_with_it() -> None:
    """Numbers of one bit: a copy that comes late is taken for the message after the next."""
    pair = st.tuples(channels(), channels())
    there, back = find(
        pair, lambda both: tlv.carry(MESSAGES, both[0], both[1], 2) != MESSAGES, settings=FINDING
    )
    assert tlv.carry(MESSAGES, there, back) == MESSAGES
    assert len(there.fates) + len(back.fates) <= 4, (there, back)
    assert there.blackouts + back.blackouts == ()


@settings(max_examples=100)
@given(channels(), channels())
def test_with_more_numbers_it_is_right(there: ChannelScript, back: ChannelScript) -> None:
    assert tlv.carry(MESSAGES, there, back) == MESSAGES


def test_the_stream_has_them_too() -> None:
    some = list(itertools.islice(channels.maker().cases(), 500))
    fates = Counter(len(fate) for one in some for fate in one.fates)
    assert fates[0] > 0
    assert fates[1] > fates[2] > 0
    assert any(one.blackouts for one in some)
    assert eval(repr(some[-1]), {"ChannelScript": ChannelScript}) == some[-1]
