"""The data keys of a domain, by epoch.

An epoch has a number, a secret of 32 octets and its times.  From the secret come, by HKDF-SHA256,
an AES-GCM and an HMAC key that each sending node makes its own once more (`Key.per_node`), and a
secret for LTP authentication.

    from_ms    sending switches to it, if no later epoch has begun
    renew_ms   its successor should be here by then: who has none asks for it
    until_ms   what was sent under it is taken until then; then it is erased

A later epoch may end the earlier ones sooner (`others_until_ms`): that is how a node is revoked.

LTP secrets are no data keys: they outlive their epoch, so that a node which has missed everything
still reaches its neighbours.  `link` names the one that signs: the authority moves it on when all
nodes have acknowledged theirs, so no node is ever locked out by one that knows more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.security.keys import Key

SECRET_BYTES: Final = 32

EPOCHS_MAX: Final = 8
"""Epochs of one domain that are accepted at a time: what arrives may have to be tried with each."""

LINKS_MAX: Final = 16
"""LTP secrets kept at a time."""

GONE_MAX: Final = 64
"""Destroyed epochs of which nobody has taken note yet, at most."""

ENDED: Final = "its time had ended"
REPLACED: Final = "another took its place before it began"
DESTROYED: Final = "it was to be destroyed"

KINDS: Final = {"aes": 32, "hmac": 48, "ltp": 32}
"""What is derived from an epoch's secret, octets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of a domain; all times are DTN milliseconds."""

    domain: str
    number: int
    secret: bytes
    from_ms: int
    renew_ms: int
    until_ms: int
    others_until_ms: int
    """Earlier epochs end by then."""

    link: int = 0
    """Number of the epoch whose LTP secret signs."""

    links: tuple[tuple[int, bytes], ...] = ()
    """LTP secrets that are accepted, by the number of the epoch that they were derived from."""

    def __repr__(self) -> str:
        return f"Epoch({self.domain!r}, {self.number})"  # a secret must not reach a log

    def derive(self, kind: str) -> bytes:
        """The secret of a kind ("aes", "hmac", "ltp")."""
        info = f"Orbitferry epoch\0{kind}\0{self.domain}\0{self.number}".encode()
        return HKDF(hashes.SHA256(), KINDS[kind], None, info).derive(self.secret)

    def key(self, kind: str, *, send: bool) -> Key:
        """The key of a kind that encrypts or signs data."""
        name = f"{self.domain}-epoch-{self.number}-{kind}"
        return Key(name, kind, self.derive(kind), send=send, senders=1, per_node=True)


class Epochs:
    """The epochs of one domain that a node has."""

    def __init__(
        self,
        epochs: Iterable[Epoch] = (),
        floor: int = 0,
        gone: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """`floor`: epochs up to this number are gone for good."""
        self.floor = floor
        self.gone = dict(gone)
        """Epochs that were held and are no more, and why, until somebody has taken note."""
        self._held = {epoch.number: epoch for epoch in epochs if epoch.number > floor}

    @property
    def held(self) -> tuple[Epoch, ...]:
        """Oldest first."""
        return tuple(self._held[number] for number in sorted(self._held))

    @property
    def newest(self) -> Epoch | None:
        """The one of the highest number."""
        return self._held[max(self._held)] if self._held else None

    def get(self, number: int) -> Epoch | None:
        """The epoch of a number."""
        return self._held.get(number)

    def add(self, epoch: Epoch, now_ms: int) -> bool:
        """Take one; whether it was new.  One that has ended, or was erased, is not taken."""
        if epoch.number in self._held or epoch.number <= self.floor or epoch.until_ms <= now_ms:
            return False
        held = [*self.held, epoch]
        for later in held:
            held = [
                replace(one, until_ms=min(one.until_ms, later.others_until_ms))
                if one.number < later.number
                else one
                for one in held
            ]
        self._held = {one.number: one for one in held}
        self._leave([one.number for one in held if one.from_ms >= one.until_ms], REPLACED)
        self.expire(now_ms)
        while len(self._held) > EPOCHS_MAX:
            self.erase(min(self._held))
        return epoch.number in self._held

    def erase(self, number: int) -> bool:
        """Let go of an epoch for good, and of those before it; whether it was held."""
        found = number in self._held
        self.floor = max(self.floor, number)
        self._leave([one for one in self._held if one <= self.floor], DESTROYED)
        return found

    def expire(self, now_ms: int) -> list[int]:
        """Let go of what has ended; the numbers."""
        ended = [one.number for one in self.held if one.until_ms <= now_ms]
        self._leave(ended, ENDED)
        return ended

    def _leave(self, numbers: Iterable[int], why: str) -> None:
        for number in numbers:
            del self._held[number]
            self.gone[number] = why
        self.gone = dict(list(self.gone.items())[-GONE_MAX:])

    def told(self, numbers: Iterable[int]) -> None:
        """Note has been taken of what is gone."""
        for number in numbers:
            self.gone.pop(number, None)

    def sending(self, now_ms: int) -> Epoch | None:
        """The epoch that sends: the latest that has begun, and has not ended."""
        begun = [one for one in self.held if one.from_ms <= now_ms < one.until_ms]
        return begun[-1] if begun else None

    def next_ms(self, now_ms: int) -> int | None:
        """When something changes by itself."""
        times = [at for one in self.held for at in (one.from_ms, one.until_ms) if at > now_ms]
        return min(times, default=None)

    def keys(self, now_ms: int) -> list[Key]:
        """What encrypts and signs data: newest first, one of each kind sending."""
        sending = self.sending(now_ms)
        return [
            epoch.key(kind, send=epoch is sending)
            for epoch in reversed(self.held)
            if epoch.until_ms > now_ms
            for kind in ("aes", "hmac")
        ]


def link_keys(domain: str, link: int, links: Sequence[tuple[int, bytes]]) -> list[Key]:
    """The keys of LTP authentication of a domain, the one that signs first."""
    ordered = sorted(links, key=lambda one: (one[0] != link, -one[0]))
    return [
        Key(f"{domain}-epoch-{number}-ltp", "ltp", secret, send=at == 0)
        for at, (number, secret) in enumerate(ordered)
    ]
