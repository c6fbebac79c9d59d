"""Who a running node is, and what it believes of others: its folder, followed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stack.core.clock import Clock
from stack.core.errors import ConfigError, SecurityError
from stack.core.sansio import Trace
from stack.cose import HpkePrivateKey, HpkePublicKey, SigningKey, VerifyingKey
from stack.identity import NodeFolder
from stack.identity.passphrase import find_passphrase
from stack.node.config import NodeConfig
from stack.policy import Directory, PolicyGate
from stack.security import Key
from stack.security.first_epoch import first_epoch, first_epoch_keys

LOOK_S: Final = 60.0
"""The folder is looked at so often for news that an operator has brought."""

DAY_MS: Final = 86_400_000


class Membership:
    """A node's identity in its domain.  `why_not`: why that was not believed when it started, such
    as that its revocation list is too old, or nothing; under data policies it then does nothing."""

    def __init__(self, config: NodeConfig, clock: Clock, trace: Trace) -> None:
        """Reads and unlocks the folder.  Raises `ConfigError` that says what is wrong with it."""
        section = config.identity
        self._folder = NodeFolder(Path(section.folder))
        self._grace_ms = round(section.grace_days * DAY_MS)
        self._clock = clock
        self._trace = trace
        self._timer: asyncio.TimerHandle | None = None
        self._on_change: tuple[Callable[[], None], ...] = ()
        self._attempt: Callable[..., bool]
        self._beside: Callable[[], object] = lambda: None
        now_ms = clock.dtn_ms()
        try:
            file = section.passphrase_file
            self.identity = self._folder.unlock(lambda: find_passphrase(self._folder.path, file))
            self._stamp = self._folder.stamp()
            self.trust = self._folder.trust(self._grace_ms)
            own = self.trust.read(self.identity.certificate)
            epochs = self._folder.sealed_epochs()
            self.first = first_epoch(epochs, self.identity, self.trust)
            self.keys: list[Key] = first_epoch_keys(self.first, now_ms)
        except SecurityError as error:
            raise ConfigError(
                "identity.folder",
                str(error),
                "see `orbitferry domain list` and docs/identity.md",
            ) from None
        if self.identity.node != config.node_id:
            raise ConfigError("id", f"{section.folder} is that of {self.identity.node}", "its id")
        # After a long silence it has to start all the same, to be reached by what is newer.
        self.why_not = self.trust.why_not(own, now_ms)
        if self.why_not:
            trace("identity_not_believed", {"why": self.why_not})
        self._changes_ms, self._seen_ms, self._unread = self.trust.changes_ms(now_ms), now_ms, ""
        self.gate = PolicyGate(self.trust.directory(now_ms), config.id)
        self._signing = self.identity.signing_key
        self._follow(now_ms)

    def _follow(self, now_ms: int) -> None:
        """Have the nodes that are believed now."""
        self._believed = {str(node.facts.id): node for node in self.trust.principals(now_ms)}

    def elsewhere(self, node: str) -> bool | None:
        """See `stack.security.keys.Elsewhere`.  Whoever was once of another domain alone does not
        become one of ours when that is believed no more."""
        found = self._believed.get(node)
        if found is None:
            return False if self.trust.is_foreign(node) else None
        if found.facts.domain == self.trust.domain:
            return None
        return "read" in found.facts.purposes

    def signing_key(self, peer: str) -> SigningKey:
        """What signs for this node, whoever it is for."""
        return self._signing

    def verifying_key(self, node: str, key_id: bytes) -> VerifyingKey | None:
        """That of a node's certificate, while it is believed, if it has this id."""
        found = self._believed.get(node)
        key = None if found is None else found.verifying_key
        return key if key is not None and key_id in (b"", key.key_id) else None

    def sealing_key(self, peer: str) -> HpkePublicKey:
        """That of a node's certificate.  Raises `SecurityError` while none is believed."""
        found = self._believed.get(peer)
        if found is None:
            raise SecurityError(f"no certificate of {peer} is believed, to encrypt for it")
        return found.hpke

    def unsealing_key(self) -> HpkePrivateKey | None:
        """What opens for this node."""
        return self.identity.hpke

    def look_beside(self, look: Callable[[], object]) -> None:
        """Have `look` called as often as this node looks for news of its own."""
        self._beside = look

    def start(
        self,
        stack: contextlib.AsyncExitStack,
        attempt: Callable[..., bool],
        *on_change: Callable[[], None],
    ) -> None:
        """Follow time and folder until `stack` ends; each of `on_change` is called when something
        else is believed.  `attempt(what, work)` does one of several pieces of work: one that fails
        keeps neither the others nor the next news from anybody."""
        self._attempt, self._on_change = attempt, on_change
        stack.callback(self._stop)
        self._arm()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        wait_s = max(0.0, (self._changes_ms - self._clock.dtn_ms()) / 1000)
        self._timer = asyncio.get_running_loop().call_later(min(wait_s, LOOK_S), self._look)

    def _look(self) -> None:
        now_ms = self._clock.dtn_ms()
        news, set_back = self._read(), now_ms < self._seen_ms
        self._seen_ms = now_ms
        if news or set_back or now_ms >= self._changes_ms:
            self._changes_ms = self.trust.changes_ms(now_ms)
            self._follow(now_ms)
            directory = self.trust.directory(now_ms)
            self._tell(directory)
            self.gate.follow(directory)
            for listener in self._on_change:
                self._attempt("identity", listener)
        self._attempt("identity", self._beside)
        self._arm()

    def _read(self) -> bool:
        """Whether the folder has something new.  What cannot be read leaves all as it was, is told
        once, and is tried again: what holds then ends with its time."""
        try:
            stamp = self._folder.stamp()
            if stamp == self._stamp:
                return False
            self.trust = self._folder.trust(self._grace_ms)
        except (ConfigError, SecurityError) as error:
            if str(error) != self._unread:
                self._unread = str(error)
                self._trace("identity_unreadable", {"why": self._unread})
            return False
        self._stamp, self._unread = stamp, ""
        return True

    def _tell(self, directory: Directory) -> None:
        told = self.gate.changes(directory)
        fields = {name: " ".join(getattr(told, name)) for name in ("gone", "new", "changed")}
        self._trace("identity_changed", {"known": told.nodes, **fields})
