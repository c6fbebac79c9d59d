"""The key file, the key ring of a node, and which key serves which neighbour of trust.

A key file is TOML, readable by nobody else (mode 0600 or stricter):

    [[key]]
    id = "fleet-2026-aes"        # a name for logs; never travels
    kind = "aes"                 # "aes" (AES-GCM), "hmac" (HMAC-SHA2), "kek" (AES key wrap)
                                 # or "ltp" (LTP authentication, RFC 5327)
    secret = "6f72...",          # hexadecimal
    peers = ["dtn://sat*"]       # nodes at the other end, shell patterns; default: all
    send = true                  # false: still accepted, no longer used to send (key rotation)
    senders = 16                 # nodes that encrypt with it (kind "aes"): each may encrypt
                                 # 2^32 / senders bundles (NIST SP 800-38D §8.3)

Of kind "ltp" alone, for peers that are none of our nodes, such as ION:

    raw = true                   # the secret itself is the HMAC-SHA1 key, both ways; without it
                                 # keys for AES-GMAC are derived (docs/trust.md, "Links")
    key_id = "6b31"              # KeyID (RFC 5327 §2.1), hexadecimal; it travels; default: none

RSA keys for LTP (ciphersuite 1 of RFC 5327) are in PEM files beside the key file, with `file` in
place of `secret`, and may have a `key_id`, too:

    kind = "ltp-rsa-private"     # this node's own, mode 0600, without a passphrase
    kind = "ltp-rsa-public"      # of the nodes that `peers` names
    file = "ground.pem"

Keys of signatures (COSE context), P-256, P-384, Ed25519 or ML-DSA, are in PEM files too:

    kind = "cose-sign-private"   # this node's own, mode 0600, without a passphrase; `peers` says
                                 # for whom
    kind = "cose-sign-public"    # of the nodes that `peers` names
    file = "ground-sign.pem"

So are keys with which something is encrypted for one node (COSE context): P-256, P-384, P-521 and
X25519 for key agreement, or RSA; and what is shared for one use alone is a secret as others:

    kind = "cose-encrypt-private"  # this node's own, mode 0600; its certificate, by which others
                                   # name it, may follow it in the PEM file
    kind = "cose-encrypt-public"   # of the nodes that `peers` names: a public key, or a certificate
    issuer = "authority.pem"       # whose certificate has to have signed that one; default: anybody
    kind = "kdk"                   # keys are derived from it (HKDF); kind "kek" wraps them
    key_id = "6b31"                # by which these are named (kid); it travels; default: none, or
                                   # the thumbprint of a public key (RFC 9679)
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from msgspec import Meta

from stack.core import toml
from stack.core.checks import check_bounds, check_one_of, check_unique
from stack.core.errors import ConfigError, SecurityError
from stack.core.private import new_file
from stack.core.sansio import Entropy
from stack.cose import (
    AgreementPrivateKey,
    HpkePrivateKey,
    HpkePublicKey,
    RsaPrivateKey,
    SigningKey,
    VerifyingKey,
)
from stack.security.pem_files import (
    EncryptionKey,
    Pinning,
    encryption_key,
    read_file,
    rsa_key,
    signature_key,
)
from stack.security.pinned import OutOfDate, Period

KEYS_MAX = 4096
"""Keys of one file: every accepted bundle may have to try those that match its source."""

SECRET_BYTES = {
    "aes": (16, 32),
    "hmac": (16, 128),
    "kek": (16, 32),
    "kdk": (32, 64),
    "ltp": (16, 128),
}
"""Shortest and longest secret of each kind, octets; AES and key wrap take 16 or 32 only."""

SENDERS = 16
SENDERS_MAX = 65_536
"""Nodes that encrypt with one key of a file: what is assumed, and at most."""

DAY_MS = 86_400_000
GRACE_DAYS_MAX = 3650
"""Longest time that a revocation list is believed after its next one was due, days."""

KEY_ID_BYTES_MAX = 32
"""Longest KeyID of a raw key: it travels in every segment."""

RSA_KINDS = ("ltp-rsa-private", "ltp-rsa-public")
COSE_KINDS = ("cose-sign-private", "cose-sign-public")
ENCRYPTION_KINDS = ("cose-encrypt-private", "cose-encrypt-public")
FILE_KINDS = (*RSA_KINDS, *COSE_KINDS, *ENCRYPTION_KINDS)
"""Kinds of keys in PEM files of their own."""

_LONG = re.compile(r"[0-9A-Za-z]{24,}|(?:[0-9A-Fa-f]{2}[\s:-]*){12,}")
"""What may be a secret, its octets apart or together."""

CHOICES_MAX = 4096
"""Remembered choices of keys, so that a flow does not match patterns for each bundle."""

LINK_KEY_ID_BYTES = 4
"""Octets of the KeyID of `link_key`."""

Elsewhere = Callable[[str], bool | None]
"""Whether a node is of another domain: None where nothing says so, and it counts as one of ours;
True for one that is believed and may read; False for any other."""


def ours(node: str) -> bool | None:
    """Says of no node that it is of another domain: `Elsewhere` without any."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A key, as the file has it."""

    id: str
    kind: str
    secret: str = ""
    file: str = ""
    peers: tuple[str, ...] = ("*",)
    send: bool = True
    senders: Annotated[int, Meta(ge=1, le=SENDERS_MAX)] = SENDERS
    raw: bool = False
    key_id: str = ""
    issuer: str = ""
    revocations: str = ""
    revocations_grace_days: Annotated[float, Meta(ge=0, le=GRACE_DAYS_MAX)] | None = None

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class _File:
    key: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One shared secret.  `raw` is of LTP keys alone: used as they are, not derived for each pair
    of nodes; `key_id` names a key in segments of LTP and messages of COSE.  With `rsa`, `secret`
    is the public half (SubjectPublicKeyInfo in DER), with `cose` its thumbprint (RFC 9679), with
    `encryption` its key id; `period`: when the certificate of that holds, where it has one.
    `senders` is how many nodes encrypt with it; under `fingerprint` it is counted what it
    encrypts, with all that is derived from it.  With `per_node` each node that sends has its own,
    made from this one and its node id."""

    id: str
    kind: str
    secret: bytes
    peers: tuple[str, ...] = ("*",)
    send: bool = True
    raw: bool = False
    key_id: bytes = b""
    rsa: RSAPrivateKey | RSAPublicKey | None = None
    senders: int = SENDERS
    fingerprint: str = ""
    per_node: bool = False
    cose: SigningKey | VerifyingKey | None = None
    encryption: EncryptionKey | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(self.secret))

    @property
    def bits(self) -> int:
        """Bits of the secret, or of an RSA modulus."""
        return 8 * len(self.secret) if self.rsa is None else self.rsa.key_size

    def __repr__(self) -> str:
        return f"Key({self.id!r}, {self.kind!r})"  # a secret must not reach a log


def fingerprint(secret: bytes) -> str:
    """32 bits of a digest: enough to see that two secrets differ, nothing to find one with."""
    return hashlib.sha256(b"orbitferry key fingerprint\0" + secret).hexdigest()[:8]


def unset() -> int:
    """The DTN time of a clock that is not set: no certificate holds."""
    return 0


class KeyRing:
    """The keys of one node, which may change while it runs."""

    def __init__(
        self,
        keys: Iterable[Key],
        own: str = "",
        info: bytes = b"",
        elsewhere: Elsewhere = ours,
        now_ms: Callable[[], int] = unset,
        lasting: Iterable[Key] = (),
    ) -> None:
        """`own`: the node's id, of which keys for each node are made.  With `info` what is used of
        each key is made of HKDF-SHA256 of it and that.  No key serves a node `elsewhere`: who has
        those of a domain speaks for no node of another.  `now_ms`: DTN time, by which certificates
        hold.  `lasting`: keys that stay whatever others come."""
        self._others, self._lasting = tuple(keys), tuple(lasting)
        self.keys = (*self._others, *self._lasting)
        self.own = own
        self.elsewhere = elsewhere
        self._now_ms = now_ms
        self._info = info
        self._choices: dict[tuple[str, str], tuple[Key, ...]] = {}
        self._choices_sent: dict[tuple[str, str], Key] = {}
        self._listeners: list[Callable[[], None]] = []

    def change(self, keys: Iterable[Key]) -> None:
        """Have these keys from now on.  Who keeps anything that was made of the others lets go of
        it before this returns."""
        self._others = tuple(keys)
        self._choose_anew()

    def change_lasting(self, keys: Iterable[Key]) -> None:
        """As `change`, of those that stay."""
        self._lasting = tuple(keys)
        self._choose_anew()

    def _choose_anew(self) -> None:
        self.keys = (*self._others, *self._lasting)
        self._choices.clear()
        self._choices_sent.clear()
        self.changed()

    def changed(self) -> None:
        """Tell who keeps anything that was made of the keys: there are others, or `elsewhere` says
        otherwise of a node.  One that fails keeps it from no other, and what was wrong with the
        first that did is raised then."""
        wrong: list[Exception] = []
        for listener in self._listeners:
            try:
                listener()
            except Exception as error:  # what the others keep must not outlive its keys
                wrong.append(error)
        if wrong:
            raise wrong[0]

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each change."""
        self._listeners.append(listener)

    def accepting(self, kind: str, peer: str) -> tuple[Key, ...]:
        """Keys of a kind that may open what comes from node `peer`, in the order of the file."""
        if self.elsewhere(peer) is not None:
            return ()
        found = self._choices.get((kind, peer))
        if found is None:
            if len(self._choices) >= CHOICES_MAX:
                self._choices.clear()
            found = tuple(_of_node(key, peer) for key in self._serving(kind, peer))
            self._choices[kind, peer] = found
        return found

    def _serving(self, kind: str, peer: str) -> Iterator[Key]:
        for key in self.keys:
            if key.kind == kind and any(fnmatch.fnmatchcase(peer, p) for p in key.peers):
                yield self._derived(key)

    def bound(self, label: bytes) -> KeyRing:
        """The keys for bundles with the label of a data policy: HKDF-SHA256 of each and the label,
        so that nobody can take it off, or put another in its place, and have the payload open.

        Anybody can make up labels: a key is derived when one of its peers comes, not before."""
        kinds = ("aes", "hmac", "kek", "kdk", *ENCRYPTION_KINDS)
        keys = (key for key in self.keys if key.kind in kinds)
        info = b"Orbitferry data policy\0" + label
        return KeyRing(keys, self.own, info, self.elsewhere, self._now_ms)

    def refusal(self, key: Key) -> OutOfDate | None:
        """Why a key is not used now: its certificate is too old, or of a time to come."""
        return None if key.period is None else key.period.refusal(key.id, self._now_ms())

    def _derived(self, key: Key) -> Key:
        if not self._info or key.encryption is not None:
            return key
        derived = HKDF(hashes.SHA256(), len(key.secret), None, self._info).derive(key.secret)
        return replace(key, secret=derived)

    def sending(self, kind: str, peer: str) -> Key:
        """The key of a kind for what goes to node `peer`.  Raises `SecurityError` without one."""
        if self.elsewhere(peer) is not None:
            raise SecurityError(f"{peer} is of another domain: no key of this one is for it")
        found = self._choices_sent.get((kind, peer))
        if found is None:
            if len(self._choices_sent) >= CHOICES_MAX:
                self._choices_sent.clear()
            chosen = next((key for key in self._serving(kind, peer) if key.send), None)
            if chosen is None:
                raise SecurityError(
                    f"no {kind} key in the key file serves {peer}: add one whose peers match it"
                )
            found = self._choices_sent[kind, peer] = _of_node(chosen, self.own)
        return found

    def signing_key(self, peer: str) -> SigningKey:
        """The key with which this node signs what goes to node `peer`.  Raises `SecurityError`
        without one."""
        key = self.sending("cose-sign-private", peer).cose
        assert isinstance(key, SigningKey)
        return key

    def sealing_key(self, peer: str) -> HpkePublicKey:
        """Raises `SecurityError`: such keys are in certificates alone."""
        raise SecurityError(f"{peer} has no certificate here: nothing is encrypted for it alone")

    def unsealing_key(self) -> HpkePrivateKey | None:
        """None: such keys are in the folder of an identity alone."""
        return None

    def verifying_key(self, node: str, key_id: bytes) -> VerifyingKey | None:
        """The public key of a node that has this id, or the only one where none is said."""
        found = [key.cose for key in self.accepting("cose-sign-public", node)]
        keys = [key for key in found if isinstance(key, VerifyingKey)]
        if key_id:
            keys = [key for key in keys if key.key_id == key_id]
        return keys[0] if len(keys) == 1 else None


