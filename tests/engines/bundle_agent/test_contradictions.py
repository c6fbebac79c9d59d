"""Fragments that contradict one another: the genuine unit is delivered, only culprits go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.engines.bundle_agent import AgentConfig
from stack.engines.bundle_agent.reassembly import LOAD_FRAGMENTS, PURSE_BYTES, RETRY_UNITS
from stack.ports.store import Place, Put, Release
from stack.storage.memory import MemoryStore
from stack.wire.bundle import (
    IS_FRAGMENT,
    Bundle,
    CanonicalBlock,
    decode_bundle,
    encode_bundle,
    fragment_bundle,
)
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import HERE, NEXT, NOW, bundle_for

PAYLOAD = bytes(range(200)) * 4


def sent(bundle: Bundle) -> Bundle:
    return decode_bundle(encode_bundle(bundle))[0]


WHOLE = sent(keyed().protect(bundle_for(HERE + "app", PAYLOAD)))
PARTS = [sent(part) for part in fragment_bundle(WHOLE, 340)]
TOTAL = len(PAYLOAD)


def piece(start: int, data: bytes, total: int = TOTAL, like: Bundle = PARTS[1]) -> Bundle:
    """A fragment that says that it is one of the unit's; with the blocks of a genuine one."""
    primary = replace(
        like.primary, fragment_offset=start, total_adu_length=total, crc_type=2, encoded=None
    )
    payload = replace(like.payload, data=data, encoded=None)
    return sent(Bundle(primary, (*like.blocks[:-1], payload)))


def clear(start: int, data: bytes, total: int = TOTAL) -> Bundle:
    """A fragment by somebody who knows the identity alone."""
    made = piece(start, data, total)
    return sent(Bundle(made.primary, (CanonicalBlock(1, 1, 0, data, 2),)))


def test_the_genuine_ones_are_what_we_think() -> None:
    assert len(PARTS) >= 4
    desk = Desk(security=keyed())
    for part in PARTS:
        assert desk.arrive(part)
    assert desk.got == [PAYLOAD]
    assert desk.store.usage().bundles == 0


