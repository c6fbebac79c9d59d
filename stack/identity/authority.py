"""The authority of a domain: what it signs.  No file is read or written here."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.cose import HpkePublicKey, SigningKey
from stack.identity.certificate import (
    NodeRequest,
    moment,
    read_authority,
    read_offer,
)
from stack.identity.forms import (
    BUNDLE_SECURITY,
    Terms,
    facts_extension,
    names_extension,
    node_name,
    read_names,
    sealed_extension,
    terms_extension,
)
from stack.identity.keys import SigningPrivateKey, SigningPublicKey, hash_for
from stack.identity.names import NameSpace
from stack.policy.directory import check_names

DAY: Final = datetime.timedelta(days=1)
SKEW: Final = datetime.timedelta(minutes=5)
"""Clocks of nodes may be behind that of the authority by so much."""

REVOCATIONS_MAX: Final = 50_000
"""Revoked certificates of a domain.  Those that have ended stay: whoever has such a key could else
vouch with it for the log of its node, of a time at which it held (docs/identity.md)."""


class Authority:
    """The authority of a domain.  Raises `SecurityError` for a certificate that is no authority's,
    or not of this key."""

    def __init__(self, certificate: x509.Certificate, key: SigningPrivateKey) -> None:
        self.domain = read_authority(certificate)
        if certificate.public_key() != key.public_key():
            raise SecurityError(f"domain {self.domain}: this is not its key")
        self.certificate = certificate
        self._key = key

    @property
    def signing_key(self) -> SigningKey:
        """What signs for the domain beside certificates."""
        return SigningKey(self._key)

    @classmethod
    def create(cls, domain: str, key: SigningPrivateKey, now_ms: int, days: int) -> Authority:
        """A new domain, whose authority signs itself.  Raises `ConfigError` for a name that is
        none."""
        check_domain(domain)
        name = _name(domain, "authority")
        builder = _authority_builder(name, name, key.public_key(), now_ms, days, path_length=1)
        return cls(builder.sign(key, hash_for(key)), key)

    def issue(
        self,
        request: NodeRequest,
        now_ms: int,
        days: int,
        *,
        jurisdictions: Iterable[str],
        roles: Iterable[str],
        former: x509.Certificate | None = None,
    ) -> x509.Certificate:
        """A node's certificate, with what the authority says of the node: its request is only what
        the node says of itself.  It is newer than the `former` one, also when both are made within
        a second.  Raises `ConfigError` for names that no policy could mean."""
        jurisdictions, roles = frozenset(jurisdictions), frozenset(roles)
        check_names("", jurisdictions, roles)
        name = _name(self.domain, str(request.node)[:64])
        builder = _extended(
            _builder(name, self.certificate.subject, request.public_key, now_ms, days, former),
            (x509.BasicConstraints(False, None), True),
            (_usage(authority=False), True),
            (x509.ExtendedKeyUsage([BUNDLE_SECURITY]), False),
            (node_name(request.node), False),
            (facts_extension(jurisdictions, roles), False),
            (sealed_extension(request.hpke), False),
            (self._key_id, False),
        )
        return builder.sign(self._key, hash_for(self._key))

    def revocations(
        self,
        previous: x509.CertificateRevocationList | None,
        serials: Iterable[int],
        now_ms: int,
        days: int,
        names: NameSpace | None = None,
        others: Iterable[x509.CertificateRevocationList] = (),
    ) -> x509.CertificateRevocationList:
        """The next revocation list (RFC 5280 §5): those of the `previous` one and of `others`, and
        these serial numbers; with the name space of the domain, `names` or what the previous one
        says.  Raises `SecurityError` for more than can be."""
        now, number = moment(now_ms), 1
        former = [*others] if previous is None else [previous, *others]
        entries: dict[int, x509.RevokedCertificate] = {}
        for listed in former:
            number = max(number, 1 + revocation_number(listed))
            for one in listed:
                known = entries.setdefault(one.serial_number, one)
                if one.revocation_date_utc < known.revocation_date_utc:
                    entries[one.serial_number] = one
        if previous is not None:
            names = read_names(previous.extensions) if names is None else names
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            entries.setdefault(serial, entry.build())
        if len(entries) > REVOCATIONS_MAX:
            raise SecurityError(
                f"more than {REVOCATIONS_MAX} certificates are revoked, and none leaves the list: "
                "let certificates end, or begin a new authority (docs/identity.md, the limit)"
            )
        builder = x509.CertificateRevocationListBuilder(
            self.certificate.subject, now - SKEW, now + days * DAY
        )
        builder = builder.add_extension(x509.CRLNumber(number), False)
        builder = builder.add_extension(self._key_id, False)
        if names:
            builder = builder.add_extension(names_extension(names), False)
        for one in entries.values():
            builder = builder.add_revoked_certificate(one)
        return builder.sign(self._key, hash_for(self._key))

    def offer(self, terms: Terms) -> bytes:
        """What domain `terms.to` may trust this one for, signed by this one: PKCS #10, DER."""
        builder = x509.CertificateSigningRequestBuilder(self.certificate.subject)
        signed = builder.add_extension(terms_extension(terms), True).sign(
            self._key, hash_for(self._key)
        )
        return signed.public_bytes(Encoding.DER)

    def federate(
        self,
        offer: bytes,
        terms: Terms,
        now_ms: int,
        days: int,
    ) -> x509.Certificate:
        """The certificate of another domain's authority (a cross-certificate), for `terms`, which
        may allow less than was offered.  Raises `SecurityError`, `ConfigError`."""
        domain, key, offered = read_offer(offer)
        check_terms(self.domain, domain, offered, terms)
        name, issuer = _name(domain, "authority"), self.certificate.subject
        builder = _authority_builder(name, issuer, key, now_ms, days, path_length=0)
        return builder.add_extension(terms_extension(terms), True).sign(
            self._key, hash_for(self._key)
        )

    @property
    def _key_id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def check_domain(name: str) -> None:
    """Raise `ConfigError` for a name that no domain can have."""
    if not name:
        raise ConfigError("domain", "has no name", "such as kari")
    check_names(name, (), ())