def _of_node(key: Key, sender: str) -> Key:
    """What `sender` encrypts and signs with: no two nodes have one AES-GCM key in common, so the
    IVs that each may take are its own."""
    if not key.per_node:
        return key
    info = f"Orbitferry key of a node\0{key.kind}\0{sender}".encode()
    return replace(
        key, secret=HKDF(hashes.SHA256(), len(key.secret), None, info).derive(key.secret)
    )


def link_key(secret: bytes, sender: str, receiver: str) -> tuple[bytes, bytes]:
    """(key id, AES-GMAC key) of LTP from node `sender` to node `receiver`: HKDF-SHA256 of a key
    of kind "ltp".  Each direction has its own, so that nobody's segments can be sent back to him,
    nor to another node that has the same file."""
    info = f"Orbitferry LTP AES-GMAC\0{sender}\0{receiver}".encode()
    derived = HKDF(hashes.SHA256(), LINK_KEY_ID_BYTES + 32, None, info).derive(secret)
    return derived[:LINK_KEY_ID_BYTES], derived[LINK_KEY_ID_BYTES:]


def load_keys(path: Path) -> KeyRing:
    """Read a key file.  Raises `ConfigError` when others may read it or something is wrong."""
    octets = read_file(path, f"make one with: orbitferry keys new {path}", secret=True)
    try:
        return toml.parsed(octets.decode(), lambda data: parse_keys(data, path.parent), str(path))
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not UTF-8 text", "is it the right file?") from None
    except ConfigError as error:
        # A secret in the wrong place must not reach a log.
        place = error.key.removeprefix(str(path))
        told = (_LONG.sub("...", text) for text in (place, error.message, error.remedy))
        key, message, remedy = told
        raise ConfigError(f"{path}{key}", message, remedy) from None


