"""Two domains and their nodes."""

from __future__ import annotations

from cryptography import x509

from interop.strategies.nearly_certificate import NOW_MS, authority, key
from stack.core.eid import Eid
from stack.cose import HpkePrivateKey
from stack.identity import Authority, Terms, Trust, pem
from stack.identity.authority import make_request
from stack.identity.certificate import read_request
from stack.identity.trust import certificate_block, revocations_block

DAY_MS = 86_400_000

KARI, ESA = authority("kari", 1), authority("esa", 2)


def node(
    of: Authority,
    name: str,
    *,
    laws: tuple[str, ...] = ("KR",),
    days: int = 90,
    now_ms: int = NOW_MS,
) -> x509.Certificate:
    """The certificate of node `name`."""
    number = sum(name.encode())
    hpke = HpkePrivateKey("X25519", number.to_bytes(32, "big"))
    request = read_request(make_request(Eid.parse(name), key(number), hpke.public, (), ()))
    return of.issue(request, now_ms, days, jurisdictions=laws, roles=["relay"])


def listed(
    of: Authority, *serials: int, now_ms: int = NOW_MS, after: object = None
) -> pem.PemBlock:
    """The revocation list of a domain."""
    assert after is None or isinstance(after, x509.CertificateRevocationList)
    return revocations_block(of.revocations(after, serials, now_ms, 7))


def terms(*purposes: str, laws: tuple[str, ...] = ("SE",), to: str = "kari") -> Terms:
    """What one domain is trusted for."""
    return Terms(to, frozenset(purposes), frozenset(laws))


def federation(offered: Terms, agreed: Terms | None = None) -> list[pem.PemBlock]:
    """That kari trusts esa, signed by both."""
    offer = ESA.offer(offered)
    cross = KARI.federate(offer, agreed or offered, NOW_MS, 365)
    return [pem.PemBlock(pem.REQUEST, offer), certificate_block(cross)]


def trust(*blocks: pem.PemBlock, grace_ms: int = 2 * DAY_MS) -> Trust:
    """What nodes of kari believe; everything here must be believed."""
    made = Trust(KARI.certificate, grace_ms)
    assert made.learn([listed(KARI), *blocks]) == []
    return made


def known(made: Trust, now_ms: int = NOW_MS) -> dict[str, str]:
    """Of whom something is known, and of which domain."""
    return {str(one.id): one.domain for one in made.directory(now_ms)}