def check_terms(own: str, domain: str, offered: Terms, terms: Terms) -> None:
    """Raise where domain `own` is not to take `terms` of what `domain` has `offered`:
    `SecurityError` for an offer to another one, `ConfigError` for more than it says."""
    if domain == own or offered.to != own:
        raise SecurityError(f"domain {domain} offers this to domain {offered.to}, not to {own}")
    if not terms.within(offered):
        raise ConfigError("terms", f"more than domain {domain} offers", described(offered))


def make_request(
    node: Eid,
    key: SigningPrivateKey,
    hpke: HpkePublicKey,
    jurisdictions: Iterable[str],
    roles: Iterable[str],
) -> bytes:
    """PKCS #10 (RFC 2986), DER.  Raises `ConfigError` for names that no policy could mean."""
    jurisdictions, roles = frozenset(jurisdictions), frozenset(roles)
    check_names("", jurisdictions, roles)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(node)[:64])])
    builder = x509.CertificateSigningRequestBuilder(name)
    builder = builder.add_extension(node_name(node), False)
    builder = builder.add_extension(facts_extension(jurisdictions, roles), False)
    builder = builder.add_extension(sealed_extension(hpke), False)
    return builder.sign(key, hash_for(key)).public_bytes(Encoding.DER)


def revocation_number(revocations: x509.CertificateRevocationList) -> int:
    """The number of a list; the higher is the newer.  Raises `x509.ExtensionNotFound`."""
    number = revocations.extensions.get_extension_for_class(x509.CRLNumber)
    return number.value.crl_number


def described(terms: Terms) -> str:
    """Terms in words."""
    laws = ", ".join(sorted(terms.jurisdictions)) or "no jurisdiction"
    names = f", of ids in {terms.names}" if terms.names else ""
    return f"{', '.join(sorted(terms.purposes))} at nodes under {laws}{names}"


def _name(domain: str, node: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain),
            x509.NameAttribute(NameOID.COMMON_NAME, node),
        ]
    )


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    key: SigningPublicKey,
    now_ms: int,
    days: int,
    former: x509.Certificate | None = None,
) -> x509.CertificateBuilder:
    now = moment(now_ms)
    begins = now - SKEW
    if former is not None:  # of two the one that begins later counts, and seconds are all there is
        begins = max(begins, former.not_valid_before_utc + datetime.timedelta(seconds=1))
    builder = x509.CertificateBuilder(
        issuer, name, key, x509.random_serial_number(), begins, now + days * DAY
    )
    return _extended(builder, (x509.SubjectKeyIdentifier.from_public_key(key), False))


def _extended(
    builder: x509.CertificateBuilder, *extensions: tuple[x509.ExtensionType, bool]
) -> x509.CertificateBuilder:
    """With extensions, and whether they are critical."""
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder


def _authority_builder(
    name: x509.Name,
    issuer: x509.Name,
    key: SigningPublicKey,
    now_ms: int,
    days: int,
    path_length: int,
) -> x509.CertificateBuilder:
    return _extended(
        _builder(name, issuer, key, now_ms, days),
        (x509.BasicConstraints(True, path_length), True),
        (_usage(authority=True), True),
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
