"""Authentication takes runs, and datagrams in their usual form, as it takes any, whatever somebody
without a key makes of what others have signed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.core.train import Train
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import AuthKey, gmac_key, hmac_key
from stack.engines.ltp.gmac import GmacChecker, GmacSigner
from stack.wire.ltp import (
    DataSegment,
    Extension,
    ReportAck,
    SegmentType,
    SessionId,
    decode_segment,
    encode_segment,
)
from tests.engines.ltp.signing import sign

SECRET = bytes(range(32))
GMAC, NEW = gmac_key(SECRET, b"id-1"), gmac_key(b"new" * 11, b"id-1")
MAC, BARE = hmac_key(SECRET, b"id-2"), hmac_key(b"no key id")
KEYS = (GMAC, NEW, MAC, BARE)
STRANGE = gmac_key(b"of nobody here" * 3, b"id-1")


def data(number: int, size: int) -> bytes:
    """A segment with so many octets of data."""
    session = SessionId(2, number)
    segment = DataSegment(
        session=session, kind=SegmentType.RED, client_service=1, offset=size, data=bytes(size)
    )
    return encode_segment(segment)


PLAIN = [
    data(5, 1),
    data(6, 1),
    data(300, 1),
    data(5, 30),
    data(300, 29),
    encode_segment(ReportAck(session=SessionId(2, 5), report_serial=7)),
    encode_segment(
        ReportAck(
            session=SessionId(2, 5),
            report_serial=7,
            header=(Extension(1, b"cookie"),),
            trailer=(Extension(0xC0, b"x"),),
        )
    ),
]


def signed(key: AuthKey, salt: int, times: int = 3) -> list[bytes]:
    """Each of these segments, as one start of a node has signed it, several times."""
    by = Authenticator(key, (), random.Random(salt).randbytes)
    found = [sign(by, Train(plain, len(plain))).data for _ in range(times) for plain in PLAIN]
    return [bytes(one) for one in found]


OVERHEARD = [
    *signed(GMAC, 1),
    *signed(GMAC, 2, 1),
    *signed(NEW, 3, 1),
    *signed(MAC, 4, 1),
    *signed(BARE, 5, 1),
    *signed(STRANGE, 6, 1),
    *PLAIN,
]


def marked(octets: bytes) -> bytes:
    """The same with its header extensions once more."""
    read, _ = decode_segment(octets)
    fields = {name: getattr(read, name) for name in read.__dataclass_fields__}
    return encode_segment(type(read)(**{**fields, "header": read.header * 2}))


PIECES = st.sampled_from([*OVERHEARD, *(marked(one) for one in OVERHEARD[:6])])
DATAGRAMS = st.one_of(
    PIECES,
    PIECES,
    st.lists(PIECES, min_size=2, max_size=3).map(b"".join),
    st.tuples(PIECES, PIECES, st.integers(0, 60)).map(lambda of: of[0][: of[2]] + of[1][of[2] :]),
    st.tuples(PIECES, st.integers(0, 60), st.binary(max_size=4)).map(
        lambda of: of[0][: of[1]] + of[2] + of[0][of[1] + len(of[2]) :]
    ),
    st.tuples(PIECES, st.binary(max_size=3)).map(b"".join),
)


def outcome(keys: tuple[AuthKey, ...], trains: list[Train]) -> tuple[list[bytes], dict[str, int]]:
    """What passes of some trains, one after the other, and what is counted."""
    reader = Authenticator(keys[0], keys, bytes)
    found = [
        bytes(one) for train in trains for got in reader.verify(train) for one in got.datagrams()
    ]
    return found, reader.counters


@given(
    st.lists(
        st.tuples(st.lists(DATAGRAMS, min_size=1, max_size=5), st.sampled_from([1, 3, 4])),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([KEYS, KEYS[::-1], (GMAC,), (MAC,), (NEW, MAC)]),
)
def test_quick_and_careful_ways_let_the_same_pass(
    drawn: list[tuple[list[bytes], int]], keys: tuple[AuthKey, ...]
) -> None:
    """Each train has datagrams of the size of its first, as a socket gives them, and may have all
    of them several times."""
    trains = []
    for datagrams, times in drawn:
        size = len(datagrams[0]) or 1
        alike = b"".join(one[:size].ljust(size, b"\0") for one in datagrams)
        trains.append(Train(alike * times + datagrams[-1][: size - 1], size))
    quick = outcome(keys, trains)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Authenticator, "_verified_run", lambda *_: None)
        assert outcome(keys, trains) == quick
        patch.setattr(Authenticator, "_plain", lambda *_: None)
        assert outcome(keys, trains) == quick


SIGNED = 6
"""Segments of each length that were signed, under counts from 0 on."""


def runs(length: int) -> tuple[list[bytes], list[bytes]]:
    """Segments and their values."""
    signer, noise = GmacSigner(SECRET), random.Random(length)
    segments = [noise.randbytes(length) for _ in range(SIGNED)]
    return segments, [signer.one(one) for one in segments]


Rows = list[tuple[int, int, int]]
ROWS = st.lists(
    st.tuples(st.integers(0, SIGNED - 1), st.integers(0, SIGNED + 1), st.integers(0, SIGNED - 1)),
    min_size=1,
    max_size=7,
)


@given(
    st.sampled_from([1, 15, 16, 17, 48]),
    st.lists(st.integers(0, SIGNED - 1), min_size=1, max_size=7),
    ROWS | st.none(),
    st.lists(st.tuples(st.integers(0, 7), st.integers(-20, 50), st.integers(1, 255)), max_size=3),
)
def test_a_run_is_right_when_each_of_its_rows_is(
    length: int, whole: list[int], mixed: Rows | None, damage: Rows
) -> None:
    """Also with counts that come again in it, were never signed with, or were with others."""
    segments, values = runs(length)
    if mixed is None:
        pairs = [(segments[which], values[which]) for which in whole]
    else:
        pairs = [
            (segments[which], count.to_bytes(4, "big") + values[tag][4:])
            for which, count, tag in mixed
        ]
    rows = [bytearray(segment + value) for segment, value in pairs]
    for row, at, octet in damage:
        rows[row % len(rows)][at % (length + 20)] ^= octet
    checker = GmacChecker(SECRET)
    each = [checker.one(bytes(row[:length]), bytes(row[length:])) for row in rows]
    octets = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    assert checker.run(octets[:, :length], octets[:, length:]) == all(each)


def test_what_is_wrong_in_the_same_way_twice_does_not_cancel_out() -> None:
    """Under one count, that nobody has signed with: what AES makes of it is the same in both."""
    segments, values = runs(32)
    checker = GmacChecker(SECRET)
    made: Callable[[int], bytes] = lambda tag: (99).to_bytes(4, "big") + values[tag][4:]  # noqa: E731
    for which in ([0, 0], [0, 1, 0, 1], [0, 0, 0, 0]):
        octets = np.frombuffer(
            b"".join(segments[one] + made(one) for one in which), np.uint8
        ).reshape(len(which), -1)
        assert not checker.run(octets[:, :32], octets[:, 32:])
