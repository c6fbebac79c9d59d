"""Certificates, requests and revocation lists, read and held against their profile.

The profile is small, so that there is little to get wrong: version 3; signed by P-256, P-384,
Ed25519 or ML-DSA; a key usage; no critical extension but those named here.  A node's certificate
has one NODE-ID (RFC 9174 §4.4.2.1), the purpose id-kp-bundleSecurity, its domain as organization,
Facts and a key to seal to.
Whatever comes from outside raises `SecurityError` and nothing else.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from stack.core.clock import DTN_EPOCH_UNIX_S, dtn_from_unix
from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, LocalError, SecurityError
from stack.cose import HpkePublicKey, VerifyingKey
from stack.identity.forms import (
    BUNDLE_SECURITY,
    FACTS,
    SEALED,
    TERMS,
    Terms,
    read_facts,
    read_node_name,
    read_sealed,
    read_terms,
)
from stack.identity.keys import SigningPublicKey, check_public, public_octets
from stack.policy.directory import NodeFacts, check_names

CERTIFICATE_BYTES_MAX: Final = 32 * 1024
"""ML-DSA-87 twice, and all else."""

T = TypeVar("T")

_KNOWN: Final = frozenset(
    (
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
        TERMS,
    )
)
"""Extensions that may be critical."""

_WORDS: Final = {
    x509.BasicConstraints.oid: "basic constraints",
    x509.KeyUsage.oid: "key usage",
    x509.ExtendedKeyUsage.oid: "purpose (id-kp-bundleSecurity)",
    x509.SubjectAlternativeName.oid: "node id",
    x509.CRLNumber.oid: "number",
    FACTS: "word on jurisdictions and roles",
    SEALED: "key to seal to",
    TERMS: "terms of a federation",
}

_FAULTS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a certificate says that a node is; once `Trust.verify` has returned it, who it is."""

    facts: NodeFacts
    certificate: x509.Certificate
    public_key: SigningPublicKey
    hpke: HpkePublicKey

    @property
    def verifying_key(self) -> VerifyingKey:
        """What verifies its signatures."""
        return VerifyingKey(self.public_key)

    @property
    def fingerprint(self) -> str:
        """Of the certificate: SHA-256, hexadecimal."""
        return fingerprint(self.certificate)


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """A node that asks to be taken into a domain: all of it is what the node says of itself."""

    node: Eid
    jurisdictions: frozenset[str]
    roles: frozenset[str]
    public_key: SigningPublicKey
    hpke: HpkePublicKey
    octets: bytes

    @property
    def fingerprint(self) -> str:
        """Of the node's public key: SHA-256, hexadecimal."""
        return key_fingerprint(self.public_key)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Whatever is wrong with it ends as a `SecurityError` that names it."""
    try:
        yield
    except SecurityError as error:
        raise SecurityError(f"{what}: {error}") from None
    except InvalidSignature:
        raise SecurityError(f"{what}: the signature is wrong") from None
    except x509.ExtensionNotFound as error:
        name = _WORDS.get(error.oid, f"extension {error.oid.dotted_string}")
        raise SecurityError(f"{what}: it has no {name}") from None
    except (ConfigError, DecodeError, LocalError) as error:
        raise SecurityError(f"{what}: {error}") from None
    except _FAULTS as error:  # in words of the library, which are not for people
        raise SecurityError(f"{what}: not well formed ({type(error).__name__})") from None


def moment(dtn_ms: int) -> datetime.datetime:
    """A time as certificates have it, whole seconds."""
    return datetime.datetime.fromtimestamp(dtn_ms // 1000 + DTN_EPOCH_UNIX_S, datetime.UTC)


def milliseconds(when: datetime.datetime) -> int:
    """DTN time of a time in a certificate."""
    return dtn_from_unix(when.timestamp())


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_fingerprint(key: SigningPublicKey) -> str:
    """SHA-256 of a public key, hexadecimal."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_octets(key))
    return digest.finalize().hex()


