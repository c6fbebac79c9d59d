"""Captures of a run: each datagram once, when it is sent, with what becomes of it as comment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from link_models.channel.fates import Fates
from link_models.network import VirtualPort
from stack.core import pcapng
from stack.core.clock import DTN_EPOCH_UNIX_S, MILLISECOND
from stack.core.errors import ConfigError
from stack.core.packets import End
from stack.core.train import Train
from stack.ports.capture import CaptureSink, udp_blocks

NETWORK: Final = IPv4Address("198.18.0.0")
"""Where simulated nodes have their addresses (RFC 2544: nobody's on the internet)."""

NODES_MAX: Final = 1 << 17
"""Addresses that there are."""

PORT: Final = 1113
"""UDP port of LTP (RFC 7122), by which Wireshark knows it; repair packets use the one above."""


class RunCapture:
    """Watches the links of a run, or some of them, for a capture.

    An interface is a link, `outbound` there is from its first node to its second.  Nodes have made
    up addresses, which the capture gives their names.
    """

    def __init__(
        self, sink: CaptureSink, nodes: Sequence[str], start_ms: int, only: Sequence[str]
    ) -> None:
        """`nodes` are all there are, by their short names; `start_ms` is the DTN time at the start
        of the run, `only` names the links that are wanted; empty: all.  Raises `ConfigError`."""
        if len(nodes) >= NODES_MAX:
            raise ConfigError("capture", f"has addresses for {NODES_MAX} nodes")
        self._sink = sink
        self._only = frozenset(only)
        self._known: set[str] = set()
        self._epoch_ns = (start_ms + DTN_EPOCH_UNIX_S * 1000) * MILLISECOND
        self._addresses = {name: NETWORK + number for number, name in enumerate(nodes, 1)}
        sink.announce(pcapng.names({place: name for name, place in self._addresses.items()}))

    def watch(
        self, link: str, ends: tuple[str, str], ports: tuple[VirtualPort, VirtualPort]
    ) -> None:
        """Capture a link, if it is wanted: the names of both nodes, and what each sends into."""
        self._known.add(link)
        if self._only and link not in self._only:
            return
        place = self._sink.interface(link)
        for one, other, port, outbound in (
            (*ends, ports[0], True),
            (*ends[::-1], ports[1], False),
        ):
            addresses = self._addresses[one], self._addresses[other]
            port.watch = partial(self._sent, place, addresses, outbound)

    def check(self) -> None:
        """Raise `ConfigError` when a link is wanted that there is not."""
        for link in sorted(self._only - self._known):
            known = ", ".join(sorted(self._known))
            raise ConfigError("capture_links", f"no link {link!r}", f"one of {known}")

    def _sent(
        self,
        place: int,
        addresses: tuple[IPv4Address, IPv4Address],
        outbound: bool,
        now_ns: int,
        train: Train,
        fates: Fates,
    ) -> None:
        ends: tuple[End, End] = (
            (addresses[0], PORT + train.flow),
            (addresses[1], PORT + train.flow),
        )
        make = partial(
            udp_blocks, place, self._epoch_ns + now_ns, train, ends, fates.words(), outbound
        )
        self._sink.put(len(train.data), train.datagram_count, make)
