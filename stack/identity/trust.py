"""What a node believes: the authority of its domain, and what that has signed.

There are two forms of chain, and no other:

    node  <-  authority of this domain
    node  <-  authority of another domain  <-  authority of this domain, with terms

The certificate in the middle counts only together with the offer of the other domain, which that
has signed: a federation is signed by both.  Every authority in a chain must have a revocation list
that is not older than its next update and the grace that is configured, as a satellite may be out
of reach for days; after that, nothing of that authority holds.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stack.core.clock import FOREVER_MS
from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.cose import VerifyingKey
from stack.identity import pem
from stack.identity.certificate import (
    Principal,
    check_issued,
    check_period,
    domain_of,
    fingerprint,
    load_certificate,
    load_revocations,
    milliseconds,
    read_authority,
    read_cross,
    read_node,
    read_offer,
    refused,
)
from stack.identity.foreign import ForeignNames
from stack.identity.forms import Terms, read_names
from stack.identity.keys import SigningPublicKey, check_public, public_octets
from stack.identity.listed import GRACE_MS, RevocationLists
from stack.identity.names import NameSpaces
from stack.identity.room import NodesRoom, check_list
from stack.policy.directory import Directory, NodeFacts

CHAIN_MAX: Final = 3
DOMAINS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class TrustOffer:
    """What the owner of a key says that it offers."""

    octets: bytes
    domain: str
    key: bytes
    terms: Terms

    def is_of(self, certificate: x509.Certificate, terms: Terms) -> bool:
        """Whether the owner of a certificate's key has offered these terms."""
        same = self.key == public_octets(_key(certificate))
        return same and self.domain == domain_of(certificate.subject) and terms.within(self.terms)


@dataclass(frozen=True, slots=True)
class Federation:
    """Another domain that this one trusts for `terms`: its certificate, and its offer."""

    certificate: x509.Certificate
    offer: bytes
    domain: str
    terms: Terms

    @property
    def key(self) -> SigningPublicKey:
        """That of the other domain's authority."""
        return _key(self.certificate)


