"""What rules ask for, of what passes through a node and of what ends there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Protocol

from stack.policy.label import is_label
from stack.ports.security import Opened
from stack.security import cose_context
from stack.security.operations import Operation, check_cost, operations, targets_of
from stack.security.reasons import CONFLICTING, FAILED, MISSING, Unusable
from stack.security.rules import PRIMARY, Wanted
from stack.security.signatures import PRIMARY_NUMBER
from stack.wire.asb import CONTEXT_COSE, decode_asb
from stack.wire.bundle import (
    BLOCK_CONFIDENTIALITY,
    BLOCK_INTEGRITY,
    CRC_32,
    CRC_NONE,
    DATA_POLICY,
    IS_FRAGMENT,
    PAYLOAD,
    PAYLOAD_NUMBER,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    PrimaryForm,
    encrypted_blocks,
)


class Worker(Protocol):
    """Decrypts and verifies with the keys of a node (`stack.security.acceptor`)."""

    def decrypt(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: Operation,
        wanted: Wanted,
    ) -> set[int]:
        """Decrypt the targets of a BCB in `blocks`; the numbers of those that do not decrypt."""
        ...

    def verify(
        self,
        primary: PrimaryBlock,
        blocks: dict[int, CanonicalBlock],
        operation: Operation,
        wanted: Wanted,
        lost: Set[int] = frozenset(),
    ) -> set[int]:
        """Verify each target of a BIB: which of them it binds to the primary block."""
        ...


class Passing:
    """A bundle on its way, of which this node takes off or verifies what rules say.  What others
    have secured for others stays as it is."""

    def __init__(self, worker: Worker, bundle: Bundle, wanted: Wanted) -> None:
        self._worker = worker
        self._bundle = bundle
        self._wanted = wanted
        self._own = str(bundle.primary.source.node)
        self._blocks = {block.number: block for block in bundle.blocks}
        self._done: list[Operation] = []

    def verified(self) -> Opened:
        """The bundle as it came, if all that is wanted holds."""
        self._judge()
        return Opened(True, self._bundle)

    def accepted(self) -> Opened:
        """The bundle without the operations that were wanted, if these hold."""
        self._judge()
        blocks = self._blocks
        for operation in self._done:
            block = operation.block
            # One that was encrypted itself is another in the bundle.
            whole = Operation(blocks[block.number], decode_asb(blocks[block.number].data))
            left = whole.without(operation.asb.targets)
            if left is None:
                del blocks[block.number]
            else:
                blocks[block.number] = left
        self._check_payload()
        return Opened(True, Bundle(self._bundle.primary, tuple(blocks.values())))

    def _check_payload(self) -> None:
        """Give the payload a CRC where nothing secures it any more (RFC 9173 §3.8.2, §4.8.2)."""
        payload = self._blocks[PAYLOAD_NUMBER]
        if payload.crc_type == CRC_NONE and not any(
            PAYLOAD_NUMBER in operation.asb.targets for operation in self._left()
        ):
            self._blocks[PAYLOAD_NUMBER] = CanonicalBlock(
                PAYLOAD, PAYLOAD_NUMBER, payload.flags, payload.data, CRC_32
            )

    def _left(self) -> list[Operation]:
        blocks = tuple(self._blocks.values())
        hidden = encrypted_blocks(blocks)
        readable = [block for block in blocks if block.number not in hidden]
        kinds = (BLOCK_CONFIDENTIALITY, BLOCK_INTEGRITY)
        return [operation for kind in kinds for operation in operations(readable, kind)]

    def _judge(self) -> None:
        primary, blocks = self._bundle.primary, self._blocks
        if primary.flags & IS_FRAGMENT:
            payload, self._wanted = self._wanted.apart()
            if any(rule.fragments == "refuse" for rule in payload.rules):
                words = "a rule asks for what no fragment can show: send it whole, or in a tunnel"
                raise Unusable(FAILED, words)
            primary = PrimaryForm(primary).whole()
        encryptions = operations(self._bundle.blocks, BLOCK_CONFIDENTIALITY)
        encrypted = targets_of(encryptions)
        chosen = [c for o in encryptions if (c := self._chosen("confidentiality", o))]
        check_cost(chosen)
        for operation in chosen:
            self._decrypt(operation, blocks)
            self._done.append(operation)
        opened = {number for operation in self._done for number in operation.asb.targets}
        for operation in encryptions:
            for number in operation.asb.targets:
                if self._uncovers(operation.only([number]), opened):
                    self._done.append(operation.only([number]))
        for operation in self._done:
            encrypted.difference_update(operation.asb.targets)
        readable = [block for number, block in blocks.items() if number not in encrypted]
        integrities = operations(readable, BLOCK_INTEGRITY)
        targets_of(integrities)
        bound: list[Operation] = []
        for operation in filter(None, (self._chosen("integrity", o) for o in integrities)):
            if encrypted.intersection(operation.asb.targets):
                raise Unusable(CONFLICTING, "a BIB in clear signs an encrypted block")
            self._worker.verify(primary, blocks, operation, self._wanted)
            bound.append(operation)
        check_author(blocks, self._done, bound, frozenset())
        check_wanted(self._wanted, primary, blocks, self._done, bound, frozenset())
        self._done += bound

    def _decrypt(self, operation: Operation, blocks: dict[int, CanonicalBlock]) -> None:
        if self._worker.decrypt(self._bundle.primary, blocks, operation, self._wanted):
            raise Unusable(FAILED, "a block does not decrypt with any key that fits")

    def _uncovers(self, operation: Operation, opened: Set[int]) -> bool:
        """Decrypt a BIB that has been encrypted with what is `opened` (RFC 9172 §3.9)."""
        (number,) = operation.asb.targets
        block = self._blocks.get(number)
        peer = str(operation.asb.source.node)
        known = peer == self._own or self._wanted.lets("confidentiality", frozenset(), peer)
        if not opened or block is None or block.type != BLOCK_INTEGRITY or not known:
            return False
        blocks = dict(self._blocks)
        self._decrypt(operation, blocks)
        covers = not opened.isdisjoint(decode_asb(blocks[number].data).targets)
        if covers:
            self._blocks[number] = blocks[number]
        return covers

    def _chosen(self, service: str, operation: Operation) -> Operation | None:
        """What of a security block is wanted."""
        peer = str(operation.asb.source.node)
        chosen = []
        for number in operation.asb.targets:
            block = self._blocks.get(number)
            kind = PRIMARY if number == PRIMARY_NUMBER else block.type if block else -1
            if self._wanted.finds(service, kind, peer, self._own):
                chosen.append(number)
        return operation.only(chosen) if chosen else None


def results_of(operation: Operation, kind: int) -> set[int]:
    """The targets of which an operation of the COSE context has a result of this kind."""
    pairs = zip(operation.asb.targets, operation.asb.results, strict=True)
    return {target for target, results in pairs if [number for number, _ in results] == [kind]}


def check_author(
    blocks: Mapping[int, CanonicalBlock],
    encryptions: Sequence[Operation],
    integrities: Sequence[Operation],
    lost: Set[int],
) -> None:
    """Whether what was encrypted for this node by its public key, which anybody can do, is signed
    by who says that he did.  Raises `Unusable`."""
    for operation in encryptions:
        if operation.asb.context != CONTEXT_COSE:
            continue
        source = operation.asb.source.node
        signed = {
            number
            for each in integrities
            if each.asb.source.node == source and each.bound
            for number in each.asb.targets
        }
        for number in results_of(operation, cose_context.RESULT_ENCRYPT) - signed - lost:
            if number in blocks and blocks[number].type != BLOCK_INTEGRITY:
                raise Unusable(MISSING, f"{source} has encrypted block {number}, and not signed it")


def check_label(blocks: Mapping[int, CanonicalBlock], encryptions: Sequence[Operation]) -> None:
    """Whether the label of the data policy was there for all to read, and the encryption of the
    payload in the COSE context has it among what it authenticates: with other keys than shared ones
    nothing else binds it.  Raises `Unusable`."""
    for operation in encryptions:
        for block in map(blocks.get, operation.asb.targets):
            if block is not None and block.type == DATA_POLICY and is_label(block.data):
                words = (
                    "the label of its data policy was encrypted: nobody on its way could read it"
                )
                raise Unusable(CONFLICTING, words)
        if operation.asb.context == CONTEXT_COSE and PAYLOAD_NUMBER in operation.asb.targets:
            scope = cose_context.read_parameters(operation.asb).scope
            if any(
                each.type == DATA_POLICY
                and is_label(each.data)
                and not scope.get(number, 0) & cose_context.AAD_BTSD
                for number, each in blocks.items()
            ):
                words = "the encryption of the payload does not bind the label of its data policy"
                raise Unusable(MISSING, words)


def check_wanted(
    wanted: Wanted,
    primary: PrimaryBlock,
    blocks: Mapping[int, CanonicalBlock],
    encryptions: Sequence[Operation],
    integrities: Sequence[Operation],
    lost: Set[int],
) -> None:
    """Whether each block of the types that rules name has what they ask for, from whom they
    ask for it, for this very block of this bundle: what its scope does not bind does not count.
    Raises `Unusable`."""
    found = {
        (service, number, str(operation.asb.source.node)): operation.bound
        for service, done in (("confidentiality", encryptions), ("integrity", integrities))
        for operation in done
        for number in operation.asb.targets
        if number not in lost
    }
    for rule in wanted.rules:
        peer = rule.peer or str(primary.source.node)
        numbers = [number for number, block in blocks.items() if block.type == rule.kind]
        for number in [PRIMARY_NUMBER] if rule.kind == PRIMARY else numbers:
            bound = found.get((rule.service, number, peer))
            if bound or (bound is not None and number == PRIMARY_NUMBER):
                continue
            what = "the primary block" if number == PRIMARY_NUMBER else f"block {number}"
            words = f"no {rule.service} of {what} by {peer}, as a rule asks"
            if bound is not None:
                words += ": its scope leaves out the primary block, so that it may be of another"
                words += " bundle, or the header of its target, so that it may be of another block"
            raise Unusable(MISSING, words)
