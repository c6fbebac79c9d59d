"""What certificates of nodes and domains have in them, as octets (DER).

The node id is a NODE-ID of RFC 9174 §4.4.2.1: an otherName bundleEID in the subject alternative
name.  What no registered extension says stands in private ones, under an object identifier that is
made of a UUID (X.667), so that it is nobody else's:

    <arc>.1   Facts   SEQUENCE { jurisdictions SEQUENCE OF UTF8String,
                                 roles SEQUENCE OF UTF8String }
    <arc>.2   Sealed  SEQUENCE { kem INTEGER, key OCTET STRING }, an HPKE public key (RFC 9180 §7.1)
    <arc>.3   Terms   SEQUENCE { to UTF8String, purposes SEQUENCE OF UTF8String,
                                 jurisdictions SEQUENCE OF UTF8String,
                                 names Names OPTIONAL }
    <arc>.4   Names   SEQUENCE { patterns SEQUENCE OF UTF8String }, EID patterns; of a revocation
                      list: from where its domain takes the ids of its nodes

Terms are critical: who does not know them must not take a certificate of a domain that is trusted
for one purpose for one that is trusted for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

from stack.core.checks import check_one_of
from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.cose.hpke import HpkePublicKey, Kem
from stack.identity.names import PATTERNS_MAX, UNSAID, NameSpace
from stack.policy.directory import PURPOSES, check_names

BUNDLE_EID: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.11")
"""id-on-bundleEID (RFC 9174 §4.4.1)."""

BUNDLE_SECURITY: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.35")
"""id-kp-bundleSecurity (RFC 9174 §4.4.2)."""

_ARC = "2.25.308514904386881382686775086238988268652"
FACTS: Final = x509.ObjectIdentifier(f"{_ARC}.1")
SEALED: Final = x509.ObjectIdentifier(f"{_ARC}.2")
TERMS: Final = x509.ObjectIdentifier(f"{_ARC}.3")
NAMES: Final = x509.ObjectIdentifier(f"{_ARC}.4")

NAMES_MAX: Final = 64
"""Jurisdictions, or roles, of one node."""

KEY_BYTES_MAX: Final = 4096

_KEMS: Final[dict[Kem, int]] = {"X25519": 0x0020, "MLKEM768-X25519": 0x647A}
"""Numbers of HPKE's registry (RFC 9180 §7.1, draft-ietf-hpke-pq)."""

_MLKEM_BYTES = 1184


@asn1.sequence
class _Facts:
    jurisdictions: Annotated[list[str], asn1.Size(min=0, max=NAMES_MAX)]
    roles: Annotated[list[str], asn1.Size(min=0, max=NAMES_MAX)]


@asn1.sequence
class _Sealed:
    kem: int
    key: Annotated[bytes, asn1.Size(min=1, max=KEY_BYTES_MAX)]


@asn1.sequence
class _Names:
    patterns: Annotated[list[str], asn1.Size(min=1, max=PATTERNS_MAX)]


