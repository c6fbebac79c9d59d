"""What a node does as security source (RFC 9172 §3): sign and encrypt what it makes, and
what passes through it where rules say so."""

from __future__ import annotations

import fnmatch
from functools import lru_cache

from stack.core.eid import Eid
from stack.core.errors import SecurityError
from stack.core.sansio import Entropy
from stack.cose import SealingKey, seal0, seal_for
from stack.security import contexts, cose_context
from stack.security.cose_keys import sealing_key
from stack.security.keys import Key, KeyRing
from stack.security.operations import Operation, operations
from stack.security.policy import SecurityPolicy
from stack.security.reasons import CONFLICTING, MISSING, Unusable
from stack.security.rules import NOTHING, PRIMARY, PolicyRule, Rules, Wanted
from stack.security.signatures import PRIMARY_NUMBER, Signatures
from stack.security.use import KeyUse
from stack.wire.asb import CONTEXT_BIB_HMAC_SHA2, SecurityBlock, encode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    DATA_POLICY,
    IS_FRAGMENT,
    PAYLOAD_NUMBER,
    REPLICATE,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    as_encoded,
    encrypted_blocks,
    free_number,
)

SHELLS_MAX = 1024
"""Heads of security blocks kept."""


class SecuritySource:
    """Adds security blocks with the keys of one node."""

    def __init__(
        self,
        keys: KeyRing,
        use: KeyUse,
        entropy: Entropy,
        policy: SecurityPolicy,
        signatures: Signatures,
        rules: Rules,
    ) -> None:
        self._keys = keys
        self._use = use
        self._entropy = entropy
        self._policy = policy
        self._signatures = signatures
        self._rules = rules

    def protect(self, bundle: Bundle, *, labelled: bool = False) -> Bundle:
        """A bundle of this node, its payload encrypted, and signed where policy says so; or as
        rules have it, but for its destination where it is `labelled` with a data policy.  Raises
        `SecurityError` without keys, for a fragment, and for a node of a domain that is not trusted
        to read."""
        try:
            wanted = self._rules.at_ends("source", bundle.primary)
            if wanted is NOTHING:
                return self._protect(bundle)
            return self._by_rules(bundle, wanted, labelled)
        except Unusable as problem:
            raise SecurityError(str(problem)) from None

    def _by_rules(self, bundle: Bundle, wanted: Wanted, labelled: bool) -> Bundle:
        peer = str(bundle.primary.destination.node)
        payload, rest = wanted.apart()
        hides = any(
            rule.service == "confidentiality" and rule.peer in ("", peer) for rule in payload.rules
        )
        if not wanted.payload or (labelled and not hides):
            bundle = self._protect(bundle)
            wanted = rest
        elif payload.rules and (wanted.signed or self._signatures.wanted_for(peer)):
            wanted = wanted.headed(DATA_POLICY if labelled else PRIMARY)
        if not wanted.rules:
            return bundle
        return _Adding(self, bundle, bundle.primary.source).carry_out(wanted)

    def secure(self, bundle: Bundle) -> Bundle:
        """A bundle that passes through, with what rules have this node add to it.  Raises
        `SecurityError` without keys, and `Unusable` where RFC 9172 does not let it be added."""
        wanted = self._rules.of("source", bundle.primary)
        if not wanted.rules:
            return bundle
        return _Adding(self, bundle, Eid.parse(self._keys.own)).carry_out(wanted)

    def _protect(self, bundle: Bundle) -> Bundle:
        primary = bundle.primary
        if primary.flags & IS_FRAGMENT:
            raise SecurityError("a fragment takes no new security blocks (RFC 9172 §5.2)")
        primary = as_encoded(primary)  # its octets are wanted a few times
        peer = str(primary.destination.node)
        aes = self._keys.sending("aes", peer)
        payload = bundle.payload
        crc_type = payload.crc_type
        number = max([block.number for block in bundle.blocks]) + 1
        source = primary.source
        sealed, bcb = self.seal(primary, payload, number, aes, crc_type, source)
        added = [bcb]
        bib, sign_for = None, self._policy.sign_for
        if self._signatures.wanted_for(peer):
            bib = self._signatures.of_payload(primary, payload, number + 1)
            added.append(self._signatures.of_head(primary, bundle.blocks, number + 3))
        elif sign_for and any(fnmatch.fnmatchcase(peer, pattern) for pattern in sign_for):
            hmac = self._keys.sending("hmac", peer)
            bib = self.sign(hmac, primary, payload, number + 1, source)
        if bib is not None:
            hidden, cover = self.seal(primary, bib, number + 2, aes, crc_type, source)
            added += [cover, hidden]
        return Bundle(primary, (*bundle.blocks[:-1], *added, sealed))

    def seal(
        self,
        primary: PrimaryBlock,
        target: CanonicalBlock,
        number: int,
        key: Key,
        crc_type: int,
        source: Eid,
    ) -> tuple[CanonicalBlock, CanonicalBlock]:
        """A block's encrypted form, without CRC (RFC 9173 §4.8.1), and the BCB that says how, which
        has a CRC of this type."""
        # RFC 9172 §3.8: replicated in every fragment when the payload is a target
        flags = REPLICATE if target.number == PAYLOAD_NUMBER else target.flags & REPLICATE
        bcb = _shell(BLOCK_CONFIDENTIALITY, number, flags)
        self._use.take(key)
        iv = self._entropy(contexts.IV_BYTES)
        scope = self._policy.scope
        sealed = contexts.encrypt(contexts.cipher(key.secret), iv, scope, primary, target, bcb)
        split = len(sealed) - contexts.TAG_BYTES
        before, between = contexts.bcb_frame(source, len(key.secret), scope, target.number)
        data = b"".join((before, iv, between, sealed[split:]))
        octets = memoryview(sealed)[:split]
        new = CanonicalBlock(target.type, target.number, target.flags, octets)
        return new, CanonicalBlock(BLOCK_CONFIDENTIALITY, number, flags, data, crc_type)

    def sign(
        self,
        key: Key,
        primary: PrimaryBlock,
        target: contexts.Target,
        number: int,
        source: Eid,
        flags: int = 0,
    ) -> CanonicalBlock:
        """The BIB of a block, with HMAC."""
        policy = self._policy
        bib = CanonicalBlock(BLOCK_INTEGRITY, number, flags, b"")
        digest = contexts.hmac_sha2(
            key.secret, policy.sha_variant, policy.scope, primary, target, bib
        )
        asb = SecurityBlock(
            (PRIMARY_NUMBER if isinstance(target, PrimaryBlock) else target.number,),
            CONTEXT_BIB_HMAC_SHA2,
            source,
            ((contexts.BIB_SHA_VARIANT, policy.sha_variant), (contexts.BIB_SCOPE, policy.scope)),
            (((contexts.BIB_RESULT_HMAC, digest),),),
        )
        return CanonicalBlock(BLOCK_INTEGRITY, number, flags, encode_asb(asb))

    def integrity(
        self,
        rule: PolicyRule,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        target: int,
        number: int,
        source: Eid,
    ) -> CanonicalBlock:
        """The BIB that a rule asks for.  Raises `SecurityError` without its key."""
        peer = rule.peer or str(primary.destination.node)
        # Where its target goes, it goes.  A BIB of the payload is wanted when that is whole again.
        whole = target == PRIMARY_NUMBER
        flags = REPLICATE if whole else blocks[target].flags & REPLICATE
        if rule.context == "cose-mac":
            bib = CanonicalBlock(BLOCK_INTEGRITY, number, flags, b"")
            secret = self._keys.sending("hmac", peer).secret
            data = cose_context.mac_target(secret, primary, blocks, target, bib, source)
            return CanonicalBlock(BLOCK_INTEGRITY, number, flags, data)
        if rule.context in ("cose-kek", "cose-kdk"):
            bib = CanonicalBlock(BLOCK_INTEGRITY, number, flags, b"")
            recipient = sealing_key(self._keys, rule.context, peer, self._entropy)
            fresh = self._entropy(cose_context.MAC_KEY_BYTES)
            data = cose_context.mac_target_for(
                recipient, fresh, primary, blocks, target, bib, source
            )
            return CanonicalBlock(BLOCK_INTEGRITY, number, flags, data)
        if rule.context == "cose-sign":
            return self._signatures.of_block(primary, blocks, target, number, source, peer, flags)
        key = self._keys.sending("hmac", peer)
        block = primary if whole else blocks[target]
        return self.sign(key, primary, block, number, source, flags)

    def confidentiality(
        self,
        rule: PolicyRule,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        target: int,
        number: int,
        source: Eid,
    ) -> tuple[CanonicalBlock, CanonicalBlock]:
        """The encrypted block and its BCB that a rule asks for.  Raises `SecurityError`."""
        peer = rule.peer or str(primary.destination.node)
        block = blocks[target]
        crc_type = block.crc_type or primary.crc_type
        if rule.context == "rfc9173":
            key = self._keys.sending("aes", peer)
            return self.seal(primary, block, number, key, crc_type, source)
        flags = REPLICATE if target == PAYLOAD_NUMBER else block.flags & REPLICATE
        bcb = CanonicalBlock(BLOCK_CONFIDENTIALITY, number, flags, b"")
        labels = {each.number: 3 for each in blocks.values() if each.type == DATA_POLICY}
        scope = {**cose_context.SCOPE_DEFAULT, **labels}  # no other label opens it
        parameters = cose_context.CoseParameters(scope)
        aad = cose_context.external_aad(source, parameters, primary, blocks, target, bcb)
        if rule.context != "cose-encrypt":
            recipient = self._recipient(rule.context, peer)
            other = cose_context.kdf_other(source, parameters)
            message, sealed = seal_for(
                block.data, recipient, self._entropy, external_aad=aad, other=other
            )
            result = cose_context.RESULT_ENCRYPT
        else:
            key = self._keys.sending("aes", peer)
            self._use.take(key)
            fresh = self._entropy(contexts.IV_BYTES)
            message, sealed = seal0(block.data, key.secret, fresh, external_aad=aad)
            result = cose_context.RESULT_ENCRYPT0
        asb = cose_context.block_of(source, (target,), scope, [((result, message),)])
        new = CanonicalBlock(block.type, target, block.flags, sealed)
        return new, CanonicalBlock(BLOCK_CONFIDENTIALITY, number, flags, encode_asb(asb), crc_type)

    def _recipient(self, context: str, peer: str) -> SealingKey:
        """Whom a rule has something encrypted for.  Raises `SecurityError`."""
        if context == "cose-hpke":
            return self._signatures.signers.sealing_key(peer)
        return sealing_key(self._keys, context, peer, self._entropy)


