"""LTP authentication (RFC 5327): recomputed from the RFC, forged, replayed and mixed."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import random

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from stack.core.train import Train, single
from stack.engines.ltp import LtpConfig, LtpEngine, Sent
from stack.engines.ltp.accepted import overhead_bytes
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import AuthKey, gmac_key, hmac_key, null_key, rsa_key
from stack.engines.ltp.coding import FecShim
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.wire.ltp import (
    CancelAck,
    CancelSegment,
    Claim,
    DataSegment,
    Extension,
    ReportAck,
    ReportSegment,
    Segment,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)
from tests.engines.ltp.lone import LOCAL, REMOTE, THEIRS, Lone
from tests.engines.ltp.signing import sign

OURS = SessionId(LOCAL, 77)
SECRET = b"twenty octets or so.."
KEY = hmac_key(SECRET, b"id-1")
GMAC = gmac_key(SECRET, b"id-1")
each_key = pytest.mark.parametrize("key", [KEY, GMAC], ids=["HMAC-SHA1-80", "AES-GMAC"])
ENTROPY = random.Random(1).randbytes
RSA_PRIVATE = rsa.generate_private_key(65537, 2048)

SEGMENTS: list[Segment] = [
    DataSegment(session=THEIRS, kind=SegmentType.RED, client_service=1, offset=0, data=b"red"),
    DataSegment(
        session=THEIRS,
        kind=SegmentType.RED_END_BLOCK,
        client_service=1,
        offset=3,
        data=b"end",
        checkpoint_serial=5,
    ),
    DataSegment(session=THEIRS, kind=SegmentType.GREEN, client_service=1, offset=0, data=b"gr"),
    ReportSegment(
        session=OURS, report_serial=1, checkpoint_serial=0, upper=9, lower=0, claims=(Claim(0, 9),)
    ),
    ReportAck(session=THEIRS, report_serial=1),
    CancelSegment(session=THEIRS, by_sender=True, reason=4),
    CancelSegment(session=OURS, by_sender=False, reason=4),
    CancelAck(session=OURS, to_sender=True),
    CancelAck(session=THEIRS, to_sender=False),
]


def layer(key: AuthKey = KEY, *accepting: AuthKey) -> Authenticator:
    return Authenticator(key, accepting or (key,), ENTROPY)


def octets(trains: list[Train]) -> list[bytes]:
    return [bytes(datagram) for train in trains for datagram in train.datagrams()]


# ---- octets ------------------------------------------------------------------------------------


def test_hmac_sha1_80_is_what_the_rfc_says() -> None:
    for segment in SEGMENTS:
        plain = encode_segment(segment)
        signed = bytes(sign(layer(), single(plain)).data)
        read, end = decode_segment(signed)
        assert end == len(signed)
        assert read.header == (Extension(0x00, b"\x00id-1"),)
        covered = signed[:-10]  # everything before the authentication value itself
        expected = hmac.new(SECRET, covered, hashlib.sha1).digest()[:10]
        assert read.trailer == (Extension(0x00, expected),)
        assert len(signed) - len(plain) == overhead_bytes(KEY)


def test_long_keys_are_hashed_first_as_hmac_has_it() -> None:
    key = hmac_key(bytes(range(100)))
    assert key.signer is not None
    assert (
        key.signer(b"").one(b"x") == hmac.new(bytes(range(100)), b"x", hashlib.sha1).digest()[:10]
    )


def test_null_is_hmac_with_the_published_key() -> None:
    plain = encode_segment(SEGMENTS[0])
    signed = bytes(sign(layer(null_key()), single(plain)).data)
    read, _ = decode_segment(signed)
    published = bytes.fromhex("c37b7e64 92584340 bed12207 80894115 5068f738")
    assert read.header == (Extension(0x00, b"\xff"),)
    assert read.trailer[0].value == hmac.new(published, signed[:-10], "sha1").digest()[:10]


def test_rsa_sha256_verifies_with_the_public_key_alone() -> None:
    plain = encode_segment(SEGMENTS[3])
    public = RSA_PRIVATE.public_key()
    signed = bytes(sign(layer(rsa_key(public, RSA_PRIVATE)), single(plain)).data)
    read, _ = decode_segment(signed)
    assert read.header == (Extension(0x00, b"\x01"),)
    value = read.trailer[0].value
    public.verify(value, signed[: -len(value)], padding.PKCS1v15(), hashes.SHA256())
    reader = Authenticator(KEY, [rsa_key(public)], ENTROPY)
    assert octets(reader.verify(single(signed))) == [plain]
    broken = signed[:-1] + bytes((signed[-1] ^ 1,))
    assert reader.verify(single(broken)) == []
    with pytest.raises(ValueError, match="private"):
        Authenticator(rsa_key(public), [], ENTROPY)


# ---- trains ------------------------------------------------------------------------------------


@each_key
@given(st.lists(st.integers(0, len(SEGMENTS) - 1), max_size=9), st.integers(1, 3))
def test_what_is_signed_comes_out_as_it_was(key: AuthKey, picks: list[int], copies: int) -> None:
    ours = layer(key)
    for pick in picks:
        plain = encode_segment(SEGMENTS[pick])
        train = Train(plain * copies, len(plain))
        assert octets(ours.verify(sign(ours, train))) == [plain] * copies


@each_key
def test_a_forged_datagram_in_a_train_takes_no_other_with_it(key: AuthKey) -> None:
    plain = encode_segment(SEGMENTS[0])
    ours = layer(key)
    signed = bytearray(sign(ours, Train(plain * 5, len(plain))).data)
    size = len(signed) // 5
    signed[2 * size + 9] ^= 1
    assert octets(ours.verify(Train(signed, size))) == [plain] * 4
    assert ours.counters == {"signed": 5, "verified": 4, "unsigned": 0, "forged": 1}


def sized(number: int, size: int) -> bytes:
    """A data segment of so many octets, whatever its session's number takes of them."""
    session = SessionId(REMOTE, number)
    bare = DataSegment(session=session, kind=SegmentType.RED, client_service=1, offset=0, data=b"")
    return encode_segment(dataclasses.replace(bare, data=bytes(size - len(encode_segment(bare)))))


