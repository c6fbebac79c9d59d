"""What a node does with signatures: sign what its applications send, verify what comes.

Shared keys prove that somebody of those who have them made a bundle; a signature proves who.
There are two in what is signed.  One, of the payload as it is in clear, is encrypted with it
(RFC 9172 §3.9): it is for the destination, and holds the source answerable for what it said.  The
other can be read on the way: of the label of the data policy where there is one, with the primary
block; else of the primary block.  So a relay that has the source's public key tells a forged label
from a genuine one, and what was never sent from what was, also in fragments.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.cose import (
    HpkePrivateKey,
    HpkePublicKey,
    Mac,
    Mac0,
    OpeningKey,
    Sign,
    Sign1,
    SigningKey,
    VerifyingKey,
)
from stack.cose.messages import HeaderPair
from stack.policy.label import is_label
from stack.ports.security import Opened
from stack.security import cose_context
from stack.security.reasons import CONFLICTING, FAILED, MISSING, UNKNOWN, Unusable
from stack.wire.asb import CONTEXT_COSE, SecurityBlock, decode_asb
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
    PrimaryForm,
    encrypted_blocks,
)

PRIMARY_NUMBER = 0
SIGNATURES_MAX = 8
"""Signatures that are verified of one bundle: each costs as much as an encryption of 100 KB."""

SCOPE_OF_PRIMARY: cose_context.Scope = {cose_context.SECURITY_BLOCK: cose_context.AAD_METADATA}
"""Where the primary block itself is signed, it need not be signed beside that."""

PASSED = Opened(True, None)
"""The outcome for what nothing is asked of."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a node has in common with a security source, to verify MACs with."""

    secrets: Sequence[bytes]
    """Of COSE_Mac0."""

    keys: Sequence[OpeningKey]
    """Of recipients of COSE_Mac: no public keys, with which anybody can make one."""


class Signers(Protocol):
    """Whose keys a node has: those of a key file, or of certificates."""

    def signing_key(self, peer: str) -> SigningKey:
        """This node's own, for what goes to node `peer`.  Raises `SecurityError` without one."""
        ...

    def verifying_key(self, node: str, key_id: bytes) -> VerifyingKey | None:
        """That of another node with this id (RFC 9052 §3.1; empty: none was said), or None."""
        ...

    def sealing_key(self, peer: str) -> HpkePublicKey:
        """With what something is encrypted for node `peer` alone.  Raises `SecurityError` where no
        certificate says so."""
        ...

    def unsealing_key(self) -> HpkePrivateKey | None:
        """With what this node opens that, if it has a certificate."""
        ...


