"""The first domain keys of a node, in the answer to its request.

An authority makes one secret when its domain begins, and seals it for each node that it approves:
COSE_Encrypt with HPKE for the key of the node's certificate, in a COSE_Sign1 of the authority.  So
a node that has enrolled can talk at once.  This epoch does not end by itself; key distribution
(`stack.services.keys`) follows it with others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from stack.core.clock import FOREVER_MS
from stack.core.errors import DecodeError, SecurityError
from stack.core.sansio import Entropy
from stack.cose import (
    SigningKey,
    VerifyingKey,
    decode_encrypt,
    decode_sign1,
    encrypt_for,
    sign1,
)
from stack.identity import AuthorityFolder, Identity, NodeRequest, Principal, Trust, pem
from stack.identity.disk import FIRST_EPOCH, Passphrase
from stack.identity.folder import NODE_DAYS
from stack.security.epochs import SECRET_BYTES, Epoch, Epochs, link_keys
from stack.security.keys import Key

FIRST: Final = 1


def approve_request(
    folder: AuthorityFolder,
    passphrase: Passphrase,
    request: NodeRequest,
    *,
    jurisdictions: Iterable[str],
    roles: Iterable[str],
    now_ms: int,
    entropy: Entropy,
    days: int = NODE_DAYS,
) -> tuple[bytes, Principal]:
    """An authority's answer to a request: certificate, revocation lists, federations, certificates
    of others, and domain keys.  Raises `ConfigError`, `SecurityError`."""
    once = cache(passphrase)
    authority = folder.unlock(once)
    node = folder.approve(
        authority, request, jurisdictions=jurisdictions, roles=roles, now_ms=now_ms, days=days
    )
    blocks = list(folder.export())
    if (folder.path / FIRST_EPOCH).exists():  # else it was destroyed: others come by the network
        epoch = seal_first_epoch(folder.secret(once), node, authority.signing_key, entropy)
        blocks.append(pem.PemBlock(pem.EPOCHS, epoch))
    words = f"For {node.facts.id}, from domain {authority.domain}."
    return pem.encode(blocks, words).encode(), node


def addressee(head: bytes) -> str:
    """The node for which an answer is, by the words at its head; nothing where it is no answer."""
    found = re.match(rb"# For ([!-~]+), from domain ", head)
    return found[1].decode() if found else ""


def seal_first_epoch(
    secret: bytes, node: Principal, signing: SigningKey, entropy: Entropy
) -> bytes:
    """The first epoch's secret, for one node."""
    who = _for(str(node.facts.id), node.facts.domain)
    sealed = encrypt_for(secret, [node.hpke], entropy, external_aad=who)
    return sign1(sealed, signing, external_aad=who)


def first_epoch_keys(epoch: Epoch | None, now_ms: int) -> list[Key]:
    """The keys of the epoch that a node begins with; none without it."""
    if epoch is None:
        return []
    links = [(FIRST, epoch.derive("ltp"))]
    return [*Epochs([epoch]).keys(now_ms), *link_keys(epoch.domain, FIRST, links)]


def first_epoch(sealed: Iterable[bytes], identity: Identity, trust: Trust) -> Epoch | None:
    """The epoch that a node begins with, if there is one.  Raises `SecurityError` for what its
    authority has not sealed to it."""
    authority = VerifyingKey(trust.authority_key)
    who = _for(str(identity.node), trust.domain)
    epoch: Epoch | None = None
    for octets in sealed:
        try:
            sign = decode_sign1(octets)
            sign.verify(authority, external_aad=who)
            secret = decode_encrypt(sign.payload or b"").open(identity.hpke, external_aad=who)
        except DecodeError as error:
            raise SecurityError(f"domain keys: {error}") from None
        if len(secret) != SECRET_BYTES:
            raise SecurityError(f"domain keys of {len(secret)} octets")
        epoch = Epoch(
            domain=trust.domain,
            number=FIRST,
            secret=secret,
            from_ms=0,
            renew_ms=FOREVER_MS,
            until_ms=FOREVER_MS,
            others_until_ms=FOREVER_MS,
        )
    return epoch


def _for(node: str, domain: str) -> bytes:
    return f"Orbitferry first epoch\0{domain}\0{node}".encode()