FORGED = {
    "empty": clear(100, b""),
    "overlong": clear(TOTAL - 10, bytes(64)),
    "another total": clear(0, bytes(64), TOTAL - 1),
    "wrong octets over the middle": clear(TOTAL // 2, bytes(64)),
    "wrong octets at the start": clear(0, bytes(64)),
    "wrong octets at the end": clear(TOTAL - 64, bytes(64)),
    "all of it": clear(0, bytes(TOTAL)),
    "a copy but for the payload": piece(TOTAL // 2, bytes(64)),
    "a first fragment with other blocks": clear(0, bytes(PARTS[0].payload.data)),
    "a genuine range": piece(
        PARTS[1].primary.fragment_offset or 0, bytes(len(PARTS[1].payload.data))
    ),
    "another destination": replace(
        clear(0, bytes(64)),
        primary=replace(clear(0, b"x").primary, destination=Eid.parse(HERE + "x"), encoded=None),
    ),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("after", [0, 2, len(PARTS) - 1])
def test_one_forged_fragment_costs_nothing(name: str, after: int) -> None:
    desk = Desk(security=keyed())
    for part in [*PARTS[:after], sent(FORGED[name]), *PARTS[after:]]:
        desk.arrive(part)
    assert desk.got == [PAYLOAD]
    assert desk.store.usage().bundles == 0, "nothing of it is left"
    for part in PARTS:
        assert desk.arrive(part) == 0, "sent again"
    assert desk.got == [PAYLOAD]
    assert not desk.arrive(sent(FORGED[name]))
    assert desk.store.usage().bundles == 0, "of what is proven nothing else is wanted"


@pytest.mark.parametrize("name", FORGED)
def test_a_proven_whole_clears_away_what_claims_to_be_part_of_it(name: str) -> None:
    """Forged fragments do not stay until their lifetimes end when the unit comes whole."""
    desk = Desk(security=keyed())
    other = piece(0, PAYLOAD[:90])
    primary = replace(other.primary, sequence=other.primary.sequence + 1, encoded=None)
    kept = desk.arrive(replace(other, primary=primary))
    assert kept, "of another unit"
    desk.arrive(sent(FORGED[name]))
    desk.arrive(PARTS[0])
    assert desk.arrive(WHOLE)
    assert desk.got == [PAYLOAD]
    assert [one.ref for one in desk.store.scan()] == [kept]
    assert [*desk.agent.entries] == [kept]
    assert not desk.arrive(PARTS[1])
    assert desk.store.usage().bundles == 1


def test_a_relay_sends_back_a_fragment_that_the_link_damaged() -> None:
    """It holds no key, and still nothing damaged travels on to be lost at the destination."""
    relay = Desk(node=NEXT)
    for part in PARTS:
        octets = bytearray(encode_bundle(part))
        octets[-60] ^= 4
        assert not relay.agent.receive(bytes(octets), NOW).intact, "its sender tries again"
        assert relay.arrive(part)
    assert relay.store.usage().bundles == len(PARTS)


def test_a_forged_whole_clears_nothing_away() -> None:
    desk = Desk(security=keyed())
    for part in PARTS[:-1]:
        assert desk.arrive(part)
    payload = CanonicalBlock(1, 1, 0, b"forged", 2)
    assert desk.arrive(sent(Bundle(WHOLE.primary, (payload,)))) is None
    desk.arrive(PARTS[-1])
    assert desk.got == [PAYLOAD]


@pytest.mark.slow
@given(st.data())
def test_forgeries_among_the_genuine_ones_change_nothing(data: st.DataObject) -> None:
    """Whatever is forged, and in whatever order all of it comes: delivered once, and then clean."""
    make = st.builds(
        lambda maker, start, octets, total: maker(start, octets, total),
        st.sampled_from([piece, clear]),
        st.integers(0, TOTAL - 1),
        st.binary(min_size=1, max_size=300),
        st.sampled_from([TOTAL, TOTAL, TOTAL, TOTAL - 1, 2 * TOTAL]),
    )
    forged = data.draw(
        st.lists(st.one_of(make, st.sampled_from(list(FORGED.values()))), max_size=8)
    )
    again = [sent(part) for part in fragment_bundle(WHOLE, data.draw(st.integers(400, 600)))]
    genuine = data.draw(st.sampled_from([PARTS, PARTS + again]))
    order = data.draw(st.permutations([*genuine, *forged]))
    desk = Desk(security=keyed())
    for part in order:
        desk.arrive(part)
    desk.agent.retry(NOW)
    desk.run_pending(NOW)
    assert desk.got == [PAYLOAD]


def test_a_culprit_that_goes_meanwhile_does_not_hold_up_the_others() -> None:
    desk = Desk(security=keyed())
    desk.arrive_at_once([FORGED["all of it"], *PARTS])
    assert desk.agent.stranded or desk.got
    desk.agent.retry(NOW)
    desk.run_pending(NOW)
    assert desk.got == [PAYLOAD]
    assert not desk.agent.stranded


def test_overlong_and_overlapping_fragments_destroy_nothing() -> None:
    desk = Desk()
    whole = bundle_for(HERE + "app", PAYLOAD[:100])
    head = replace(whole.primary, flags=IS_FRAGMENT, total_adu_length=100)

    def part(start: int, size: int) -> Bundle:
        octets = (PAYLOAD[:100] + bytes(10))[start : start + size]
        primary = replace(head, fragment_offset=start)
        return sent(Bundle(primary, (replace(whole.payload, data=octets),)))

    assert desk.arrive(part(0, 40))
    assert desk.arrive(part(50, 60)) is None
    assert desk.agent.counters["dropped_malformed"] == 1
    assert desk.arrive(part(40, 10))
    assert desk.arrive(part(45, 55))
    assert desk.got == [PAYLOAD[:100]]


def test_what_no_node_can_join_is_refused() -> None:
    desk = Desk(AgentConfig(bundle_bytes_max=10_000))
    assert desk.arrive(clear(0, b"x", 10_001)) is None
    assert desk.agent.counters["dropped_too_large"] == 1


def test_without_security_what_came_first_is_joined() -> None:
    desk = Desk()
    whole = bundle_for(HERE + "app", PAYLOAD)
    parts = fragment_bundle(whole, 300)
    liar = replace(parts[1], blocks=(replace(parts[1].payload, data=b"?" * 100, encoded=None),))
    for part in [*parts[:2], liar, *parts[2:]]:
        desk.arrive(part)
    assert desk.got == [PAYLOAD]


def test_a_unit_that_failed_is_taken_when_it_is_sent_again() -> None:
    desk = Desk(security=keyed())
    start = PARTS[1].primary.fragment_offset or 0
    broken = [PARTS[0], piece(start, bytes(TOTAL - start))]
    for part in broken:
        desk.arrive(part)
    assert desk.got == []
    assert desk.agent.counters["reassembly_failed"] == 1
    for part in PARTS:
        desk.arrive(part)
    assert desk.got == [PAYLOAD]


def test_a_culprit_is_forgotten() -> None:
    """What failed security is not remembered as received: with another key it may pass."""
    desk = Desk(security=keyed())
    for _ in range(2):
        assert desk.arrive(FORGED["all of it"])
        assert desk.store.usage().bundles == 0
    assert desk.agent.counters["fragments_contradicted"] == 2
    assert desk.agent.counters["duplicates"] == 0


def test_evicted_fragments_are_taken_again() -> None:
    store = MemoryStore(sum(len(encode_bundle(part)) for part in PARTS) + 100)
    desk = Desk(security=keyed(), store=store)
    desk.arrive(PARTS[0])
    urgent = Put(b"\0" * 16, bytes(store._quota_bytes), Place.DELIVER, "a", "b", 9, NOW * 2, NOW)
    (ref,) = store.commit([urgent], NOW).refs
    store.commit([Release(ref)], NOW)
    assert store.usage().bundles == 0
    later = Desk(security=keyed(), store=store)
    for part in PARTS:
        assert later.arrive(part)
    assert later.got == [PAYLOAD]


# ---- what it costs -----------------------------------------------------------------------------


def attempts(desk: Desk, parts: Sequence[Bundle]) -> int:
    """How often something was joined in vain while these came."""
    before = desk.agent.counters["reassembly_failed"]
    for part in parts:
        desk.arrive(part)
    return desk.agent.counters["reassembly_failed"] - before


def test_a_purse_bounds_what_forged_fragments_cost() -> None:
    desk = Desk(security=keyed())
    size = 1 << 20
    halves = [clear(0, bytes(size // 2), size), clear(size // 2, bytes(size // 2), size)]
    attempts(desk, halves)
    spent = attempts(desk, [clear(n, b"\1", size) for n in range(300)])
    assert 0 < spent * size < 2 * PURSE_BYTES
    assert attempts(desk, [clear(n, b"\2", size) for n in range(20)]) == 0
    for part in PARTS:
        desk.arrive(replace(part, primary=replace(part.primary, sequence=7, encoded=None)))
    assert desk.agent.stranded, "it is tried again"
    fresh = sent(keyed().protect(bundle_for(HERE + "app", PAYLOAD, sequence=9)))
    for part in fragment_bundle(fresh, 420):
        desk.arrive(part)
    assert desk.got == [PAYLOAD], "what nobody contradicts waits for nothing"
    desk.agent.retry(NOW)
    desk.run_pending(NOW)
    assert desk.agent.counters["reassembly_failed"] > spent


@pytest.mark.slow
def test_a_flood_of_fragments_of_one_unit_does_not_hide_the_genuine_ones() -> None:
    desk = Desk(security=keyed())
    for n in range(LOAD_FRAGMENTS + 100):
        put = desk.agent.receive(encode_bundle(_flood(n)), NOW).put
        assert put is not None
        desk.commit([put], NOW)
    for part in PARTS:
        desk.arrive(part)
    for _ in range(4):
        desk.agent.retry(NOW)
        desk.run_pending(NOW)
    assert desk.got == [PAYLOAD]


def _flood(n: int) -> Bundle:
    octets = bytes([n & 255, n >> 8, 1])
    primary = replace(PARTS[1].primary, fragment_offset=n % (TOTAL - 3), encoded=None)
    return Bundle(primary, (CanonicalBlock(1, 1, 0, octets, 2),))


# ---- a forger of thousands ---------------------------------------------------------------------

FORGER, HONEST, OTHER = "dtn://gs1/", "dtn://gs2/", "dtn://gs3/"
LARGE = sent(keyed().protect(bundle_for(HERE + "app", PAYLOAD * 4, sequence=4)))
EIGHT = [sent(part) for part in fragment_bundle(LARGE, 580)]


def alternatives(count: int) -> list[Bundle]:
    """As many forgeries of each of the eight, of the same ranges and with the same blocks."""
    total = len(LARGE.payload.data)
    found = []
    for n in range(count):
        for part in EIGHT:
            octets = n.to_bytes(2, "big") * (len(part.payload.data) // 2 + 1)
            start = part.primary.fragment_offset or 0
            found.append(piece(start, octets[: len(part.payload.data)], total, part))
    return found


def arrive(desk: Desk, parts: Sequence[Bundle], neighbour: str) -> None:
    for part in parts:
        desk.arrive(part, neighbour=neighbour)


def penniless(desk: Desk) -> None:
    """Nothing is left in the purse."""
    desk.agent._fragments._purse = 0


def test_there_are_eight() -> None:
    assert len(EIGHT) == 8


@pytest.mark.parametrize("restarts", [False, True])
def test_thousands_of_alternatives_by_another_neighbour_hold_up_nothing(restarts: bool) -> None:
    desk = Desk(security=keyed())
    forged = alternatives(300)
    arrive(desk, forged[:1200], FORGER)
    arrive(desk, EIGHT[:4], HONEST)
    arrive(desk, forged[1200:], FORGER)
    if restarts:
        desk = Desk(security=keyed(), store=desk.store)
    penniless(desk)
    arrive(desk, EIGHT[4:], HONEST)
    assert desk.got == [PAYLOAD * 4], "at once"
    assert desk.store.usage().bundles == 0


def test_what_came_by_several_honest_neighbours_is_joined_at_once() -> None:
    desk = Desk(security=keyed())
    arrive(desk, alternatives(40), FORGER)
    penniless(desk)
    arrive(desk, EIGHT[::2], HONEST)
    arrive(desk, EIGHT[1::2], OTHER)
    assert desk.got == [PAYLOAD * 4]


def test_what_an_honest_neighbour_brings_again_counts_as_its_own() -> None:
    desk = Desk(security=keyed())
    arrive(desk, alternatives(40), FORGER)
    arrive(desk, EIGHT[:5], FORGER)
    penniless(desk)
    arrive(desk, EIGHT, HONEST)
    assert desk.got == [PAYLOAD * 4]


def test_alternatives_over_the_same_link_are_outlasted_when_the_genuine_ones_come_together() -> (
    None
):
    desk = Desk(security=keyed())
    forged = alternatives(200)
    arrive(desk, [*forged[:800], *EIGHT, *forged[800:]], FORGER)
    calls = 0
    while not desk.got and calls < 100:
        desk.agent.retry(NOW)
        desk.run_pending(NOW)
        calls += 1
    assert desk.got == [PAYLOAD * 4]
    assert calls == 1


def test_units_in_vain_do_not_hold_up_the_others_that_are_due() -> None:
    """More of them than are looked at in one `retry`, all resting for long."""
    desk = Desk(security=keyed())
    ledger = desk.agent._fragments
    for sequence in range(RETRY_UNITS):
        halves = [piece(0, bytes(400)), piece(400, bytes(400))]
        arrive(
            desk,
            [
                sent(
                    replace(
                        half, primary=replace(half.primary, sequence=100 + sequence, encoded=None)
                    )
                )
                for half in halves
            ],
            FORGER,
        )
    for unit in list(ledger._unit_of.values()):
        unit.rest = 200
        ledger._due[unit.key] = unit
    penniless(desk)
    arrive(desk, [piece(0, bytes(800)), *PARTS], FORGER)
    for _ in range(3):
        desk.agent.retry(NOW)
        desk.run_pending(NOW)
    assert desk.got == [PAYLOAD]
