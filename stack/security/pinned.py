"""Certificates that an operator has pinned in the key file: who has signed them, and when they
hold."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from stack.core.errors import SecurityError
from stack.identity.certificate import milliseconds, moment


class OutOfDate(SecurityError):
    """A certificate does not hold now.  `period`: when it does."""

    def __init__(self, message: str, period: Period) -> None:
        super().__init__(message)
        self.period = period


@dataclass(frozen=True, slots=True)
class Period:
    """DTN times from which and until which a certificate holds, and its issuer's where that is
    pinned too."""

    from_ms: int
    until_ms: int

    def refusal(self, key: str, now_ms: int) -> OutOfDate | None:
        """Why the certificate of a key is not used now."""
        if now_ms < self.from_ms:
            return OutOfDate(f"the certificate of key {key} holds {self} only", self)
        if now_ms >= self.until_ms:
            return OutOfDate(f"the certificate of key {key} held {self}: take a newer one", self)
        return None

    def __str__(self) -> str:
        begin, end = (f"{moment(ms):%Y-%m-%dT%H:%M:%SZ}" for ms in (self.from_ms, self.until_ms))
        return f"from {begin} until {end}"


def period_of(certificate: x509.Certificate, issuer: x509.Certificate | None) -> Period:
    """When it holds.  Raises `SecurityError` unless its `issuer`, if one is pinned, has signed it
    and may sign certificates."""
    both = [certificate]
    if issuer is not None:
        _check_issued(certificate, issuer)
        both.append(issuer)
    return Period(
        max(milliseconds(one.not_valid_before_utc) for one in both),
        min(milliseconds(one.not_valid_after_utc) for one in both),
    )


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints)
        authority = constraints.value.ca
        certificate.verify_directly_issued_by(issuer)
    except x509.ExtensionNotFound:
        authority = False
    except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
        raise SecurityError("its certificate is not signed by the issuer that is named") from None
    if not authority:
        raise SecurityError("the issuer that is named may sign no certificates")
