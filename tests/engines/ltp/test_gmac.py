"""AES-GMAC for LTP, a ciphersuite of ours: computed another way, forged, flooded and restarted."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import hmac
import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from stack.core.train import Buffer, Train, single
from stack.engines.ltp.accepted import SALTS_MAX, AcceptedKeys, header, overhead_bytes
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import AuthKey, Checks, gmac_key
from stack.engines.ltp.gmac import GmacChecker, GmacSigner
from stack.engines.ltp.trains import Octets
from stack.wire.ltp import Extension, ReportAck, SessionId, decode_segment, encode_segment
from tests.engines.ltp.signing import sign

SECRET = bytes(range(32))
KEY = gmac_key(SECRET, b"id-1")
PLAIN = encode_segment(ReportAck(session=SessionId(1, 5), report_serial=7))

ADDED = 41
"""Tag, length, ciphersuite, KeyID and salt; tag, length, count and GMAC's tag."""


def signer(seed: int = 1, key: AuthKey = KEY) -> Authenticator:
    return Authenticator(key, (key,), random.Random(seed).randbytes)


def signed(by: Authenticator, plain: bytes = PLAIN) -> bytes:
    return bytes(sign(by, single(plain)).data)


def passes(datagram: bytes, reader: Authenticator) -> list[bytes]:
    return [bytes(train.data) for train in reader.verify(single(datagram))]


# ---- octets ------------------------------------------------------------------------------------


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 octets of HKDF-SHA256 (RFC 5869)."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def product(x: int, y: int) -> int:
    """In GF(2^128), bits from the left (NIST SP 800-38D §6.3)."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def gmac(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """From its definition (§6.4, §7.1): AES of blocks, and GHASH by hand."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    hashing = int.from_bytes(encryptor.update(bytes(16)), "big")
    padded = data + bytes(-len(data) % 16) + (8 * len(data)).to_bytes(8, "big") + bytes(8)
    found = 0
    for at in range(0, len(padded), 16):
        found = product(found ^ int.from_bytes(padded[at : at + 16], "big"), hashing)
    mask = encryptor.update(nonce + b"\0\0\0\x01")
    return bytes(a ^ b for a, b in zip(found.to_bytes(16, "big"), mask, strict=True))


