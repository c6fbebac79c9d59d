"""Certificates of nodes that break one rule of their profile (`stack.identity.certificate`), signed
by the right authority unless that is the rule.

All belong to one small domain, `domain()`; its keys are made of numbers, so that a case is the same
octets every time.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.violation import Nearly, Violation
from stack.core.eid import Eid
from stack.cose import HpkePrivateKey, HpkePublicKey
from stack.identity.authority import Authority
from stack.identity.certificate import NodeRequest, moment
from stack.identity.forms import BUNDLE_EID, FACTS, SEALED, sealed_extension
from stack.identity.trust import Trust, revocations_block

NOW_MS: Final = 850_000_000_000
"""DTN time at which the domain is, and every valid certificate of it holds."""

_UNKNOWN = x509.ObjectIdentifier("2.25.1")
IDS = ("dtn://sat1/", "ipn:5.0", "dtn://gs-1.example/", "ipn:977000.5.0")
LAWS = (("KR",), (), ("EU", "SE"), ("US-CA",))
ROLES = ((), ("relay",), ("compute", "relay"))
"""Of nodes that are right."""


@functools.lru_cache(maxsize=256)
def key(number: int) -> Ed25519PrivateKey:
    """A key that anybody can make again."""
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


@functools.lru_cache(maxsize=256)
def hpke_key(number: int) -> HpkePublicKey:
    """A key to seal to, likewise."""
    return HpkePrivateKey("X25519", number.to_bytes(32, "big")).public


@functools.cache
def _other_kind(number: int) -> EllipticCurvePublicKey:
    return derive_private_key(number, SECP256K1()).public_key()


@functools.lru_cache(maxsize=4)
def authority(name: str = "kari", number: int = 1) -> Authority:
    """The authority of a domain, whose key is made of a number."""
    return Authority.create(name, key(number), NOW_MS, 365)


def domain() -> Trust:
    """What nodes of the domain believe."""
    made = authority()
    trust = Trust(made.certificate)
    trust.learn([revocations_block(made.revocations(None, [], NOW_MS, 7))])
    return trust


@dataclass(frozen=True, slots=True)
class CertificateParts:
    """What a certificate is made of."""

    name: x509.Name
    key: object
    serial: int
    start: datetime.datetime
    end: datetime.datetime
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]
    issuer: x509.Name
    signer: Ed25519PrivateKey

    @staticmethod
    def of(one: x509.Certificate, signer: Ed25519PrivateKey) -> CertificateParts:
        """Of one that there is, to be signed anew."""
        dates = one.not_valid_before_utc, one.not_valid_after_utc
        parts = one.subject, one.public_key(), one.serial_number, *dates
        return CertificateParts(*parts, tuple(one.extensions), one.issuer, signer)

    def signed(self) -> x509.Certificate:
        """The certificate."""
        builder = x509.CertificateBuilder(
            self.issuer,
            self.name,
            self.key,  # type: ignore[arg-type]
            self.serial,
            self.start,
            self.end,
            list(self.extensions),
        )
        return builder.sign(self.signer, None)

    def encode(self) -> bytes:
        """In DER."""
        return self.signed().public_bytes(Encoding.DER)

    def having(self, extension: x509.ExtensionType, critical: bool = False) -> CertificateParts:
        """With another extension of its kind."""
        lacking = self.lacking(extension.oid)
        added = x509.Extension(extension.oid, critical, extension)
        return replace(lacking, extensions=(*lacking.extensions, added))

    def lacking(self, kind: x509.ObjectIdentifier) -> CertificateParts:
        """Without the extension of a kind."""
        kept = tuple(one for one in self.extensions if one.oid != kind)
        return replace(self, extensions=kept)


def node_certificate(choose: Choices) -> CertificateParts:
    """A valid one."""
    number = choose.integer(100, 200)
    like = _issued(choose.pick(IDS), choose.pick(LAWS), choose.pick(ROLES))
    public, sealed = _keys(number)
    return replace(like, key=public, serial=number, extensions=(*like.extensions, sealed))


@functools.cache
def _keys(number: int) -> tuple[object, x509.Extension[x509.ExtensionType]]:
    """What is a node's alone in its certificate."""
    sealed = sealed_extension(hpke_key(number))
    return key(number).public_key(), x509.Extension(sealed.oid, False, sealed)


@functools.cache
def _issued(node: str, laws: tuple[str, ...], roles: tuple[str, ...]) -> CertificateParts:
    """What authorities issue, but for what is a node's alone: there are 48."""
    asked = NodeRequest(
        Eid.parse(node), frozenset(), frozenset(), key(1).public_key(), hpke_key(1), b""
    )
    issued = authority().issue(asked, NOW_MS, 90, jurisdictions=laws, roles=roles)
    return CertificateParts.of(issued, key(1)).lacking(SEALED)


Break = Callable[[Choices, CertificateParts], CertificateParts]


def _with(make: Callable[[Choices], x509.ExtensionType], critical: bool = False) -> Break:
    return lambda choose, one: one.having(make(choose), critical)


def _without(oid: x509.ObjectIdentifier) -> Break:
    return lambda choose, one: one.lacking(oid)


def _private(oid: x509.ObjectIdentifier, *octets: bytes) -> Break:
    return _with(lambda choose: x509.UnrecognizedExtension(oid, choose.pick(octets)))


def _ia5(text: str) -> x509.OtherName:
    return x509.OtherName(BUNDLE_EID, asn1.encode_der(asn1.IA5String(text)))


def _names(*choices: Sequence[x509.GeneralName]) -> Break:
    return _with(lambda choose: x509.SubjectAlternativeName(choose.pick(choices)))


def _usage(*, sign: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, not sign, authority, authority, False, False)


def _named(*organizations: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations])


