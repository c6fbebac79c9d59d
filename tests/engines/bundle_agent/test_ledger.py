"""The ledger of fragments: what is tried when, with which of them, and what that may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.engines.bundle_agent import reassembly
from stack.engines.bundle_agent.joining import Joining
from stack.engines.bundle_agent.notes import Note
from stack.engines.bundle_agent.reassembly import (
    LOAD_COST_BYTES,
    PURSE_BYTES,
    TRIES_MAX,
    TRY_BYTES,
    TRY_COST_BYTES,
    FragmentLedger,
    Joined,
    tries,
)
from stack.ports.security import Opened
from stack.wire.bundle import IS_FRAGMENT, REPLICATE, Bundle, CanonicalBlock, hop_count
from tests.engines.bundle_agent.harness import HERE, bundle_for

TOTAL = 100
REFUSED = Opened(False, None, "not genuine")


def part(
    start: int, end: int, total: int = TOTAL, octet: int = 0, lifetime_ms: int = 60_000
) -> Bundle:
    """A fragment, all of whose octets are the same."""
    whole = bundle_for(HERE + "app", lifetime_ms=lifetime_ms)
    primary = replace(
        whole.primary, flags=IS_FRAGMENT, fragment_offset=start, total_adu_length=total
    )
    return Bundle(primary, (CanonicalBlock(1, 1, 0, bytes([octet]) * (end - start), 2),))


def note(one: Bundle) -> Note:
    return Note(one.primary, len(one.payload.data))


class Keeper:
    """A ledger, and the fragments that it is told of."""

    def __init__(self) -> None:
        self.ledger = FragmentLedger()
        self.parts: dict[int, Bundle] = {}

    def add(self, one: Bundle) -> list[int] | None:
        ref = len(self.parts) + 1
        self.parts[ref] = one
        return self.ledger.add(ref, note(one))

    def join(
        self, refs: Sequence[int], verify: Callable[[Bundle], Opened | None] = lambda one: None
    ) -> Joined:
        return self.ledger.join({ref: self.parts[ref] for ref in refs}, verify)

    def vain(self, refs: Sequence[int] | None) -> None:
        """What an attempt has named is joined in vain."""
        if refs:
            self.join(refs, lambda one: REFUSED)

    def forget(self, *refs: int) -> None:
        for ref in refs:
            self.ledger.forget(ref)

    def retried(self) -> list[list[int]]:
        return list(self.ledger.retry())

    def spent(self) -> int:
        return PURSE_BYTES - self.ledger._purse


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10)), max_size=10), st.data())
@settings(max_examples=40)
def test_a_unit_is_tried_as_soon_as_it_is_covered_and_not_before(
    pieces: list[tuple[int, int]], data: st.DataObject
) -> None:
    keeper = Keeper()
    here: dict[int, set[int]] = {}
    for start, length in pieces:
        gone = data.draw(st.sampled_from([0, *here]))
        if gone:
            keeper.forget(gone)
            del here[gone]
        end = min(10, start + length)
        named = keeper.add(part(start, end, 10))
        here[len(keeper.parts)] = set(range(start, end))
        whole = set().union(*here.values()) == set(range(10))
        assert named == (list(here) if whole else None)
        assert len(keeper.ledger) == bool(here)
        keeper.vain(named)
    keeper.forget(*here)
    assert len(keeper.ledger) == keeper.ledger.due == 0
    assert keeper.ledger.units == {}


@pytest.mark.parametrize(("start", "end"), [(0, 0), (50, 50), (99, 101), (100, 101), (0, 101)])
def test_what_belongs_to_nothing_is_not_noted(start: int, end: int) -> None:
    keeper = Keeper()
    assert keeper.add(part(start, end)) is None
    assert len(keeper.ledger) == 0
    keeper.forget(1)


def test_the_last_octet_alone_is_a_fragment() -> None:
    keeper = Keeper()
    assert keeper.add(part(99, 100)) is None
    assert len(keeper.ledger) == 1
    assert keeper.add(part(0, 99)) == [1, 2]


@pytest.mark.parametrize(
    "other",
    [
        part(50, 100, total=101),
        part(50, 100, lifetime_ms=60_001),
        Bundle(
            replace(part(50, 100).primary, destination=Eid.parse(HERE + "x")), part(50, 100).blocks
        ),
        Bundle(
            replace(part(50, 100).primary, report_to=Eid.parse(HERE + "x")), part(50, 100).blocks
        ),
        Bundle(replace(part(50, 100).primary, flags=IS_FRAGMENT | 0x20), part(50, 100).blocks),
        Bundle(replace(part(50, 100).primary, sequence=2), part(50, 100).blocks),
    ],
)
def test_fragments_that_say_different_things_are_different_units(other: Bundle) -> None:
    keeper = Keeper()
    keeper.add(part(0, 50))
    assert keeper.add(other) is None
    assert len(keeper.ledger) == 2
    keeper.forget(2)
    assert len(keeper.ledger) == 1
    assert keeper.add(part(50, 100)) == [1, 3], "its unit was not forgotten with the other"


def test_what_is_joined_names_its_parts_and_who_contradicts_it() -> None:
    keeper = Keeper()
    keeper.add(part(0, 50, lifetime_ms=1))  # another unit of the same identity
    keeper.add(part(0, 60))
    keeper.add(part(30, 40))
    keeper.add(part(30, 40, octet=1))
    refs = keeper.add(part(60, 100))
    assert refs == [2, 3, 4, 5]
    opened = Opened(True, None)
    joined = keeper.join(refs, lambda one: opened)
    assert joined.bundle is not None
    assert bytes(joined.bundle.payload.data) == bytes(100)
    assert (joined.opened, joined.used, joined.parts) == (opened, [2, 5], [2, 3, 5])
    assert (joined.culprits, joined.why) == ([1, 4], "")
    assert keeper.spent() == 0
    assert keeper.ledger.due == 0


def test_who_alone_is_not_genuine_is_a_culprit() -> None:
    keeper = Keeper()
    keeper.add(part(0, 100))
    keeper.add(part(0, 40, octet=1))
    assert keeper.add(part(40, 100, octet=1)) is None, "an attempt is under way"
    first = keeper.join([1], lambda one: REFUSED)
    assert first.culprits == [1]
    assert first.retry == [1, 2, 3], "these have come since"
    before = keeper.spent()
    joined = keeper.join(first.retry, lambda one: REFUSED)
    assert (joined.bundle, joined.opened, joined.used, joined.parts) == (None, None, [], [])
    assert (joined.culprits, joined.why) == ([1], "not genuine")
    octets = 100 + 40 + 60 + 3 * LOAD_COST_BYTES
    assert keeper.spent() - before == octets + 2 * (100 + TRY_COST_BYTES), "two candidates"
    assert keeper.ledger.due == 0, "nothing more can be made of them"


def test_fragments_that_do_not_fit_together_cost_what_was_loaded() -> None:
    keeper = Keeper()
    keeper.add(part(0, 60))
    refs = keeper.add(part(50, 100, octet=1))
    assert refs == [1, 2]
    assert keeper.ledger.due == 1, "until it is joined"
    joined = keeper.join(refs)
    assert joined == Joined(None, None, [], [], [], "no fragments fit together")
    assert keeper.spent() == 110 + 2 * LOAD_COST_BYTES
    assert keeper.ledger.due == 0


def test_what_cannot_be_read_is_refused_with_the_reason() -> None:
    def unreadable(one: Bundle) -> Opened | None:
        raise DecodeError("a block is wrong", "RFC 9171 §4.1")

    keeper = Keeper()
    refs = keeper.add(part(0, 100))
    assert refs
    joined = keeper.join(refs, unreadable)
    assert (joined.culprits, joined.why) == ([1], "a block is wrong [RFC 9171 §4.1]")


def test_what_was_put_aside_meanwhile_is_not_joined() -> None:
    keeper = Keeper()
    refs = keeper.add(part(0, 100))
    assert refs
    keeper.forget(1)
    assert keeper.join(refs).why == "they have been put aside"
    assert keeper.ledger.due == 0
    assert keeper.retried() == []


def test_what_comes_after_a_failure_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt is free; another waits for `retry` when the purse is empty."""
    monkeypatch.setattr(reassembly, "PURSE_BYTES", 1 << 40)
    keeper = Keeper()
    refs = keeper.add(part(0, 100))
    assert refs
    keeper.join(refs, lambda one: REFUSED)
    keeper.ledger._purse = 1
    assert keeper.add(part(10, 20)) == [1, 2], "there is something left"
    keeper.ledger._purse = 0
    assert keeper.add(part(20, 30)) is None
    assert keeper.ledger.due == 1
    assert keeper.add(part(0, 100, lifetime_ms=1)) == [4], "a first attempt"
    assert keeper.retried() == [[1, 2, 3], [4]]
    assert keeper.ledger._purse == 1 << 40


