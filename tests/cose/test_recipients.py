"""Recipients by shared secrets, key agreement and RSA: the examples of others, what opens and what
does not, and python-cwt at the other end."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.strategies import mutated
from interop.vectors import Vector, load
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.cose import (
    AgreedWith,
    AgreementPrivateKey,
    AgreementPublicKey,
    Algorithm,
    HeaderLabel,
    HpkePrivateKey,
    RsaPrivateKey,
    RsaPublicKey,
    SharedSecret,
    decode_encrypt,
    decode_mac,
    encrypt_for,
    fresh_for,
    mac_for,
    seal_to,
    values,
)
from stack.cose.kdf import derive, kdf_context
from stack.cose.messages import HeaderPair, make_headers, read_headers
from stack.cose.recipients import (
    Content,
    OpeningKey,
    Recipient,
    SealingKey,
    is_thumbprint,
    named,
    thumbprint,
)
from stack.cose.values import Value

VECTORS = load("cose")
DRAFT = {vector.name: vector for vector in load("bpsec_cose")}
CERTIFICATE = DRAFT["recipient of key agreement"].data
entropy = random.Random(9053).randbytes
AAD, OTHER, SALT = b"what stands beside it", b"of the application", bytes(range(16))
CURVES: dict[str, Callable[[], Any]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "X25519": x25519.X25519PrivateKey.generate,
}
STATIC = [alg for alg in Algorithm if alg.name.startswith("ECDH_SS")]
AGREEMENTS = [alg for alg in Algorithm if alg.name.startswith("ECDH_")]


def octets(vector: Vector, name: str) -> bytes:
    return bytes.fromhex(vector.extra[name])


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    p, q = (int(DRAFT[name].extra[factor], 16) for factor in "pq")
    d = rsa.rsa_recover_private_exponent(65537, p, q)
    public = rsa.RSAPublicNumbers(65537, p * q)
    parts = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key()


def rsa_of(bits: int) -> rsa.RSAPublicKey:
    """A public key of this size that is of nobody."""
    return rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()


RSA = rsa_key("COSE_Encrypt, RSAES-OAEP")
SENDER = ec.derive_private_key(7, ec.SECP384R1()).public_key()


def of_kind(kind: str) -> list[Vector]:
    return [vector for vector in VECTORS if vector.kind == kind]


# ---- examples of others ------------------------------------------------------------------------


@pytest.mark.parametrize("vector", of_kind("agreement"), ids=lambda vector: vector.name)
def test_what_others_have_agreed_upon_opens(vector: Vector) -> None:
    private, kid = octets(vector, "private"), octets(vector, "kid")
    key: Any = (
        x25519.X25519PrivateKey.from_private_bytes(private)
        if vector.extra["curve"] == "X25519"
        else ec.derive_private_key(int.from_bytes(private), ec.SECP521R1())
    )
    found = decode_encrypt(vector.data)
    sender = found.recipients[0].headers.get(HeaderLabel.EPHEMERAL_KEY)
    if isinstance(sender, dict):
        public = AgreementPublicKey.from_map(sender)
    else:
        raw = x25519.X25519PublicKey.from_public_bytes(octets(vector, "sender"))
        public = AgreementPublicKey(raw, octets(vector, "sender_kid"))
    mine = AgreementPrivateKey(key, kid, senders=(public,))
    assert mine.secret(public) == octets(vector, "shared")
    assert mine.key_for(found.recipients[0], Content(1, 16)) == octets(vector, "key")
    assert found.open(mine) == b"This is the content."


@pytest.mark.parametrize("vector", of_kind("kdf"), ids=lambda vector: vector.name)
def test_keys_derive_as_others_derive_them(vector: Vector) -> None:
    unprotected = values.decode(octets(vector, "unprotected"), "")
    headers = read_headers(octets(vector, "protected"), unprotected, "")
    other = octets(vector, "other") if "other" in vector.extra else None
    context = kdf_context(vector.extra["alg"], 16, headers, other)
    assert context == vector.data
    digest = {"SHA256": SHA256(), "SHA512": SHA512()}[vector.extra["hash"]]
    assert derive(octets(vector, "secret"), digest, headers, context, 16).hex() == vector.expect


# ---- what opens, and what does not ---------------------------------------------------------------


def agreement(curve: str, alg: Algorithm) -> tuple[SealingKey, OpeningKey, OpeningKey]:
    """For whom, who opens it, and who does not."""
    mine, stranger = AgreementPrivateKey(CURVES[curve]()), AgreementPrivateKey(CURVES[curve]())
    if alg not in STATIC:
        return AgreedWith(mine.public, fresh_for(mine.public, entropy), b"", alg), mine, stranger
    sender = AgreementPrivateKey(CURVES[curve](), b"sender")
    mine.senders = stranger.senders = (sender.public,)
    return AgreedWith(mine.public, sender, SALT, alg), mine, stranger


CASES: dict[str, tuple[SealingKey, OpeningKey, OpeningKey]] = {
    **{f"{alg.name} {curve}": agreement(curve, alg) for alg in AGREEMENTS for curve in CURVES},
    **{
        f"A{8 * size}KW": (
            SharedSecret("wrap", b"w" * size, b"kek"),
            SharedSecret("wrap", b"w" * size),
            SharedSecret("wrap", b"v" * size),
        )
        for size in (16, 24, 32)
    },
    "derived": (
        SharedSecret("derive", b"d" * 32, b"kdk", SALT),
        SharedSecret("derive", b"d" * 32, b"kdk"),
        SharedSecret("derive", b"e" * 32, b"kdk"),
    ),
    "direct": (
        SharedSecret("direct", b"c" * 32),
        SharedSecret("direct", b"c" * 32),
        SharedSecret("direct", b"e" * 32),
    ),
    "OAEP": (
        RsaPrivateKey(RSA).public,
        RsaPrivateKey(RSA),
        RsaPrivateKey(rsa_key("COSE_Sign1, RSA")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_opens_for_whom_it_is(name: str) -> None:
    for_whom, mine, stranger = CASES[name]
    message, sealed = seal_to(
        b"scene", [for_whom], entropy(32), entropy(12), external_aad=AAD, other=OTHER
    )
    found = decode_encrypt(message)
    assert found.ciphertext is None
    known: dict[str, Any] = {"external_aad": AAD, "other": OTHER, "ciphertext": sealed}
    assert found.open(mine, **known) == b"scene"
    bound = name != "OAEP" and name != "direct" and not name.startswith("A")
    for key, changed in (
        (stranger, known),
        (mine, {**known, "external_aad": b""}),
        (mine, {**known, "ciphertext": sealed[:-1] + bytes((sealed[-1] ^ 1,))}),
        *([(mine, {**known, "other": None}), (mine, {**known, "other": b""})] if bound else []),
    ):
        with pytest.raises(SecurityError):
            found.open(key, **changed)
    for other_name in ("derived", "direct", "A256KW", "OAEP", "ECDH_ES_HKDF_512 P-384"):
        if other_name != name:
            with pytest.raises(SecurityError):
                found.open(CASES[other_name][1], **known)


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("direct", "OAEP")])
def test_a_mac_holds_for_whom_it_is(name: str) -> None:
    for_whom, mine, stranger = CASES[name]
    for alg, size in ((Algorithm.HMAC_384_384, 48), (Algorithm.HMAC_512_512, 64)):
        made = mac_for(b"x", [for_whom], entropy(size), alg, external_aad=AAD, other=OTHER)
        found = decode_mac(made)
        assert found.verify(mine, external_aad=AAD, other=OTHER) == b"x"
        for key, aad in ((stranger, AAD), (mine, b"")):
            with pytest.raises(SecurityError):
                found.verify(key, external_aad=aad, other=OTHER)


def test_several_open_each_in_its_way() -> None:
    ways = [
        CASES[name] for name in ("A256KW", "OAEP", "ECDH_ES_A256KW P-384", "ECDH_SS_A256KW X25519")
    ]
    hpke = HpkePrivateKey.generate(entropy, "X25519")
    found = decode_encrypt(encrypt_for(b"x", [*(way[0] for way in ways), hpke.public], entropy))
    assert len(found.recipients) == 5
    for key in (*(way[1] for way in ways), hpke):
        assert found.open(key) == b"x"
    for _, _, stranger in ways:
        with pytest.raises(SecurityError):
            found.open(stranger)


@pytest.mark.parametrize("name", ["derived", "direct", "ECDH_ES_HKDF_512 P-384"])
def test_who_makes_the_key_of_the_content_is_alone(name: str) -> None:
    """RFC 9052 §8.5: the others could not have it."""
    direct, wrapped = CASES[name][0], CASES["A256KW"][0]
    with pytest.raises(LocalError, match="one recipient"):
        seal_to(b"x", [direct, wrapped], entropy(32), entropy(12))
    parts: list[Any] = [values.decode(seal_to(b"x", [one], entropy(32), entropy(12))[0], "")
             for one in (direct, wrapped)]  # fmt: skip
    made = [*parts[0][:3], parts[0][3] + parts[1][3]]
    with pytest.raises(DecodeError):
        decode_encrypt(values.encode(made))
    sent: Any = values.decode(seal_to(b"x", [direct], entropy(32), entropy(12))[0], "")
    sent[3][0][2] = b"key"
    with pytest.raises(DecodeError):
        decode_encrypt(values.encode(sent))


@pytest.mark.parametrize("name", ["A256KW", "derived", "ECDH_ES_A256KW P-384"])
def test_a_recipient_has_no_recipients(name: str) -> None:
    """Two layers are all that there is."""
    message, _ = seal_to(b"x", [CASES[name][0]], entropy(32), entropy(12))
    parts: Any = values.decode(message, "")
    (recipient,) = parts[3]
    decode_encrypt(values.encode(parts))
    for more in ([recipient], []):
        with pytest.raises(DecodeError):
            decode_encrypt(values.encode([*parts[:3], [[*recipient, more]]]))


def changed(name: str, change: Callable[[dict[Any, Any], dict[Any, Any]], object]) -> None:
    """Whether something opens when the headers of its recipient have been changed."""
    for_whom, mine, _ = CASES[name]
    message, sealed = seal_to(b"x", [for_whom], entropy(32), entropy(12))
    parts: Any = values.decode(message, "")
    (recipient,) = parts[3]
    protected = values.decode(recipient[0], "") if recipient[0] else {}
    change(protected, recipient[1])  # type: ignore[arg-type]
    recipient[0] = values.encode(protected) if protected else b""
    decode_encrypt(values.encode(parts)).open(mine, ciphertext=sealed)


SALTS: tuple[Value, ...] = (b"", b"other", 7, "text", [])


@pytest.mark.parametrize("salt", SALTS)
def test_a_salt_is_what_it_was(salt: Value) -> None:
    for name in ("derived", "ECDH_SS_HKDF_512 P-384", "ECDH_SS_A128KW X25519"):
        changed(name, lambda _, headers: headers)
        with pytest.raises(SecurityError):
            changed(name, lambda _, headers: headers.update({HeaderLabel.SALT: salt}))
        with pytest.raises(SecurityError):
            changed(name, lambda _, headers: headers.pop(HeaderLabel.SALT))
    if salt != b"":  # as none: HKDF fills it up with zeros
        with pytest.raises(SecurityError):
            changed("ECDH_ES_HKDF_512 P-256", lambda _, h: h.update({HeaderLabel.SALT: salt}))


@pytest.mark.parametrize("label", [*range(-26, -20)])
@pytest.mark.parametrize("value", [b"x", 7, "text", [], True])
def test_what_is_said_of_the_parties_is_bound(label: int, value: Value) -> None:
    for name in ("derived", "ECDH_ES_HKDF_256 X25519", "ECDH_ES_A256KW P-521"):
        with pytest.raises(SecurityError):
            changed(name, lambda _, headers: headers.update({label: value}))


def test_derived_keys_of_a_lasting_secret_differ() -> None:
    """A nonce of the sender's does what a salt does (RFC 9053 §6.1.2)."""
    headers = HeaderPair({HeaderLabel.ALG: -11}, {HeaderLabel.PARTY_U_NONCE: 7}, b"\xa1\x01\x2a")
    assert b"\x07" in kdf_context(3, 32, headers)
    keys = set()
    for salt in (SALT, b"s", bytes(16)):
        secret = SharedSecret("derive", b"d" * 32, salt=salt)
        keys.add(secret.recipient(Content(Algorithm.A256GCM, 32), b"")[1])
    assert len(keys) == 3
    mine = AgreementPrivateKey(CURVES["P-384"](), b"k", senders=(AgreementPublicKey(SENDER, b"s"),))
    content = Content(Algorithm.A256GCM, 32)
    lasting: list[tuple[OpeningKey, Algorithm, bytes]] = [
        (SharedSecret("derive", b"d" * 32), Algorithm.DIRECT_HKDF_SHA_512, b"d" * 32),
        (mine, Algorithm.ECDH_SS_HKDF_512, mine.secret(mine.senders[0])),
    ]
    for key, alg, secret_ in lasting:
        for salt_, opens in ((SALT, True), (b"", False), (None, False)):
            headers = make_headers({HeaderLabel.ALG: alg}, {HeaderLabel.STATIC_KEY_ID: b"s"})
            if salt_ is not None:
                headers.unprotected[HeaderLabel.SALT] = salt_  # type: ignore[index]
            context = kdf_context(content.alg, content.size, headers)
            made = derive(secret_, SHA512(), headers, context, content.size)
            if opens:
                assert key.key_for(Recipient(headers, b""), content) == made
            else:
                with pytest.raises(SecurityError, match="without salt"):
                    key.key_for(Recipient(headers, b""), content)


