"""Bundles from application data units (RFC 9171 §5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.engines.bundle_agent.config import AgentConfig
from stack.policy import DataPolicy
from stack.policy.label import policy_block
from stack.ports.application import Outgoing
from stack.ports.security import Security
from stack.wire.bundle import (
    ACK_REQUESTED,
    CRC_32,
    IS_ADMIN,
    PAYLOAD,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_age,
    encode_block,
    hop_count,
    previous_node,
    priority_block,
)

PRIORITY_DEFAULT = 1
SEQUENCE_RESERVE = 65_536
"""Sequence counts reserved in the store at a time: a crash skips at most so many."""

SEQUENCE_MAX = (1 << 32) - 1
"""Largest sequence number beside a creation time: ION keeps 32 bits of it.  Without a creation
time it is all that tells bundles apart, and the whole count goes out."""

EXTENSIONS_MAX = 64
"""Priorities and data policies whose extension blocks are kept."""


class Origin:
    """Makes the bundles of this node.

    Sequence counts never repeat, whatever the clock does: they come from a counter whose
    reservation is written to the store together with the first bundle that uses it, and which
    leaps ahead by a random distance at every start (see `begin`).
    """

    def __init__(
        self, node_id: Eid, config: AgentConfig, security: Security | None, first: int
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._security = security
        self._count = first
        self._reserved = first
        self._made: dict[tuple[int, DataPolicy | None], tuple[CanonicalBlock, ...]] = {}
        self._made_last: tuple[int, DataPolicy | None, tuple[CanonicalBlock, ...]] = (-1, None, ())
        """What was asked last, and the answer: mostly those of the next bundle."""

    def reserve(self, count: int) -> int | None:
        """The new reservation to write to the store before `count` more bundles, or None."""
        if self._count + count <= self._reserved:
            return None
        self._reserved = self._count + max(count, SEQUENCE_RESERVE)
        return self._reserved

    def unreserve(self) -> None:
        """A reservation was not written: ask for it again with the next bundle."""
        self._reserved = 0

    def make(self, outgoing: Outgoing, now_ms: int, *, admin: bool = False) -> Bundle:
        """As `make_all`, one bundle."""
        return self.make_all((outgoing,), now_ms, admin=admin)[0]

    def make_all(
        self, outgoing: Sequence[Outgoing], now_ms: int, *, admin: bool = False
    ) -> list[Bundle]:
        """Bundles, secured as policy asks.  Raises `SecurityError` when that cannot be done, and
        `LocalError` when the source of one is no endpoint of this node alone (§4.2.5.2)."""
        bundles = [self._plain(one, now_ms, admin) for one in outgoing]
        if self._security is None:
            return bundles
        protect = self._security.protect
        return [protect(bundle) for bundle in bundles]

    def _plain(self, outgoing: Outgoing, now_ms: int, admin: bool) -> Bundle:
        config = self._config
        node_id = self._node_id
        admin = admin or outgoing.admin
        source = node_id if admin else node_id.with_service(outgoing.service)
        if not source.is_singleton:
            raise LocalError(f"{source} is a group: send from a service without ~ in front")
        reports = 0 if admin else outgoing.report_flags
        flags = IS_ADMIN if admin else reports | STATUS_TIME if reports else 0
        if outgoing.acknowledge:
            flags |= ACK_REQUESTED
        primary = PrimaryBlock(
            destination=outgoing.destination,
            source=source,
            report_to=outgoing.report_to or (node_id if reports else Eid.NONE),
            creation_ms=now_ms if config.trusted_clock else 0,
            sequence=self._sequence(),
            lifetime_ms=outgoing.lifetime_ms,
            flags=flags,
            crc_type=config.crc_type or CRC_32,
        )
        payload = CanonicalBlock(PAYLOAD, 1, 0, outgoing.payload, config.crc_type)
        extensions = self._extensions(outgoing.priority, outgoing.policy)
        return Bundle(primary, (*extensions, payload))

    def _sequence(self) -> int:
        """The next sequence number: positive (§4.2.7)."""
        count = self._count
        self._count = count + 1
        return count % SEQUENCE_MAX + 1 if self._config.trusted_clock else count

    def _extensions(self, priority: int, policy: DataPolicy | None) -> tuple[CanonicalBlock, ...]:
        """Extension blocks as a first forwarding would leave them (§5.4).

        A bundle of our own goes out exactly as it is stored, so the previous node and the first
        hop are filled in here.  They are the same for every bundle, and are encoded once.
        """
        last, of, known = self._made_last
        if of is policy and last == priority:
            return known
        found = self._made.get((priority, policy))
        if found is None:
            found = self._encoded(priority, policy)
        self._made_last = priority, policy, found
        return found

    def _encoded(self, priority: int, policy: DataPolicy | None) -> tuple[CanonicalBlock, ...]:
        crc = self._config.crc_type
        blocks = [
            previous_node(self._node_id, number=2, crc_type=crc),
            hop_count(self._config.hop_limit, 1, number=3, crc_type=crc),
        ]
        if not self._config.trusted_clock:
            blocks.append(bundle_age(0, number=4, crc_type=crc))
        if priority != PRIORITY_DEFAULT:
            kind = self._config.priority_block
            blocks.append(priority_block(priority, kind=kind, number=5, crc_type=crc))
        if policy is not None:
            blocks.append(policy_block(policy, number=6, crc_type=crc))
        if len(self._made) >= EXTENSIONS_MAX:
            self._made.clear()
        found = tuple(replace(block, encoded=encode_block(block)) for block in blocks)
        self._made[priority, policy] = found
        return found
