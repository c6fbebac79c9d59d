"""Which links are authenticated, with which keys, and what it does to the size of segments."""

from __future__ import annotations

import dataclasses
import hmac
import math
import random
from pathlib import Path

import pytest

from stack.core.errors import ConfigError
from stack.core.train import FLOW_REPAIR, Train, single
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import hmac_key
from stack.fec.config import FecConfig
from stack.node.build import make_router_config, under_fec
from stack.node.config import LinkConfig, NodeConfig, SecurityConfig
from stack.node.guard import (
    Guard,
    follow,
    is_shut_by,
    is_trusted,
    make_authenticator,
    under_extensions,
)
from stack.node.neighbour import Neighbour
from stack.routing.config import consumption
from stack.security.keys import Key, KeyRing, link_key, parse_keys
from stack.wire.ltp import ReportAck, SessionId, encode_segment
from tests.engines.ltp.signing import enveloped, sign

LTP = LtpConfig(local_engine_id=1, remote_engine_id=2)
A, B = "dtn://a/", "dtn://b/"
RING = KeyRing([Key("k", "ltp", b"s" * 32)])
SEGMENT = encode_segment(ReportAck(session=SessionId(1, 5), report_serial=7))


def authenticator(config: LinkConfig, node: str, keys: KeyRing) -> Authenticator | None:
    """One that begins with the same salt as all others."""
    return make_authenticator(config, node, keys, random.Random(1).randbytes)


def link(peer: str, authentication: str = "auto", fec: FecConfig | None = None) -> LinkConfig:
    return LinkConfig(name="l", peer=peer, ltp=LTP, fec=fec, authentication=authentication)


def test_two_nodes_with_one_key_file_understand_each_other() -> None:
    ours = authenticator(link(B), A, RING)
    theirs = authenticator(link(A), B, RING)
    assert ours is not None
    assert theirs is not None
    [train] = theirs.verify(sign(ours, single(SEGMENT)))
    assert bytes(train.data) == SEGMENT


def test_between_our_nodes_segments_are_signed_with_gmac_alone() -> None:
    """What somebody signs in another ciphersuite is a forgery, whatever of the key he has."""
    ours, theirs = authenticator(link(B), A, RING), authenticator(link(A), B, RING)
    assert ours is not None
    assert theirs is not None
    signed = bytes(sign(ours, single(SEGMENT)).data)
    key_id, secret = link_key(RING.keys[0].secret, A, B)
    assert signed[4:11] == b"\0\x11\xc0" + key_id
    weak = hmac_key(secret, key_id)
    forged = sign(Authenticator(weak, (weak,), bytes), single(SEGMENT))
    assert theirs.verify(forged) == []
    assert theirs.counters["forged"] == 1
    [train] = theirs.verify(single(signed))
    assert bytes(train.data) == SEGMENT


def test_the_keys_of_a_domain_are_not_for_a_neighbour_of_another() -> None:
    ring = KeyRing(RING.keys, A, elsewhere=lambda node: False if node == B else None)
    ours, theirs = (authenticator(link(peer), A, ring) for peer in ("dtn://c/", B))
    assert ours is not None
    assert theirs is not None
    assert [ours.state, theirs.state] == ["keyed", "open"]
    with pytest.raises(ConfigError, match="enrol with an answer that has keys"):
        authenticator(link(B, "on"), A, KeyRing((), A, elsewhere=lambda _: None))


