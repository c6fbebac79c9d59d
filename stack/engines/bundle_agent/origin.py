"""Bundles from application data units (RFC 9171 §5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

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
    PrimaryTemplate,
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

FLOWS_MAX = 64
"""Flows of which is kept what their bundles have in common."""


class _Kind(NamedTuple):
    """What bundles are sent as: all that those of a flow have in common."""

    destination: Eid
    came_as: bytes | None
    """The destination in octets, where these are not ours."""

    service: str
    report_to: Eid | None
    reports_as: bytes | None
    """Likewise."""

    report_flags: int
    lifetime_ms: int
    acknowledge: bool
    admin: bool
    priority: int
    policy: DataPolicy | None


class _Flow(NamedTuple):
    """What is made of that once."""

    primary: PrimaryTemplate
    extensions: tuple[CanonicalBlock, ...]


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
        self._flows: dict[_Kind, _Flow] = {}
        self._last: tuple[_Kind, _Flow] | None = None
        """Mostly the next bundle is of the same flow."""

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
        destination, report_to = outgoing.destination, outgoing.report_to
        asked = (
            destination,
            destination.encoded,
            outgoing.service,
            report_to,
            None if report_to is None else report_to.encoded,
            outgoing.report_flags,
            outgoing.lifetime_ms,
            outgoing.acknowledge,
            admin or outgoing.admin,
            outgoing.priority,
            outgoing.policy,
        )
        last = self._last
        if last is None or last[0] != asked:
            kind = _Kind(*asked)
            last = self._last = kind, self._flow(kind)
        flow, config = last[1], self._config
        primary = flow.primary.stamped(now_ms if config.trusted_clock else 0, self._sequence())
        payload = CanonicalBlock(PAYLOAD, 1, 0, outgoing.payload, config.crc_type)
        return Bundle(primary, (*flow.extensions, payload))

    def _flow(self, kind: _Kind) -> _Flow:
        flow = self._flows.get(kind)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                self._flows.clear()
            flow = _Flow(self._template(kind), self._extensions(kind.priority, kind.policy))
            self._flows[kind] = flow
        return flow

    def _template(self, kind: _Kind) -> PrimaryTemplate:
        node_id, admin = self._node_id, kind.admin
        source = node_id if admin else node_id.with_service(kind.service)
        if not source.is_singleton:
            raise LocalError(f"{source} is a group: send from a service without ~ in front")
        reports = 0 if admin else kind.report_flags
        flags = IS_ADMIN if admin else reports | STATUS_TIME if reports else 0
        if kind.acknowledge:
            flags |= ACK_REQUESTED
        report_to = kind.report_to or (node_id if reports else Eid.NONE)
        crc_type = self._config.crc_type or CRC_32
        return PrimaryTemplate(
            PrimaryBlock(
                kind.destination, source, report_to, 0, 0, kind.lifetime_ms, flags, crc_type
            )
        )

    def _sequence(self) -> int:
        """The next sequence number: positive (§4.2.7)."""
        count = self._count
        self._count = count + 1
        return count % SEQUENCE_MAX + 1 if self._config.trusted_clock else count

    def _extensions(self, priority: int, policy: DataPolicy | None) -> tuple[CanonicalBlock, ...]:
        """Extension blocks as a first forwarding would leave them (§5.4).

        A bundle of our own goes out exactly as it is stored, so the previous node and the first
        hop are filled in here.
        """
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
        return tuple(replace(block, encoded=encode_block(block)) for block in blocks)
