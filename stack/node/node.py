"""A node: the stack put together for one configuration, as an async context manager."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from stack.contacts.files import load_plan
from stack.contacts.passed import PassedOver
from stack.contacts.plan import Contact, Plan, Range, check_contact
from stack.core.arguments import check_kind, eid_of
from stack.core.clock import FOREVER_MS, MILLISECOND, dtn_from_iso
from stack.core.eid import Eid
from stack.core.errors import ConfigError, LocalError
from stack.core.sansio import Trace, no_trace
from stack.engines.bundle_agent import BundleAgent, Entry, begin
from stack.node import build
from stack.node.application import LocalPort
from stack.node.captures import Captures
from stack.node.config import NodeConfig, load_config
from stack.node.contacts import ContactDriver
from stack.node.driver import BundleDriver
from stack.node.environment import Environment, OpenPort
from stack.node.figures import figures
from stack.node.identity import Membership
from stack.node.keyed import KeyedPeers
from stack.node.keys import NodeKeys
from stack.node.link import SPACE as LTP_SPACE
from stack.node.link import Link, keyed_links, rekey, shut_by, unheard
from stack.node.policy import NodePolicy
from stack.node.scrubbing import Scrubbing
from stack.node.trace import Sinks, make_sinks
from stack.node.upkeep import Upkeep
from stack.ports.application import BundleId, Cancelled
from stack.ports.store import Place
from stack.services.jobs import Handler
from stack.services.node_ids import NodeIdService
from stack.services.suite import Services
from stack.storage.staged import StagingStore
from stack.storage.writer import StoreWriter


class Node:
    """One Orbitferry node.

        async with Node(load_config(Path("gs1.toml"))) as node:
            await node.services.files.send("tasking.bin", "dtn://sat1/")

    `handlers` are job handlers registered in code.  `plan` is the contact plan, in place of the
    file that the configuration names.  `trace` is called with every event and its fields.
    `open_port` opens the datagram port of each link, in place of a UDP socket: a modem of one's
    own (`DatagramPort`).  `environment` replaces the operating system by a simulation, ports
    included.  Several nodes fit in one process: nothing is shared between them.

    It logs nothing unless the configuration asks for it (`LogConfig`).  Entering raises
    `ConfigError` for what is missing or cannot be opened, and `StoreError`.  Raises `LocalError`
    for what is no configuration.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        handlers: Mapping[str, Handler] | None = None,
        environment: Environment | None = None,
        open_port: OpenPort | None = None,
        plan: Plan | None = None,
        trace: Trace = no_trace,
    ) -> None:
        if not isinstance(config, NodeConfig):
            raise LocalError(
                f"config: {type(config).__name__} is no NodeConfig; Node.from_file takes a file"
            )
        self.config = config
        self.node_id = config.node_id
        self._handlers = dict(handlers or {})
        environment = environment or Environment.real()
        if open_port is not None:
            environment = dataclasses.replace(environment, open_port=open_port)
        self._environment = environment
        self._plan = plan
        self._user_trace = trace
        self._stack: contextlib.AsyncExitStack | None = None
        self.links: dict[str, Link] = {}
        self.keys: NodeKeys
        self.port: LocalPort
        self.services: Services
        self.node_ids: NodeIdService | None
        self._agent: BundleAgent
        self._driver: BundleDriver
        self._store: StagingStore
        self.trace: Sinks
        self._contacts: ContactDriver

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        handlers: Mapping[str, Handler] | None = None,
        environment: Environment | None = None,
        open_port: OpenPort | None = None,
        plan: Plan | None = None,
        trace: Trace = no_trace,
    ) -> Self:
        """A node from its TOML file.  Raises `ConfigError` that names key and remedy."""
        return cls(
            load_config(path),
            handlers=handlers,
            environment=environment,
            open_port=open_port,
            plan=plan,
            trace=trace,
        )

    # ---- life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise ConfigError("node", "is running already", "make a new Node to run another")
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        config, environment = self.config, self._environment
        clock = environment.clock
        trace = self.trace = make_sinks(config.log, config.id, clock, self._user_trace, stack)
        self._store = (environment.open_store or build.open_store)(config, trace)
        stack.callback(self._store.close)
        # A store in memory has nothing to wait for, so it needs no thread to wait in.
        inline = not environment.threads or config.store.kind == "memory"
        disk = None if environment.disk is None else environment.disk()
        writer = StoreWriter(self._store, clock.dtn_ms, inline=inline, disk=disk, trace=trace)
        stack.push_async_callback(writer.close)
        now_ms = clock.dtn_ms()
        plan = self._load_plan(now_ms)
        trail = self._store.ledger = build.make_trail(config)
        member = Membership(config, clock, trace) if config.identity.folder else None
        self.keys = NodeKeys(config, trace, clock, member)
        if member is not None:
            self.keys.follow(config, member, environment)
        stack.callback(self.keys.close)
        self.policy = NodePolicy(config, trace, member)
        keys, entropy = self.keys.ring, environment.entropy
        self._agent = agent = BundleAgent(
            self.node_id,
            config.agent,
            build.make_forwarder(config, keys, plan, entropy),
            begin(self._store.read, entropy),
            security=build.make_security(config, self.keys, environment, trace, member),
            trace=trace,
            shares=build.make_shares(config, keys, self._store.usage().quota_bytes, entropy),
            gate=self.policy.gate,
            trail=trail,
        )
        self._driver = driver = BundleDriver(agent, self._store, writer, clock, trace)
        restored = agent.restore(self._store.scan(), now_ms)
        silent = partial(unheard, self.links)
        self.port = LocalPort(self.node_id, driver, self._store, clock, entropy, trace, silent)
        notes = [key for key, _ in self._store.read_all(LTP_SPACE)]
        captures = await stack.enter_async_context(Captures(environment, trace))
        keyed = KeyedPeers(Path(config.data_dir), config.links)
        parts = (keys, environment, driver, trace, captures, keyed)
        for link_config in config.links:
            link = await build.make_link(link_config, *parts)
            stack.push_async_callback(link.close)
            link.recover(notes, clock.now())
            self.links[link_config.name] = link
        keyed.note(keyed_links(self.links))  # before anything passes
        keys.on_change(lambda: agent.share(rekey(self.links, config.id, keys)))
        keys.on_change(lambda: keyed.attempt(keyed_links(self.links), trace))
        self.keys.shut_by = lambda ring: shut_by(self.links, config.id, ring)
        self.policy.follow(driver, self.port, self.links.values())
        driver.run_pending()
        self._follow(stack, plan)
        self.services = Services(self.port, config.services, Path(config.data_dir), self._handlers)
        self.node_ids = build.make_node_ids(config, self.port, self.services.reports)
        await self.services.start()
        await stack.enter_async_context(self.keys.serving(self.port))
        stack.push_async_callback(self.services.close)
        build.keep_log(stack, config, self.port, environment, trace, member)
        if member is not None:
            member.start(stack, driver.attempt, self.keys.believed_anew, self.policy.changed)
        upkeep = Upkeep(driver, trace)
        stack.push_async_callback(upkeep.close)
        upkeep.start()
        if config.store.parity:
            scrubbing = Scrubbing(writer, self._damaged, config.store, clock, trace)
            stack.push_async_callback(scrubbing.close)
        trace("node_started", {"bundles": restored, "links": len(self.links)})
        stack.callback(trace, "node_stopped", {})

    def _follow(self, stack: contextlib.AsyncExitStack, plan: Plan) -> None:
        now = self._environment.clock.now()
        self._contacts = ContactDriver(
            self.config.id,
            [link for link in self.links.values() if link.config.scheduled],
            self._environment.clock,
            self._contact_ended,
            self._driver.attempt,
        )
        stack.callback(self._contacts.close)
        self._contacts.follow(plan)
        for link in self.links.values():
            if not link.config.scheduled:
                rate = link.config.rate_bps or None
                owlt_ns = round(link.config.owlt_ms * MILLISECOND)
                link.set_contact(now, tx_up=True, rx_up=True, rate_bps=rate, owlt_ns=owlt_ns)

    def _damaged(self, refs: Sequence[int]) -> None:
        """The scrubber has found bundles that are beyond repair."""
        self._driver.octets.damaged(refs)
        self._driver.run_pending()

    def _contact_ended(self, peer: str, now_ms: int) -> None:
        self._agent.contact_ended(peer, now_ms)
        self._driver.run_pending()

    def _load_plan(self, now_ms: int) -> Plan:
        """The contact plan, with unscheduled links as contacts without end unless it has them."""
        plan = self._plan
        section = self.config.contacts
        if plan is None and section.plan:
            reference = dtn_from_iso(section.reference) if section.reference else now_ms
            passed = PassedOver()
            plan = load_plan(Path(section.plan), reference, passed=passed)
            if passed.counts:
                self.trace("plan_passed_over", {"path": section.plan, "what": str(passed)})
        plan = plan or Plan()
        contacts: list[Contact] = []
        ranges: list[Range] = []
        own = self.config.id
        last_ms = max((contact.end_ms for contact in plan.contacts), default=0)
        for link in self.config.links:
            if link.scheduled or _always_up(plan, own, link.peer, now_ms, last_ms):
                continue
            owlt_ns = round(link.owlt_ms * MILLISECOND)
            for a, b in ((own, link.peer), (link.peer, own)):
                contacts.append(Contact(a, b, 0, FOREVER_MS, link.rate_bps or float("inf")))
                ranges.append(Range(a, b, 0, FOREVER_MS, owlt_ns))
        # Nodes that add nothing share the plan, and all that is derived from it.
        return plan.add(contacts, ranges) if contacts else plan

    # ---- what an operator asks -------------------------------------------------------------

    def set_plan(self, plan: Plan) -> None:
        """Follow another contact plan from now on; what waits is routed anew.  Raises
        `LocalError` for what is no plan."""
        check_kind("plan", plan, Plan, "load_plan() reads one, Plan() is empty")
        self._plan = plan
        now_ms = self._environment.clock.dtn_ms()
        whole = self._load_plan(now_ms)
        self._agent.plan_changed(whole, now_ms)
        self._contacts.follow(whole)
        self._driver.run_pending()

    def contact_discovered(
        self,
        neighbour: Eid | str,
        until_ms: int,
        *,
        rate_bps: float = float("inf"),
        owlt_ns: int = 0,
    ) -> None:
        """A contact with a neighbour that no plan foresaw has begun: its scheduled link comes up,
        and bundles are routed over it, until `until_ms` (DTN) or `contact_lost`.

        `rate_bps` is how fast this node may send (as it pleases, if unlimited), `owlt_ns` the
        light time.  Raises `ConfigError` for a neighbour without a scheduled link, or a time that
        has passed, `LocalError` for what is no EID.
        """
        neighbour = str(eid_of("neighbour", neighbour))
        now_ms = self._environment.clock.dtn_ms()
        check_contact(Contact(self.config.id, neighbour, now_ms, until_ms, rate_bps), "contact")
        self._contacts.discovered(neighbour, rate_bps, until_ms, owlt_ns)
        self._agent.contact_discovered(neighbour, rate_bps, now_ms, until_ms, owlt_ns)
        self.trace("contact_discovered", {"neighbour": neighbour, "until_ms": until_ms})
        self._driver.run_pending()

    def contact_lost(self, neighbour: Eid | str) -> bool:
        """A discovered contact is over before its time; whether there was one.  Raises
        `ConfigError` for a neighbour without a scheduled link, `LocalError` for what is no EID."""
        neighbour = str(eid_of("neighbour", neighbour))
        found = self._agent.contact_lost(neighbour, self._environment.clock.dtn_ms())
        self._contacts.lost(neighbour)
        if found:
            self.trace("contact_lost", {"neighbour": neighbour})
            self._driver.run_pending()
        return found

    async def cancel(self, bundle: BundleId | str) -> Cancelled:
        """Give up a bundle that was sent from here and has not left yet (RFC 9171 §5.12), by its
        id as `send_message` returns it, or the text of that.  Raises `DecodeError` for what is no
        id, `StoreError` when the store cannot forget it (it is not sent in any case)."""
        one = BundleId.parse(bundle) if isinstance(bundle, str) else bundle
        return await self.port.cancel(one)

    def transmissions(self) -> list[Entry]:
        """The bundles that were sent from here and have not left yet, oldest first."""
        return list(self._agent.own.values())

    @property
    def plan(self) -> Plan:
        """The contact plan in force, with unscheduled links as contacts without end."""
        return self._contacts.plan

    def quarantined(self) -> list[Entry]:
        """The bundles on which work has failed; the note of each says why."""
        entries = self._agent.entries.values()
        return [entry for entry in entries if entry.place is Place.QUARANTINE]

    def octets(self, ref: int) -> bytes | None:
        """The octets of a stored bundle; of one that was damaged what is left."""
        entry = self._agent.entries.get(ref)
        if entry is not None and entry.place is Place.QUARANTINE:
            return self._store.remains(ref)
        (encoded,) = self._driver.octets.load([ref])
        return None if encoded is None else bytes(encoded)

    @property
    def waiting_bytes(self) -> int:
        """Octets that wait in this node to be forwarded, those under way included."""
        return self._agent.forwarder.bytes_waiting

    def counters(self) -> dict[str, int]:
        """Every counter of the node by name; they only grow while it runs."""
        return self._figures()[0]

    def gauges(self) -> dict[str, int]:
        """What goes up and down, by name: room, queues (see `stack.node.figures.GAUGES`)."""
        return self._figures()[1]

    def _figures(self) -> tuple[dict[str, int], dict[str, int]]:
        more = self.trace.failures, self.services.malformed()
        return figures(self._agent, self._store, self.links.values(), *more)


def _always_up(plan: Plan, a: str, b: str, now_ms: int, last_ms: int) -> bool:
    """Whether a plan has a link, both ways, for as long as it goes."""
    return all(
        any(contact.end_ms >= last_ms for contact in plan.active(now_ms, *pair))
        for pair in ((a, b), (b, a))
    )