@pytest.mark.parametrize(("wanted", "left"), [("auto", "open"), ("on", "shut")])
def test_a_link_follows_of_what_domain_its_neighbour_is(wanted: str, left: str) -> None:
    foreign = set[str]()
    ring = KeyRing(RING.keys, A, elsewhere=lambda node: False if node in foreign else None)
    config = link(B, wanted)
    guard, theirs = authenticator(config, A, ring), authenticator(link(A), B, RING)
    assert guard is not None
    assert theirs is not None
    bare, signed = single(SEGMENT), sign(theirs, single(SEGMENT))
    layer = Guard(guard, None, lambda _: None)

    def passing() -> tuple[list[Train], list[Train], list[Train]]:
        leaving = layer.protect([enveloped(layer.envelope(), bare)], 0)
        left = [plain for train in leaving for plain in theirs.verify(train)]
        return left, layer.recover(bare, 0), layer.recover(signed, 0)

    assert passing() == ([bare], [], [bare])
    assert is_trusted(config, guard)
    foreign.add(B)
    follow(guard, config, A, ring)
    assert guard.state == left
    assert not is_trusted(config, guard)
    dropped = guard.counters["unsigned"], guard.counters["forged"]
    if left == "open":
        assert passing() == ([], [bare], [signed])
        assert layer.envelope() is None
        assert layer.protect([bare], 0) == [bare]
        assert guard.judge is None
    else:
        assert passing() == ([], [], [])
        assert (guard.counters["unsigned"], guard.counters["forged"]) == tuple(
            count + 1 for count in dropped
        )
    fresh = authenticator(config, A, ring)
    assert fresh is not None
    assert fresh.overhead_bytes == guard.overhead_bytes
    begun = Guard(fresh, None, lambda _: None)
    through = [bare] if left == "open" else []
    assert (begun.state, begun.protect([bare], 0), begun.recover(bare, 0)) == (
        left,
        through,
        through,
    )
    foreign.clear()
    follow(guard, config, A, KeyRing(()))  # no key: nothing is switched on or off by that
    assert guard.state == left
    follow(guard, config, A, ring)
    assert passing() == ([bare], [], [bare])


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_keys_that_are_gone_serve_nobody_and_switch_nothing_off(wanted: str) -> None:
    config = link(B, wanted)
    guard, theirs = authenticator(config, A, RING), authenticator(link(A), B, RING)
    assert guard is not None
    assert theirs is not None
    bare, layer = single(SEGMENT), Guard(guard, None, lambda _: None)
    assert not is_shut_by(guard, config, A, RING)
    assert is_shut_by(guard, config, A, KeyRing(()))
    assert layer.follow(config, A, KeyRing(()))
    assert guard.state == "shut"
    assert not is_shut_by(guard, config, A, KeyRing(()))
    assert not is_trusted(config, guard)
    assert layer.protect([bare], 0) == []
    assert layer.recover(bare, 0) == layer.recover(sign(theirs, bare), 0) == []
    assert layer.follow(config, A, RING)
    assert layer.recover(sign(theirs, bare), 0) == [bare]


def test_a_member_of_a_domain_leaves_room_for_keys_that_may_come() -> None:
    found = [KeyRing(keys, A, elsewhere=lambda _: None) for keys in ((), RING.keys)]
    before, after = (authenticator(link(B), A, ring) for ring in found)
    assert before is not None
    assert after is not None
    assert [before.state, after.state] == ["open", "keyed"]
    assert before.overhead_bytes == after.overhead_bytes
    follow(before, link(B), A, found[1])
    assert sign(before, single(SEGMENT)) == sign(after, single(SEGMENT))


def test_nobody_takes_his_own_segments_or_those_for_another() -> None:
    ours = authenticator(link(B), A, RING)
    other = authenticator(link(A), "dtn://c/", RING)
    assert ours is not None
    assert other is not None
    signed = sign(ours, single(SEGMENT))
    assert ours.verify(signed) == []
    assert other.verify(signed) == []


def test_configuration_alone_decides() -> None:
    elsewhere = KeyRing([Key("k", "ltp", b"s" * 32, peers=("dtn://x*",))])
    retired = KeyRing([Key("k", "ltp", b"s" * 32, send=False)])
    hmac_only = KeyRing([Key("k", "hmac", b"s" * 32)])
    assert authenticator(link(B), A, KeyRing(())) is None
    for ring in (elsewhere, retired, hmac_only):  # where there are keys, others may come
        found = authenticator(link(B), A, ring)
        assert found is not None
        assert found.state == "open"
    for ring in (elsewhere, retired, hmac_only, KeyRing(())):
        with pytest.raises(ConfigError, match="no ltp key"):
            authenticator(link(B, "on"), A, ring)
    assert authenticator(link(B, "on"), A, RING) is not None
    assert authenticator(link(B, "off"), A, RING) is None
    assert authenticator(link(B, "null"), A, KeyRing(())) is not None


