"""What a node does with BPSec: protect what its applications send, open what is for them.

A protected bundle carries one BCB over its payload: AES-GCM, which authenticates payload, primary
block and the headers of both blocks (RFC 9173 §4.7.2).  Where policy asks for it, a BIB signs the
payload too, with a BCB of its own, as RFC 9172 §3.9 asks: each encryption needs its own IV, and
RFC 9173 §4.3.1 gives a BCB one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence, Set
from functools import lru_cache
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.core.sansio import Entropy
from stack.policy.label import label_of
from stack.ports.security import Opened
from stack.security import contexts
from stack.security.keys import Key, KeyRing
from stack.security.policy import SecurityPolicy
from stack.security.reasons import CONFLICTING, FAILED, MISSING, UNEXPECTED, UNKNOWN, Unusable
from stack.security.signatures import PASSED, Signatures, Signers
from stack.security.use import KeyUse
from stack.wire.asb import (
    CONTEXT_BCB_AES_GCM,
    CONTEXT_BIB_HMAC_SHA2,
    CONTEXT_COSE,
    Pair,
    SecurityBlock,
    decode_asb,
    encode_asb,
)
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    DISCARD_UNPROCESSED,
    IS_FRAGMENT,
    PAYLOAD_NUMBER,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    PrimaryForm,
    encoded,
    signs_primary,
)

FRAMES_MAX = 1024
"""Prepared BCBs kept."""

CIPHERS_MAX = 1024
"""Prepared AES-GCM ciphers kept; preparing one costs as much as encrypting a kilobyte."""

LABELS_MAX = 64
"""Data policies whose keys are kept: anybody can make up others."""


class _Operation(NamedTuple):
    """A security block, decoded."""

    block: CanonicalBlock
    asb: SecurityBlock


class BpSec:
    """Implements `stack.ports.security.Security` with shared keys."""

    def __init__(
        self,
        keys: KeyRing,
        entropy: Entropy,
        policy: SecurityPolicy,
        *,
        use: KeyUse | None = None,
        signers: Signers | None = None,
        label: bytes = b"",
    ) -> None:
        """`use` counts encryptions, by itself where none is given.  `signers` has the keys of
        signatures: by default `keys`.  `label`: of the data policy that the keys are bound to."""
        self._keys = keys
        self._use = use or KeyUse()
        self._label = label
        self._bound: dict[bytes, BpSec] = {}
        self._entropy = entropy
        self._policy = policy
        self._ciphers: dict[bytes, AESGCM] = {}
        self._signers = signers or keys
        self._signatures = Signatures(self._signers, policy.cose_sign_for, policy.cose_require_from)
        keys.on_change(self._forget)

    def _forget(self) -> None:
        """Nothing of keys that may be gone stays prepared."""
        self._bound.clear()
        self._ciphers.clear()
        contexts.forget_keys()

    def _under(self, label: bytes) -> BpSec:
        """The same for bundles of one data policy: their keys are made from ours and the label, so
        that a payload opens under the very label that it was sealed under, and under no other."""
        found = self._bound.get(label)
        if found is None:
            if len(self._bound) >= LABELS_MAX:
                self._bound.clear()
            keys = self._keys.bound(label)
            found = BpSec(
                keys,
                self._entropy,
                self._policy,
                use=self._use,
                signers=self._signers,
                label=label,
            )
            self._bound[label] = found
        return found

    # ---- sending ---------------------------------------------------------------------------

    def protect(self, bundle: Bundle) -> Bundle:
        """The bundle, its payload encrypted, and signed where policy says so.  Raises
        `SecurityError` without keys, and for a fragment."""
        label = label_of(bundle.blocks)
        return (self if label == self._label else self._under(label))._protect(bundle)

    def _protect(self, bundle: Bundle) -> Bundle:
        primary = bundle.primary
        if primary.flags & IS_FRAGMENT:
            raise SecurityError("a fragment takes no new security blocks (RFC 9172 §5.2)")
        if primary.wire is None:  # it is wanted a few times
            primary = encoded(primary)
        peer = str(primary.destination.node)
        aes = self._keys.sending("aes", peer)
        crc_type = bundle.payload.crc_type
        payload = _without_crc(bundle.payload)
        number = max([block.number for block in bundle.blocks]) + 1
        sealed, bcb = self._seal(primary, payload, number, aes, crc_type)
        added = [bcb]
        bib, sign_for = None, self._policy.sign_for
        if self._signatures.wanted_for(peer):
            bib = self._signatures.of_payload(primary, payload, number + 1)
            added.append(self._signatures.of_head(primary, bundle.blocks, number + 3))
        elif sign_for and any(fnmatch.fnmatchcase(peer, pattern) for pattern in sign_for):
            hmac = self._keys.sending("hmac", peer)
            bib = _hmac_bib(hmac, self._policy, primary, payload, number + 1)
        if bib is not None:
            hidden, cover = self._seal(primary, bib, number + 2, aes, crc_type)
            added += [cover, hidden]
        return Bundle(primary, (*bundle.blocks[:-1], *added, sealed))

    def _seal(
        self, primary: PrimaryBlock, target: CanonicalBlock, number: int, key: Key, crc_type: int
    ) -> tuple[CanonicalBlock, CanonicalBlock]:
        """A block's encrypted form, and the BCB that says how, which has a CRC of this type."""
        # RFC 9172 §3.8: replicated in every fragment when the payload is a target
        flags = REPLICATE if target.number == PAYLOAD_NUMBER else 0
        bcb = _shell(BLOCK_CONFIDENTIALITY, number, flags)
        self._use.take(key)
        iv = self._entropy(contexts.IV_BYTES)
        scope = self._policy.scope
        sealed = contexts.encrypt(self._cipher(key.secret), iv, scope, primary, target, bcb)
        split = len(sealed) - contexts.TAG_BYTES
        variant = contexts.A128GCM if len(key.secret) == 16 else contexts.A256GCM
        before, between = _frame(primary.source, variant, scope, target.number)
        data = b"".join((before, iv, between, sealed[split:]))
        new = CanonicalBlock(
            target.type, target.number, target.flags, memoryview(sealed)[:split], target.crc_type
        )
        return new, CanonicalBlock(BLOCK_CONFIDENTIALITY, number, flags, data, crc_type)

    # ---- receiving -------------------------------------------------------------------------

    def open(self, bundle: Bundle) -> Opened:
        """Verify and decrypt as acceptor, remove the security blocks; fail closed."""
        label = label_of(bundle.blocks)
        return (self if label == self._label else self._under(label))._opened(bundle)

    def _opened(self, bundle: Bundle) -> Opened:
        result = self._attempt(bundle)
        if result.reason == FAILED and _signed_without_crc(bundle):
            again = self._attempt(Bundle(PrimaryForm(bundle.primary).without_crc(), bundle.blocks))
            return again if again.ok else result
        return result

    def _attempt(self, bundle: Bundle) -> Opened:
        try:
            opened = self._open(bundle)
        except Unusable as problem:
            return Opened(False, None, str(problem), problem.reason)
        except DecodeError as error:
            return Opened(False, None, f"security block cannot be read: {error}", UNKNOWN)
        except SecurityError as error:
            return Opened(False, None, str(error), FAILED)
        return Opened(True, opened)

    def _open(self, bundle: Bundle) -> Bundle:
        blocks = {block.number: block for block in bundle.blocks}
        encryptions = _operations(bundle.blocks, BLOCK_CONFIDENTIALITY)
        encrypted = _targets(encryptions)
        lost: set[int] = set()
        for operation in encryptions:
            lost |= self._decrypt(bundle.primary, blocks, operation)
        unsigned = BLOCK_INTEGRITY in [blocks.pop(number).type for number in lost]
        # A BIB may itself have been encrypted: it can be read only now.
        integrities = _operations(list(blocks.values()), BLOCK_INTEGRITY)
        signed = _targets(integrities)
        proven: set[int] = set()
        for operation in integrities:
            _check_hidden(operation, encrypted)
            if operation.asb.context == CONTEXT_COSE:
                proven |= self._signed(bundle.primary, blocks, operation)
                signed -= set(operation.asb.targets) - proven
            else:
                self._verify(bundle.primary, blocks, operation, lost)
        if self._signatures.required_from(bundle.primary) and PAYLOAD_NUMBER not in proven:
            raise Unusable(MISSING, f"{bundle.primary.source} has not signed it, as policy asks")
        if self._policy.require:
            if PAYLOAD_NUMBER not in encrypted:
                raise Unusable(MISSING, "the payload is not encrypted, as policy asks")
            if not (PAYLOAD_NUMBER in signed or any(map(_binds_payload, encryptions))):
                if unsigned:
                    raise Unusable(FAILED, "the BIB of the payload does not decrypt with any key")
                words = "nothing binds the payload to its primary block, as policy asks"
                raise Unusable(MISSING, words)
        removed = {operation.block.number for operation in (*encryptions, *integrities)}
        kept = tuple(block for number, block in blocks.items() if number not in removed)
        return Bundle(bundle.primary, kept)

    def _decrypt(
        self, primary: PrimaryBlock, blocks: dict[int, CanonicalBlock], operation: _Operation
    ) -> set[int]:
        """Decrypt the targets of a BCB in `blocks`; the numbers of those that do not decrypt.

        They go, and the security operations on them, but not the bundle, unless the payload is
        one of them (RFC 9172 §5.1.1).
        """
        asb = operation.asb
        peer = self._peer(primary, asb, CONTEXT_BCB_AES_GCM)
        _check_flags(operation)
        iv = asb.parameter(contexts.BCB_IV)
        scope = asb.parameter(contexts.BCB_SCOPE)
        scope = contexts.SCOPE_ALL if scope is None else scope
        variant = asb.parameter(contexts.BCB_AES_VARIANT)
        size = contexts.KEY_BYTES.get(
            contexts.AES_DEFAULT
            if variant is None
            else int.from_bytes(variant)
            if isinstance(variant, bytes)
            else variant
        )
        if not isinstance(iv, bytes) or not contexts.is_scope(scope) or size is None:
            raise Unusable(UNKNOWN, "BCB-AES-GCM parameters are not those of RFC 9173 §4.3")
        secrets = _secrets(self._keys, "aes", peer, asb.parameter(contexts.BCB_WRAPPED_KEY))
        secrets = [secret for secret in secrets if len(secret) == size]
        lost = set()
        for index, number in enumerate(asb.targets):
            target = blocks.get(number)
            if target is None or target.type == BLOCK_CONFIDENTIALITY:
                # RFC 9172 §3.8: never the primary block, never another BCB
                raise Unusable(CONFLICTING, f"a BCB names block {number}, which it may not encrypt")
            tag = _result(asb.results[index], contexts.BCB_RESULT_TAG)
            # An authentication tag is always of 128 bits (RFC 9173 §4.4).
            usable = secrets if len(tag) in (0, contexts.TAG_BYTES) else []
            plain = self._try_decrypt(usable, iv, scope, primary, target, operation.block, tag)
            if plain is None:
                if number == PAYLOAD_NUMBER:
                    raise Unusable(FAILED, "the payload does not decrypt with any key that fits")
                lost.add(number)
                continue
            blocks[number] = CanonicalBlock(
                target.type, target.number, target.flags, plain, target.crc_type
            )
        return lost

    def _try_decrypt(
        self,
        secrets: Sequence[bytes],
        iv: bytes,
        scope: int,
        primary: PrimaryBlock,
        target: CanonicalBlock,
        bcb: CanonicalBlock,
        tag: bytes,
    ) -> bytes | None:
        for secret in secrets:
            cipher = self._cipher(secret)
            try:
                return contexts.decrypt(cipher, iv, scope, primary, target, bcb, tag)
            except SecurityError:
                continue
        return None

    def _verify(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: _Operation,
        lost: set[int],
    ) -> None:
        asb = operation.asb
        peer = self._peer(primary, asb, CONTEXT_BIB_HMAC_SHA2)
        variant = asb.parameter(contexts.BIB_SHA_VARIANT)
        variant = contexts.SHA_DEFAULT if variant is None else variant
        scope = asb.parameter(contexts.BIB_SCOPE)
        scope = contexts.SCOPE_ALL if scope is None else scope
        if not isinstance(variant, int) or not contexts.is_scope(scope):
            raise Unusable(UNKNOWN, "BIB-HMAC-SHA2 parameters are not those of RFC 9173 §3.3")
        secrets = _secrets(self._keys, "hmac", peer, asb.parameter(contexts.BIB_WRAPPED_KEY))
        for index, number in enumerate(asb.targets):
            if number in lost:
                continue
            target = primary if number == 0 else blocks.get(number)
            if target is None:
                raise Unusable(CONFLICTING, f"a BIB names block {number}, which is not there")
            if isinstance(target, CanonicalBlock) and target.type in (
                BLOCK_INTEGRITY,
                BLOCK_CONFIDENTIALITY,
            ):
                # RFC 9172 §3.7: a BIB may sign no security block
                raise Unusable(CONFLICTING, f"a BIB names block {number}, which it may not sign")
            expected = _result(asb.results[index], contexts.BIB_RESULT_HMAC)
            block = operation.block
            if not any(
                contexts.hmac_matches(
                    expected, contexts.hmac_sha2(secret, variant, scope, primary, target, block)
                )
                for secret in secrets
            ):
                raise Unusable(FAILED, f"the integrity of block {number} is not proven by any key")

    def _signed(
        self, primary: PrimaryBlock, blocks: dict[int, CanonicalBlock], operation: _Operation
    ) -> set[int]:
        """The numbers of the blocks that the bundle's own source has signed in a BIB, all of
        whose signatures verify."""
        asb = operation.asb
        node = _source(primary, asb, self._policy)
        found = self._signatures.verify(primary, blocks, operation.block, asb, node)
        return found if node == str(primary.source.node) else set()

    def verify(self, bundle: Bundle) -> Opened:
        """Verify as verifier what passes through (RFC 9172 §5.1.2), as policy asks."""
        return self._signatures.check_passing(bundle) if self._policy.cose_require_from else PASSED

    def _peer(self, primary: PrimaryBlock, asb: SecurityBlock, context: int) -> str:
        """The node whose keys apply: the security source, which must be the bundle's source."""
        if asb.context != context:
            raise Unusable(UNKNOWN, f"security context {asb.context} is not known here")
        if len({number for number, _ in asb.parameters}) != len(asb.parameters):
            raise Unusable(UNKNOWN, "a security parameter is given twice")
        known = contexts.PARAMETERS[context]
        unknown = [number for number, _ in asb.parameters if number not in known]
        if unknown:
            raise Unusable(UNKNOWN, f"security parameter {min(unknown)} is not known here")
        return _source(primary, asb, self._policy)

    def _cipher(self, secret: bytes) -> AESGCM:
        cipher = self._ciphers.get(secret)
        if cipher is None:
            if len(self._ciphers) >= CIPHERS_MAX:
                self._ciphers.clear()
            cipher = self._ciphers[secret] = AESGCM(secret)
        return cipher


