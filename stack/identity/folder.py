"""The folder of a node, and that of an authority.  Both are for their owner alone (mode 0700).

A node:       key.pem          its private keys: for signatures, and for what is sealed to it
              request.pem      what it asks of the authority
              certificate.pem  what the authority has answered
              trust.pem        authority, revocation lists, federations and certificates of others
              epochs.pem       domain keys, sealed to this node

An authority: key.pem          its private key
              trust.pem        its certificate, and all that it has signed and that nodes need
              issued/          every certificate of a node, by serial number, until it expires
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from stack.core.eid import Eid
from stack.core.errors import ConfigError, DecodeError, SecurityError
from stack.core.private import FOLDER_MODE, make_folder, write_file
from stack.core.sansio import Entropy
from stack.cose import HpkePrivateKey, SigningKey
from stack.cose.hpke import Kem
from stack.identity import pem
from stack.identity.authority import Authority, make_request
from stack.identity.certificate import (
    NodeRequest,
    Principal,
    fingerprint,
    load_certificate,
    milliseconds,
    read_authority,
    read_node,
    read_offer,
    read_request,
)
from stack.identity.forms import Terms
from stack.identity.keys import (
    ALGORITHMS,
    SigningPrivateKey,
    decode_private,
    encode_private,
    public_octets,
)
from stack.identity.trust import GRACE_MS, Trust, certificate_block, revocations_block

NODE_DAYS: Final = 90
AUTHORITY_DAYS: Final = 3650
FEDERATION_DAYS: Final = 365
REVOCATIONS_DAYS: Final = 7
"""How long what an authority makes holds, by default."""

KEY, REQUEST, CERTIFICATE = "key.pem", "request.pem", "certificate.pem"
TRUST, EPOCHS, ISSUED = "trust.pem", "epochs.pem", "issued"

Passphrase = Callable[[], bytes]
"""Gives the passphrase of a key file, when it has one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is: its certificate, and the keys that go with it."""

    node: Eid
    certificate: x509.Certificate
    key: SigningPrivateKey = field(repr=False)
    hpke: HpkePrivateKey = field(repr=False)

    @property
    def signing_key(self) -> SigningKey:
        """What signs for this node."""
        return SigningKey(self.key)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What has come of an answer or an update."""

    node: Principal
    refusals: list[str]
    """What in it was not believed, and why."""


