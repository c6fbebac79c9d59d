"""Messages of ours read by an implementation that is not ours, and its by us: python-cwt
(github.com/dajiaji/python-cwt, MIT)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from stack.core.errors import SecurityError
from stack.cose import (
    AgreedWith,
    AgreementPrivateKey,
    Algorithm,
    SigningKey,
    decode_encrypt,
    decode_encrypt0,
    decode_mac0,
    decode_sign1,
    encrypt0,
    encrypt_for,
    fresh_for,
    mac0,
    sign1,
)
from tests.cose.test_recipients import CURVES, entropy

PAYLOAD, AAD, KID = b"tasking of tomorrow", b"what stands beside it", b"ground"


@pytest.fixture
def cwt() -> Any:
    return pytest.importorskip("cwt", reason="pip install cwt")


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
    ids=["ES256", "ES384", "EdDSA"],
)
def test_signatures_verify_both_ways(cwt: Any, key: Any, alg: str) -> None:
    ours = SigningKey(key)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    theirs = cwt.COSEKey.from_pem(public, alg=alg, kid=ours.key_id)
    signer = cwt.COSEKey.from_pem(private, alg=alg, kid=ours.key_id)
    cose = cwt.COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True)
    made = sign1(PAYLOAD, ours, external_aad=AAD)
    assert cose.decode(made, theirs, external_aad=AAD) == PAYLOAD
    with pytest.raises(Exception, match="verify"):
        cose.decode(made, theirs, external_aad=b"something else")
    found = decode_sign1(cose.encode(PAYLOAD, signer, external_aad=AAD))
    assert found.verify(ours.public, external_aad=AAD) == PAYLOAD
    with pytest.raises(SecurityError):
        found.verify(ours.public, external_aad=b"something else")


@pytest.mark.parametrize(
    ("alg", "name"),
    [
        (Algorithm.HMAC_256_64, "HMAC 256/64"),
        (Algorithm.HMAC_256_256, "HS256"),
        (Algorithm.HMAC_384_384, "HS384"),
        (Algorithm.HMAC_512_512, "HS512"),
    ],
)
def test_macs_verify_both_ways(cwt: Any, alg: Algorithm, name: str) -> None:
    secret = bytes(range(64))
    theirs = cwt.COSEKey.from_symmetric_key(secret, alg=name, kid=KID)
    cose = cwt.COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True)
    made = mac0(PAYLOAD, secret, alg, unprotected={4: KID}, external_aad=AAD)
    assert cose.decode(made, theirs, external_aad=AAD) == PAYLOAD
    found = decode_mac0(cose.encode(PAYLOAD, theirs, external_aad=AAD))
    assert found.verify(secret, external_aad=AAD) == PAYLOAD
    with pytest.raises(SecurityError):
        found.verify(secret, external_aad=b"")


@pytest.mark.parametrize(
    ("alg", "name", "size"),
    [
        (Algorithm.A128GCM, "A128GCM", 16),
        (Algorithm.A192GCM, "A192GCM", 24),
        (Algorithm.A256GCM, "A256GCM", 32),
        (Algorithm.CHACHA20_POLY1305, "ChaCha20/Poly1305", 32),
    ],
)
def test_encryption_opens_both_ways(cwt: Any, alg: Algorithm, name: str, size: int) -> None:
    secret = bytes(range(size))
    theirs = cwt.COSEKey.from_symmetric_key(secret, alg=name, kid=KID)
    cose = cwt.COSE.new(alg_auto_inclusion=True, kid_auto_inclusion=True)
    made = encrypt0(PAYLOAD, secret, b"i" * 12, alg, unprotected={4: KID}, external_aad=AAD)
    assert cose.decode(made, theirs, external_aad=AAD) == PAYLOAD
    found = decode_encrypt0(cose.encode(PAYLOAD, theirs, external_aad=AAD))
    assert found.open(secret, external_aad=AAD) == PAYLOAD
    with pytest.raises(SecurityError):
        found.open(secret, external_aad=b"")


@pytest.mark.parametrize(
    ("curve", "alg"),
    [
        ("P-256", Algorithm.ECDH_ES_HKDF_256),
        ("P-256", Algorithm.ECDH_ES_A128KW),
        ("P-256", Algorithm.ECDH_ES_A256KW),
        ("P-521", Algorithm.ECDH_ES_HKDF_512),
    ],
)
def test_agreements_open_both_ways(cwt: Any, curve: str, alg: Algorithm) -> None:
    """Where it takes the hash of the algorithm: elsewhere it takes that of the curve."""
    mine = AgreementPrivateKey(CURVES[curve](), b"ground")
    numbers: Any = mine.key.private_numbers()  # type: ignore[union-attr]
    scalar = numbers.private_value.to_bytes(66 if curve == "P-521" else 32, "big")
    public = {**mine.public.as_map(), 2: b"ground", 3: int(alg)}
    theirs = cwt.COSEKey.new({**public, -4: scalar})
    wraps = alg.name.endswith("KW")
    context = {"alg": alg.name[-6:] if wraps else "A256GCM"}
    for_whom = AgreedWith(mine.public, fresh_for(mine.public, entropy), b"", alg)
    made = encrypt_for(PAYLOAD, [for_whom], entropy, external_aad=AAD)
    assert cwt.COSE.new().decode(made, theirs, context=context, external_aad=AAD) == PAYLOAD
    recipient = cwt.Recipient.new(
        protected={1: int(alg)},
        unprotected={4: b"ground"},
        recipient_key=cwt.COSEKey.new(public),
        context=context,
    )
    content = cwt.COSEKey.generate_symmetric_key(alg="A256GCM", kid="ground") if wraps else None
    sent = cwt.COSE.new().encode(PAYLOAD, content, {1: 3}, recipients=[recipient], external_aad=AAD)
    assert decode_encrypt(sent).open(mine, external_aad=AAD) == PAYLOAD
    with pytest.raises(SecurityError):
        decode_encrypt(sent).open(mine, external_aad=b"")
