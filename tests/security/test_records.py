"""Records of node id validation are signed and in clear, and no other way (RFC 9891 §3.3, §3.4)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.ports.security import Opened
from stack.security import BpSec, Key, KeyRing, PolicyRule, SecurityPolicy
from stack.security.records import SignedRecords, signing_rules
from stack.wire.asb import decode_asb
from stack.wire.bundle import (
    ACK_REQUESTED,
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    IS_ADMIN,
    PAYLOAD,
    AcmeChallenge,
    AcmeResponse,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    decode_bundle,
    encode_acme_record,
    encode_bundle,
    encode_status_report,
)

CA, SAT, GATE = (Eid.parse(f"dtn://{name}/") for name in ("ca", "sat", "gate"))
KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))
CHALLENGE = encode_acme_record(AcmeChallenge(b"i" * 16, b"t" * 16))
RESPONSE = encode_acme_record(AcmeResponse(b"i" * 16, b"t" * 16, -16, bytes(32)))


def security(
    *rules: PolicyRule, keys: tuple[Key, ...] = KEYS, own: Eid = SAT
) -> tuple[SignedRecords, BpSec]:
    """A node's, and what it does with everything else."""
    count = itertools.count(1)

    def made(*found: PolicyRule) -> BpSec:
        policy = SecurityPolicy(rules=found)
        return BpSec(KeyRing(keys, str(own)), lambda n: next(count).to_bytes(n), policy)

    inner = made(*rules)
    return SignedRecords(inner, made(*signing_rules(rules, certified=False))), inner


def bundle(payload: bytes, flags: int = IS_ADMIN | ACK_REQUESTED) -> Bundle:
    primary = PrimaryBlock(SAT, CA, Eid.NONE, 800_000_000_000, 5, 60_000, flags=flags, crc_type=2)
    return Bundle(primary, (CanonicalBlock(PAYLOAD, 1, 0, payload, 2),))


def sent(one: Bundle) -> Bundle:
    return decode_bundle(encode_bundle(one))[0]


@pytest.mark.parametrize(
    ("payload", "flags"), [(CHALLENGE, IS_ADMIN | ACK_REQUESTED), (RESPONSE, IS_ADMIN)]
)
def test_a_record_is_signed_by_its_source_and_readable(payload: bytes, flags: int) -> None:
    records, _ = security()
    made = sent(records.protect(bundle(payload, flags)))
    assert [block.type for block in made.blocks] == [BLOCK_INTEGRITY, PAYLOAD]
    assert bytes(made.payload.data) == payload
    assert decode_asb(made.blocks[0].data).source == CA
    opened = records.open(made)
    assert opened.ok
    assert opened.bundle is not None
    assert [block.type for block in opened.bundle.blocks] == [PAYLOAD]


def refused(opened: Opened) -> str:
    assert (opened.ok, opened.bundle) == (False, None)
    return opened.failure


def test_what_is_not_signed_is_no_record() -> None:
    records, _ = security()
    refused(records.open(bundle(CHALLENGE)))


def test_a_signature_of_another_key_counts_for_nothing() -> None:
    stranger, _ = security(keys=(Key("mac", "hmac", bytes(48)),))
    refused(security()[0].open(sent(stranger.protect(bundle(CHALLENGE)))))


def test_a_signature_covers_payload_and_primary_block() -> None:
    records, _ = security()
    made = records.protect(bundle(CHALLENGE))
    primary = replace(made.primary, lifetime_ms=61_000, encoded=None)
    refused(records.open(sent(Bundle(primary, made.blocks))))
    other = encode_acme_record(AcmeChallenge(b"j" * 16, b"t" * 16))
    payload = replace(made.payload, data=other, encoded=None)
    refused(records.open(sent(Bundle(made.primary, (*made.blocks[:-1], payload)))))


def test_a_signature_of_the_payload_alone_is_too_little() -> None:
    count = itertools.count(1)
    rules = signing_rules((), certified=False)
    policy = SecurityPolicy(rules=rules, scope=0)
    loose = BpSec(KeyRing(KEYS, str(CA)), lambda n: next(count).to_bytes(n), policy)
    made = sent(loose.protect(bundle(CHALLENGE)))
    assert "primary block" in refused(security()[0].open(made))


def test_a_record_that_was_encrypted_is_refused() -> None:
    records, inner = security()
    made = sent(inner.protect(bundle(CHALLENGE)))
    assert BLOCK_CONFIDENTIALITY in [block.type for block in made.blocks]
    assert inner.open(made).ok
    assert "encrypted" in refused(records.open(made))


@pytest.mark.parametrize(
    ("payload", "flags"), [(RESPONSE, IS_ADMIN | ACK_REQUESTED), (CHALLENGE, IS_ADMIN)]
)
def test_a_record_is_marked_as_what_it_is(payload: bytes, flags: int) -> None:
    records, _ = security()
    assert "no challenge" in refused(records.open(sent(records.protect(bundle(payload, flags)))))


def test_everything_else_is_as_it_was() -> None:
    records, inner = security()
    report = encode_status_report(StatusReport(SAT, 0, 1, received=True))
    for one in (bundle(report, IS_ADMIN), bundle(b"data", 0), bundle(CHALLENGE, 0)):
        made = sent(records.protect(one))
        assert made.blocks[0].type == BLOCK_CONFIDENTIALITY
        assert records.open(made).ok
        assert records.open(one) == inner.open(one)
        assert records.verify(one) == inner.verify(one)
        assert records.secure(one) == inner.secure(one)


def test_a_gateway_may_vouch_for_a_node_that_has_no_keys() -> None:
    """RFC 9891 §4: where the operator of who receives it has said so."""
    vouches = PolicyRule(role="source", service="integrity", source="dtn://ca/**")
    gateway, _ = security(vouches, own=GATE)
    passed = gateway.secure(bundle(CHALLENGE))
    assert passed.bundle is not None
    accepts = PolicyRule(
        role="acceptor", service="integrity", source="dtn://ca/**", peer="dtn://gate/"
    )
    opened = security(accepts)[0].open(sent(passed.bundle))
    assert opened.ok
    refused(security()[0].open(sent(passed.bundle)))


def test_no_rule_lets_a_record_in_that_nothing_signs() -> None:
    records, inner = security(PolicyRule(role="acceptor", service="none"))
    assert inner.open(bundle(CHALLENGE)).ok
    assert "nothing signs" in refused(records.open(bundle(CHALLENGE)))


def test_nothing_leaves_unsigned() -> None:
    records, _ = security(keys=KEYS[:1])
    with pytest.raises(SecurityError):
        records.protect(bundle(CHALLENGE))
