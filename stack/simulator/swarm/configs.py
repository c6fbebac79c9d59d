"""How the nodes of the swarm are configured."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stack.core.clock import SECOND
from stack.engines.bundle_agent import AgentConfig
from stack.engines.ltp import LtpConfig
from stack.engines.ltp.coding import LowerDelays, under_delays
from stack.fec.config import FecConfig
from stack.node.config import (
    AuditConfig,
    LinkConfig,
    LogConfig,
    NodeConfig,
    PolicyConfig,
    SecurityConfig,
    StoreSection,
)
from stack.services.files import FilesConfig
from stack.services.jobs.config import JobsConfig
from stack.services.suite import ServicesConfig
from stack.simulator.swarm.options import Options

HOP_LIMIT: Final = 255
"""With wrong plans bundles go in circles for a while, and that must not lose them."""

FILE_BATCH_BYTES: Final = 32_768
"""Less than half of the smallest store that is drawn: more waits until the store is empty."""

REPAIR_S: Final = 1800.0
"""Longest wait of the services before they ask again: less than a gap between passes, so that the
end of the faults is followed by questions soon."""

FEC: Final = FecConfig(k=16, r=4)


def node_config(
    options: Options,
    name: str,
    *,
    section: StoreSection,
    data_dir: Path,
    key_file: Path,
    directory: Path,
) -> NodeConfig:
    """The configuration of a node; `directory`: where that of the nodes is, if there is any."""
    return NodeConfig(
        id=f"dtn://{name}/",
        data_dir=str(data_dir),
        agent=AgentConfig(
            fragment_bytes=options.fragment_bytes,
            hop_limit=HOP_LIMIT,
            trusted_clock=name not in options.clockless,
        ),
        store=section,
        security=SecurityConfig(
            key_file=str(key_file), protect="all" if options.protect else "none"
        ),
        policy=PolicyConfig(directory=str(directory) if options.jurisdictions else ""),
        audit=AuditConfig(events="all" if options.jurisdictions else "none"),
        services=ServicesConfig(
            files=FilesConfig(chunk_bytes=8192, batch_bytes=FILE_BATCH_BYTES, nudge_max_s=REPAIR_S),
            jobs=JobsConfig(repeat_max_s=REPAIR_S, watch_s=60.0, deadline_ms=6 * 86_400_000),
        ),
        log=LogConfig(level="off"),
        links=_links_of(options, name),
    )


def _links_of(options: Options, name: str) -> tuple[LinkConfig, ...]:
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
