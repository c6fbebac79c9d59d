"""What has been promised, and what became of it: the book that the invariants are checked by.

It learns from the applications what they sent and got, and from the disks what was stored and
dropped and why.  It never asks the nodes for what they believe themselves.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stack.core.train import Buffer
from stack.ports.store import Committed, Move, Op, Place, Put, Release, Stored, Write
from stack.simulator.swarm.laws import Laws
from stack.wire.bundle import BUNDLE_AGE, HOP_COUNT, LENIENT, PREVIOUS_NODE, decode_bundle

SPACE = "swarm"
"""Durable state of the test applications."""

SENT = "sent/"
GOT = "got/"
MARKER = b"SWARM PLAINTEXT "
"""In the plaintext of everything that is sent, many times over."""

PROBLEMS_MAX = 40
"""Problems kept of one run; more are the same ones again."""

Key = bytes


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    """One of `stack.simulator.swarm.invariants.INVARIANTS`."""

    at_s: float
    text: str


def identity_of(key: Key) -> bytes:
    """The identity of a bundle or fragment (`stack.wire.bundle.bundle_key`): its key without the
    digest of its content, which every node makes in its own way."""
    return key[:48] if len(key) == 64 else key[:32]


def unit_of(key: Key) -> bytes:
    """The identity of the application data unit of a bundle or fragment: without offset and
    length."""
    return unit_of_identity(identity_of(key))


def unit_of_identity(identity: Key) -> bytes:
    """The same of `identity_of`."""
    return identity[:16] + identity[-16:]


def _content(encoded: Buffer) -> bytes:
    """A digest of what no honest node changes on the way."""
    bundle, _ = decode_bundle(encoded, mode=LENIENT)
    digest = hashlib.blake2b(bundle.primary.encoded or b"", digest_size=16)
    for block in bundle.blocks:
        if block.type not in (PREVIOUS_NODE, BUNDLE_AGE, HOP_COUNT):
            digest.update(b"%d %d %d " % (block.type, block.flags, len(block.data)))
            digest.update(block.data)
    return digest.digest()


def _never(node: str) -> int:
    """The clock of a node that has none."""
    return 0


class Held:
    """What one node's disk holds, by ref."""

    def __init__(self) -> None:
        self.bundles: dict[int, tuple[Key, Place, int]] = {}
        """Key, place and end of the lifetime (DTN ms by the node's own clock)."""

        self.priorities: dict[int, int] = {}

    def reopened(self, stored: list[Stored]) -> None:
        """After a restart."""
        self.bundles = {one.ref: (one.key, one.place, one.expires_ms) for one in stored}
        self.priorities = {one.ref: one.priority for one in stored}


