"""What the key service sends: two messages, each a COSE_Sign1 around a CBOR array.

A grant is the authority's: one epoch for one node, its secrets in a COSE_Encrypt for a key of that
node.  A holding is a node's answer, and its question: which epochs it has, and the key for which
the next grant has to be encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.core.sansio import Entropy
from stack.core.train import Buffer
from stack.cose import (
    HpkePrivateKey,
    HpkePublicKey,
    SigningKey,
    VerifyingKey,
    decode_encrypt,
    decode_sign1,
    encrypt_for,
    sign1,
)
from stack.security.epochs import EPOCHS_MAX, LINKS_MAX, SECRET_BYTES, Epoch
from stack.services.codec import Fields, decode, encode

MESSAGE_BYTES_MAX: Final = 16 * 1024
"""Largest message: signatures of ML-DSA-87 have 4,627 octets, and HPKE keys 1,216."""

NAME_MAX: Final = 255
NUMBER_MAX: Final = (1 << 32) - 1
TIME_MAX: Final = (1 << 53) - 1
PUBLIC_BYTES_MAX: Final = 2048

GRANT: Final = 0
HOLDING: Final = 1

_SECTION: Final = "docs/keys.md, messages"
_CONTEXT: Final = b"Orbitferry keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An epoch for one node, whose secrets are still sealed."""

    node: str
    epoch: Epoch
    """Without its secrets."""

    floor: int
    """Epochs up to this one are destroyed; 0: none."""

    sealed: bytes
    """Empty: there are secrets for a node that names a key for them."""

    def open(self, keys: list[HpkePrivateKey]) -> tuple[Epoch, HpkePrivateKey]:
        """The epoch, and which of `keys` opened it.  Raises `SecurityError`, `DecodeError`."""
        message = decode_encrypt(self.sealed) if self.sealed else None
        named = {one.headers.kid for one in message.recipients} if message else ()
        for key in keys:
            if message is not None and key.public.key_id in named:
                plain = message.open(key, external_aad=_bound(self.node, self.epoch))
                return _with_secrets(self.epoch, plain), key
        raise SecurityError(f"epoch {self.epoch.number} is sealed for a key that is gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolding:
    """What a node has, and wants."""

    domain: str
    node: str
    counter: int
    """Grows with each: an older one that comes later says nothing."""

    numbers: tuple[int, ...]
    """Epochs that it holds."""

    key: HpkePublicKey
    """For the next grant."""

    wants: bool = False
    """What it has ends, or has ended."""

    worn: int = 0
    """The epoch whose keys have encrypted nearly as often as they may; 0: none."""


Message = Grant | KeyHolding


def _times(node: str, epoch: Epoch) -> list[int | str]:
    times = [epoch.from_ms, epoch.renew_ms, epoch.until_ms, epoch.others_until_ms]
    return [epoch.domain, node, epoch.number, *times]


def _bound(node: str, epoch: Epoch) -> bytes:
    """What goes with the secrets, and travels beside them."""
    return _CONTEXT + encode(_times(node, epoch))


def make_grant(
    node: str,
    epoch: Epoch,
    key: HpkePublicKey | None,
    signing: SigningKey,
    entropy: Entropy,
    floor: int = 0,
) -> bytes:
    """A grant of `epoch` to `node`, for its `key`; without one it only says that there is one.
    Epochs up to `floor` are to be destroyed."""
    secrets = encode([epoch.secret, epoch.link, [[n, secret] for n, secret in epoch.links]])
    sealed = b""
    if key is not None:
        sealed = encrypt_for(secrets, [key], entropy, external_aad=_bound(node, epoch))
    return _signed([GRANT, *_times(node, epoch), floor, sealed], signing)


def make_holding(holding: KeyHolding, signing: SigningKey) -> bytes:
    """A holding, signed."""
    key = holding.key
    numbers = [[number] for number in holding.numbers]
    state = [holding.counter, numbers, key.kem, key.raw, holding.wants, holding.worn]
    return _signed([HOLDING, holding.domain, holding.node, *state], signing)


def _signed(fields: list[object], signing: SigningKey) -> bytes:
    return sign1(encode(fields), signing, external_aad=_CONTEXT)  # type: ignore[arg-type]


def read_message(octets: Buffer, key: VerifyingKey) -> Message:
    """A message that the owner of `key` has signed.  Raises `DecodeError` for what is none, and
    `SecurityError` for what another has signed."""
    if len(octets) > MESSAGE_BYTES_MAX:
        raise DecodeError(f"{len(octets)} octets are no key message", _SECTION)
    signed = decode_sign1(octets)
    return _parse(signed.verify(key, external_aad=_CONTEXT))


def _parse(payload: Buffer) -> Message:
    fields = decode(payload, _SECTION)
    kind = fields.uint(HOLDING)
    domain, node = fields.text(NAME_MAX), str(Eid.parse(fields.text(NAME_MAX)))
    return _grant(fields, domain, node) if kind == GRANT else _holding(fields, domain, node)


def _grant(fields: Fields, domain: str, node: str) -> Grant:
    number = fields.uint(NUMBER_MAX, 1)
    begin, renew, until, others = (fields.uint(TIME_MAX) for _ in range(4))
    floor = fields.uint(NUMBER_MAX)
    sealed = fields.blob(MESSAGE_BYTES_MAX)
    fields.end()
    if floor >= number:
        raise DecodeError("a grant of an epoch that is destroyed", _SECTION)
    if begin >= min(renew, until):
        raise DecodeError("an epoch whose times are in no order", _SECTION)
    epoch = Epoch(
        domain=domain,
        number=number,
        secret=b"",
        from_ms=begin,
        renew_ms=renew,
        until_ms=until,
        others_until_ms=others,
    )
    return Grant(node=node, epoch=epoch, floor=floor, sealed=sealed)


def _holding(fields: Fields, domain: str, node: str) -> KeyHolding:
    counter = fields.uint(TIME_MAX)
    numbers = []
    for row in fields.array(EPOCHS_MAX):
        numbers.append(row.uint(NUMBER_MAX, 1))
        row.end()
    key = read_public(fields)
    holding = KeyHolding(
        domain=domain,
        node=node,
        counter=counter,
        numbers=tuple(numbers),
        key=key,
        wants=fields.flag(),
        worn=fields.uint(NUMBER_MAX),
    )
    fields.end()
    return holding


def read_public(fields: Fields) -> HpkePublicKey:
    """An HPKE key: the name of its KEM, and its octets.  Raises `DecodeError`."""
    kem, raw = fields.text(NAME_MAX), fields.blob(PUBLIC_BYTES_MAX)
    for known, size in (("MLKEM768-X25519", 1216), ("X25519", 32)):
        if kem == known and len(raw) == size:
            return HpkePublicKey(known, raw)  # type: ignore[arg-type]
    raise DecodeError(f"{len(raw)} octets are no key of {kem[:32]}", _SECTION)


def _with_secrets(epoch: Epoch, plain: bytes) -> Epoch:
    fields = decode(plain, _SECTION)
    secret, link = fields.blob(SECRET_BYTES, SECRET_BYTES), fields.uint(NUMBER_MAX)
    links = read_links(fields)
    fields.end()
    return replace(epoch, secret=secret, link=link, links=links)


def read_links(fields: Fields) -> tuple[tuple[int, bytes], ...]:
    """LTP secrets by number.  Raises `DecodeError`."""
    links = []
    for row in fields.array(LINKS_MAX):
        links.append((row.uint(NUMBER_MAX, 1), row.blob(SECRET_BYTES, SECRET_BYTES)))
        row.end()
    return tuple(links)