def _hmac_bib(
    key: Key,
    policy: SecurityPolicy,
    primary: PrimaryBlock,
    payload: CanonicalBlock,
    number: int,
) -> CanonicalBlock:
    """The BIB of a payload with HMAC."""
    bib = CanonicalBlock(BLOCK_INTEGRITY, number, 0, b"")
    digest = contexts.hmac_sha2(key.secret, policy.sha_variant, policy.scope, primary, payload, bib)
    asb = SecurityBlock(
        (PAYLOAD_NUMBER,),
        CONTEXT_BIB_HMAC_SHA2,
        primary.source,
        ((contexts.BIB_SHA_VARIANT, policy.sha_variant), (contexts.BIB_SCOPE, policy.scope)),
        (((contexts.BIB_RESULT_HMAC, digest),),),
    )
    return CanonicalBlock(BLOCK_INTEGRITY, number, 0, encode_asb(asb))


def _source(primary: PrimaryBlock, asb: SecurityBlock, policy: SecurityPolicy) -> str:
    """The node that has secured a bundle: its source, or a waypoint that may."""
    own = asb.source in (primary.source, primary.source.node)
    node = str(asb.source.node)
    if not own and node not in policy.waypoints:
        raise Unusable(
            UNEXPECTED, f"secured by {asb.source}, which is not its source {primary.source}"
        )
    return node


