"""Bundles from application data units (RFC 9171 §5.2)."""

from __future__ import annotations

from stack.core.eid import Eid
from stack.engines.bundle_agent.config import AgentConfig
from stack.ports.application import Outgoing
from stack.ports.security import Security
from stack.wire.bundle import (
    CRC_32,
    CRC_NONE,
    IS_ADMIN,
    PAYLOAD,
    STATUS_TIME,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    bundle_age,
    hop_count,
    previous_node,
    priority_block,
)

PRIORITY_DEFAULT = 1
SEQUENCE_RESERVE = 65_536
"""Sequence numbers reserved in the store at a time: a crash skips at most so many."""


class Origin:
    """Makes the bundles of this node.

    Sequence numbers never repeat, whatever the clock does: they come from a counter whose
    reservation is written to the store together with the first bundle that uses it.
    """

    def __init__(
        self, node_id: Eid, config: AgentConfig, security: Security | None, reserved: int
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._security = security
        self._sequence = reserved
        self._reserved = reserved
        self._number_crc = config.crc_type
        self._previous = previous_node(node_id)
        self._hops = hop_count(config.hop_limit, 1)

    def reserve(self, count: int) -> int | None:
        """The new reservation to write to the store before `count` more bundles, or None."""
        if self._sequence + count <= self._reserved:
            return None
        self._reserved = self._sequence + max(count, SEQUENCE_RESERVE)
        return self._reserved

    def make(self, outgoing: Outgoing, now_ms: int, *, admin: bool = False) -> Bundle:
        """One bundle, secured as policy asks.  Raises `SecurityError` when that cannot be done."""
        config = self._config
        node_id = self._node_id
        source = node_id if admin else node_id.with_service(outgoing.service)
        flags = outgoing.report_flags
        if admin:
            flags = IS_ADMIN
        elif flags:
            flags |= STATUS_TIME
        primary = PrimaryBlock(
            destination=outgoing.destination,
            source=source,
            report_to=outgoing.report_to or (node_id if flags and not admin else Eid.NONE),
            creation_ms=now_ms if config.trusted_clock else 0,
            sequence=self._sequence,
            lifetime_ms=outgoing.lifetime_ms,
            flags=flags,
            crc_type=config.crc_type or CRC_32,
        )
        self._sequence += 1
        bundle = Bundle(primary, self._blocks(outgoing))
        if self._security is not None and not admin:
            bundle = self._security.protect(bundle)
        return bundle

    def _blocks(self, outgoing: Outgoing) -> tuple[CanonicalBlock, ...]:
        """Extension blocks as a first forwarding would leave them (§5.4), then the payload.

        A bundle of our own goes out exactly as it is stored, so the previous node and the first
        hop are filled in here once.
        """
        crc = self._number_crc
        kinds: list[tuple[int, int, bytes]] = [
            (self._previous.type, self._previous.flags, bytes(self._previous.data)),
            (self._hops.type, self._hops.flags, bytes(self._hops.data)),
        ]
        if not self._config.trusted_clock:
            age = bundle_age(0)
            kinds.append((age.type, age.flags, bytes(age.data)))
        if outgoing.priority != PRIORITY_DEFAULT:
            block = priority_block(outgoing.priority)
            kinds.append((block.type, block.flags, bytes(block.data)))
        blocks = [
            CanonicalBlock(kind, number, flags, data, crc)
            for number, (kind, flags, data) in enumerate(kinds, start=2)
        ]
        blocks.append(CanonicalBlock(PAYLOAD, 1, 0, outgoing.payload, crc or CRC_NONE))
        return tuple(blocks)
