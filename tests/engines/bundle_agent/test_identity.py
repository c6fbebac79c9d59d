"""An identity is no proof: what a forger sends never stands in the place of the genuine."""

from __future__ import annotations

import copy
import operator
import random
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.engines.bundle_agent import AgentConfig, Shares, begin, ingress
from stack.engines.bundle_agent.content import ContentDigest
from stack.ports.application import Outgoing
from stack.ports.security import Opened
from stack.ports.store import NO_ROOM
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.storage.memory import MemoryStore
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BUNDLE_AGE,
    HOP_COUNT,
    IS_ADMIN,
    NO_FRAGMENT,
    PREVIOUS_NODE,
    Bundle,
    CanonicalBlock,
    bundle_age,
    bundle_key,
    decode_bundle,
    encode_bundle,
    hop_count,
    previous_node,
    priority_block,
)
from tests.engines.bundle_agent.desk import Desk, keyed
from tests.engines.bundle_agent.harness import FAR, HERE, NEXT, NOW, bundle_for

APP = HERE + "app"


def secured(payload: bytes = b"genuine", destination: str = APP) -> Bundle:
    """A bundle as it comes from a node with the keys, and signed."""
    blocks = [
        replace(previous_node(Eid.parse("dtn://gs1/")), crc_type=2),
        replace(hop_count(32, 1, number=3), crc_type=2),
    ]
    return sent(keyed(("*",)).protect(bundle_for(destination, payload, blocks=blocks)))


class InClear(BpSec):
    """Rules let everything come in clear."""

    def open(self, bundle: Bundle) -> Opened:
        return Opened(True, bundle, proven=False)


def test_what_rules_let_come_in_clear_is_not_proven() -> None:
    at = Desk(
        security=InClear(KeyRing(()), bytes, SecurityPolicy()),
        shares=Shares(["dtn://n/"], 1 << 20, 100, 0.5),
    )
    claims = priority_block(2, kind=192, number=9, crc_type=2)
    forged = bundle_for(APP, b"forged", blocks=[claims])
    put = at.agent.receive(encode_bundle(forged), NOW, 0, "dtn://n/").put
    assert put is not None
    assert (put.owner, put.priority) == ("dtn://n/", 1)
    for one in (forged, forged, bundle_for(APP, b"genuine")):
        at.arrive(one, neighbour="dtn://n/")
    assert at.got == [b"forged", b"genuine"]


def sent(bundle: Bundle) -> Bundle:
    return decode_bundle(encode_bundle(bundle))[0]


def garbled(bundle: Bundle, kind: int) -> Bundle:
    """A copy with one bit wrong in the last octet of the blocks of a kind."""
    blocks = tuple(
        replace(block, data=bytes(block.data)[:-1] + bytes([block.data[-1] ^ 1]), encoded=None)
        if block.type == kind
        else block
        for block in bundle.blocks
    )
    return sent(Bundle(bundle.primary, blocks))


def test_nothing_is_sent_from_a_group() -> None:
    desk = Desk()
    with pytest.raises(LocalError, match=f"{HERE}~all is a group"):
        desk.agent.send([Outgoing(Eid.parse(FAR + "app"), b"x", 60_000, "~all")], NOW)


def test_damage_that_no_relay_can_see_is_found_by_the_acceptor_and_counted() -> None:
    relay, acceptor = Desk(node=NEXT), Desk(node=FAR, security=keyed())
    genuine = secured(destination=FAR + "app")
    octets = bytearray(encode_bundle(genuine))
    octets[-2] ^= 1  # the last octet of the payload; the break comes after it
    for encoded in (bytes(octets), encode_bundle(genuine)):
        assert relay.arrive(encoded)
        relay.pass_on(acceptor)
    assert acceptor.got == [b"genuine"]
    assert acceptor.agent.counters["dropped_security"] == 1
    assert relay.store.usage().bundles == 0