class RunLedger:
    """The book of one run."""

    def __init__(
        self,
        neighbours: dict[str, tuple[str, ...]],
        *,
        protect: bool,
        hostile: bool = False,
        laws: Laws | None = None,
        latest_ms: Callable[[str], int] = _never,
    ) -> None:
        """`latest_ms` is the latest DTN time that a node's clock has ever shown.  With `hostile`
        neighbours, forgeries are told from what they forge.  `laws` is what data policies allow,
        where there are any."""
        self.problems: list[Violation] = []
        self.checks: Counter[str] = Counter()
        """How often each invariant was looked at."""

        self.accepted: set[str] = set()
        """What an application was told is safe: `message/3`, `file/0`, `job/1`."""

        self.got: dict[str, int] = {}
        """How often each thing was consumed at its destination, by the durable count there."""

        self.units: dict[bytes, str] = {}
        """Messages by the unit that carries them."""

        self.durable: dict[str, set[Key]] = {name: set() for name in neighbours}
        """Bundles that each node's disk has ever held."""

        self._made: dict[Key, set[bytes]] = {}
        """Among hostile neighbours: what the sources of bundles have made, by identity."""

        self._contents: dict[str, dict[Key, bytes]] = {name: {} for name in neighbours}
        self.gone: dict[bytes, list[str]] = {}
        """Why copies of a unit were dropped: `evicted at sat1`."""

        self._hostile = hostile
        self._laws = laws
        self.stored = 0
        self.now_s = 0.0
        self._neighbours = neighbours
        self._protect = protect
        self._latest_ms = latest_ms

    def problem(self, invariant: str, text: str, at_s: float) -> None:
        """Note that an invariant does not hold."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Violation(invariant, round(at_s, 3), text))

    # ---- disks ---------------------------------------------------------------------------

    def committed(
        self, node: str, held: Held, ops: list[Op], outcome: Committed, at_s: float
    ) -> None:
        """A transaction of a node is durable."""
        refs = iter(outcome.refs)
        bundles, durable = held.bundles, self.durable[node]
        replaced: set[bytes] | None = None
        message = ""
        for op in ops:
            if type(op) is Put:
                ref = next(refs)
                sent, message = message, ""
                if sent:
                    self.units[unit_of(op.key)] = sent
                if ref > 0:
                    self.stored += 1
                    bundles[ref] = (op.key, op.place, op.expires_ms)
                    held.priorities[ref] = op.priority
                    durable.add(identity_of(op.key))
                    if self._hostile:
                        self._compare(node, op)
                    if self._laws is not None and not self._forged(node, op.key):
                        self.checks["rest"] += 1
                        for invariant, text in self._laws.stored(node, op, sent):
                            self.problem(invariant, text, at_s)
                    if self._protect:
                        self.look(bytes(op.encoded), f"the store of {node}", at_s)
            elif type(op) is Release:
                entry = bundles.pop(op.ref, None)
                if entry is not None and entry[1] is Place.FORWARD:
                    if replaced is None:
                        replaced = {unit_of(put.key) for put in ops if type(put) is Put}
                    if unit_of(entry[0]) not in replaced:
                        self._handed_on(node, entry[0], entry[2], at_s)
            elif type(op) is Move:
                if op.ref in bundles:
                    key, _, expires_ms = bundles[op.ref]
                    bundles[op.ref] = (key, op.place, expires_ms)
            elif type(op) is Write and op.space == SPACE and op.key.startswith(SENT + "message/"):
                message = op.key.removeprefix(SENT)
        if outcome.evicted:
            self._evicted(node, held, ops, outcome.evicted, at_s)

    def _evicted(
        self, node: str, held: Held, ops: list[Op], refs: Sequence[int], at_s: float
    ) -> None:
        """A full store has made room: only what is more urgent may do that, or what has expired."""
        puts = {op.key: op.priority for op in ops if type(op) is Put}
        urgent, latest_ms = max(puts.values(), default=0), self._latest_ms(node)
        for ref in refs:
            self.checks["lost"] += 1
            key, _, expires_ms = held.bundles.get(ref, (b"", None, 0))
            gone = key in puts or expires_ms <= latest_ms
            if not gone and held.priorities[ref] >= urgent:
                what = f"{node} let go of priority {held.priorities[ref]} for {urgent}"
                self.problem("lost", what, at_s)
            self.drop(node, held, ref, "evicted")

    def _compare(self, node: str, put: Put) -> None:
        content = _content(put.encoded)
        self._contents[node][put.key] = content
        if put.required and put.source.startswith(f"dtn://{node}/"):  # not one that came in
            self._made.setdefault(identity_of(put.key), set()).add(content)

    def drop(self, node: str, held: Held, ref: int, why: str, *, kept: bool = False) -> None:
        """A node's store has let go of a bundle for a reason; `kept`: to quarantine."""
        entry = held.bundles.pop(ref, None)
        if entry is not None:
            if kept:
                held.bundles[ref] = (entry[0], Place.QUARANTINE, entry[2])
            self.gone.setdefault(unit_of(entry[0]), []).append(f"{why} at {node}")

    def _handed_on(self, node: str, key: Key, expires_ms: int, at_s: float) -> None:
        """A node forgets a bundle in transit: a neighbour must have it on its disk, or have had,
        unless it had expired when it came, by that neighbour's clock."""
        self.checks["custody"] += 1
        if not self._forged(node, key) and not any(
            identity_of(key) in self.durable[one] or self._latest_ms(one) >= expires_ms
            for one in self._neighbours[node]
        ):
            what = self.units.get(unit_of(key), "a bundle")
            self.problem(
                "custody", f"{node} forgot {what}, which no neighbour has ever stored", at_s
            )

    def _forged(self, node: str, key: Key) -> bool:
        """Whether a bundle of a node is none that its source has made."""
        content = self._contents[node].get(key, b"")
        return self._hostile and content not in self._made.get(identity_of(key), ())

    def look(self, octets: bytes, where: str, at_s: float) -> None:
        """There must be no plaintext here."""
        self.checks["clear"] += 1
        if MARKER in octets:
            start = octets.index(MARKER)
            self.problem("clear", f"plaintext in {where}: {octets[start : start + 40]!r}", at_s)

    # ---- applications --------------------------------------------------------------------

    def counted(self, thing: str, count: int) -> None:
        """A destination's durable count of a thing."""
        self.got[thing] = count