@given(
    st.lists(st.sampled_from((5, 6, 300, 2**20)), min_size=1, max_size=8),
    st.integers(20, 40),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 80)), max_size=2),
    st.sampled_from(
        (KEY, hmac_key(b"another secret..", b"id-1"), hmac_key(SECRET), GMAC, gmac_key(b"another"))
    ),
)
def test_a_train_is_signed_and_verified_as_its_datagrams_are_one_by_one(
    sessions: list[int], last: int, damage: list[tuple[int, int]], key: AuthKey
) -> None:
    """Whatever of its segments is alike or damaged, and whoever has signed it."""
    plain = [*(sized(number, 40) for number in sessions), sized(5, last)]
    one_salt = (Authenticator(key, (), random.Random(2).randbytes) for _ in range(2))
    whole, each_alone = one_salt
    signed = sign(whole, Train(b"".join(plain), 40))
    arrived = bytearray(signed.data)
    assert arrived == b"".join(bytes(sign(each_alone, single(one)).data) for one in plain)
    for row, at in damage:
        arrived[(row * signed.size + at) % len(arrived)] ^= 0x11
    other = hmac_key(b"an old secret...", b"id-1")
    ours, apart = layer(KEY, other, KEY, GMAC), layer(KEY, other, KEY, GMAC)
    train = Train(arrived, signed.size)
    expected = [one for each in train.datagrams() for one in octets(apart.verify(single(each)))]
    assert octets(ours.verify(train)) == expected
    assert ours.counters == apart.counters


@each_key
def test_whether_a_datagram_is_as_we_make_them_is_told_without_counting(key: AuthKey) -> None:
    ours = layer(key)
    plain = encode_segment(SEGMENTS[0])
    signed = bytes(sign(ours, single(plain)).data)
    forged = bytes((*signed[:-1], signed[-1] ^ 1))
    judged = [ours.genuine(memoryview(each)) for each in (signed, forged, plain, signed * 2, b"")]
    assert judged == [True, False, False, False, False]
    assert ours.counters == {"signed": 1, "verified": 0, "unsigned": 0, "forged": 0}


@each_key
def test_several_segments_in_one_datagram_are_verified_one_by_one(key: AuthKey) -> None:
    ours = layer(key)
    plains = [encode_segment(segment) for segment in SEGMENTS]
    signed = [bytes(sign(ours, single(plain)).data) for plain in plains]
    bad = bytes((*signed[3][:-1], signed[3][-1] ^ 1))
    datagram = b"".join([*signed[:3], bad, *signed[4:]])
    assert octets(ours.verify(single(datagram))) == [*plains[:3], *plains[4:]]