class Trust:
    """What the nodes of a domain believe.  `learn` is given what arrives; nothing counts for coming
    on whatever way, only for being signed.  Raises `SecurityError` for a root that is none."""

    def __init__(self, root: x509.Certificate, grace_ms: int = GRACE_MS) -> None:
        self.domain = read_authority(root)
        check_issued(root, root)
        self.root = root
        self.grace_ms = grace_ms
        self.federations: dict[str, Federation] = {}
        self.lists = RevocationLists(grace_ms)
        self._room = NodesRoom(self.domain)
        self._nodes: dict[tuple[str, str], Principal] = {}
        self.foreign = ForeignNames()
        self.names = NameSpaces(self.domain)

    # ---- what arrives ----------------------------------------------------------------------

    def learn(self, blocks: Iterable[pem.PemBlock]) -> list[str]:
        """Take what is signed by whom it must be; of what is not, say why.  Older revocation
        lists, certificates and terms never replace newer ones."""
        refusals: list[str] = []
        blocks = list(dict.fromkeys(blocks))
        offers = _offers(blocks)
        authorities, nodes = _sorted(blocks, refusals)
        own, others = _sorted_lists(blocks, self.root.subject, refusals)
        named = [block.octets for block in blocks if block.label == pem.FOREIGN_LIST]
        # Federations are judged by what our own list says, lists and nodes of other domains by what
        # federations say.
        steps = [
            *(partial(self._learn_list, one) for one in own),
            *(partial(self._learn_federation, one, offers) for one in authorities),
            *(partial(self._learn_list, one) for one in others),
            *(partial(self._learn_node, one) for one in nodes),
            *(partial(self._learn_foreign, octets) for octets in named),
        ]
        for step in steps:
            try:
                step()
            except SecurityError as error:
                refusals.append(str(error))
        return refusals

    def _learn_federation(self, certificate: x509.Certificate, offers: list[TrustOffer]) -> None:
        domain, terms = read_cross(certificate)
        if domain == self.domain or terms.to != self.domain:
            raise SecurityError(f"a federation of domains {terms.to} and {domain}, not of this one")
        check_issued(certificate, self.root)
        offer = next((one.octets for one in offers if one.is_of(certificate, terms)), None)
        if offer is None:
            raise SecurityError(f"domain {domain} has not signed that it is trusted for this")
        known = self.federations.get(domain)
        if known is None and len(self.federations) >= DOMAINS_MAX:
            raise SecurityError(f"more than {DOMAINS_MAX} domains")
        if known is None or self._newer(certificate, known.certificate, self.domain):
            self.federations[domain] = Federation(certificate, offer, domain, terms)
            self.names.say(domain, terms.names)
            if known is not None and not _same_key(certificate, known.certificate):
                self._let_go(domain)

    def _let_go(self, domain: str) -> None:
        """A domain has another key.  What the former one has signed, whatever its number or date,
        stands in the way of nothing new; the names in it stay known as another domain's."""
        self.lists.drop(domain)
        self._room.leave(domain)
        self._nodes = {key: node for key, node in self._nodes.items() if key[0] != domain}

    def _learn_list(self, found: x509.CertificateRevocationList) -> None:
        with refused("revocation list"):
            domain = domain_of(found.issuer)
            issuer = self._issuer(domain)
            if found.issuer != issuer.subject or not found.is_signature_valid(_key(issuer)):
                raise SecurityError(f"not signed by domain {domain}")
            if found.next_update_utc is None:
                raise SecurityError("it says not when the next one comes")
            for extension in found.extensions:
                if extension.critical:  # such as one that says it is of some certificates alone
                    raise SecurityError(f"critical extension {extension.oid.dotted_string}")
            if domain != self.domain:  # whose names are what was agreed
                check_list(found)
                self.lists.take(domain, found)
                return
            names = read_names(found.extensions)
            if self.lists.take(domain, found):
                self.names.say(domain, names)

    def _learn_node(self, certificate: x509.Certificate) -> None:
        node = self.read(certificate)
        if not self._is_own(node):
            self.names.check_given(node.facts.id, node.facts.domain)
            self.foreign.add(str(node.facts.id))
        key = (node.facts.domain, str(node.facts.id))
        known = self._nodes.get(key)
        if known is not None and not self._newer(certificate, known.certificate, key[0]):
            return
        self._room.take(key[0], certificate, known)
        self._nodes[key] = node

    def read(self, certificate: x509.Certificate) -> Principal:
        """What a certificate says that an authority has signed which this domain trusts for
        something; whether it is believed now is not asked.  Raises `SecurityError`."""
        node = read_node(certificate)
        check_issued(certificate, self._issuer(node.facts.domain))
        return node

    def _learn_foreign(self, octets: bytes) -> None:
        self.foreign.take(octets, self.domain, VerifyingKey(self.authority_key))

    # ---- what is believed ------------------------------------------------------------------

    def verify(self, chain: Sequence[x509.Certificate], now_ms: int) -> Principal:
        """Who the first certificate of a chain proves at DTN time `now_ms`; the others are those
        that its holder thinks lead to it, and prove nothing that this domain has not signed.
        Raises `SecurityError` that says why it is not believed."""
        if not 0 < len(chain) <= CHAIN_MAX:
            raise SecurityError(f"a chain of {len(chain)} certificates")
        node = self.read(chain[0])
        self._check(node, now_ms)
        return replace(node, facts=self._facts(node))

    def check_current(self, now_ms: int) -> None:
        """Raise `SecurityError` when nothing of this domain is believed, whoever belongs to it."""
        check_period(self.root, now_ms)
        self.lists.check(self.domain, self.root.serial_number, now_ms)

    def check_may_name(self, node: Principal, now_ms: int) -> None:
        """Raise `SecurityError` when a node's domain is trusted no more, its id another's, or it is
        under laws that its domain may not give."""
        domain = node.facts.domain
        self._check_id(node, now_ms)
        if domain == self.domain:
            return
        self.lists.check(self.domain, self._issuer(domain).serial_number, now_ms)
        _check_laws(node, self.federations[domain].terms)
        for other, name in self._nodes:
            if other != domain and name == str(node.facts.id):
                raise SecurityError(f"domain {domain} says so of {name}, a node of domain {other}")

    def principals(self, now_ms: int) -> list[Principal]:
        """Every node that is believed now: of each id one at most.  The nodes of this domain come
        before all; an id that two other domains give is nobody's."""
        found: dict[str, list[Principal]] = {}
        for node in self._nodes.values():
            try:
                self._check(node, now_ms)
            except SecurityError:
                continue
            found.setdefault(str(node.facts.id), []).append(node)
        believed = []
        for nodes in found.values():
            own = [node for node in nodes if self._is_own(node)]
            if len(chosen := own or nodes) == 1:
                believed.append(replace(chosen[0], facts=self._facts(chosen[0])))
        return believed

    def directory(self, now_ms: int) -> Directory:
        """What policies believe at DTN time `now_ms`."""
        return Directory(node.facts for node in self.principals(now_ms))

    def changes_ms(self, now_ms: int) -> int:
        """The DTN time at which, with nothing new, something else is believed than now."""
        times = [self.lists.until_ms(domain) for domain, _ in self.lists]
        times += [milliseconds(one.last_update_utc) for _, one in self.lists]
        crosses = [one.certificate for one in self.federations.values()]
        for one in (self.root, *crosses, *(node.certificate for node in self._nodes.values())):
            times += [
                milliseconds(one.not_valid_before_utc),
                milliseconds(one.not_valid_after_utc),
            ]
        return min((when for when in times if when > now_ms), default=FOREVER_MS)

    def revocations(self, domain: str) -> x509.CertificateRevocationList | None:
        """The revocation list of a domain."""
        return self.lists.get(domain)

    def cross_serials(self, domain: str) -> list[int]:
        """Serial numbers of what this domain has signed for the authority of another one, and has
        not revoked: the newest alone, as that has taken the place of the others."""
        found = self.federations.get(domain)
        return [] if found is None else [found.certificate.serial_number]

    def certificate_of(self, node: Eid) -> x509.Certificate | None:
        """The newest certificate of a node of this domain, believed now or not."""
        found = self._nodes.get((self.domain, str(node)))
        return None if found is None else found.certificate

    def is_foreign(self, node: str) -> bool:
        """Whether an id is not in the name space of this domain.  Where that is not said: whether
        another one has given it at any time, or may, whatever has become of that domain and of its
        keys since, and this one has not."""
        if not self.names.own:
            if (self.domain, node) in self._nodes:
                return False
            if self.foreign.may_have(node):
                return True
        return self.names.elsewhere(node)

    def nodes(self) -> Iterator[Principal]:
        """Every node of which there is a certificate that is signed as it must be, believed now or
        not."""
        yield from self._nodes.values()

    def why_not(self, node: Principal, now_ms: int) -> str:
        """Why a node is not believed, or nothing."""
        try:
            self._check(node, now_ms)
        except SecurityError as error:
            return str(error)
        return ""

    def blocks(self, *, own: bool = False) -> list[pem.PemBlock]:
        """All of it, for a file; `learn` of a `Trust` with the same root reads it.  With `own` only
        what is of this domain."""
        federations = () if own else self.federations.values()
        certificates = [self.root, *(one.certificate for one in federations)]
        nodes = [node for node in self._nodes.values() if not own or self._is_own(node)]
        certificates += [node.certificate for node in nodes]
        lists = [one for name, one in self.lists if not own or name == self.domain]
        return [
            *(certificate_block(one) for one in certificates),
            *(pem.PemBlock(pem.REQUEST, one.offer) for one in federations),
            *(revocations_block(one) for one in lists),
            *(() if own else self.foreign.list_blocks()),
        ]

    @property
    def authority_key(self) -> SigningPublicKey:
        """The public key of this domain's authority."""
        return _key(self.root)

    # ---- inside ----------------------------------------------------------------------------

    def _newer(self, one: x509.Certificate, other: x509.Certificate, domain: str) -> bool:
        """Whether `one` of `domain` was made after `other`; of one time, always the same of them.
        What is revoked counts for less: one of a time to come is not in the way of one of now."""

        def rank(found: x509.Certificate) -> tuple[bool, datetime.datetime, str]:
            holds = self.lists.revoked(domain, found.serial_number) is None
            return holds, found.not_valid_before_utc, fingerprint(found)

        return rank(one) > rank(other)

    def _is_own(self, node: Principal) -> bool:
        return node.facts.domain == self.domain

    def _issuer(self, domain: str) -> x509.Certificate:
        if domain == self.domain:
            return self.root
        if domain not in self.federations:
            raise SecurityError(f"domain {self.domain} does not trust domain {domain}")
        return self.federations[domain].certificate

    def _check(self, node: Principal, now_ms: int) -> None:
        """Raise `SecurityError` unless a node is believed now: one of `read`, as `_let_go` leaves
        none whose authority has another key since."""
        with_id = f"certificate of {node.facts.id}: "
        try:
            check_period(self.root, now_ms)
            check_period(node.certificate, now_ms)
            self.lists.check(node.facts.domain, node.certificate.serial_number, now_ms)
            self._check_id(node, now_ms)
            federation = self.federations.get(node.facts.domain)
            if node.facts.domain != self.domain:
                if federation is None:
                    raise SecurityError(f"domain {node.facts.domain} is not trusted any more")
                self.check_trusted(federation.domain, now_ms)
                _check_laws(node, federation.terms)
        except SecurityError as error:
            raise SecurityError(with_id + str(error)) from None

    def _check_id(self, node: Principal, now_ms: int) -> None:
        """Raise `SecurityError` where a node has an id that its domain may not give.  This one may
        give all in its name space, whatever was agreed with others."""
        node_id, domain = node.facts.id, node.facts.domain
        self.names.check_given(node_id, domain)
        if domain != self.domain:
            self.names.check_free(node_id, domain, lambda other: self.is_trusted(other, now_ms))

    def is_trusted(self, domain: str, now_ms: int) -> bool:
        """Whether a domain is this one, or trusted now."""
        if domain == self.domain:
            return True
        try:
            self.check_trusted(domain, now_ms)
        except SecurityError:
            return False
        return True

    def check_trusted(self, domain: str, now_ms: int) -> None:
        """Raise `SecurityError` where another domain is not trusted now."""
        certificate = self._issuer(domain)
        check_period(certificate, now_ms)
        self.lists.check(self.domain, certificate.serial_number, now_ms)

    def _facts(self, node: Principal) -> NodeFacts:
        """What is known of a node, for what its domain is trusted for."""
        federation = self.federations.get(node.facts.domain)
        if federation is None:
            return node.facts
        return replace(node.facts, purposes=federation.terms.purposes)


