"""Certificates in the key file: when they hold, who has signed them, and what both ends say of one
that does not hold."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from stack.core.errors import ConfigError, SecurityError
from stack.cose import AgreementPrivateKey, AgreementPublicKey
from stack.identity.certificate import milliseconds
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.security import BpSec, Key, KeyRing, SecurityPolicy, load_keys
from stack.security.pinned import OutOfDate, Period
from stack.security.reasons import FAILED
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    Bundle,
    decode_bundle,
)
from tests.cose.test_recipients import rsa_key
from tests.security.test_bpsec_cose import VECTORS
from tests.security.test_cose_examples import on_p384
from tests.security.test_cose_keys import SHARED, pem_of, rules_for, taking
from tests.security.test_rules import EXIT, FAR, GATE, passed, plain

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
FROM, UNTIL = milliseconds(BEGIN), milliseconds(END)
AUTHORITY, OTHER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (5, 6))
KEYS: dict[str, Callable[[], Any]] = {
    "P-384": lambda: ec.derive_private_key(7, ec.SECP384R1()),
    "X25519": lambda: x25519.X25519PrivateKey.from_private_bytes(bytes(range(32))),
    "RSA": lambda: rsa_key("COSE_Encrypt, RSAES-OAEP"),
}


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    public: Any,
    *,
    begin: datetime.datetime = BEGIN,
    end: datetime.datetime = END,
    by: Any = AUTHORITY,
    issuer: str = "authority",
    subject: str = "exit",
    authority: bool = False,
) -> bytes:
    """In PEM."""
    builder = x509.CertificateBuilder(name(issuer), name(subject), public, 5, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


def root(key: Any = AUTHORITY, **changes: Any) -> bytes:
    """The certificate of an authority."""
    return certificate(key.public_key(), **{"subject": "authority", "authority": True, **changes})


class Folder:
    """A key file, and the files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""

    def write(self, file: str, octets: bytes) -> None:
        (self.path / file).write_bytes(octets)
        (self.path / file).chmod(0o600)

    def key(self, kind: str, octets: bytes, more: str = "") -> None:
        """Another key, from a file with these octets."""
        number = self.text.count("[[key]]")
        self.write(f"{number}.pem", octets)
        self.text += (
            f'[[key]]\nid = "exit{number}"\nkind = "cose-encrypt-{kind}"\nfile = "{number}.pem"\n'
            f"{more}\n"
        )

    def keys(self) -> tuple[Key, ...]:
        self.write("keys.toml", self.text.encode())
        return load_keys(self.path / "keys.toml").keys


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Clock:
    """The time of both ends."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def node(self, own: str, keys: tuple[Key, ...], *rules: Any) -> BpSec:
        counter = itertools.count(1)
        return BpSec(
            KeyRing((*SHARED, *keys), own, now_ms=lambda: self.now_ms),
            lambda count: next(counter).to_bytes(count, "big"),
            SecurityPolicy(rules=rules),
        )


def ends(folder: Folder, kind: str, clock: Clock) -> tuple[BpSec, BpSec]:
    """A gateway that encrypts for the certificate of another, and that one."""
    key = KEYS[kind]()
    pinned = certificate(key.public_key())
    folder.key("public", pinned)
    public = folder.keys()
    folder.text = ""
    folder.key("private", pem_of(key) + pinned)
    rules = rules_for("P-384")
    return clock.node(GATE, public, *rules), clock.node(EXIT, folder.keys(), *taking(rules))


@pytest.mark.parametrize("kind", KEYS)
def test_a_certificate_is_used_from_its_first_moment_until_before_its_last(
    folder: Folder, kind: str
) -> None:
    clock = Clock(FROM)
    makes, opens = ends(folder, kind, clock)
    secured = passed(makes, plain())
    for clock.now_ms in (FROM, UNTIL - 1):
        assert secured.bundle is not None, secured.failure
        assert passed(opens, secured.bundle).ok
        secured = passed(makes, plain())
    for clock.now_ms, words in (
        (0, "holds from 2026-01-01T00:00:00Z"),
        (FROM - 1, "holds from 2026-01-01T00:00:00Z until 2026-03-01T12:00:00Z only"),
        (UNTIL, "held from 2026-01-01T00:00:00Z until 2026-03-01T12:00:00Z: take a newer one"),
    ):
        with pytest.raises(OutOfDate, match=words) as raised:
            makes.secure(plain())
        assert raised.value.period == Period(FROM, UNTIL)
        assert secured.bundle is not None
        opened = passed(opens, secured.bundle)
        assert (opened.bundle, opened.reason) == (None, FAILED)
        assert words in opened.failure
        assert "key exit0" in opened.failure


def test_a_bundle_with_a_label_is_under_the_same_clock(folder: Folder) -> None:
    clock = Clock(FROM)
    key = KEYS["X25519"]()
    folder.key("public", certificate(key.public_key()))
    makes = clock.node(GATE, folder.keys(), *rules_for("P-384", ""))
    own = plain(source=GATE + "app")
    labelled = Bundle(own.primary, (policy_block(DataPolicy(), number=3, crc_type=2), *own.blocks))
    makes.protect(labelled)
    clock.now_ms = UNTIL
    with pytest.raises(OutOfDate):
        makes.protect(labelled)


def test_a_key_without_a_certificate_has_no_end(folder: Folder) -> None:
    key = KEYS["P-384"]()
    folder.key("private", pem_of(key))
    (own,) = folder.keys()
    assert own.period is None
    assert KeyRing([own]).refusal(own) is None


def test_a_newer_certificate_takes_the_place_of_one_that_has_ended(folder: Folder) -> None:
    clock = Clock(UNTIL)
    old, new = (ec.derive_private_key(number, ec.SECP384R1()) for number in (7, 8))
    later = END + datetime.timedelta(days=60)
    folder.key("public", certificate(old.public_key()))
    newer = certificate(new.public_key(), begin=END, end=later)
    folder.key("public", newer)
    makes = clock.node(GATE, folder.keys(), *rules_for("P-384"))
    folder.text = ""
    folder.key("private", pem_of(new) + newer)
    opens = clock.node(EXIT, folder.keys(), *taking(rules_for("P-384")))
    secured = passed(makes, plain()).bundle
    assert secured is not None
    assert passed(opens, secured).ok
    clock.now_ms = milliseconds(later)
    with pytest.raises(OutOfDate, match="until 2026-04-30T12:00:00Z"):  # it tells of the newest
        makes.secure(plain())


def test_what_does_not_open_for_another_reason_says_nothing_of_certificates(
    folder: Folder,
) -> None:
    clock = Clock(FROM)
    makes, opens = ends(folder, "P-384", clock)
    secured = passed(makes, plain()).bundle
    assert secured is not None
    broken = Bundle(replace(secured.primary, sequence=6, encoded=None), secured.blocks)
    assert "certificate" not in passed(opens, broken).failure
    folder.text = ""
    other = ec.derive_private_key(9, ec.SECP384R1())
    folder.key("private", pem_of(other) + certificate(other.public_key()))
    clock.now_ms = UNTIL
    stranger = clock.node(EXIT, folder.keys(), *taking(rules_for("P-384")))
    assert "certificate" not in passed(stranger, secured).failure


@pytest.mark.parametrize(("period", "told"), [(Period(0, 5), False), (Period(1, 5), True)])
def test_the_static_key_of_a_sender_is_used_while_its_certificate_holds(
    period: Period, told: bool
) -> None:
    """Of the examples of the draft; the clock is at 0."""
    example = "COSE_Encrypt, ECDH-SS + HKDF-512"
    known = VECTORS[example].extra
    mine = AgreementPrivateKey(on_p384(known["private"]), bytes.fromhex(known["kid"]))
    sender = on_p384(known["sender_private"]).public_key()
    public = AgreementPublicKey(sender, bytes.fromhex(known["sender_kid"]))
    keys = [
        Key("own", "cose-encrypt-private", b"own", encryption=mine),
        Key("s", "cose-encrypt-public", b"s", ("dtn://src/",), encryption=public, period=period),
    ]
    bundle = decode_bundle(VECTORS[example].data)[0]
    blocks = tuple(  # its BCB may be left out of fragments, against RFC 9172 §3.8
        replace(one, flags=1, encoded=None) if one.type == BLOCK_CONFIDENTIALITY else one
        for one in bundle.blocks
    )
    node = BpSec(
        KeyRing(keys, "dtn://dst/"), lambda count: bytes(count), SecurityPolicy(require=False)
    )
    failure = node.open(Bundle(bundle.primary, blocks)).failure
    assert ("the certificate of key s holds from" in failure) == told
    assert ("not signed it" in failure) != told


# ---- issuers ----------------------------------------------------------------------------------


ISSUER = 'issuer = "authority.pem"'


def test_an_issuer_that_is_named_has_to_have_signed_it(folder: Folder) -> None:
    key = KEYS["P-384"]()
    for own in (certificate(key.public_key()), pem_of(key) + certificate(key.public_key())):
        folder.text = ""
        folder.key("private" if b"PRIVATE" in own else "public", own, ISSUER)
        folder.write("authority.pem", root())
        assert folder.keys()[0].period == Period(FROM, UNTIL)
        for octets, words in (
            (root(OTHER, by=OTHER), "not signed by the issuer"),
            (root(subject="somebody"), "not signed by the issuer"),
            (root(authority=False), "may sign no certificates"),
            (b"nothing", "no key in PEM"),
        ):
            folder.write("authority.pem", octets)
            with pytest.raises(ConfigError, match=words) as raised:
                folder.keys()
            assert raised.value.key.endswith("key[0].file")


def test_no_certificate_outlives_its_issuer(folder: Folder) -> None:
    key, soon = KEYS["P-384"](), BEGIN + datetime.timedelta(days=1)
    folder.key("public", certificate(key.public_key()), ISSUER)
    folder.write("authority.pem", root(end=soon))
    (one,) = folder.keys()
    assert one.period == Period(FROM, milliseconds(soon))
    clock = Clock(milliseconds(soon))
    makes = clock.node(FAR, (replace(one, peers=("*",)),), *rules_for("P-384"))
    with pytest.raises(SecurityError, match="until 2026-01-02T00:00:00Z"):
        makes.secure(plain())


def test_an_issuer_is_of_a_certificate(folder: Folder) -> None:
    folder.write("authority.pem", root())
    folder.key("private", pem_of(KEYS["P-384"]()), ISSUER)
    with pytest.raises(ConfigError, match="there is no certificate"):
        folder.keys()
    folder.text = f'[[key]]\nid = "k"\nkind = "kdk"\nsecret = "{bytes(32).hex()}"\n{ISSUER}\n'
    with pytest.raises(ConfigError, match="have no certificate") as raised:
        folder.keys()
    assert raised.value.key.endswith("key[0].issuer")


def test_keys_beside_an_identity_stay_when_its_epochs_change(folder: Folder) -> None:
    folder.key("private", pem_of(KEYS["X25519"]()))
    ring = KeyRing(SHARED, FAR, lasting=folder.keys())
    ring.change(())
    assert [key.id for key in ring.keys] == ["exit0"]
