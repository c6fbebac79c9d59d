"""An agent, driven as in a node, over a store that hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stack.contacts.plan import Contact, Plan
from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.core.sansio import no_trace
from stack.core.train import Buffer
from stack.engines.bundle_agent import AgentConfig, Beginning, BundleAgent
from stack.node.driver import BundleDriver
from stack.ports.application import Outgoing
from stack.ports.security import Security
from stack.ports.store import DUPLICATE, Committed, Op, Put, Release, Stored
from stack.routing.forwarder import Forwarder
from stack.simulator.swarm.immediate import ImmediateWriter
from stack.storage.memory import MemoryStore
from stack.wire.bundle import (
    IS_ADMIN,
    Bundle,
    CanonicalBlock,
    PrimaryBlock,
    StatusReport,
    decode_admin,
    decode_bundle,
    encode_bundle,
)

NOW = 800_000_000_000
HERE = "dtn://sat1/"
NEXT = "dtn://gs2/"
FAR = "dtn://far/"


def plan() -> Plan:
    """Here to the next node and on, for an hour from now."""
    end = NOW + 3_600_000
    return Plan([Contact(HERE, NEXT, NOW, end, 1e6), Contact(NEXT, FAR, NOW, end, 1e6)])


def bundle_for(
    destination: str,
    payload: bytes = b"data",
    *,
    blocks: Sequence[CanonicalBlock] = (),
    flags: int = 0,
    creation_ms: int = NOW - 1000,
    lifetime_ms: int = 60_000,
    sequence: int = 1,
    source: str = "dtn://gs1/app",
    report_to: str = "dtn://gs1/",
) -> Bundle:
    """A bundle as a neighbour would send it."""
    primary = PrimaryBlock(
        Eid.parse(destination),
        Eid.parse(source),
        Eid.parse(report_to),
        creation_ms,
        sequence,
        lifetime_ms,
        flags,
    )
    return Bundle(primary, (*blocks, CanonicalBlock(1, 1, 0, payload, 2)))


class ManualClock:
    """A clock that stands still."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now(self) -> int:
        return self.at_ms * 1_000_000

    def dtn_ms(self) -> int:
        return self.at_ms


class Store(MemoryStore):
    """The least store that keeps the contract of `stack.ports.store`, all in the open."""

    def __init__(self) -> None:
        super().__init__(1 << 40)
        self.octets: dict[int, Buffer] = {}
        self.keys: dict[bytes, int] = {}
        self.puts: dict[int, Put] = {}
        self.log: list[Op] = []

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """Apply operations."""
        refs = []
        for op in ops:
            self.log.append(op)
            if isinstance(op, Put):
                ref = DUPLICATE
                if op.key not in self.keys:
                    ref = len(self.puts) + 1
                    self.keys[op.key] = ref
                    self.octets[ref] = op.encoded
                    self.puts[ref] = op
                refs.append(ref)
            elif isinstance(op, Release):
                self.octets.pop(op.ref, None)
                if op.known_until_ms == 0 and op.ref in self.puts:
                    self.keys.pop(self.puts[op.ref].key, None)
        return Committed(refs)

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """The octets of bundles."""
        return [self.octets.get(ref) for ref in refs]

    def held(self, key: bytes) -> int | None:
        """The bundle of a key."""
        ref = self.keys.get(key)
        return ref if ref in self.octets else None


class Harness:
    """An agent and its driver, with a store that waits for nothing."""

    def __init__(
        self,
        *,
        config: AgentConfig | None = None,
        security: Security | None = None,
        direct: Sequence[str] = (),
        contacts: Plan | None = None,
    ) -> None:
        self.config = config or AgentConfig()
        self.clock = ManualClock(NOW)
        forwarder = Forwarder(HERE, contacts or plan(), direct=direct)
        self.traces: list[tuple[str, dict[str, Any]]] = []
        self.agent = BundleAgent(
            Eid.parse(HERE),
            self.config,
            forwarder,
            Beginning(bytes(32), 1),
            security=security,
            trace=lambda event, fields: self.traces.append((event, fields)),
        )
        self.agent.services.add("app")
        self.store = Store()
        self.octets, self.keys = self.store.octets, self.store.keys
        self.puts, self.log = self.store.puts, self.store.log
        writer = ImmediateWriter(
            lambda ops: self.store.commit(ops, self.clock.dtn_ms()), lambda limit: []
        )
        self.driver = BundleDriver(self.agent, self.store, writer, self.clock, no_trace)

    def commit(self, ops: Sequence[Op], now: int = NOW) -> list[int]:
        """Apply operations and all that follow from them; the refs of the first ones."""
        self.clock.at_ms = now
        refs: list[int] = []

        def done(outcome: Committed | StoreError) -> None:
            assert isinstance(outcome, Committed)
            refs.extend(outcome.refs)

        self.driver.submit(ops, done)
        return refs

    def run_pending(self, now: int = NOW) -> None:
        """Carry out what the agent has asked for since."""
        self.clock.at_ms = now
        self.driver.run_pending()

    def arrive(self, bundle: Bundle | bytes, now: int = NOW) -> int | None:
        """A bundle comes in over a link; its ref, 0 for a duplicate, None when dropped."""
        encoded = bundle if isinstance(bundle, bytes) else encode_bundle(bundle)
        put, end, *_ = self.agent.receive(encoded, now, trusted=True)
        assert end == len(encoded)
        if put is None:
            self.run_pending(now)
            return None
        return self.commit([put], now)[0]

    def send(self, destination: str, payload: bytes = b"data", *, priority: int = 1) -> int:
        """A local application sends; the ref of its bundle."""
        outgoing = Outgoing(Eid.parse(destination), payload, 60_000, "app", priority)
        _, ops = self.agent.send([outgoing], NOW)
        return self.commit(ops)[0]

    def stored(self, ref: int) -> Stored:
        """What a restart would find."""
        put = self.puts[ref]
        return Stored(
            ref,
            put.key,
            put.place,
            put.destination,
            put.source,
            put.priority,
            len(put.encoded),
            put.expires_ms,
            put.received_ms,
            put.note,
        )

    def held(self) -> list[Bundle]:
        """The bundles now in the store, oldest first."""
        return [decode_bundle(self.octets[ref])[0] for ref in sorted(self.octets)]


def reports(harness: Harness) -> list[StatusReport]:
    """The status reports that wait in the store, oldest first."""
    found = []
    for bundle in harness.held():
        if bundle.primary.flags & IS_ADMIN:
            opened = harness.agent._admission.open(bundle)  # a report is secured as others are
            plain = bundle if opened is None or opened.bundle is None else opened.bundle
            record = decode_admin(plain.payload.data)
            assert isinstance(record, StatusReport)
            found.append(record)
    return found
