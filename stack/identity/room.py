"""How many nodes one may know: its file stays readable, and its own domain has the room that it
needs, whatever others sign."""

from __future__ import annotations

from collections import Counter
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stack.core.errors import SecurityError
from stack.identity.certificate import Principal

NODES_MAX: Final = 10_000
"""Nodes of this domain, and of all others together."""

DOMAIN_BYTES_MAX: Final = 4 * 1024 * 1024
"""Certificates of nodes of one other domain: 2,000 with keys of P-256 and ML-KEM."""

OTHERS_BYTES_MAX: Final = 4 * DOMAIN_BYTES_MAX
LIST_BYTES_MAX: Final = 1024 * 1024
"""The revocation list of another domain: some 27,000 certificates."""


class NodesRoom:
    """What the certificates of nodes take up."""

    def __init__(self, own: str) -> None:
        """`own`: the domain of whoever keeps them."""
        self._own = own
        self._octets = Counter[str]()
        self._nodes = Counter[str]()

    def take(self, domain: str, one: x509.Certificate, former: Principal | None) -> None:
        """Have one more, in the place of a `former` one of its node if there is one.  Raises
        `SecurityError` for more than there is room for."""
        own = domain == self._own
        octets = _size(one) - (0 if former is None else _size(former.certificate))
        count, more = self._nodes[self._own], former is None
        if (count if own else self._nodes.total() - count) + more > NODES_MAX:
            raise SecurityError(f"more than {NODES_MAX} nodes" + " of other domains" * (not own))
        if not own and self._octets[domain] + octets > DOMAIN_BYTES_MAX:
            raise SecurityError(f"domain {domain} has nodes of more than {DOMAIN_BYTES_MAX} octets")
        others = self._octets.total() - self._octets[self._own]
        if not own and others + octets > OTHERS_BYTES_MAX:
            raise SecurityError(f"other domains have nodes of more than {OTHERS_BYTES_MAX} octets")
        self._octets[domain] += octets
        self._nodes[domain] += more

    def leave(self, domain: str) -> None:
        """Those of a domain are gone."""
        del self._octets[domain], self._nodes[domain]


def check_list(found: x509.CertificateRevocationList) -> None:
    """Raise `SecurityError` for a revocation list of another domain that is too long."""
    if (size := len(found.public_bytes(Encoding.DER))) > LIST_BYTES_MAX:
        raise SecurityError(f"{size} octets of another domain, which has {LIST_BYTES_MAX}")


def _size(one: x509.Certificate) -> int:
    return len(one.public_bytes(Encoding.DER))