BAD_KEYS: list[Value] = [
    {}, {1: 2}, {1: 2, -1: 2}, {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)},
    {1: 2, -1: 2, -2: bytes(48), -3: bytes(48)}, {1: 2, -1: 2, -2: b"x", -3: b"y"},
    {1: 1, -1: 4, -2: bytes(32)}, {1: 1, -1: 6, -2: bytes(32)}, {1: 4, -1: b"k"}, b"key", 7,
    {1: 2, -1: 9, -2: bytes(48), -3: bytes(48)}, {1: 2, -1: 2, -2: bytes(48), -3: 7},
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
def test_a_sender_has_a_key_on_the_curve(key: Value) -> None:
    for curve in ("P-384", "X25519"):
        for alg in ("ECDH_ES_HKDF_512", "ECDH_ES_A256KW"):
            with pytest.raises(SecurityError):
                changed(f"{alg} {curve}", lambda _, h: h.update({HeaderLabel.EPHEMERAL_KEY: key}))
        name = f"ECDH_SS_HKDF_512 {curve}"
        with pytest.raises(SecurityError):
            changed(name, lambda _, headers: headers.update({HeaderLabel.STATIC_KEY: key}))


def test_a_static_sender_is_known_or_sends_his_key() -> None:
    name = "ECDH_SS_HKDF_512 P-384"
    with pytest.raises(SecurityError):
        changed(name, lambda _, headers: headers.update({HeaderLabel.STATIC_KEY_ID: b"else"}))
    with pytest.raises(SecurityError):
        changed(name, lambda _, headers: headers.pop(HeaderLabel.STATIC_KEY_ID))
    (sender,) = CASES[name][1].senders  # type: ignore[attr-defined]

    def sent(_: object, headers: dict[Any, Any]) -> None:
        del headers[HeaderLabel.STATIC_KEY_ID]
        headers[HeaderLabel.STATIC_KEY] = sender.as_map()

    changed(name, sent)