NO_NODE_ID = ([x509.UniformResourceIdentifier("dtn://sat1/")], [x509.DNSName("sat1")])
TWO_NODE_IDS = (
    [_ia5("dtn://sat1/"), _ia5("dtn://sat2/")], [_ia5("dtn://sat1/"), _ia5("dtn://sat1/")],
)  # fmt: skip
NO_NODES_ID = (
    [_ia5("dtn://sat1/files")], [_ia5("ipn:5.1")], [_ia5("dtn:none")], [_ia5("ipn:0.0")],
)  # fmt: skip
NO_EID = (
    [_ia5("sat1")], [_ia5("")], [_ia5("dtn:sat1")], [_ia5("ipn:5")], [_ia5("dtn://sat1/\x00")],
    [x509.OtherName(BUNDLE_EID, b"\x0c\x0bdtn://sat1/")],
)  # fmt: skip
"""Subject alternative names that are not one node id."""

NO_FACTS = (
    b"", b"\x05\x00", b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x04\x30\x00\x30\x00\x00",
    b"\x30\x08\x30\x04\x0c\x02kr\x30\x00", b"\x30\x08\x30\x00\x30\x04\x0c\x02a ",
)  # fmt: skip
"""What facts are not."""

NO_SEALED = (
    b"", b"\x30\x00", b"\x30\x06\x02\x01\x20\x04\x01\x00",
    b"\x30\x25\x02\x01\x7f\x04\x20" + bytes(32), b"\x30\x07\x02\x02\x64\x7a\x04\x01\x00",
)  # fmt: skip
"""What no key to seal to is."""

_DAY = datetime.timedelta(days=1)

RULES: tuple[tuple[str, str, Break], ...] = (
    ("RFC 5280 §4.1.2.5", "it has not expired", lambda choose, one: replace(
        one, end=moment(NOW_MS) - choose.integer(0, 60) * datetime.timedelta(seconds=1))),
    ("RFC 5280 §4.1.2.5", "its time has come", lambda choose, one: replace(
        one, start=moment(NOW_MS) + choose.integer(1, 60) * _DAY)),
    ("RFC 5280 §6.1.3", "its authority has signed it", lambda choose, one: replace(
        one, signer=key(choose.integer(2, 3)))),
    ("RFC 5280 §6.1.3", "it does not sign itself", lambda choose, one: replace(
        one, signer=key(2), issuer=one.name)),
    ("RFC 5280 §6.1.3", "its domain is trusted", lambda choose, one: replace(
        one, signer=key(2), issuer=authority("elsewhere", 2).certificate.subject,
        name=_named("elsewhere"))),
    ("RFC 5280 §6.1.3", "its domain is that of its authority", lambda choose, one: replace(
        one, name=_named(choose.pick(("elsewhere", "kar", "karl"))))),
    ("RFC 5280 §4.1.2.6", "it has one domain", lambda choose, one: replace(
        one, name=choose.pick((_named(), _named("kari", "kari"), _named("kari", "nasa"))))),
    ("RFC 5280 §4.2", "what is critical is known", _with(
        lambda choose: x509.UnrecognizedExtension(_UNKNOWN, b"\x05\x00"), critical=True)),
    ("RFC 5280 §4.2.1.9", "it is that of a node", _with(
        lambda choose: x509.BasicConstraints(True, choose.pick((None, 0, 1))), critical=True)),
    ("RFC 5280 §4.2.1.3", "it says for what its key is", _without(x509.KeyUsage.oid)),
    ("RFC 5280 §4.2.1.3", "its key is for signatures", _with(
        lambda choose: _usage(sign=False, authority=False), critical=True)),
    ("RFC 5280 §4.2.1.3", "its key is not for certificates", _with(
        lambda choose: _usage(sign=True, authority=True), critical=True)),
    ("RFC 9174 §4.4.2", "it is for bundles", lambda choose, one: choose.pick((
        _without(x509.ExtendedKeyUsage.oid),
        _with(lambda _: x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
    ))(choose, one)),
    ("RFC 9174 §4.4.2.1", "it has a node id", lambda choose, one: choose.pick((
        _without(x509.SubjectAlternativeName.oid), _names(*NO_NODE_ID),
    ))(choose, one)),
    ("RFC 9174 §4.4.2.1", "it has one node id", _names(*TWO_NODE_IDS)),
    ("RFC 9174 §4.4.2.1", "its id is that of a node", _names(*NO_NODES_ID)),
    ("RFC 9174 §4.4.2.1", "its id is an EID", _names(*NO_EID)),
    ("docs/identity.md", "it says under whose law it is", _without(FACTS)),
    ("docs/identity.md", "its facts are in order", _private(FACTS, *NO_FACTS)),
    ("docs/identity.md", "it has a key to seal to", _without(SEALED)),
    ("docs/identity.md", "its key to seal to is one", _private(SEALED, *NO_SEALED)),
    ("docs/identity.md", "its key is of a kind that is taken", lambda choose, one: replace(
        one, key=_other_kind(choose.integer(1, 9)))),
)  # fmt: skip
"""Where a rule stands, what it is, and what breaks it."""


@strategy
def nearly_certificates(
    choose: Choices, *, rules: Sequence[tuple[str, str, Break]] = RULES
) -> Nearly:
    """A node's certificate in DER, which `domain()` must not believe at `NOW_MS`, and the rule of
    `rules` that it breaks."""
    clause, words, breaks = choose.pick(rules)
    valid = node_certificate(choose)
    return Nearly(breaks(choose, valid).encode(), Violation(clause, words), valid.encode)


@strategy
def encoded_certificates(choose: Choices) -> bytes:
    """A node's certificate in DER, valid at `NOW_MS`."""
    return node_certificate(choose).encode()
