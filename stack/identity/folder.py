"""The folder of a node, and that of an authority.  Both are for their owner alone (mode 0700).

A node:       key.pem          its private keys: for signatures, and for what is sealed to it
              token.uri        where the first of them is, if it is in a token (PKCS #11)
              request.pem      what it asks of the authority
              certificate.pem  what the authority has answered
              trust.pem        authority, lists, federations, others' certificates and ids
              epochs.pem       domain keys, sealed to this node
              acme-account.pem the key of its account at an ACME server, if it has one

An authority: key.pem          its private key, or token.uri
              first-epoch.pem  the secret of the domain's first epoch
              trust.pem        its certificate, and all that it has signed and that nodes need
              issued/          every certificate of a node, by serial number, until it expires
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from stack.core.eid import Eid
from stack.core.errors import ConfigError, SecurityError
from stack.core.private import discard
from stack.core.sansio import Entropy
from stack.cose import HpkePrivateKey, SigningKey
from stack.cose.hpke import Kem
from stack.identity import pem
from stack.identity.answer import (
    check_domain_of,
    check_mark,
    check_own,
    newest_of,
    not_ours,
    own_certificate,
    root_of,
)
from stack.identity.authority import Authority, check_domain, make_request
from stack.identity.certificate import (
    NodeRequest,
    Principal,
    load_certificate,
    read_node,
    read_offer,
    read_request,
)
from stack.identity.disk import (
    EPOCHS,
    FIRST_EPOCH,
    KEY,
    REQUEST,
    TOKEN,
    Passphrase,
    by_itself,
    check_private,
    cut_off,
    decode_blocks,
    keep_key,
    new_folder,
    new_key,
    read_blocks,
    read_keys,
    write_blocks,
    write_keys,
    written_at,
)
from stack.identity.forms import Terms
from stack.identity.issued import Revocable, earlier, keep, revocable
from stack.identity.keys import SigningPrivateKey, public_octets
from stack.identity.listed import GRACE_MS
from stack.identity.names import UNSAID, NameSpace
from stack.identity.naming import check_apart, check_clock, check_may_give
from stack.identity.recovery import Shown
from stack.identity.trust import Trust, certificate_block, revocations_block
from stack.policy.directory import check_names

NODE_DAYS: Final = 90
AUTHORITY_DAYS: Final = 3650
FEDERATION_DAYS: Final = 365
REVOCATIONS_DAYS: Final = 7
"""How long what an authority makes holds, by default."""


CERTIFICATE, TRUST, ISSUED = "certificate.pem", "trust.pem", "issued"


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
        return (self.path / KEY).exists() or (self.path / TOKEN).exists()

    @property
    def enrolled(self) -> bool:
        """Whether it has a certificate."""
        return (self.path / CERTIFICATE).exists()

    @property
    def request_path(self) -> Path:
        """The file that travels to the authority."""
        return self.path / REQUEST

    def check_new(self) -> None:
        """Raise `ConfigError` where there are keys: they are never overwritten."""
        if not self.begun:
            return
        if not self.request_path.exists():
            raise cut_off(self.path)
        message, remedy = "has keys already", "choose another folder, or destroy this one"
        if not self.enrolled:
            message += ", and waits for the answer to its request"
            remedy = f"have {self.request_path} approved, and take the answer (`enroll --answer`)"
        raise ConfigError(str(self.path), message, remedy)

    def begin(
        self,
        node: Eid,
        *,
        jurisdictions: Iterable[str],
        roles: Iterable[str],
        passphrase: bytes,
        entropy: Entropy,
        algorithm: str = "p256",
        token: str = "",
        kem: Kem = "MLKEM768-X25519",
    ) -> NodeRequest:
        """Make keys, and the request to an authority.  With the URI of a `token` (RFC 7512), of
        which `passphrase` is the PIN, the key for signatures is made in it and stays there.  No key
        stays where any of this fails."""
        self.check_new()
        jurisdictions, roles = frozenset(jurisdictions), frozenset(roles)
        check_names("", jurisdictions, roles)
        hpke = HpkePrivateKey.generate(entropy, kem)
        new = (self.path, algorithm, passphrase, entropy, self.check_new, token, str(node))
        with new_key(*new) as made:
            octets = make_request(node, made.key, hpke.public, jurisdictions, roles)
            request = read_request(octets)
            # 32 octets in the form of an X25519 key; of the hybrid they are the seed of both keys.
            sealing = X25519PrivateKey.from_private_bytes(hpke.raw)
            keep_key(self.path, made, [sealing], entropy)
            words = (
                f"{node} asks to be taken into a domain.\nKey: SHA-256 {request.fingerprint}\n"
                "At the authority: orbitferry domain approve THIS-FILE"
            )
            write_blocks(self.path / REQUEST, [pem.PemBlock(pem.REQUEST, octets)], words)
        return request

    def request(self) -> NodeRequest:
        """What the node asks of its authority."""
        (block,) = read_blocks(self.path / REQUEST, "run `orbitferry domain enroll` first")[:1]
        return read_request(block.octets)

    @by_itself
    def accept(
        self, octets: bytes, now_ms: int, *, root: str = "", dry_run: bool = False
    ) -> Accepted:
        """Take an authority's answer, or an update of what it says of others; with `dry_run` only
        say what would come of it.  The first answer says whom to believe from then on; `root` is
        what the fingerprint of that authority's certificate begins with, where it is known from
        elsewhere."""
        blocks = decode_blocks(octets)
        own = self._own(blocks)
        trust = self.trust() if self.enrolled else Trust(root_of(blocks, own))
        if root:
            check_mark(root, trust.root)
        refusals = trust.learn(blocks)
        check_domain_of(blocks, own, trust, refusals)
        known = [*trust.blocks(), *trust.foreign.memory()]
        # Also when it says that this node is not trusted any more.
        if self.enrolled and not dry_run:
            write_blocks(self.path / TRUST, known)
        node = trust.verify([newest_of(own, self.request(), trust)], now_ms)
        if dry_run:
            return Accepted(node, refusals)
        write_blocks(self.path / TRUST, known)
        if epochs := [block for block in blocks if block.label == pem.EPOCHS]:
            write_blocks(self.path / EPOCHS, epochs)
        if not self.enrolled or node.certificate != self._certificate():
            # Last: then all is there.
            write_blocks(self.path / CERTIFICATE, [certificate_block(node.certificate)])
        return Accepted(node, refusals)

    def authority_in(self, octets: bytes) -> x509.Certificate:
        """Whom this node believes, or would from an answer on."""
        if self.enrolled:
            return self.trust().root
        blocks = decode_blocks(octets)
        return root_of(blocks, self._own(blocks))

    def _own(self, blocks: Sequence[pem.PemBlock]) -> x509.Certificate:
        request = self.request()
        found = own_certificate(blocks, request)
        if found is None and not self.enrolled:
            raise not_ours(request)
        return found or check_own(self._certificate(), request)

    def trust(self, grace_ms: int = GRACE_MS) -> Trust:
        """What this node believes."""
        return _trust(self.path / TRUST, grace_ms)

    def unlock(self, passphrase: Passphrase) -> Identity:
        """Certificate and keys."""
        check_private(self.path)
        certificate = self._certificate()
        keys = read_keys(self.path / KEY, passphrase)
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

    def stamp(self) -> int:
        """Changes when what this node believes is written anew."""
        return written_at(self.path / TRUST)

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

    def check_new(self) -> None:
        """Raise `ConfigError` where there is a domain, or was one: it is never overwritten."""
        found = [name for name in (TRUST, KEY, TOKEN) if (self.path / name).exists()]
        if found == [TRUST]:
            remedy = "choose another folder (--folder), or remove this file"
            raise ConfigError(
                str(self.path / TRUST), "is what a domain without a key has left", remedy
            )
        if not found:
            return
        message, remedy = "has a domain already", "choose another folder (--folder)"
        if TRUST not in found:
            if not any((self.path / ISSUED).glob("*")):
                raise cut_off(self.path)
            message = f"has the key of a domain, but not its {TRUST}"
            remedy = "put that back from a copy, or choose another folder (--folder)"
        raise ConfigError(str(self.path), message, remedy)

    def create(
        self,
        domain: str,
        *,
        passphrase: bytes,
        entropy: Entropy,
        now_ms: int,
        algorithm: str = "p256",
        token: str = "",
        names: NameSpace = UNSAID,
    ) -> Authority:
        """Begin a domain, with its name space; `token` as with `NodeFolder.begin`."""
        self.check_new()
        check_domain(domain)
        new = (self.path, algorithm, passphrase, entropy, self.check_new, token, domain)
        with new_key(*new) as made:
            authority = Authority.create(domain, made.key, now_ms, AUTHORITY_DAYS)
            new_folder(self.path / ISSUED)
            keep_key(self.path, made, [], entropy)
            # In the form of a key, so that it is under the passphrase as the other is.
            secret = X25519PrivateKey.from_private_bytes(entropy(32))
            write_keys(self.path / FIRST_EPOCH, [secret], made.passphrase, entropy)
            try:
                self._renew(authority, Trust(authority.certificate), (), now_ms, names=names)
            except BaseException:  # there without being durable, perhaps: its key goes
                discard(self.path / TRUST)
                raise
        return authority

    def unlock(self, passphrase: Passphrase) -> Authority:
        """The authority, with its key."""
        check_private(self.path)
        root = self.trust().root
        for key in read_keys(self.path / KEY, passphrase):
            if isinstance(key, SigningPrivateKey):
                return Authority(root, key)
        raise SecurityError(f"{self.path / KEY}: no key that could sign")

    def secret(self, passphrase: Passphrase) -> bytes:
        """The secret of the domain's first epoch, 32 octets."""
        for one in read_keys(self.path / FIRST_EPOCH, passphrase):
            if isinstance(one, X25519PrivateKey):
                return one.private_bytes_raw()
        raise SecurityError(f"{self.path / FIRST_EPOCH}: no secret of a domain")

    def trust(self) -> Trust:
        """What nodes of this domain believe."""
        return _trust(self.path / TRUST, GRACE_MS)

    def stamp(self) -> int:
        """Changes when what nodes of this domain believe is written anew."""
        return written_at(self.path / TRUST)

    @by_itself
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
        """Give a node its certificate.  Raises `ConfigError` for an id that is another domain's."""
        trust = self.trust()
        check_clock(trust, now_ms)
        check_may_give(trust, request.node, now_ms)
        former, serials = earlier(self.path / ISSUED, trust, request.node, now_ms)
        certificate = authority.issue(
            request,
            now_ms,
            days,
            jurisdictions=jurisdictions,
            roles=roles,
            former=former,
        )
        # Known before it is anywhere else, so that it can be revoked.
        keep(self.path / ISSUED, certificate)
        self._renew(authority, trust, [certificate_block(certificate)], now_ms, serials)
        return trust.verify([certificate], now_ms)

    @by_itself
    def revoke(self, authority: Authority, subject: str, now_ms: int) -> int:
        """Revoke all certificates of a node, or the federation with a domain; how many."""
        trust = self.trust()
        check_clock(trust, now_ms)
        serials = self.revocable(subject, now_ms, forget=True).serials
        self._renew(authority, trust, (), now_ms, serials)
        return len(serials)

    def revocable(self, subject: str, now_ms: int, *, forget: bool = False) -> Revocable:
        """The certificates of a node, or of a domain that is trusted; with `forget` the files of
        those that have expired go."""
        return revocable(self.path / ISSUED, self.trust(), subject, now_ms, forget=forget)

    @by_itself
    def federate(
        self,
        authority: Authority,
        blocks: Sequence[pem.PemBlock],
        terms: Terms,
        now_ms: int,
        days: int = FEDERATION_DAYS,
    ) -> list[str]:
        """Trust another domain for what is in `terms` of its offer, and take its revocation list
        and the certificates of its nodes; what was not believed."""
        (offer,) = (block.octets for block in blocks if block.label == pem.REQUEST)
        trust = self.trust()
        check_clock(trust, now_ms)
        domain, _, _ = read_offer(offer)
        check_apart(trust, terms.names, domain, now_ms)
        certificate = authority.federate(offer, terms, now_ms, days)
        # Nodes of others are learned with it, and only what it allows.
        blocks, former = [certificate_block(certificate), *blocks], trust.cross_serials(domain)
        return self._renew(authority, trust, blocks, now_ms, former)

    @by_itself
    def update(
        self,
        authority: Authority,
        blocks: Sequence[pem.PemBlock],
        now_ms: int,
        names: NameSpace | None = None,
        *,
        clock_is_right: bool = False,
    ) -> list[str]:
        """Take newer revocation lists and certificates of other domains; make a new revocation list
        of this one, which says from now on from where its `names` come.  What was not believed.
        Raises `ConfigError` for names that are another domain's, or leave a node of this out."""
        trust = self.trust()
        if not clock_is_right:
            check_clock(trust, now_ms)
        if names is not None:
            check_apart(trust, names, trust.domain, now_ms)
        return self._renew(authority, trust, blocks, now_ms, names=names)

    @by_itself
    def recover(
        self, authority: Authority, shown: Shown, now_ms: int, *, clock_is_right: bool = False
    ) -> None:
        """Take in what this authority has signed that this folder, from a backup, does not know:
        the next list comes after all of it, and has the entries of all of it."""
        trust = self.trust()
        lists, serials = shown.lists_with(trust), shown.doubled(trust)
        trust.learn(shown.blocks)
        if not clock_is_right:
            check_clock(trust, now_ms)
        for certificate in shown.certificates():
            keep(self.path / ISSUED, certificate)
        self._renew(authority, trust, (), now_ms, serials, lists=lists)

    def export(self, *, own: bool = False) -> list[pem.PemBlock]:
        """What nodes of this domain need to know: nothing secret.  With `own` without what others
        have signed."""
        return self.trust().blocks(own=own)

    def _renew(
        self,
        authority: Authority,
        trust: Trust,
        blocks: Sequence[pem.PemBlock],
        now_ms: int,
        serials: Iterable[int] = (),
        names: NameSpace | None = None,
        lists: Iterable[x509.CertificateRevocationList] = (),
    ) -> list[str]:
        """A new revocation list, with all of `lists`, too, and what else is new."""
        previous = trust.revocations(trust.domain)
        revocations = authority.revocations(
            previous, serials, now_ms, REVOCATIONS_DAYS, names, lists
        )
        refusals = trust.learn([*blocks, revocations_block(revocations)])
        trust.foreign.sign(trust.domain, authority.signing_key)
        write_blocks(
            self.path / TRUST, trust.blocks(), f"What domain {trust.domain} says; not secret."
        )
        return refusals


def _hpke(keys: Sequence[object], kem: Kem) -> HpkePrivateKey | None:
    found = [one.private_bytes_raw() for one in keys if isinstance(one, X25519PrivateKey)]
    return HpkePrivateKey(kem, found[0]) if found else None


def _trust(path: Path, grace_ms: int) -> Trust:
    """The first certificate of such a file is that of the authority."""
    blocks = read_blocks(path, "run `orbitferry domain enroll`, or `orbitferry domain init`")
    trust = Trust(load_certificate(blocks[0].octets), grace_ms)
    trust.learn(blocks)
    trust.foreign.recall(blocks)
    return trust