@pytest.mark.parametrize("static", [False, True])
def test_keys_are_named_by_certificates(static: bool) -> None:
    """RFC 9360: by thumbprint, or the certificate itself, of recipient and sender."""
    mine = AgreementPrivateKey(CURVES["P-384"](), b"", CERTIFICATE)
    sender = AgreementPrivateKey(CURVES["P-384"](), b"", CERTIFICATE[:-1])
    mine.senders = (sender.public,)
    alg = Algorithm.ECDH_SS_HKDF_512 if static else Algorithm.ECDH_ES_HKDF_512
    message, sealed = seal_to(
        b"x", [AgreedWith(mine.public, sender, SALT, alg)], entropy(32), entropy(12)
    )
    parts: Any = values.decode(message, "")
    headers = parts[3][0][1]
    assert headers[HeaderLabel.X5T] == thumbprint(CERTIFICATE)
    assert HeaderLabel.KID not in headers

    def opened(**more: Any) -> bytes:
        return decode_encrypt(values.encode(parts)).open(mine, ciphertext=sealed, **more)

    assert opened() == b"x"
    chains: list[Value] = [CERTIFICATE, [CERTIFICATE], [CERTIFICATE, b"issuer"]]
    for chain in chains:
        headers.pop(HeaderLabel.X5T, None)
        headers[HeaderLabel.X5CHAIN] = chain
        assert opened() == b"x"
        if static:
            headers.pop(HeaderLabel.X5T_SENDER, None)
            headers[HeaderLabel.X5CHAIN_SENDER] = CERTIFICATE[:-1]
            assert opened() == b"x"
    wrong: list[Value] = [[CERTIFICATE[:-1], CERTIFICATE], [], 7, b""]
    for chain in wrong:
        headers[HeaderLabel.X5CHAIN] = chain
        with pytest.raises(SecurityError):
            opened()
    del headers[HeaderLabel.X5CHAIN]
    assert opened() == b"x"  # nobody is named: it may be for anybody
    with pytest.raises(SecurityError):
        opened(additional={HeaderLabel.X5T: thumbprint(b"another")})
    headers[HeaderLabel.X5T] = thumbprint(CERTIFICATE)
    assert opened(additional={HeaderLabel.X5T: thumbprint(b"another")}) == b"x"


