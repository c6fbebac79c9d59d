"""What audit logs hold and exchange, all of it right; `nearly_audit` has what is not."""

from __future__ import annotations

from typing import Final, NamedTuple

from interop.strategies.choices import Choices
from interop.strategies.making import strategy
from stack.audit.event import ACTS_MAX, AuditEvent, label_digest
from stack.audit.merkle import MerkleTree, Peaks
from stack.audit.note import WITNESS_KEY, LogCheckpoint, NoteSigner, SignedNote

_SIGNER: Final = NoteSigner("dtn://kiruna/audit/1", bytes([1]) * 32)
_WITNESS: Final = NoteSigner("dtn://svalbard/audit", bytes([2]) * 32, WITNESS_KEY)
NAMES = ("dtn://kiruna/", "ipn:7.0", "dtn://\u00e5ngstr\u00f6m/", "dtn://" + "a" * 40 + "/", "")


@strategy
def event(choose: Choices) -> AuditEvent:
    """An event that can be written down."""
    policy = choose.octets(0, 40) if choose.flip() else b""
    digest = label_digest(policy) or (choose.octets(16, 16) if choose.flip() else b"")
    return AuditEvent(
        acts=choose.integer(1, ACTS_MAX),
        time_ms=choose.integer(0, (1 << 64) - 1),
        node=choose.pick(NAMES),
        object=f"{choose.pick(NAMES)}@{choose.integer(0, 1 << 40)}.{choose.integer(0, 99)}",
        label=digest,
        peer=choose.pick(NAMES),
        detail="x" * choose.integer(0, 256),
        policy=policy,
    )


class Log(NamedTuple):
    """A small log with two sizes, and who signs it."""

    entries: tuple[bytes, ...]
    old: int
    size: int
    signer: NoteSigner
    witness: NoteSigner

    def tree(self, base: int = 0) -> MerkleTree:
        """Its tree, of which what lies below `base` is gone."""
        peaks = Peaks()
        peaks.add(self.entries[:base])
        tree = MerkleTree(peaks)
        tree.add(self.entries[base:])
        return tree

    def checkpoint(self, size: int) -> SignedNote:
        """Its checkpoint at a size."""
        return LogCheckpoint(self.signer.key.name, size, self.tree().root(size)).signed(self.signer)


@strategy
def log(choose: Choices) -> Log:
    """A log, and two sizes that it had."""
    size = choose.integer(1, 40)
    entries = tuple(choose.octets(0, 3) for _ in range(size))
    old = choose.integer(1, size)
    return Log(
        entries,
        old,
        choose.integer(old, size),
        _SIGNER,
        _WITNESS,
    )