def _check_laws(node: Principal, terms: Terms) -> None:
    """Raise `SecurityError` where a node of another domain is under laws that were not agreed."""
    if beyond := sorted(node.facts.jurisdictions - terms.jurisdictions):
        raise SecurityError(f"its domain may not say that it is under {', '.join(beyond)}")


def _sorted(
    blocks: Sequence[pem.PemBlock], refusals: list[str]
) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Certificates of other authorities, and of nodes."""
    authorities: list[x509.Certificate] = []
    nodes: list[x509.Certificate] = []
    for block in blocks:
        if block.label != pem.CERTIFICATE:
            continue
        try:
            certificate = load_certificate(block.octets)
            with refused("certificate"):
                authority = _is_authority(certificate)
        except SecurityError as error:
            refusals.append(str(error))
            continue
        if not authority:
            nodes.append(certificate)
        elif certificate.issuer != certificate.subject:  # who signs himself proves nothing
            authorities.append(certificate)
    return authorities, nodes


def certificate_block(certificate: x509.Certificate) -> pem.PemBlock:
    """A certificate, for a file."""
    return pem.PemBlock(pem.CERTIFICATE, certificate.public_bytes(Encoding.DER))


def revocations_block(revocations: x509.CertificateRevocationList) -> pem.PemBlock:
    """A revocation list, for a file."""
    return pem.PemBlock(pem.REVOCATIONS, revocations.public_bytes(Encoding.DER))


def _key(certificate: x509.Certificate) -> SigningPublicKey:
    return check_public(certificate.public_key())


def _same_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    return public_octets(_key(one)) == public_octets(_key(other))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        return constraints.value.ca
    except x509.ExtensionNotFound:
        return False


def _offers(blocks: Iterable[pem.PemBlock]) -> list[TrustOffer]:
    """What other domains offer, each read once."""
    found = []
    for block in blocks:
        if block.label == pem.REQUEST:
            with suppress(SecurityError):
                domain, key, terms = read_offer(block.octets)
                found.append(TrustOffer(block.octets, domain, public_octets(key), terms))
    return found


def _sorted_lists(
    blocks: Sequence[pem.PemBlock], own_name: x509.Name, refusals: list[str]
) -> tuple[list[x509.CertificateRevocationList], list[x509.CertificateRevocationList]]:
    """Revocation lists that say that they are of this domain, and those of others."""
    own: list[x509.CertificateRevocationList] = []
    others: list[x509.CertificateRevocationList] = []
    for block in blocks:
        if block.label != pem.REVOCATIONS:
            continue
        try:
            found = load_revocations(block.octets)
            with refused("revocation list"):
                (own if found.issuer == own_name else others).append(found)
        except SecurityError as error:
            refusals.append(str(error))
    return own, others
