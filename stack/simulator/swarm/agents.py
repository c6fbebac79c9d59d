"""Bundle agents alone on the bare event heap: routing, custody and fragments without links.

A hop here is what LTP makes of it: a block of one bundle arrives or not, the answer arrives or
not, and what was not answered goes again.  The agents are driven as in a node, by
`stack.node.driver`, at once and in memory.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from link_models.clock import Simulator
from link_models.network import TraceHash
from stack.contacts.plan import Contact, Plan
from stack.core.clock import MILLISECOND, SECOND
from stack.core.eid import Eid
from stack.core.errors import StoreError
from stack.core.train import Buffer, single
from stack.engines.bundle_agent import AgentConfig, BundleAgent, begin
from stack.node.config import StoreSection
from stack.node.driver import BundleDriver, ignore
from stack.ports.application import Delivery, Outgoing
from stack.ports.store import Committed, Op, Place
from stack.routing.forwarder import Forwarder
from stack.simulator.swarm.agents_options import AgentsOptions, draw_agents
from stack.simulator.swarm.day import RunOutcome
from stack.simulator.swarm.immediate import ImmediateWriter
from stack.simulator.swarm.ledger import PROBLEMS_MAX, Held, RunLedger
from stack.simulator.swarm.memory_image import MemoryImage
from stack.simulator.swarm.plans import EPOCH_MS

SERVICE: Final = "swarm"
EVENTS_MAX: Final = 60_000
"""Events of a run: some ten times what the longest needs, so that a livelock shows."""

SPAN_NS: Final = 60 * SECOND
QUIET_SPANS: Final = 2
"""A run in which everything has arrived goes on for so many spans, for what should not arrive."""

BATCH: Final = 16
RETRY_NS: Final = 30 * SECOND
DOWN_NS: Final = 120 * SECOND
"""How long a node is away at most after a crash."""

LIFETIME_MS: Final = 86_400_000


def name_of(number: int) -> str:
    """The name of a node."""
    return f"n{number}"


class _Clock:
    """The time of a run, right at every node."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return self._sim.now_ns

    def dtn_ms(self) -> int:
        """DTN time."""
        return EPOCH_MS + self._sim.now_ns // MILLISECOND


class _Hop:
    """The way to one neighbour, as the driver sees it: it takes whatever comes."""

    unit_bytes = 0
    unit_bytes_max = 1 << 62

    def __init__(self, sender: _Agent, peer: str) -> None:
        self._sender = sender
        self._peer = peer

    def room(self, now: int) -> int:
        """Always the same."""
        return 1 << 20

    def submit(self, encoded: Buffer, ref: int, now: int, *, alone: bool) -> None:
        """Off it goes."""
        self._sender.hop(self._peer, ref, encoded)


