"""Whole nodes in virtual time, joined by simulated links."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from link_models.channel import ChannelConfig
from link_models.clock import VirtualLoop
from link_models.network import VirtualNetwork, VirtualPort
from link_models.rng import Streams
from stack.contacts.plan import Plan
from stack.engines.bundle_agent import AgentConfig
from stack.engines.ltp import LtpConfig
from stack.fec.config import FecConfig
from stack.node.config import LinkConfig, LogConfig, NodeConfig, SecurityConfig, StoreSection
from stack.node.environment import Environment
from stack.node.node import Node
from stack.ports.datagram import DatagramPort
from stack.security import new_key_file
from stack.services.jobs import Handler

EPOCH_MS = 830_000_000_000
"""DTN time at the start of every simulation."""


class VirtualClock:
    """A node's clock on a virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> int:
        return self._loop.now_ns

    def dtn_ms(self) -> int:
        return EPOCH_MS + self._loop.now_ns // 1_000_000


class SeededEntropy:
    """Octets that look random and come again with the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed}/{self._count}".encode()).digest(count)


@dataclass
class World:
    """Nodes by name, and the links between them."""

    loop: VirtualLoop
    root: Path
    seed: int = 1
    protect: bool = True
    store: str = "sqlite"
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network = VirtualNetwork(self.loop, Streams(self.seed))
        self.ports: dict[tuple[str, str], VirtualPort] = {}
        self.keys = self.root / "keys.toml"
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.keys.exists():
            new_key_file(self.keys, SeededEntropy("keys"), "test")
        self.starts = 0

    def connect(
        self, a: str, b: str, forward: ChannelConfig, backward: ChannelConfig | None = None
    ) -> None:
        """Join two nodes; once for all their restarts."""
        first, second = self.network.connect(f"{a}-{b}", forward, backward)
        self.ports[a, b], self.ports[b, a] = first, second

    def link(self, a: str, b: str, *, fec: FecConfig | None = None, **options: Any) -> LinkConfig:
        """The link of `a` towards `b`."""
        ids = sorted((a, b))
        ltp: dict[str, Any] = options.pop("ltp", {})
        return LinkConfig(
            name=b,
            peer=f"dtn://{b}/",
            ltp=LtpConfig(
                local_engine_id=ids.index(a) + 1, remote_engine_id=ids.index(b) + 1, **ltp
            ),
            fec=fec,
            **options,
        )

    def node(
        self,
        name: str,
        links: list[LinkConfig],
        *,
        plan: Plan | None = None,
        agent: dict[str, Any] | None = None,
        port: Callable[[LinkConfig], DatagramPort] | None = None,
        handlers: Mapping[str, Handler] | None = None,
        **sections: Any,
    ) -> Node:
        """A node that can be entered; made anew for each start."""
        security = SecurityConfig(
            key_file=str(self.keys) if self.protect and "identity" not in sections else "",
            protect="all" if self.protect else "none",
        )
        config = NodeConfig(
            id=f"dtn://{name}/",
            data_dir=str(self.root / name),
            agent=AgentConfig(**(agent or {})),
            security=sections.pop("security", security),
            store=StoreSection(kind=self.store, synchronous="normal"),
            log=LogConfig(level="off"),
            links=tuple(links),
            **sections,
        )
        self.starts += 1

        async def open_port(link: LinkConfig) -> DatagramPort:
            if port is not None:
                return port(link)
            real = self.ports[name, link.name]
            real.reopen()
            return real

        environment = Environment(
            clock=VirtualClock(self.loop),
            entropy=SeededEntropy(f"{self.seed}/{name}/{self.starts}"),
            open_port=open_port,
            threads=False,
        )

        def trace(event: str, fields: dict[str, Any]) -> None:
            self.events.append((name, event, fields))

        return Node(config, handlers=handlers, environment=environment, plan=plan, trace=trace)
