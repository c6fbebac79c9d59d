"""Secured bundles open with their keys; what breaks one rule of BPSec does not."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import given

from interop.machines.bpsec_model import reasons_for
from interop.strategies import Nearly, noted
from interop.strategies.bpsec import (
    KEYS,
    Secured,
    encoded_secured_bundles,
    encoded_security_blocks,
    secured_bundles,
    security_blocks,
)
from interop.strategies.nearly_bpsec import (
    FORM_RULES,
    SECURITY_RULES,
    SecurityRule,
    nearly_secured_bundles,
    nearly_security_blocks,
)
from stack.core.errors import DecodeError
from stack.ports.security import Opened
from stack.security import BpSec, KeyRing, SecurityPolicy, contexts
from stack.wire.asb import SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_16,
    CRC_32,
    CRC_NONE,
    check_bundle,
    decode_bundle,
    encode_primary,
)

EACH = 40
"""Cases of each rule."""


def opened(octets: bytes, *, require: bool = False) -> Opened:
    bundle, end = decode_bundle(octets)
    assert end == len(octets)
    check_bundle(bundle)
    return BpSec(KeyRing(KEYS), bytes, SecurityPolicy(require=require)).open(bundle)


def binds(octets: bytes) -> bool:
    """Whether the encryption of the payload covers the primary block and the head of its own."""
    for block in decode_bundle(octets)[0].blocks:
        if block.type == BLOCK_CONFIDENTIALITY and 1 in (asb := decode_asb(block.data)).targets:
            scope = asb.parameter(contexts.BCB_SCOPE)
            return scope is None or int(scope) & 3 == 3
    return False


@given(secured_bundles())
def test_a_secured_bundle_opens_to_what_it_was(secured: Secured) -> None:
    result = opened(secured.encoded, require=True)
    assert result.ok, result.failure
    assert result.bundle == secured.plain


@given(encoded_secured_bundles(sealed=False), encoded_secured_bundles(signed=False))
def test_or_with_one_service_alone(signed: bytes, sealed: bytes) -> None:
    assert opened(signed).ok
    assert opened(sealed).ok
    assert not opened(signed, require=True).ok
    # Encryption is enough where its scope has the primary block and the target's header.
    assert opened(sealed, require=True).ok == binds(sealed)


def test_primary_blocks_of_a_stream_come_with_the_octets_that_they_have_now() -> None:
    crc_types = set()
    for secured in itertools.islice(secured_bundles.maker().cases(), 200):
        for bundle in (secured.bundle, secured.plain):
            primary = bundle.primary
            assert primary.encoded == encode_primary(dataclasses.replace(primary, encoded=None))
            crc_types.add(primary.crc_type)
    assert crc_types == {CRC_NONE, CRC_16, CRC_32}


def test_all_variants_come() -> None:
    seen: Counter[object] = Counter()
    for secured in itertools.islice(secured_bundles.maker(sealed=False).cases(), 300):
        for block in secured.bundle.blocks:
            if block.type == BLOCK_INTEGRITY:
                asb = decode_asb(block.data)
                seen[asb.parameter(contexts.BIB_SHA_VARIANT)] += 1
                seen["wrapped", asb.parameter(contexts.BIB_WRAPPED_KEY) is not None] += 1
                seen["scope", asb.parameter(contexts.BIB_SCOPE)] += 1
                seen["primary", 0 in asb.targets] += 1
    scopes = [("scope", scope) for scope in range(8)]
    expected = {5, 6, 7, None, ("wrapped", True), ("primary", True), ("scope", None), *scopes}
    assert expected <= set(seen)


@given(security_blocks(), encoded_security_blocks())
def test_security_blocks_are_read_back(block: SecurityBlock, octets: bytes) -> None:
    assert decode_asb(encode_asb(block)) == block
    decode_asb(octets)


@pytest.mark.parametrize("rule", SECURITY_RULES, ids=lambda rule: str(rule.violation))
def test_each_violation_is_refused_for_what_it_is(rule: SecurityRule) -> None:
    for case in itertools.islice(nearly_secured_bundles.maker(rules=(rule,)).cases(), EACH):
        assert opened(case.valid).ok
        result = opened(case.encoded)
        assert not result.ok, (str(case.violation), case.encoded.hex())
        assert result.reason in reasons_for(rule.violation), result.failure


@given(nearly_secured_bundles())
def test_no_violation_is_delivered(case: Nearly) -> None:
    noted(case, "bundle")
    assert opened(case.valid).ok
    assert not opened(case.encoded).ok


@given(nearly_security_blocks())
def test_no_malformed_security_block_is_read(case: Nearly) -> None:
    decode_asb(case.valid)
    with pytest.raises(DecodeError):
        decode_asb(case.encoded)


def test_rules_have_names_of_their_own_and_all_are_drawn() -> None:
    violations = {rule.violation for rule in SECURITY_RULES}
    assert len(violations) == len(SECURITY_RULES) > 50
    cases = itertools.islice(nearly_secured_bundles.maker().cases(), 1500)
    assert {case.violation for case in cases} == violations
    blocks = itertools.islice(nearly_security_blocks.maker().cases(), 300)
    assert {case.violation for case in blocks} == {rule.violation for rule in FORM_RULES}
