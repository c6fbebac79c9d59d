"""The examples that the author of the COSE context has added to its draft: key agreement and
derivation, RSA, ML-DSA, additional headers.  What is not random comes out octet for octet."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate

from interop.vectors import Vector, load
from stack.core.errors import SecurityError
from stack.cose import (
    AgreedWith,
    AgreementPrivateKey,
    Algorithm,
    Encrypt,
    OpeningKey,
    RsaPrivateKey,
    SealingKey,
    SharedSecret,
    Sign1,
    SigningKey,
    seal_to,
    sign1,
)
from stack.cose.recipients import Content
from stack.security import cose_context
from tests.cose.test_recipients import rsa_key
from tests.security.test_bpsec_cose import VECTORS, aad_of, octets, parts_of

PLAIN = b"ehello"
RSA, ML_DSA = VECTORS["COSE_Sign1, RSA"], VECTORS["COSE_Sign1, ML-DSA-87"]


def on_p384(scalar: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(scalar, 16), ec.SECP384R1())


def keys(name: str) -> tuple[OpeningKey, SealingKey]:
    """Who opens an example, and for whom it is made."""
    known = VECTORS[name].extra
    kid, salt = bytes.fromhex(known["kid"]), bytes.fromhex(known.get("salt", ""))
    if name == "COSE_Encrypt, A256KW":
        wrapping = SharedSecret("wrap", bytes.fromhex(known["kek"]), kid)
        return wrapping, wrapping
    if "kdk" in known:
        deriving = SharedSecret("derive", bytes.fromhex(known["kdk"]), kid, salt)
        return deriving, deriving
    if "p" in known:
        private = RsaPrivateKey(rsa_key(name), kid)
        return private, private.public
    sender = AgreementPrivateKey(
        on_p384(known["sender_private"]), bytes.fromhex(known.get("sender_kid", ""))
    )
    mine = AgreementPrivateKey(on_p384(known["private"]), kid, senders=(sender.public,))
    for key, coordinate in ((sender, "sender_x"), (mine, "x")):
        assert key.public.as_map()[-2] == bytes.fromhex(known[coordinate])
    alg = Algorithm.ECDH_ES_A256KW if "kek" in known else Algorithm.ECDH_SS_HKDF_512
    return mine, AgreedWith(mine.public, sender, salt, alg)


SEALED = [name for name in VECTORS if name.startswith("COSE_Encrypt, ")]


def message_of(vector: Vector) -> tuple[Encrypt, bytes, dict[str, Any]]:
    bundle, block, asb = parts_of(vector)
    other = cose_context.kdf_other(asb.source, cose_context.read_parameters(asb))
    found = cose_context.read_confidentiality(asb.results[0])
    assert isinstance(found, Encrypt)
    octets = asb.results[0][0][1]
    assert isinstance(octets, bytes)
    return found, octets, {"external_aad": aad_of(bundle, block, asb), "other": other}


@pytest.mark.parametrize("name", SEALED)
def test_what_is_encrypted_opens_and_is_made_again(name: str) -> None:
    vector = VECTORS[name]
    found, message, known = message_of(vector)
    sealed = bytes(parts_of(vector)[0].payload.data)
    opening, sealing = keys(name)
    (recipient,) = found.recipients
    content = Content(Algorithm.A256GCM, 32, other=known["other"])
    assert opening.key_for(recipient, content) == octets(vector, "key")
    assert found.open(opening, ciphertext=sealed, **known) == PLAIN
    again = seal_to(PLAIN, [sealing], octets(vector, "key"), octets(vector, "iv"), **known)
    if "RSAES" in name:  # its padding is random
        assert again[1] == sealed
        assert again[0][: -len(recipient.ciphertext)] == message[: -len(recipient.ciphertext)]
    else:
        assert again == (message, sealed)
    for other in (b"", known["other"] + b"\0"):
        if recipient.headers.encoded:  # a key wrapped with a lasting one is bound to nothing
            with pytest.raises(SecurityError):
                found.open(opening, ciphertext=sealed, **{**known, "other": other})


@pytest.mark.parametrize(
    ("vector", "key", "alg"),
    [
        (RSA, SigningKey(rsa_key(RSA.name), octets(RSA, "kid")), Algorithm.PS384),
        (ML_DSA, SigningKey.generate(
            Algorithm.ML_DSA_87, lambda _: octets(ML_DSA, "private"), octets(ML_DSA, "kid")
        ), Algorithm.ML_DSA_87),
    ],
    ids=["RSA", "ML-DSA"],
)  # fmt: skip
def test_random_signatures_verify_and_differ_in_themselves_alone(
    vector: Vector, key: SigningKey, alg: Algorithm
) -> None:
    bundle, block, asb = parts_of(vector)
    found = cose_context.read_integrity(asb.results[0])
    assert isinstance(found, Sign1)
    aad, payload = aad_of(bundle, block, asb), bytes(bundle.payload.data)
    assert (found.headers.alg, key.alg) == (alg, alg)
    assert found.verify(key.public, external_aad=aad, payload=payload) == PLAIN
    with pytest.raises(SecurityError):
        found.verify(key.public, external_aad=aad, payload=b"ehell")
    again = sign1(payload, key, external_aad=aad, detached=True, tagged=False)
    message = asb.results[0][0][1]
    assert isinstance(message, bytes)
    size = len(found.signature)
    assert (len(again), again[:-size]) == (len(message), message[:-size])
    assert again != message


def test_certificates_are_of_the_keys_of_the_examples() -> None:
    found = {one.name: load_der_x509_certificate(one.data) for one in load("bpsec_cose")
             if one.kind == "certificate"}  # fmt: skip
    for certificate in found.values():
        certificate.verify_directly_issued_by(found["authority"])
    signer = on_p384(VECTORS["COSE_Sign1, P-384"].extra["private"]).public_key()
    assert found["signer"].public_key() == signer
    recipient = on_p384(VECTORS["COSE_Encrypt, ECDH-ES + A256KW"].extra["private"]).public_key()
    assert found["recipient of key agreement"].public_key() == recipient
