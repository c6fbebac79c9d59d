"""How the links of a node of the swarm are configured."""

from __future__ import annotations

from typing import Final

from stack.core.clock import SECOND
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.coding import LowerDelays, under_delays
from stack.fec.config import FecConfig
from stack.node.config import LinkConfig
from stack.simulator.swarm.options import Options

FEC: Final = FecConfig(k=16, r=4)


def links_of(options: Options, name: str) -> tuple[LinkConfig, ...]:
    """The links of a node."""
    found = []
    for link in options.links:
        if name not in (link.a, link.b):
            continue
        peer = link.b if name == link.a else link.a
        slow_bps = min(link.rate_bps, link.back_bps)
        # A segment or a report in the queue of the slower direction.
        queue_ns = round(8 * 1500 * SECOND / slow_bps)
        delays = LowerDelays(queue_ns, FEC.block_time_ns)
        if not options.fec:  # as patient, so that a seed is the same run with and without coding
            delays = LowerDelays(queue_ns + FEC.block_time_ns)
        ltp = LtpConfig(
            local_engine_id=options.nodes.index(name) + 1,
            remote_engine_id=options.nodes.index(peer) + 1,
            block_bytes=options.block_bytes,
            queue_bytes=options.queue_bytes,
        )
        found.append(
            LinkConfig(
                name=peer,
                peer=f"dtn://{peer}/",
                trusted=not options.hostile,
                scheduled=not link.always,
                rate_bps=link.rate_bps if name == link.a else link.back_bps,
                owlt_ms=link.owlt_ms,
                ltp=under_delays(ltp, delays, delays),
                fec=FEC if options.fec else None,
            )
        )
    return tuple(found)