def _secrets(keys: KeyRing, kind: str, peer: str, wrapped: int | bytes | None) -> list[bytes]:
    """Keys that may apply, or the one that came wrapped."""
    if wrapped is None:
        return [key.secret for key in keys.accepting(kind, peer)]
    if not isinstance(wrapped, bytes):
        raise Unusable(UNKNOWN, "a wrapped key is no byte string")
    for kek in keys.accepting("kek", peer):
        try:
            return [contexts.unwrap_key(kek.secret, wrapped)]
        except SecurityError:
            continue
    return []  # as a key that is not there: nothing verifies, nothing decrypts


def _without_crc(block: CanonicalBlock) -> CanonicalBlock:
    """A block as it is signed or encrypted (RFC 9173 §3.8.1, §4.8.1)."""
    if not block.crc_type:
        return block
    return CanonicalBlock(block.type, block.number, block.flags, block.data)


def _signed_without_crc(bundle: Bundle) -> bool:
    """Whether the primary block may have got its CRC after a BIB was made over it (RFC 9173
    §3.8.1), as those of fragments do."""
    try:
        return bundle.primary.crc_type != CRC_NONE and signs_primary(bundle)
    except DecodeError:
        return False


def _operations(blocks: Sequence[CanonicalBlock], kind: int) -> list[_Operation]:
    return [_Operation(block, decode_asb(block.data)) for block in blocks if block.type == kind]