def test_a_forged_packet_that_comes_first_does_not_take_the_place_of_a_genuine_one() -> None:
    """Over erasure coding, which knows by the key what is genuine."""
    shims = [
        FecShim(FecConfig(), random.Random(n).randbytes, lambda *_: None, SharedCodes(), layer())
        for n in range(2)
    ]
    signed = sign(layer(), single(encode_segment(SEGMENTS[0])))
    (packet,) = shims[0].protect([signed], 0)
    forged = single(bytes((packet.data[0], packet.data[1] ^ 1)) + packet.data[2:], packet.flow)
    got = [octets(shims[1].recover(one, 0)) for one in (forged, packet)]
    assert got[1] == [signed.data]


def test_erasure_coding_judges_by_the_keys_that_are_there() -> None:
    """It recovers what nobody has signed while there is no key, and only then."""
    authenticator = layer()
    config = FecConfig(k=2, r=1)
    sender, receiver = (
        FecShim(config, random.Random(n).randbytes, lambda *_: None, SharedCodes(), one)
        for n, one in enumerate((None, authenticator))
    )
    plain = [encode_segment(segment) for segment in SEGMENTS[:2]]

    def recovered() -> list[bytes]:
        """What arrives of two datagrams, the second of which is lost."""
        sent = [one for each in plain for one in sender.protect([single(each)], 0)]
        assert len(sent) == 3
        return [got for one in (sent[0], sent[2]) for got in octets(receiver.recover(one, 0))]

    assert recovered() == plain[:1]
    authenticator.let_go("open")
    receiver.follow()
    assert recovered() == plain
    authenticator.change(KEY, (KEY,))
    receiver.follow()
    assert recovered() == plain[:1]
    assert receiver.counters()["rx_source_packets"] == 3


@each_key
def test_other_extensions_are_kept_and_covered(key: AuthKey) -> None:
    segment = ReportAck(
        session=THEIRS,
        report_serial=3,
        header=(Extension(0x01, b"cookie"),),
        trailer=(Extension(0xC0, b"ours"),),
    )
    ours = layer(key)
    signed = bytes(sign(ours, single(encode_segment(segment))).data)
    assert octets(ours.verify(single(signed))) == [encode_segment(segment)]
    changed = signed.replace(b"cookie", b"biscuit"[:6])
    assert ours.verify(single(changed)) == []


def test_a_peer_may_put_other_extensions_first() -> None:
    cookie, mark, private = (
        Extension(0x01, b"cookie"),
        Extension(0, b"\0id-1"),
        Extension(0xC0, b"x"),
    )
    blank = ReportAck(
        session=THEIRS,
        report_serial=3,
        header=(cookie, mark),
        trailer=(private, Extension(0, bytes(10))),
    )
    covered = encode_segment(blank)[:-10]
    signed = covered + hmac.new(SECRET, covered, hashlib.sha1).digest()[:10]
    bare = ReportAck(session=THEIRS, report_serial=3, header=(cookie,), trailer=(private,))
    assert octets(layer().verify(single(signed))) == [encode_segment(bare)]


def test_what_follows_the_authentication_value_would_not_be_covered() -> None:
    after = Extension(0xC0, b"added")
    blank = ReportAck(
        session=THEIRS,
        report_serial=3,
        header=(Extension(0, b"\0id-1"),),
        trailer=(Extension(0, bytes(10)), after),
    )
    whole = encode_segment(blank)
    rest = len(encode_segment(dataclasses.replace(blank, trailer=(after,)))) - len(
        encode_segment(dataclasses.replace(blank, trailer=()))
    )
    covered = whole[: len(whole) - rest - 10]
    signed = covered + hmac.new(SECRET, covered, hashlib.sha1).digest()[:10]
    ours = layer()
    assert ours.verify(single(signed + whole[len(whole) - rest :])) == []
    alone = dataclasses.replace(blank, trailer=blank.trailer[:1])
    covered = encode_segment(alone)[:-10]
    signed = covered + hmac.new(SECRET, covered, hashlib.sha1).digest()[:10]
    assert len(ours.verify(single(signed))) == 1


def test_a_key_without_id_is_found_by_its_ciphersuite() -> None:
    anonymous = hmac_key(SECRET)
    plain = encode_segment(SEGMENTS[0])
    signed = sign(layer(anonymous), single(plain))
    assert octets(layer(KEY).verify(signed)) == [plain]
    assert layer(hmac_key(b"another secret..", b"id-1")).verify(signed) == []


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (hmac_key(b"n" * 20, b"new"), hmac_key(b"o" * 20, b"old")),
        (gmac_key(b"n" * 32, b"id"), gmac_key(b"o" * 32, b"id")),
        (gmac_key(b"n" * 32, b"id"), rsa_key(RSA_PRIVATE.public_key(), RSA_PRIVATE)),
    ],
    ids=["HMAC-SHA1-80", "AES-GMAC of one KeyID", "RSA before"],
)
def test_old_and_new_keys_are_accepted_while_they_are_exchanged(new: AuthKey, old: AuthKey) -> None:
    plain = encode_segment(SEGMENTS[0])
    for key in (new, old):
        assert octets(layer(new, new, old).verify(sign(layer(key), single(plain)))) == [plain]
    assert layer(new, new).verify(sign(layer(old), single(plain))) == []


