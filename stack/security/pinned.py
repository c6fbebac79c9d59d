"""Certificates that an operator has pinned in the key file: who has signed them, when they hold,
and whether they have been revoked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from stack.core.clock import FOREVER_MS
from stack.core.errors import SecurityError
from stack.identity.certificate import milliseconds, moment

CHAIN_MAX: Final = 4
"""Certificates from the one that is pinned to its issuer, both included."""

_KNOWN: Final = frozenset(
    (
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
    )
)
"""Extensions that may be critical in a chain."""

_FAULTS: Final = (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm)


class OutOfDate(SecurityError):
    """A certificate does not hold now, or is revoked.  `period`: when it does."""

    def __init__(self, message: str, period: Period) -> None:
        super().__init__(message)
        self.period = period


@dataclass(frozen=True, slots=True)
class Period:
    """DTN times from which and until which a certificate holds, and those that lead to its issuer,
    where that is pinned too."""

    from_ms: int
    until_ms: int
    listed_until_ms: int = FOREVER_MS
    """When a revocation list is too old to be believed."""

    revoked: str = ""
    """Who has revoked which certificate and when, in words."""

    def refusal(self, key: str, now_ms: int) -> OutOfDate | None:
        """Why the certificate of a key is not used now."""
        if self.revoked:
            return OutOfDate(f"the certificate of key {key} is not used: {self.revoked}", self)
        if now_ms < self.from_ms:
            return OutOfDate(f"the certificate of key {key} holds {self} only", self)
        if now_ms >= self.until_ms:
            return OutOfDate(f"the certificate of key {key} held {self}: take a newer one", self)
        if now_ms >= self.listed_until_ms:
            until = f"{moment(self.listed_until_ms):%Y-%m-%dT%H:%M:%SZ}"
            words = f"the revocation list for the certificate of key {key} was believed until"
            return OutOfDate(f"{words} {until}: bring a newer one", self)
        return None

    def __str__(self) -> str:
        begin, end = (f"{moment(ms):%Y-%m-%dT%H:%M:%SZ}" for ms in (self.from_ms, self.until_ms))
        return f"from {begin} until {end}"


def period_of(
    certificates: Sequence[x509.Certificate],
    issuer: x509.Certificate | None,
    lists: Sequence[x509.CertificateRevocationList] | None = None,
    grace_ms: int | None = None,
) -> Period:
    """When the first of some certificates holds.  Raises `SecurityError` unless its `issuer`, if
    one is pinned, has signed it, or one that follows and that leads to the issuer; and unless there
    is a revocation list, if `lists` are given, for each of them.  Lists are believed for `grace_ms`
    more than they say, or for ever."""
    path = [certificates[0]] if issuer is None else _path(certificates, issuer)
    listed_until_ms, revoked = FOREVER_MS, ""
    for one, by in pairwise(path) if lists is not None else ():
        found = _list_of(by, lists or ())
        if grace_ms is not None:
            if found.next_update_utc is None:
                raise SecurityError(f"{_list(by)} says not when the next one comes")
            due_ms = milliseconds(found.next_update_utc)
            listed_until_ms = min(listed_until_ms, due_ms + grace_ms)
        entry = found.get_revoked_certificate_by_serial_number(one.serial_number)
        if entry is not None:
            when = f"{entry.revocation_date_utc:%Y-%m-%dT%H:%M:%SZ}"
            revoked = f"{_name(by)} has revoked that of {_name(one)} at {when}"
    return Period(
        max(milliseconds(one.not_valid_before_utc) for one in path),
        min(milliseconds(one.not_valid_after_utc) for one in path),
        listed_until_ms,
        revoked,
    )


def _path(
    certificates: Sequence[x509.Certificate], issuer: x509.Certificate
) -> list[x509.Certificate]:
    """From the first of them to the issuer (RFC 5280 §6.1), each signed by the next."""
    path = [certificates[0]]
    for following in [*certificates[1 : CHAIN_MAX - 1], None]:
        if _signs(issuer, path[-1]):
            path.append(issuer)
            break
        if following is None or not _signs(following, path[-1]):
            more = ", nor is one that follows it" if len(certificates) > 1 else ""
            raise SecurityError(f"its certificate is not signed by the issuer that is named{more}")
        path.append(following)
    for one in path:
        for extension in one.extensions:
            if extension.critical and extension.oid not in _KNOWN:
                oid = extension.oid.dotted_string
                raise SecurityError(f"{_name(one)}: critical extension {oid} is not known")
    below = 0
    for one in path[1:]:
        _check_authority(one, below)
        below += one.subject != one.issuer  # RFC 5280 §4.2.1.9: of those that sign themselves not
    return path


def _signs(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _FAULTS:
        return False
    return True


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """Raise `SecurityError` unless it may sign certificates, with so many further authorities
    between it and the end (RFC 5280 §4.2.1.9)."""
    constraints, usage = _constraints(certificate), _usage(certificate)
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise SecurityError(f"{_name(certificate)}, its issuer, may sign no certificates")
    longest = constraints.path_length
    if longest is not None and below > longest:
        words = f"{_name(certificate)} may have {longest} authorities below it"
        raise SecurityError(f"{words}, and here are {below}")


def _list_of(
    issuer: x509.Certificate, lists: Sequence[x509.CertificateRevocationList]
) -> x509.CertificateRevocationList:
    """The newest revocation list that an issuer has signed (RFC 5280 §6.3)."""
    usage = _usage(issuer)
    if usage is not None and not usage.crl_sign:
        raise SecurityError(f"{_name(issuer)} may sign no revocation lists")
    found = [one for one in lists if _signs_list(issuer, one)]
    if not found:
        raise SecurityError(f"there is no revocation list that {_name(issuer)} has signed")
    newest = max(found, key=lambda one: one.last_update_utc)
    for extension in newest.extensions:
        if extension.critical:  # such as one that says it is of some certificates alone
            oid = extension.oid.dotted_string
            raise SecurityError(f"{_list(issuer)}: critical extension {oid} is not known")
    return newest


def _signs_list(issuer: x509.Certificate, found: x509.CertificateRevocationList) -> bool:
    try:
        key = issuer.public_key()
        return found.issuer == issuer.subject and found.is_signature_valid(key)  # type: ignore[arg-type]
    except _FAULTS:
        return False


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _list(issuer: x509.Certificate) -> str:
    return f"the revocation list of {_name(issuer)}"


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()[:64] or "an authority without a name"