def test_what_does_not_verify_is_refused_once_and_goes_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sender may have something better: the damage may be of the link between."""
    monkeypatch.setattr(ingress, "UNPROVEN_MAX", 2)
    desk = Desk(security=keyed())
    one, two, three = (encode_bundle(garbled(secured(bytes([n])), 1)) for n in range(3))
    unsigned = encode_bundle(bundle_for(APP, b"in clear"))
    kept = []
    for encoded in (one, one, one, one, one, two, three, one, unsigned):
        put, _, intact, once = desk.agent.receive(encoded, NOW)
        assert put is None
        assert once is not intact, "what is asked for is asked for at once"
        kept.append(not intact)
    # Its sender keeps it, in turn; but of three only two are remembered.
    assert kept == [True, False, True, False, True, True, True, True, False]
    assert desk.agent.counters["dropped_security"] == len(kept)


def test_a_forged_bundle_that_comes_first_does_not_cost_the_genuine_one() -> None:
    desk = Desk(security=keyed())
    genuine = secured()
    forged = sent(bundle_for(APP, b"forged"))
    assert bundle_key(forged.primary) == bundle_key(genuine.primary)
    assert desk.arrive(forged) is None
    assert desk.store.usage().bundles == 0, "nothing is kept of it"
    assert desk.arrive(genuine)
    assert desk.got == [b"genuine"]
    assert desk.agent.counters["dropped_security"] == 1
    assert desk.arrive(genuine) == 0
    assert desk.got == [b"genuine"]


@pytest.mark.parametrize("kind", [BLOCK_CONFIDENTIALITY, 1])
def test_a_copy_in_which_one_bit_is_wrong_is_no_duplicate(kind: int) -> None:
    desk = Desk(security=keyed())
    genuine = secured()
    assert desk.arrive(garbled(genuine, kind)) is None
    desk.arrive(genuine)
    assert desk.got == [b"genuine"]


def test_a_copy_with_another_block_is_the_same_to_the_acceptor() -> None:
    desk = Desk(security=keyed())
    genuine = secured()
    more = Bundle(genuine.primary, (CanonicalBlock(200, 99, 0, b"?", 2), *genuine.blocks))
    desk.arrive(genuine)
    assert desk.arrive(sent(more)) == 0
    assert desk.got == [b"genuine"]


def test_where_nobody_listens_the_forged_one_does_not_wait_in_the_way() -> None:
    desk = Desk(security=keyed(), listens=False)
    assert desk.arrive(sent(bundle_for(APP, b"forged"))) is None
    assert desk.arrive(secured())
    later = Desk(security=keyed(), store=desk.store)
    assert later.got == [b"genuine"]


def test_a_forged_report_does_not_take_the_identity_of_a_bundle() -> None:
    desk = Desk(security=keyed())
    genuine = secured()
    primary = genuine.primary
    admin = replace(
        primary, flags=IS_ADMIN, destination=Eid.parse(HERE), report_to=Eid.NONE, encoded=None
    )
    assert desk.arrive(sent(Bundle(admin, (CanonicalBlock(1, 1, 0, b"record", 2),)))) is None
    assert desk.arrive(genuine)
    assert desk.got == [b"genuine"]


def test_a_relay_forwards_the_genuine_one_beside_what_contradicts_it() -> None:
    desk = Desk()
    genuine = secured(destination=FAR + "app")
    forgeries = [
        sent(bundle_for(FAR + "app", b"forged")),
        *(garbled(genuine, kind) for kind in (BLOCK_CONFIDENTIALITY, 1, 11)),
        changed(genuine, hop_count(32, 31)),
    ]
    for forged in forgeries:
        assert desk.arrive(forged)
    ref = desk.arrive(genuine)
    assert ref
    (encoded,) = desk.store.load([ref])
    assert encoded == encode_bundle(genuine)
    assert desk.arrive(genuine) == 0
    assert desk.arrive(changed(genuine, hop_count(32, 5))) == 0, "the same, another way"
    assert desk.arrive(changed(genuine, previous_node(Eid.parse("dtn://x/")))) == 0


def timeless() -> Bundle:
    """A bundle of a node without a clock."""
    blocks = [replace(hop_count(32, 1, number=3), crc_type=2), replace(bundle_age(1000), number=4)]
    bare = bundle_for(FAR + "app", b"genuine", creation_ms=0, blocks=blocks)
    return sent(keyed().protect(bare))


@pytest.mark.slow
@given(st.data())
def test_whatever_is_forged_the_genuine_bundle_arrives_once(data: st.DataObject) -> None:
    """Over two relays without keys, beside copies of which anything but the content is true."""
    genuine = data.draw(st.sampled_from([secured(destination=FAR + "app"), timeless()]))
    others = st.one_of(
        st.builds(
            lambda index, new: Bundle(
                genuine.primary,
                tuple(
                    replace(block, data=new, encoded=None) if number == index else block
                    for number, block in enumerate(genuine.blocks)
                ),
            ),
            st.integers(0, len(genuine.blocks) - 1),
            st.binary(max_size=9),
        ),
        st.builds(partial(changed, genuine), st.builds(hop_count, st.just(32), st.integers(0, 32))),
        st.just(genuine),
    )
    if genuine.primary.creation_ms == 0:
        ages = st.builds(bundle_age, st.integers(0, 1 << 64 - 1))
        others |= st.builds(partial(changed, genuine), ages)
    forged = data.draw(st.lists(others, max_size=6))
    first, second = Desk(), Desk(node=NEXT)
    acceptor = Desk(node=FAR, security=keyed())
    for bundle in data.draw(st.permutations([*forged, genuine])):
        first.arrive(bundle)
        if data.draw(st.booleans()):
            first.pass_on(second)
    first.pass_on(second)
    second.pass_on(acceptor)
    assert acceptor.got == [b"genuine"]


def changed(bundle: Bundle, new: CanonicalBlock) -> Bundle:
    """A copy in which a block has another content."""
    blocks = tuple(
        replace(block, data=new.data, encoded=None) if block.type == new.type else block
        for block in bundle.blocks
    )
    assert any(block.type == new.type for block in blocks)
    return sent(Bundle(bundle.primary, blocks))


def test_a_copy_made_old_does_not_take_the_place_of_a_bundle_without_creation_time() -> None:
    desk = Desk()
    blocks = [replace(bundle_age(1000, number=4), crc_type=2)]
    genuine = sent(bundle_for(FAR + "app", creation_ms=0, blocks=blocks))
    assert desk.arrive(changed(genuine, bundle_age(59_999)))
    assert desk.arrive(genuine)
    assert desk.arrive(changed(genuine, bundle_age(1100))) == 0, "the same, sent again"


def test_without_security_both_are_delivered_and_copies_are_not() -> None:
    desk = Desk()
    for payload in (b"one", b"other", b"one", b"other"):
        desk.arrive(bundle_for(APP, payload))
    assert desk.got == [b"one", b"other"]


@pytest.mark.parametrize(
    "security", [None, BpSec(KeyRing(()), bytes, SecurityPolicy(require=False))]
)
@pytest.mark.parametrize("destination", [APP, FAR + "app"])
def test_anonymous_bundles_are_told_apart(destination: str, security: BpSec | None) -> None:
    """RFC 9171 §4.2.3: an anonymous bundle has no identity."""
    desk = Desk(security=security)
    one, other = (
        sent(
            bundle_for(
                destination, payload, source="dtn:none", report_to="dtn:none", flags=NO_FRAGMENT
            )
        )
        for payload in (b"one", b"other")
    )
    assert bundle_key(one.primary) == bundle_key(other.primary)
    assert desk.arrive(one)
    assert desk.arrive(other)
    assert desk.arrive(one) == 0, "sent again"
    if destination == APP:
        assert desk.got == [b"one", b"other"]


def test_what_does_not_pass_security_after_a_restart_was_never_received() -> None:
    desk = Desk(security=keyed(), listens=False)
    genuine = secured()
    desk.arrive(genuine)
    stranger = keyed()
    stranger._keys.change([])
    later = Desk(security=stranger, store=desk.store)
    assert later.got == []
    assert later.store.usage().bundles == 0
    last = Desk(security=keyed(), store=desk.store)
    assert last.arrive(genuine)
    assert last.got == [b"genuine"]


# ---- the digest --------------------------------------------------------------------------------

DIGEST = ContentDigest(bytes(32))


def whole() -> Bundle:
    return sent(
        bundle_for(
            FAR,
            b"payload",
            blocks=[
                replace(previous_node(Eid.parse("dtn://a/")), crc_type=2),
                replace(hop_count(32, 1, number=3), crc_type=2),
                replace(bundle_age(5, number=4), crc_type=2),
                CanonicalBlock(199, 5, 1, b"abc", 2),
                CanonicalBlock(198, 6, 0, b"", 2),
            ],
        )
    )


@given(st.data())
def test_the_digest_is_of_everything_that_stays_and_of_nothing_else(data: st.DataObject) -> None:
    bundle = whole()
    index = data.draw(st.integers(0, len(bundle.blocks) - 1))
    block = bundle.blocks[index]
    content = data.draw(st.binary(max_size=20).filter(lambda new: new != block.data))
    changed_block = data.draw(
        st.sampled_from([replace(block, data=content), replace(block, flags=block.flags ^ 16)])
    )
    other = Bundle(
        bundle.primary, (*bundle.blocks[:index], changed_block, *bundle.blocks[index + 1 :])
    )
    stays = block.type not in (PREVIOUS_NODE, HOP_COUNT, BUNDLE_AGE)
    assert (DIGEST.whole(other) != DIGEST.whole(bundle)) is stays
    turned = Bundle(bundle.primary, (*bundle.blocks[:-1][::-1], bundle.payload))
    assert DIGEST.whole(turned) == DIGEST.whole(bundle)
    assert ContentDigest(bytes(31) + b"\1").whole(bundle) != DIGEST.whole(bundle)


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000])
def test_the_digest_is_of_the_whole_payload_and_the_primary_block(size: int) -> None:
    one = sent(bundle_for(FAR, bytes(size)))
    seen = {DIGEST.whole(one), DIGEST.payload(one)}
    others = [
        sent(bundle_for(FAR, bytes(size + 1))),
        sent(bundle_for(FAR, bytes(size), sequence=2)),
    ]
    if size:
        others.append(sent(bundle_for(FAR, bytes(size - 1) + b"\1")))
    for other in others:
        assert not seen & {DIGEST.whole(other), DIGEST.payload(other)}


# ---- sequence numbers --------------------------------------------------------------------------


def numbers(desk: Desk, count: int = 3) -> list[int]:
    """The sequence numbers of some bundles made."""
    return [decode_bundle(desk.send(FAR + "x"))[0].primary.sequence for _ in range(count)]


def started(store: MemoryStore, seed: int, *, trusted_clock: bool) -> Desk:
    """A node that starts with a store."""
    beginning = begin(store.read, random.Random(seed).randbytes)
    config = AgentConfig(trusted_clock=trusted_clock)
    return Desk(config, store=store, beginning=beginning)


@pytest.mark.parametrize("trusted_clock", [True, False])
@given(seeds=st.lists(st.integers(0, 1 << 64), min_size=4, max_size=4, unique=True))
def test_a_new_disk_and_a_backup_begin_where_nobody_was(
    trusted_clock: bool, seeds: list[int]
) -> None:
    store = MemoryStore(1 << 26)
    used = numbers(started(store, seeds[0], trusted_clock=trusted_clock))
    backup = copy.deepcopy(store)
    used += numbers(started(store, seeds[1], trusted_clock=trusted_clock))
    used += numbers(started(backup, seeds[2], trusted_clock=trusted_clock))
    used += numbers(started(MemoryStore(1 << 26), seeds[3], trusted_clock=trusted_clock))
    assert len(set(used)) == len(used)
    assert min(used) > 0


def test_a_count_is_monotonic_over_the_starts_of_a_clockless_node() -> None:
    store = MemoryStore(1 << 26)
    used = [
        number for seed in range(5) for number in numbers(started(store, seed, trusted_clock=False))
    ]
    assert used == sorted(used)
    assert used[-1] < 1 << 63


def test_the_least_that_may_be_drawn_is_positive_and_what_ion_reads_is_the_most() -> None:
    for draw in (b"\0", b"\xff"):
        for trusted_clock, most in ((True, (1 << 32) - 1), (False, (1 << 63) - 1)):
            beginning = begin(MemoryStore(1 << 20).read, partial(operator.mul, draw))
            desk = Desk(AgentConfig(trusted_clock=trusted_clock), beginning=beginning)
            assert all(0 < number <= most for number in numbers(desk))


def test_the_secret_of_a_store_stays() -> None:
    store = MemoryStore(1 << 26)
    started(store, 1, trusted_clock=True).arrive(secured(destination=FAR + "app"))
    assert started(store, 2, trusted_clock=True).arrive(secured(destination=FAR + "app")) == 0


# ---- replay ------------------------------------------------------------------------------------

HOUR_MS = 3_600_000
LIFETIME_MS = 60_000


def replayed(
    desk: Desk, bundle: Bundle, *, end: int = NOW + 30 * HOUR_MS, step: int = 20_000
) -> None:
    """The same octets come again and again, and what expires is forgotten."""
    for now in range(NOW, end, step):
        desk.expire(now)
        desk.arrive(bundle, now)


def test_a_bundle_made_ahead_is_refused_beyond_a_bound_and_delivered_once_within() -> None:
    desk = Desk(security=keyed())
    far, near = (
        sent(keyed().protect(bundle_for(APP, payload, creation_ms=NOW + ahead_ms)))
        for payload, ahead_ms in ((b"far", HOUR_MS), (b"near", 300_000))
    )
    received = desk.agent.receive(encode_bundle(far), NOW)
    assert received.put is None
    assert not received.intact, "it may be our clock that is wrong: its sender keeps it"
    assert desk.agent.counters["dropped_from_the_future"] == 1
    replayed(desk, near, end=NOW + HOUR_MS)
    assert desk.got == [b"near"]


@given(
    ahead_ms=st.integers(-LIFETIME_MS + 1, 2 * HOUR_MS),
    waits_ms=st.lists(st.integers(1, HOUR_MS), max_size=12),
)
def test_no_creation_time_lets_a_bundle_be_delivered_twice(
    ahead_ms: int, waits_ms: list[int]
) -> None:
    desk = Desk(AgentConfig(lifetime_ms_max=40_000), security=keyed())
    bundle = sent(keyed().protect(bundle_for(APP, creation_ms=NOW + ahead_ms)))
    now = NOW
    for wait_ms in waits_ms:
        desk.arrive(bundle, now)
        now += wait_ms
        desk.expire(now)
    assert len(desk.got) <= 1


@pytest.mark.parametrize("trusted_clock", [True, False])
@pytest.mark.parametrize("creation_ms", [0, NOW - 5000])
def test_without_a_time_a_recording_is_known_for_the_time_that_is_configured(
    trusted_clock: bool, creation_ms: int
) -> None:
    config = AgentConfig(trusted_clock=trusted_clock, replay_memory_ms=3 * HOUR_MS)
    desk = Desk(config, security=keyed())
    blocks = [replace(bundle_age(5000, number=4), crc_type=2)]
    bundle = sent(keyed().protect(bundle_for(APP, creation_ms=creation_ms, blocks=blocks)))
    replayed(desk, bundle, end=NOW + 3 * HOUR_MS)
    assert desk.got == [b"data"]
    assert desk.agent.counters[
        "dropped_expired_on_arrival" if creation_ms and trusted_clock else "duplicates"
    ]


def test_a_clock_that_nobody_trusts_refuses_nothing_as_too_early() -> None:
    desk = Desk(AgentConfig(trusted_clock=False))
    desk.arrive(bundle_for(APP, creation_ms=NOW + HOUR_MS))
    assert desk.got == [b"data"]


# ---- priority ----------------------------------------------------------------------------------


def urgent(number: int, priority: int) -> Bundle:
    blocks = [replace(priority_block(priority, number=4), crc_type=2)]
    return sent(bundle_for(FAR + "app", bytes(600), sequence=number, blocks=blocks))


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("held", [0, 1, 2])
def test_only_whom_policy_trusts_makes_a_full_store_let_go(trusted: bool, held: int) -> None:
    desk = Desk(store=MemoryStore(3000))
    mine: list[int | None] = []
    while (ref := desk.arrive(urgent(len(mine), held), trusted=True)) != NO_ROOM:
        mine.append(ref)
    assert len(mine) > 2
    came = desk.arrive(urgent(100, 2), trusted=trusted)
    gone = [ref for ref in mine if ref not in desk.agent.entries]
    if trusted and held < 2:
        assert (bool(came), len(gone)) == (True, 1)
    else:
        assert (came, gone) == (NO_ROOM, [])


def test_a_priority_that_nobody_vouches_for_is_normal_at_most_and_goes_no_further() -> None:
    desk = Desk()
    for number, (priority, trusted, given_to) in enumerate(
        [
            (2, False, 1),
            (3, False, 1),
            (1 << 40, False, 1),
            (0, False, 0),
            (1, False, 1),
            (2, True, 2),
        ]
    ):
        ref = desk.arrive(urgent(number, priority), trusted=trusted)
        assert ref
        assert desk.agent.entries[ref].priority == given_to
        (encoded,) = desk.store.load([ref])
        assert encoded is not None
        came, kept = urgent(number, priority), decode_bundle(bytes(encoded))[0]
        believed = trusted or priority < 2
        assert kept.blocks == (came.blocks if believed else came.blocks[-1:])
        assert kept.primary.encoded == came.primary.encoded


def test_the_priority_of_what_security_has_proven_is_believed_at_the_acceptor() -> None:
    desk = Desk(security=keyed(), listens=False)
    blocks = [replace(priority_block(2, number=4), crc_type=2)]
    ref = desk.arrive(sent(keyed().protect(bundle_for(APP, blocks=blocks))))
    assert ref
    assert desk.agent.entries[ref].priority == 2


def test_the_source_of_what_is_sent_is_an_endpoint_of_this_node() -> None:
    desk = Desk()
    primary = decode_bundle(desk.send(FAR))[0].primary
    assert str(primary.source) == APP
    assert primary.destination == Eid.parse(FAR)
