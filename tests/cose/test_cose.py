"""COSE against the examples of others, and what must not verify or open."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import encoded_cose_messages, mutated, nearly_cose_messages
from interop.strategies.cose import TAGS
from interop.strategies.violation import Nearly
from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.cose import (
    Algorithm,
    HeaderLabel,
    HpkePrivateKey,
    HpkePublicKey,
    SigningKey,
    VerifyingKey,
    decode_encrypt,
    decode_encrypt0,
    decode_mac,
    decode_mac0,
    decode_sign,
    decode_sign1,
    encrypt0,
    encrypt_for,
    mac0,
    sign1,
    values,
)
from stack.cose.messages import HeaderPair, encode_message, open_content, seal_content, structure
from stack.cose.numbers import KeyParameter
from stack.cose.recipients import RECIPIENTS_MAX, TRIED_MAX, Content
from stack.cose.values import Value
from stack.security.contexts import unwrap_key

VECTORS = load("cose")
SIGNING = (
    Algorithm.ES256,
    Algorithm.ES384,
    Algorithm.ES512,
    Algorithm.EDDSA,
    Algorithm.ML_DSA_44,
    Algorithm.ML_DSA_65,
    Algorithm.ML_DSA_87,
)
entropy = random.Random(9052).randbytes
KEYS = {alg: SigningKey.generate(alg, entropy) for alg in SIGNING}
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "sign1": decode_sign1,
    "mac0": decode_mac0,
    "encrypt0": decode_encrypt0,
    "encrypt": decode_encrypt,
    "mac": decode_mac,
    "sign": decode_sign,
}


def of_kind(kind: str) -> list[Vector]:
    return [vector for vector in VECTORS if vector.kind == kind]


def octets(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector.extra[name])


@pytest.mark.parametrize("vector", of_kind("sign1"), ids=lambda vector: vector.name)
def test_signatures_of_others_verify(vector: Vector) -> None:
    point = {1: 2, -1: vector.extra["curve"], -2: octets(vector, "x"), -3: octets(vector, "y")}
    key = VerifyingKey.from_cose_key(values.encode(point))
    found = decode_sign1(vector.data)
    external = octets(vector, "external")
    assert found.verify(key, external_aad=external) == octets(vector, "payload")
    signed = structure("Signature1", found.headers, external, found.payload)
    assert signed == octets(vector, "to_be_signed")
    with pytest.raises(SecurityError, match="does not verify"):
        found.verify(key, external_aad=external + b"\0")


@pytest.mark.parametrize("vector", of_kind("sign1_seed"), ids=lambda vector: vector.name)
def test_ml_dsa_of_others_verifies_and_its_key_is_made_the_same(vector: Vector) -> None:
    alg = Algorithm(vector.extra["alg"])
    key = SigningKey.generate(alg, lambda _: octets(vector, "seed")).public
    assert key.thumbprint == octets(vector, "thumbprint")
    found = decode_sign1(vector.data)
    assert (found.headers.alg, found.headers.kid) == (alg, key.key_id)
    assert found.verify(key) == octets(vector, "payload")
    with pytest.raises(SecurityError, match="does not verify"):
        found.verify(key, external_aad=b"\0")


@pytest.mark.parametrize("vector", of_kind("mac0"), ids=lambda vector: vector.name)
def test_macs_of_others_verify_and_are_made_the_same(vector: Vector) -> None:
    secret, payload = octets(vector, "key"), octets(vector, "payload")
    found, external = decode_mac0(vector.data), octets(vector, "external")
    if vector.expect.startswith("valid"):
        assert found.verify(secret, external_aad=external) == payload
        assert mac0(payload, secret, Algorithm(vector.extra["alg"])) == vector.data
        return
    words = "does not verify" if "tag" in vector.expect else "no algorithm in the protected"
    with pytest.raises(SecurityError, match=words):
        found.verify(secret, external_aad=external)


@pytest.mark.parametrize("vector", of_kind("encrypt0"), ids=lambda vector: vector.name)
def test_what_others_have_encrypted_opens_and_is_made_the_same(vector: Vector) -> None:
    secret, plain = octets(vector, "key"), octets(vector, "payload")
    assert decode_encrypt0(vector.data).open(secret) == plain
    made = encrypt0(plain, secret, octets(vector, "iv"), Algorithm(vector.extra["alg"]))
    assert made == vector.data


def test_a_key_that_others_have_wrapped_opens_their_content() -> None:
    (vector,) = of_kind("encrypt_wrapped")
    found, plain = decode_encrypt(vector.data), octets(vector, "payload")
    (recipient,) = found.recipients
    assert recipient.headers.get(HeaderLabel.ALG) == Algorithm.A256KW
    secret = unwrap_key(octets(vector, "kek"), recipient.ciphertext)
    assert secret == octets(vector, "key")
    assert found.ciphertext is not None
    assert open_content("Encrypt", found.headers, secret, b"", found.ciphertext) == plain
    assert seal_content("Encrypt", found.headers, secret, b"", plain) == found.ciphertext


@pytest.mark.parametrize("vector", of_kind("encrypt"), ids=lambda vector: vector.name)
def test_hpke_recipients_of_others_open(vector: Vector) -> None:
    key = HpkePrivateKey("X25519", octets(vector, "private"))
    assert key.public.raw == octets(vector, "public")
    found = decode_encrypt(vector.data)
    (recipient,) = found.recipients
    assert found.ciphertext is not None
    # Their kid is a name, so the recipient is asked, and then the content as it would be.
    content = Content(found.headers.alg, 32, octets(vector, "info"))
    secret = key.key_for(recipient, content)
    assert recipient.headers.kid == octets(vector, "kid")
    plain = open_content(
        "Encrypt", found.headers, secret, octets(vector, "external"), found.ciphertext
    )
    assert plain == octets(vector, "payload")


def test_keys_of_others() -> None:
    (vector,) = of_kind("cose_key")
    assert HpkePublicKey.from_cose_key(vector.data).raw == octets(vector, "public")
    (vector,) = of_kind("thumbprint")
    assert VerifyingKey.from_cose_key(vector.data).thumbprint.hex() == vector.expect


@pytest.mark.parametrize("alg", SIGNING)
def test_what_is_signed_verifies_with_this_key_only(alg: Algorithm) -> None:
    key = KEYS[alg]
    made = sign1(b"telemetry", key, external_aad=b"pass 7")
    found = decode_sign1(made)
    assert found.verify(key.public, external_aad=b"pass 7") == b"telemetry"
    assert (found.headers.alg, found.headers.kid) == (alg, key.public.thumbprint)
    with pytest.raises(SecurityError):
        found.verify(key.public, external_aad=b"pass 8")
    with pytest.raises(SecurityError):
        found.verify(SigningKey.generate(alg, entropy).public, external_aad=b"pass 7")
    signature = key.sign(b"telemetry")
    key.public.verify(signature, b"telemetry")
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(len(signature))):
        with pytest.raises(SecurityError):
            key.public.verify(wrong, b"telemetry")
    detached = decode_sign1(sign1(b"telemetry", key, detached=True, tagged=False))
    assert detached.payload is None
    assert detached.verify(key.public, payload=b"telemetry") == b"telemetry"
    for payload in (b"Telemetry", None):
        with pytest.raises(SecurityError):
            detached.verify(key.public, payload=payload)
    with pytest.raises(SecurityError, match="content of its own"):
        found.verify(key.public, payload=b"other")


@pytest.mark.parametrize("alg", SIGNING)
def test_a_public_key_survives_its_cose_key(alg: Algorithm) -> None:
    key = KEYS[alg].public
    again = VerifyingKey.from_cose_key(key.cose_key())
    assert (again, again.key_id, again.alg) == (key, key.key_id, alg)
    found = values.decode(key.cose_key(), "")
    assert isinstance(found, dict)
    with pytest.raises(DecodeError):
        VerifyingKey.from_cose_key(values.encode({**found, 3: -257}))
    with pytest.raises(DecodeError):
        VerifyingKey.from_cose_key(values.encode({**found, 1: 4}))


def test_a_compressed_point_is_the_same_key() -> None:
    key = KEYS[Algorithm.ES256].public
    found = values.decode(key.cose_key(), "")
    assert isinstance(found, dict)
    odd = bool(found[-3][-1] & 1)
    assert VerifyingKey.from_cose_key(values.encode({**found, -3: odd})) == key
    assert VerifyingKey.from_cose_key(values.encode({**found, -3: not odd})) != key
    with pytest.raises(DecodeError, match="no point"):
        VerifyingKey.from_cose_key(values.encode({**found, -3: bytes(32)}))


def test_ecdsa_gives_nothing_away_when_randomness_is_weak() -> None:
    key = KEYS[Algorithm.ES256]
    assert key.sign(b"twice") == key.sign(b"twice")  # RFC 6979


def test_an_algorithm_under_another_number() -> None:
    key = KEYS[Algorithm.ES256]
    made = sign1(b"x", key, protected={HeaderLabel.ALG: Algorithm.ESP256})
    assert decode_sign1(made).verify(key.public) == b"x"
    wrong = sign1(b"x", key, protected={HeaderLabel.ALG: Algorithm.ES384})
    with pytest.raises(SecurityError, match="algorithm -35"):
        decode_sign1(wrong).verify(key.public)


def test_an_algorithm_counts_in_the_protected_header_only() -> None:
    key = KEYS[Algorithm.EDDSA]
    headers = HeaderPair({}, {HeaderLabel.ALG: Algorithm.EDDSA}, b"")
    signature = key.sign(structure("Signature1", headers, b"", b"x"))
    made = encode_message(18, headers, b"x", signature)
    with pytest.raises(SecurityError, match="no algorithm in the protected"):
        decode_sign1(made).verify(key.public)


def test_what_is_critical_has_to_be_understood() -> None:
    key = KEYS[Algorithm.EDDSA]
    for critical, understood in (([HeaderLabel.KID], True), ([-70000], False), (["note"], False)):
        made = decode_sign1(sign1(b"x", key, protected={HeaderLabel.CRIT: critical}))
        if understood:
            assert made.verify(key.public) == b"x"
        else:
            with pytest.raises(SecurityError, match="critical"):
                made.verify(key.public)


@pytest.mark.parametrize("alg", [[1], {}, True, b"", None])
def test_a_key_for_what_is_no_algorithm_is_refused(alg: Value) -> None:
    octets = KEYS[Algorithm.EDDSA].public.cose_key()
    found = values.decode(octets, "")
    assert isinstance(found, Mapping)
    with pytest.raises(DecodeError):
        VerifyingKey.from_cose_key(values.encode({**found, KeyParameter.ALG: alg}))


def test_a_label_in_both_headers_is_a_mistake() -> None:
    with pytest.raises(LocalError):
        sign1(b"x", KEYS[Algorithm.EDDSA], protected={3: 0}, unprotected={3: 0})


@pytest.mark.parametrize(
    "alg", [Algorithm.HMAC_256_64, Algorithm.HMAC_256_256, Algorithm.HMAC_512_512]
)
def test_a_mac_holds_for_its_secret_and_content(alg: Algorithm) -> None:
    found = decode_mac0(mac0(b"x", b"s" * 32, alg, external_aad=b"a"))
    assert found.verify(b"s" * 32, external_aad=b"a") == b"x"
    for secret, aad in ((b"t" * 32, b"a"), (b"s" * 32, b"b")):
        with pytest.raises(SecurityError):
            found.verify(secret, external_aad=aad)
    with pytest.raises(SecurityError, match="no HMAC"):
        mac0(b"x", b"s", Algorithm.ES256)


def test_content_opens_with_its_key_only() -> None:
    for alg, size in ((Algorithm.A256GCM, 32), (Algorithm.CHACHA20_POLY1305, 32)):
        found = decode_encrypt0(encrypt0(b"x", b"k" * size, b"i" * 12, alg, external_aad=b"a"))
        assert found.open(b"k" * size, external_aad=b"a") == b"x"
        for secret, aad in ((b"l" * size, b"a"), (b"k" * size, b""), (b"k" * 16, b"a")):
            with pytest.raises(SecurityError):
                found.open(secret, external_aad=aad)
    for iv in (b"", b"i" * 11, b"i" * 16):
        with pytest.raises(SecurityError, match="IV"):
            encrypt0(b"x", b"k" * 32, iv)


@pytest.mark.parametrize("kem", ["MLKEM768-X25519", "X25519"])
def test_each_recipient_opens_and_nobody_else(kem: Any) -> None:
    keys = [HpkePrivateKey.generate(entropy, kem) for _ in range(3)]
    other = HpkePrivateKey.generate(entropy, "X25519" if kem != "X25519" else "MLKEM768-X25519")
    publics = [key.public for key in keys[:2]] + [other.public]
    made = encrypt_for(b"epoch 7", publics, entropy, external_aad=b"a", extra_info=b"i")
    found = decode_encrypt(made)
    for key in (*keys[:2], other):
        assert found.open(key, external_aad=b"a", extra_info=b"i") == b"epoch 7"
        for aad, info in ((b"b", b"i"), (b"a", b"j")):
            with pytest.raises(SecurityError):
                found.open(key, external_aad=aad, extra_info=info)
    with pytest.raises(SecurityError, match="not for the key at hand"):
        found.open(keys[2], external_aad=b"a", extra_info=b"i")


@pytest.mark.parametrize(("broken", "opens"), [({0, 1}, True), ({0}, False), ({1}, False)])
def test_whoever_breaks_one_half_of_a_hybrid_key_opens_nothing(
    broken: set[int], opens: bool
) -> None:
    """He has the other half of some key of his own, and all that is public."""
    key, own = (HpkePrivateKey.generate(entropy) for _ in range(2))
    halves = [(key if index in broken else own)._halves[index] for index in range(2)]
    attacker = HpkePrivateKey(own.kem, own.raw)
    vars(attacker).update(_halves=tuple(halves), public=key.public)
    made = decode_encrypt(encrypt_for(b"epoch 7", [key.public], entropy))
    if opens:
        assert made.open(attacker) == b"epoch 7"
    else:
        with pytest.raises(SecurityError):
            made.open(attacker)


@pytest.mark.parametrize("kem", ["MLKEM768-X25519", "X25519"])
def test_an_hpke_key_survives_its_forms(kem: Any) -> None:
    key = HpkePrivateKey.generate(entropy, kem)
    assert HpkePublicKey.from_cose_key(key.public.cose_key()) == key.public
    assert HpkePrivateKey(kem, key.raw).public == key.public
    assert key.raw.hex() not in repr(key)
    with pytest.raises(LocalError):
        HpkePrivateKey(kem, key.raw[1:])
    with pytest.raises(LocalError):
        HpkePublicKey(kem, key.public.raw[1:])
    with pytest.raises(DecodeError):
        HpkePublicKey.from_cose_key(values.encode({1: 2, -2: key.public.raw, -1: key.public.raw}))


def test_a_key_on_which_everybody_agrees_is_no_key() -> None:
    with pytest.raises(SecurityError):
        encrypt_for(b"x", [HpkePublicKey("X25519", bytes(32))], entropy)


def test_recipients_are_bounded() -> None:
    key = HpkePrivateKey.generate(entropy, "X25519").public
    for count in (0, RECIPIENTS_MAX + 1):
        with pytest.raises(LocalError):
            encrypt_for(b"x", [key] * count, entropy)


def test_few_keys_are_tried_for_whoever_names_nobody() -> None:
    mine, other = (HpkePrivateKey.generate(entropy, "X25519") for _ in range(2))
    whole = values.decode(encrypt_for(b"x", [mine.public], entropy)[2:], "")
    assert isinstance(whole, list)
    stranger = values.decode(encrypt_for(b"x", [other.public], entropy)[2:], "")
    assert isinstance(stranger, list)
    (theirs,) = stranger[3]
    nameless = [values.encode({1: Algorithm.HPKE_4_KE}), theirs[1], theirs[2]]
    for count, opens in ((TRIED_MAX - 1, True), (TRIED_MAX, False)):
        made = values.encode([*whole[:3], [nameless] * count + whole[3]])
        if opens:
            assert decode_encrypt(made).open(mine) == b"x"
        else:
            with pytest.raises(SecurityError):
                decode_encrypt(made).open(mine)


@settings(max_examples=40)
@given(st.data())
def test_decoders_read_what_is_right_and_refuse_what_breaks_a_rule(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(TAGS)))
    valid = data.draw(encoded_cose_messages(kind=kind))
    DECODERS[kind](valid)
    nearly: Nearly = data.draw(nearly_cose_messages(kind=kind))
    DECODERS[kind](nearly.valid)
    with pytest.raises(DecodeError):
        DECODERS[kind](nearly.encoded)


@settings(max_examples=60)
@given(st.data())
def test_decoders_raise_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(TAGS)))
    octets = data.draw(mutated(encoded_cose_messages(kind=kind)) | st.binary(max_size=40))
    for read in (*DECODERS.values(), VerifyingKey.from_cose_key, HpkePublicKey.from_cose_key):
        try:
            read(octets)
        except DecodeError:
            continue


@settings(max_examples=60)
@given(st.data())
def test_no_changed_octet_verifies(data: st.DataObject) -> None:
    alg = data.draw(st.sampled_from(SIGNING[:5]))
    made = bytearray(sign1(b"telemetry", KEYS[alg], protected={3: 42}, unprotected={4: b""}))
    at = data.draw(st.integers(0, len(made) - 1))
    made[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode_sign1(bytes(made)).verify(KEYS[alg].public)
    except (DecodeError, SecurityError):
        return
    assert found == b"telemetry"  # only the unprotected header may say something else
    assert decode_sign1(bytes(made)).headers.unprotected != {4: b""}


TREES = st.recursive(
    st.integers(-(1 << 64), (1 << 64) - 1) | st.binary(max_size=9) | st.text(max_size=9)
    | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.integers(-99, 99) | st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)  # fmt: skip


@settings(max_examples=60)
@given(TREES)
def test_values_survive_their_octets(value: Any) -> None:
    assert values.decode(values.encode(value), "") == value


def test_what_is_no_value_is_refused() -> None:
    for text in ("f93c00", "c000", "f7", "9fff", "a1f500", "a2010001ff", "0000", "", "f0", "1817"):
        with pytest.raises(DecodeError):
            values.decode(bytes.fromhex(text), "RFC 9052 §2")
    with pytest.raises(DecodeError):
        values.decode(b"\x81" * 40 + b"\x00", "RFC 9052 §2")
    with pytest.raises(LocalError):
        values.encode(1.5)  # type: ignore[arg-type]
