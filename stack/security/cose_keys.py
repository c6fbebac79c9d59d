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
    Encrypt,
    OpeningKey,
    RsaPrivateKey,
    RsaPublicKey,
    SealingKey,
    SharedSecret,
    fresh_for,
)
from stack.security.keys import ENCRYPTION_KINDS, Key, KeyRing
from stack.security.pinned import OutOfDate

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
        for key in _tried(ring, "cose-encrypt-public", peer)
        if isinstance(key.encryption, AgreementPublicKey) and ring.refusal(key) is None
    )
    for key in _tried(ring, "cose-encrypt-private", peer):
        if ring.refusal(key) is not None:
            continue
        own = key.encryption
        if isinstance(own, AgreementPrivateKey):
            public = own.public
            yield AgreementPrivateKey(own.key, public.key_id, public.certificate, senders)
        elif isinstance(own, RsaPrivateKey):
            yield own


def _tried(ring: KeyRing, kind: str, peer: str) -> Iterator[Key]:
    return islice(ring.accepting(kind, peer), TRIED_MAX)


def out_of_date(ring: KeyRing, peer: str, message: Encrypt) -> OutOfDate | None:
    """Why a message of node `peer` is not opened here whose recipient or sender is named as the
    owner of a key that is here: the certificate of that does not hold now."""
    headers = [one.headers for one in message.recipients]
    for kind in ENCRYPTION_KINDS:
        for key in _tried(ring, kind, peer):
            own, refusal = key.encryption, ring.refusal(key)
            if refusal is None or isinstance(own, RsaPublicKey | None):
                continue
            concerns = own.has_sent if isinstance(own, AgreementPublicKey) else own.is_named
            if any(map(concerns, headers)):
                return refusal
    return None


def sealing_key(ring: KeyRing, context: str, peer: str, entropy: Entropy) -> SealingKey:
    """For whom a rule with this context has something made for node `peer`.  Raises
    `SecurityError` without a key, which is `OutOfDate` where the certificates of all do not hold
    now."""
    if context == "cose-kek":
        key = ring.sending("kek", peer)
        return SharedSecret("wrap", key.secret, key.key_id)
    if context == "cose-kdk":
        key = ring.sending("kdk", peer)
        return SharedSecret("derive", key.secret, key.key_id, entropy(SALT_BYTES))
    public = _holding(ring, peer).encryption
    if isinstance(public, RsaPublicKey):
        return public
    if not isinstance(public, AgreementPublicKey):
        raise SecurityError(f"no public key of {peer} to encrypt with")
    return AgreedWith(public, fresh_for(public, entropy), entropy(SALT_BYTES))


def _holding(ring: KeyRing, peer: str) -> Key:
    """The first public key of a node whose certificate, if it has one, holds now."""
    kind = "cose-encrypt-public"
    keys = [key for key in ring.accepting(kind, peer) if key.send] or [ring.sending(kind, peer)]
    refusals = {}
    for key in keys:
        refusal = ring.refusal(key)
        if refusal is None:
            return key
        refusals[refusal.period.until_ms] = refusal
    raise refusals[max(refusals)]  # of the newest
