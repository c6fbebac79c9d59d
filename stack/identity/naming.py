"""What an authority sees to before it signs: that no id, and no name space, is of two domains, and
that its clock is not behind what it has signed, nor far ahead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509

from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.identity import pem
from stack.identity.authority import check_terms
from stack.identity.certificate import check_period, milliseconds, moment, read_offer
from stack.identity.forms import Terms
from stack.identity.keys import SigningPublicKey
from stack.identity.names import NameSpace
from stack.identity.trust import Trust

DAY_MS: Final = 86_400_000
AHEAD_MS_MAX: Final = 366 * DAY_MS
"""After so long without a new list a wrong clock (a week of GPS that was counted anew, a battery)
is more likely than an authority that has said nothing."""


def only_offer(blocks: Iterable[pem.PemBlock]) -> tuple[str, SigningPublicKey, Terms]:
    """The offer of another domain: its name, its key, its terms.  Raises `SecurityError`."""
    offers = [block.octets for block in blocks if block.label == pem.REQUEST]
    if len(offers) != 1:
        raise SecurityError("not one offer of a domain is in this file")
    return read_offer(offers[0])


def check_clock(trust: Trust, now_ms: int) -> None:
    """Raise `ConfigError` where what an authority signs now would be of a time before its last
    revocation list: nobody would believe it, and its nodes would lose what they have.  Or of one so
    long after it that the clock can hardly be right."""
    listed = trust.revocations(trust.domain)
    if listed is None:
        return
    after_ms = now_ms - milliseconds(listed.last_update_utc)
    if not 0 <= after_ms <= AHEAD_MS_MAX:
        far = f", {after_ms // DAY_MS} days before" if after_ms > 0 else ""
        raise ConfigError(
            "clock",
            f"this one says {moment(now_ms):%Y-%m-%dT%H:%M:%SZ}, and the last revocation list of "
            f"domain {trust.domain} begins at {listed.last_update_utc:%Y-%m-%dT%H:%M:%SZ}{far}",
            "set the clock; if it was wrong then, and is right now, or so much time has passed: "
            "`orbitferry domain export --clock-is-right`",
        )


def check_may_give(trust: Trust, node: Eid, now_ms: int) -> None:
    """Raise `ConfigError` where the domain of `trust` is not to certify a node of this id."""
    try:
        trust.names.check_given(node, trust.domain)
        trust.names.check_free(node, trust.domain, lambda other: other in _others(trust, now_ms))
    except SecurityError as error:
        remedy = "another id; see `orbitferry domain list`"
        raise ConfigError(str(node), str(error), remedy) from None


def check_offer(trust: Trust, domain: str, offered: Terms, terms: Terms, now_ms: int) -> None:
    """Raise `ConfigError`, `SecurityError` where the domain of `trust` is not to take `terms` of
    what another one has `offered`, or has the name of a third one but for capitals."""
    check_terms(trust.domain, domain, offered, terms)
    for other in (trust.domain, *_others(trust, now_ms)):
        if other != domain and other.lower() == domain.lower():
            raise SecurityError(f"domain {domain} has the name of domain {other}, but for capitals")
    check_apart(trust, terms.names, domain, now_ms)


def check_apart(trust: Trust, names: NameSpace, domain: str, now_ms: int) -> None:
    """Raise `ConfigError` where `names` cannot be the name space of a domain: it meets that of
    another one, or has the id of a node of this one; or it is to be that of this domain, and leaves
    out a node of it."""
    if not names:
        return
    for other in (trust.domain, *_others(trust, now_ms)):
        theirs = trust.names.of(other)
        if other != domain and names.meets(theirs):
            message = f"{names} has ids of domain {other}, which gives {theirs}"
            raise ConfigError("names", message, "name spaces that have nothing in common")
    ours = domain == trust.domain
    for node in trust.nodes():
        own = node.facts.domain == trust.domain and _holds(trust, node.certificate, now_ms)
        if own and names.has(node.facts.id) is not ours:
            message = f"{node.facts.id} is a node of domain {trust.domain}, "
            message += f"and {'not ' * ours}in {names}"
            raise ConfigError("names", message, "other patterns, or revoke that node first")


def _others(trust: Trust, now_ms: int) -> list[str]:
    """Domains whose federation has neither ended nor been revoked."""
    found = trust.federations.items()
    return [name for name, one in found if _holds(trust, one.certificate, now_ms)]


def _holds(trust: Trust, certificate: x509.Certificate, now_ms: int) -> bool:
    """Whether what this domain has signed holds, however old its revocation list is by now."""
    try:
        check_period(certificate, now_ms)
    except SecurityError:
        return False
    return trust.lists.revoked(trust.domain, certificate.serial_number) is None
