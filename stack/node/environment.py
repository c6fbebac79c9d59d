"""What a node takes from the world: time, randomness, datagram ports.  Real by default."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stack.adapters.clock import SystemClock
from stack.adapters.mtu import path_mtu_bytes
from stack.adapters.udp import open_udp
from stack.core.clock import Clock
from stack.core.errors import ConfigError
from stack.core.sansio import Entropy, Trace
from stack.engines.ltp.trains import RunHeads
from stack.fec.erasure import SharedCodes
from stack.node.config import LinkConfig, NodeConfig
from stack.ports.datagram import DatagramPort
from stack.storage.staged import StagingStore
from stack.storage.writer import Disk

OpenPort = Callable[[LinkConfig], Awaitable[DatagramPort]]
"""Opens the datagram port of a link; raises `ConfigError` when it cannot."""

OpenStore = Callable[[NodeConfig, Trace], StagingStore]


def no_mtu(link: LinkConfig) -> int | None:
    """Where there is no path to ask about."""
    return None


@dataclass(frozen=True, slots=True)
class SharedTables:
    """What can be worked out again, and is kept once for any number of links."""

    heads: RunHeads = field(default_factory=RunHeads)
    codes: SharedCodes = field(default_factory=SharedCodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The world of one node.  A simulation gives it virtual time, seeded randomness and simulated
    ports; nothing in a node looks past this object."""

    clock: Clock
    entropy: Entropy
    open_port: OpenPort
    path_mtu: Callable[[LinkConfig], int | None] = no_mtu
    """Octets of the largest IP packet that a link's path takes, or None: not known."""

    threads: bool = True
    """False: the store commits on the event loop, as virtual time needs."""

    open_store: OpenStore | None = None
    """Opens the node's store; None opens the one that the configuration names."""

    disk: Callable[[], Disk] | None = None
    """Makes what waits for the disk in the place of a thread: a disk that is slow in virtual
    time; None where there is nothing to wait for, or a thread to do it."""

    tables: SharedTables = field(default_factory=SharedTables)
    """Nodes of one thread may share them."""

    @classmethod
    def real(cls) -> Environment:
        """The operating system's clock, randomness and UDP sockets."""
        return cls(
            clock=SystemClock(), entropy=os.urandom, open_port=open_udp_link, path_mtu=udp_mtu
        )


async def open_udp_link(link: LinkConfig) -> DatagramPort:
    """The UDP port of a link.  Raises `ConfigError` when it cannot be opened."""
    local = parse_address(f"links.{link.name}.local", link.local)
    remote = parse_address(f"links.{link.name}.remote", link.remote) if link.remote else None
    return await open_udp(
        local,
        remote,
        repair_port=link.fec is not None,
        # Who was learned is known by no more than its address: all of it counts.
        match_port=link.match_port or remote is None,
        fast=None if link.fast else False,
        receive_buffer_bytes=link.receive_buffer_bytes,
    )


def udp_mtu(link: LinkConfig) -> int | None:
    """The path MTU towards the peer of a link."""
    if not link.remote:
        return None
    return path_mtu_bytes(*parse_address(f"links.{link.name}.remote", link.remote))


def parse_address(key: str, text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`.  Raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(key, f"{text!r} is no address", 'write "127.0.0.1:4556" or "[::1]:4556"')
    return host.strip("[]"), int(port)
