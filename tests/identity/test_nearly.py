"""Certificates that break one rule are not believed; octets from anywhere end in one kind of
error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import Nearly, mutated
from interop.strategies.nearly_certificate import (
    NOW_MS,
    RULES,
    authority,
    domain,
    encoded_certificates,
    key,
    nearly_certificates,
)
from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.cose import HpkePrivateKey
from stack.identity import Terms, pem
from stack.identity.authority import make_request
from stack.identity.certificate import load_certificate, read_offer, read_request

TRUST = domain()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[1].replace(" ", "-"))
@settings(max_examples=8)
@given(data=st.data())
def test_what_breaks_one_rule_is_not_believed(rule: object, data: st.DataObject) -> None:
    nearly: Nearly = data.draw(nearly_certificates(rules=[rule]))  # type: ignore[list-item]
    TRUST.verify([load_certificate(nearly.valid)], NOW_MS)
    with pytest.raises(SecurityError):
        TRUST.verify([load_certificate(nearly.encoded)], NOW_MS)


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_certificates_end_as_one_kind_of_error(data: st.DataObject) -> None:
    valid = data.draw(encoded_certificates())
    octets = data.draw(mutated(st.just(valid)))
    try:
        TRUST.verify([load_certificate(octets)], NOW_MS)
    except SecurityError:
        return
    assert octets == valid


def _valid(what: str) -> bytes:
    """Something of each kind that crosses a boundary."""
    if what == "offer":
        return authority("nasa", 7).offer(Terms("kari", frozenset({"read"}), frozenset({"US"})))
    if what == "list":
        return authority().revocations(None, [1, 2], NOW_MS, 7).public_bytes(Encoding.DER)
    hpke = HpkePrivateKey("X25519", bytes(32))
    return make_request(Eid.parse("dtn://sat1/"), key(9), hpke.public, ["KR"], ["relay"])


@pytest.mark.parametrize("what", ["offer", "list", "request"])
@settings(max_examples=40)
@given(data=st.data())
def test_damaged_files_end_as_one_kind_of_error(what: str, data: st.DataObject) -> None:
    read: Callable[[bytes], object] = {
        "offer": read_offer,
        "request": read_request,
        "list": lambda octets: domain().learn([pem.PemBlock(pem.REVOCATIONS, octets)]),
    }[what]
    valid = _valid(what)
    octets = data.draw(mutated(st.just(valid)))
    try:
        refusals = read(octets)
    except SecurityError:
        return
    assert octets == valid or (what == "list" and refusals)


@given(octets=mutated(st.just(pem.encode([pem.PemBlock("CERTIFICATE", bytes(100))], "a").encode())))
def test_files_are_blocks_or_an_error(octets: bytes) -> None:
    try:
        blocks = pem.decode(octets)
    except DecodeError:
        return
    assert pem.decode(pem.encode(blocks).encode()) == blocks
