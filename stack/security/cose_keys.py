"""Which keys of a key file make and open messages of two layers in the COSE context."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from stack.core.errors import SecurityError
from stack.core.sansio import Entropy
from stack.cose import (
    AgreedWith,
    AgreementPrivateKey,
    AgreementPublicKey,
    OpeningKey,
    RsaPrivateKey,
    RsaPublicKey,
    SealingKey,
    SharedSecret,
    fresh_for,
)
from stack.security.keys import KeyRing

TRIED_MAX = 64
"""Keys of one kind that are tried for one message."""

SALT_BYTES = 32
"""Octets of a salt: with a derived key two alike would be as bad as two IVs."""

FRESH_KEY_BYTES = 32
_DIRECT = {"confidentiality": "aes", "integrity": "hmac"}


def shared_keys(ring: KeyRing, service: str, peer: str) -> Iterator[OpeningKey]:
    """The secrets that this node shares with node `peer`, for a service."""
    for key in islice(ring.accepting("kek", peer), TRIED_MAX):
        yield SharedSecret("wrap", key.secret, key.key_id)
    for key in islice(ring.accepting("kdk", peer), TRIED_MAX):
        yield SharedSecret("derive", key.secret, key.key_id)
    for key in islice(ring.accepting(_DIRECT[service], peer), TRIED_MAX):
        yield SharedSecret("direct", key.secret)


def private_keys(ring: KeyRing, peer: str) -> Iterator[OpeningKey]:
    """This node's own keys, with which it opens what node `peer` has encrypted for it."""
    senders = tuple(
        key.encryption
        for key in islice(ring.accepting("cose-encrypt-public", peer), TRIED_MAX)
        if isinstance(key.encryption, AgreementPublicKey)
    )
    for key in islice(ring.accepting("cose-encrypt-private", peer), TRIED_MAX):
        own = key.encryption
        if isinstance(own, AgreementPrivateKey):
            public = own.public
            yield AgreementPrivateKey(own.key, public.key_id, public.certificate, senders)
        elif isinstance(own, RsaPrivateKey):
            yield own


def sealing_key(ring: KeyRing, context: str, peer: str, entropy: Entropy) -> SealingKey:
    """For whom a rule with this context has something made for node `peer`.  Raises
    `SecurityError` without a key."""
    if context == "cose-kek":
        key = ring.sending("kek", peer)
        return SharedSecret("wrap", key.secret, key.key_id)
    if context == "cose-kdk":
        key = ring.sending("kdk", peer)
        return SharedSecret("derive", key.secret, key.key_id, entropy(SALT_BYTES))
    public = ring.sending("cose-encrypt-public", peer).encryption
    if isinstance(public, RsaPublicKey):
        return public
    if not isinstance(public, AgreementPublicKey):
        raise SecurityError(f"no public key of {peer} to encrypt with")
    return AgreedWith(public, fresh_for(public, entropy), entropy(SALT_BYTES))
