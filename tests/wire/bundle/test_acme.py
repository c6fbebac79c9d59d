"""Records of ACME node id validation (RFC 9891)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.inspect import dissect
from interop.strategies import (
    Nearly,
    acme_records,
    encoded_acme_records,
    nearly_acme_records,
    status_reports,
)
from interop.vectors import load
from stack.core.errors import DecodeError, LocalError
from stack.wire.bundle import (
    ACK_REQUESTED,
    ACME_NODE_ID,
    IS_ADMIN,
    SHA_256,
    AcmeChallenge,
    AcmeRecord,
    AcmeResponse,
    StatusReport,
    decode_acme_record,
    decode_bundle,
    encode_acme_record,
    encode_bundle,
    encode_status_report,
    is_acme_record,
)

VECTORS = {vector.expect: vector.data for vector in load("acme")}
KEY_AUTHORIZATION = (
    b"p3yRYFU4KxwQaHQjJ2RdiQtPUZNY4ONIk6LxErRFEjVw.LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ"
)
"""As RFC 9891 Appendix B.2 has it."""

TOKEN_BUNDLE = bytes.fromhex("a77c916055382b1c1068742327645d89")


def test_the_examples_of_the_rfc() -> None:
    challenge, _ = decode_bundle(VECTORS["challenge"])
    response, _ = decode_bundle(VECTORS["response"])
    assert challenge.primary.flags == IS_ADMIN | ACK_REQUESTED
    assert response.primary.flags == IS_ADMIN
    asked = decode_acme_record(challenge.payload.data)
    assert asked == AcmeChallenge(asked.id_chal, TOKEN_BUNDLE, (SHA_256,))
    answered = decode_acme_record(response.payload.data)
    assert isinstance(answered, AcmeResponse)
    assert (answered.id_chal, answered.token_bundle) == (asked.id_chal, TOKEN_BUNDLE)
    assert answered.digest == hashlib.sha256(KEY_AUTHORIZATION).digest()
    assert encode_acme_record(asked) == bytes(challenge.payload.data)
    assert encode_acme_record(answered) == bytes(response.payload.data)
    assert encode_bundle(challenge) == VECTORS["challenge"]


@given(acme_records())
def test_records_come_back_and_another_library_reads_them(record: AcmeRecord) -> None:
    octets = encode_acme_record(record)
    assert is_acme_record(octets)
    assert decode_acme_record(octets) == record
    kind, content = cbor2.loads(octets)
    assert (kind, content[1], content[2]) == (ACME_NODE_ID, record.id_chal, record.token_bundle)
    if isinstance(record, AcmeChallenge):
        assert tuple(content[4]) == record.algorithms
    else:
        assert content[3] == [record.algorithm, record.digest]


@given(encoded_acme_records())
def test_pairs_may_come_in_any_order(octets: bytes) -> None:
    record = decode_acme_record(octets)
    assert cbor2.loads(encode_acme_record(record)) == cbor2.loads(octets)


def test_indefinite_lengths_are_read() -> None:
    record = AcmeChallenge(bytes(16), bytes(16))
    octets = encode_acme_record(record)
    content = octets[4:]
    assert decode_acme_record(b"\x9f\x18\xff\xbf" + content + b"\xff\xff") == record
    assert is_acme_record(b"\x9f\x18\xff\xbf" + content + b"\xff\xff")


@settings(max_examples=150)
@given(nearly_acme_records())
def test_each_broken_rule_is_told(case: Nearly) -> None:
    decode_acme_record(case.valid)
    with pytest.raises(DecodeError):
        decode_acme_record(case.encoded)


@given(st.binary(max_size=60).map(lambda tail: b"\x82\x18\xff" + tail) | st.binary())
def test_anything_is_read_or_refused(octets: bytes) -> None:
    is_acme_record(octets)
    try:
        record = decode_acme_record(octets)
    except DecodeError:
        return
    assert decode_acme_record(encode_acme_record(record)) == record


@given(status_reports())
def test_other_records_are_none(report: StatusReport) -> None:
    octets = encode_status_report(report)
    assert not is_acme_record(octets)
    with pytest.raises(DecodeError):
        decode_acme_record(octets)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AcmeChallenge(bytes(15), bytes(16)),
        lambda: AcmeChallenge(bytes(16), bytes(65)),
        lambda: AcmeChallenge(bytes(16), bytes(16), ()),
        lambda: AcmeChallenge(bytes(16), bytes(16), (SHA_256,) * 17),
        lambda: AcmeResponse(bytes(16), bytes(15), SHA_256, bytes(32)),
        lambda: AcmeResponse(bytes(16), bytes(16), SHA_256, b""),
        lambda: AcmeResponse(bytes(16), bytes(16), SHA_256, bytes(65)),
    ],
)
def test_what_no_peer_would_take_is_not_made(make: Callable[[], AcmeRecord]) -> None:
    with pytest.raises(LocalError):
        make()


def test_an_inspector_shows_both() -> None:
    for kind in ("challenge", "response"):
        text = str(dissect(VECTORS[kind]))
        assert "id-chal" in text
        assert kind in text