def test_a_retired_key_is_accepted_and_not_used() -> None:
    both = KeyRing([Key("old", "ltp", b"o" * 32, send=False), Key("new", "ltp", b"n" * 32)])
    before = authenticator(link(A), B, KeyRing([Key("old", "ltp", b"o" * 32)]))
    after = authenticator(link(A), B, KeyRing([Key("new", "ltp", b"n" * 32)]))
    ours = authenticator(link(B), A, both)
    assert before is not None
    assert after is not None
    assert ours is not None
    assert ours.verify(sign(before, single(SEGMENT)))
    assert after.verify(sign(ours, single(SEGMENT)))


def raw(secret: bytes, key_id: str = "", **entries: object) -> Key:
    entry = {"id": secret.hex(), "kind": "ltp", "secret": secret.hex(), "raw": True}
    (key,) = parse_keys({"key": [entry | {"key_id": key_id} | entries]}, Path()).keys
    return key


@pytest.mark.parametrize("key_id", ["", "6b31"])
def test_a_raw_key_is_what_a_foreign_peer_computes(key_id: str) -> None:
    secret = bytes(range(20))
    guard = authenticator(link("ipn:2.0"), "ipn:1.0", KeyRing([raw(secret, key_id)]))
    assert guard is not None
    signed = bytes(sign(guard, single(SEGMENT)).data)
    named = bytes((0, len(key_id) // 2 + 1, 0)) + bytes.fromhex(key_id)
    covered = SEGMENT[:3] + b"\x11" + named + SEGMENT[4:] + b"\0\x0a"
    assert signed == covered + hmac.new(secret, covered, "sha1").digest()[:10]
    # ION names no key in what it sends.
    theirs = SEGMENT[:3] + b"\x11" + b"\0\x01\0" + SEGMENT[4:] + b"\0\x0a"
    value = hmac.new(secret, theirs, "sha1").digest()[:10]
    [train] = guard.verify(single(theirs + value))
    assert bytes(train.data) == SEGMENT
    assert guard.verify(single(theirs + value[:-1] + bytes((value[-1] ^ 1,)))) == []


def test_raw_keys_without_a_key_id_can_be_exchanged() -> None:
    old, new = raw(b"o" * 20, send=False), raw(b"n" * 20)
    before = authenticator(link(A), B, KeyRing([raw(b"o" * 20)]))
    after = authenticator(link(A), B, KeyRing([new]))
    assert before is not None
    assert after is not None
    for order in ([old, new], [new, old]):
        ours = authenticator(link(B), A, KeyRing(order))
        assert ours is not None
        assert ours.genuine(memoryview(sign(before, single(SEGMENT)).data))
        assert after.genuine(memoryview(sign(ours, single(SEGMENT)).data))


def test_where_our_nodes_alone_sign_no_session_number_comes_again() -> None:
    """What somebody has recorded is authentic: under a number that comes again the peer would
    acknowledge it in the place of what is new.  Others read no numbers above 32 bits."""

    def bits(guard: Authenticator | None, least: int = 31) -> int:
        ltp = dataclasses.replace(LTP, session_bits=least)
        return under_extensions(ltp, link(B), guard).session_bits

    ours = authenticator(link(B), A, RING)
    assert bits(ours) == 48
    assert bits(ours, 62) == 62
    keyless = authenticator(link(B), A, KeyRing([Key("aes", "aes", bytes(32))]))
    others = (
        None,
        keyless,
        authenticator(link(B, "null"), A, RING),
        authenticator(link(B), A, KeyRing([raw(b"r" * 20)])),
    )
    assert keyless is not None
    assert [bits(guard) for guard in others] == [31] * 4
    follow(keyless, link(B), A, RING)
    assert bits(keyless) == 48


def test_segments_leave_room_for_the_extensions() -> None:
    guard = authenticator(link(B), A, RING)
    assert guard is not None
    for fec in (None, FecConfig()):
        bare, _ = under_fec(link(B, fec=fec), 1280)
        ltp, _ = under_fec(link(B, fec=fec), 1280, guard)
        signed = sign(guard, single(bytes(ltp.segment_bytes)))
        assert signed.size == bare.segment_bytes
        assert ltp.overhead_bytes - bare.overhead_bytes == signed.size - ltp.segment_bytes


@pytest.mark.parametrize("segment", [512, 1280, 1400, 8900, 64_000])
def test_trains_have_as_many_segments_with_the_extensions(segment: int) -> None:
    """One call of the socket takes them: what is over would cost another."""
    guard = authenticator(link(B), A, RING)
    bare = LtpConfig(local_engine_id=1, remote_engine_id=2, segment_bytes=segment)
    for cookies in (False, True):
        ltp = under_extensions(bare, dataclasses.replace(link(B), cookies=cookies), guard)
        count = ltp.train_bytes // ltp.segment_bytes
        assert count == bare.train_bytes // bare.segment_bytes
        assert count * segment <= bare.train_bytes


def test_routing_reckons_with_the_signatures_of_a_scheduled_link() -> None:
    scheduled = dataclasses.replace(link(B), scheduled=True)
    apart = dataclasses.replace(scheduled, name="m", peer="dtn://m/", authentication="off")

    def added(*links: LinkConfig) -> int:
        config = NodeConfig(
            id=A, data_dir="x", security=SecurityConfig(protect="none"), links=links
        )
        return consumption(make_router_config(config, RING, bytes), 1_000_000) - 1_000_000

    # What leaves for a megabyte in segments of 1,400 octets, whose extensions are 41 of them.
    datagrams = math.ceil(1_000_000 / (1400 - 41 - 10))
    encoded = datagrams * (28 + 41 + 10)
    assert abs(added(scheduled) - encoded) < 100
    assert added() == added(apart) == added(scheduled, apart) == 30_000
    assert added(link(B)) == 30_000, "a link without contacts has no volume"


def test_the_operator_is_told_of_unsigned_segments() -> None:
    guard = authenticator(link(B), A, RING)
    theirs = authenticator(link(A), B, RING)
    stranger = authenticator(link(A), B, KeyRing([Key("x", "ltp", b"x" * 32)]))
    assert guard is not None
    assert theirs is not None
    assert stranger is not None
    traced: list[str] = []
    neighbour = Neighbour(link(B), lambda event, _: traced.append(event))
    layer = Guard(guard, None, neighbour.unauthentic)

    def arrive(train: Train) -> list[str]:
        layer.recover(train, 0)
        return neighbour.authentication(layer.counters())

    assert neighbour.authentication(layer.counters()) == []
    arrive(single(SEGMENT))
    [told] = arrive(single(SEGMENT))
    assert "no segment has LTP authentication; 2 were dropped" in told
    assert 'authentication = "off"' in told
    assert traced == ["link_unsigned"]
    assert arrive(Train(SEGMENT, len(SEGMENT), FLOW_REPAIR)) == [told]
    _, told = arrive(sign(stranger, single(SEGMENT)))
    assert "all segments have an LTP authentication that is wrong; 1 were dropped" in told
    assert traced == ["link_unsigned", "link_forged"]
    # What a forger sends beside the peer must not talk the operator into turning it off.
    first, second = arrive(sign(theirs, single(SEGMENT)))
    assert "2 segments without LTP authentication were dropped beside 1 authentic" in first
    assert "1 segments whose LTP authentication is wrong were dropped beside 1" in second
    assert "off" not in first + second


def test_an_unknown_word_names_its_key() -> None:
    with pytest.raises(ConfigError, match="sometimes"):
        NodeConfig(
            id=A,
            data_dir="x",
            security=SecurityConfig(protect="none"),
            links=(link(B, "sometimes"),),
        )
