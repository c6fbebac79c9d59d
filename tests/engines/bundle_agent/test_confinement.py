"""Work on many bundles at once, of which one fails: the others are as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stack.contacts.plan import Plan
from stack.core.errors import StoreError
from stack.engines.bundle_agent import BundleAgent
from stack.engines.bundle_agent.custody import Custody
from stack.ports.application import Outgoing
from stack.ports.store import Committed, Place, Release
from stack.routing.bookings import Bookings
from stack.wire.bundle import encode_bundle
from tests.engines.bundle_agent.harness import FAR, NEXT, NOW, Harness, bundle_for, plan


class Unspeakable(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("nor this")


def five(destination: str = FAR) -> tuple[Harness, list[int]]:
    """Five bundles that wait."""
    harness = Harness()
    refs = []
    for number in range(1, 6):
        ref = harness.arrive(bundle_for(destination + "app", sequence=number))
        assert ref
        refs.append(ref)
    return harness, refs


def fails_for(patch: pytest.MonkeyPatch, owner: Any, name: str, ref: int, error: Exception) -> None:
    """The method raises where it is given this bundle."""
    real = getattr(owner, name)

    def call(self: Any, first: Any, *args: Any, **options: Any) -> Any:
        if getattr(first, "ref", first) == ref:
            raise error
        return real(self, first, *args, **options)

    patch.setattr(owner, name, call)


def went(harness: Harness) -> list[int]:
    """All that the next node is given."""
    return harness.agent.take(NEXT, 100_000, 10, NOW)


ERRORS = [ValueError("planted"), Unspeakable()]


def drain(agent: BundleAgent) -> None:
    agent.contact_ended(NEXT, NOW)


def drain_all(agent: BundleAgent) -> None:
    agent.plan_changed(plan(), NOW)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("change", [drain, drain_all])
def test_a_booking_that_cannot_be_given_back_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[BundleAgent], None], error: Exception
) -> None:
    harness, refs = five()
    fails_for(monkeypatch, Bookings, "release", refs[2], error)
    change(harness.agent)
    others = [ref for ref in refs if ref != refs[2]]
    assert went(harness) == others
    assert harness.agent.entries[refs[2]].place is Place.QUARANTINE
    size = len(encode_bundle(bundle_for(FAR + "app")))
    assert harness.agent.forwarder.bytes_waiting == len(others) * size


def test_a_search_that_fails_leaves_the_others_their_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    harness, refs = five()
    fails_for(monkeypatch, type(harness.agent.forwarder), "add", refs[0], ValueError("planted"))
    harness.agent.contact_ended(NEXT, NOW)
    assert went(harness) == refs[1:]
    assert harness.agent.entries[refs[0]].place is Place.QUARANTINE


def test_a_search_for_which_memory_is_short_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    harness, refs = five()
    with monkeypatch.context() as patch:
        fails_for(patch, type(harness.agent.forwarder), "add", refs[0], MemoryError())
        harness.agent.contact_ended(NEXT, NOW)
    assert went(harness) == refs[1:]
    assert harness.agent.stranded
    harness.agent.retry(NOW)
    assert went(harness) == [refs[0]]


def test_that_holds_for_what_was_just_stored_too(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    with monkeypatch.context() as patch:
        fails_for(patch, type(harness.agent.forwarder), "add", 1, MemoryError())
        ref = harness.arrive(bundle_for(FAR + "app"))
    assert went(harness) == []
    harness.agent.retry(NOW)
    assert went(harness) == [ref]


def test_a_plan_that_cannot_be_followed_leaves_nothing_without_a_way() -> None:
    harness, refs = five()
    forwarder = harness.agent.forwarder

    def refuse(plan: Plan) -> None:
        raise ValueError("planted")

    forwarder.set_plan = refuse  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="planted"):
        harness.agent.plan_changed(Plan(), NOW)
    assert went(harness) == refs


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_of_what_was_stored_together_all_others_begin_their_life(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    harness = Harness()
    puts = []
    for number in range(1, 6):
        encoded = encode_bundle(bundle_for(FAR + "app", sequence=number))
        puts.append(harness.agent.receive(encoded, NOW).put)
    fails_for(monkeypatch, BundleAgent, "_entered", 3, error)
    assert harness.commit([put for put in puts if put is not None]) == [1, 2, 3, 4, 5]
    assert went(harness) == [1, 2, 4, 5]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_has_left_the_store_leaves_the_agent_however_that_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Released, evicted, expired, damaged: nothing remains that nobody can load any more."""
    harness, (released, evicted, expired, damaged, last) = five()
    agent = harness.agent
    old = [harness.stored(expired)]
    real = Custody._report_end

    def report(self: Custody, *args: Any) -> None:
        if args[0].ref != last:
            raise error
        real(self, *args)

    monkeypatch.setattr(Custody, "_report_end", report)
    monkeypatch.setattr(BundleAgent, "_forget", _forgets_late(error))
    agent.committed([Release(released)], Committed([], [evicted]), NOW)
    agent.expired(old, NOW)
    agent.lost(damaged, NOW)
    assert [*agent.entries] == [last]
    assert went(harness) == [last]


def _forgets_late(error: Exception) -> Callable[..., Any]:
    """Forgetting fails after it was done."""
    real = Custody._forget

    def forget(self: Custody, ref: int, now_ms: int) -> Any:
        entry = real(self, ref, now_ms)
        if entry is not None:
            raise error
        return entry

    return forget


def test_a_bundle_that_cannot_be_cancelled_whole_goes_with_all_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness()
    ids, ops = harness.agent.send([_outgoing(bytes(9000))], NOW)
    (ref,) = harness.commit(ops)
    parts = harness.agent.split(ref, harness.octets[ref], 2000)
    assert parts is not None
    refs = harness.commit(parts)
    fails_for(monkeypatch, Custody, "_deleted", refs[1], ValueError("planted"))
    cancelled, releases = harness.agent.cancel(ids[0], NOW)
    assert cancelled.bundles == len(refs)
    harness.commit(releases)
    assert not harness.octets
    assert not harness.agent.entries
    assert not harness.agent.forwarder.bundles_waiting


def _outgoing(payload: bytes) -> Outgoing:
    return Outgoing(bundle_for(FAR + "app").primary.destination, payload, 60_000, "app")


def test_what_is_owed_to_the_store_is_paid_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operation that the store never can do keeps none of the others."""
    harness, refs = five()
    real, broken = harness.store.commit, {*refs}

    def commit(ops: Any, now_ms: int) -> Committed:
        if any(isinstance(op, Release) and op.ref in broken for op in ops):
            raise StoreError("planted")
        return real(ops, now_ms)

    monkeypatch.setattr(harness.store, "commit", commit)
    assert went(harness) == refs
    harness.agent.forwarded(refs, NOW, NEXT)
    harness.run_pending()
    assert len(harness.octets) == 5
    broken &= {refs[3]}
    harness.driver.retry_releases()
    assert [*harness.octets] == [refs[3]]
    broken.clear()
    harness.driver.retry_releases()
    assert not harness.octets
