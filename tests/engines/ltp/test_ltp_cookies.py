"""LTP cookies (RFC 5327 §2.2): put on, returned, demanded; forged, guessed and passed over."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.clock import SECOND
from stack.core.train import Train, single
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import Checks, gmac_key
from stack.engines.ltp.coding import FecShim
from stack.engines.ltp.cookies import COOKIE_BYTES_MAX, OVERHEAD_BYTES, SESSIONS_MAX, Cookies
from stack.fec.config import FecConfig
from stack.fec.erasure import SharedCodes
from stack.node.guard import Guard
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
from tests.engines.ltp.pair import Faults, Pair
from tests.engines.ltp.signing import enveloped

OURS, THEIRS = SessionId(1, 77), SessionId(2, 500)
HOUR = 3600 * SECOND

OF_OURS: list[Segment] = [
    ReportSegment(
        session=OURS, report_serial=1, checkpoint_serial=4, upper=9, lower=0, claims=(Claim(0, 9),)
    ),
    CancelSegment(session=OURS, by_sender=False, reason=4),
    CancelAck(session=OURS, to_sender=True),
]
OF_THEIRS: list[Segment] = [
    DataSegment(session=THEIRS, kind=SegmentType.RED, client_service=1, offset=0, data=b"red"),
    DataSegment(session=THEIRS, kind=SegmentType.GREEN, client_service=1, offset=9, data=b"green"),
    ReportAck(session=THEIRS, report_serial=1),
    CancelSegment(session=THEIRS, by_sender=True, reason=0),
    CancelAck(session=THEIRS, to_sender=False),
]
DATA = DataSegment(session=OURS, kind=SegmentType.RED, client_service=1, offset=0, data=b"ours")


def a_jar(seed: int = 1) -> Cookies:
    return Cookies(random.Random(seed).randbytes)


def marked(segment: Segment, *cookies: bytes) -> bytes:
    """As a peer sends it."""
    header = tuple(Extension(1, cookie) for cookie in cookies)
    return encode_segment(dataclasses.replace(segment, header=header))


def passing(jar: Cookies, *datagrams: bytes) -> list[Segment]:
    """What comes through to the engine, which sees no cookies."""
    found = []
    for datagram in datagrams:
        for train in jar.recover(single(datagram), 0):
            for one in train.datagrams():
                segment, end = decode_segment(bytes(one))
                assert end == len(one)
                assert not segment.header
                found.append(segment)
    return found


def cookie_of(jar: Cookies, segment: Segment) -> bytes:
    """That with which a segment of ours leaves, read from its octets; empty for none."""
    plain = encode_segment(segment)
    [train] = jar.protect([single(plain)], 0)
    octets = bytes(train.data)
    if octets == plain:
        return b""
    counts = 3  # after the first octet, an engine id and a session number of one octet each
    counts += segment.session.number > 127
    assert octets[:counts] == plain[:counts]
    assert octets[counts] == plain[counts] + 0x10, "one header extension, no trailer extension"
    tag, length = octets[counts + 1], octets[counts + 2]
    assert tag == 0x01
    cookie, rest = octets[counts + 3 : counts + 3 + length], octets[counts + 3 + length :]
    assert rest == plain[counts + 1 :]
    return cookie


def test_all_segments_of_a_session_have_one_cookie_that_nobody_can_guess() -> None:
    jar = a_jar()
    assert cookie_of(jar, ReportAck(session=OURS, report_serial=3)) == b"", "not begun"
    cookie = cookie_of(jar, DATA)
    assert len(cookie) == 8
    assert cookie == cookie_of(jar, ReportAck(session=OURS, report_serial=3))
    assert cookie == cookie_of(jar, CancelSegment(session=OURS, by_sender=True, reason=0))
    others = {
        cookie_of(jar, dataclasses.replace(DATA, session=SessionId(1, number)))
        for number in range(100)
    }
    assert len(others) == 100
    assert cookie not in {cookie_of(a_jar(seed), DATA) for seed in range(2, 20)}


@pytest.mark.parametrize("answer", OF_OURS, ids=str)
def test_what_answers_our_session_has_to_return_its_cookie(answer: Segment) -> None:
    jar = a_jar()
    cookie = cookie_of(jar, DATA)
    assert passing(jar, marked(answer, cookie)) == [answer]
    assert passing(jar, encode_segment(answer), marked(answer, cookie[:-1] + b"?")) == []
    assert passing(jar, marked(answer, b""), marked(answer, cookie[:-1])) == []
    assert passing(jar, marked(answer, cookie, cookie), marked(answer, b"", cookie)) == []
    assert jar.counters() == {"good": 1, "absent": 0, "missing": 1, "wrong": 5}


def test_a_peer_that_never_returned_a_cookie_may_not_know_them() -> None:
    jar = a_jar()
    cookie_of(jar, DATA)
    plain, wrong = encode_segment(OF_OURS[0]), marked(OF_OURS[0], b"12345678")
    assert passing(jar, plain) == [OF_OURS[0]]
    assert passing(jar, wrong) == []
    # Nobody can make us believe that it does, and so cut it off, without the cookie of a session.
    assert passing(jar, marked(OF_THEIRS[0], b"12345678")) == [OF_THEIRS[0]]
    assert passing(jar, plain) == [OF_OURS[0]]
    assert jar.counters() == {"good": 1, "absent": 2, "missing": 0, "wrong": 1}


@pytest.mark.parametrize("segment", OF_THEIRS, ids=str)
def test_a_session_of_the_peers_keeps_the_cookie_that_it_began_with(segment: Segment) -> None:
    jar = a_jar()
    report = dataclasses.replace(OF_OURS[0], session=THEIRS)
    assert cookie_of(jar, report) == b""
    assert passing(jar, encode_segment(segment)) == [segment], "none was seen so far"
    assert passing(jar, marked(segment, b"theirs")) == [segment]
    assert passing(jar, encode_segment(segment), marked(segment, b"other")) == []
    assert passing(jar, marked(segment, b"theirs")) == [segment]
    for answer in OF_OURS:
        assert cookie_of(jar, dataclasses.replace(answer, session=THEIRS)) == b"theirs"
    # What answers a session of ours with that name is another matter.
    cookie_of(jar, dataclasses.replace(DATA, session=THEIRS))
    assert passing(jar, marked(dataclasses.replace(OF_OURS[0], session=THEIRS), b"theirs")) == []


@pytest.mark.parametrize("number", [OURS.number - 1, OURS.number + 2])
def test_a_session_of_an_earlier_life_hears_that_it_is_over(number: int) -> None:
    """Its cookies are not known any more, and nothing can be done with what they answer."""
    jar = a_jar()
    cookie_of(jar, DATA)
    cookie_of(jar, dataclasses.replace(DATA, session=SessionId(1, OURS.number + 1)))
    old = dataclasses.replace(OF_OURS[0], session=SessionId(1, number))
    assert passing(jar, marked(old, b"of old")) == [old]
    assert cookie_of(jar, ReportAck(session=old.session, report_serial=1)) == b"of old"
    assert not jar.returned
    assert passing(jar, marked(old, b"another")) == []
    # Both that were begun here are as before.
    for begun in (OURS, SessionId(1, OURS.number + 1)):
        answer = dataclasses.replace(OF_OURS[0], session=begun)
        assert passing(jar, marked(answer, b"of old")) == []
        cookie = cookie_of(jar, ReportAck(session=begun, report_serial=1))
        assert passing(jar, marked(answer, cookie)) == [answer]
    assert jar.returned


@pytest.mark.parametrize(("answer", "own"), [(OF_OURS[0], DATA), (OF_THEIRS[0], None)])
def test_a_cookie_may_be_extended_and_the_shorter_one_is_good_no_more(
    answer: Segment, own: Segment | None
) -> None:
    jar = a_jar()
    first = cookie_of(jar, own) if own is not None else b"theirs"
    assert passing(jar, marked(answer, first)) == [answer]
    assert passing(jar, marked(answer, first + b"more")) == [answer]
    assert passing(jar, marked(answer, first)) == []
    said = own or dataclasses.replace(OF_OURS[0], session=answer.session)
    assert cookie_of(jar, said) == first + b"more"
    too_long = (first + b"more").ljust(COOKIE_BYTES_MAX + 1, b"!")
    assert passing(jar, marked(answer, too_long)) == []
    assert passing(jar, marked(answer, too_long[:-1])) == [answer]


def test_other_extensions_stay() -> None:
    jar = a_jar()
    header = (Extension(0xC0, b"private"), Extension(1, b"theirs"))
    sent = dataclasses.replace(OF_THEIRS[0], header=header, trailer=(Extension(0xC1, b"x"),))
    [train] = jar.recover(single(encode_segment(sent)), 0)
    assert bytes(train.data) == encode_segment(dataclasses.replace(sent, header=header[:1]))


def test_cookies_of_the_peers_sessions_are_kept_in_bounds() -> None:
    jar = a_jar()
    sent = [
        dataclasses.replace(OF_THEIRS[0], session=SessionId(2, number))
        for number in range(SESSIONS_MAX + 5)
    ]
    for segment in sent:
        assert passing(jar, marked(segment, b"theirs")) == [segment]
    assert len(jar._kept) == SESSIONS_MAX
    assert passing(jar, marked(sent[-1], b"other")) == []
    assert passing(jar, marked(sent[0], b"other")) == [sent[0]], "the oldest is forgotten"


def padded(octets: bytes) -> bytes:
    """The same segment with session ids in a longer form, which SDNVs allow."""
    return octets[:1] + b"\x80" + octets[1:2] + b"\x80" + octets[2:]


@given(
    segments=st.lists(st.sampled_from(OF_OURS + OF_THEIRS), min_size=1, max_size=4),
    cookie=st.one_of(st.none(), st.binary(max_size=20)),
    longer=st.booleans(),
    behind=st.booleans(),
)
def test_whoever_does_not_know_the_cookies_brings_nothing_into_sessions_that_have_them(
    segments: list[Segment], cookie: bytes | None, longer: bool, behind: bool
) -> None:
    jar = a_jar()
    due = cookie_of(jar, DATA)
    passing(jar, marked(OF_OURS[0], due), marked(OF_THEIRS[0], b"one of theirs"))
    before = jar.counters()
    forged = [encode_segment(one) if cookie is None else marked(one, cookie) for one in segments]
    octets = b"".join(map(padded, forged) if longer else forged)
    stranger = dataclasses.replace(OF_THEIRS[0], session=SessionId(2, 9))
    if behind:  # a session of his own he can begin, whatever cookies there are
        octets = marked(stranger, b"his own") + octets
    assert passing(jar, octets) == [stranger] * behind
    after = jar.counters()
    dropped = after["missing"] + after["wrong"] - before["missing"] - before["wrong"]
    assert dropped == len(segments)


@given(octets=st.binary(max_size=60))
def test_octets_of_any_kind_behind_a_segment_never_keep_it_off(octets: bytes) -> None:
    jar = a_jar()
    jar.recover(single(octets or b"\0"), 0)
    for segment, start in (
        (OF_THEIRS[0], marked(OF_THEIRS[0], b"x")),
        (OF_OURS[1], encode_segment(OF_OURS[1])),
    ):
        first, *_ = jar.recover(single(start + octets), 0)
        assert decode_segment(bytes(first.data))[0] == segment


# ---- whole transfers -----------------------------------------------------------------------------


def jars(pair: Pair, *names: str, **below: Any) -> dict[str, Cookies]:
    """Let these sides have cookies; those of their present life."""
    made: dict[str, Cookies] = {}
    pair.layers_bytes = OVERHEAD_BYTES
    for side in (pair.a, pair.b):
        if side.name in names:

            def make(entropy: Any, name: str = side.name) -> Cookies:
                made[name] = Cookies(entropy, below.get(name))
                return made[name]

            side.shim = make
        pair.restart(side)
    return made


FAULTS = Faults(loss=0.1, duplicate=0.2, reorder=0.3)


@pytest.mark.parametrize("names", ["ab", "a", "b"])
def test_a_transfer_both_ways_with_a_peer_that_knows_cookies_or_does_not(names: str) -> None:
    pair = Pair(seed=11, block_bytes=20_000)
    made = jars(pair, *names)
    pair.faults = FAULTS
    for number in range(30):
        pair.submit(pair.a, (number * 977) % 9000)
        pair.submit(pair.b, (number * 331) % 3000)
    pair.run_until_idle(HOUR)
    assert pair.a.failed == pair.b.failed == 0
    for jar in made.values():
        counters = jar.counters()
        assert counters["missing"] == counters["wrong"] == 0
        assert jar.returned is (names == "ab")
        # Whoever begins with cookies has them from the first segment on.
        assert counters["good" if names == "ab" else "absent"] > 50
        assert counters["absent" if names == "ab" else "good"] == 0


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_restart_costs_no_more_with_cookies(side: str) -> None:
    pair = Pair(seed=12, block_bytes=30_000)
    made = jars(pair, "a", "b")
    pair.faults = Faults(loss=0.2)
    for _ in range(30):
        pair.submit(pair.a, 20_000)
    for _ in range(10):
        pair.run(30_000_000)
        pair.restart(getattr(pair, side))
    pair.run_until_idle(HOUR)
    assert pair.b.stored == pair.a.outgoing
    pair.run(2 * 86_400 * SECOND)
    assert not pair.b.notes
    for jar in made.values():
        assert jar.counters()["missing"] == jar.counters()["wrong"] == 0


def test_cookies_authentication_and_erasure_coding_lie_on_one_another() -> None:
    pair = Pair(seed=13, block_bytes=20_000, segment_bytes=1300, report_delay_ns=5_000_000)
    key = gmac_key(b"twenty octets or so..", b"id")
    below = {}
    for name in "ab":
        entropy = random.Random(name).randbytes
        authenticator = Authenticator(key, [key], entropy)
        fec = FecShim(FecConfig(), entropy, lambda *_: None, SharedCodes(), authenticator)
        below[name] = Guard(authenticator, fec, lambda _: None)
    made = jars(pair, "a", "b", **below)
    pair.layers_bytes = 200
    pair.faults = Faults(loss=0.05, reorder=0.1)
    for _ in range(20):
        pair.submit(pair.a, 5000)
        pair.submit(pair.b, 300)
    pair.run_until_idle(HOUR)
    assert pair.a.failed == pair.b.failed == 0
    assert {jar.counters()["wrong"] for jar in made.values()} == {0}


def test_a_train_with_cookies_is_verified_as_a_run() -> None:
    """Behind the extension of authentication they stand in the way of nothing."""
    key = gmac_key(b"twenty octets or so..", b"id")

    def checker(salt: bytes) -> Checks:
        def one(*_: object) -> bool:
            raise AssertionError

        return key.checker(salt)._replace(one=one)

    entropy = random.Random(1).randbytes
    guard = Guard(Authenticator(key, [key], entropy), None, lambda _: None)
    jar = Cookies(entropy, guard)
    bare = encode_segment(DATA)
    [signed] = jar.protect([enveloped(jar.envelope(), Train(bare * 5, len(bare)))], 0)
    reader = Authenticator(key, [dataclasses.replace(key, checker=checker)], bytes)
    [train] = reader.verify(signed)
    assert reader.counters["verified"] == 5
    cookie = cookie_of(a_jar(), DATA)
    assert bytes(train.data) == marked(DATA, cookie) * 5
