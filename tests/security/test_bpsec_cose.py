"""The COSE context of BPSec: the examples of its draft both ways, and what signatures are for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import bundle_crcs, mutated
from interop.vectors import Vector, load
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.cose import (
    Algorithm,
    HeaderLabel,
    Mac0,
    Sign1,
    SigningKey,
    VerifyingKey,
    decode_encrypt,
    decode_encrypt0,
    mac0,
    values,
)
from stack.cose.messages import encode_message, open_content, seal_content
from stack.cose.values import Value
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, cose_context, load_keys
from stack.security.reasons import CONFLICTING, FAILED, MISSING, UNEXPECTED, UNKNOWN
from stack.security.signatures import SIGNATURES_MAX
from stack.wire.asb import CONTEXT_COSE, EncodedItem, SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_32,
    DATA_POLICY,
    IS_ADMIN,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    PrimaryForm,
    decode_bundle,
    encode_bundle,
)
from tests.engines.bundle_agent.desk import Desk
from tests.engines.bundle_agent.harness import NOW

VECTORS = {one.name: one for one in load("bpsec_cose") if one.kind == "bundle"}
MACS = [vector for name, vector in VECTORS.items() if name.startswith("COSE_Mac0")]
SIGNED = VECTORS["COSE_Sign1, P-384"]
entropy = random.Random(9172).randbytes


def octets(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector.extra[name])


def parts_of(vector: Vector) -> tuple[Bundle, CanonicalBlock, SecurityBlock]:
    bundle, _ = decode_bundle(vector.data)
    (block,) = [one for one in bundle.blocks if one.type in (11, 12)]
    return bundle, block, decode_asb(block.data)


def aad_of(bundle: Bundle, block: CanonicalBlock, asb: SecurityBlock) -> bytes:
    parameters = cose_context.read_parameters(asb)
    blocks = {one.number: one for one in bundle.blocks}
    return cose_context.external_aad(
        asb.source, parameters, bundle.primary, blocks, asb.targets[0], block
    )


def example_key() -> SigningKey:
    scalar = int.from_bytes(octets(SIGNED, "private"))
    return SigningKey(ec.derive_private_key(scalar, ec.SECP384R1()), octets(SIGNED, "kid"))


@pytest.mark.parametrize("vector", list(VECTORS.values()), ids=lambda vector: vector.name)
def test_the_octets_of_the_draft_come_out_again(vector: Vector) -> None:
    bundle, end = decode_bundle(vector.data)
    assert end == len(vector.data)
    assert encode_bundle(bundle) == vector.data
    for block in bundle.blocks:
        if block.type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY):
            asb = decode_asb(block.data)
            assert asb.context == CONTEXT_COSE
            assert encode_asb(asb) == block.data


@pytest.mark.parametrize("vector", MACS, ids=lambda vector: vector.name)
def test_macs_of_the_draft_both_ways(vector: Vector) -> None:
    bundle, block, asb = parts_of(vector)
    aad = aad_of(bundle, block, asb)
    assert aad == octets(vector, "aad")
    found = cose_context.read_integrity(asb.results[0])
    assert isinstance(found, Mac0)
    blocks = {one.number: one for one in bundle.blocks}
    content = cose_context.content(bundle.primary, blocks, vector.extra["target"])
    assert found.verify(octets(vector, "key"), external_aad=aad, payload=content) == content
    again = mac0(
        content,
        octets(vector, "key"),
        Algorithm.HMAC_384_384,
        unprotected=found.headers.unprotected,
        external_aad=aad,
        detached=True,
        tagged=False,
    )
    assert again == asb.results[0][0][1]


def test_signatures_of_the_draft_both_ways() -> None:
    bundle, block, asb = parts_of(SIGNED)
    key = example_key()
    assert key.public.key.public_numbers().x == int(SIGNED.extra["x"], 16)  # type: ignore[union-attr]
    found = cose_context.read_integrity(asb.results[0])
    assert isinstance(found, Sign1)
    aad = aad_of(bundle, block, asb)
    payload = bytes(bundle.payload.data)
    assert found.verify(key.public, external_aad=aad, payload=payload) == payload
    assert found.headers.alg == Algorithm.ESP384
    # RFC 6979 in both, so that the signature is the same, octet for octet.
    again = cose_context.sign_targets(
        key,
        bundle.primary,
        {one.number: one for one in bundle.blocks},
        (1,),
        block,
        asb.source,
        cose_context.read_parameters(asb).scope,
        alg=Algorithm.ESP384,
    )
    assert again == block.data


def test_encryption_of_the_draft_both_ways() -> None:
    for name, context in (
        ("COSE_Encrypt0, partial IV", "Encrypt0"),
        ("COSE_Encrypt, A256KW", "Encrypt"),
    ):
        vector = VECTORS[name]
        bundle, block, asb = parts_of(vector)
        aad = aad_of(bundle, block, asb)
        ((_, message),) = asb.results[0]
        assert isinstance(message, bytes)
        key = octets(vector, "key")
        base_iv = bytes.fromhex(vector.extra.get("base_iv", ""))
        sealed = bytes(bundle.payload.data)
        rest: list[Value] = [None]
        if context == "Encrypt":
            found = decode_encrypt(message)
            assert found.ciphertext is None
            (recipient,) = found.recipients
            assert recipient.headers.unprotected[HeaderLabel.ALG] == Algorithm.A256KW
            wrapped = aes_key_wrap(octets(vector, "kek"), key)
            assert recipient.ciphertext == wrapped
            rest.append([[b"", dict(recipient.headers.unprotected), wrapped]])
            headers = found.headers
            plain = open_content(context, headers, key, aad, sealed)
        else:
            single = decode_encrypt0(message)
            headers = single.headers
            with pytest.raises(SecurityError, match="IV"):
                single.open(key, external_aad=aad, ciphertext=sealed)
            plain = single.open(key, external_aad=aad, ciphertext=sealed, base_iv=base_iv)
        assert plain == decode_bundle(VECTORS["original bundle"].data)[0].payload.data
        assert seal_content(context, headers, key, aad, plain, base_iv) == sealed
        assert encode_message(None, headers, *rest) == message


def test_a_node_takes_the_signed_bundle_of_the_draft() -> None:
    bundle, _ = decode_bundle(SIGNED.data)
    key = Key("src", "cose-sign-public", b"k" * 32, ("dtn://src/",), cose=example_key().public)
    node = BpSec(KeyRing([key]), entropy, SecurityPolicy(require=False))
    opened = node.open(bundle)
    assert opened.ok, opened.failure
    assert opened.bundle is not None
    assert encode_bundle(opened.bundle) == VECTORS["original bundle"].data
    damaged = replace_payload(bundle, b"other")
    assert node.open(damaged).reason == FAILED
    assert BpSec(KeyRing([]), entropy, SecurityPolicy(require=False)).open(bundle).reason == FAILED


def replace_payload(bundle: Bundle, data: bytes) -> Bundle:
    payload = bundle.payload
    changed = CanonicalBlock(payload.type, payload.number, payload.flags, data, payload.crc_type)
    return Bundle(bundle.primary, (*bundle.blocks[:-1], changed))


# ---- nodes ------------------------------------------------------------------------------------

KARI, SAT, RELAY = "dtn://kari/", "dtn://sat/", "dtn://relay/"
SHARED = Key("aes", "aes", bytes(range(32)))
PRIVATE = {alg: SigningKey.generate(alg, entropy) for alg in (
    Algorithm.ES256, Algorithm.ES384, Algorithm.EDDSA, Algorithm.ML_DSA_87)}  # fmt: skip
OURS = PRIVATE[Algorithm.EDDSA]
STRANGER = SigningKey.generate(Algorithm.EDDSA, entropy)
POLICY = DataPolicy(rest=NodeSet.parse("KR"))


def public(key: SigningKey, *, of: str = KARI) -> Key:
    return Key("sign", "cose-sign-public", key.public.thumbprint, (of,), cose=key.public)


def source(key: SigningKey = OURS) -> BpSec:
    private = Key("own", "cose-sign-private", key.public.thumbprint, cose=key)
    return BpSec(KeyRing([SHARED, private]), entropy, SecurityPolicy(cose_sign_for=("*",)))


def destination(*keys: SigningKey) -> BpSec:
    ring = KeyRing([SHARED, *(public(key) for key in keys or (OURS,))])
    return BpSec(ring, entropy, SecurityPolicy(cose_require_from=(KARI,)))


def relay(*keys: SigningKey, of: str = KARI) -> BpSec:
    """A node that has public keys, and no shared one."""
    ring = KeyRing([public(key, of=of) for key in keys or (OURS,)])
    return BpSec(ring, entropy, SecurityPolicy(cose_require_from=("dtn://k*",)))


def plain(*, labelled: bool, creation_ms: int = 813110400000, data: bytes = b"scene") -> Bundle:
    primary = PrimaryBlock(
        destination=Eid.parse(f"{SAT}app"),
        source=Eid.parse(f"{KARI}app"),
        report_to=Eid.parse(KARI),
        creation_ms=creation_ms,
        sequence=0,
        lifetime_ms=60000,
        flags=0,
        crc_type=CRC_32,
    )
    label = (policy_block(POLICY, number=2, crc_type=0),) if labelled else ()
    return Bundle(primary, (*label, CanonicalBlock(1, 1, 0, data)))


def travelled(bundle: Bundle) -> Bundle:
    """As it comes out of a link."""
    return decode_bundle(encode_bundle(bundle))[0]


def without(bundle: Bundle, *kinds: int) -> Bundle:
    return Bundle(bundle.primary, tuple(one for one in bundle.blocks if one.type not in kinds))


def visible_bib(bundle: Bundle) -> CanonicalBlock:
    hidden = {
        number
        for one in bundle.blocks
        if one.type == BLOCK_CONFIDENTIALITY
        for number in decode_asb(one.data).targets
    }
    (bib,) = [
        one for one in bundle.blocks if one.type == BLOCK_INTEGRITY and one.number not in hidden
    ]
    return bib


@pytest.mark.parametrize("alg", PRIVATE)
@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_signed_opens_and_passes(alg: Algorithm, labelled: bool) -> None:
    key = PRIVATE[alg]
    bundle = plain(labelled=labelled)
    sent = travelled(source(key).protect(bundle))
    assert relay(key).verify(sent).ok
    opened = destination(key).open(sent)
    assert opened.ok, opened.failure
    assert opened.bundle is not None
    assert encode_bundle(opened.bundle) == encode_bundle(bundle)
    for node in (relay(STRANGER), relay(key, of="dtn://kiruna/")):
        assert node.verify(sent).reason == FAILED
    assert destination(STRANGER).open(sent).reason == FAILED


def test_a_relay_tells_a_forged_label_from_a_genuine_one() -> None:
    sent = travelled(source().protect(plain(labelled=True)))
    other = policy_block(DataPolicy(), number=2, crc_type=0)
    forged = Bundle(
        sent.primary, tuple(other if one.type == DATA_POLICY else one for one in sent.blocks)
    )
    assert relay().verify(forged).reason == FAILED
    assert relay().verify(without(sent, DATA_POLICY)).reason == MISSING
    assert relay().verify(without(sent, DATA_POLICY, BLOCK_INTEGRITY)).reason == MISSING
    assert relay().verify(without(sent, BLOCK_INTEGRITY)).reason == MISSING
    second = CanonicalBlock(other.type, 77, other.flags, other.data)
    twice = Bundle(sent.primary, (second, *sent.blocks))
    assert relay().verify(twice).reason == MISSING


def test_signatures_of_one_bundle_are_none_of_another() -> None:
    ours = travelled(source().protect(plain(labelled=True)))
    later = travelled(source().protect(plain(labelled=True, creation_ms=813110400001)))
    moved = Bundle(later.primary, ours.blocks)
    assert relay().verify(moved).reason == FAILED
    assert not destination().open(moved).ok
    # The label of a bundle without one is not made of a signature of its primary block.
    unlabelled = travelled(source().protect(plain(labelled=False)))
    added = policy_block(POLICY, number=99, crc_type=0)
    assert relay().verify(Bundle(unlabelled.primary, (added, *unlabelled.blocks))).reason == MISSING


def test_shared_keys_alone_make_no_signature() -> None:
    """Who has the group's key, and not the source's, makes nothing that is taken as of it."""
    unsigned = BpSec(KeyRing([SHARED]), entropy, SecurityPolicy()).protect(plain(labelled=False))
    assert destination().open(unsigned).reason == MISSING
    assert relay().verify(unsigned).reason == MISSING
    # Nor does the head's signature stand for a payload that somebody else has sealed.
    signed = source().protect(plain(labelled=False))
    mixed = Bundle(signed.primary, (visible_bib(signed), *unsigned.blocks))
    assert relay().verify(mixed).ok
    assert destination().open(mixed).reason == MISSING
    by_stranger = source(STRANGER).protect(plain(labelled=False))
    assert destination().open(by_stranger).reason == FAILED


def test_nothing_is_asked_of_others() -> None:
    other = replace(plain(labelled=False).primary, source=Eid.parse("dtn://sat2/app"), encoded=None)
    bundle = Bundle(other, plain(labelled=False).blocks)
    assert relay().verify(bundle).ok
    free = BpSec(KeyRing([SHARED]), entropy, SecurityPolicy())
    assert free.verify(plain(labelled=True)).ok
    assert destination().open(free.protect(bundle)).ok


def test_administrative_records_pass_signed_alone() -> None:
    for labelled in (False, True):
        bundle = plain(labelled=labelled)
        record = Bundle(replace(bundle.primary, flags=IS_ADMIN), bundle.blocks)
        assert relay().verify(travelled(record)).reason == MISSING


def test_fragments_pass_with_the_signature_of_the_whole() -> None:
    for labelled in (False, True):
        sent = travelled(source().protect(plain(labelled=labelled, data=bytes(100))))
        form = PrimaryForm(sent.primary)
        size = len(sent.payload.data)
        for start, end in ((0, 40), (40, size)):
            kept = [one for one in sent.blocks[:-1] if not start or one.flags & 1]
            payload = CanonicalBlock(1, 1, sent.payload.flags, sent.payload.data[start:end])
            fragment = Bundle(form.fragment(start, size, CRC_32), (*kept, payload))
            assert relay().verify(travelled(fragment)).ok
            assert relay(STRANGER).verify(travelled(fragment)).reason == FAILED


def test_a_node_without_its_private_key_sends_nothing() -> None:
    node = BpSec(KeyRing([SHARED]), entropy, SecurityPolicy(cose_sign_for=(SAT,)))
    with pytest.raises(SecurityError, match="cose-sign-private"):
        node.protect(plain(labelled=False))


def changed_head(bundle: Bundle, change: Callable[[SecurityBlock], SecurityBlock]) -> Bundle:
    bib = visible_bib(bundle)
    data = encode_asb(change(decode_asb(bib.data)))
    new = CanonicalBlock(bib.type, bib.number, bib.flags, data)
    return Bundle(
        bundle.primary, tuple(new if one.number == bib.number else one for one in bundle.blocks)
    )


SCOPES: list[tuple[dict[int, object], int]] = [
    ({0: 1, -1: 1}, FAILED),  # signed under another
    ({0: 1, 88: 1}, FAILED),  # a block that is not there
    ({0: 1, -3: 1}, FAILED),  # a special key that is not known
    ({0: 3}, UNKNOWN),
    ({-2: 2}, UNKNOWN),
    ({1: 0}, UNKNOWN),
    ({1: True}, UNKNOWN),
    ({1: b""}, UNKNOWN),
]


@pytest.mark.parametrize(("scope", "reason"), SCOPES, ids=lambda case: str(case))
def test_scopes_that_are_not_what_was_signed(scope: dict[int, object], reason: int) -> None:
    sent = source().protect(plain(labelled=True))
    item = EncodedItem(values.encode(scope))  # type: ignore[arg-type]
    changed = changed_head(sent, lambda asb: asb._replace(parameters=((5, item),)))
    assert relay().verify(changed).reason == reason
    assert destination().open(changed).reason == reason


def test_a_signature_that_does_not_cover_the_primary_block_proves_nothing() -> None:
    sent = source().protect(plain(labelled=True))
    label = {one.number: one for one in sent.blocks if one.type == DATA_POLICY}
    head = CanonicalBlock(BLOCK_INTEGRITY, visible_bib(sent).number, 1, b"")
    data = cose_context.sign_targets(
        OURS, sent.primary, label, tuple(label), head, sent.primary.source, {-1: 1}
    )
    changed = changed_head(sent, lambda _: decode_asb(data))
    assert relay().verify(changed).reason == MISSING


KID = values.encode({HeaderLabel.KID: b""})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda asb: asb._replace(results=((),)), UNKNOWN),
        (lambda asb: asb._replace(results=(asb.results[0] * 2,)), UNKNOWN),
        (lambda asb: asb._replace(results=(((18, 7),),)), UNKNOWN),
        (lambda asb: asb._replace(results=(((98, b""),),)), UNKNOWN),
        (lambda asb: asb._replace(results=(((17, asb.results[0][0][1]),),)), UNKNOWN),
        (lambda asb: asb._replace(results=(((18, b"\xd2" + asb.results[0][0][1]),),)), UNKNOWN),
        (lambda asb: asb._replace(parameters=((3, b"\xa0"),)), FAILED),
        (lambda asb: asb._replace(parameters=((3, b"\x80"),)), UNKNOWN),
        (lambda asb: asb._replace(parameters=((3, 7),)), UNKNOWN),
        (lambda asb: asb._replace(parameters=((3, KID), (4, KID))), UNKNOWN),
        (lambda asb: asb._replace(parameters=((4, b""), (4, b""))), UNKNOWN),
        (lambda asb: asb._replace(parameters=((6, b""),)), UNKNOWN),
        (lambda asb: asb._replace(parameters=((5, b""),)), UNKNOWN),
        (lambda asb: asb._replace(targets=(2, 55), results=asb.results * 2), CONFLICTING),
        (
            lambda asb: asb._replace(
                targets=(2, *range(100, 100 + SIGNATURES_MAX)),
                results=asb.results * (SIGNATURES_MAX + 1),
            ),
            CONFLICTING,
        ),
    ],
)  # fmt: skip
def test_blocks_that_break_a_rule_of_the_context(
    change: Callable[[SecurityBlock], SecurityBlock], reason: int
) -> None:
    changed = changed_head(source().protect(plain(labelled=True)), change)
    assert relay().verify(changed).reason == reason
    assert destination().open(changed).reason == reason


def test_a_key_id_may_be_said_once_for_all() -> None:
    """Additional headers are those of each message that has not its own (§2.2.1)."""
    sent = source().protect(plain(labelled=True))
    two = (STRANGER, OURS)

    def moved(asb: SecurityBlock) -> SecurityBlock:
        message = asb.results[0][0][1]
        found = values.decode(message, "")  # type: ignore[arg-type]
        assert isinstance(found, list)
        kid = found[1].pop(HeaderLabel.KID)
        shared = values.encode({HeaderLabel.KID: kid})
        return asb._replace(parameters=((4, shared),), results=(((18, values.encode(found)),),))

    assert relay(*two).verify(changed_head(sent, moved)).ok
    assert (
        relay(*two)
        .verify(changed_head(sent, lambda asb: moved(asb)._replace(parameters=())))
        .reason
        == FAILED
    )


def test_a_waypoint_signs_in_its_own_name_alone() -> None:
    sent = source().protect(plain(labelled=False))
    moved = changed_head(sent, lambda asb: asb._replace(source=Eid.parse(RELAY)))
    assert relay().verify(moved).reason == MISSING
    assert destination().open(moved).reason == UNEXPECTED


SENT = encode_bundle(source().protect(plain(labelled=True)))


@settings(max_examples=60)
@given(mutated(st.just(SENT), bundle_crcs))
def test_a_changed_bundle_never_passes_as_another(octets: bytes) -> None:
    try:
        bundle, _ = decode_bundle(octets)
    except DecodeError:
        return
    genuine = decode_bundle(SENT)[0]
    if relay().verify(bundle).ok and str(bundle.primary.source.node) == KARI:
        labels = [one.data for one in bundle.blocks if one.type == DATA_POLICY]
        assert labels == [one.data for one in genuine.blocks if one.type == DATA_POLICY]
        assert PrimaryForm(bundle.primary).whole() == PrimaryForm(genuine.primary).whole()


def test_keys_come_from_pem_files(tmp_path: Path) -> None:
    pem = OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "own.pem").write_bytes(pem)
    (tmp_path / "own.pem").chmod(0o600)
    (tmp_path / "kari.pem").write_bytes(
        OURS.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    path = tmp_path / "keys.toml"

    def ring(text: str) -> KeyRing:
        path.write_text(text)
        path.chmod(0o600)
        return load_keys(path)

    row = '[[key]]\nid = "{0}"\nkind = "cose-sign-{0}"\nfile = "{1}"\npeers = ["dtn://k*"]\n'
    keys = ring(row.format("private", "own.pem") + row.format("public", "kari.pem"))
    assert keys.signing_key(KARI).public == OURS.public
    assert keys.verifying_key(KARI, OURS.key_id) == OURS.public
    assert keys.verifying_key(KARI, b"") == OURS.public
    assert keys.verifying_key(KARI, b"other") is None
    assert keys.verifying_key(SAT, b"") is None
    for name, kind in (("kari.pem", "private"), ("own.pem", "public"), ("none.pem", "public")):
        with pytest.raises(ConfigError, match=r"key\[0\]\.file"):
            ring(row.format(kind, name))
    (tmp_path / "own.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        ring(row.format("private", "own.pem"))
    assert VerifyingKey.from_pem((tmp_path / "kari.pem").read_bytes()) == OURS.public


def test_a_relay_keeps_nothing_that_is_forged() -> None:
    bundle = plain(labelled=False, creation_ms=NOW)
    sent = source().protect(bundle)
    unsigned = BpSec(KeyRing([SHARED]), entropy, SecurityPolicy()).protect(bundle)
    desk = Desk(security=relay(), node=RELAY)
    for forged in (unsigned, without(sent, BLOCK_INTEGRITY), source(STRANGER).protect(bundle)):
        desk.arrive(encode_bundle(forged))
    assert desk.agent.counters["dropped_security"] == 3
    assert not desk.agent.entries
    desk.arrive(encode_bundle(sent))
    (encoded,) = desk.store.load(list(desk.agent.entries))
    assert encoded == encode_bundle(sent)