def _check_hidden(bib: _Operation, encrypted: Set[int]) -> None:
    """Who encrypts what a BIB signs encrypts that BIB, and its results for other blocks have gone
    to one of their own (RFC 9172 §3.8, §3.9)."""
    covered = encrypted & set(bib.asb.targets)
    if bib.block.number not in encrypted:
        if covered:
            raise Unusable(CONFLICTING, "a BIB in clear signs an encrypted block (RFC 9172 §3.9)")
    elif len(covered) < len(bib.asb.targets):
        words = "an encrypted BIB signs a block in clear (RFC 9172 §3.8, §3.9)"
        raise Unusable(CONFLICTING, words)


def _check_flags(bcb: _Operation) -> None:
    """Nobody could open what has lost its BCB on the way (RFC 9172 §3.8)."""
    flags = bcb.block.flags
    if flags & DISCARD_UNPROCESSED or (PAYLOAD_NUMBER in bcb.asb.targets and not flags & REPLICATE):
        raise Unusable(CONFLICTING, "a BCB may get lost on the way by its flags (RFC 9172 §3.8)")


def _binds_payload(bcb: _Operation) -> bool:
    """Whether who changes the primary block breaks the payload's encryption: AES-GCM
    authenticates what is in its scope as an HMAC does."""
    scope = bcb.asb.parameter(contexts.BCB_SCOPE)
    wide = scope is None or (isinstance(scope, int) and bool(scope & contexts.SCOPE_PRIMARY))
    return wide and PAYLOAD_NUMBER in bcb.asb.targets