def test_a_unit_in_vain_rests_twice_as_long_each_time() -> None:
    keeper = Keeper()
    keeper.add(part(0, 100))
    tried = [bool(keeper.retried()) for _ in range(34)]
    assert tried == [once for rest in (2, 4, 8, 16) for once in (True, *[False] * rest)]
    for _ in range(4 * reassembly.REST_MAX):
        keeper.retried()
    rests = [bool(keeper.retried()) for _ in range(2 * reassembly.REST_MAX + 4)]
    first, second = [index for index, one in enumerate(rests) if one][:2]
    assert second - first == reassembly.REST_MAX + 1
    keeper.add(part(10, 20))
    assert keeper.retried() == [[1, 2]], "something new has come"


def test_units_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "PURSE_BYTES", 1 << 40)
    keeper = Keeper()
    for lifetime_ms in range(1, reassembly.RETRY_UNITS + 3):
        keeper.add(part(0, 100, lifetime_ms=lifetime_ms))
    first = keeper.retried()
    assert first == [[ref] for ref in range(1, reassembly.RETRY_UNITS + 1)]
    assert keeper.retried()[:2] == [[reassembly.RETRY_UNITS + 1], [reassembly.RETRY_UNITS + 2]]


def test_one_call_of_retry_verifies_no_more_than_the_purse_holds() -> None:
    keeper = Keeper()
    total = TRY_BYTES  # one try each
    for lifetime_ms in range(1, 10):
        keeper.ledger.add(lifetime_ms, Note(part(0, 1, total, 0, lifetime_ms).primary, total))
    tried = len(keeper.retried())
    assert tried == -(-PURSE_BYTES // (total + TRY_COST_BYTES))


@pytest.mark.parametrize(
    ("total", "count"),
    [
        (0, TRIES_MAX),
        (1, TRIES_MAX),
        (TRY_BYTES // TRIES_MAX, TRIES_MAX),
        (TRY_BYTES // TRIES_MAX + 1, TRIES_MAX - 1),
        (TRY_BYTES // 2, 2),
        (TRY_BYTES // 2 + 1, 1),
        (TRY_BYTES, 1),
        (2 * TRY_BYTES, 1),
    ],
)
def test_how_many_candidates_are_tried(total: int, count: int) -> None:
    assert tries(total) == count


def test_an_attempt_ends_after_so_many_candidates_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reassembly, "TRIES_MAX", 3)
    seen: list[bytes] = []

    def verify(one: Bundle) -> Opened | None:
        seen.append(bytes(one.payload.data))
        return REFUSED

    keeper = Keeper()
    named = [keeper.add(part(0, 100, octet=octet)) for octet in range(3)]
    assert named == [[1], None, None]
    keeper.join([1, 2, 3], verify)
    assert len(seen) == 3
    assert keeper.ledger.due == 1, "there may be more"
    keeper.add(part(0, 100, octet=3))
    keeper.join([1, 2, 3, 4], verify)
    assert len(seen) == 6
    keeper.forget(1, 2)
    keeper.ledger._due.clear()
    keeper.join([3, 4], verify)
    assert len(seen) == 8
    assert keeper.ledger.due == 0, "these were all"


def test_what_is_loaded_is_bounded_and_another_part_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reassembly, "LOAD_FRAGMENTS", 4)
    monkeypatch.setattr(reassembly, "LOAD_BYTES", 10)
    keeper = Keeper()
    named = [keeper.add(part(start, start + 20)) for start in range(0, 100, 20)]
    assert named[-1] == [1, 2, 3, 4, 5], "they fit together without overlap"
    keeper.vain(named[-1])
    refs = keeper.add(part(0, 20))
    assert refs == [3, 4, 5, 6], "four, from two on"
    keeper.vain(refs)
    assert keeper.add(part(0, 20)) == [1, 5, 6, 7], "as they came"
    keeper.join([1, 2, 3, 4], lambda one: REFUSED)
    assert keeper.ledger.due == 1, "there are others"


def test_octets_that_are_loaded_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "LOAD_BYTES", 10)
    keeper = Keeper()
    for named in ([1], [1, 2], [1, 2, 3]):
        assert keeper.add(part(0, 100)) == named, "three times the unit at most"
        keeper.vain(named)
    assert keeper.add(part(99, 100)) == [1, 3, 4]
    keeper.vain([1, 3, 4])
    monkeypatch.setattr(reassembly, "LOAD_BYTES", 301)
    assert keeper.add(part(98, 99)) == [1, 2, 4, 5], "301 octets"


def test_fragments_that_one_node_has_made_are_tried_together_first() -> None:
    """They share the blocks that go into every fragment, but for those that change on the way."""
    every = CanonicalBlock(200, 5, REPLICATE, b"in all of them")
    first_alone = CanonicalBlock(201, 6, 0, b"in the first")

    def made(start: int, end: int, octet: int, *blocks: CanonicalBlock) -> Bundle:
        one = part(start, end, octet=octet)
        return Bundle(one.primary, (*blocks, one.payload))

    def hops(count: int) -> CanonicalBlock:
        return replace(hop_count(9, count, number=7), flags=REPLICATE)

    genuine = [made(0, 40, 1, first_alone, every, hops(1)), made(40, 100, 1, every, hops(2))]
    forged = [made(40, 100, 2), made(40, 100, 3, hops(1)), made(40, 100, 4, first_alone)]
    candidates = Joining([genuine[0], *forged, genuine[1]]).candidates()
    assert next(candidates).used == (0, 4)
    assert len(list(candidates)) == 3
