"""The composition root: which class stands behind which port."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path

from stack.audit.note import NoteKey
from stack.contacts.plan import Plan
from stack.core.limits import IPV6_UDP_BYTES
from stack.core.sansio import Entropy, Trace
from stack.engines.bundle_agent import AuditTrail, Shares
from stack.engines.ltp import LtpConfig, LtpEngine
from stack.engines.ltp.authentication import Authenticator
from stack.engines.ltp.coding import FecShim, LowerDelays, under_delays
from stack.engines.ltp.config import SEGMENT_BYTES_MIN
from stack.node.application import LocalPort
from stack.node.auditing import LogKeeper
from stack.node.captures import Captures
from stack.node.config import LinkConfig, NodeConfig
from stack.node.driver import BundleDriver
from stack.node.environment import Environment
from stack.node.guard import is_foreign, is_trusted, make_authenticator, under_extensions
from stack.node.identity import Membership
from stack.node.keyed import KeyedPeers
from stack.node.keys import NodeKeys
from stack.node.link import Link
from stack.ports.security import Security
from stack.routing.config import RouterConfig
from stack.routing.forwarder import Forwarder
from stack.security import BpSec, KeyRing, SecurityPolicy
from stack.security.records import SignedRecords, signing_rules
from stack.security.vouchers import make_voucher
from stack.services.audit import AuditService
from stack.services.node_ids import NodeIdService
from stack.services.reports import StatusReports
from stack.services.waiting import cancel_all
from stack.storage.memory import MemoryStore
from stack.storage.sqlite import SqliteStore
from stack.storage.staged import StagingStore
from stack.wire.fecframe import ADUI_HEADER_BYTES, PAYLOAD_ID_BYTES

LTP_HEADER_BYTES = 10
"""Octets of a data segment that are no data, about (RFC 5326 §3.1, §3.2.1)."""


def open_store(config: NodeConfig, trace: Trace) -> StagingStore:
    """The store that the configuration names.  Raises `StoreError` when it cannot be opened."""
    place = Path(config.data_dir) / "store"  # a node's alone, also where nothing is put into it
    if config.store.kind == "memory":
        section = config.store
        store = MemoryStore(section.quota_bytes, section.quota_bundles, section.keys_max)
        store.claim(place)
        return store
    return SqliteStore(place, config.store, trace)


def make_security(
    config: NodeConfig,
    keys: NodeKeys,
    environment: Environment,
    trace: Trace,
    member: Membership | None = None,
) -> Security | None:
    """BPSec with the keys of the node, or None when the configuration turns it off.  Signatures are
    those of a `member` of a domain; of the key file where there is none."""
    if config.security.protect == "none":
        trace("security_off", {"node": config.id})
        return None
    policy = SecurityPolicy(
        sign_for=config.security.sign_for,
        cose_sign_for=config.security.cose_sign_for,
        cose_require_from=config.security.cose_require_from,
        rules=config.security.rules,
    )
    rules = signing_rules(config.security.rules, certified=member is not None)
    bpsec, signing = (
        BpSec(keys.ring, environment.entropy, one, use=keys.use, signers=member)
        for one in (policy, dataclasses.replace(policy, rules=rules))
    )
    secured = SignedRecords(bpsec, signing)
    return secured if keys.distribution is None else keys.distribution.guarded(secured)


def make_node_ids(
    config: NodeConfig, port: LocalPort, reports: StatusReports
) -> NodeIdService | None:
    """Validation of node ids, whose records have to be signed: not where security is off."""
    return None if config.security.protect == "none" else NodeIdService(port, reports)


def make_trail(config: NodeConfig) -> AuditTrail | None:
    """What is written down in the node's log, unless that is turned off."""
    events = config.audit.events
    return None if events == "none" else AuditTrail(config.id, events)


def keep_log(
    stack: contextlib.AsyncExitStack,
    config: NodeConfig,
    port: LocalPort,
    environment: Environment,
    trace: Trace,
    member: Membership | None = None,
) -> None:
    """Close the node's log from time to time, until `stack` is; its key is vouched for by what
    makes the node a `member` of its domain.  Raises `StoreError`."""
    if port.driver.store.ledger is None:
        return
    audit = config.audit
    vouch = None
    if member is not None:
        identity = member.identity

        def vouch(key: NoteKey) -> bytes:
            return make_voucher(identity, key, environment.clock.dtn_ms())

    keeper = LogKeeper(config.id, port, audit, environment.entropy, trace, vouch)
    stack.push_async_callback(keeper.close)
    if audit.witness or audit.witnesses:
        service = AuditService(port, keeper.witnesses, serves=audit.witness)
        task = asyncio.get_running_loop().create_task(service.run(), name="audit")
        stack.push_async_callback(cancel_all, [task])


