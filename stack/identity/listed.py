"""Revocation lists (RFC 5280 §5): that of each domain, and what is on it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final

from cryptography import x509

from stack.core.errors import SecurityError
from stack.identity.authority import revocation_number
from stack.identity.certificate import milliseconds

GRACE_MS: Final = 14 * 86_400_000
"""Revocation lists are believed so much longer than their next update, by default."""


class RevocationLists:
    """The newest list of each domain."""

    def __init__(self, grace_ms: int) -> None:
        self._grace_ms = grace_ms
        self._lists: dict[str, x509.CertificateRevocationList] = {}
        # In a list itself one is sought from its beginning: 9 ms of 50,000, for each node.
        self._entries: dict[str, dict[int, datetime.datetime]] = {}

    def __iter__(self) -> Iterator[tuple[str, x509.CertificateRevocationList]]:
        return iter(self._lists.items())

    def get(self, domain: str) -> x509.CertificateRevocationList | None:
        """That of a domain."""
        return self._lists.get(domain)

    def take(self, domain: str, found: x509.CertificateRevocationList) -> bool:
        """Have this one, which the domain has signed, unless there is a newer one: they are
        counted.  Raises what `refused` knows."""
        number, known = revocation_number(found), self._lists.get(domain)
        if known is not None and number <= revocation_number(known):
            return False
        entries = {one.serial_number: one.revocation_date_utc for one in found}
        self._lists[domain], self._entries[domain] = found, entries
        return True

    def drop(self, domain: str) -> None:
        """Have none of a domain."""
        self._lists.pop(domain, None)
        self._entries.pop(domain, None)

    def revoked(self, domain: str, serial: int) -> datetime.datetime | None:
        """When a domain has revoked a certificate, if it has."""
        return self._entries.get(domain, {}).get(serial)

    def count(self, domain: str) -> int:
        """How many certificates a domain has revoked."""
        return len(self._entries.get(domain, {}))

    def until_ms(self, domain: str) -> int:
        """When that of a domain is too old, grace included; 0 without one."""
        found = self._lists.get(domain)
        if found is None or found.next_update_utc is None:
            return 0
        return milliseconds(found.next_update_utc) + self._grace_ms

    def check(self, domain: str, serial: int, now_ms: int) -> None:
        """Raise `SecurityError` when a certificate of a domain is revoked, or nobody knows."""
        found = self._lists.get(domain)
        if found is None:
            raise SecurityError(f"there is no revocation list of domain {domain}")
        if now_ms < milliseconds(found.last_update_utc):
            raise SecurityError(f"the revocation list of domain {domain} is of a time to come")
        if now_ms >= self.until_ms(domain):
            raise SecurityError(
                f"the revocation list of domain {domain} is too old: its next one was due at "
                f"{found.next_update_utc:%Y-%m-%dT%H:%M:%SZ}"
            )
        if (when := self.revoked(domain, serial)) is not None:
            raise SecurityError(f"domain {domain} has revoked it at {when:%Y-%m-%dT%H:%M:%SZ}")
