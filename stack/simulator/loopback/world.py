"""The nodes of a run and the channels between them, on one virtual loop."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from link_models.channel import ChannelConfig, Delay, always_up
from link_models.clock import VirtualClock, VirtualLoop
from link_models.network import VirtualNetwork, VirtualPort
from link_models.rng import Streams
from stack.core.clock import MILLISECOND, SECOND
from stack.core.limits import IPV4_UDP_BYTES
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.coding import LowerDelays, under_delays
from stack.fec.config import FecConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.environment import Environment, SharedTables
from stack.node.link import Link
from stack.node.node import Node
from stack.ports.datagram import DatagramPort
from stack.security import new_key_file
from stack.services.files import FilesConfig
from stack.services.jobs import Handler
from stack.services.suite import ServicesConfig
from stack.simulator.loopback.captured import RunCapture
from stack.simulator.scenario import DirectionConfig, Scenario
from stack.simulator.sky import LinkDirection, Sky, SkyLink

BURST_DATAGRAMS = 8
"""Datagrams that leave an engine together on a slow link: fewer turns, and still a small part of
a second at 256 kbit/s."""

QUEUE_BYTES_MIN = 64 * 1024
"""A transmitter's queue holds at least a burst and the repair packets of a block."""

ENGINE_BYTES_MIN = 1024 * 1024
"""Octets handed to LTP ahead of the link: half a minute at 256 kbit/s.  More only keeps urgent
bundles waiting behind what LTP has taken already."""


ENGINE_NS = 250 * MILLISECOND
"""The same for fast links, beside what is under way in bursts."""

TRAIN_BYTES_MIN, TRAIN_BYTES_MAX = 64_000, 1 << 20
"""Octets of a train: on a fast link what arrives together also leaves together."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What follows from the rates of one direction."""

    queue_bytes: int
    queue_ns: int
    """Time to drain a full queue at the lowest rate."""

    burst_ns: int
    coalesce_ns: int
    block_time_ns: int
    """Longest life of a FEC block: it fills in less when there is data."""

    repair_ns: int
    """Time from the first packet of a block to its last repair packet, at most."""

    train_bytes: int
    engine_bytes: int


def tune(direction: DirectionConfig, segment_bytes: int, least_ns: int = 0) -> Tuning:
    """Times and sizes for the rates of a direction, with bursts of `least_ns` at least."""
    slow_bps, fast_bps = direction.rate_min_bps, direction.rate_max_bps
    bits = 8 * (segment_bytes + IPV4_UDP_BYTES)
    slow_ns, fast_ns = bits * SECOND / slow_bps, bits * SECOND / fast_bps
    burst_ns = max(least_ns, 20 * MILLISECOND, BURST_DATAGRAMS * slow_ns)
    # A full burst takes less than half of the queue: above that the port asks for a rest.
    queue_ns = max(100 * MILLISECOND, 2.5 * burst_ns)
    queue_bytes = direction.queue_bytes or max(
        QUEUE_BYTES_MIN, round(fast_bps * queue_ns / (8 * SECOND))
    )
    block_ns = repair_ns = 0.0
    if direction.fec is not None:
        fec = direction.fec
        # A quarter more than a block needs while the link is full, so that only what is left
        # at the end of a burst of data is closed by the clock.
        block_ns = max(100 * MILLISECOND, 1.25 * fec.k * fec.interleave * slow_ns)
        repair_ns = block_ns + fec.r * fec.interleave * slow_ns
    coalesce_ns = direction.coalesce_ms * MILLISECOND or max(least_ns, 5 * MILLISECOND, 2 * fast_ns)
    together_bytes = round(fast_bps * coalesce_ns / (8 * SECOND))
    under_way_ns = ENGINE_NS + 2 * (least_ns + coalesce_ns)
    return Tuning(
        queue_bytes=queue_bytes,
        queue_ns=round(queue_bytes * 8 * SECOND / slow_bps),
        burst_ns=round(burst_ns),
        coalesce_ns=round(coalesce_ns),
        block_time_ns=round(block_ns),
        repair_ns=round(repair_ns),
        train_bytes=min(max(TRAIN_BYTES_MIN, together_bytes), TRAIN_BYTES_MAX),
        engine_bytes=max(ENGINE_BYTES_MIN, round(fast_bps * under_way_ns / (8 * SECOND))),
    )


