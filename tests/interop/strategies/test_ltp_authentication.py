"""Signed segments of LTP: what the strategies call right passes, and nothing else."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given

from interop.strategies.ltp_authentication import (
    AES_GMAC,
    HMAC_SHA1_80,
    KEYS,
    SIGNED_RULES,
    SignedSegment,
    encode_signed,
    nearly_signed,
    signed_segments,
)
from interop.strategies.rules import WireRule
from stack.core.errors import DecodeError
from stack.core.train import single
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.ciphersuites import gmac_key, hmac_key
from stack.wire.ltp import decode_segment


def reader() -> Authenticator:
    """Whoever has all keys."""
    made = {AES_GMAC: gmac_key, HMAC_SHA1_80: hmac_key}
    keys = [made[key.suite](key.secret, key.key_id) for key in KEYS]
    return Authenticator(keys[0], keys, bytes)


def passing(by: Authenticator, octets: bytes) -> list[bytes]:
    return [bytes(train.data) for train in by.verify(single(octets))]


@given(signed_segments())
def test_whatever_is_signed_right_passes_as_it_was(signed: SignedSegment) -> None:
    ours = reader()
    octets = encode_signed(signed)
    assert passing(ours, octets) == [signed.plain]
    assert passing(ours, octets) == [signed.plain], "RFC 5327 has no sequence numbers"


@pytest.mark.parametrize("rule", SIGNED_RULES, ids=lambda rule: rule.violation.words)
def test_what_breaks_a_rule_does_not_pass(rule: WireRule[SignedSegment]) -> None:
    """One verifier hears it all, with what is right in between."""
    ours = reader()
    for before, near in enumerate(islice(nearly_signed.maker(rules=[rule]).cases(), 200)):
        assert passing(ours, near.encoded) == []
        assert ours.counters["unsigned"] + ours.counters["forged"] == before + 1
        assert len(passing(ours, near.valid)) == 1


@pytest.mark.parametrize("rule", SIGNED_RULES, ids=lambda rule: rule.violation.words)
def test_nothing_but_the_rule_is_broken(rule: WireRule[SignedSegment]) -> None:
    """What does not pass is a segment, whole, so that it is the authentication that drops it."""
    for near in islice(nearly_signed.maker(rules=[rule]).cases(), 50):
        try:
            _, end = decode_segment(near.encoded)
        except DecodeError as error:
            pytest.fail(str(error))
        assert end == len(near.encoded)