def parse_keys(data: Mapping[str, Any], folder: Path) -> KeyRing:
    """A key ring from the content of a key file in `folder`.  Raises `ConfigError`."""
    if not data.get("key"):
        raise ConfigError("", "no [[key]] in this file", "see `orbitferry keys new --help`")
    entries = toml.convert(data, _File).key
    if len(entries) > KEYS_MAX:
        raise ConfigError("key", f"more than {KEYS_MAX} keys")
    check_unique((f"key[{index}].id", entry.id) for index, entry in enumerate(entries))
    return KeyRing(_key(entry, f"key[{index}]", folder) for index, entry in enumerate(entries))


def _key(entry: _Entry, where: str, folder: Path) -> Key:
    kind = entry.kind
    check_one_of(f"{where}.kind", kind, (*SECRET_BYTES, *FILE_KINDS))
    wanted, other = ("file", "secret") if kind in FILE_KINDS else ("secret", "file")
    if not getattr(entry, wanted):
        raise ConfigError(f"{where}.{wanted}", "is missing", f'write {wanted} = "..."')
    if getattr(entry, other):
        raise ConfigError(f"{where}.{other}", f"{kind} takes {wanted} instead", "remove it")
    key_id = _hexadecimal(entry.key_id, f"{where}.key_id")
    private = kind.endswith("-private")
    rsa = cose = encryption = period = None
    if kind in COSE_KINDS:
        cose = signature_key(folder / entry.file, f"{where}.file", private=private)
        secret = (cose.public if isinstance(cose, SigningKey) else cose).thumbprint
    elif kind in ENCRYPTION_KINDS:
        encryption, period = encryption_key(
            folder / entry.file,
            f"{where}.file",
            key_id,
            private=private,
            pinning=_pinning(entry, where, folder),
        )
        if isinstance(encryption, AgreementPrivateKey | RsaPrivateKey):
            secret = encryption.public.key_id
        else:
            secret = encryption.key_id
    elif kind in RSA_KINDS:
        rsa = rsa_key(folder / entry.file, f"{where}.file", private=private)
        public = rsa.public_key() if isinstance(rsa, RSAPrivateKey) else rsa
        secret = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        secret = _secret(entry.secret, kind, f"{where}.secret")
    for name in ("issuer", "revocations", "revocations_grace_days"):
        if encryption is None and getattr(entry, name) not in ("", None):
            raise ConfigError(f"{where}.{name}", f"keys of kind {kind} have no certificate")
    if entry.raw and kind != "ltp":
        raise ConfigError(f"{where}.raw", f"{kind} keys are always used as they are", "remove it")
    named = ("kek", "kdk", *RSA_KINDS, *ENCRYPTION_KINDS)
    if key_id and not entry.raw and kind not in named:
        why = f"only raw keys of kind ltp have one, and {', '.join(named)}"
        raise ConfigError(f"{where}.key_id", why, "raw = true")
    if len(key_id) > KEY_ID_BYTES_MAX:
        raise ConfigError(f"{where}.key_id", f"{len(key_id)} octets", f"{KEY_ID_BYTES_MAX} at most")
    return Key(
        entry.id,
        kind,
        secret,
        entry.peers,
        entry.send,
        *(entry.raw, key_id, rsa, entry.senders),
        cose=cose,
        encryption=encryption,
        period=period,
    )