def domain_of(name: x509.Name) -> str:
    """The domain in a name: its one organization.  Raises `SecurityError`."""
    with refused("name of a domain"):
        found = [one.value for one in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        if len(found) != 1 or not isinstance(found[0], str) or not found[0]:
            raise SecurityError("not one organization")
        check_names(found[0], (), ())
        return found[0]


def load_certificate(octets: bytes) -> x509.Certificate:
    """A certificate from DER; nothing of it is checked.  Raises `SecurityError`."""
    return _load("certificate", octets, CERTIFICATE_BYTES_MAX, x509.load_der_x509_certificate)


def load_revocations(octets: bytes) -> x509.CertificateRevocationList:
    """A revocation list from DER.  Raises `SecurityError`."""
    return _load("revocation list", octets, 1 << 22, x509.load_der_x509_crl)


def _load(what: str, octets: bytes, most: int, load: Callable[[bytes], T]) -> T:
    with refused(what):
        if len(octets) > most:
            raise SecurityError(f"{len(octets)} octets")
        return load(octets)


def read_request(octets: bytes) -> NodeRequest:
    """A node's request.  Raises `SecurityError`."""
    csr = load_request(octets)
    with refused("request"):
        extensions = csr.extensions
        jurisdictions, roles = read_facts(_private(extensions, FACTS))
        check_names("", jurisdictions, roles)
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return NodeRequest(
            read_node_name(names),
            jurisdictions,
            roles,
            check_public(csr.public_key()),
            _hpke(extensions),
            octets,
        )


def renewal(node: Principal) -> NodeRequest:
    """What a node would ask for again: a new certificate for its old key and facts."""
    facts = node.facts
    return NodeRequest(
        facts.id, facts.jurisdictions, facts.roles, node.public_key, node.hpke, octets=b""
    )


def load_request(octets: bytes) -> x509.CertificateSigningRequest:
    """A request that its own key has signed.  Raises `SecurityError`."""
    csr = _load("request", octets, CERTIFICATE_BYTES_MAX, x509.load_der_x509_csr)
    with refused("request"):
        check_public(csr.public_key())
        if not csr.is_signature_valid:
            raise SecurityError("the signature is wrong")
    return csr


def read_offer(octets: bytes) -> tuple[str, SigningPublicKey, Terms]:
    """What another domain offers: its name, its key, and for what it may be trusted.  Raises
    `SecurityError`."""
    csr = load_request(octets)
    with refused("offer"):
        return domain_of(csr.subject), check_public(csr.public_key()), _terms(csr.extensions)


def read_node(certificate: x509.Certificate) -> Principal:
    """What a certificate says of a node; who has signed it is not looked at.  Raises
    `SecurityError`."""
    with refused("certificate of a node"):
        extensions = _extensions(certificate)
        constraints = _optional(extensions, x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        if (constraints and constraints.ca) or usage.key_cert_sign or usage.crl_sign:
            raise SecurityError("that of an authority")
        if not usage.digital_signature:
            raise SecurityError("not for signatures")
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if BUNDLE_SECURITY not in purposes:
            raise SecurityError("not for bundles (id-kp-bundleSecurity)")
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        jurisdictions, roles = read_facts(_private(extensions, FACTS))
        check_names("", jurisdictions, roles)
        facts = NodeFacts(
            read_node_name(names), domain_of(certificate.subject), jurisdictions, roles
        )
        key = check_public(certificate.public_key())
        return Principal(facts, certificate, key, _hpke(extensions))


def read_authority(certificate: x509.Certificate) -> str:
    """The domain of which it is the authority.  Raises `SecurityError`."""
    with refused("certificate of an authority"):
        extensions = _extensions(certificate)
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        if not (constraints.ca and usage.key_cert_sign and usage.crl_sign):
            raise SecurityError("not that of an authority")
        check_public(certificate.public_key())
    return domain_of(certificate.subject)


def read_cross(certificate: x509.Certificate) -> tuple[str, Terms]:
    """The other domain, and what it is trusted for.  Raises `SecurityError`."""
    domain = read_authority(certificate)
    with refused(f"certificate of domain {domain}"):
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        if constraints.value.path_length != 0:
            raise SecurityError("it could make further authorities")
        return domain, _terms(certificate.extensions)


def check_period(certificate: x509.Certificate, now_ms: int) -> None:
    """Raise `SecurityError` before it begins to hold, and after."""
    if now_ms < milliseconds(certificate.not_valid_before_utc):
        raise SecurityError(
            f"it holds from {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} only"
        )
    if now_ms >= milliseconds(certificate.not_valid_after_utc):
        raise SecurityError(
            f"it has expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        )


def check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Raise `SecurityError` unless `issuer` has signed it."""
    with refused(f"signed by domain {domain_of(issuer.subject)}"):
        certificate.verify_directly_issued_by(issuer)


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    if certificate.version is not x509.Version.v3:
        raise SecurityError("not of version 3")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN:
            raise SecurityError(f"critical extension {extension.oid.dotted_string} is not known")
    return certificate.extensions


def _optional(
    extensions: x509.Extensions, kind: type[x509.BasicConstraints]
) -> x509.BasicConstraints | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _private(extensions: x509.Extensions, oid: x509.ObjectIdentifier) -> bytes:
    value = extensions.get_extension_for_oid(oid).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return value.value


def _hpke(extensions: x509.Extensions) -> HpkePublicKey:
    return read_sealed(_private(extensions, SEALED))


def _terms(extensions: x509.Extensions) -> Terms:
    return read_terms(_private(extensions, TERMS))