def short_name(node_id: str) -> str:
    """A node id as a word: `dtn://gs1/` is `gs1`, `ipn:5.0` is `ipn-5`."""
    text = node_id.removeprefix("dtn://").removesuffix(".0").strip("/")
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)


class LoopbackWorld:
    """Everything of a run that exists while the virtual loop runs.

    `handlers` are for the satellites.  Nodes are made, not started.  `capture` watches the
    links; raises `ConfigError` when it wants one that there is not.
    """

    def __init__(
        self,
        scenario: Scenario,
        sky: Sky,
        streams: Streams,
        loop: VirtualLoop,
        root: Path,
        handlers: Mapping[str, Handler],
        capture: RunCapture | None = None,
    ) -> None:
        self.scenario = scenario
        self.sky = sky
        self.loop = loop
        self.root = root
        self.nodes: dict[str, Node] = {}
        self.channels: dict[tuple[str, str], VirtualPort] = {}
        """What sends from one node to another, by (from, to)."""
        self.events: dict[str, Counter[str]] = {}
        self.streams = streams
        self._network = VirtualNetwork(loop, streams)
        self._links: dict[str, list[LinkConfig]] = {}
        self._tables = SharedTables()
        places = scenario.node_ids
        self._engine_ids = {one: number for number, one in enumerate(places, 1)}
        self._capture = capture
        root.mkdir(parents=True, exist_ok=True)
        self._keys = root / "keys.toml"
        if scenario.protect:
            new_key_file(self._keys, streams.entropy("keys"), "loopback")
        for link in sky.links:
            self._join(link)
        for line in scenario.terrestrial:
            self._join_on_ground(*line.between, line.rate_bps, line.delay_ms)
        if self._capture is not None:
            self._capture.check()
        flying = sky.satellites
        for one in places:
            self.nodes[one] = self._node(one, handlers if one in flying else {})

    def now_s(self) -> float:
        """Seconds since the start."""
        return self.loop.now_ns / SECOND

    def link(self, node_id: str, peer: str) -> Link:
        """The link of a node towards another; its node must be running."""
        return self.nodes[node_id].links[short_name(peer)]

    # ---- links -----------------------------------------------------------------------------

    def _join(self, link: SkyLink) -> None:
        directions = link.forward, link.backward
        burst_ns = round(self.scenario.burst_ms * MILLISECOND)
        there, back = (
            tune(direction.config, link.segment_bytes, burst_ns) for direction in directions
        )
        self._connect(
            link.a,
            link.b,
            _channel(link, directions[0], there),
            _channel(link, directions[1], back),
        )
        for direction, sends, receives in (
            (directions[0], there, back),
            (directions[1], back, there),
        ):
            own, peer = direction.source, direction.destination
            ltp, fec = self._engines(
                own, peer, link.segment_bytes, sends, receives, direction.config
            )
            self._links.setdefault(own, []).append(
                LinkConfig(
                    name=short_name(peer),
                    peer=peer,
                    trusted=True,
                    scheduled=True,
                    ltp=ltp,
                    fec=fec,
                )
            )

    def _engines(
        self,
        own: str,
        peer: str,
        segment_bytes: int,
        sends: Tuning,
        receives: Tuning,
        direction: DirectionConfig,
    ) -> tuple[LtpConfig, FecConfig | None]:
        """LTP and FEC of one end; each knows how long the other may take."""
        ltp = LtpConfig(
            local_engine_id=self._engine_ids[own],
            remote_engine_id=self._engine_ids[peer],
            segment_bytes=segment_bytes,
            burst_ns=sends.burst_ns,
            train_bytes=sends.train_bytes,
            queue_bytes=sends.engine_bytes,
        )
        ltp = under_delays(
            ltp,
            LowerDelays(sends.queue_ns + sends.coalesce_ns, sends.repair_ns),
            LowerDelays(receives.queue_ns + receives.burst_ns, receives.repair_ns),
        )
        if direction.fec is None:
            return ltp, None
        wait_ns = max(sends.repair_ns, receives.repair_ns + receives.queue_ns) + SECOND
        fec = FecConfig(
            k=direction.fec.k,
            r=direction.fec.r,
            interleave=direction.fec.interleave,
            adu_bytes_max=segment_bytes,
            block_time_ns=sends.block_time_ns,
            decode_timeout_ns=wait_ns,
        )
        return ltp, fec

    def _join_on_ground(self, a: str, b: str, rate_bps: float, delay_ms: float) -> None:
        config = ChannelConfig(
            windows=always_up(rate_bps),
            delay=Delay.constant(delay_ms * MILLISECOND),
            queue_bytes=max(QUEUE_BYTES_MIN, round(rate_bps * 0.1 / 8)),
            overhead_bytes=IPV4_UDP_BYTES,
            coalesce_ns=5 * MILLISECOND,
        )
        self._connect(a, b, config, config)
        for own, peer in ((a, b), (b, a)):
            ltp = LtpConfig(
                local_engine_id=self._engine_ids[own], remote_engine_id=self._engine_ids[peer]
            )
            self._links.setdefault(own, []).append(
                LinkConfig(
                    name=short_name(peer),
                    peer=peer,
                    trusted=True,
                    rate_bps=rate_bps,
                    owlt_ms=delay_ms,
                    ltp=ltp,
                )
            )

    def _connect(self, a: str, b: str, forward: ChannelConfig, backward: ChannelConfig) -> None:
        ends = short_name(a), short_name(b)
        name = "-".join(ends)
        ports = self._network.connect(name, forward, backward)
        self.channels[a, b], self.channels[b, a] = ports
        if self._capture is not None:
            self._capture.watch(name, ends, ports)

    # ---- nodes -----------------------------------------------------------------------------

    def _node(self, node_id: str, handlers: Mapping[str, Handler]) -> Node:
        scenario = self.scenario
        name = short_name(node_id)
        links = self._links.get(node_id, [])
        config = NodeConfig(
            id=node_id,
            data_dir=str(self.root / name),
            security=SecurityConfig(
                key_file=str(self._keys) if scenario.protect else "",
                protect="all" if scenario.protect else "none",
            ),
            store=StoreSection(kind="memory"),
            services=ServicesConfig(files=FilesConfig(settle_s=scenario.settle_s)),
            log=LogConfig(level="off"),
            links=tuple(links),
        )
        ports = {link.name: self.channels[node_id, link.peer] for link in links}

        async def open_port(link: LinkConfig) -> DatagramPort:
            return ports[link.name]

        environment = Environment(
            clock=VirtualClock(self.loop, dtn_start_ms=self.sky.start_ms),
            entropy=self.streams.entropy(f"node/{node_id}"),
            open_port=open_port,
            threads=False,
            tables=self._tables,
        )
        counter = self.events.setdefault(node_id, Counter())

        def trace(event: str, fields: dict[str, Any]) -> None:
            counter[event] += 1

        return Node(
            config,
            handlers=handlers,
            environment=environment,
            plan=self.sky.plan,
            trace=trace,
        )


def _channel(link: SkyLink, direction: LinkDirection, tuning: Tuning) -> ChannelConfig:
    return ChannelConfig(
        windows=direction.windows,
        delay=link.delay,
        queue_bytes=tuning.queue_bytes,
        overhead_bytes=IPV4_UDP_BYTES,
        rules=direction.rules,
        coalesce_ns=tuning.coalesce_ns,
    )