def _pinning(entry: _Entry, where: str, folder: Path) -> Pinning:
    if entry.revocations and not entry.issuer:
        why = "whose they are has to be known"
        raise ConfigError(f"{where}.revocations", why, 'write issuer = "..."')
    days = entry.revocations_grace_days
    if days is not None and not entry.revocations:
        why = "there is no revocation list"
        raise ConfigError(f"{where}.revocations_grace_days", why, 'write revocations = "..."')
    issuer, lists = (folder / name if name else None for name in (entry.issuer, entry.revocations))
    return Pinning(issuer, lists, None if days is None else round(days * DAY_MS))


def _secret(text: str, kind: str, where: str) -> bytes:
    secret = _hexadecimal(text, where)
    least, most = SECRET_BYTES[kind]
    any_length = kind in ("hmac", "kdk", "ltp")
    fits = least <= len(secret) <= most if any_length else len(secret) in (least, most)
    if not fits:
        between = "to" if any_length else "or"
        raise ConfigError(where, f"{len(secret)} octets", f"{kind} takes {least} {between} {most}")
    return secret


def _hexadecimal(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(where, "is not hexadecimal") from None


def new_key_file(
    path: str | Path, entropy: Entropy, name: str, peers: Iterable[str] = ("*",)
) -> None:
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
        new_file(Path(path), text.encode())
    except FileExistsError as error:
        why = error.strerror or "is there already"
        raise ConfigError(str(path), why, "choose a new file") from None
    except OSError as error:
        remedy = "nothing was made: mend that, or choose another place"
        raise ConfigError(str(path), error.strerror or str(error), remedy) from None
