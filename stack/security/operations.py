"""Security operations of a bundle: what its BIBs and BCBs say of which block (RFC 9172 §3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stack.security import contexts, cose_context
from stack.security.reasons import CONFLICTING, Unusable
from stack.wire.asb import CONTEXT_COSE, SecurityBlock, decode_asb, encode_asb
from stack.wire.bundle import BLOCK_CONFIDENTIALITY, CanonicalBlock

COSE_TARGETS_MAX = 8
"""Blocks of one bundle that are decrypted in the COSE context: each may have all others in its AAD,
and costs as much as those with each key."""


class Operation(NamedTuple):
    """A security block, decoded."""

    block: CanonicalBlock
    asb: SecurityBlock

    @property
    def bound(self) -> bool:
        """Whether its scope `binds` its targets.  Raises `DecodeError`."""
        asb = self.asb
        if asb.context == CONTEXT_COSE:
            return cose_context.binds(cose_context.read_parameters(asb).scope)
        hides = self.block.type == BLOCK_CONFIDENTIALITY
        scope = asb.parameter(contexts.BCB_SCOPE if hides else contexts.BIB_SCOPE)
        return scope is None or (isinstance(scope, int) and contexts.binds(scope))

    def only(self, numbers: Iterable[int]) -> Operation:
        """What it says of these targets alone: the block in its head is what it was."""
        wanted = set(numbers)
        pairs = zip(self.asb.targets, self.asb.results, strict=True)
        kept = [(target, results) for target, results in pairs if target in wanted]
        targets, results = zip(*kept, strict=True)
        _, context, source, parameters, _ = self.asb
        return Operation(self.block, SecurityBlock(targets, context, source, parameters, results))

    def without(self, numbers: Iterable[int]) -> CanonicalBlock | None:
        """The block when these of its targets are done; None when none is left."""
        left = set(self.asb.targets).difference(numbers)
        if not left:
            return None
        block = self.block
        data = encode_asb(self.only(left).asb)
        return CanonicalBlock(block.type, block.number, block.flags, data, block.crc_type)


def operations(blocks: Sequence[CanonicalBlock], kind: int) -> list[Operation]:
    """The security blocks of a kind, decoded.  Raises `DecodeError`."""
    return [Operation(block, decode_asb(block.data)) for block in blocks if block.type == kind]


def check_cost(encryptions: Sequence[Operation]) -> None:
    """Whether a bundle is cheap enough to be decrypted.  Raises `Unusable`."""
    found = sum(len(one.asb.targets) for one in encryptions if one.asb.context == CONTEXT_COSE)
    if found > COSE_TARGETS_MAX:
        words = f"{found} blocks are encrypted in the COSE context, at most {COSE_TARGETS_MAX} may"
        raise Unusable(CONFLICTING, words)


def targets_of(operations: Sequence[Operation]) -> set[int]:
    """All targets of one security service; each may be named once (RFC 9172 §3.2).  Raises
    `Unusable`."""
    targets: set[int] = set()
    for operation in operations:
        for number in operation.asb.targets:
            if number in targets:
                raise Unusable(CONFLICTING, f"block {number} has the same security service twice")
            targets.add(number)
    return targets
