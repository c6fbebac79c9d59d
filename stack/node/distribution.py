"""Key distribution on a running node: its engines, their files, the key ring that follows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, LocalError, SecurityError
from stack.core.private import erase_all, make_folder
from stack.core.sansio import Entropy
from stack.cose import HpkePrivateKey, HpkePublicKey, SigningKey, VerifyingKey
from stack.identity import AuthorityFolder
from stack.identity.disk import EPOCHS, FIRST_EPOCH
from stack.identity.passphrase import find_passphrase
from stack.node.config import IdentityConfig
from stack.node.identity import DAY_MS, Membership
from stack.ports.application import AppPort
from stack.ports.security import Security
from stack.security import Key, KeyRing
from stack.security.epochs import DESTROYED, Epoch
from stack.security.first_epoch import FIRST
from stack.security.sealed_file import SealedFile
from stack.security.use import KeyUse
from stack.services.keys.authority import EpochTerms, KeyAuthority
from stack.services.keys.member import Member
from stack.services.keys.service import KeyService, Unsealed, checks_of
from stack.services.waiting import cancel_all

FOLDER: Final = "epochs"
MEMBER: Final = "member"
AUTHORITY: Final = "authority"
HOUR_MS: Final = 3_600_000

Nodes = Callable[[int], Iterable[tuple[str, VerifyingKey, HpkePublicKey]]]
"""Who gets epochs at a DTN time (ms): node ids, the keys that they sign with, and the HPKE keys of
their certificates.  Raises `ConfigError`, `SecurityError` when nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityCredentials:
    """What makes a node that of its domain's authority."""

    signing: SigningKey
    nodes: Nodes
    terms: EpochTerms
    forget_first: Callable[[], object] = lambda: None
    """Erases the secret that nodes begin with, in the authority's folder.  Raises `OSError`."""

    stamp: Callable[[], int] = lambda: 0
    """Changes with what `nodes` says.  Raises `ConfigError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCredentials:
    """Who a node is to the others of its domain."""

    domain: str
    node: str
    home: str
    """The node of the authority."""

    authority: VerifyingKey
    signing: SigningKey
    certified: HpkePrivateKey
    first: Epoch | None = None
    """The epoch that came with its certificate."""

    ours: AuthorityCredentials | None = None
    forget_first: Callable[[], object] = lambda: None
    """Erases that epoch where it came from.  Raises `OSError`."""


def credentials_of(config: IdentityConfig, member: Membership) -> KeyCredentials:
    """What key distribution needs to know of a node.  Raises `ConfigError`."""
    identity, trust = member.identity, member.trust
    ours = None
    if config.authority:
        folder = AuthorityFolder(Path(config.authority))
        try:
            authority = folder.unlock(lambda: find_passphrase(folder.path, config.passphrase_file))
        except SecurityError as error:
            raise ConfigError("identity.authority", str(error), "docs/keys.md") from None

        def nodes(now_ms: int) -> Iterable[tuple[str, VerifyingKey, HpkePublicKey]]:
            found = folder.trust()
            try:
                found.check_current(now_ms)
            except SecurityError as error:
                raise SecurityError(
                    f"nobody gets keys, nor counts as revoked: domain {trust.domain}: {error}; is "
                    "this clock right? if so: `orbitferry domain export`"
                ) from None
            for one in found.principals(now_ms):
                if one.facts.domain == trust.domain:
                    yield str(one.facts.id), VerifyingKey(one.public_key), one.hpke

        terms = EpochTerms(
            period_ms=round(config.epoch_days * DAY_MS),
            overlap_ms=round(config.epoch_overlap_days * DAY_MS),
            lead_ms=round(config.epoch_lead_days * DAY_MS),
            revoked_ms=round(config.epoch_revoked_hours * HOUR_MS),
        )
        ours = AuthorityCredentials(
            signing=authority.signing_key,
            nodes=nodes,
            terms=terms,
            forget_first=lambda: erase_all(folder.path / FIRST_EPOCH),
            stamp=folder.stamp,
        )
    return KeyCredentials(
        domain=trust.domain,
        node=str(identity.node),
        home=config.keys_from,
        authority=VerifyingKey(trust.authority_key),
        signing=identity.signing_key,
        certified=identity.hpke,
        first=member.first,
        ours=ours,
        forget_first=lambda: erase_all(Path(config.folder) / EPOCHS),
    )


class KeyDistribution:
    """The epochs of one node, and on the authority's node those of the domain."""

    def __init__(
        self,
        credentials: KeyCredentials,
        ring: KeyRing,
        use: KeyUse,
        data_dir: Path,
        entropy: Entropy,
        now_ms: int,
    ) -> None:
        """Reads what is in the data folder.  Raises `ConfigError` for what cannot be read."""
        self._folder = data_dir / FOLDER
        make_folder(self._folder)
        secret = credentials.certified.raw
        self._files = {
            name: SealedFile(self._folder / name, secret, entropy) for name in (MEMBER, AUTHORITY)
        }
        self._ring = ring
        self._credentials = credentials
        self._tasks: list[asyncio.Task[None]] = []
        self._services: list[KeyService] = []
        ours, domain = credentials.ours, credentials.domain
        self.domain, self.home = domain, credentials.home
        self.member = Member(
            domain,
            credentials.node,
            home=credentials.home,
            authority=credentials.authority,
            signing=credentials.signing,
            certified=credentials.certified,
            entropy=entropy,
        )
        self._restore(MEMBER, self.member, now_ms)
        self.authority: KeyAuthority | None = None
        if ours is not None:
            self.authority = KeyAuthority(
                domain, signing=ours.signing, entropy=entropy, terms=ours.terms
            )
            self._restore(AUTHORITY, self.authority, now_ms)
        self._forget_first()
        use.wearing = self._wearing
        self.why_not = ""
        """Why no node gets keys from here at present."""

        self._keys: list[Key] = []
        self._stamp = self._stamped()
        self._follow(now_ms)

    def _restore(self, name: str, engine: Member | KeyAuthority, now_ms: int) -> None:
        path = self._files[name].path
        try:
            engine.restore(self._files[name].read())
        except FileNotFoundError:
            if self._credentials.first is not None:
                engine.adopt(self._credentials.first, now_ms)
        except OSError as error:
            raise ConfigError(str(path), error.strerror or str(error)) from None
        except (DecodeError, SecurityError) as error:
            why = "remove it: the node then asks for its epochs"
            raise ConfigError(str(path), str(error), why) from None

    def _forget_first(self) -> None:
        """The first epoch stays destroyed when what it came in is there again: a backup, or an
        answer that was taken once more.  Raises `ConfigError`."""
        credentials, authority = self._credentials, self.authority
        try:
            if self.member.epochs.floor >= FIRST:
                credentials.forget_first()
            if credentials.ours is not None and authority and authority.epochs.floor >= FIRST:
                credentials.ours.forget_first()
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError("identity", f"epoch {FIRST}, which was destroyed: {why}") from None

    def _wearing(self, key: Key) -> None:
        self.member.worn(key.id)
        for service in self._services:
            service.wake()

    def _follow(self, now_ms: int) -> None:
        """Bring the key ring to what holds now."""
        self._now_ms = now_ms
        keys = self.member.keys(now_ms)
        if keys != self._keys:
            self._keys = keys
            self._ring.change(keys)

    def _distribute(self, now_ms: int) -> None:
        """Have those as recipients who are certified now.  When nobody can tell, none is new and
        none is revoked, and this is raised again."""
        ours = self._credentials.ours
        if ours is None or self.authority is None:
            return
        try:
            nodes = list(ours.nodes(now_ms))
        except (ConfigError, SecurityError) as error:
            self.why_not = str(error)
            raise
        self.why_not = ""
        self.authority.follow(nodes, now_ms)

    def guarded(self, security: Security) -> Security:
        """BPSec, but for key distribution's own bundles."""
        node = Eid.parse(self._credentials.node)
        checks = checks_of(node, self.member, self.authority)
        return Unsealed(security, checks, self._awaits)

    def _awaits(self, creation_ms: int) -> bool:
        """Whether a bundle of that time may be under an epoch later than those that send here."""
        sending = self.member.epochs.sending(self._now_ms)
        return sending is None or creation_ms >= sending.from_ms

    def start(self, port: AppPort) -> None:
        """Begin to serve."""
        member = KeyService(
            port,
            self.member,
            self._files[MEMBER],
            on_step=self._follow,
            on_gone=self._member_lost,
        )
        self._begin(port, MEMBER, member)
        if self.authority is not None:
            authority = KeyService(
                port,
                self.authority,
                self._files[AUTHORITY],
                authority=True,
                on_step=self._distribute,
                on_gone=self._authority_lost,
            )
            self._begin(port, AUTHORITY, authority)

    def _member_lost(self, gone: Mapping[int, str]) -> Mapping[int, str]:
        if FIRST in gone:
            self._credentials.forget_first()
        return gone

    def _authority_lost(self, gone: Mapping[int, str]) -> Mapping[int, str]:
        ours = self._credentials.ours
        if ours is not None and gone.get(FIRST) == DESTROYED:
            ours.forget_first()
            return gone
        # Nodes that enrol are still given the first one, though nobody sends under it.
        return {number: why for number, why in gone.items() if number != FIRST}

    def _begin(self, port: AppPort, name: str, service: KeyService) -> None:
        self._services.append(service)
        task = asyncio.get_running_loop().create_task(service.run(), name=f"keys {name}")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                port.trace("service_failed", {"service": task.get_name(), "why": repr(error)})

        task.add_done_callback(ended)
        self._tasks.append(task)

    async def close(self) -> None:
        """Stop."""
        await cancel_all(self._tasks)

    def look(self) -> None:
        """See whether the authority has certified or revoked somebody."""
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            self.wake()

    def _stamped(self) -> int:
        """0 for a folder that is not there: that is told when it is read."""
        ours = self._credentials.ours
        try:
            return 0 if ours is None else ours.stamp()
        except ConfigError:
            return 0

    def wake(self) -> None:
        """Something has changed."""
        for service in self._services:
            service.wake()

    # ---- what an operator asks -------------------------------------------------------------

    async def rotate(self, overlap_ms: int | None, now_ms: int) -> Epoch:
        """Make the next epoch, as the authority.  It sends from now on; the others are accepted for
        `overlap_ms` more.  It is durable when this returns.  Raises `LocalError` elsewhere."""
        if self.authority is None:
            raise LocalError(f"the epochs of domain {self.domain} are made at {self.home}")
        epoch = self.authority.rotate(now_ms, overlap_ms)
        await self._settled()
        return epoch

    async def destroy(self, number: int, now_ms: int) -> list[int]:
        """Destroy an epoch and those before it; which these were.  The authority's node destroys
        them here at once, and at each node when that is reached; any other destroys its own.  When
        this returns nothing of them is left on this disk, and its log says so.  Raises `LocalError`
        for one that is not in force."""
        held = [epoch.number for epoch in self.member.epochs.held if epoch.number <= number]
        if self.authority is not None:
            held = sorted({*held, *self.authority.destroy(number, now_ms)})
        elif number not in held:
            raise LocalError(f"epoch {number} of domain {self.domain} is not held here")
        self.member.erase(number)
        self._follow(now_ms)
        await self._settled()
        return held

    async def take(self, grants: Iterable[bytes], now_ms: int) -> None:
        """Take grants that an operator has brought.  They are durable when this returns.  Raises as
        `Member.take` does."""
        for octets in grants:
            self.member.take(octets, now_ms)
        self._follow(now_ms)
        await self._settled()

    async def _settled(self) -> None:
        await asyncio.gather(*(service.settle() for service in self._services))
