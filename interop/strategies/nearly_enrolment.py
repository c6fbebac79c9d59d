"""What nodes and authorities send each other before anybody trusts them: requests of nodes, offers
of domains (both PKCS #10, RFC 2986) and revocation lists (RFC 5280 §5), valid and breaking one
rule.

Keys are made of numbers, and the domain is that of `interop.strategies.nearly_certificate`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from interop.strategies.nearly_certificate import (
    IDS,
    LAWS,
    NO_EID,
    NO_FACTS,
    NO_NODE_ID,
    NO_NODES_ID,
    NO_SEALED,
    NOW_MS,
    ROLES,
    TWO_NODE_IDS,
    authority,
    hpke_key,
    key,
)
from interop.strategies.rules import WireRule, nearly
from interop.strategies.violation import Nearly, Violation
from stack.core.eid import Eid
from stack.identity.certificate import moment
from stack.identity.forms import (
    FACTS,
    SEALED,
    TERMS,
    Terms,
    facts_extension,
    node_name,
    sealed_extension,
    terms_extension,
)

_DAY = datetime.timedelta(days=1)
_ALTERNATIVE = x509.SubjectAlternativeName.oid


@dataclass(frozen=True, slots=True)
class RequestParts:
    """What a request of PKCS #10 is made of."""

    key: Ed25519PrivateKey | Ed448PrivateKey
    names: tuple[tuple[x509.ObjectIdentifier, str], ...]
    extensions: tuple[x509.ExtensionType, ...]

    def encode(self) -> bytes:
        """In DER, signed by its key."""
        subject = x509.Name([x509.NameAttribute(*name) for name in self.names])
        extensions = [x509.Extension(one.oid, one.oid == TERMS, one) for one in self.extensions]
        builder = x509.CertificateSigningRequestBuilder(subject, extensions)
        return builder.sign(self.key, None).public_bytes(Encoding.DER)

    def having(self, extension: x509.ExtensionType) -> RequestParts:
        """With another extension of its kind."""
        lacking = self.lacking(extension.oid)
        return replace(lacking, extensions=(*lacking.extensions, extension))

    def lacking(self, kind: x509.ObjectIdentifier) -> RequestParts:
        """Without the extension of a kind."""
        kept = tuple(one for one in self.extensions if one.oid != kind)
        return replace(self, extensions=kept)


def _request(choose: Choices) -> RequestParts:
    number, node = choose.integer(100, 200), Eid.parse(choose.pick(IDS))
    facts = facts_extension(choose.pick(LAWS), choose.pick(ROLES))
    extensions = (node_name(node), facts, sealed_extension(hpke_key(number)))
    return RequestParts(key(number), ((NameOID.COMMON_NAME, str(node)),), extensions)


def _offer(choose: Choices) -> RequestParts:
    purposes = choose.pick((("read",), ("read", "rest"), ("pass",)))
    terms = Terms("kari", frozenset(purposes), frozenset(choose.pick(LAWS)))
    names = ((NameOID.ORGANIZATION_NAME, choose.pick(("nasa", "esa"))),)
    return RequestParts(key(choose.integer(7, 9)), names, (terms_extension(terms),))


AskedBreak = Callable[[Choices, RequestParts], bytes]


def _forged(choose: Choices, asked: RequestParts) -> bytes:
    octets = bytearray(asked.encode())
    octets[-1 - choose.integer(0, 31)] ^= 1 << choose.integer(0, 7)
    return bytes(octets)


_OTHER_KINDS = tuple(
    Ed448PrivateKey.from_private_bytes(number.to_bytes(57, "big")) for number in range(1, 10)
)


def _of_kind(choose: Choices, asked: RequestParts) -> bytes:
    return replace(asked, key=choose.pick(_OTHER_KINDS)).encode()


def _lacking(kind: x509.ObjectIdentifier) -> AskedBreak:
    return lambda choose, asked: asked.lacking(kind).encode()


def _private(kind: x509.ObjectIdentifier, options: Sequence[bytes]) -> AskedBreak:
    return lambda choose, asked: asked.having(
        x509.UnrecognizedExtension(kind, choose.pick(options))
    ).encode()


def _named(options: Sequence[Sequence[x509.GeneralName]]) -> AskedBreak:
    return lambda choose, asked: asked.having(
        x509.SubjectAlternativeName(choose.pick(options))
    ).encode()


def _of_domains(*domains: str) -> AskedBreak:
    names = tuple((NameOID.ORGANIZATION_NAME, domain) for domain in domains)
    return lambda choose, asked: replace(asked, names=names).encode()


def _either_of(*breaks: AskedBreak) -> AskedBreak:
    return lambda choose, asked: choose.pick(breaks)(choose, asked)


def _rules(
    made: Callable[[Choices], RequestParts], rows: Iterable[tuple[str, str, AskedBreak]]
) -> tuple[WireRule[RequestParts], ...]:
    return tuple(WireRule(Violation(clause, words), made, spoil) for clause, words, spoil in rows)


_BOTH: tuple[tuple[str, str, AskedBreak], ...] = (
    ("RFC 2986 §4.2", "its own key has signed it", _forged),
    ("docs/identity.md", "its key is of a kind that is taken", _of_kind),
)

