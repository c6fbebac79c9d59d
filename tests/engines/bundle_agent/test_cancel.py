"""Cancelling a transmission (RFC 9171 §5.12)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.engines.bundle_agent import AgentConfig
from stack.ports.application import BundleId, Cancelled, Outgoing
from stack.ports.store import Committed, Release
from stack.wire.bundle import REPORT_DELETION, ReportReason
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, Harness, bundle_for, reports

REPORTING = AgentConfig(status_reports=True)


def send(harness: Harness, destination: str, payload: bytes = b"data") -> BundleId:
    """One bundle that wants to know of its deletion."""
    there = Eid.parse(destination)
    outgoing = Outgoing(there, payload, 60_000, "app", report_flags=REPORT_DELETION)
    (made,), ops = harness.agent.send([outgoing], NOW)
    harness.commit(ops)
    return made


def cancel(harness: Harness, bundle: BundleId) -> Cancelled:
    cancelled, ops = harness.agent.cancel(bundle, NOW)
    harness.commit(ops)
    return cancelled


def test_a_bundle_that_waits_is_deleted_and_reported_with_reason_3() -> None:
    harness = Harness(config=REPORTING)
    first, second = send(harness, FAR + "app"), send(harness, FAR + "app")
    assert cancel(harness, first) == Cancelled(1, 0)
    (report,) = reports(harness)
    assert (report.deleted, report.reason) == (True, ReportReason.TRANSMISSION_CANCELED)
    assert (report.source, report.sequence) == (first.source, first.sequence)
    left = [bundle.primary.sequence for bundle in harness.held()]
    assert second.sequence in left
    assert first.sequence not in left
    assert not harness.agent.forwarder.given_to(1)
    assert cancel(harness, first) == Cancelled(0, 0)
    assert harness.agent.counters["cancelled"] == 1


def test_nobody_is_told_who_did_not_ask() -> None:
    harness = Harness(config=REPORTING)
    harness.send(FAR + "app")
    (bundle,) = harness.held()
    primary = bundle.primary
    made = BundleId(primary.source, primary.creation_ms, primary.sequence)
    assert cancel(harness, made) == Cancelled(1, 0)
    assert harness.octets == {}
    assert harness.agent.forwarder.bytes_waiting == 0


def test_all_parts_of_a_bundle_go() -> None:
    harness = Harness(direct=[NEXT])
    made = send(harness, NEXT + "app", bytes(5000))
    (ref,) = harness.octets
    ops = harness.agent.split(ref, harness.octets[ref], 1000)
    assert ops is not None
    parts = harness.commit(ops)
    assert cancel(harness, made) == Cancelled(len(parts), 0)
    assert harness.octets == {}


def test_what_a_link_has_been_given_is_forgotten_and_that_is_told() -> None:
    harness = Harness(direct=[NEXT])
    made = send(harness, NEXT + "app")
    (ref,) = harness.agent.forwarder.take(NEXT, 10_000, 10, NOW)
    told = harness.agent.links.add(NEXT)
    assert cancel(harness, made) == Cancelled(1, 1)
    assert told.take() == [ref], "the link need not go on with it"
    harness.agent.forwarded([ref], NOW, NEXT)  # it arrived: nothing is left to do
    assert harness.agent.counters["forwarded"] == 0
    assert harness.agent.forwarder.bytes_waiting == 0


def test_links_go_on_with_what_only_makes_room_and_not_with_what_has_expired() -> None:
    harness = Harness(direct=[NEXT])
    refs = [harness.send(NEXT + "app"), harness.send(NEXT + "app"), harness.send(NEXT + "app")]
    assert harness.agent.forwarder.take(NEXT, 10_000, 2, NOW) == refs[:2]
    told = harness.agent.links.add(NEXT)
    harness.agent.committed([], Committed([], evicted=[refs[0]]), NOW)
    assert not told.useless
    harness.agent.expired([harness.stored(ref) for ref in refs[1:]], NOW + 60_000)
    assert told.take() == [refs[1]], "the third was given to nobody"


def test_only_what_was_sent_from_here_and_waits_can_be_cancelled() -> None:
    harness = Harness()
    for bundle in (
        bundle_for(FAR + "app"),
        bundle_for(FAR + "app", source=HERE + "app"),  # claims to be ours, but came over a link
        bundle_for(HERE + "app", source=HERE + "app", sequence=2),
    ):
        assert harness.arrive(bundle)
        primary = bundle.primary
        made = BundleId(primary.source, primary.creation_ms, primary.sequence)
        assert cancel(harness, made) == Cancelled(0, 0)
    assert len(harness.octets) == 3
    made = send(harness, FAR + "app")
    other = BundleId(Eid.parse(HERE + "other"), made.creation_ms, made.sequence)
    assert cancel(harness, other) == Cancelled(0, 0)


def test_after_a_restart_too() -> None:
    before = Harness(config=REPORTING)
    made = send(before, FAR + "app")
    after = Harness(config=REPORTING)
    after.octets.update(before.octets)
    after.puts.update(before.puts)
    after.agent.restore([before.stored(ref) for ref in before.octets], NOW)
    assert [entry.id for entry in after.agent.entries.values()] == [made]
    cancelled, ops = after.agent.cancel(made, NOW)
    assert cancelled == Cancelled(1, 0)
    assert [type(op) for op in ops] == [Release]


def test_a_store_that_fails_is_told_again() -> None:
    harness = Harness()
    made = send(harness, FAR + "app")
    _, ops = harness.agent.cancel(made, NOW)
    assert harness.agent.refused(ops) == ops


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_ids_are_read_as_they_are_written(creation_ms: int, sequence: int) -> None:
    made = BundleId(Eid.parse("dtn://a/x@y"), creation_ms, sequence)
    assert BundleId.parse(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@1.2",
        "x@1.2",
        "dtn://a/x",
        "dtn://a/x@1",
        "dtn://a/x@1.-2",
        f"dtn://a/x@1.{2**64}",
        "dtn://a/x@1.\u00b2",
        "dtn://a/x@1.2 ",
        "dtn://a/x@" + "1" * 5000 + ".1",
    ],
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(DecodeError):
        BundleId.parse(text)
