"""Somebody without keys on a link: honest flows arrive, and what he sends is held within bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stack.core.train import single
from stack.simulator.swarm import Fault, draw, run
from stack.simulator.swarm.faults import CONTROL, HOSTILE, HOSTILE_MODES, LISTENING_MODES
from stack.simulator.swarm.hostile import Hearsay, Intruder
from stack.wire.bundle import LENIENT, Bundle, CanonicalBlock, decode_bundle, encode_bundle
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    DataSegment,
    ReportAck,
    ReportSegment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)
from tests.engines.bundle_agent.harness import bundle_for
from tests.sim.days import small

EACH = 2
"""Days of each kind; `make soak` runs more."""


def intruder(mode: str) -> Intruder:
    return Intruder(3, ("gs1", "sat1"), mode, Hearsay("test"), "test")


def heard() -> bytes:
    bundle = bundle_for("dtn://sat1/swarm", b"genuine payload")
    return encode_bundle(Bundle(bundle.primary, (CanonicalBlock(12, 2, 0, b"sec"), *bundle.blocks)))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [*HOSTILE_MODES, *LISTENING_MODES])
def test_honest_flows_arrive(mode: str) -> None:
    struck = 0
    for seed in range(EACH):
        options = draw(1000 + seed, kinds=(HOSTILE,))
        way = options.links[seed % len(options.links)]
        for node, peer in ((way.a, way.b), (way.b, way.a)):
            fault = Fault(
                kind=HOSTILE, node=node, peer=peer, at_s=0, for_s=options.faults_s, mode=mode
            )
            signed = mode == CONTROL
            outcome = run(replace(options, protect=True, authenticate=signed, faults=(fault,)))
            words = "\n".join(f"{one.invariant}: {one.text}" for one in outcome.problems)
            assert outcome.ok, f"{options.line()} {node}-{peer} {mode}\n{words}"
            struck += outcome.faults[HOSTILE]
    assert struck == 2 * EACH


@pytest.mark.slow
def test_he_sends_when_the_link_is_up_and_is_counted() -> None:
    quiet = run(small())
    fault = Fault(kind=HOSTILE, node="gs1", peer="sat1", at_s=0, for_s=3000, mode="strange")
    loud = run(small(fault))
    assert loud.ok, loud.problems
    assert loud.datagrams > quiet.datagrams + 50


@pytest.mark.parametrize("mode", HOSTILE_MODES)
def test_what_he_sends_is_made_of_what_he_has_heard(mode: str) -> None:
    one = intruder(mode)
    octets = one._block(heard())
    for each in octets:
        one.hear(single(each))
    sent = [train for _ in range(20) for train in one.strike(1000.0)]
    assert sent
    if mode == "replay":
        assert {bytes(train.data) for train in sent} == set(octets)
    if mode in ("bundles", "fragments"):
        genuine = bundle_for("dtn://sat1/swarm").primary
        for train in sent:
            segment, _ = decode_segment(train.data)
            assert isinstance(segment, DataSegment)
            assert segment.session.engine == 3
            forged, _ = decode_bundle(segment.data, mode=LENIENT)
            assert forged.primary.source == genuine.source
            assert forged.primary.creation_ms == genuine.creation_ms


def test_what_one_hears_another_can_forge() -> None:
    hearsay = Hearsay("test")
    ears = Intruder(1, ("gs1",), "replay", hearsay, "ears")
    mouth = Intruder(2, ("gs1",), "bundles", hearsay, "mouth")
    assert not mouth.strike(0.0)
    for each in ears._block(heard()):
        ears.hear(single(each))
    assert mouth.strike(0.0)


def test_what_he_says_of_sessions_fits_them() -> None:
    """Reports and cancellations for the sessions of the end that he speaks to, data and
    acknowledgements in those of the end that he speaks for."""
    one = intruder(CONTROL)
    ours, theirs = SessionId(3, 77), SessionId(4, 88)
    for session in (ours, theirs):
        segment = DataSegment(
            session=session,
            kind=SegmentType.RED_END_BLOCK,
            client_service=1,
            offset=0,
            data=bytes(500),
            checkpoint_serial=9,
        )
        one.hear(single(encode_segment(segment)))
    kinds: dict[SessionId, set[type]] = {ours: set(), theirs: set()}
    for train in (train for _ in range(50) for train in one.strike(0.0)):
        forged, _ = decode_segment(train.data)
        kinds[forged.session].add(type(forged))
        if isinstance(forged, ReportSegment):
            assert forged.upper == 500
            assert forged.checkpoint_serial in (0, 9)
    assert kinds[ours] == {DataSegment, ReportAck, CancelSegment, CancelAck}
    assert kinds[theirs] == {ReportSegment, CancelSegment, CancelAck}


def test_he_answers_at_once() -> None:
    one = intruder(CONTROL)
    called = []
    one.on_heard = lambda: called.append(1)
    one.hear(single(one._block(heard())[0]))
    assert called