class Signatures:
    """Makes and verifies the signatures of one node."""

    def __init__(
        self,
        signers: Signers,
        sign_for: Iterable[str] = (),
        require_from: Iterable[str] = (),
    ) -> None:
        """Destinations to which bundles go signed, and sources of which none is delivered or
        passed on without: shell patterns of nodes."""
        self.signers = signers
        self._sign_for = tuple(sign_for)
        self._require_from = tuple(require_from)

    def wanted_for(self, peer: str) -> bool:
        """Whether what goes to a node is signed."""
        return bool(self._sign_for) and _matches(peer, self._sign_for)

    def required_from(self, primary: PrimaryBlock) -> bool:
        """Whether a bundle of this source has to be signed."""
        return bool(self._require_from) and _matches(str(primary.source.node), self._require_from)

    # ---- making ----------------------------------------------------------------------------

    def of_payload(
        self, primary: PrimaryBlock, payload: CanonicalBlock, number: int
    ) -> CanonicalBlock:
        """The BIB of a payload in clear, to be encrypted with it.  Raises `SecurityError` without
        a key."""
        blocks = {PAYLOAD_NUMBER: payload}
        return self.of_block(primary, blocks, PAYLOAD_NUMBER, number)

    def of_head(
        self, primary: PrimaryBlock, blocks: Iterable[CanonicalBlock], number: int
    ) -> CanonicalBlock:
        """The BIB that everybody on the way can read.  Raises `SecurityError` without a key."""
        labels = {block.number: block for block in _labels(blocks)}
        target = min(labels, default=PRIMARY_NUMBER)
        return self.of_block(primary, labels, target, number, flags=REPLICATE)

    def of_block(
        self,
        primary: PrimaryBlock,
        blocks: Mapping[int, CanonicalBlock],
        target: int,
        number: int,
        source: Eid | None = None,
        peer: str = "",
        flags: int = 0,
    ) -> CanonicalBlock:
        """The BIB of a block by a security `source`, for node `peer`: by default the bundle's own,
        and its destination.  Raises `SecurityError` without a key."""
        bib = CanonicalBlock(BLOCK_INTEGRITY, number, flags, b"")
        key = self.signers.signing_key(peer or str(primary.destination.node))
        source = source or primary.source
        scope = cose_context.SCOPE_DEFAULT if target else SCOPE_OF_PRIMARY
        data = cose_context.sign_targets(key, primary, blocks, (target,), bib, source, scope)
        return CanonicalBlock(BLOCK_INTEGRITY, number, flags, data)

    # ---- verifying -------------------------------------------------------------------------

    def verify(
        self,
        primary: PrimaryBlock,
        blocks: Mapping[int, CanonicalBlock],
        bib: CanonicalBlock,
        asb: SecurityBlock,
        node: str,
        shared: Shared | None = None,
    ) -> set[int]:
        """Verify each target of a BIB whose security source is of `node`, MACs with what is
        `shared` with it: the numbers of those that this binds to the primary block.  Raises
        `Unusable`, and `DecodeError` for what is not of its form."""
        parameters = cose_context.read_parameters(asb)
        if len(asb.targets) > SIGNATURES_MAX:
            raise Unusable(CONFLICTING, f"a BIB with more than {SIGNATURES_MAX} signatures")
        for number, results in zip(asb.targets, asb.results, strict=True):
            _check_target(number, blocks)
            try:
                message = cose_context.read_integrity(results, parameters.additional)
            except SecurityError as error:
                raise Unusable(UNKNOWN, str(error)) from None
            if isinstance(message, Mac0 | Mac) and shared is None:
                raise Unusable(UNKNOWN, "a BIB of the COSE context without a signature")
            try:
                aad = cose_context.external_aad(
                    asb.source, parameters, primary, blocks, number, bib
                )
                payload = cose_context.content(primary, blocks, number)
                if isinstance(message, Sign1):
                    key = self._key(node, message.headers)
                    message.verify(key, external_aad=aad, payload=payload)
                elif isinstance(message, Sign):
                    self._verify_one(node, message, aad, payload)
                elif shared is not None:
                    other = cose_context.kdf_other(asb.source, parameters)
                    _verify_mac(message, shared, aad, payload, other)
            except SecurityError as error:
                raise Unusable(FAILED, f"block {number} from {node}: {error}") from None
        whole = cose_context.binds(parameters.scope)
        return {number for number in asb.targets if whole or number == PRIMARY_NUMBER}

    def _key(self, node: str, headers: HeaderPair) -> VerifyingKey:
        key = self.signers.verifying_key(node, headers.kid)
        if key is None:
            raise SecurityError(f"signed with a key that is not known here as one of {node}")
        return key

    def _verify_one(self, node: str, message: Sign, aad: bytes, payload: bytes) -> None:
        """Verify the first signature whose key is known here as one of a node's."""
        for index, one in enumerate(message.signatures):
            key = self.signers.verifying_key(node, one.headers.kid)
            if key is not None and one.headers.alg in key.algs:
                message.verify(index, key, external_aad=aad, payload=payload)
                return
        raise SecurityError(f"signed with no key that is known here as one of {node}")

    def check_passing(self, bundle: Bundle) -> Opened:
        """As verifier (RFC 9172 §5.1.2): whether a bundle that passes through, or a fragment of
        one, has the signature that policy asks for.  It stays as it is."""
        primary = bundle.primary
        if not self.required_from(primary):
            return PASSED
        try:
            if primary.flags & IS_FRAGMENT:
                primary = PrimaryForm(primary).whole()
            self._check_head(primary, bundle.blocks)
        except Unusable as problem:
            return Opened(False, None, str(problem), problem.reason)
        except DecodeError as error:
            return Opened(False, None, f"a signature cannot be read: {error}", UNKNOWN)
        return PASSED

    def _check_head(self, primary: PrimaryBlock, blocks: tuple[CanonicalBlock, ...]) -> None:
        encrypted = encrypted_blocks(blocks)
        by_number = {block.number: block for block in blocks}
        wanted = {block.number for block in _labels(blocks)} or {PRIMARY_NUMBER}
        node = str(primary.source.node)
        proven: set[int] = set()
        for block in blocks:
            if block.type != BLOCK_INTEGRITY or block.number in encrypted:
                continue
            asb = decode_asb(block.data)
            own = asb.source in (primary.source, primary.source.node)
            if asb.context == CONTEXT_COSE and own and wanted.intersection(asb.targets):
                proven |= self.verify(primary, by_number, block, asb, node)
        if not wanted <= proven:
            what = "the label of its data policy" if any(wanted) else "its primary block"
            raise Unusable(MISSING, f"{node} has not signed {what}, as policy asks")


def _verify_mac(
    message: Mac0 | Mac, shared: Shared, aad: bytes, payload: bytes, other: bytes
) -> None:
    """Raises `SecurityError` unless a MAC is of a key that is shared."""
    attempts: Iterable[Callable[[], bytes]]
    if isinstance(message, Mac0):
        attempts = (
            partial(message.verify, secret, external_aad=aad, payload=payload)
            for secret in shared.secrets
        )
    else:
        attempts = (
            partial(message.verify, key, external_aad=aad, other=other, payload=payload)
            for key in shared.keys
        )
    for attempt in attempts:
        try:
            attempt()
        except SecurityError:
            continue
        return
    raise SecurityError("its HMAC is not of any key here")


def _matches(node: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(node, pattern) for pattern in patterns)


def _labels(blocks: Iterable[CanonicalBlock]) -> list[CanonicalBlock]:
    return [block for block in blocks if block.type == DATA_POLICY and is_label(block.data)]


def _check_target(number: int, blocks: Mapping[int, CanonicalBlock]) -> None:
    """RFC 9172 §3.7: a BIB signs no security block, and nothing that is not there."""
    if number == PRIMARY_NUMBER:
        return
    if number not in blocks:
        raise Unusable(CONFLICTING, f"a BIB names block {number}, which is not there")
    if blocks[number].type in (BLOCK_INTEGRITY, BLOCK_CONFIDENTIALITY):
        raise Unusable(CONFLICTING, f"a BIB names block {number}, which it may not sign")