# ---- forgers -----------------------------------------------------------------------------------


def forgeries(segment: Segment) -> list[bytes]:
    """What somebody without the key can send."""
    plain = encode_segment(segment)
    null = bytes(sign(layer(null_key()), single(plain)).data)
    wrong, other = (
        bytes(sign(layer(made(b"not the key.....", b"id-1")), single(plain)).data)
        for made in (hmac_key, gmac_key)
    )
    empty, _ = decode_segment(plain)
    fields = {name: getattr(empty, name) for name in empty.__dataclass_fields__}
    fields |= {"header": (Extension(0, b"\x00"),), "trailer": (Extension(0, b""),)}
    unsigned = encode_segment(type(empty)(**fields))
    return [plain, null, wrong, other, wrong[:-1], other[:-1], unsigned]


def test_forged_segments_of_every_type_are_dropped_and_counted() -> None:
    for segment in SEGMENTS:
        for forged in forgeries(segment):
            ours = layer(GMAC, GMAC, KEY)
            assert ours.verify(single(forged)) == []
            assert ours.counters["unsigned"] + ours.counters["forged"] >= 1
            assert ours.counters["verified"] == 0


@given(st.binary(min_size=1, max_size=80), st.integers(1, 20))
def test_any_octets_are_survived_and_nothing_passes(data: bytes, size: int) -> None:
    assert layer(GMAC, GMAC, KEY).verify(Train(data, size)) == []


@each_key
@given(st.integers(0, len(SEGMENTS) - 1), st.data())
def test_no_flipped_bit_passes(key: AuthKey, pick: int, data: st.DataObject) -> None:
    ours = layer(key)
    signed = bytearray(sign(ours, single(encode_segment(SEGMENTS[pick]))).data)
    bit = data.draw(st.integers(0, 8 * len(signed) - 1))
    signed[bit // 8] ^= 1 << bit % 8
    assert ours.verify(single(signed)) == []


def sender() -> tuple[LtpEngine, Authenticator, list[Segment]]:
    """An engine that has sent a bundle which nobody has, its layer, and what left."""
    config = LtpConfig(local_engine_id=LOCAL, remote_engine_id=REMOTE)
    engine = LtpEngine(config, entropy=random.Random(1).randbytes)
    engine.link(0, tx_up=True, rx_up=True, rate_bps=None, owlt_ns=0)
    engine.submit(b"b" * 5000, 9, 0)
    left = [decode_segment(one)[0] for one in octets(engine.data_to_send(0))]
    return engine, layer(), left


def one_report_over_all(left: list[Segment]) -> ReportSegment:
    return ReportSegment(
        session=left[0].session,
        report_serial=1,
        checkpoint_serial=next(
            one.checkpoint_serial
            for one in left
            if isinstance(one, DataSegment) and one.checkpoint_serial
        ),
        upper=5000,
        lower=0,
        claims=(Claim(0, 5000),),
    )


def test_a_forged_report_makes_a_sender_forget_nothing() -> None:
    engine, guard, left = sender()
    for forged in forgeries(one_report_over_all(left)):
        for train in guard.verify(single(forged)):
            engine.receive(train, 1)
    assert not [event for event in iter(engine.next_event, None) if isinstance(event, Sent)]
    genuine = sign(guard, single(encode_segment(one_report_over_all(left))))
    for train in guard.verify(genuine):
        engine.receive(train, 1)
    assert [event for event in iter(engine.next_event, None) if isinstance(event, Sent)]


def test_an_authentic_report_of_another_session_is_nothing_to_this_one() -> None:
    """A replayed report names a session number of its time; numbers begin at random."""
    lone = Lone()
    lone.engine.submit(b"b" * 500, 9, 0)
    lone.engine.data_to_send(0)
    old = SEGMENTS[3]
    guard = layer()
    for train in guard.verify(sign(guard, single(encode_segment(old)))):
        lone.engine.receive(train, 1)
    assert not [event for event in lone.events() if isinstance(event, Sent)]
