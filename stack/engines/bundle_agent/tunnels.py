"""Bundles within bundles between gateways (BIBE): who carries them sees neither source nor
destination nor size.

A flow goes into an outer bundle for the far gateway, encrypted as every bundle of this node is, and
padded to one of few sizes.  There the inner one goes on as if a link from this node had brought it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stack.core.eid import Eid
from stack.core.errors import DecodeError, PolicyError, SecurityError
from stack.engines.bundle_agent.config import AgentConfig, TunnelConfig
from stack.engines.bundle_agent.egress import aged, depart
from stack.engines.bundle_agent.origin import Origin
from stack.policy import DataPolicy, NodeSet, PolicyGate
from stack.policy.eid_pattern import EidPattern
from stack.ports.application import Outgoing
from stack.wire.bundle import (
    BUNDLE_AGE,
    HOP_COUNT,
    IS_ADMIN,
    Bundle,
    Mode,
    PrimaryBlock,
    check_bundle,
    decode_bibe_pdu,
    decode_bundle,
    encode_bibe_pdu,
    encode_bundle,
    encrypted_blocks,
    free_number,
    hop_count,
    is_bibe_pdu,
    padded,
    parse_bundle_age,
)

DEPTH_MAX = 4
"""Bundles within one another that one node takes out, for whomever each of them is."""

FLOWS_MAX = 1024
AHEAD = 4096
"""Sequence numbers reserved before they are wanted, as what carries others is made while it is
decided about them."""


class Tunnels:
    """The tunnels that end at one node."""

    def __init__(
        self,
        node_id: Eid,
        config: AgentConfig,
        origin: Origin,
        check: Callable[[Eid, DataPolicy, int], None],
        gate: PolicyGate | None,
        reserve: Callable[[int], object],
        *,
        protected: bool,
    ) -> None:
        """`check` raises `PolicyError` for what may not leave from here.  `reserve` has so many
        sequence numbers written down, sooner or later.  `protected`: bundles of this node are
        encrypted; else nothing goes by a tunnel."""
        self._reserve = reserve
        self._node_id = node_id
        self._config = config
        self._origin = origin
        self._check = check
        self._gate = gate
        self._protected = protected
        self._gateways = {tunnel.gateway for tunnel in config.tunnels}
        self._found: dict[tuple[Eid, Eid], TunnelConfig | None] = {}
        if self._gateways:
            reserve(AHEAD)

    def of(self, primary: PrimaryBlock) -> TunnelConfig | None:
        """The tunnel by which a bundle goes, if any."""
        if not self._gateways:
            return None
        flow = (primary.source, primary.destination)
        if flow not in self._found:
            if len(self._found) >= FLOWS_MAX:
                self._found.clear()
            self._found[flow] = next(
                (
                    tunnel
                    for tunnel in self._config.tunnels
                    if EidPattern.parse(tunnel.source).matches(primary.source)
                    and EidPattern.parse(tunnel.destination).matches(primary.destination)
                ),
                None,
            )
        return self._found[flow]

    def takes(self, destination: Eid) -> bool:
        """Whether what is for an endpoint may go by a tunnel."""
        tunnels = self._config.tunnels
        return any(EidPattern.parse(one.destination).matches(destination) for one in tunnels)

    def wrapped(
        self,
        tunnel: TunnelConfig,
        bundle: Bundle,
        policy: DataPolicy | None,
        priority: int,
        expires_ms: int,
        now_ms: int,
        *,
        own: bool = False,
    ) -> Bundle:
        """The outer bundle of one that is to go by a tunnel, in the form in which it leaves here.
        Raises `PolicyError` where its data policy does not let the far gateway have it, and
        `SecurityError` where it cannot be encrypted."""
        if not self._protected:
            raise SecurityError("a tunnel shows everything where security is off")
        self._reserve(AHEAD)
        gateway = Eid.parse(tunnel.gateway)
        if policy is not None:
            policy = self._outer(policy, bundle.primary, gateway, now_ms)
        inner = self._counted(depart(bundle, self._node_id, 0, own=own))
        length = len(encode_bundle(inner))
        octets = encode_bundle(padded(inner, length, tunnel.padded(length)))
        # What is left of its life would tell bundles apart.
        left_ms = 1 << (max(1, expires_ms - now_ms) - 1).bit_length()
        outgoing = Outgoing(
            gateway,
            encode_bibe_pdu(octets),
            min(left_ms, self._config.lifetime_ms_max),
            "",
            priority=priority,
            policy=policy,
        )
        return self._origin.make(outgoing, now_ms, admin=True)

    def _counted(self, bundle: Bundle) -> Bundle:
        """With a hop count, which ends what tunnels of several gateways lead round."""
        blocks = bundle.blocks
        if any(block.type == HOP_COUNT for block in blocks):
            return bundle
        crc_type = bundle.primary.crc_type
        count = hop_count(
            self._config.hop_limit, 1, number=free_number(list(blocks)), crc_type=crc_type
        )
        return Bundle(bundle.primary, (count, *blocks))

    def _outer(
        self, policy: DataPolicy, primary: PrimaryBlock, gateway: Eid, now_ms: int
    ) -> DataPolicy:
        """The policy of what carries data under a policy: it may rest and pass where that may, and
        is for the far gateway alone."""
        gate = self._gate
        node = str(gateway)
        outer = replace(policy, readers=NodeSet.parse(f'node:"{node}"'))
        self._check(gateway, outer, now_ms)
        ends = primary.destination.node == gateway
        if gate is not None and not ends and not gate.may_carry(policy, node):
            why = gate.missing(policy, node, str(primary.destination.node))
            raise PolicyError(f"this data policy does not let it go by the tunnel to {node}: {why}")
        return outer

    def unwrapped(
        self, outer: Bundle, mode: Mode, now_ms: int, waited_ms: int = 0
    ) -> Bundle | None:
        """The bundle within one for here that security has opened, its age what it is by now, the
        outer one having waited here; None where there is none.  Raises `DecodeError` for what
        cannot be read."""
        primary = outer.primary
        payload = outer.payload.data
        if (
            not primary.flags & IS_ADMIN
            or str(primary.source) not in self._gateways
            or not is_bibe_pdu(payload)
        ):
            return None
        octets = decode_bibe_pdu(payload)
        inner, end = decode_bundle(octets, mode=mode)
        if end != len(octets):
            raise DecodeError("octets after the encapsulated bundle", "RFC 9171 §4.1", end)
        check_bundle(inner)
        return aged(inner, self._on_the_way_ms(outer, now_ms, waited_ms))

    def _on_the_way_ms(self, outer: Bundle, now_ms: int, waited_ms: int) -> int:
        hidden = encrypted_blocks(outer.blocks)
        for block in outer.blocks:
            if block.type == BUNDLE_AGE and block.number not in hidden:
                return parse_bundle_age(block) + waited_ms
        created_ms = outer.primary.creation_ms
        return max(0, now_ms - created_ms) if created_ms and self._config.trusted_clock else 0
