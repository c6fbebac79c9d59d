"""Extension blocks on the way: encrypted ones, foreign ones, hop counts, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import ConfigError
from stack.engines.bundle_agent import AgentConfig
from stack.ports.application import Outgoing
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, contexts
from stack.wire.asb import CONTEXT_BCB_AES_GCM, SecurityBlock, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BUNDLE_AGE,
    DELETE_UNPROCESSED,
    DISCARD_UNPROCESSED,
    HOP_COUNT,
    PREVIOUS_NODE,
    PRIORITY,
    REPLICATE,
    REPORT_DELETION,
    Bundle,
    CanonicalBlock,
    bundle_age,
    check_bundle,
    decode_bundle,
    encode_block,
    encode_bundle,
    encode_primary,
    fragment_bundle,
    hop_count,
    parse_bundle_age,
    parse_hop_count,
    parse_previous_node,
    parse_priority,
    previous_node,
    priority_block,
)
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, Harness, bundle_for, reports

SECRET = bytes(range(32))
COVERED = (
    previous_node(Eid.parse("dtn://gs1/"), number=2),
    hop_count(5, 2, number=3),
    bundle_age(700, number=4),
    priority_block(2, number=5),
)


def sealed(bundle: Bundle, numbers: Sequence[int]) -> Bundle:
    """The bundle with one BCB for each block of `numbers`, as its source would add them."""
    blocks = {block.number: block for block in bundle.blocks}
    new: list[CanonicalBlock] = []
    for number in numbers:
        bcb = CanonicalBlock(BLOCK_CONFIDENTIALITY, 100 + number, REPLICATE, b"", 2)
        target = blocks[number]
        iv = number.to_bytes(12, "big")
        octets = contexts.encrypt(
            AESGCM(SECRET), iv, contexts.SCOPE_ALL, bundle.primary, target, bcb
        )
        asb = SecurityBlock(
            (number,),
            CONTEXT_BCB_AES_GCM,
            bundle.primary.source,
            ((contexts.BCB_IV, iv), (contexts.BCB_SCOPE, contexts.SCOPE_ALL)),
            (((contexts.BCB_RESULT_TAG, octets[-16:]),),),
        )
        new.append(replace(bcb, data=encode_asb(asb)))
        blocks[number] = CanonicalBlock(target.type, number, target.flags, octets[:-16], 2)
    # Security blocks may stand anywhere: here behind what they cover.
    others = [block for block in blocks.values() if block.number != 1]
    return Bundle(bundle.primary, (*others, *new, blocks[1]))


def left(harness: Harness, ref: int, now: int = NOW) -> Bundle:
    """A stored bundle as the next node gets it."""
    encoded = harness.agent.departing(harness.agent.entries[ref], harness.octets[ref], now)
    return decode_bundle(encoded)[0]


def block_of(bundle: Bundle, kind: int) -> CanonicalBlock:
    found = bundle.block(kind)
    assert found is not None
    return found


# ---- encrypted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_what_a_bcb_covers_is_part_of_what_a_bundle_is_known_by(number: int) -> None:
    """Who changes it on the way has broken it: a copy like that must not stand in its place."""
    genuine = sealed(bundle_for(FAR + "app", blocks=COVERED), [number])
    blocks = [
        replace(block, data=bytes(block.data)[:-1] + b"?") if block.number == number else block
        for block in genuine.blocks
    ]
    harness = Harness()
    assert harness.arrive(Bundle(genuine.primary, tuple(blocks)))
    assert harness.arrive(genuine), "it is another"
    assert harness.arrive(genuine) == 0


@pytest.mark.parametrize(("creation_ms", "covered"), [(NOW - 1000, [2, 3, 4, 5]), (0, [2, 4, 5])])
def test_what_a_bcb_covers_passes_through_with_its_octets(
    creation_ms: int, covered: list[int]
) -> None:
    harness = Harness()
    bundle = sealed(bundle_for(FAR + "app", blocks=COVERED, creation_ms=creation_ms), covered)
    ref = harness.arrive(bundle)
    assert ref, harness.agent.counters
    assert harness.agent.entries[ref].priority == 1  # nobody here can read the other
    gone = left(harness, ref, NOW + 2500)
    came, _ = decode_bundle(harness.octets[ref])
    unread = [block.number for block in came.blocks if block.type != HOP_COUNT or 3 in covered]
    assert [block.encoded for block in gone.blocks if block.number in unread] == [
        block.encoded for block in came.blocks if block.number in unread
    ]


@pytest.mark.parametrize(
    ("creation_ms", "covered", "goes_on"),
    [(0, [4], True), (0, [3], True), (NOW - 1000, [3, 4], True), (0, [3, 4], False)],
)
def test_what_nothing_would_ever_end_is_not_forwarded(
    creation_ms: int, covered: list[int], goes_on: bool
) -> None:
    harness = Harness(config=AgentConfig(status_reports=True))
    bundle = bundle_for(FAR + "app", blocks=COVERED, creation_ms=creation_ms, flags=REPORT_DELETION)
    assert bool(harness.arrive(sealed(bundle, covered))) is goes_on
    assert harness.agent.counters["dropped_endless"] == (not goes_on)
    told = [(report.deleted, report.reason) for report in reports(harness)]
    assert told == ([] if goes_on else [(True, 8)])


def test_what_is_not_covered_is_still_brought_up_to_date() -> None:
    harness = Harness()
    ref = harness.arrive(sealed(bundle_for(FAR + "app", blocks=COVERED), [4]))
    assert ref
    assert harness.agent.entries[ref].priority == 2
    gone = left(harness, ref)
    assert parse_hop_count(block_of(gone, HOP_COUNT)) == (5, 3)
    assert str(parse_previous_node(block_of(gone, PREVIOUS_NODE))) == HERE


@pytest.mark.parametrize("creation_ms", [NOW - 1000, 0])
def test_what_a_bcb_covers_is_opened_by_the_acceptor_alone(creation_ms: int) -> None:
    security = BpSec(
        KeyRing((Key("k", "aes", SECRET),)),
        lambda count: bytes(count),
        SecurityPolicy(require=False),
    )
    harness = Harness(security=security)
    bundle = sealed(
        bundle_for(HERE + "app", b"hello", blocks=COVERED, creation_ms=creation_ms),
        [1, 2, 3, 4, 5],
    )
    ref = harness.arrive(bundle)
    assert ref, harness.agent.counters
    delivery = harness.agent.open(ref, harness.octets[ref], NOW)
    assert delivery is not None, harness.agent.counters
    assert bytes(delivery.payload) == b"hello"


def test_an_encrypted_block_of_unknown_type_still_follows_its_flags() -> None:
    harness = Harness()
    unknown = CanonicalBlock(199, 2, DELETE_UNPROCESSED, b"?")
    assert harness.arrive(sealed(bundle_for(FAR + "app", blocks=[unknown]), [2])) is None
    assert harness.agent.counters["dropped_unsupported_block"] == 1


@pytest.mark.parametrize("content", [b"", b"\x81", b"\x81\x18", b"junk", b"\x9b" + b"\xff" * 8])
def test_a_bcb_that_cannot_be_read_makes_a_bundle_malformed(content: bytes) -> None:
    harness = Harness()
    bcb = CanonicalBlock(BLOCK_CONFIDENTIALITY, 2, 0, content)
    assert harness.arrive(bundle_for(FAR + "app", blocks=[bcb])) is None
    assert harness.agent.counters["dropped_malformed"] == 1


# ---- foreign blocks of our private type --------------------------------------------------------

FOREIGN = bytes.fromhex("8618c00510024382010244f0009e6e")


def test_a_foreign_block_of_our_private_type_is_an_unknown_block() -> None:
    harness = Harness()
    encoded = bytearray(encode_bundle(bundle_for(FAR + "app")))
    at = encoded.index(b"\x86\x01\x01")  # before the payload block
    encoded[at:at] = FOREIGN
    ref = harness.arrive(bytes(encoded))
    assert ref, harness.agent.counters
    stored, _ = decode_bundle(harness.octets[ref])
    assert [block.type for block in stored.blocks] == [1]


@pytest.mark.parametrize(("flags", "kept"), [(0, True), (DELETE_UNPROCESSED, False)])
def test_a_foreign_private_block_follows_its_flags(flags: int, kept: bool) -> None:
    harness = Harness()
    foreign = CanonicalBlock(PRIORITY, 2, flags, b"\x82\x01\x02", 2)
    ref = harness.arrive(bundle_for(FAR + "app", blocks=[foreign]))
    assert bool(ref) is kept
    if ref:
        assert bytes(block_of(decode_bundle(harness.octets[ref])[0], PRIORITY).data) == foreign.data
        assert harness.agent.entries[ref].priority == 1


def test_the_type_of_the_priority_block_is_configured() -> None:
    harness = Harness(config=AgentConfig(priority_block=201), direct=[NEXT])
    ref = harness.send(NEXT + "app", priority=2)
    made, _ = decode_bundle(harness.octets[ref])
    assert parse_priority(block_of(made, 201)) == 2
    assert made.block(PRIORITY) is None
    ours = priority_block(2, kind=201, number=2)
    theirs = CanonicalBlock(PRIORITY, 3, DISCARD_UNPROCESSED, b"\x00")
    ref = harness.arrive(bundle_for(FAR + "app", blocks=[ours, theirs])) or 0
    assert harness.agent.entries[ref].priority == 2
    assert decode_bundle(harness.octets[ref])[0].block(PRIORITY) is None
    for wrong in (191, 256, 1):
        with pytest.raises(ConfigError, match="192 to 255"):
            AgentConfig(priority_block=wrong)


# ---- hop counts --------------------------------------------------------------------------------


@given(st.integers(1, 255), st.integers(0, 300))
def test_no_bundle_leaves_with_a_count_over_its_limit(limit: int, count: int) -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(FAR + "app", blocks=[hop_count(limit, count, number=2)]))
    if count >= limit:
        assert ref is None
        assert harness.agent.counters["dropped_hop_limit_exceeded"] == 1
    else:
        assert ref
        assert parse_hop_count(block_of(left(harness, ref), HOP_COUNT)) == (limit, count + 1)


@pytest.mark.parametrize(("count", "arrives"), [(3, True), (4, False)])
def test_a_bundle_may_come_here_with_its_last_hop(count: int, arrives: bool) -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(HERE + "app", blocks=[hop_count(3, count, number=2)]))
    assert bool(ref) is arrives


@pytest.mark.parametrize("source", ["dtn://gs1/app", HERE + "app"])
def test_a_loop_ends(source: str) -> None:
    harness = Harness()
    bundle = bundle_for(FAR + "app", blocks=[hop_count(255, 0, number=2)], source=source)
    hops = 0
    while (ref := harness.arrive(bundle)) is not None and hops < 1000:
        bundle = left(harness, ref)
        harness.agent.forwarded([ref], NOW)
        harness.run_pending()
        harness.keys.clear()  # what was forwarded and comes back is stored again
        hops += 1
    assert hops == 255
    assert harness.agent.counters["dropped_hop_limit_exceeded"] == 1


@pytest.mark.parametrize("blocks", [[], [priority_block(1, number=2)]])
def test_a_loop_of_nodes_without_clocks_ends(blocks: list[CanonicalBlock]) -> None:
    """Nobody there can tell when the lifetime of a bundle without age ends, and it counts no hops:
    it counts them from here on (§4.4.3)."""
    harness = Harness(config=AgentConfig(trusted_clock=False, hop_limit=7))
    bundle = first = bundle_for(FAR + "app", blocks=blocks)
    hops = 0
    while (ref := harness.arrive(bundle)) is not None and hops < 1000:
        bundle = left(harness, ref)
        check_bundle(bundle)
        assert encode_primary(bundle.primary) == encode_primary(first.primary)
        hops += 1
        assert parse_hop_count(block_of(bundle, HOP_COUNT)) == (7, hops)
        harness.agent.forwarded([ref], NOW)
        harness.run_pending()
        harness.keys.clear()
    assert hops == 7
    assert harness.agent.counters["dropped_hop_limit_exceeded"] == 1


@pytest.mark.parametrize(
    ("trusted", "blocks"), [(True, []), (False, [bundle_age(7, number=2)])], ids=["clock", "age"]
)
def test_where_lifetimes_end_nobody_else_begins_to_count(
    trusted: bool, blocks: list[CanonicalBlock]
) -> None:
    harness = Harness(config=AgentConfig(trusted_clock=trusted))
    ref = harness.arrive(bundle_for(FAR + "app", blocks=blocks)) or 0
    gone = left(harness, ref)
    assert HOP_COUNT not in {block.type for block in gone.blocks}


@pytest.mark.parametrize(
    ("trusted", "covered", "goes_on"),
    [(True, [3, 4], True), (False, [3, 4], False), (False, [4], True), (False, [3], True)],
)
def test_a_node_without_clock_does_not_forward_what_counts_hops_in_secret(
    trusted: bool, covered: list[int], goes_on: bool
) -> None:
    """Blocks 3 and 4 are hop count and age; a second hop count is not allowed (§4.4.3)."""
    harness = Harness(config=AgentConfig(trusted_clock=trusted))
    bundle = sealed(bundle_for(FAR + "app", blocks=COVERED), covered)
    ref = harness.arrive(bundle)
    assert bool(ref) is goes_on
    assert harness.agent.counters["dropped_endless"] == (not goes_on)
    if ref:
        kinds = [block.type for block in left(harness, ref).blocks]
        assert (kinds.count(HOP_COUNT), kinds.count(BUNDLE_AGE)) == (1, 1)


def test_a_bundle_that_may_not_go_on_is_reported() -> None:
    harness = Harness(config=AgentConfig(status_reports=True))
    hops = hop_count(3, 3, number=2)
    harness.arrive(bundle_for(FAR + "app", blocks=[hops], flags=REPORT_DELETION))
    assert [(report.deleted, report.reason) for report in reports(harness)] == [(True, 9)]


# ---- whose bundle it is ------------------------------------------------------------------------


def test_what_comes_from_outside_with_our_name_on_it_is_a_transit_bundle() -> None:
    harness = Harness()
    blocks = [previous_node(Eid.parse("dtn://gs1/"), number=2), hop_count(5, 1, number=3)]
    ref = harness.arrive(bundle_for(FAR + "app", blocks=blocks, source=HERE + "app")) or 0
    gone = left(harness, ref)
    assert str(parse_previous_node(block_of(gone, PREVIOUS_NODE))) == HERE
    assert parse_hop_count(block_of(gone, HOP_COUNT)) == (5, 2)
    after = Harness()  # and a restart does not change that
    after.octets = dict(harness.octets)
    after.agent.restore([harness.stored(ref)], NOW)
    assert parse_hop_count(block_of(left(after, ref), HOP_COUNT)) == (5, 2)


def test_who_forwards_is_named_where_nobody_was() -> None:
    harness = Harness()
    ref = harness.arrive(bundle_for(FAR + "app", blocks=[hop_count(5, 1, number=2)])) or 0
    gone = left(harness, ref)
    named = block_of(gone, PREVIOUS_NODE)
    assert str(parse_previous_node(named)) == HERE
    assert len({block.number for block in gone.blocks}) == len(gone.blocks) == 3


def test_parts_of_what_came_from_outside_with_our_name_on_it_are_transit_bundles_too() -> None:
    harness = Harness(
        contacts=Plan([Contact(HERE, NEXT, NOW + 2000 * n, NOW + 2000 * n + 1000, 8 * 30_000)
                       for n in range(4)])
    )  # fmt: skip
    blocks = [hop_count(5, 1, number=3)]
    bundle = bundle_for(NEXT + "app", bytes(60_000), blocks=blocks, source=HERE + "app")
    harness.arrive(bundle)
    assert len(harness.agent.entries) > 1
    for ref in harness.agent.entries:
        assert parse_hop_count(block_of(left(harness, ref), HOP_COUNT)) == (5, 2)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_bundle_of_our_own_leaves_with_its_first_hop(trusted: bool) -> None:
    harness = Harness(config=AgentConfig(trusted_clock=trusted, hop_limit=1), direct=[NEXT])
    ref = harness.send(NEXT + "app", bytes(3000))
    gone = left(harness, ref, NOW + 1234)
    assert parse_hop_count(block_of(gone, HOP_COUNT)) == (1, 1)
    assert str(parse_previous_node(block_of(gone, PREVIOUS_NODE))) == HERE
    assert (gone.block(BUNDLE_AGE) is None) is trusted
    for piece in fragment_bundle(gone, 1000):
        assert piece.block(HOP_COUNT) is not None
    ops = harness.agent.split(ref, harness.octets[ref], 1000)
    assert ops is not None
    for part in harness.commit(ops):
        gone = left(harness, part, NOW + 1234)
        assert parse_hop_count(block_of(gone, HOP_COUNT)) == (1, 1)
        if not trusted:
            assert parse_bundle_age(block_of(gone, BUNDLE_AGE)) == 1234


def test_our_own_bundle_with_a_report_request_is_our_own() -> None:
    harness = Harness(direct=[NEXT])
    outgoing = Outgoing(Eid.parse(NEXT + "app"), b"x", 60_000, "app", report_flags=REPORT_DELETION)
    _, ops = harness.agent.send([outgoing], NOW)
    (ref,) = harness.commit(ops)
    assert parse_hop_count(block_of(left(harness, ref), HOP_COUNT)) == (32, 1)


def test_block_numbers_that_a_lenient_node_has_mended_are_stored_so() -> None:
    """Whoever reads the octets next, the store's operator too, finds a bundle of RFC 9171."""
    blocks = [CanonicalBlock(200, 0, 0, b"a", 2), CanonicalBlock(201, 0, 0, b"b", 2)]
    made = bundle_for(FAR + "app", blocks=blocks)
    octets = [encode_primary(made.primary), *map(encode_block, made.blocks)]
    encoded = b"".join((b"\x9f", *octets, b"\xff"))
    assert Harness().arrive(encoded) is None
    harness = Harness(config=AgentConfig(lenient=True))
    ref = harness.arrive(encoded)
    assert ref
    stored, _ = decode_bundle(harness.octets[ref])
    assert [bytes(block.data) for block in stored.blocks] == [b"a", b"b", b"data"]
    assert len({block.number for block in stored.blocks} - {0}) == 3
    legal = encode_bundle(bundle_for(FAR + "app", sequence=2))
    kept = harness.arrive(legal)
    assert kept
    assert bytes(harness.octets[kept]) == legal


# ---- malformed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x82\x02\x81\x05", b"\x82\x01\x00\x00"])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_previous_node_that_is_no_eid_costs_the_bundle(data: bytes, lenient: bool) -> None:
    harness = Harness(config=AgentConfig(lenient=lenient))
    block = CanonicalBlock(PREVIOUS_NODE, 2, 0, data)
    assert harness.arrive(bundle_for(HERE + "app", blocks=[block])) is None
    assert harness.agent.counters["dropped_malformed"] == 1


def test_a_previous_node_of_longer_numbers_is_read_leniently() -> None:
    block = CanonicalBlock(PREVIOUS_NODE, 2, 0, bytes.fromhex("8202821a0000000500"))
    bundle = bundle_for(HERE + "app", blocks=[block])
    assert Harness(config=AgentConfig(lenient=True)).arrive(bundle)
    assert not Harness().arrive(bundle)
