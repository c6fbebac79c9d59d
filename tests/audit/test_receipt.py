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
    log_key,
    make_receipt,
    make_statement,
    verify_receipt,
    verify_statement,
)
from stack.core.errors import DecodeError, SecurityError
from tests.audit.logs import event, exported, exports, journey, signer

KEY = log_key(b"gs1".ljust(32, b"\0"))


def station() -> LogExport:
    return exports(journey())[0]


def test_a_statement_is_verified_with_nothing_but_the_key_of_the_log() -> None:
    log = station()
    for number, expected in enumerate(log.decoded()):
        proven = verify_statement(make_statement(log, number, KEY), log.key)
        assert proven == (expected, 3, number)
        with pytest.raises(SecurityError):
            verify_statement(make_statement(log, number, KEY), signer("sat1").key)


def test_an_entry_that_is_not_closed_has_no_receipt() -> None:
    log = exported("gs1", journey()["gs1"])
    log.events.append(log.events[0])
    with pytest.raises(SecurityError, match="not closed"):
        make_statement(log, 2, KEY)


def test_an_entry_of_another_node_is_none_of_this_log() -> None:
    log = exported("gs1", [event("sat1", 1)._replace(acts=1)])
    with pytest.raises(SecurityError, match="an entry of dtn://sat1/"):
        verify_statement(make_statement(log, 0, KEY), log.key)


@settings(max_examples=80)
@given(st.data())
def test_nearly_a_statement_proves_nothing(data: st.DataObject) -> None:
    log = station()
    octets = bytearray(make_statement(log, 1, KEY))
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
        statement = make_statement(log, number, KEY)
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
