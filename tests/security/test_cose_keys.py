"""Keys of the COSE context that wrap, derive and agree: by rules from a gateway to its peer, from
files, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509 import load_der_x509_certificate

from interop.vectors import load
from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.cose import (
    AgreedWith,
    AgreementPrivateKey,
    AgreementPublicKey,
    Algorithm,
    HeaderLabel,
    RsaPrivateKey,
    SealingKey,
    SharedSecret,
    SigningKey,
    mac_for,
    sign_by,
    values,
)
from stack.policy import DataPolicy, NodeSet
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, PolicyRule, SecurityPolicy, cose_context, load_keys
from stack.security.pem_files import EncryptionKey
from stack.security.reasons import FAILED, MISSING, UNKNOWN
from stack.wire.asb import SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    Bundle,
    CanonicalBlock,
    decode_bundle,
    encode_bundle,
)
from tests.cose.test_recipients import CERTIFICATE, rsa_key
from tests.security.test_bpsec_cose import VECTORS
from tests.security.test_cose_examples import on_p384
from tests.security.test_rules import EXIT, FAR, GATE, OTHER, passed, plain, rule

PEER_KEYS: dict[str, tuple[EncryptionKey, EncryptionKey]] = {}
for name, made in (
    ("P-384", AgreementPrivateKey(ec.derive_private_key(7, ec.SECP384R1()))),
    ("certificate", AgreementPrivateKey(
        on_p384(VECTORS["COSE_Encrypt, ECDH-ES + A256KW"].extra["private"]), b"", CERTIFICATE)),
    ("X25519", AgreementPrivateKey(x25519.X25519PrivateKey.from_private_bytes(bytes(range(32))))),
    ("RSA", RsaPrivateKey(rsa_key("COSE_Encrypt, RSAES-OAEP"))),
):  # fmt: skip
    PEER_KEYS[name] = (made, made.public)
SIGNER = SigningKey.generate(Algorithm.EDDSA, lambda count: bytes(range(count)))
SHARED = (
    Key("kek", "kek", bytes(range(32)), key_id=b"k1"),
    Key("kdk", "kdk", bytes(range(1, 33)), key_id=b"k2"),
    Key("mac", "hmac", bytes(range(48))),
)


def secured_by(name: str, keys: tuple[Key, ...], *rules: PolicyRule, require: bool = True) -> BpSec:
    counter = itertools.count(1)
    return BpSec(
        KeyRing(keys, name),
        lambda count: next(counter).to_bytes(count, "big"),
        SecurityPolicy(rules=rules, require=require),
    )


def own_and_public(kind: str) -> tuple[Key, Key]:
    private, public = PEER_KEYS[kind]
    secret = private.public.key_id  # type: ignore[union-attr]
    return (
        Key("own", "cose-encrypt-private", secret, encryption=private),
        Key("exit", "cose-encrypt-public", secret, (EXIT, FAR), encryption=public),
    )


def rules_for(kind: str, peer: str = EXIT) -> list[PolicyRule]:
    shared = kind if kind.startswith("cose-k") else "cose-kek"
    sealed = kind if kind.startswith("cose-k") else "cose-public"
    return [
        rule("source", "integrity", context=shared, peer=peer),
        rule("source", "confidentiality", context=sealed, peer=peer),
    ]


def ends(kind: str) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
    """Keys of who makes it, and of who opens it."""
    if kind not in PEER_KEYS:
        return SHARED, SHARED
    own, public = own_and_public(kind)
    return (*SHARED, public), (*SHARED, own)


def taking(rules: list[PolicyRule]) -> list[PolicyRule]:
    return [replace(one, role="acceptor", context="rfc9173", peer=GATE) for one in rules]


KINDS = ("cose-kek", "cose-kdk", *PEER_KEYS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_gateway_adds_its_peer_takes_off(kind: str) -> None:
    makes, opens = ends(kind)
    rules = rules_for(kind)
    secured = passed(secured_by(GATE, makes, *rules), plain()).bundle
    assert secured is not None
    assert b"tasking" not in encode_bundle(secured)
    takes = taking(rules)
    back = passed(secured_by(EXIT, opens, *takes), secured).bundle
    assert back is not None
    assert encode_bundle(Bundle(back.primary, back.blocks)).count(b"tasking") == 1
    assert {block.type for block in back.blocks} == {1, 222}
    for changed in (
        replace(secured.primary, sequence=6, encoded=None),
        replace(secured.primary, destination=Eid.parse(OTHER), encoded=None),
    ):
        moved = Bundle(changed, secured.blocks)
        assert passed(secured_by(EXIT, opens, *takes), moved).reason == FAILED
    strangers = [replace(key, secret=bytes(len(key.secret))) for key in SHARED]
    assert passed(secured_by(OTHER, tuple(strangers), *takes), secured).reason == FAILED


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelled_bundle_opens_at_its_end_under_its_label_alone(kind: str) -> None:
    makes, opens = ends(kind)
    label = policy_block(DataPolicy(), number=3, crc_type=2)
    own = plain(source=GATE + "app")
    labelled = Bundle(own.primary, (label, *own.blocks))
    sent = secured_by(GATE, makes, *rules_for(kind, "")).protect(labelled)
    opened = secured_by(FAR, opens).open(decode_bundle(encode_bundle(sent))[0])
    assert opened.ok, opened.failure
    for other in ((), (policy_block(DataPolicy(rest=NodeSet.parse("KR")), number=3, crc_type=2),)):
        blocks = tuple(block for block in sent.blocks if block.number != 3)
        assert not secured_by(FAR, opens).open(Bundle(sent.primary, (*other, *blocks))).ok


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_encrypted_so_is_signed_too(kind: str) -> None:
    makes, opens = ends(kind)
    sealed = rules_for(kind, "")[1]
    sent = secured_by(GATE, makes, sealed).protect(plain(source=GATE + "app"))
    for rules in ([], [rule("acceptor", "confidentiality")]):
        opened = secured_by(FAR, opens, *rules).open(sent)
        assert (opened.reason, "not signed it" in opened.failure) == (MISSING, True)


Change = Callable[[SecurityBlock, list[Any]], SecurityBlock]


def bcb_changed(bundle: Bundle, change: Change) -> Bundle:
    """With another BCB of the payload; `change` gets its message, decoded."""
    blocks = []
    for block in bundle.blocks:
        if block.type == BLOCK_CONFIDENTIALITY and decode_asb(block.data).targets == (1,):
            asb = decode_asb(block.data)
            found: Any = values.decode(asb.results[0][0][1], "")  # type: ignore[arg-type]
            new = change(asb, found)
            block = CanonicalBlock(block.type, block.number, block.flags, encode_asb(new))
        blocks.append(block)
    return Bundle(bundle.primary, tuple(blocks))


def with_message(asb: SecurityBlock, found: list[Any]) -> SecurityBlock:
    return asb._replace(results=(((96, values.encode(found)),),))


@pytest.mark.parametrize("kind", ["cose-kdk", "P-384"])
def test_additional_headers_are_those_of_recipients(kind: str) -> None:
    makes, opens = ends(kind)
    rules = rules_for(kind)
    secured = passed(secured_by(GATE, makes, *rules), plain()).bundle
    assert secured is not None
    node = secured_by(EXIT, opens, *taking(rules))

    def moved(asb: SecurityBlock, found: list[Any], *, drop: bool = False) -> SecurityBlock:
        kid = found[3][0][1].pop(HeaderLabel.KID)
        salt = found[3][0][1].pop(HeaderLabel.SALT)
        shared = values.encode({HeaderLabel.KID: kid, HeaderLabel.SALT: salt})
        more = () if drop else ((cose_context.ADDITIONAL_UNPROTECTED, shared),)
        return with_message(asb._replace(parameters=(*asb.parameters, *more)), found)

    assert passed(node, bcb_changed(secured, moved)).ok
    left = bcb_changed(secured, lambda asb, found: moved(asb, found, drop=True))
    assert passed(node, left).reason == FAILED

    def protected(asb: SecurityBlock, found: list[Any]) -> SecurityBlock:
        more = (cose_context.ADDITIONAL_PROTECTED, b"\xa0")  # what nobody has agreed upon
        return asb._replace(parameters=(*asb.parameters, more))

    assert passed(node, bcb_changed(secured, protected)).reason == FAILED


@pytest.mark.parametrize("label", range(-26, -20))
def test_nothing_is_said_of_parties(label: int) -> None:
    """draft-ietf-dtn-bpsec-cose §3.3."""
    makes, opens = ends("P-384")
    rules = rules_for("P-384")
    secured = passed(secured_by(GATE, makes, *rules), plain()).bundle
    assert secured is not None
    node = secured_by(EXIT, opens, *taking(rules))

    def said(asb: SecurityBlock, found: list[Any]) -> SecurityBlock:
        found[3][0][1][label] = b"x"
        return with_message(asb, found)

    def aside(asb: SecurityBlock, found: list[Any]) -> SecurityBlock:
        more = (cose_context.ADDITIONAL_UNPROTECTED, values.encode({label: b"x"}))
        return asb._replace(parameters=(*asb.parameters, more))

    for change in (said, aside):
        assert passed(node, bcb_changed(secured, change)).reason == UNKNOWN


def bib_of(result: int, make: Callable[[bytes, bytes, bytes], bytes]) -> Bundle:
    """A bundle with a BIB of its payload; `make` gets content, AAD and what a KDF binds."""
    own = plain(source=GATE + "app")
    payload = replace(own.payload, crc_type=0, encoded=None)
    head = CanonicalBlock(BLOCK_INTEGRITY, 9, 0, b"")
    source, blocks = own.primary.source, {1: payload}
    parameters = cose_context.CoseParameters()
    aad = cose_context.external_aad(source, parameters, own.primary, blocks, 1, head)
    octets = make(bytes(payload.data), aad, cose_context.kdf_other(source, parameters))
    asb = cose_context.block_of(source, (1,), parameters.scope, [((result, octets),)])
    bib = CanonicalBlock(BLOCK_INTEGRITY, 9, 0, encode_asb(asb))
    return Bundle(own.primary, (bib, *own.blocks[:-1], payload))


ASKS = rule("acceptor", "integrity")


def test_one_of_several_signatures_is_enough() -> None:
    other = SigningKey.generate(Algorithm.ES384, lambda count: bytes(range(count)))
    stranger = SigningKey.generate(Algorithm.EDDSA, lambda count: bytes(range(1, count + 1)))
    public = Key("gate", "cose-sign-public", b"", (GATE,), cose=SIGNER.public)

    def bundle(*keys: SigningKey) -> Bundle:
        return bib_of(98, lambda content, aad, _: sign_by(
            content, keys, external_aad=aad, detached=True, tagged=False))  # fmt: skip

    def opened(one: Bundle) -> int:
        policy = SecurityPolicy(rules=(ASKS,), require=False, cose_require_from=(GATE,))
        node = BpSec(KeyRing([public], FAR), lambda count: bytes(count), policy)
        return node.open(one).reason

    for keys in ((SIGNER,), (other, SIGNER), (SIGNER, stranger)):
        assert opened(bundle(*keys)) == 0
        moved = bundle(*keys)
        primary = replace(moved.primary, sequence=77, encoded=None)
        assert opened(Bundle(primary, moved.blocks)) == FAILED
    assert opened(bundle(other, stranger)) == FAILED


def test_a_mac_is_of_a_shared_secret() -> None:
    """With a public key anybody could make one."""
    public = PEER_KEYS["P-384"][1]
    assert isinstance(public, AgreementPublicKey)
    own = own_and_public("P-384")[0]
    node = secured_by(FAR, (*SHARED, own), ASKS, require=False)
    agreed = AgreedWith(public, AgreementPrivateKey(ec.derive_private_key(9, ec.SECP384R1())))
    secrets: list[tuple[SealingKey, int]] = [
        (SharedSecret("wrap", bytes(range(32)), b"k1"), 0),
        (SharedSecret("derive", bytes(range(1, 33)), b"k2", b"salt"), 0),
        (SharedSecret("direct", bytes(range(48))), 0),
        (SharedSecret("wrap", bytes(32), b"k1"), FAILED),
        (SharedSecret("wrap", bytes(range(32)), b"k3"), FAILED),
        (agreed, FAILED),
    ]
    for secret, reason in secrets:
        assert node.open(mac_by(secret)).reason == reason
    nobody = secured_by(FAR, (), ASKS, require=False)
    assert nobody.open(mac_by(secrets[0][0])).reason == UNKNOWN


def mac_by(secret: SealingKey) -> Bundle:
    def make(content: bytes, aad: bytes, other: bytes) -> bytes:
        known: dict[str, Any] = {"external_aad": aad, "other": other}
        return mac_for(content, [secret], b"f" * 48, detached=True, tagged=False, **known)

    return bib_of(97, make)


@pytest.mark.parametrize("name", [n for n in VECTORS if n.startswith("COSE_Encrypt, ")])
def test_a_node_opens_the_examples_and_takes_none_that_is_not_signed(name: str) -> None:
    bundle = decode_bundle(VECTORS[name].data)[0]
    known = VECTORS[name].extra
    kid = bytes.fromhex(known["kid"])
    keys: list[Key]
    if "kdk" in known or ("A256KW" in name and "ECDH" not in name):
        kind = "kdk" if "kdk" in known else "kek"
        keys = [Key("k", kind, bytes.fromhex(known[kind]), key_id=kid)]
    elif "p" in known:
        keys = [Key("k", "cose-encrypt-private", kid, encryption=RsaPrivateKey(rsa_key(name), kid))]
    else:
        mine = AgreementPrivateKey(on_p384(known["private"]), kid)
        keys = [Key("k", "cose-encrypt-private", kid, encryption=mine)]
        if "sender_kid" in known:
            sender = on_p384(known["sender_private"]).public_key()
            public = AgreementPublicKey(sender, bytes.fromhex(known["sender_kid"]))
            keys.append(Key("s", "cose-encrypt-public", b"s", ("dtn://src/",), encryption=public))
    # its BCB may be left out of fragments, against RFC 9172 §3.8
    blocks = tuple(
        replace(one, flags=1, encoded=None) if one.type == BLOCK_CONFIDENTIALITY else one
        for one in bundle.blocks
    )
    changed = Bundle(bundle.primary, blocks)
    opened = secured_by("dtn://dst/", tuple(keys), require=False).open(changed)
    assert (opened.reason, "not signed it" in opened.failure) == (MISSING, True)
    assert secured_by("dtn://dst/", (), require=False).open(changed).reason == FAILED


# ---- key files --------------------------------------------------------------------------------


def pem_of(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_keys_come_from_pem_files(tmp_path: Path) -> None:
    certificate = load_der_x509_certificate(CERTIFICATE).public_bytes(Encoding.PEM)
    mine = on_p384(VECTORS["COSE_Encrypt, ECDH-ES + A256KW"].extra["private"])
    spki = mine.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing = load_der_x509_certificate(
        next(one.data for one in load("bpsec_cose") if one.name == "signer")
    ).public_bytes(Encoding.PEM)
    files = {
        "own.pem": pem_of(mine), "both.pem": pem_of(mine) + certificate, "cert.pem": certificate,
        "public.pem": spki, "rsa.pem": pem_of(rsa_key("COSE_Encrypt, RSAES-OAEP")),
        "other.pem": pem_of(on_p384("7")) + certificate, "signing.pem": signing,
        "k1.pem": pem_of(ec.derive_private_key(7, ec.SECP256K1())), "ed.pem": pem_of(SIGNER.key),
        "bad.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }  # fmt: skip
    for name, octets in files.items():
        (tmp_path / name).write_bytes(octets)
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "keys.toml"

    def key(kind: str, file: str, more: str = "") -> Key:
        path.write_text(f'[[key]]\nid = "k"\nkind = "cose-encrypt-{kind}"\nfile = "{file}"\n{more}')
        path.chmod(0o600)
        return load_keys(path).keys[0]

    own, both = key("private", "own.pem").encryption, key("private", "both.pem").encryption
    assert isinstance(own, AgreementPrivateKey)
    assert isinstance(both, AgreementPrivateKey)
    assert (own.public.certificate, both.public.certificate) == (b"", CERTIFICATE)
    for file, held in (("cert.pem", CERTIFICATE), ("public.pem", b"")):
        public = key("public", file).encryption
        assert isinstance(public, AgreementPublicKey)
        assert (public.certificate, public.key_id) == (held, own.public.key_id)
    assert isinstance(key("private", "rsa.pem").encryption, RsaPrivateKey)
    named = key("private", "own.pem", 'key_id = "6b31"')
    assert (named.secret, named.key_id) == (b"k1", b"k1")
    for kind, file, words in (
        ("private", "other.pem", "of another key"), ("public", "signing.pem", "for neither"),
        ("private", "k1.pem", "secp256k1"), ("private", "ed.pem", "no key of key agreement"),
        ("private", "bad.pem", "no key in PEM"), ("public", "own.pem", "no key in PEM"),
        ("private", "cert.pem", "no key in PEM"), ("public", "none.pem", "No such file"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words) as caught:
            key(kind, file)
        assert caught.value.key.endswith("key[0].file")
    (tmp_path / "own.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        key("private", "own.pem")


def test_without_its_key_a_node_makes_nothing() -> None:
    for kind, words in (("cose-kek", "kek"), ("cose-kdk", "kdk"), ("P-384", "cose-encrypt-public")):
        with pytest.raises(SecurityError, match=words):
            secured_by(GATE, (), rules_for(kind, "")[1]).protect(plain(source=GATE + "app"))


def test_each_use_of_a_lasting_key_has_its_own() -> None:
    makes, _ = ends("cose-kdk")
    node = secured_by(GATE, makes, *rules_for("cose-kdk", ""))
    sent = [node.protect(plain(source=GATE + "app")) for _ in range(3)]
    assert len({bytes(one.payload.data) for one in sent}) == 3