@asn1.sequence
class _Terms:
    to: str
    purposes: Annotated[list[str], asn1.Size(min=0, max=len(PURPOSES))]
    jurisdictions: Annotated[list[str], asn1.Size(min=0, max=NAMES_MAX)]
    names: _Names | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What domain `to` may trust the nodes of another domain for, and under whose law that other
    domain may say that they stand; which ids it may give them, if that is said.  Raises
    `ConfigError`."""

    to: str
    purposes: frozenset[str]
    jurisdictions: frozenset[str]
    names: NameSpace = UNSAID

    def __post_init__(self) -> None:
        check_names(self.to, self.jurisdictions, ())
        for purpose in self.purposes:
            check_one_of("purpose", purpose, PURPOSES)
        if not self.purposes:
            raise ConfigError("purpose", "none is given", "read, rest or pass")
        # Nodes hold what they read, and what they pass on.
        object.__setattr__(self, "purposes", self.purposes | {"rest"})

    def within(self, other: Terms) -> bool:
        """Whether they allow nothing that `other` does not."""
        return (
            self.to == other.to
            and self.purposes <= other.purposes
            and self.jurisdictions <= other.jurisdictions
            and self.names.within(other.names)
        )


def facts_extension(jurisdictions: Iterable[str], roles: Iterable[str]) -> x509.ExtensionType:
    """Under whose law a node stands, and what it is for."""
    facts = _Facts(jurisdictions=sorted(jurisdictions), roles=sorted(roles))
    return x509.UnrecognizedExtension(FACTS, asn1.encode_der(facts))


def read_facts(octets: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """(jurisdictions, roles).  Raises `ValueError`."""
    facts = asn1.decode_der(_Facts, octets)
    return frozenset(facts.jurisdictions), frozenset(facts.roles)


def sealed_extension(key: HpkePublicKey) -> x509.ExtensionType:
    """The HPKE public key of a node."""
    sealed = _Sealed(kem=_KEMS[key.kem], key=key.raw)
    return x509.UnrecognizedExtension(SEALED, asn1.encode_der(sealed))


def read_sealed(octets: bytes) -> HpkePublicKey:
    """The HPKE public key of a node.  Raises `ValueError`, `SecurityError`, `LocalError`."""
    sealed = asn1.decode_der(_Sealed, octets)
    for kem, number in _KEMS.items():
        if sealed.kem == number:
            key = HpkePublicKey(kem, sealed.key)
            if kem == "MLKEM768-X25519":  # one that is none, before a secret is sealed to it
                MLKEM768PublicKey.from_public_bytes(key.raw[:_MLKEM_BYTES])
            return key
    raise SecurityError(f"a key to seal to of kind {sealed.kem}, which is not known")


def terms_extension(terms: Terms) -> x509.ExtensionType:
    """What another domain is trusted for."""
    octets = _Terms(
        to=terms.to,
        purposes=sorted(terms.purposes),
        jurisdictions=sorted(terms.jurisdictions),
        names=_Names(patterns=list(terms.names.texts)) if terms.names else None,
    )
    return x509.UnrecognizedExtension(TERMS, asn1.encode_der(octets))


def read_terms(octets: bytes) -> Terms:
    """What another domain is trusted for.  Raises `ValueError`, of which `ConfigError` is one, and
    `DecodeError`."""
    found = asn1.decode_der(_Terms, octets)
    names = UNSAID if found.names is None else NameSpace.of(found.names.patterns)
    return Terms(found.to, frozenset(found.purposes), frozenset(found.jurisdictions), names)


def names_extension(names: NameSpace) -> x509.ExtensionType:
    """From where a domain takes the ids of its nodes, for its revocation list."""
    octets = asn1.encode_der(_Names(patterns=list(names.texts)))
    return x509.UnrecognizedExtension(NAMES, octets)


def read_names(extensions: x509.Extensions) -> NameSpace:
    """What a revocation list says of that, or nothing.  Raises `ValueError`, `DecodeError`."""
    try:
        value = extensions.get_extension_for_oid(NAMES).value
    except x509.ExtensionNotFound:
        return UNSAID
    assert isinstance(value, x509.UnrecognizedExtension)
    return NameSpace.of(asn1.decode_der(_Names, value.value).patterns)


def node_name(node: Eid) -> x509.SubjectAlternativeName:
    """A node id as a NODE-ID (RFC 9174 §4.4.2.1)."""
    value = asn1.encode_der(asn1.IA5String(str(node)))
    return x509.SubjectAlternativeName([x509.OtherName(BUNDLE_EID, value)])


def read_node_name(names: x509.SubjectAlternativeName) -> Eid:
    """The one node id of a certificate.  Raises `ValueError`, `DecodeError`, `SecurityError`."""
    found = [one for one in names.get_values_for_type(x509.OtherName) if one.type_id == BUNDLE_EID]
    if len(found) != 1:
        raise SecurityError(f"{len(found)} node ids, not one")
    eid = Eid.parse(asn1.decode_der(asn1.IA5String, found[0].value).as_str())
    if eid != eid.node or eid.is_null:
        raise SecurityError(f"{eid} is no node")
    return eid
