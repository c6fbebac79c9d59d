"""The key file, and which key serves which neighbour of trust.

A key file is TOML, readable by nobody else (mode 0600 or stricter):

    [[key]]
    id = "fleet-2026-aes"        # a name for logs; never travels
    kind = "aes"                 # "aes" (AES-GCM), "hmac" (HMAC-SHA2), "kek" (AES key wrap)
                                 # or "ltp" (LTP authentication, RFC 5327)
    secret = "6f72...",          # hexadecimal
    peers = ["dtn://sat*"]       # nodes at the other end, shell patterns; default: all
    send = true                  # false: still accepted, no longer used to send (key rotation)

Of kind "ltp" alone, for peers that are none of our nodes, such as ION:

    raw = true                   # the secret itself is the HMAC-SHA1 key, both ways
    key_id = "6b31"              # KeyID (RFC 5327 §2.1), hexadecimal; it travels; default: none
"""

from __future__ import annotations

import fnmatch
import os
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stack.core.errors import ConfigError, SecurityError
from stack.core.sansio import Entropy

KEY_FILE_BYTES_MAX = 1024 * 1024
KEYS_MAX = 4096
"""Keys of one file: every accepted bundle may have to try those that match its source."""

SECRET_BYTES = {"aes": (16, 32), "hmac": (16, 128), "kek": (16, 32), "ltp": (16, 128)}
"""Shortest and longest secret of each kind, octets; AES and key wrap take 16 or 32 only."""

KEY_ID_BYTES_MAX = 32
"""Longest KeyID of a raw key: it travels in every segment."""

ENTRIES = ("id", "kind", "secret", "peers", "send", "raw", "key_id")

CHOICES_MAX = 4096
"""Remembered choices of keys, so that a flow does not match patterns for each bundle."""


@dataclass(frozen=True, slots=True)
class Key:
    """One shared secret.  `raw` and `key_id` are of LTP keys alone: used as they are, not derived
    for each pair of nodes, and the KeyID of their segments."""

    id: str
    kind: str
    secret: bytes
    peers: tuple[str, ...] = ("*",)
    send: bool = True
    raw: bool = False
    key_id: bytes = b""

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.kind!r})"  # a secret must not reach a log


class KeyRing:
    """The keys of one node."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self._choices: dict[tuple[str, str], tuple[Key, ...]] = {}

    def accepting(self, kind: str, peer: str) -> tuple[Key, ...]:
        """Keys of a kind that may open what comes from node `peer`, in the order of the file."""
        found = self._choices.get((kind, peer))
        if found is None:
            if len(self._choices) >= CHOICES_MAX:
                self._choices.clear()
            found = tuple(
                key
                for key in self.keys
                if key.kind == kind and any(fnmatch.fnmatchcase(peer, p) for p in key.peers)
            )
            self._choices[kind, peer] = found
        return found

    def sending(self, kind: str, peer: str) -> Key:
        """The key of a kind for what goes to node `peer`.  Raises `SecurityError` without one."""
        for key in self.accepting(kind, peer):
            if key.send:
                return key
        raise SecurityError(
            f"no {kind} key in the key file serves {peer}: add one whose peers match it"
        )


def link_key(secret: bytes, sender: str, receiver: str) -> tuple[bytes, bytes]:
    """(key id, HMAC-SHA1 key) of LTP from node `sender` to node `receiver`: HKDF-SHA256 of a key
    of kind "ltp".  Each direction has its own, so that nobody's segments can be sent back to him,
    nor to another node that has the same file."""
    info = f"Orbitferry LTP authentication\0{sender}\0{receiver}".encode()
    derived = HKDF(hashes.SHA256(), 24, None, info).derive(secret)
    return derived[:4], derived[4:]


def load_keys(path: Path) -> KeyRing:
    """Read a key file.  Raises `ConfigError` when others may read it or something is wrong."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigError(
                    str(path),
                    f"others may read this key file (mode {stat.S_IMODE(status.st_mode):04o})",
                    f"chmod 600 {path}",
                )
            if status.st_size > KEY_FILE_BYTES_MAX:
                raise ConfigError(str(path), "too large for a key file")
            data = tomllib.loads(file.read().decode())
    except OSError as error:
        remedy = f"make one with: orbitferry keys new {path}"
        raise ConfigError(str(path), error.strerror or str(error), remedy) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"not TOML: {error}") from None
    return parse_keys(data, str(path))


