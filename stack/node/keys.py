"""The keys of a running node, and the file that counts what they have encrypted."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from stack.core.clock import Clock
from stack.core.errors import ConfigError, StoreError
from stack.core.private import opener, sync_directory
from stack.core.sansio import Entropy, Trace
from stack.node.application import LocalPort
from stack.node.config import NodeConfig
from stack.node.distribution import KeyCredentials, KeyDistribution, credentials_of
from stack.node.environment import Environment
from stack.node.identity import Membership
from stack.security import Key, KeyRing, load_keys
from stack.security.keys import ENCRYPTION_KINDS, KEYS_MAX
from stack.security.use import ENCRYPTIONS_MAX, KeyUse, allowed

FILE = "key-use.json"
FILE_BYTES_MAX = 1024 * 1024


class Reloaded(NamedTuple):
    """What a key file has that was read anew: ids of keys."""

    keys: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    """Those with another secret, other peers, or another certificate or revocation list, say."""

    reordered: bool
    """Others come first than before: of those that fit, the first one sends."""

    shut: tuple[str, ...]
    """The neighbours for whom no `ltp` key is left: nothing passes on their links any more."""


class NodeKeys:
    """The key ring of one node, and how often each key of it has encrypted."""

    def __init__(
        self, config: NodeConfig, trace: Trace, clock: Clock, member: Membership | None = None
    ) -> None:
        """Reads the key file, and the counts in the data folder; a `member` of a domain has the
        keys of that, and of a key file those alone that are for one peer each.  Raises
        `ConfigError`."""
        self._path = config.security.key_file
        self._is_member = member is not None
        own, found = str(config.node_id), self._read() if self._path else ()
        if member is None:
            self.ring = KeyRing(found, own, now_ms=clock.dtn_ms)
        else:
            self.ring = KeyRing(
                member.keys, own, elsewhere=member.elsewhere, now_ms=clock.dtn_ms, lasting=found
            )
        self._trace = trace
        self.use = open_use(Path(config.data_dir), trace)
        self._data_dir = Path(config.data_dir)
        self.distribution: KeyDistribution | None = None
        self.shut_by: Callable[[KeyRing], tuple[str, ...]] = lambda _: ()
        """The neighbours to whom other keys would shut a link; the node says so."""

    def follow(self, config: NodeConfig, member: Membership, environment: Environment) -> None:
        """Have the epochs of the domain from here on, where they are distributed.  Raises
        `ConfigError`."""
        if config.identity.keys_from:
            credentials = credentials_of(config.identity, member)
            self.join(credentials, environment.entropy, environment.clock.dtn_ms())
            assert self.distribution is not None
            member.look_beside(self.distribution.look)

    def join(self, credentials: KeyCredentials, entropy: Entropy, now_ms: int) -> None:
        """Have the epochs of a domain from here on.  Raises `ConfigError`."""
        self.distribution = KeyDistribution(
            credentials, self.ring, self.use, self._data_dir, entropy, now_ms
        )

    @contextlib.asynccontextmanager
    async def serving(self, port: LocalPort) -> AsyncIterator[None]:
        """Key distribution runs within, if there is a domain."""
        distribution = self.distribution
        if distribution is None:
            yield
            return
        self.ring.on_change(port.keys_changed)
        distribution.start(port)
        try:
            yield
        finally:
            await distribution.close()

    def _read(self) -> tuple[Key, ...]:
        """What the key file has now.  Raises `ConfigError`."""
        found = load_keys(Path(self._path)).keys
        if self._is_member:
            _check_beside(found)
        return found

    def reload(self, *, dry_run: bool = False) -> Reloaded:
        """Have what the key file, and the files that it names, have now: of keys that are gone
        nothing is kept.  With `dry_run` only say what would change.  Raises `ConfigError`, and the
        keys stay as they are, for files in which something is wrong, and without a key file."""
        if not self._path:
            raise ConfigError(
                "security.key_file", "this node has none", "a domain gives its keys by itself"
            )
        found = self._read()
        before = {key.id: key for key in self.ring.keys}
        if self._is_member:
            before = {name: key for name, key in before.items() if key.kind in ENCRYPTION_KINDS}
        now = {key.id: key for key in found}
        both = [name for name in now if name in before]
        told = Reloaded(
            tuple(now),
            tuple(name for name in now if name not in before),
            tuple(name for name in before if name not in now),
            tuple(name for name in both if _TOLD(before[name]) != _TOLD(now[name])),
            both != [name for name in before if name in now],
            # A domain's links have its keys, which no key file takes away.
            () if self._is_member else self.shut_by(KeyRing(found, self.ring.own)),
        )
        if not dry_run:
            (self.ring.change_lasting if self._is_member else self.ring.change)(found)
            names = ("new", "gone", "changed", "shut")
            fields = {name: " ".join(getattr(told, name)) for name in names}
            self._trace("keys_reloaded", {"keys": len(now), **fields})
        return told

    def believed_anew(self) -> None:
        """Something else is believed of other nodes than before."""
        self.ring.changed()
        if self.distribution is not None:
            self.distribution.wake()

    def close(self) -> None:
        """Record what was used."""
        with contextlib.suppress(StoreError):  # then more counts as used than was
            self.use.close()

    def table(self) -> list[dict[str, Any]]:
        """What encrypts: each key's id, its encryptions from here, and how many there may be."""
        return [
            {"id": key.id, "encryptions": self.use.taken(key), "encryptions_max": allowed(key)}
            for key in self.ring.keys
            if key.kind == "aes"
        ]


_TOLD: Final = attrgetter(
    "kind", "fingerprint", "peers", "send", "senders", "raw", "key_id", "period"
)
"""What is told of a key if it changes."""


def _check_beside(keys: Iterable[Key]) -> None:
    """Raise `ConfigError` for keys that an identity takes the place of."""
    for key in keys:
        if key.kind not in ENCRYPTION_KINDS:
            kinds = " and ".join(ENCRYPTION_KINDS)
            message = f"key {key.id} is of kind {key.kind}: the identity takes its place"
            raise ConfigError(
                "security.key_file", message, f"keep keys of {kinds} alone", other="identity.folder"
            )


def open_use(folder: Path, trace: Trace) -> KeyUse:
    """The counts of a node with this data folder.  Raises `ConfigError` for a file that cannot be
    read: how often the keys were used is then not known."""
    path = folder / FILE
    return KeyUse(_read(path), lambda counts: _write(path, counts), trace)


def _read(path: Path) -> dict[str, int]:
    try:
        with path.open("rb") as file:
            octets = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "chmod 600") from None
    try:
        found = json.loads(octets) if len(octets) <= FILE_BYTES_MAX else None
    except (ValueError, RecursionError):  # also what is no UTF-8
        found = None
    if not isinstance(found, dict) or not all(map(_is_count, found.values())):
        raise ConfigError(
            str(path),
            "does not say how often keys have encrypted",
            "take new keys (`orbitferry keys new`), then remove it",
        )
    return found


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= ENCRYPTIONS_MAX


def _write(path: Path, counts: Mapping[str, int]) -> None:
    """Raises `StoreError`: what is not counted is not encrypted."""
    while len(counts) > KEYS_MAX:  # of keys that were not counted for longest
        counts = dict(list(counts.items())[1:])
    fresh = path.with_suffix(".new")
    try:
        with open(fresh, "w", encoding="utf-8", opener=opener) as file:
            json.dump(dict(counts), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}: nothing is encrypted") from None
