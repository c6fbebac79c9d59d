"""RFC 9173 Appendix A, byte for byte, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, keywrap
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.ports.security import Opened
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, contexts
from stack.wire.asb import SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    Bundle,
    CanonicalBlock,
    decode_bundle,
    encode_bundle,
)

VECTORS = Path(__file__).parents[2] / "interop" / "vectors"
ENTRIES: list[dict[str, Any]] = json.loads((VECTORS / "bpsec_rfc9173.json").read_text())
STEPS: dict[str, dict[str, Any]] = json.loads(
    (VECTORS / "bpsec_rfc9173_computation.json").read_text()
)["steps"]

HMAC_KEY = bytes.fromhex("1a2b" * 8)
KEK = b"abcdefghijklmnop"
CEK = b"qwertyuiopasdfgh"
CEK_256 = CEK + CEK
IV = bytes.fromhex("5477656c7665313231323132")
PAYLOAD = b"Ready to generate a 32-byte payload"
SOURCE = Eid.parse("ipn:2.1")
A3_BIB_SOURCE = Eid.parse("ipn:3.0")

_REQUIRE = SecurityPolicy(require=True)

BY_NAME = {entry["name"]: bytes.fromhex(entry["hex"]) for entry in ENTRIES}


def bundle_of(name: str) -> Bundle:
    data = BY_NAME[name]
    bundle, end = decode_bundle(data)
    assert end == len(data)
    return bundle


def node() -> BpSec:
    ring = KeyRing(
        [
            Key("mac", "hmac", HMAC_KEY),
            Key("wrap", "kek", KEK),
            Key("cek", "aes", CEK),
            Key("cek-256", "aes", CEK_256),
        ]
    )
    return BpSec(ring, lambda count: bytes(count), SecurityPolicy(require=False))


def opened(name: str) -> Opened:
    return node().open(bundle_of(name))


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e["kind"] == "asb-cborseq"], ids=lambda entry: entry["name"]
)
def test_abstract_security_blocks(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    if entry["expect"].startswith("valid"):
        assert encode_asb(decode_asb(data)) == data
    else:
        with pytest.raises(DecodeError):
            decode_asb(data)


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e["kind"] == "bundle"], ids=lambda entry: entry["name"]
)
def test_bundles_reencode_exactly(entry: dict[str, Any]) -> None:
    data = bytes.fromhex(entry["hex"])
    bundle, _ = decode_bundle(data)
    assert encode_bundle(bundle) == data
    fresh = Bundle(
        bundle.primary,
        tuple(CanonicalBlock(b.type, b.number, b.flags, b.data, b.crc_type) for b in bundle.blocks),
    )
    assert encode_bundle(fresh) == data


@pytest.mark.parametrize("example", ["A.1", "A.2", "A.4"])
def test_examples_open(example: str) -> None:
    result = opened(f"RFC9173-{example} final bundle")
    assert result.ok, result.failure
    assert result.bundle is not None
    assert bytes(result.bundle.payload.data) == PAYLOAD
    assert not {block.type for block in result.bundle.blocks} & {
        BLOCK_INTEGRITY,
        BLOCK_CONFIDENTIALITY,
    }


def test_a3_is_secured_by_a_waypoint() -> None:
    # In A.3 the BIB comes from ipn:3.0: that proves the bundle's source only to a node that
    # trusts this waypoint (RFC 9172 §8.2.1).
    name = "RFC9173-A.3 final bundle"
    assert opened(name).reason == 14
    ring = KeyRing([Key("mac", "hmac", HMAC_KEY), Key("cek", "aes", CEK)])
    policy = SecurityPolicy(require=False, waypoints=("ipn:3.0",))
    result = BpSec(ring, lambda count: bytes(count), policy).open(bundle_of(name))
    assert result.ok, result.failure
    assert result.bundle is not None
    assert bytes(result.bundle.payload.data) == PAYLOAD


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("A.1 BIB HMAC-SHA-512(scope 0)", hashes.SHA512()),
        ("A.3 BIB target 0 (primary) HMAC-SHA-256", hashes.SHA256()),
        ("A.4 BIB target 1 HMAC-SHA-384(scope 7)", hashes.SHA384()),
    ],
)
def test_vectors_are_consistent_with_the_library(step: str, kind: hashes.HashAlgorithm) -> None:
    key, ippt, expected = (bytes.fromhex(STEPS[step][name]) for name in ("key", "ippt", "expected"))
    mac = hmac.HMAC(key, kind)
    mac.update(ippt)
    assert mac.finalize() == expected


def _plain(name: str) -> Bundle:
    """The unsecured bundle of an example: its primary, its other blocks, the plain payload."""
    bundle = bundle_of(name)
    blocks = [
        block
        for block in bundle.blocks[:-1]
        if block.type not in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY)
    ]
    return Bundle(bundle.primary, (*blocks, CanonicalBlock(1, 1, 0, PAYLOAD)))


def _bib(
    bundle: Bundle,
    number: int,
    targets: tuple[int, ...],
    source: Eid,
    variant: int,
    scope: int,
) -> CanonicalBlock:
    shell = CanonicalBlock(BLOCK_INTEGRITY, number, 0, b"")
    blocks = {block.number: block for block in bundle.blocks}
    results = tuple(
        (
            (
                1,
                contexts.hmac_sha2(
                    HMAC_KEY,
                    variant,
                    scope,
                    bundle.primary,
                    bundle.primary if target == 0 else blocks[target],
                    shell,
                ),
            ),
        )
        for target in targets
    )
    asb = SecurityBlock(targets, 1, source, ((1, variant), (3, scope)), results)
    return CanonicalBlock(BLOCK_INTEGRITY, number, 0, encode_asb(asb))


def _bcb(
    bundle: Bundle,
    number: int,
    targets: tuple[CanonicalBlock, ...],
    key: bytes,
    parameters: tuple[tuple[int, int | bytes], ...],
    scope: int,
) -> tuple[CanonicalBlock, list[CanonicalBlock]]:
    shell = CanonicalBlock(BLOCK_CONFIDENTIALITY, number, 1, b"")
    sealed, results = [], []
    for target in targets:
        data = contexts.encrypt(AESGCM(key), IV, scope, bundle.primary, target, shell)
        sealed.append(CanonicalBlock(target.type, target.number, target.flags, data[:-16]))
        results.append(((1, data[-16:]),))
    numbers = tuple(target.number for target in targets)
    asb = SecurityBlock(numbers, 2, SOURCE, parameters, tuple(results))
    return CanonicalBlock(BLOCK_CONFIDENTIALITY, number, 1, encode_asb(asb)), sealed


def test_a1_is_made_exactly() -> None:
    name = "RFC9173-A.1 final bundle"
    bundle = _plain(name)
    bib = _bib(bundle, 2, (1,), SOURCE, 7, 0)
    assert encode_bundle(Bundle(bundle.primary, (bib, *bundle.blocks))) == BY_NAME[name]


def test_a2_is_made_exactly() -> None:
    name = "RFC9173-A.2 final bundle"
    bundle = _plain(name)
    wrapped = keywrap.aes_key_wrap(KEK, CEK)
    parameters = ((1, IV), (2, 1), (3, wrapped), (4, 0))
    bcb, sealed = _bcb(bundle, 2, (bundle.payload,), CEK, parameters, 0)
    assert encode_bundle(Bundle(bundle.primary, (bcb, *sealed))) == BY_NAME[name]


def test_a3_is_made_exactly() -> None:
    name = "RFC9173-A.3 final bundle"
    bundle = _plain(name)
    bib = _bib(bundle, 3, (0, 2), A3_BIB_SOURCE, 5, 0)
    parameters = ((1, IV), (2, 1), (4, 0))
    bcb, sealed = _bcb(bundle, 4, (bundle.payload,), CEK, parameters, 0)
    age = bundle.blocks[0]
    assert encode_bundle(Bundle(bundle.primary, (bib, bcb, age, *sealed))) == BY_NAME[name]


def test_a4_is_made_exactly() -> None:
    name = "RFC9173-A.4 final bundle"
    bundle = _plain(name)
    bib = _bib(bundle, 3, (1,), SOURCE, 6, 7)
    parameters = ((1, IV), (2, 3), (4, 7))
    bcb, (sealed_bib, payload) = _bcb(bundle, 2, (bib, bundle.payload), CEK_256, parameters, 7)
    assert encode_bundle(Bundle(bundle.primary, (sealed_bib, bcb, payload))) == BY_NAME[name]


def test_a4_with_a_flipped_bit_fails_in_the_bib_and_not_in_the_payload() -> None:
    name = "A.4 with 1 bit flipped in encrypted BIB"
    bundle = bundle_of(name)
    bcb = bundle.block(BLOCK_CONFIDENTIALITY)
    assert bcb is not None
    asb = decode_asb(bcb.data)
    by_number = {block.number: block for block in bundle.blocks}
    outcome = {}
    for number, results in zip(asb.targets, asb.results, strict=True):
        tag = results[0][1]
        assert isinstance(tag, bytes)
        try:
            contexts.decrypt(AESGCM(CEK_256), IV, 7, bundle.primary, by_number[number], bcb, tag)
            outcome[number] = True
        except SecurityError:
            outcome[number] = False
    assert outcome == {3: False, 1: True}
    # RFC 9172 §5.1.1: what does not decrypt goes, the bundle stays where policy lets it
    result = opened(name)
    assert result.ok
    assert result.bundle is not None
    assert [block.type for block in result.bundle.blocks] == [1]
    assert bytes(result.bundle.payload.data) == PAYLOAD
    strict = BpSec(KeyRing([Key("cek", "aes", CEK_256)]), lambda count: bytes(count), _REQUIRE)
    assert strict.open(bundle).ok  # its encryption authenticates the payload with its primary block


def test_a_bib_in_clear_on_an_encrypted_block_is_refused() -> None:
    result = opened("A.4 modified (BSL): A1 BIB + A2 BCB both on payload")
    assert not result.ok
    assert result.reason == 16


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def bytes_eq(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("stack.security.contexts.constant_time.bytes_eq", bytes_eq)
    assert contexts.hmac_matches(b"same", b"same")
    assert not contexts.hmac_matches(b"same", b"some")
    assert compared == [(b"same", b"same"), (b"same", b"some")]
