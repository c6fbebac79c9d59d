"""Receipts (RFC 9942) of ours hold for an implementation that is not ours, and theirs for us."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from stack.audit.export import LogExport
from stack.audit.receipt import (
    CONTENT_TYPE,
    CWT_CLAIMS,
    ISSUER,
    RECEIPTS,
    STATEMENT_BYTES_MAX,
    SUBJECT,
    log_key,
    make_receipt,
    make_statement,
    verify_receipt,
    verify_statement,
)
from stack.core.errors import DecodeError, SecurityError
from stack.cose import HeaderLabel, sign1
from tests.audit.logs import BUNDLE, event, exported, exports, journey, signer

KEY = log_key(b"gs1".ljust(32, b"\0"))


def station() -> LogExport:
    return exports(journey())[0]


def test_a_statement_is_verified_with_nothing_but_the_key_of_the_log() -> None:
    log = station()
    for number, expected in enumerate(log.decoded()):
        proven = verify_statement(make_statement(log, number, KEY, 3), log.key)
        assert proven == (expected, 3, number)
        with pytest.raises(SecurityError):
            verify_statement(make_statement(log, number, KEY, 3), signer("sat1").key)


def test_an_entry_that_is_not_closed_has_no_receipt() -> None:
    log = exported("gs1", journey()["gs1"])
    log.events.append(log.events[0])
    with pytest.raises(SecurityError, match="not closed"):
        make_statement(log, 2, KEY, 2)


def test_an_entry_of_another_node_is_none_of_this_log() -> None:
    log = exported("gs1", [event("sat1", 1)._replace(acts=1)])
    with pytest.raises(SecurityError, match="an entry of dtn://sat1/"):
        verify_statement(make_statement(log, 0, KEY, 1), log.key)


@pytest.mark.parametrize(
    "changed",
    [
        {CWT_CLAIMS: {ISSUER: "dtn://gs1/", SUBJECT: "dtn://gs1/secret@1.1"}},
        {CWT_CLAIMS: {ISSUER: "dtn://sat1/", SUBJECT: BUNDLE}},
        {CWT_CLAIMS: {ISSUER: "dtn://gs1/"}},
        {CWT_CLAIMS: None},
        {HeaderLabel.CONTENT_TYPE: "text/plain"},
    ],
)
def test_a_header_that_says_something_else_than_the_entry_is_refused(changed: Any) -> None:
    """Tools that know nothing of entries go by the header: the log's own key has signed it."""
    log = station()
    claims = {ISSUER: "dtn://gs1/", SUBJECT: BUNDLE}
    header = {CWT_CLAIMS: claims, HeaderLabel.CONTENT_TYPE: CONTENT_TYPE}

    def statement(**more: Any) -> bytes:
        protected = {**header, **more.get("header", {}), HeaderLabel.KID: KEY.key_id}
        protected = {label: value for label, value in protected.items() if value is not None}
        receipts = [make_receipt(log, 1, 3, KEY)]
        return sign1(log.events[1], KEY, protected=protected, unprotected={RECEIPTS: receipts})

    assert verify_statement(statement(), log.key).number == 1
    with pytest.raises(SecurityError, match="something else"):
        verify_statement(statement(header=changed), log.key)


def test_a_statement_that_is_too_large_is_refused() -> None:
    with pytest.raises(DecodeError, match="octets"):
        verify_statement(bytes(STATEMENT_BYTES_MAX + 1), station().key)


@settings(max_examples=80)
@given(st.data())
def test_nearly_a_statement_proves_nothing(data: st.DataObject) -> None:
    log = station()
    octets = bytearray(make_statement(log, 1, KEY, 3))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        proven = verify_statement(bytes(octets), log.key)
    except (DecodeError, SecurityError):
        return
    assert proven.event == log.decoded()[1]  # what was changed is signed by nobody: the key's name


# ---- another implementation --------------------------------------------------------------------


@pytest.fixture
def theirs() -> Any:
    """github.com/action-state-group/scitt-cose (Apache-2.0)."""
    return pytest.importorskip("scitt_cose", reason="pip install scitt-cose")


def public() -> bytes:
    return KEY.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.peer
def test_our_receipts_hold_for_others(theirs: Any) -> None:
    log = station()
    for number, entry in enumerate(log.events):
        receipt = make_receipt(log, number, 3, KEY)
        asked = {"leaf_entry_hex": entry.hex(), "log_public_key_pem": public()}
        result = theirs.verify_receipt(receipt, **asked)
        assert result.ok, result.errors
        asked["leaf_entry_hex"] = (entry + b"!").hex()
        assert not theirs.verify_receipt(receipt, **asked).ok
        statement = make_statement(log, number, KEY, 3)
        assert theirs.extract_receipts(statement) == [receipt]
        parsed = theirs.parse_signed_statement(statement, public_key_pem=public())
        assert parsed["signature_verified"] is True
        assert (parsed["issuer"], parsed["payload"]) == ("dtn://gs1/", entry)


@pytest.mark.peer
def test_the_receipts_of_others_hold_for_us(theirs: Any) -> None:
    log = station()
    secret = KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    entries = [entry.hex() for entry in log.events]
    for number, entry in enumerate(log.events):
        receipt = theirs.build_receipt(
            leaf_entry_hex=entry.hex(),
            leaf_index=number,
            tree_entries_hex=entries,
            alg="EdDSA",
            log_private_key_pem=secret,
        )
        assert verify_receipt(receipt, entry, KEY.public) == (3, number)


@pytest.mark.peer
def test_the_tree_is_that_of_others(theirs: Any) -> None:
    log = exported("gs1", [event("gs1", hour)._replace(acts=1) for hour in range(21)])
    entries = [entry.hex() for entry in log.events]
    tree = log.tree()
    for size in range(1, 22):
        assert theirs.merkle_root(entries[:size]) == tree.root(size).hex()
        proof = theirs.consistency_proof(entries, size, 21)
        assert proof == [each.hex() for each in tree.consistency(size, 21)]
        path = theirs.inclusion_proof(entries[:size], size // 2)
        assert path == [each.hex() for each in tree.inclusion(size // 2, size)]