@lru_cache(maxsize=FRAMES_MAX)
def _shell(kind: int, number: int, flags: int) -> CanonicalBlock:
    """A security block of which only the head counts (RFC 9173 §3.7, §4.7.2)."""
    return CanonicalBlock(kind, number, flags, b"")


@lru_cache(maxsize=FRAMES_MAX)
def _frame(source: Eid, variant: int, scope: int, target: int) -> tuple[bytes, bytes]:
    """What a flow's BCBs have in common: the octets before the IV, and those from there to the
    tag, with which they end."""
    iv, tag = b"\xff" * contexts.IV_BYTES, bytes(contexts.TAG_BYTES)
    asb = SecurityBlock(
        (target,),
        CONTEXT_BCB_AES_GCM,
        source,
        ((contexts.BCB_IV, iv), (contexts.BCB_AES_VARIANT, variant), (contexts.BCB_SCOPE, scope)),
        (((contexts.BCB_RESULT_TAG, tag),),),
    )
    before, _, rest = encode_asb(asb).rpartition(iv)  # no number in an EID is so long
    return before, rest[: -len(tag)]


def _result(pairs: Sequence[Pair], number: int) -> bytes:
    """The result of this number; empty if there is none, or not just one."""
    found = [value for key, value in pairs if key == number]
    return found[0] if len(found) == 1 and isinstance(found[0], bytes) else b""


def _targets(operations: Sequence[_Operation]) -> set[int]:
    """All targets of one security service; each may be named once (RFC 9172 §3.2)."""
    targets: set[int] = set()
    for operation in operations:
        for number in operation.asb.targets:
            if number in targets:
                raise Unusable(CONFLICTING, f"block {number} has the same security service twice")
            targets.add(number)
    return targets
