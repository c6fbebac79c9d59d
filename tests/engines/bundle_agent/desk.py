"""An agent at the end of a link and over a store in memory, with one application that listens."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from stack.contacts.plan import Plan
from stack.core.eid import Eid
from stack.engines.bundle_agent import (
    AgentConfig,
    Beginning,
    BundleAgent,
    Echo,
    Reassemble,
    Shares,
    TooLarge,
)
from stack.policy import PolicyGate
from stack.ports.application import Outgoing
from stack.ports.security import Security
from stack.ports.store import BundleStore, Op
from stack.routing.forwarder import Forwarder
from stack.security import BpSec, Key, KeyRing, SecurityPolicy
from stack.storage.memory import MemoryStore
from stack.wire.bundle import Bundle, encode_bundle
from tests.engines.bundle_agent.harness import HERE, NOW, plan

KEYS = (Key("aes", "aes", bytes(range(32))), Key("mac", "hmac", bytes(range(48))))


def keyed(sign_for: tuple[str, ...] = ()) -> BpSec:
    """What every node with the keys does."""
    counter = itertools.count(1)
    policy = SecurityPolicy(sign_for=sign_for)
    return BpSec(KeyRing(KEYS), lambda n: next(counter).to_bytes(n, "big"), policy)


class Desk:
    """Takes bundles, and keeps what its application got, in order."""

    def __init__(
        self,
        config: AgentConfig | None = None,
        *,
        security: Security | None = None,
        store: BundleStore | None = None,
        node: str = HERE,
        listens: bool = True,
        beginning: Beginning | None = None,
        shares: Shares | None = None,
        gate: PolicyGate | None = None,
        contacts: Plan | None = None,
    ) -> None:
        self.store: BundleStore = store or MemoryStore(1 << 26)
        self.agent = BundleAgent(
            Eid.parse(node),
            config or AgentConfig(),
            Forwarder(node, contacts or plan()),
            beginning or Beginning(bytes(32), 1),
            security=security,
            shares=shares,
            gate=gate,
        )
        self.listens = listens
        if listens:
            self.agent.services.add("app")
        self.got: list[bytes] = []
        self.agent.restore(self.store.scan(), NOW)
        self.run_pending(NOW)

    def commit(self, ops: Sequence[Op], now: int) -> list[int]:
        """Apply operations, and tell the agent."""
        outcome = self.store.commit(ops, now)
        self.agent.committed(ops, outcome, now)
        return outcome.refs

    def arrive(
        self, bundle: Bundle | bytes, now: int = NOW, neighbour: str = "", trusted: bool = False
    ) -> int | None:
        """A bundle comes over a link: its ref, 0 for a duplicate, None when it is dropped."""
        encoded = bundle if isinstance(bundle, bytes) else encode_bundle(bundle)
        put = self.agent.receive(encoded, now, 0, neighbour, trusted=trusted).put
        ref = None if put is None else self.commit([put], now)[0]
        self.run_pending(now)
        return ref

    def arrive_at_once(self, bundles: Sequence[Bundle], now: int = NOW) -> None:
        """Bundles come in one block, and are stored in one transaction."""
        received = [self.agent.receive(encode_bundle(bundle), now) for bundle in bundles]
        self.commit([each.put for each in received if each.put is not None], now)
        self.run_pending(now)

    def pass_on(self, to: Desk, now: int = NOW) -> None:
        """Everything that waits for a neighbour goes there."""
        agent = self.agent
        neighbour = str(to.agent.node_id)
        while refs := agent.forwarder.take(neighbour, 1 << 20, 100, now):
            for ref in refs:
                (encoded,) = self.store.load([ref])
                assert encoded is not None
                to.arrive(bytes(agent.departing(agent.entries[ref], encoded, now)), now)
            agent.forwarded(refs, now, neighbour)
            self.run_pending(now)

    def expire(self, now: int) -> None:
        """What has had its time goes, and what was remembered of it."""
        self.agent.expired(self.store.expire(now, 1000), now)
        self.run_pending(now)

    def send(self, destination: str, payload: bytes = b"data") -> bytes:
        """The octets of a bundle that the application sends."""
        outgoing = Outgoing(Eid.parse(destination), payload, 60_000, "app")
        _, ops = self.agent.send([outgoing], NOW)
        (ref,) = self.commit(ops, NOW)
        (encoded,) = self.store.load([ref])
        assert encoded is not None
        return bytes(encoded)

    def run_pending(self, now: int) -> None:
        """Carry out what the agent wants; the application consumes what it gets."""
        agent = self.agent
        while True:
            event = agent.next_event()
            if isinstance(event, Reassemble):
                if all(ref in agent.entries for ref in event.refs):
                    loaded = [
                        encoded for encoded in self.store.load(event.refs) if encoded is not None
                    ]
                    self.commit(agent.reassemble(event.refs, loaded, now), now)
            elif isinstance(event, TooLarge):
                (encoded,) = self.store.load([event.ref])
                assert encoded is not None
                self.commit(agent.split(event.ref, encoded, event.bytes_max) or [], now)
            elif isinstance(event, Echo):
                held = self.store.held(event.key)
                if held is not None:
                    agent.echoed(held, event.neighbour)
            elif event is None and not self._consume(now):
                break

    def _consume(self, now: int) -> bool:
        agent = self.agent
        for ref in agent.waiting.take("app", 100) if self.listens else []:
            (encoded,) = self.store.load([ref])
            assert encoded is not None
            delivery = agent.open(ref, encoded, now)
            if delivery is not None:
                self.got.append(bytes(delivery.payload))
                self.commit([agent.consumed(ref, now)], now)
        ops = agent.take_ops()
        self.commit(ops, now)
        return bool(ops)
