"""Bundle agents alone on the bare event heap: routing, custody and fragments without links.

A hop here is what LTP makes of it: a block of one bundle arrives or not, the answer arrives or
not, and what was not answered goes again.  The driver does what a node does with an agent
(`stack.node.driver`, `stack.node.link`), at once and in memory.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from link_models.clock import Simulator
from link_models.network import TraceHash
from link_models.swarm.day import Outcome
from link_models.swarm.disk import MemoryImage
from link_models.swarm.ledger import PROBLEMS_MAX, Held, Ledger
from link_models.swarm.plans import EPOCH_MS
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.train import Buffer, single
from stack.engines.bundle_agent import (
    AgentConfig,
    BundleAgent,
    Deliverable,
    Echo,
    TooLarge,
    begin,
)
from stack.node.config import StoreSection
from stack.ports.application import Delivery, Outgoing
from stack.ports.store import NO_ROOM, Op, Place
from stack.routing.forwarder import Forwarder

SERVICE: Final = "swarm"
EVENTS_MAX: Final = 60_000
"""Events of a run: some ten times what the longest needs, so that a livelock shows."""

BATCH: Final = 16
RETRY_NS: Final = 30 * SECOND
DOWN_NS: Final = 120 * SECOND
"""How long a node is away at most after a crash."""

LIFETIME_MS: Final = 86_400_000
FRAGMENT_BYTES: Final = 512
SIZES: Final = (20, 300, 3000)
LEVELS: Final = (0, 1, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentsOptions:
    """Agents, contacts and work, drawn from one seed."""

    seed: int
    nodes: int
    contacts: tuple[tuple[int, int, float, float], ...]
    """(one end, other end, from, to), nodes by number, times in seconds."""

    messages: tuple[tuple[int, int, float, int, int], ...]
    """(source, destination, at, octets, priority)."""

    faults_s: float
    day_s: float
    loss: float
    """Share of bundles, and of answers, that are lost on a hop while there are faults."""

    duplicate: float
    crash: float
    """Share of bundles after whose storing the node crashes, before it answers."""

    owlt_s: float
    fragment_bytes: int
    restarts: tuple[tuple[float, int], ...]
    deaf: tuple[tuple[float, float, int], ...]
    """(from, to, node): a node refuses all that comes, as with a full disk."""

    def line(self) -> str:
        """What it is, in one line."""
        return repr(self)


def draw_agents(seed: int) -> AgentsOptions:
    """The agents of a seed."""
    rng = random.Random(f"{seed}/agents")
    nodes = rng.randint(2, 6)
    pairs = list(itertools.combinations(range(nodes), 2))
    linked = [(number, rng.randrange(number)) for number in range(1, nodes)]  # all are connected
    linked += [pair for pair in pairs if rng.random() < 0.5]
    faults_s, day_s = rng.uniform(200, 1500), 7200.0
    contacts = []
    for a, b in sorted({tuple(sorted(pair)) for pair in linked}):
        at_s = rng.uniform(0, 300)
        if rng.random() < 0.3:  # a line on the ground
            contacts.append((a, b, 0.0, day_s))
            continue
        while at_s < day_s:
            end_s = at_s + rng.uniform(20, 300)
            contacts.append((a, b, round(at_s, 3), round(end_s, 3)))
            at_s = end_s + rng.uniform(1, 300)
    return AgentsOptions(
        seed=seed,
        nodes=nodes,
        contacts=tuple(contacts),
        messages=tuple(
            (source, destination, rng.uniform(0, faults_s), rng.choice(SIZES), rng.choice(LEVELS))
            for source, destination in (
                rng.sample(range(nodes), 2) for _ in range(rng.randint(1, 12))
            )
        ),
        faults_s=faults_s,
        day_s=day_s,
        loss=rng.choice([0.0, rng.uniform(0, 0.5)]),
        duplicate=rng.choice([0.0, rng.uniform(0, 0.3)]),
        crash=rng.choice([0.0, rng.uniform(0, 0.3)]),
        owlt_s=rng.choice([0.005, 1.0]),
        fragment_bytes=rng.choice([0, 0, FRAGMENT_BYTES]),
        restarts=tuple(
            sorted(
                (rng.uniform(0, faults_s), rng.randrange(nodes))
                for _ in range(rng.choice([0, 1, 3, 6]))
            )
        ),
        deaf=tuple(
            (start_s, min(faults_s, start_s + rng.uniform(1, 300)), rng.randrange(nodes))
            for start_s in (rng.uniform(0, faults_s) for _ in range(rng.choice([0, 0, 1, 2])))
        ),
    )


def name_of(number: int) -> str:
    """The name of a node."""
    return f"n{number}"


class _Agent:
    """One node: an agent, its store, and what it has under way."""

    def __init__(self, run: AgentsRun, number: int) -> None:
        self.name = name_of(number)
        self.node_id = f"dtn://{self.name}/"
        self.store = MemoryImage(StoreSection(kind="memory", quota_bytes=1 << 24))
        self.held = Held()
        self.up: set[str] = set()
        self.deaf = 0
        self.down = False
        self.life = 0
        self._run = run
        self.agent: BundleAgent
        self.start()

    def start(self) -> None:
        """Begin, or begin again from what the store holds."""
        run = self._run
        self.life += 1
        self.down = False
        forwarder = Forwarder(self.node_id, run.plan)
        self.agent = BundleAgent(
            Eid.parse(self.node_id),
            AgentConfig(fragment_bytes=run.options.fragment_bytes, hop_limit=255),
            forwarder,
            begin(self.store.read, run.entropy),
        )
        self.agent.services.add(SERVICE)
        self.agent.restore(self.store.scan(), run.now_ms)
        self.settle()

    # ---- the store -----------------------------------------------------------------------

    def commit(self, ops: Sequence[Op]) -> list[int]:
        """Apply operations, and tell the agent."""
        run = self._run
        outcome = self.store.commit(ops, run.now_ms)
        run.ledger.committed(self.name, self.held, list(ops), outcome, run.now_s)
        self.agent.committed(ops, outcome, run.now_ms)
        return outcome.refs

    def settle(self) -> None:
        """Carry out what the agent has decided, and send what may be sent."""
        agent = self.agent
        while True:
            event = agent.next_event()
            if event is None:
                ops = agent.take_ops()
                if not ops:
                    break
                self.commit(ops)
            elif isinstance(event, Deliverable):
                self._deliver(event.service)
            elif isinstance(event, Echo):
                held = self.store.held(event.key)
                if held is not None:
                    agent.echoed(held, event.neighbour)
            elif isinstance(event, TooLarge):
                self._split(event.ref, event.bytes_max)
            elif all(ref in agent.entries for ref in event.refs):
                self.commit(agent.reassemble(event.refs, self._load(event.refs)))
        for peer in sorted(self.up):
            self._feed(peer)

    def _load(self, refs: Sequence[int]) -> list[Buffer]:
        return [wire for wire in self.store.load(refs) if wire is not None]

    def _split(self, ref: int, bytes_max: int) -> bool:
        if ref not in self.agent.entries:
            return True
        ops = self.agent.split(ref, self._load([ref])[0], bytes_max)
        if ops is None:
            return False
        self.commit(ops)
        return True

    def _deliver(self, service: str) -> None:
        agent, run = self.agent, self._run
        for ref in agent.waiting.take(service, BATCH):
            delivery = agent.open(ref, self._load([ref])[0], run.now_ms)
            if delivery is not None:
                run.delivered(self.name, delivery)
                self.commit([agent.consumed(ref, run.now_ms)])

    # ---- hops ----------------------------------------------------------------------------

    def _feed(self, peer: str) -> None:
        agent, run = self.agent, self._run
        limit = agent.config.fragment_bytes
        while refs := agent.forwarder.take(peer, 1 << 20, BATCH, run.now_ms):
            for ref in refs:
                entry = agent.entries.get(ref)
                if entry is None or (limit and entry.size > limit and self._split(ref, limit)):
                    continue
                wire = agent.departing(entry, self._load([ref])[0], run.now_ms)
                run.hop(self, peer, ref, wire)

    def receive(self, wire: Buffer, sender: str) -> bool:
        """A bundle comes; whether it was taken."""
        if self.deaf:
            return False
        put, _, intact = self.agent.receive(wire, self._run.now_ms, 0, sender, trusted=True)
        refs = self.commit([put]) if put is not None else []
        self.settle()
        return intact and NO_ROOM not in refs

    def answered(self, peer: str, ref: int, taken: bool) -> None:
        """The neighbour has answered."""
        if taken:
            self.agent.forwarded([ref], self._run.now_ms, peer)
        else:
            self.agent.forwarder.returned([ref], peer)
        self.settle()

    def set_up(self, peer: str, up: bool) -> None:
        """A contact begins or ends."""
        if up:
            self.up.add(peer)
        else:
            self.up.discard(peer)
            if not self.down:
                self.agent.contact_ended(peer, self._run.now_ms)
        if not self.down:
            self.settle()

    def crash(self) -> None:
        """End, and begin again a little later."""
        self.life += 1
        self.down = True
        self._run.sim.after(self._run.down_ns(), self._up_again)

    def _up_again(self) -> None:
        if self.down:
            self.start()


class AgentsRun:
    """One run."""

    def __init__(self, options: AgentsOptions) -> None:
        self.options = options
        self.sim = Simulator()
        self.trace = TraceHash()
        self.faults: Counter[str] = Counter()
        self.datagrams = 0
        self._rng = random.Random(f"{options.seed}/agents/run")
        self.entropy = random.Random(f"{options.seed}/agents/entropy").randbytes
        self._faulty = True
        contacts = [
            Contact(
                f"dtn://{name_of(one)}/",
                f"dtn://{name_of(other)}/",
                EPOCH_MS + round(start_s * 1000),
                EPOCH_MS + round(end_s * 1000),
                1e6,
            )
            for a, b, start_s, end_s in options.contacts
            for one, other in ((a, b), (b, a))
        ]
        self.plan = Plan(contacts)
        near: dict[str, set[str]] = {name_of(number): set() for number in range(options.nodes)}
        for a, b, *_ in options.contacts:
            near[name_of(a)].add(name_of(b))
            near[name_of(b)].add(name_of(a))
        self.ledger = Ledger(
            {name: tuple(sorted(ends)) for name, ends in near.items()}, protect=False
        )
        self.got: Counter[int] = Counter()
        self.agents = {name_of(number): _Agent(self, number) for number in range(options.nodes)}
        self._sent: set[int] = set()

    @property
    def now_ms(self) -> int:
        """DTN time, right at every node."""
        return EPOCH_MS + self.sim.now_ns // MILLISECOND

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self.sim.now_ns / SECOND

    def problem(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.ledger.problem(invariant, text, self.now_s)

    # ---- the run -------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Faults, then convergence."""
        started_s = time.process_time()
        options = self.options
        for a, b, start_s, end_s in options.contacts:
            for one, other in ((a, b), (b, a)):
                self._at(start_s, partial(self._set_up, one, other, True))
                self._at(end_s, partial(self._set_up, one, other, False))
        for number, (source, *_, at_s, _, _) in enumerate(options.messages):
            self._at(at_s, partial(self._send, number, int(source)))
        for at_s, number in options.restarts:
            self._at(at_s, partial(self._restart, number))
        for start_s, end_s, number in options.deaf:
            self._at(start_s, partial(self._set_deaf, number, 1))
            self._at(end_s, partial(self._set_deaf, number, -1))
        self.sim.after(RETRY_NS, self._retry)
        events = self.sim.run(round(options.faults_s * SECOND), EVENTS_MAX)
        self._faulty = False
        events += self.sim.run(round(options.day_s * SECOND), EVENTS_MAX - events)
        if events >= EVENTS_MAX:
            self.problem("stuck", f"{EVENTS_MAX} events have run, and it goes on")
        else:
            self._check()
        ledger = self.ledger
        return Outcome(
            seed=options.seed,
            problems=tuple(ledger.problems[:PROBLEMS_MAX]),
            trace=self.trace.hexdigest(),
            simulated_s=round(self.now_s, 3),
            converged_s=None,
            faults=dict(sorted(self.faults.items())),
            checks=dict(sorted(ledger.checks.items())),
            events=events,
            datagrams=self.datagrams,
            bundles=ledger.stored,
            delivered=len(self.got),
            cpu_s=time.process_time() - started_s,
        )

    def _at(self, at_s: float, work: Callable[[], object]) -> None:
        self.sim.at(round(at_s * SECOND), work)

    def _set_up(self, one: int, other: int, up: bool) -> None:
        self.agents[name_of(one)].set_up(f"dtn://{name_of(other)}/", up)

    def _send(self, number: int, source: int) -> None:
        _, destination, _, octets, priority = self.options.messages[number]
        one = self.agents[name_of(source)]
        if one.down:
            self.sim.after(DOWN_NS, partial(self._send, number, source))
            return
        outgoing = Outgoing(
            Eid.parse(f"dtn://{name_of(destination)}/{SERVICE}"),
            content(number, octets),
            LIFETIME_MS,
            SERVICE,
            priority,
        )
        _, ops = one.agent.send([outgoing], self.now_ms)
        one.commit(ops)
        self._sent.add(number)
        one.settle()

    def _restart(self, number: int) -> None:
        self.faults["restart"] += 1
        self.agents[name_of(number)].start()

    def _set_deaf(self, number: int, by: int) -> None:
        self.faults["deaf"] += by > 0
        self.agents[name_of(number)].deaf += by

    def _retry(self) -> None:
        """What `stack.node.upkeep` does."""
        for one in self.agents.values():
            if not one.down:
                one.agent.retry(self.now_ms)
                one.settle()
        self.sim.after(RETRY_NS, self._retry)

    # ---- hops ----------------------------------------------------------------------------

    def hop(self, sender: _Agent, peer: str, ref: int, wire: Buffer) -> None:
        """A bundle leaves; it goes again until it is answered, as far as the contact lasts."""
        owlt_ns = round(self.options.owlt_s * SECOND)
        life = sender.life
        answered = False

        def answer(taken: bool) -> None:
            nonlocal answered
            if not answered and sender.life == life:
                answered = True
                sender.answered(peer, ref, taken)

        def arrive() -> None:
            receiver = self.agents[peer.removeprefix("dtn://").rstrip("/")]
            self.trace(self.sim.now_ns, receiver.name, single(wire))
            if receiver.down:
                return
            taken = receiver.receive(wire, sender.node_id)
            if self._faulty and self._rng.random() < self.options.crash:
                self.faults["crash"] += 1
                receiver.crash()
            elif not self._lost():
                self.sim.after(owlt_ns, lambda: answer(taken))

        def attempt() -> None:
            if answered or sender.life != life:
                return
            if peer in sender.up:
                self.datagrams += 1
                if not self._lost():
                    self.sim.after(owlt_ns, arrive)
                if self._faulty and self._rng.random() < self.options.duplicate:
                    self.faults["duplicated"] += 1
                    self.sim.after(2 * owlt_ns, arrive)
            self.sim.after(4 * owlt_ns + SECOND, attempt)

        attempt()

    def down_ns(self) -> int:
        """How long a crash keeps a node away."""
        return self._rng.randrange(SECOND, DOWN_NS)

    def _lost(self) -> bool:
        lost = self._faulty and self._rng.random() < self.options.loss
        self.faults["lost"] += lost
        return lost

    # ---- the judgement -------------------------------------------------------------------

    def delivered(self, name: str, delivery: Delivery) -> None:
        """An application gets something."""
        self.ledger.checks["altered"] += 1
        octets = bytes(delivery.payload)
        number = int.from_bytes(octets[:4], "big")
        if number not in self._sent or octets != content(number, self.options.messages[number][3]):
            self.problem("altered", f"{name} got {octets[:40]!r}, which nobody sent")
            return
        if name != name_of(self.options.messages[number][1]):
            self.problem("misdelivered", f"message {number} at {name}")
        self.got[number] += 1
        self.ledger.checks["twice"] += 1
        if self.got[number] > 1:
            self.problem("twice", f"message {number} was delivered {self.got[number]} times")

    def _check(self) -> None:
        for number in sorted(self._sent):
            self.ledger.checks["lost"] += 1
            if not self.got[number]:
                self.problem("lost", f"message {number} never arrived")
        for one in self.agents.values():
            self.ledger.checks["unaccounted"] += 1
            stored = {entry.ref for entry in one.store.scan()}
            if stored != set(one.agent.entries) or stored != set(one.held.bundles):
                self.problem("unaccounted", f"{one.name} and its store disagree")
            waiting = sum(
                entry.size for entry in one.agent.entries.values() if entry.place is Place.FORWARD
            )
            self.ledger.checks["quota"] += 1
            if one.agent.forwarder.bytes_waiting < 0 or (
                not waiting and one.agent.forwarder.bytes_waiting
            ):
                self.problem("quota", f"{one.name} has lost count of what it queues")


def content(number: int, octets: int) -> bytes:
    """What a message consists of."""
    return number.to_bytes(4, "big") + random.Random(number).randbytes(octets)


def run_agents(seed: int) -> Outcome:
    """Draw and run agents."""
    return AgentsRun(draw_agents(seed)).run()