def test_the_definition_gives_what_was_published() -> None:
    """GCM's own test cases (McGrew and Viega, 2005), those that encrypt nothing."""
    assert gmac(bytes(16), bytes(12), b"").hex() == "58e2fccefa7e3061367f1d57a4e7455a"
    assert gmac(bytes(32), bytes(12), b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"


def test_a_value_is_the_count_and_the_tag_under_a_key_of_the_salt() -> None:
    ours = signer(seed=5)
    salt = random.Random(5).randbytes(12)
    own = hkdf(SECRET, salt, b"Orbitferry LTP AES-GMAC signer")
    for number in range(3):
        datagram = signed(ours)
        read, end = decode_segment(datagram)
        assert end == len(datagram) == len(PLAIN) + ADDED
        assert read.header == (Extension(0x00, b"\xc0id-1" + salt),)
        count = number.to_bytes(4, "big")
        expected = gmac(own, bytes(8) + count, datagram[:-20])
        assert read.trailer == (Extension(0x00, count + expected),)
    assert overhead_bytes(KEY) == ADDED


def test_nothing_of_the_secret_is_in_what_is_printed() -> None:
    ours = signer()
    signed(ours)
    for told in (repr(KEY), str(KEY), repr(ours)):
        assert SECRET.hex() not in told
        assert repr(SECRET) not in told


# ---- what may not pass -------------------------------------------------------------------------


def test_no_octet_may_be_changed_or_cut() -> None:
    datagram = signed(signer())
    for at in range(len(datagram)):
        changed = bytearray(datagram)
        changed[at] ^= 1 << at % 8
        assert passes(bytes(changed), signer()) == []
        assert not at or passes(datagram[:at], signer()) == []
    assert passes(datagram, signer()) == [PLAIN]


def test_the_value_of_another_salt_or_count_does_not_fit() -> None:
    one, other = signer(1), signer(2)
    genuine = [signed(by) for by in (one, one, other)]
    parts = [(each[:-20], each[-20:-16], each[-16:]) for each in genuine]
    for mixed in itertools.product(*zip(*parts, strict=True)):
        datagram = b"".join(mixed)
        assert passes(datagram, signer()) == ([PLAIN] if datagram in genuine else [])


@given(st.binary(max_size=60), st.integers(0, 16), st.booleans())
def test_whatever_follows_a_known_key_id_is_survived(rest: bytes, cut: int, put_in: bool) -> None:
    """What somebody sends who reads the link and has no key."""
    datagram = signed(signer())
    body = len(PLAIN) - 1 + 3 + 4 + (12 - cut if cut <= 12 else 0)
    forged = datagram[:body] + rest + (datagram[body:] if put_in else b"")
    reader = signer()
    assert passes(forged, reader) == ([PLAIN] if forged == datagram else [])
    assert passes(datagram, reader) == [PLAIN]


# ---- runs --------------------------------------------------------------------------------------


def run_of(segments: list[bytes], first: int = 0) -> tuple[Octets, Octets]:
    """Segments in rows, and the values that the definition gives them."""
    counts = [number.to_bytes(4, "big") for number in range(first, first + len(segments))]
    values = [
        count + gmac(SECRET, bytes(8) + count, segment)
        for count, segment in zip(counts, segments, strict=True)
    ]
    shape = len(segments), -1
    rows, ends = (np.frombuffer(b"".join(each), np.uint8) for each in (segments, values))
    return rows.reshape(shape).copy(), ends.reshape(shape).copy()


def drawn(count: int, length: int) -> list[bytes]:
    noise = random.Random(count * 1000 + length)
    return [noise.randbytes(length) for _ in range(count)]


@pytest.mark.parametrize("length", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_run_has_the_values_of_its_segments(count: int, length: int) -> None:
    rows, values = run_of(drawn(count, length), first=255)
    assert GmacChecker(SECRET).run(rows, values)
    made = GmacSigner(SECRET)
    made._next = 255
    whole = np.zeros((count, length + 20), np.uint8)
    whole[:, :length] = rows
    made.run(whole)
    assert (whole[:, :length] == rows).all()
    assert (whole[:, length:] == values).all()


def test_no_octet_of_a_run_may_be_changed() -> None:
    checker = GmacChecker(SECRET)
    for each in (0, 1):  # of the segments, of the values
        run = run_of(drawn(4, 18))
        for at in range(run[each].size):
            octets = run[each].reshape(-1)
            octets[at] ^= 1 << at % 8
            assert not checker.run(*run)
            octets[at] ^= 1 << at % 8
        assert checker.run(*run)


def test_what_differs_in_two_segments_of_a_run_does_not_cancel_out() -> None:
    """GHASH is linear: it would, had they the same powers."""
    checker = GmacChecker(SECRET)
    for each, at in itertools.product((0, 1), (0, 7, 15, -1)):
        for one, other in itertools.combinations(range(4), 2):
            run = run_of(drawn(4, 32))
            run[each][[one, other], at] ^= 0x11
            assert not checker.run(*run)
    rows, values = run_of(drawn(4, 32))
    values[[0, 2]] = values[[2, 0]]
    assert not checker.run(rows, values)
    rows[[0, 2]] = rows[[2, 0]]
    assert checker.run(rows, values), "values go with their segments, in any order"


def test_zeros_at_the_end_of_segments_of_a_run_are_covered() -> None:
    rows, values = run_of(drawn(4, 17))
    longer = np.zeros((4, 20), np.uint8)
    longer[:, :17] = rows
    assert GmacChecker(SECRET).run(longer[:, :17], values)
    assert not GmacChecker(SECRET).run(longer, values)


def test_a_genuine_train_is_verified_as_a_run() -> None:
    """Not one by one, which takes three times as long."""
    plain = PLAIN * 5

    def checker(salt: bytes) -> Checks:
        def one(*_: object) -> bool:
            raise AssertionError

        return KEY.checker(salt)._replace(one=one)

    reader = Authenticator(KEY, [dataclasses.replace(KEY, checker=checker)], bytes)
    (train,) = reader.verify(sign(signer(), Train(plain, len(PLAIN))))
    assert train.data == plain
    assert reader.counters["verified"] == 5


# ---- salts -------------------------------------------------------------------------------------


def counting(salts: list[bytes]) -> AuthKey:
    """The key, and which salts something was derived from to verify with."""

    def checker(salt: bytes) -> Checks:
        salts.append(salt)
        return KEY.checker(salt)

    return dataclasses.replace(KEY, checker=checker)


def test_a_flood_of_salts_takes_no_memory_and_not_the_place_of_the_one_in_use() -> None:
    derived: list[bytes] = []
    reader = Authenticator(KEY, [counting(derived)], random.Random(3).randbytes)
    genuine = signer()
    assert passes(signed(genuine), reader) == [PLAIN]
    del derived[:]
    sized = len(reader._accepted._ready)
    noise = random.Random(4)
    for _ in range(10 * SALTS_MAX):
        datagram = bytearray(signed(genuine))
        datagram[len(PLAIN) - 1 + 7 : len(PLAIN) - 1 + 19] = noise.randbytes(12)
        assert passes(bytes(datagram), reader) == []
        assert passes(signed(genuine), reader) == [PLAIN]
    assert len(reader._accepted._ready) == sized
    assert len(derived) == 10 * SALTS_MAX, "one derivation for each that is forged"


def test_nothing_of_a_salt_that_was_tried_waits_for_the_cycle_collector() -> None:
    """A node has it run seldom, and somebody may make up many."""
    rows, values = run_of(drawn(3, 18))
    gc.collect()
    for length in range(1, 19):
        checker = GmacChecker(SECRET)
        assert checker.run(rows, values)
        assert not checker.run(rows[:, :length], values) or length == 18
        del checker
    assert gc.collect() == 0
    one = GmacChecker(SECRET)
    for length in range(1, 40):
        one.run(np.zeros((2, 16 * length), np.uint8), values[:2])
    assert len(one._zeros) <= 16


def test_of_the_salts_of_one_segment_one_is_tried() -> None:
    derived: list[bytes] = []
    reader = Authenticator(KEY, [counting(derived)], random.Random(3).randbytes)
    genuine = signer()
    datagram = signed(genuine)
    read, _ = decode_segment(datagram)
    noise = random.Random(4)
    marks = [Extension(0, b"\xc0id-1" + noise.randbytes(12)) for _ in range(15)]
    assert passes(encode_segment(dataclasses.replace(read, header=tuple(marks))), reader) == []
    assert len(derived) == 1
    # Nor does it cost more with one that is known among them, which has not signed this.
    assert passes(datagram, reader) == [PLAIN]
    del derived[:]
    marks[7] = read.header[0]
    assert passes(encode_segment(dataclasses.replace(read, header=tuple(marks))), reader) == []
    assert derived == [marks[0].value[-12:]]
    assert passes(signed(genuine), reader) == [PLAIN]


def test_of_the_salts_of_one_datagram_one_is_tried() -> None:
    """Many small segments take the octets of one."""
    derived: list[bytes] = []
    reader = Authenticator(KEY, [counting(derived)], random.Random(3).randbytes)
    genuine = [signed(signer(seed)) for seed in range(4)]
    forged = [each[:-1] + bytes((each[-1] ^ 1,)) for each in genuine]
    assert passes(b"".join(forged), reader) == []
    assert len(derived) == 1
    ours = signer(7)
    assert b"".join(passes(signed(ours) + forged[0] + signed(ours), reader)) == PLAIN * 2


def test_a_mark_that_comes_again_in_a_segment_is_tried_once() -> None:
    tried: list[int] = []

    def checker(salt: bytes) -> Checks:
        inner = KEY.checker(salt)

        def one(segment: Buffer, value: Buffer) -> bool:
            tried.append(len(segment))
            return inner.one(segment, value)

        return inner._replace(one=one)

    reader = Authenticator(KEY, [dataclasses.replace(KEY, checker=checker)], bytes)
    datagram = signed(signer())
    assert passes(datagram, reader) == [PLAIN]
    read, _ = decode_segment(datagram)
    del tried[:]
    many = encode_segment(dataclasses.replace(read, header=read.header * 15))
    assert passes(many, reader) == []
    assert len(tried) <= 2, "once in its usual form, and once in any"


def test_a_mark_of_another_ciphersuite_takes_the_turn_of_no_salt() -> None:
    """Such as a peer may put before ours."""
    derived: list[bytes] = []
    reader = Authenticator(KEY, [counting(derived)], random.Random(3).randbytes)
    assert KEY.signer is not None
    salt = bytes(range(12))
    heads = (
        Extension(0, b"\x07"),
        Extension(0, b"\xc0id-2" + salt),
        Extension(0, b"\xc0id-1" + salt),
    )
    read, _ = decode_segment(PLAIN)
    last = Extension(0, bytes(20))
    whole = encode_segment(dataclasses.replace(read, header=heads, trailer=(last,)))
    value = KEY.signer(salt).one(whole[:-20])
    assert passes(whole[:-20] + value, reader) == [PLAIN]
    assert derived == [salt]


def test_salts_of_many_starts_are_remembered_as_far_as_there_is_room() -> None:
    derived: list[bytes] = []
    accepted = AcceptedKeys([counting(derived)])
    heads = [header(KEY, bytes(11) + bytes((number,))) for number in range(SALTS_MAX + 1)]
    for head in heads[:-1]:
        accepted.named(head)
        accepted.proven(head)
    for head in heads[:-1]:
        accepted.named(head)
    assert len(derived) == SALTS_MAX
    accepted.named(heads[-1])
    accepted.proven(heads[-1])
    for head in heads[1:]:
        accepted.named(head)
    assert len(derived) == SALTS_MAX + 1
    accepted.named(heads[0])
    assert len(derived) == SALTS_MAX + 2
    assert len(accepted._ready) == SALTS_MAX


# ---- nonces ------------------------------------------------------------------------------------


def test_a_count_that_has_no_room_is_never_signed_with() -> None:
    made = GmacSigner(SECRET)
    made._next = 2**32 - 4
    rows = np.zeros((3, 30), np.uint8)
    made.run(rows)
    values = [bytes(row[10:]) for row in rows] + [made.one(bytes(10))]
    assert [value[:4].hex() for value in values] == [f"fffffff{digit}" for digit in "cdef"]
    assert len({value[4:] for value in values}) == 4
    for _ in range(2):
        with pytest.raises(OverflowError):
            made.one(bytes(10))
        with pytest.raises(OverflowError):
            made.run(rows)


def test_a_run_that_has_no_room_takes_no_count() -> None:
    made = GmacSigner(SECRET)
    made._next = 2**32 - 2
    rows, before = np.zeros((3, 30), np.uint8), np.zeros((3, 30), np.uint8)
    with pytest.raises(OverflowError):
        made.run(rows)
    assert (rows == before).all()
    assert made.one(b"")[:4].hex() == "fffffffe"


class Starts(RuleBasedStateMachine):
    """A node that signs, is started anew from the same disk or a copy of it, and runs out of
    counts: what its disk has is the key, and no two segments get one nonce."""

    LIMIT = 14

    def __init__(self) -> None:
        super().__init__()
        self.key = dataclasses.replace(KEY, signs_max=self.LIMIT)
        self.reader = signer()
        self.randomness = random.Random(9)
        self.seen: set[bytes] = set()
        self.sent = 0
        self.running = [self._start()]

    def _start(self) -> Authenticator:
        return Authenticator(self.key, (self.key,), self.randomness.randbytes)

    @rule(which=st.integers(0, 2), count=st.integers(1, LIMIT // 2))
    def sign(self, which: int, count: int) -> None:
        by = self.running[which % len(self.running)]
        train = sign(by, Train(PLAIN * count, len(PLAIN)))
        for datagram in train.datagrams():
            assert passes(bytes(datagram), self.reader) == [PLAIN]
            self.seen.add(self._nonce(bytes(datagram)))
        self.sent += count

    @staticmethod
    def _nonce(datagram: bytes) -> bytes:
        read, _ = decode_segment(datagram)
        count = read.trailer[0].value[:4]
        assert int.from_bytes(count, "big") < Starts.LIMIT
        return read.header[0].value + count

    @rule(which=st.integers(0, 2))
    def restart(self, which: int) -> None:
        self.running[which % len(self.running)] = self._start()

    @rule()
    def clone(self) -> None:
        if len(self.running) < 3:
            self.running.append(self._start())

    @rule(which=st.integers(0, 2))
    def keys_are_read_again(self, which: int) -> None:
        self.running[which % len(self.running)].change(self.key, (self.key,))

    @invariant()
    def no_nonce_came_twice(self) -> None:
        assert len(self.seen) == self.sent


@pytest.mark.slow
def test_no_key_and_nonce_sign_two_segments() -> None:
    run_state_machine_as_test(Starts, settings=settings(stateful_step_count=30))


def test_what_never_signs_draws_no_salt() -> None:
    drawn: list[int] = []

    def entropy(count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    reader = Authenticator(KEY, (KEY,), entropy)
    passes(signed(signer()), reader)
    assert drawn == []
    signed(reader)
    assert drawn == [12]


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + b"\0"], ids=["short", "long"])
def test_a_salt_has_its_length(change: Callable[[bytes], bytes]) -> None:
    """With all else made as it should be."""
    assert KEY.signer is not None
    salt = change(bytes(12))
    head = header(KEY, salt)
    covered = PLAIN[:3] + b"\x11" + head + PLAIN[4:] + b"\0\x14"
    sign = KEY.signer(salt)
    assert passes(covered + sign.one(covered), signer()) == []