class NodeFolder:
    """The identity of a node on its disk.  Its methods raise `ConfigError` for what is wrong with
    the folder and `SecurityError` for what is wrong with what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def begun(self) -> bool:
        """Whether it has keys."""
        return (self.path / KEY).exists()

    @property
    def enrolled(self) -> bool:
        """Whether it has a certificate."""
        return (self.path / CERTIFICATE).exists()

    def begin(
        self,
        node: Eid,
        *,
        jurisdictions: Iterable[str],
        roles: Iterable[str],
        passphrase: bytes,
        entropy: Entropy,
        algorithm: str = "p256",
        kem: Kem = "MLKEM768-X25519",
    ) -> NodeRequest:
        """Make keys, and the request to an authority.  Keys are never overwritten."""
        if self.begun:
            raise ConfigError(
                str(self.path), "has keys already", "choose another folder, or destroy this one"
            )
        signing = SigningKey.generate(ALGORITHMS[algorithm], entropy)
        key, hpke = signing.key, HpkePrivateKey.generate(entropy, kem)
        octets = make_request(node, key, hpke.public, jurisdictions, roles)
        request = read_request(octets)
        make_folder(self.path)
        self.path.chmod(FOLDER_MODE)
        # 32 octets in the form of an X25519 key; of the hybrid they are the seed of both keys.
        sealing = X25519PrivateKey.from_private_bytes(hpke.raw)
        _write_keys(self.path / KEY, [key, sealing], passphrase, entropy)
        words = (
            f"{node} asks to be taken into a domain.\nKey: SHA-256 {request.fingerprint}\n"
            "At the authority: orbitferry domain approve THIS-FILE"
        )
        _write(self.path / REQUEST, [pem.PemBlock(pem.REQUEST, octets)], words)
        return request

    def request(self) -> NodeRequest:
        """What the node asks of its authority."""
        (block,) = read_blocks(self.path / REQUEST, "run `orbitferry domain enroll` first")[:1]
        return read_request(block.octets)

    def accept(self, octets: bytes, now_ms: int, *, root: str = "") -> Accepted:
        """Take an authority's answer, or an update of what it says of others.  The first answer
        says whom to believe from then on; `root` is what the fingerprint of that authority's
        certificate begins with, where it is known from elsewhere."""
        blocks = decode_blocks(octets)
        request = self.request()
        own = _own_certificate(blocks, request) or (self._certificate() if self.enrolled else None)
        if own is None:
            raise SecurityError(
                f"no certificate for {request.node} and its key is in this file: is it the answer "
                "to another request?"
            )
        trust = self.trust() if self.enrolled else Trust(_root_of(blocks, own))
        if root and not fingerprint(trust.root).startswith(root.lower().replace(":", "")):
            raise SecurityError(
                f"the authority's certificate is {fingerprint(trust.root)}, not {root}"
            )
        refusals = trust.learn(blocks)
        if self.enrolled:  # also when what is new is that this node is not trusted any more
            _write(self.path / TRUST, trust.blocks())
        node = trust.verify([own], now_ms)
        _write(self.path / TRUST, trust.blocks())
        if epochs := [block for block in blocks if block.label == pem.EPOCHS]:
            _write(self.path / EPOCHS, epochs)
        if not self.enrolled or own != self._certificate():
            _write(self.path / CERTIFICATE, [certificate_block(own)])  # last: then all is there
        return Accepted(node, refusals)

    def trust(self, grace_ms: int = GRACE_MS) -> Trust:
        """What this node believes."""
        return _trust(self.path / TRUST, grace_ms)

    def unlock(self, passphrase: Passphrase) -> Identity:
        """Certificate and keys."""
        check_private(self.path)
        certificate = self._certificate()
        keys = _read_keys(self.path / KEY, passphrase)
        node = read_node(certificate)
        hpke = _hpke(keys, node.hpke.kem)
        for key in keys:
            if isinstance(key, SigningPrivateKey) and public_octets(
                key.public_key()
            ) == public_octets(node.public_key):
                if hpke is None or hpke.public != node.hpke:
                    break
                return Identity(node.facts.id, certificate, key, hpke)
        raise SecurityError(f"{self.path}: the keys are not those of its certificate")

    def sealed_epochs(self) -> list[bytes]:
        """The domain keys that the authority has sealed to this node, oldest first."""
        path = self.path / EPOCHS
        if not path.exists():
            return []
        return [one.octets for one in read_blocks(path, "") if one.label == pem.EPOCHS]

    def _certificate(self) -> x509.Certificate:
        remedy = "run `orbitferry domain enroll`, and take in the answer of the authority"
        (block, *_) = read_blocks(self.path / CERTIFICATE, remedy)
        return load_certificate(block.octets)


class AuthorityFolder:
    """The authority of a domain on its disk.  Its methods raise `ConfigError` for what is wrong
    with the folder and `SecurityError` for what is wrong with what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is a domain."""
        return (self.path / TRUST).exists()

    def create(
        self,
        domain: str,
        *,
        passphrase: bytes,
        entropy: Entropy,
        now_ms: int,
        algorithm: str = "p256",
        days: int = AUTHORITY_DAYS,
    ) -> Authority:
        """Begin a domain.  What is there is never overwritten."""
        if self.exists or (self.path / KEY).exists():
            raise ConfigError(
                str(self.path), "has a domain already", "choose another folder (--folder)"
            )
        key = SigningKey.generate(ALGORITHMS[algorithm], entropy).key
        authority = Authority.create(domain, key, now_ms, days)
        make_folder(self.path / ISSUED)
        self.path.chmod(FOLDER_MODE)
        _write_keys(self.path / KEY, [key], passphrase, entropy)
        self._renew(authority, Trust(authority.certificate), (), now_ms)
        return authority

    def unlock(self, passphrase: Passphrase) -> Authority:
        """The authority, with its key."""
        check_private(self.path)
        root = self.trust().root
        for key in _read_keys(self.path / KEY, passphrase):
            if isinstance(key, SigningPrivateKey):
                return Authority(root, key)
        raise SecurityError(f"{self.path / KEY}: no key that could sign")

    def trust(self) -> Trust:
        """What nodes of this domain believe."""
        return _trust(self.path / TRUST, GRACE_MS)

    def approve(
        self,
        authority: Authority,
        request: NodeRequest,
        *,
        jurisdictions: Iterable[str],
        roles: Iterable[str],
        now_ms: int,
        days: int = NODE_DAYS,
    ) -> Principal:
        """Give a node its certificate."""
        certificate = authority.issue(
            request, now_ms, days, jurisdictions=jurisdictions, roles=roles
        )
        block = certificate_block(certificate)
        # Known before it is anywhere else, so that it can be revoked.
        _write(self.path / ISSUED / f"{certificate.serial_number:x}.pem", [block])
        trust = self.trust()
        self._renew(authority, trust, [block], now_ms)
        return trust.verify([certificate], now_ms)

    def revoke(self, authority: Authority, subject: str, now_ms: int) -> int:
        """Revoke all certificates of a node, or the federation with a domain; how many."""
        trust = self.trust()
        issued = self._issued(now_ms)
        serials = [one.certificate.serial_number for one in issued if str(one.facts.id) == subject]
        if subject in trust.federations:
            serials.append(trust.federations[subject].certificate.serial_number)
        if not serials:
            why = f"domain {trust.domain} has certified no such node or domain"
            raise ConfigError(subject, why, "see `orbitferry domain list`")
        self._renew(authority, trust, (), now_ms, serials)
        return len(serials)

    def federate(
        self,
        authority: Authority,
        blocks: Sequence[pem.PemBlock],
        terms: Callable[[Terms], Terms],
        now_ms: int,
        days: int = FEDERATION_DAYS,
    ) -> tuple[str, Terms, list[str]]:
        """Trust another domain for what `terms` makes of its offer, and take its revocation list
        and the certificates of its nodes: the domain, the terms, and what was not believed."""
        offers = [block.octets for block in blocks if block.label == pem.REQUEST]
        if len(offers) != 1:
            raise SecurityError("no offer of a domain is in this file")
        domain, _, offered = read_offer(offers[0])
        trust = self.trust()
        agreed = terms(offered)
        certificate = authority.federate(offers[0], agreed, now_ms, days)
        # Nodes of others are learned with it, and only what it allows.
        refusals = self._renew(authority, trust, [certificate_block(certificate), *blocks], now_ms)
        return domain, agreed, refusals

    def update(
        self, authority: Authority, blocks: Sequence[pem.PemBlock], now_ms: int
    ) -> list[str]:
        """Take newer revocation lists and certificates of other domains; make a new revocation list
        of this one.  What was not believed."""
        return self._renew(authority, self.trust(), blocks, now_ms)

    def export(self) -> list[pem.PemBlock]:
        """What nodes of this domain need to know, and authorities of others: nothing secret."""
        return self.trust().blocks()

    def _issued(self, now_ms: int) -> list[Principal]:
        """Every certificate that has not expired; those that have are forgotten."""
        found = []
        for path in sorted((self.path / ISSUED).glob("*.pem")):
            (block, *_) = read_blocks(path, "")
            node = read_node(load_certificate(block.octets))
            if milliseconds(node.certificate.not_valid_after_utc) <= now_ms:
                path.unlink()
            else:
                found.append(node)
        return found

    def _renew(
        self,
        authority: Authority,
        trust: Trust,
        blocks: Sequence[pem.PemBlock],
        now_ms: int,
        serials: Iterable[int] = (),
    ) -> list[str]:
        """A new revocation list, and what else is new."""
        previous = trust.revocations(trust.domain)
        revocations = authority.revocations(previous, serials, now_ms, REVOCATIONS_DAYS)
        refusals = trust.learn([*blocks, revocations_block(revocations)])
        _write(self.path / TRUST, trust.blocks(), f"What domain {trust.domain} says; not secret.")
        return refusals


def check_private(folder: Path) -> None:
    """Raise `ConfigError` when others may look into a folder."""
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        remedy = "make one with `orbitferry domain enroll`"
        raise ConfigError(str(folder), error.strerror or str(error), remedy) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            str(folder), f"others may look into it (mode {mode:04o})", f"chmod 700 {folder}"
        )


def read_blocks(path: Path, remedy: str) -> list[pem.PemBlock]:
    """The blocks of a file.  Raises `ConfigError`, `SecurityError`."""
    try:
        with path.open("rb") as file:
            octets = file.read(pem.FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error), remedy) from None
    return decode_blocks(octets, f"{path}: ")


def decode_blocks(octets: bytes, where: str = "") -> list[pem.PemBlock]:
    """The blocks of a file that came from outside.  Raises `SecurityError`."""
    try:
        return pem.decode(octets)
    except DecodeError as error:
        raise SecurityError(f"{where}{error}") from None


def is_encrypted(folder: Path) -> bool:
    """Whether the keys in a folder are under a passphrase.  Raises `ConfigError`,
    `SecurityError`."""
    blocks = read_blocks(folder / KEY, "run `orbitferry domain enroll` first")
    return any(block.label == pem.ENCRYPTED_KEY for block in blocks)


def destroy(folder: Path) -> list[Path]:
    """Overwrite and remove the private keys in a folder, and what is sealed to them; the files that
    are gone.  Flash and copy-on-write file systems may keep the old octets all the same.  Raises
    `ConfigError`."""
    gone = []
    for name in (KEY, EPOCHS):
        path = folder / name
        try:
            with path.open("r+b") as file:
                file.write(bytes(os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(str(path), error.strerror or str(error)) from None
        gone.append(path)
    if not gone:
        raise ConfigError(str(folder), "there are no keys", "is it the right folder?")
    return gone


def _write(path: Path, blocks: Sequence[pem.PemBlock], words: str = "") -> None:
    try:
        write_file(path, pem.encode(blocks, words).encode())
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None


def _write_keys(path: Path, keys: Iterable[object], passphrase: bytes, entropy: Entropy) -> None:
    label = pem.ENCRYPTED_KEY if passphrase else pem.PRIVATE_KEY
    _write(path, [pem.PemBlock(label, encode_private(key, passphrase, entropy)) for key in keys])


def _read_keys(path: Path, passphrase: Passphrase) -> list[object]:
    blocks = read_blocks(path, "is it the right folder?")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            str(path), f"others may read this key file (mode {mode:04o})", f"chmod 600 {path}"
        )
    secret = passphrase() if any(one.label == pem.ENCRYPTED_KEY for one in blocks) else b""
    labels = (pem.PRIVATE_KEY, pem.ENCRYPTED_KEY)
    try:
        return [
            decode_private(one.octets, secret if one.label == pem.ENCRYPTED_KEY else b"")
            for one in blocks
            if one.label in labels
        ]
    except SecurityError as error:
        raise SecurityError(f"{path}: {error}") from None


def _hpke(keys: Sequence[object], kem: Kem) -> HpkePrivateKey | None:
    found = [one.private_bytes_raw() for one in keys if isinstance(one, X25519PrivateKey)]
    return HpkePrivateKey(kem, found[0]) if found else None


def _trust(path: Path, grace_ms: int) -> Trust:
    """The first certificate of such a file is that of the authority."""
    blocks = read_blocks(path, "run `orbitferry domain enroll`, or `orbitferry domain init`")
    trust = Trust(load_certificate(blocks[0].octets), grace_ms)
    trust.learn(blocks)
    return trust


def _own_certificate(
    blocks: Iterable[pem.PemBlock], request: NodeRequest
) -> x509.Certificate | None:
    """The newest certificate of a node's own key."""
    found = []
    for block in blocks:
        if block.label == pem.CERTIFICATE:
            try:
                node = read_node(load_certificate(block.octets))
            except SecurityError:
                continue
            same = public_octets(node.public_key) == public_octets(request.public_key)
            if same and node.facts.id == request.node and node.hpke == request.hpke:
                found.append(node.certificate)
    return max(found, key=lambda one: one.not_valid_before_utc, default=None)


def _root_of(blocks: Iterable[pem.PemBlock], own: x509.Certificate) -> x509.Certificate:
    """The authority that has signed a certificate, from the same file."""
    for block in blocks:
        if block.label == pem.CERTIFICATE:
            try:
                certificate = load_certificate(block.octets)
                read_authority(certificate)
            except SecurityError:
                continue
            if certificate.subject == certificate.issuer == own.issuer:
                return certificate
    raise SecurityError("the certificate of the authority is not in this file")
