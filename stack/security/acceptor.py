"""What a node does as acceptor and verifier (RFC 9172 §5.1): verify, decrypt, take off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from stack.core.errors import DecodeError, SecurityError
from stack.cose import Encrypt, OpeningKey
from stack.cose.messages import Headers
from stack.ports.security import Opened
from stack.security import contexts, cose_context
from stack.security.cose_keys import out_of_date, private_keys, shared_keys
from stack.security.keys import KeyRing
from stack.security.operations import Operation, check_cost, operations, targets_of
from stack.security.passing import Passing, check_author, check_label, check_wanted, results_of
from stack.security.pinned import OutOfDate
from stack.security.policy import SecurityPolicy
from stack.security.reasons import CONFLICTING, FAILED, MISSING, UNEXPECTED, UNKNOWN, Unusable
from stack.security.rules import NOTHING, PRIMARY, Rules, Wanted
from stack.security.signatures import PASSED, PRIMARY_NUMBER, Shared, Signatures
from stack.security.usual import NO_KEY, open_usual
from stack.wire.asb import (
    CONTEXT_BCB_AES_GCM,
    CONTEXT_BIB_HMAC_SHA2,
    CONTEXT_COSE,
    Pair,
    SecurityBlock,
    Value,
)
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_NONE,
    DISCARD_UNPROCESSED,
    PAYLOAD_NUMBER,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    PrimaryForm,
    signs_primary,
)

Opener = Callable[[CanonicalBlock, Sequence[Pair]], bytes | None]
"""Decrypts a target with its results, or cannot."""


class Acceptor:
    """Opens what is for this node, and what passes through it as rules say."""

    def __init__(
        self, keys: KeyRing, policy: SecurityPolicy, signatures: Signatures, rules: Rules
    ) -> None:
        self._keys = keys
        self._policy = policy
        self._signatures = signatures
        self._rules = rules

    def open(self, bundle: Bundle, *, labelled: bool = False) -> Opened:
        """Verify and decrypt what is for here, and remove the security blocks; fail closed.
        `labelled`: it has a data policy, so no rule lets it come in clear."""
        result = self._usual(bundle) or _outcome(lambda: self._open(bundle, labelled))
        if result.reason == FAILED and _signed_without_crc(bundle):
            bare = Bundle(PrimaryForm(bundle.primary).without_crc(), bundle.blocks)
            again = _outcome(lambda: self._open(bare, labelled))
            return again if again.ok else result
        return result

    def pass_on(self, bundle: Bundle, *, labelled: bool = False) -> Opened:
        """Verify and accept what passes through, as rules say; `bundle` of the outcome is None
        where it stays as it is.  `labelled`: it has a data policy, so nothing is taken off its
        payload, which is verified instead."""
        passed = self._signatures.check_passing(bundle)
        if not passed.ok or not self._rules:
            return passed
        changed = bundle
        payload, accepted = NOTHING, self._rules.of("acceptor", bundle.primary)
        if labelled:
            payload, accepted = accepted.apart()
        verified = self._rules.of("verifier", bundle.primary)
        for wanted in (accepted, payload, verified):
            if wanted.rules:
                work = Passing(self, changed, wanted)
                outcome = _outcome(work.accepted if wanted is accepted else work.verified)
                if outcome.bundle is None:
                    return outcome
                changed = outcome.bundle
        return PASSED if changed is bundle else Opened(True, changed)

    def _usual(self, bundle: Bundle) -> Opened | None:
        """What comes of a bundle of the most usual form of which nothing else is asked, or None."""
        try:
            if self._rules.at_ends("acceptor", bundle.primary) is not NOTHING:
                return None
        except Unusable:
            return None
        asked = self._signatures.required_from(bundle.primary)
        return None if asked else open_usual(bundle, self._keys)

    def _open(self, bundle: Bundle, labelled: bool) -> Opened:
        blocks = {block.number: block for block in bundle.blocks}
        wanted = self._rules.at_ends("acceptor", bundle.primary)
        encryptions = operations(bundle.blocks, BLOCK_CONFIDENTIALITY)
        encrypted = targets_of(encryptions)
        check_cost(encryptions)
        lost: set[int] = set()
        for operation in encryptions:
            lost |= self.decrypt(bundle.primary, blocks, operation, wanted)
        unsigned = BLOCK_INTEGRITY in [blocks.pop(number).type for number in lost]
        # A BIB may itself have been encrypted: it can be read only now.
        integrities = operations(list(blocks.values()), BLOCK_INTEGRITY)
        targets_of(integrities)
        signed: set[int] = set()
        proven: set[int] = set()
        for operation in integrities:
            _check_hidden(operation, encrypted)
            bound = self.verify(bundle.primary, blocks, operation, wanted, lost)
            signed |= bound
            own = operation.asb.source.node == bundle.primary.source.node
            if own and operation.asb.context == CONTEXT_COSE:
                for kind in (cose_context.RESULT_SIGN1, cose_context.RESULT_SIGN):
                    proven |= bound & results_of(operation, kind)
        asked = wanted.signed or self._signatures.required_from(bundle.primary)
        if asked and PAYLOAD_NUMBER not in proven:
            raise Unusable(MISSING, f"{bundle.primary.source} has not signed it, as policy asks")
        check_author(blocks, encryptions, integrities, lost)
        check_label(blocks, encryptions)
        if wanted.rules:
            check_wanted(wanted, bundle.primary, blocks, encryptions, integrities, lost)
        belongs = PAYLOAD_NUMBER in signed or any(map(_binds_payload, encryptions))
        if self._policy.require and (labelled or not wanted.payload):
            if PAYLOAD_NUMBER not in encrypted:
                raise Unusable(MISSING, "the payload is not encrypted, as policy asks")
            if not belongs:
                if unsigned:
                    raise Unusable(FAILED, "the BIB of the payload does not decrypt with any key")
                words = "nothing binds the payload to its place in this bundle, as policy asks"
                raise Unusable(MISSING, words)
        for operation in (*encryptions, *integrities):
            blocks.pop(operation.block.number, None)  # what was lost has gone already
        return Opened(True, Bundle(bundle.primary, tuple(blocks.values())), proven=belongs)

    def decrypt(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: Operation,
        wanted: Wanted,
    ) -> set[int]:
        """Decrypt the targets of a BCB in `blocks`, by whom the source or what is `wanted` lets do
        so; the numbers of those that do not decrypt.

        They go, and the security operations on them, but not the bundle, unless the payload is
        one of them (RFC 9172 §5.1.1).  Raises `Unusable`, also for what breaks a rule.
        """
        asb = operation.asb
        if asb.context == CONTEXT_COSE:
            peer = self._source(primary, blocks, operation, wanted)
            opener = self._cose(primary, blocks, operation, peer)
        else:
            given = _parameters(asb, CONTEXT_BCB_AES_GCM)
            peer = self._source(primary, blocks, operation, wanted)
            opener = self._gcm(primary, operation, peer, given)
        lost = set()
        for index, number in enumerate(asb.targets):
            target = blocks.get(number)
            if target is None or target.type == BLOCK_CONFIDENTIALITY:
                # RFC 9172 §3.8: never the primary block, never another BCB
                raise Unusable(CONFLICTING, f"a BCB names block {number}, which it may not encrypt")
            plain, why = None, NO_KEY
            try:
                plain = opener(target, asb.results[index])
            except OutOfDate as refusal:
                why = str(refusal)
            if plain is None:
                if number == PAYLOAD_NUMBER:
                    raise Unusable(FAILED, why)
                lost.add(number)
                continue
            blocks[number] = CanonicalBlock(
                target.type, target.number, target.flags, plain, target.crc_type
            )
        return lost

    def _gcm(
        self, primary: PrimaryBlock, operation: Operation, peer: str, given: Mapping[int, Value]
    ) -> Opener:
        """What decrypts a target of a BCB-AES-GCM, if it does."""
        _check_flags(operation)
        iv = given.get(contexts.BCB_IV)
        scope = given.get(contexts.BCB_SCOPE, contexts.SCOPE_ALL)
        variant = given.get(contexts.BCB_AES_VARIANT, contexts.AES_DEFAULT)
        if isinstance(variant, bytes):
            variant = int.from_bytes(variant)
        size = contexts.KEY_BYTES.get(variant) if isinstance(variant, int) else None
        if not isinstance(iv, bytes) or not contexts.is_scope(scope) or size is None:
            raise Unusable(UNKNOWN, "BCB-AES-GCM parameters are not those of RFC 9173 §4.3")
        secrets = _secrets(self._keys, "aes", peer, given.get(contexts.BCB_WRAPPED_KEY))
        secrets = [secret for secret in secrets if len(secret) == size]

        def opened(target: CanonicalBlock, results: Sequence[Pair]) -> bytes | None:
            tag = _result(results, contexts.BCB_RESULT_TAG)
            # An authentication tag is always of 128 bits (RFC 9173 §4.4).
            usable = secrets if len(tag) in (0, contexts.TAG_BYTES) else []
            return _try_decrypt(usable, iv, scope, primary, target, operation.block, tag)

        return opened

    def _cose(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: Operation,
        peer: str,
    ) -> Opener:
        """As `_gcm`, in the COSE context.  It raises `OutOfDate` where a certificate is why not."""
        asb = operation.asb
        _check_flags(operation)
        parameters = cose_context.read_parameters(asb)

        def opened(target: CanonicalBlock, results: Sequence[Pair]) -> bytes | None:
            aad = cose_context.external_aad(
                asb.source, parameters, primary, blocks, target.number, operation.block
            )
            other = cose_context.kdf_other(asb.source, parameters)
            more, sealed = parameters.additional, bytes(target.data)
            return self._open_cose(results, peer, more, aad, other, sealed)

        return opened

    def _open_cose(
        self,
        results: Sequence[Pair],
        peer: str,
        more: Headers,
        aad: bytes,
        other: bytes,
        sealed: bytes,
    ) -> bytes | None:
        try:
            message = cose_context.read_confidentiality(results, more)
        except SecurityError as error:
            raise Unusable(UNKNOWN, str(error)) from None
        if isinstance(message, Encrypt):
            for own in self._opening(peer):
                try:
                    return message.open(own, external_aad=aad, other=other, ciphertext=sealed)
                except SecurityError:
                    continue
            if refusal := out_of_date(self._keys, peer, message):
                raise refusal
            return None
        for key in self._keys.accepting("aes", peer):
            try:
                return message.open(key.secret, external_aad=aad, ciphertext=sealed)
            except SecurityError:
                continue
        return None

    def _opening(self, peer: str) -> Iterator[OpeningKey]:
        """The keys that may open what node `peer` has encrypted for recipients."""
        certified = self._signatures.signers.unsealing_key()
        if certified is not None:
            yield certified
        yield from private_keys(self._keys, peer)
        yield from shared_keys(self._keys, "confidentiality", peer)

    def _shared(self, peer: str) -> Shared | None:
        """What this node has to verify MACs of node `peer` with."""
        secrets = [key.secret for key in self._keys.accepting("hmac", peer)]
        keys = list(shared_keys(self._keys, "integrity", peer))
        return Shared(secrets, keys) if keys else None

    def verify(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: Operation,
        wanted: Wanted,
        lost: Set[int] = frozenset(),
    ) -> set[int]:
        """Verify each target of a BIB but those that are `lost`, by whom the source or what is
        `wanted` lets do so: which of them it `binds`.  Raises `Unusable` where one does not
        verify."""
        asb = operation.asb
        if asb.context == CONTEXT_COSE:
            peer = self._source(primary, blocks, operation, wanted)
            shared = self._shared(peer)
            return self._signatures.verify(primary, blocks, operation.block, asb, peer, shared)
        given = _parameters(asb, CONTEXT_BIB_HMAC_SHA2)
        peer = self._source(primary, blocks, operation, wanted)
        variant = given.get(contexts.BIB_SHA_VARIANT, contexts.SHA_DEFAULT)
        scope = given.get(contexts.BIB_SCOPE, contexts.SCOPE_ALL)
        if not isinstance(variant, int) or not contexts.is_scope(scope):
            raise Unusable(UNKNOWN, "BIB-HMAC-SHA2 parameters are not those of RFC 9173 §3.3")
        secrets = _secrets(self._keys, "hmac", peer, given.get(contexts.BIB_WRAPPED_KEY))
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
        whole = contexts.binds(scope)
        return {n for n in asb.targets if n not in lost and (whole or n == PRIMARY_NUMBER)}

    def _source(
        self,
        primary: PrimaryBlock,
        blocks: Mapping[int, CanonicalBlock],
        operation: Operation,
        wanted: Wanted,
    ) -> str:
        """The node that has secured a bundle, whose keys apply: its source, or a waypoint that may,
        by policy, or by rules for this service on these blocks.  BIBs go with what they sign."""
        source = operation.asb.source
        own = source in (primary.source, primary.source.node)
        node = str(source.node)
        if not own and node not in self._policy.waypoints:
            hides = operation.block.type == BLOCK_CONFIDENTIALITY
            targets = operation.asb.targets
            kinds = {blocks[number].type for number in targets if number in blocks}
            if PRIMARY_NUMBER in targets:
                kinds.add(PRIMARY)
            service = "confidentiality" if hides else "integrity"
            if not wanted.lets(service, kinds - {BLOCK_INTEGRITY}, node):
                words = f"secured by {source}, which is not its source {primary.source}"
                raise Unusable(UNEXPECTED, words)
        return node


def _parameters(asb: SecurityBlock, context: int) -> dict[int, Value]:
    """What it says, by number, if it is of this context and all is known (RFC 9172 §3.10)."""
    if asb.context != context:
        raise Unusable(UNKNOWN, f"security context {asb.context} is not known here")
    given = dict(asb.parameters)
    if len(given) != len(asb.parameters):
        raise Unusable(UNKNOWN, "a security parameter is given twice")
    unknown = given.keys() - contexts.PARAMETERS[context]
    if unknown:
        raise Unusable(UNKNOWN, f"security parameter {min(unknown)} is not known here")
    return given


def _outcome(work: Callable[[], Opened]) -> Opened:
    """What comes of work on what a peer has sent."""
    try:
        return work()
    except Unusable as problem:
        return Opened(False, None, str(problem), problem.reason)
    except DecodeError as error:
        return Opened(False, None, f"security block cannot be read: {error}", UNKNOWN)
    except SecurityError as error:
        return Opened(False, None, str(error), FAILED)


def _try_decrypt(
    secrets: Sequence[bytes],
    iv: bytes,
    scope: int,
    primary: PrimaryBlock,
    target: CanonicalBlock,
    bcb: CanonicalBlock,
    tag: bytes,
) -> bytes | None:
    for secret in secrets:
        try:
            return contexts.decrypt(contexts.cipher(secret), iv, scope, primary, target, bcb, tag)
        except SecurityError:
            continue
    return None


def _secrets(keys: KeyRing, kind: str, peer: str, wrapped: Value | None) -> list[bytes]:
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


def _signed_without_crc(bundle: Bundle) -> bool:
    """Whether the primary block may have got its CRC after a BIB was made over it (RFC 9173
    §3.8.1), as those of fragments do."""
    try:
        return bundle.primary.crc_type != CRC_NONE and signs_primary(bundle)
    except DecodeError:
        return False


def _check_hidden(bib: Operation, encrypted: Set[int]) -> None:
    """Who encrypts what a BIB signs encrypts that BIB, and its results for other blocks have gone
    to one of their own (RFC 9172 §3.8, §3.9)."""
    covered = encrypted & set(bib.asb.targets)
    if bib.block.number not in encrypted:
        if covered:
            raise Unusable(CONFLICTING, "a BIB in clear signs an encrypted block (RFC 9172 §3.9)")
    elif len(covered) < len(bib.asb.targets):
        words = "an encrypted BIB signs a block in clear (RFC 9172 §3.8, §3.9)"
        raise Unusable(CONFLICTING, words)


def _check_flags(bcb: Operation) -> None:
    """Nobody could open what has lost its BCB on the way (RFC 9172 §3.8)."""
    flags = bcb.block.flags
    if flags & DISCARD_UNPROCESSED or (PAYLOAD_NUMBER in bcb.asb.targets and not flags & REPLICATE):
        raise Unusable(CONFLICTING, "a BCB may get lost on the way by its flags (RFC 9172 §3.8)")


def _binds_payload(bcb: Operation) -> bool:
    """Whether who changes the primary block breaks the payload's encryption: AES-GCM
    authenticates what is in its scope as an HMAC does."""
    cose = bcb.asb.context == CONTEXT_COSE
    targets = results_of(bcb, cose_context.RESULT_ENCRYPT0) if cose else bcb.asb.targets
    return PAYLOAD_NUMBER in targets and bcb.bound


def _result(pairs: Sequence[Pair], number: int) -> bytes:
    """The result of this number; empty if there is none, or not just one."""
    found = [value for key, value in pairs if key == number]
    return found[0] if len(found) == 1 and isinstance(found[0], bytes) else b""