class _Agent:
    """One node: an agent, its driver, its store, and what it has under way."""

    def __init__(self, run: AgentsRun, number: int) -> None:
        self.name = name_of(number)
        self.node_id = f"dtn://{self.name}/"
        self.store = MemoryImage(StoreSection(kind="memory", quota_bytes=1 << 24))
        self.held = Held()
        self.up: dict[str, Callable[[], None]] = {}
        """By neighbour in contact, what makes bundles leave for it."""
        self.deaf = 0
        self.down = False
        self.life = 0
        self._run = run
        self._due: set[str] = set()
        self.agent: BundleAgent
        self.driver: BundleDriver
        self.start()

    def start(self) -> None:
        """Begin, or begin again from what the store holds."""
        run = self._run
        self.life += 1
        self.down = False
        self._due.clear()
        forwarder = Forwarder(self.node_id, run.plan)
        self.agent = BundleAgent(
            Eid.parse(self.node_id),
            AgentConfig(fragment_bytes=run.options.fragment_bytes, hop_limit=255),
            forwarder,
            begin(self.store.read, run.entropy),
            trace=self._trace,
        )
        self.agent.services.add(SERVICE)
        writer = ImmediateWriter(
            self._commit, lambda limit: self.store.expire(run.clock.dtn_ms(), limit)
        )
        self.driver = BundleDriver(self.agent, self.store, writer, run.clock, self._trace)
        self.driver.on_deliverable = self._deliver
        for wake in self.up.values():
            self.driver.subscribe(wake)
        self.agent.restore(self.store.scan(), run.now_ms)
        self.driver.run_pending()

    def _trace(self, event: str, fields: dict[str, Any]) -> None:
        if event == "bundle_failed":
            self._run.problem("error", f"{self.name}: {fields}")

    def _commit(self, ops: Sequence[Op]) -> Committed:
        run = self._run
        outcome = self.store.commit(ops, run.now_ms)
        run.ledger.committed(self.name, self.held, list(ops), outcome, run.now_s)
        return outcome

    def _deliver(self, service: str) -> None:
        agent, run = self.agent, self._run

        def deliver(ref: int, encoded: Buffer) -> bool:
            delivery = agent.open(ref, encoded, run.now_ms)
            if delivery is not None:
                run.delivered(self.name, delivery)
                self.driver.submit([agent.consumed(ref, run.now_ms)])
            return True

        self.driver.each(agent.waiting.take(service, BATCH), deliver, ignore)

    # ---- hops ----------------------------------------------------------------------------

    def _wake(self, peer: str) -> None:
        """Send what waits for a neighbour, in a turn of its own as a link does."""
        if peer not in self._due:
            self._due.add(peer)
            life = self.life
            self._run.sim.after(0, lambda: self._turn(peer, life))

    def _turn(self, peer: str, life: int) -> None:
        if life == self.life and not self.down:
            self._due.discard(peer)
            if peer in self.up:
                self.driver.send(peer, _Hop(self, peer), self._run.sim.now_ns)

    def hop(self, peer: str, ref: int, encoded: Buffer) -> None:
        """A bundle leaves."""
        self._run.hop(self, peer, ref, encoded)

    def receive(self, encoded: Buffer, sender: str) -> bool:
        """A bundle comes; whether it was taken."""
        if self.deaf:
            return False
        put, _, intact, _ = self.agent.receive(encoded, self._run.now_ms, 0, sender, trusted=True)
        kept: list[bool] = []

        def done(outcome: Committed | StoreError) -> None:
            kept.append(not isinstance(outcome, StoreError) and outcome.kept_all)

        if put is not None:
            self.driver.submit([put], done)
        else:
            self.driver.run_pending()
        return intact and False not in kept

    def answered(self, peer: str, ref: int, taken: bool) -> None:
        """The neighbour has answered."""
        if taken:
            self.agent.forwarded([ref], self._run.now_ms, peer)
        else:
            self.agent.forwarder.returned([ref], peer)
        self.driver.run_pending()

    def set_up(self, peer: str, up: bool) -> None:
        """A contact begins or ends."""
        if up:
            self.up[peer] = lambda: self._wake(peer)
            self.driver.subscribe(self.up[peer])
        else:
            if (wake := self.up.pop(peer, None)) is not None:
                self.driver.unsubscribe(wake)
            if not self.down:
                self.agent.contact_ended(peer, self._run.now_ms)
        if not self.down:
            self.driver.run_pending()

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
        self.clock = _Clock(self.sim)
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
        self.ledger = RunLedger(
            {name: tuple(sorted(ends)) for name, ends in near.items()}, protect=False
        )
        self.got: Counter[int] = Counter()
        self.agents = {name_of(number): _Agent(self, number) for number in range(options.nodes)}
        self._sent: set[int] = set()

    @property
    def now_ms(self) -> int:
        """DTN time, right at every node."""
        return self.clock.dtn_ms()

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self.sim.now_ns / SECOND

    def problem(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.ledger.problem(invariant, text, self.now_s)

    # ---- the run -------------------------------------------------------------------------

    def run(self) -> RunOutcome:
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
        end_ns, quiet = round(options.day_s * SECOND), 0
        while events < EVENTS_MAX and self.sim.now_ns < end_ns and quiet < QUIET_SPANS:
            span_ns = min(end_ns, self.sim.now_ns + SPAN_NS)
            events += self.sim.run(span_ns, EVENTS_MAX - events)
            quiet = quiet + 1 if self._is_over() else 0
        if events >= EVENTS_MAX:
            self.problem("stuck", f"{EVENTS_MAX} events have run, and it goes on")
        else:
            self._check()
        ledger = self.ledger
        return RunOutcome(
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

    def _is_over(self) -> bool:
        """Everything has arrived, and nobody holds anything: nothing more can happen, once what is
        on its way has come."""
        return len(self.got) == len(self.options.messages) and not any(
            one.down or one.agent.entries for one in self.agents.values()
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
        self._sent.add(number)
        one.driver.submit(ops)

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
                one.driver.run_pending()
        self.sim.after(RETRY_NS, self._retry)

    # ---- hops ----------------------------------------------------------------------------

    def hop(self, sender: _Agent, peer: str, ref: int, encoded: Buffer) -> None:
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
            self.trace(self.sim.now_ns, receiver.name, single(encoded))
            if receiver.down:
                return
            taken = receiver.receive(encoded, sender.node_id)
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


def run_agents(seed: int) -> RunOutcome:
    """Draw and run agents."""
    return AgentsRun(draw_agents(seed)).run()