def test_a_key_with_a_name_opens_what_is_for_that_name() -> None:
    for key_id, opens in ((b"kdk", True), (b"", True), (b"other", False)):
        key = SharedSecret("derive", b"d" * 32, key_id)
        message, sealed = seal_to(b"x", [CASES["derived"][0]], entropy(32), entropy(12))
        if opens:
            assert decode_encrypt(message).open(key, ciphertext=sealed) == b"x"
        else:
            with pytest.raises(SecurityError, match="not for the key at hand"):
                decode_encrypt(message).open(key, ciphertext=sealed)


def test_thumbprints_of_every_hash() -> None:
    lengths = {-15: 8, -16: 32, -17: 32, -43: 48, -44: 64}
    assert is_thumbprint(thumbprint(CERTIFICATE), CERTIFICATE)
    whole: Any = thumbprint(CERTIFICATE)
    assert is_thumbprint([-15, whole[1][:8]], CERTIFICATE)
    for alg, size in lengths.items():
        assert not is_thumbprint([alg, bytes(size)], CERTIFICATE)
    others: list[Value] = [
        [-14, whole[1]],
        ["-16", whole[1]],
        whole[1],
        [-16],
        [-16, whole[1], 0],
        {},
    ]
    for value in others:
        assert not is_thumbprint(value, CERTIFICATE)
    assert named(b"", b"") == {}


def test_no_key_of_another_kind_serves() -> None:
    with pytest.raises(LocalError):
        AgreementPublicKey(ec.generate_private_key(ec.SECP256K1()).public_key())
    with pytest.raises(LocalError):
        AgreementPrivateKey(RSA)  # type: ignore[arg-type]
    with pytest.raises(LocalError):
        RsaPublicKey(rsa_of(1024))
    with pytest.raises(LocalError):
        SharedSecret("wrap", bytes(20))
    for key in (AgreementPrivateKey(CURVES["P-384"]()), RsaPrivateKey(RSA)):
        assert len(repr(key)) < 60
    assert "secret" not in repr(SharedSecret("wrap", b"secret-secret-16"))


@settings(max_examples=80)
@given(st.data())
def test_nothing_but_two_errors_comes_of_changed_octets(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CASES)))
    for_whom, mine, _ = CASES[name]
    message, sealed = seal_to(b"x", [for_whom], bytes(32), bytes(12))
    try:
        found = decode_encrypt(data.draw(mutated(st.just(message))))
        assert found.open(mine, ciphertext=sealed) == b"x"
    except (DecodeError, SecurityError):
        pass