def make_router_config(config: NodeConfig, keys: KeyRing, entropy: Entropy) -> RouterConfig:
    """Routing's parameters.  Its estimate of what the layers below add to a bundle follows the
    scheduled link whose segments cost least, so that signatures of one link take no volume from
    the others.  Raises `ConfigError` as `make_authenticator` does."""
    contacts = config.contacts
    defaults = RouterConfig(
        confidence_min=contacts.confidence_min, confidence_wanted=contacts.confidence_wanted
    )
    ratios: list[float] = []
    for link in config.links:
        if link.scheduled:
            authenticator = make_authenticator(link, config.id, keys, entropy)
            ltp = under_extensions(link.ltp, link, authenticator)
            data = ltp.segment_bytes - LTP_HEADER_BYTES
            ratios.append((ltp.overhead_bytes + LTP_HEADER_BYTES) / data)
    least = min(ratios, default=0.0)
    return dataclasses.replace(defaults, overhead_ratio=max(defaults.overhead_ratio, least))


def make_forwarder(config: NodeConfig, keys: KeyRing, plan: Plan, entropy: Entropy) -> Forwarder:
    """Routing by a plan, over links that are always open, and by default.  Raises `ConfigError` as
    `make_authenticator` does."""
    return Forwarder(
        config.id,
        plan,
        direct=[link.peer for link in config.links if not link.scheduled],
        default=config.contacts.default or None,
        config=make_router_config(config, keys, entropy),
    )


def make_shares(config: NodeConfig, keys: KeyRing, quota_bytes: int, entropy: Entropy) -> Shares:
    """What is kept of the store's quota: a part for each neighbour on a link that is not trusted.
    Raises `ConfigError` as `make_authenticator` does."""
    strangers = {
        link.peer
        for link in config.links
        if not is_trusted(link, make_authenticator(link, config.id, keys, entropy))
    }
    store = config.store
    return Shares(strangers, quota_bytes, store.quota_bundles, store.reserved_share)


def under_fec(
    config: LinkConfig, mtu_bytes: int | None, authenticator: Authenticator | None = None
) -> tuple[LtpConfig, float]:
    """LTP's parameters over the link's path, authentication and coding, and LTP's share of the
    link's rate.

    Segments are made no larger than fit the path in one IP packet, repair datagrams included.
    Every source datagram carries a payload id, and repair datagrams take their part of the rate.
    LTP waits for coding (`under_delays`), unless `report_delay_ns` says that it is tuned.
    """
    fec, ltp = config.fec, config.ltp
    if mtu_bytes is not None:
        headers = IPV6_UDP_BYTES + (PAYLOAD_ID_BYTES + ADUI_HEADER_BYTES if fec else 0)
        fits = max(SEGMENT_BYTES_MIN, mtu_bytes - headers)
        ltp = dataclasses.replace(ltp, segment_bytes=min(ltp.segment_bytes, fits))
    ltp = under_extensions(ltp, config, authenticator)
    if fec is None:
        return ltp, 1.0
    overhead = ltp.overhead_bytes + PAYLOAD_ID_BYTES
    source = ltp.segment_bytes + overhead
    repair = source + ADUI_HEADER_BYTES
    share = fec.k * source / (fec.k * source + fec.r * repair)
    if not ltp.report_delay_ns:
        delays = LowerDelays(repair_ns=fec.block_time_ns)
        ltp = under_delays(ltp, delays, delays)
    return dataclasses.replace(ltp, overhead_bytes=overhead), share


async def make_link(
    config: LinkConfig,
    keys: KeyRing,
    environment: Environment,
    driver: BundleDriver,
    trace: Trace,
    captures: Captures,
    keyed: KeyedPeers,
) -> Link:
    """A link with its engine, authentication, coding and port.  Raises `ConfigError`."""
    node, entropy = str(driver.agent.node_id), environment.entropy
    was_keyed = keyed.has(config)
    authenticator = make_authenticator(config, node, keys, entropy, was_keyed=was_keyed)
    ltp, share = under_fec(config, environment.path_mtu(config), authenticator)
    shim: FecShim | None = None
    if config.fec is not None:
        codes = environment.tables.codes
        shim = FecShim(config.fec, environment.entropy, trace, codes, authenticator)
    engine = LtpEngine(
        ltp, entropy=environment.entropy, trace=trace, heads=environment.tables.heads
    )
    link = Link(
        config,
        engine,
        await captures.tapped(config, environment.open_port),
        driver,
        environment.clock,
        trace,
        shim=shim,
        authenticator=authenticator,
        cookies=environment.entropy if config.cookies else None,
        share=share,
    )
    if link.guard is not None:
        link.guard.was_keyed = was_keyed or link.guard.state == "keyed"
        if link.guard.state == "shut":
            link.neighbour.rekeyed("shut", foreign=is_foreign(config, keys))
    return link