REQUEST_RULES: Final[tuple[WireRule[RequestParts], ...]] = _rules(_request, (
    *_BOTH,
    ("RFC 9174 §4.4.2.1", "it has a node id", _either_of(
        _lacking(_ALTERNATIVE), _named(NO_NODE_ID))),
    ("RFC 9174 §4.4.2.1", "it has one node id", _named(TWO_NODE_IDS)),
    ("RFC 9174 §4.4.2.1", "its id is that of a node", _named(NO_NODES_ID)),
    ("RFC 9174 §4.4.2.1", "its id is an EID", _named(NO_EID)),
    ("docs/identity.md", "it says under whose law it is", _lacking(FACTS)),
    ("docs/identity.md", "its facts are in order", _private(FACTS, NO_FACTS)),
    ("docs/identity.md", "it has a key to seal to", _lacking(SEALED)),
    ("docs/identity.md", "its key to seal to is one", _private(SEALED, NO_SEALED)),
))  # fmt: skip
"""What can be wrong with the request of a node."""

_NO_TERMS = (
    b"", b"\x05\x00", b"\x30\x00", b"\x30\x0a\x0c\x04kari\x30\x00\x30\x00",
    b"\x30\x10\x0c\x04kari\x30\x05\x0c\x03fly\x30\x00",
    b"\x30\x12\x0c\x04kari\x30\x06\x0c\x04read\x30\x02\x0c\x00",
    b"\x30\x10\x0c\x04kari\x30\x06\x0c\x04read\x30\x00\x00",
)  # fmt: skip

OFFER_RULES: Final[tuple[WireRule[RequestParts], ...]] = _rules(_offer, (
    *_BOTH,
    ("RFC 5280 §4.1.2.6", "it has one domain", _either_of(
        _of_domains("nasa", "esa"), lambda choose, asked: replace(asked, names=()).encode())),
    ("docs/identity.md", "a domain has a name that policies can mean", _either_of(
        _of_domains("na sa"), _of_domains("\u00e9"), _of_domains("a|b"))),
    ("docs/identity.md", "it has terms", _lacking(TERMS)),
    ("docs/identity.md", "its terms are in order", _private(TERMS, _NO_TERMS)),
))  # fmt: skip
"""What can be wrong with the offer of a domain."""


@strategy
def encoded_requests(choose: Choices) -> bytes:
    """The request of a node, in DER."""
    return _request(choose).encode()


@strategy
def nearly_requests(
    choose: Choices, *, rules: Sequence[WireRule[RequestParts]] = REQUEST_RULES
) -> Nearly:
    """The request of a node that breaks one of some rules."""
    return nearly(choose, rules, RequestParts.encode)


@strategy
def encoded_offers(choose: Choices) -> bytes:
    """What a domain offers to the domain `kari`, in DER."""
    return _offer(choose).encode()


@strategy
def nearly_offers(
    choose: Choices, *, rules: Sequence[WireRule[RequestParts]] = OFFER_RULES
) -> Nearly:
    """Such an offer that breaks one of some rules."""
    return nearly(choose, rules, RequestParts.encode)


# ---- revocation lists


@dataclass(frozen=True, slots=True)
class RevocationParts:
    """What a revocation list is made of."""

    number: int | None
    serials: tuple[int, ...]
    issuer: x509.Name
    signer: Ed25519PrivateKey
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def encode(self) -> bytes:
        """In DER."""
        now = moment(NOW_MS)
        builder = x509.CertificateRevocationListBuilder(self.issuer, now - _DAY, now + 7 * _DAY)
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical)
        if self.number is not None:
            builder = builder.add_extension(x509.CRLNumber(self.number), False)
        for serial in self.serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(one.build())
        return builder.sign(self.signer, None).public_bytes(Encoding.DER)


def _list(choose: Choices) -> RevocationParts:
    serials = tuple(dict.fromkeys(choose.integer(1, 1 << 64) for _ in choose.many(0, 5)))
    return RevocationParts(choose.integer(1, 99), serials, authority().certificate.subject, key(1))


def _other_issuer(choose: Choices, listed: RevocationParts) -> bytes:
    issuer = authority(choose.pick(("elsewhere", "kar")), 2).certificate.subject
    return replace(listed, issuer=issuer).encode()


def _partly(choose: Choices, listed: RevocationParts) -> bytes:
    part = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), b"\x05\x00")
    return replace(listed, extensions=((choose.pick((part, unknown)), True),)).encode()


def _forged_list(choose: Choices, listed: RevocationParts) -> bytes:
    return replace(listed, signer=key(choose.integer(2, 9))).encode()


LIST_RULES: Final[tuple[WireRule[RevocationParts], ...]] = tuple(
    WireRule(Violation(clause, words), _list, spoil)
    for clause, words, spoil in (
        ("RFC 5280 §6.3.3", "its authority has signed it", _forged_list),
        ("RFC 5280 §6.3.3", "its issuer is an authority that is trusted", _other_issuer),
        ("RFC 5280 §5.2", "what is critical is known", _partly),
        ("RFC 5280 §5.2.3", "it has a number",
         lambda choose, listed: replace(listed, number=None).encode()),
    )
)  # fmt: skip
"""What can be wrong with the revocation list of a domain."""


@strategy
def encoded_lists(choose: Choices) -> bytes:
    """A revocation list of the domain, in DER."""
    return _list(choose).encode()


@strategy
def nearly_lists(
    choose: Choices, *, rules: Sequence[WireRule[RevocationParts]] = LIST_RULES
) -> Nearly:
    """A revocation list that breaks one of some rules."""
    return nearly(choose, rules, RevocationParts.encode)