def parse_keys(data: dict[str, Any], name: str) -> KeyRing:
    """A key ring from the content of a key file.  Raises `ConfigError`."""
    entries = data.get("key")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(name, "no [[key]] in this file", "see `orbitferry keys new --help`")
    if len(entries) > KEYS_MAX:
        raise ConfigError(name, f"more than {KEYS_MAX} keys")
    unknown = set(data) - {"key"}
    if unknown:
        raise ConfigError(name, f"unknown key {min(unknown)!r}", "a key file holds only [[key]]")
    keys = [_key(entry, f"{name}: key[{index}]") for index, entry in enumerate(entries)]
    ids = [key.id for key in keys]
    for one in ids:
        if ids.count(one) > 1:
            raise ConfigError(name, f"two keys are called {one!r}", "give each its own id")
    return KeyRing(keys)


def _key(entry: Any, where: str) -> Key:
    if not isinstance(entry, dict):
        raise ConfigError(where, "is not a table", "write [[key]]")
    unknown = set(entry) - set(ENTRIES)
    if unknown:
        raise ConfigError(where, f"unknown entry {min(unknown)!r}", ", ".join(ENTRIES))
    kind = entry.get("kind")
    if kind not in SECRET_BYTES:
        raise ConfigError(f"{where}.kind", f"{kind!r} is unknown", "aes, hmac, kek or ltp")
    if not isinstance(entry.get("id"), str) or not isinstance(entry.get("secret"), str):
        raise ConfigError(where, "id and secret must be given as text")
    secret = _hexadecimal(entry["secret"], f"{where}.secret")
    least, most = SECRET_BYTES[kind]
    any_length = kind in ("hmac", "ltp")
    fits = least <= len(secret) <= most if any_length else len(secret) in (least, most)
    if not fits:
        between = "to" if any_length else "or"
        raise ConfigError(
            f"{where}.secret", f"{len(secret)} octets", f"{kind} takes {least} {between} {most}"
        )
    peers = entry.get("peers", ["*"])
    if not isinstance(peers, list) or not all(isinstance(peer, str) for peer in peers):
        raise ConfigError(f"{where}.peers", "is no list of node patterns", 'peers = ["dtn://*"]')
    send, raw = entry.get("send", True), entry.get("raw", False)
    for name, value in (("send", send), ("raw", raw)):
        if not isinstance(value, bool):
            raise ConfigError(f"{where}.{name}", "is neither true nor false")
    key_id = _hexadecimal(entry.get("key_id", ""), f"{where}.key_id")
    if raw and kind != "ltp":
        raise ConfigError(f"{where}.raw", f"{kind} keys are always used as they are", "remove it")
    if key_id and not raw:
        raise ConfigError(f"{where}.key_id", "only a raw key of kind ltp has one", "raw = true")
    if len(key_id) > KEY_ID_BYTES_MAX:
        raise ConfigError(f"{where}.key_id", f"{len(key_id)} octets", f"{KEY_ID_BYTES_MAX} at most")
    return Key(entry["id"], kind, secret, tuple(peers), send, raw, key_id)


def _hexadecimal(text: Any, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise ConfigError(where, "is not hexadecimal") from None


def new_key_file(path: Path, entropy: Entropy, name: str, peers: Iterable[str] = ("*",)) -> None:
    """Write a key file with a fresh AES-256, a fresh HMAC and a fresh LTP key, mode 0600.

    Raises `ConfigError` when the file exists: keys are never overwritten.
    """
    patterns = ", ".join(f'"{peer}"' for peer in peers)
    text = "".join(
        f'[[key]]\nid = "{name}-{kind}"\nkind = "{kind}"\n'
        f'secret = "{entropy(size).hex()}"\npeers = [{patterns}]\n\n'
        for kind, size in (("aes", 32), ("hmac", 48), ("ltp", 32))
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), "choose a new file") from None
    with os.fdopen(handle, "w") as file:
        file.write(text)
