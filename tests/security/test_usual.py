"""The form in which most bundles come is opened in one go, as the longer way opens it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stack.core.eid import Eid
from stack.core.errors import DecodeError
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, contexts
from stack.security.acceptor import Acceptor
from stack.security.rules import PolicyRule
from stack.wire.asb import SecurityBlock, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    as_encoded,
    decode_bundle,
    encode_bundle,
)
from tests.security.test_bpsec import GROUND, KEYS, SATELLITE, plain, seeded, sent

SECRETS = {1: bytes(range(16)), 3: bytes(range(32))}
RING = (Key("short", "aes", SECRETS[1]), Key("other", "aes", bytes(32)), *KEYS)
SENDER = "dtn://gs1/"
IV, TAG = b"twelve bytes", bytes(16)
RULES = (PolicyRule(role="acceptor", service="confidentiality", block="payload"),)
SHAPES: dict[str, list[Any]] = {
    "scope": [7, 5, 3, 1, 0, 15, 70_000, b"\7"],
    "variant": [3, 1, 2, b"\3"],
    "iv": [IV, IV[:8], IV[:7], IV + b"1234", IV + b"12345", 5],
    "flags": [REPLICATE, 0, REPLICATE | 0x10, REPLICATE | 0x02, REPLICATE | 0x80],
    "source": [GROUND, GROUND.node, SATELLITE, Eid.parse("dtn://gs1/other"), Eid.parse("ipn:1.1")],
    "order": [(1, 2, 4), (1, 4, 2), (2, 1, 4), (1, 2), (1, 2, 4, 1), (1, 2, 9), (1, 2, 4, 9)],
    "targets": [(1,), (2,), (1, 2), (9,), (1, 1), (0,)],
    "context": [2, 1, 3, 99],
    "result": [1, 2, None],
    "tag": ["apart", "behind", "short", "wrong", "number"],
}


def made(shape: dict[str, Any]) -> Bundle:
    """A bundle that is encrypted in this way, if that makes sense."""
    bundle = plain(b"data", crc=0)
    primary = as_encoded(bundle.primary)
    payload = bundle.blocks[-1]
    bcb = CanonicalBlock(BLOCK_CONFIDENTIALITY, 3, shape["flags"], b"")
    scope = shape["scope"] if isinstance(shape["scope"], int) else 7
    iv = shape["iv"] if isinstance(shape["iv"], bytes) and len(shape["iv"]) > 7 else IV
    cipher = contexts.cipher(SECRETS[1 if shape["variant"] == 1 else 3])
    sealed = contexts.encrypt(cipher, iv, scope, primary, payload, bcb)
    data, tag = sealed[:-16], sealed[-16:]
    results: dict[str, Any] = {"short": tag[:12], "wrong": TAG, "number": 7}
    behind = shape["tag"] == "behind" or shape["result"] is None
    pairs = () if behind else ((shape["result"], results.get(shape["tag"], tag)),)
    values = {1: shape["iv"], 2: shape["variant"], 4: shape["scope"], 9: 0}
    asb = SecurityBlock(
        shape["targets"],
        shape["context"],
        shape["source"],
        tuple((number, values[number]) for number in shape["order"]),
        tuple(pairs for _ in shape["targets"]),
    )
    block = CanonicalBlock(BLOCK_CONFIDENTIALITY, 3, shape["flags"], encode_asb(asb), 2)
    last = CanonicalBlock(1, 1, 0, sealed if behind else data)
    return sent(Bundle(primary, (bundle.blocks[0], block, last)))


def opener(**policy: Any) -> BpSec:
    return BpSec(KeyRing(RING), bytes, SecurityPolicy(**policy))


OPENERS = [
    opener(),
    opener(require=False),
    opener(cose_require_from=(SENDER,)),
    opener(waypoints=("dtn://sat1/",)),
    opener(rules=RULES),
    opener(rules=(PolicyRule(role="acceptor", service="integrity", block="payload"),)),
    BpSec(
        KeyRing(RING, elsewhere=lambda node: None if node == "dtn://sat1/" else False),
        bytes,
        SecurityPolicy(),
    ),
    BpSec(KeyRing(RING, elsewhere={SENDER: True}.get), bytes, SecurityPolicy()),
    BpSec(KeyRing(KEYS[1:]), bytes, SecurityPolicy()),
]


def agree(by: BpSec, bundle: Bundle) -> None:
    """Both ways come to the same."""
    quick = by.open(bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Acceptor, "_usual", lambda *_: None)
        assert by.open(bundle) == quick


@given(
    st.fixed_dictionaries({}, optional={name: st.sampled_from(of) for name, of in SHAPES.items()}),
    st.sampled_from(OPENERS),
)
def test_both_ways_come_to_the_same(shape: dict[str, Any], by: BpSec) -> None:
    usual = {name: values[0] for name, values in SHAPES.items()}
    agree(by, made({**usual, **shape}))


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_alone(name: str) -> None:
    for value in SHAPES[name]:
        bundle = made({**{name: values[0] for name, values in SHAPES.items()}, name: value})
        for by in OPENERS:
            agree(by, bundle)


@given(st.integers(0, 400), st.integers(0, 255), st.sampled_from(["", "dtn://sat1/"]))
@example(0, 0x9F, "")
def test_whatever_is_altered(at: int, octet: int, sign_for: str) -> None:
    octets = bytearray(encode_bundle(seeded(sign_for).protect(plain(b"data", crc=0))))
    octets[at % len(octets)] = octet
    try:
        bundle, _ = decode_bundle(bytes(octets))
    except DecodeError:
        return
    agree(OPENERS[0], bundle)


def test_what_nodes_make_is_opened_so(monkeypatch: pytest.MonkeyPatch) -> None:
    label = policy_block(DataPolicy(), number=6, crc_type=2)
    bare = plain(b"data")
    labelled = Bundle(bare.primary, (label, *bare.blocks))
    monkeypatch.setattr(Acceptor, "_open", None)
    for bundle in (bare, labelled):
        found = OPENERS[0].open(sent(seeded().protect(bundle)))
        assert found.ok
        assert found.proven
        assert found.bundle is not None
        assert found.bundle.payload.data == b"data"
        assert [block.type for block in found.bundle.blocks] == [
            block.type for block in bundle.blocks
        ]