class _Adding:
    """A bundle that gets security blocks by rules (RFC 9172 §3.7 to §3.9)."""

    def __init__(self, maker: SecuritySource, bundle: Bundle, source: Eid) -> None:
        self._maker = maker
        self._source = source
        self._primary = bundle.primary
        self._blocks = {block.number: block for block in bundle.blocks}

    def carry_out(self, wanted: Wanted) -> Bundle:
        """The bundle with all that is wanted."""
        for rule in wanted.rules:
            kinds = {number: block.type for number, block in self._blocks.items()}
            numbers = [number for number, kind in kinds.items() if kind == rule.kind]
            for number in [PRIMARY_NUMBER] if rule.kind == PRIMARY else numbers:
                if not self._has(rule, number):
                    if rule.service == "integrity":
                        self._sign(rule, number)
                    else:
                        self._encrypt(rule, number)
        payload = self._blocks.pop(PAYLOAD_NUMBER)
        return Bundle(self._primary, (*self._blocks.values(), payload))

    def _has(self, rule: PolicyRule, number: int) -> bool:
        """Whether this node has done so before: the bundle may have come back.  Raises `Unusable`
        where it cannot be done."""
        what = f"rules have this node add {rule.service} to block {number}"
        kind = BLOCK_INTEGRITY if rule.service == "integrity" else BLOCK_CONFIDENTIALITY
        for operation in self._readable(kind):
            if number in operation.asb.targets:
                by = operation.asb.source
                if by.node == self._source.node:
                    return True
                raise Unusable(CONFLICTING, f"{what}, and {by} has done so (RFC 9172 §3.2)")
        if number in encrypted_blocks(tuple(self._blocks.values())):
            raise Unusable(CONFLICTING, f"{what}, which is encrypted (RFC 9172 §3.9)")
        if self._primary.flags & IS_FRAGMENT:
            raise Unusable(MISSING, f"{what}, and it is a fragment (RFC 9172 §5.2)")
        return False

    def _readable(self, kind: int) -> list[Operation]:
        hidden = encrypted_blocks(tuple(self._blocks.values()))
        return operations([b for b in self._blocks.values() if b.number not in hidden], kind)

    def _sign(self, rule: PolicyRule, number: int) -> None:
        blocks = self._blocks
        if number != PRIMARY_NUMBER:
            blocks[number] = _without_crc(blocks[number])
        free = free_number(blocks.values())
        made = self._maker.integrity(rule, self._primary, blocks, number, free, self._source)
        blocks[free] = made

    def _encrypt(self, rule: PolicyRule, number: int) -> None:
        """Encrypt a block, and the BIBs that sign it (RFC 9172 §3.9)."""
        covered = [number]
        for bib in self._readable(BLOCK_INTEGRITY):
            if number in bib.asb.targets:
                if len(bib.asb.targets) > 1:
                    words = f"block {number} is to be encrypted, whose BIB signs others too"
                    raise Unusable(CONFLICTING, words)
                covered.append(bib.block.number)
        for target in covered:
            free = free_number(self._blocks.values())
            sealed, bcb = self._maker.confidentiality(
                rule, self._primary, self._blocks, target, free, self._source
            )
            self._blocks[target], self._blocks[free] = sealed, bcb


def _without_crc(block: CanonicalBlock) -> CanonicalBlock:
    """A block as it is signed or encrypted (RFC 9173 §3.8.1, §4.8.1)."""
    if not block.crc_type:
        return block
    return CanonicalBlock(block.type, block.number, block.flags, block.data)


@lru_cache(maxsize=SHELLS_MAX)
def _shell(kind: int, number: int, flags: int) -> CanonicalBlock:
    """A security block of which only the head counts (RFC 9173 §3.7, §4.7.2)."""
    return CanonicalBlock(kind, number, flags, b"")
