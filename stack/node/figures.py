"""What a node counts and measures: counters only grow while it runs, gauges go up and down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from stack.engines.bundle_agent import BundleAgent
from stack.node.link import Link
from stack.ports.store import BundleStore

GAUGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "store.bundles": "Bundles in the store.",
        "store.bytes": "Octets that the store counts against its quota.",
        "store.quota_bytes": "The quota of the store, octets.",
        "store.full": "1 while the disk has no room, else 0.",
        "store.reserve_bytes": "Octets set aside on disk for use when it is full.",
        "queue.bytes": "Octets that wait to be forwarded, those under way included.",
        "queue.bundles": "Bundles that wait to be forwarded, those under way included.",
        "queue.stranded": "Bundles to be forwarded for which there is no way, or none allowed.",
        "fec.rx_open_blocks": "Of a link: erasure coding blocks that are neither whole nor lost.",
        "fec.rx_held_bytes": "Of a link: octets held for these blocks.",
        "share.bytes": "Of a link that is not trusted: octets of its neighbour in the store.",
        "share.reserved_bytes": "Of such a link: octets of the store that are kept for these.",
        "udp.unreadable": "Of a link: 1 while its port cannot tell its counters.",
    }
)
"""Gauges by name; those of a link come as `link.NAME.` and this.  All else is a counter."""


def figures(
    agent: BundleAgent,
    store: BundleStore,
    links: Iterable[Link],
    trace_failures: int,
    services: Mapping[str, int],
) -> tuple[dict[str, int], dict[str, int]]:
    """Counters and gauges of a node by name."""
    usage = store.usage()
    counters = {f"bundles.{key}": value for key, value in agent.counters.items()} | {
        "store.missing": usage.missing,
        "store.rescues": usage.rescues,
        "store.damaged": usage.damaged,
        "store.damaged_states": usage.damaged_states,
        "store.repaired": usage.repaired,
        "store.repaired_octets": usage.repaired_octets,
        "store.scrubbed_bytes": usage.scrubbed_bytes,
        "trace.failures": trace_failures,
        **services,
    }
    gauges = {
        "store.bundles": usage.bundles,
        "store.bytes": usage.bytes,
        "store.quota_bytes": usage.quota_bytes,
        "store.full": int(usage.full),
        "store.reserve_bytes": usage.reserve_bytes,
        "queue.bytes": agent.forwarder.bytes_waiting,
        "queue.bundles": agent.forwarder.bundles_waiting,
        "queue.stranded": agent.forwarder.stranded,
    }
    shares = agent.shares
    for link in links:
        if link.peer in shares.neighbours:
            gauges[f"link.{link.name}.share.bytes"] = shares.held(link.peer)
            gauges[f"link.{link.name}.share.reserved_bytes"] = shares.part(link.peer)
        for key, value in link.figures().items():
            (gauges if key in GAUGES else counters)[f"link.{link.name}.{key}"] = value
    return counters, gauges
