"""Who may let go of a bundle, and what is done again after the store has failed."""

from __future__ import annotations

import pytest

from stack.core.errors import DecodeError, StoreError
from stack.engines.bundle_agent import Echo, Reassemble
from stack.ports.store import DUPLICATE, Committed, Put, Release, Write
from stack.wire.bundle import encode_bundle, fragment_bundle
from tests.engines.bundle_agent.harness import FAR, NEXT, NOW, Harness, bundle_for


def duplicate(harness: Harness, sender: str) -> Echo:
    """The bundle comes from a neighbour although it is held here; what the agent asks then."""
    encoded = encode_bundle(bundle_for(FAR + "app"))
    put = harness.agent.receive(encoded, NOW, 0, sender).put
    assert put is not None
    harness.agent.committed([put], Committed([DUPLICATE]), NOW)
    event = harness.agent.next_event()
    assert isinstance(event, Echo)
    assert (event.key, event.neighbour) == (put.key, sender)
    return event


def under_way() -> tuple[Harness, int]:
    """A bundle that was given to the link to the next node."""
    harness = Harness()
    ref = harness.arrive(bundle_for(FAR + "app"))
    assert ref
    assert harness.agent.forwarder.take(NEXT, 10_000, 10, NOW) == [ref]
    return harness, ref


def test_an_acknowledgement_means_nothing_when_the_bundle_came_back_meanwhile() -> None:
    harness, ref = under_way()
    duplicate(harness, NEXT)
    harness.agent.echoed(ref, NEXT)
    harness.agent.forwarded([ref], NOW, NEXT)
    harness.run_pending()
    assert ref in harness.octets, "both nodes would have let go of it"
    assert harness.agent.counters["sent_again"] == 1
    # Not back to where it came from: it waits for another way.
    assert harness.agent.forwarder.take(NEXT, 10_000, 10, NOW) == []
    assert list(harness.agent.forwarder._unrouted) == [ref]


def test_the_next_acknowledgement_counts_again() -> None:
    harness, ref = under_way()
    duplicate(harness, "dtn://gs9/")
    harness.agent.echoed(ref, "dtn://gs9/")
    harness.agent.forwarded([ref], NOW, NEXT)
    assert harness.agent.forwarder.take(NEXT, 10_000, 10, NOW) == [ref]
    harness.agent.forwarded([ref], NOW, NEXT)
    harness.run_pending()
    assert harness.octets == {}
    assert harness.agent.forwarder.bytes_waiting == 0


def test_what_only_waits_is_not_sent_back() -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(FAR + "app"))
    assert ref
    duplicate(harness, NEXT)
    harness.agent.echoed(ref, NEXT)
    assert harness.agent.forwarder.take(NEXT, 10_000, 10, NOW) == [ref]
    harness.agent.forwarded([ref], NOW, NEXT)
    harness.run_pending()
    assert harness.octets == {}, "nothing was under way when it came back"


def test_an_echo_of_what_is_gone_is_no_matter() -> None:
    harness, ref = under_way()
    harness.agent.forwarded([ref], NOW, NEXT)
    harness.run_pending()
    harness.agent.echoed(ref, NEXT)
    harness.agent.forwarded([ref], NOW, NEXT)
    assert harness.agent.counters["sent_again"] == 0


def test_what_has_left_the_agent_is_owed_to_the_store() -> None:
    harness, ref = under_way()
    harness.agent.forwarded([ref], NOW, NEXT)
    ops = harness.agent.take_ops()
    assert ops == [Release(ref)]
    assert harness.agent.refused(ops) == ops
    waiting = harness.arrive(bundle_for(FAR + "app", sequence=2))
    assert waiting
    assert harness.agent.refused([Release(waiting)]) == [], "the agent still has it"


def test_a_reservation_of_sequence_numbers_that_failed_is_asked_for_again() -> None:
    harness = Harness(direct=[NEXT])

    def writes(destination: str) -> list[Write]:
        from stack.core.eid import Eid
        from stack.ports.application import Outgoing

        outgoing = Outgoing(Eid.parse(destination), b"x", 60_000, "app")
        _, ops = harness.agent.send([outgoing], NOW)
        found = [op for op in ops if isinstance(op, Write)]
        if found:
            assert harness.agent.refused(ops) == []
        return found

    first, second = writes(NEXT + "app"), writes(NEXT + "app")
    assert first
    assert second
    assert int.from_bytes(second[0].value or b"", "big") > 65_536


def test_a_unit_that_the_store_did_not_take_is_put_together_later() -> None:
    harness = Harness()
    whole = bundle_for("dtn://sat1/app", bytes(2000))
    refs = []
    reassembly = None
    for fragment in fragment_bundle(whole, 700):
        put = harness.agent.receive(encode_bundle(fragment), NOW).put
        assert isinstance(put, Put)
        refs.append(len(harness.puts) + 1)
        harness.puts[refs[-1]] = put
        harness.octets[refs[-1]] = put.encoded
        harness.agent.committed([put], Committed([refs[-1]]), NOW)
        reassembly = harness.agent.next_event() or reassembly
    assert isinstance(reassembly, Reassemble)
    for ref in reassembly.refs:
        harness.agent.fail(ref, StoreError("busy"), NOW)
    assert harness.agent.next_event() is None
    assert harness.agent.stranded
    harness.agent.retry(NOW)
    assert harness.agent.next_event() == Reassemble(tuple(refs))


def test_damage_is_told_to_who_can_ask_the_store_again() -> None:
    harness, ref = under_way()
    entry = harness.agent.entries[ref]
    damaged = bytearray(harness.octets[ref])
    damaged[-3] ^= 1
    with pytest.raises(DecodeError):
        harness.agent.departing(entry, damaged, NOW)
    with pytest.raises(DecodeError):
        harness.agent.split(ref, damaged, 300)
    with pytest.raises(DecodeError):
        harness.agent.open(ref, damaged, NOW)
