"""The nodes of a run, their hardware, and the links between them, on one virtual loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from link_models.channel import ChannelConfig, Delay, Window, always_up
from link_models.clock import VirtualLoop
from link_models.loss import Bernoulli, LossFactory, LossModel, no_loss
from link_models.network import TraceHash, VirtualNetwork
from link_models.noise import Rng
from link_models.rng import Streams
from stack.contacts.plan import Plan
from stack.core.clock import MILLISECOND, SECOND
from stack.core.limits import IPV4_UDP_BYTES
from stack.core.train import Train
from stack.engines.bundle_agent import BundleAgent
from stack.node.config import LinkConfig, NodeConfig, StoreSection
from stack.node.driver import BundleDriver
from stack.node.environment import Environment
from stack.node.node import Node
from stack.ports.datagram import DatagramPort
from stack.services.jobs import Handler
from stack.simulator.swarm.air import AirEnd, LinkPort
from stack.simulator.swarm.clocks import NodeClock
from stack.simulator.swarm.configs import node_config
from stack.simulator.swarm.disk import Backup, DiskStore, NodeDisk
from stack.simulator.swarm.laws import Laws
from stack.simulator.swarm.ledger import MARKER, RunLedger
from stack.simulator.swarm.options import LinkOptions, Options
from stack.simulator.swarm.plans import EPOCH_MS, make_plan, own_plan
from stack.simulator.swarm.virtual_disk import VirtualDisk

STOP_S: Final = 60.0
"""A node that is told to stop must have stopped in this time."""

ERRORS: Final = frozenset(
    {"bundle_failed", "work_failed", "service_failed", "jobs.handler_stuck", "files.bad_record"}
)
"""Events of a node that a run must not see."""

_LIFE: contextvars.ContextVar[Life] = contextvars.ContextVar("life")


class RunTrace(TraceHash):
    """A hash of everything that arrives, and of everything that nodes say."""

    def note(self, at_ns: int, node: str, event: str) -> None:
        """A node says something."""
        self._hash.update(f"{at_ns} {node} {event}\n".encode())


class LifeTask(asyncio.Task[Any]):
    """A task that knows which process it belongs to."""

    life: Life | None = None


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Any,
    context: contextvars.Context | None = None,
) -> LifeTask:
    task = LifeTask(work, loop=loop, context=context)
    task.life = _LIFE.get(None) if context is None else context.get(_LIFE)
    return task


class Entropy:
    """Octets that look random and come again with the same seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(b"%b/%d" % (self._seed, self._count)).digest(count)


class Life:
    """One process of a node, from its start to its end."""

    def __init__(self, world: SwarmWorld, name: str, number: int) -> None:
        self.world = world
        self.name = name
        self.number = number
        self.dead = False
        """Whatever it still does, nothing of it reaches its disk."""

        self.node: Node
        self.context = contextvars.copy_context()
        self.context.run(_LIFE.set, self)
        self.ports: list[LinkPort] = []
        self.virtual_disk: VirtualDisk
        self.work: asyncio.Task[None] | None = None
        self.crash_after: int | None = None
        """Turns of the loop from the next arrival to the end of the process."""

    @property
    def driver(self) -> BundleDriver:
        """The inside of its node, for checks and for faults that ask for no interface."""
        return self.node.port.driver

    @property
    def agent(self) -> BundleAgent:
        """The agent of its node."""
        return self.driver.agent

    def crash(self) -> None:
        """End it, here and now; it starts again after a while."""
        self.world.crash(self)

    def die(self, *, silent: bool = True) -> None:
        """Nothing of it reaches the disk any more; when `silent`, nor the links."""
        self.dead = True
        for port in self.ports:
            port.silent = silent

    def heard(self) -> None:
        """Something arrives."""
        if self.crash_after is not None:
            turns, self.crash_after = self.crash_after, None
            self._count_down(turns)

    def _count_down(self, turns: int) -> None:
        if self.dead:
            return
        if turns <= 0:
            self.crash()
        else:
            self.world.loop.call_soon(self._count_down, turns - 1)


class SwarmWorld:
    """Everything of a run that exists while the virtual loop runs."""

    def __init__(self, options: Options, root: Path, loop: VirtualLoop) -> None:
        self.options = options
        self.root = root
        self.loop = loop
        loop.set_exception_handler(self._failed)
        loop.set_task_factory(_make_task)
        self.lives: dict[str, Life] = {}
        self.trace = RunTrace()
        self.events: Counter[str] = Counter()
        self.down_s: dict[str, float] = {}
        """How long the next crash of a node keeps it down."""

        self.application: Callable[[Life], asyncio.Task[None]] | None = None
        """Begins a node's test application."""

        self.handlers: dict[str, Handler] = {}
        self.changed = asyncio.Event()
        self.laws = Laws(options)
        self.ledger = RunLedger(
            _neighbours(options),
            protect=options.protect,
            hostile=options.hostile,
            laws=self.laws if options.jurisdictions else None,
            latest_ms=lambda name: self.clocks[name].latest_ms,
        )
        plan = make_plan(options)
        self.true_plans = {name: own_plan(name, plan, options) for name in options.nodes}
        self.plans: dict[str, Plan] = {}
        self.clocks = {name: NodeClock(loop, EPOCH_MS) for name in options.nodes}
        self.ends: dict[tuple[str, str], AirEnd] = {}
        self.arrived: Counter[str] = Counter()
        self._locks = {name: asyncio.Lock() for name in options.nodes}
        self._starts: Counter[str] = Counter()
        self._streams = Streams(options.seed)
        self._connect()
        self.section = StoreSection(
            kind=options.store,
            quota_bytes=options.quota_bytes,
            synchronous="normal",
            reserve_bytes=0,  # full disks are played by `DiskStore`
            parity=options.parity,
        )
        seed, section, ledger = options.seed, self.section, self.ledger
        self.disks = {
            name: NodeDisk(name, root / name, section, ledger, f"{seed}/disk/{name}")
            for name in options.nodes
        }
        self._secrets = Entropy(f"{seed}/keys")
        self._keys = [
            {"aes": self._secrets(32).hex(), "hmac": self._secrets(48).hex()} for _ in range(2)
        ]
        if options.authenticate:
            for secrets in self._keys:
                secrets["ltp"] = self._secrets(32).hex()
        for name in options.nodes:
            self.disks[name].directory.mkdir(parents=True)
            self.follow(name, self.true_plans[name])
            self.write_keys(name, 0)
            self._directory(name).write_text(self.laws.directory(name))

    def problem(self, invariant: str, text: str) -> None:
        """An invariant does not hold."""
        self.ledger.problem(invariant, text, self.loop.time())

    def follow(self, name: str, plan: Plan) -> None:
        """A node goes by this plan from now on, also when it starts."""
        self.plans[name] = plan
        self.disks[name].chronicle.given(name, plan)
        if name in self.lives:
            life = self.lives[name]
            life.context.run(life.node.set_plan, plan)

    # ---- links ---------------------------------------------------------------------------

    def engine_of(self, name: str) -> int:
        """The LTP engine number of a node."""
        return self.options.nodes.index(name) + 1

    def _connect(self) -> None:
        network = VirtualNetwork(self.loop, self._streams, self._tap)
        for link in self.options.links:
            ports = network.connect(
                f"{link.a}-{link.b}",
                self._channel(link, link.rate_bps),
                self._channel(link, link.back_bps),
            )
            for (a, b), port in zip(((link.a, link.b), (link.b, link.a)), ports, strict=True):
                end = AirEnd(port, self.loop, f"{self.options.seed}/air/{a}/{b}")
                if self.options.authenticate and not self.options.fec:
                    end.watch(hostile=bool(self.options.hostile))
                self.ends[a, b] = end
        for (a, b), end in self.ends.items():
            end.coming = self.ends[b, a].genuine

    def _channel(self, link: LinkOptions, rate_bps: float) -> ChannelConfig:
        windows = always_up(rate_bps)
        if not link.always:
            windows = tuple(
                Window(round(one.start_s * SECOND), round(one.end_s * SECOND), rate_bps)
                for one in self.options.passes
                if (one.a, one.b) == (link.a, link.b)
            )
        return ChannelConfig(
            windows=windows,
            delay=Delay.constant(link.owlt_ms * MILLISECOND),
            overhead_bytes=IPV4_UDP_BYTES,
            loss=_bernoulli(link.loss),
        )

    def _tap(self, at_ns: int, direction: str, train: Train) -> None:
        self.trace(at_ns, direction, train)
        self.arrived[direction] += train.datagram_count
        if self.options.protect:
            octets = train.data if isinstance(train.data, bytes) else bytes(train.data)
            self.ledger.checks["clear"] += 1
            if MARKER in octets:
                self.ledger.look(octets, f"datagrams on {direction}", at_ns / SECOND)

    # ---- processes -----------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Start a node, and its application."""
        async with self._locks[name]:
            if name in self.lives:
                return
            self._starts[name] += 1
            life = Life(self, name, self._starts[name])
            life.node = self._node(life)
            await self.loop.create_task(self._enter(life), context=life.context)
            self.lives[name] = life

    async def _enter(self, life: Life) -> None:
        await life.node.__aenter__()
        if self.application is not None:
            life.work = self.application(life)

    async def stop(self, name: str) -> None:
        """End a node in peace."""
        async with self._locks[name]:
            life = self.lives.pop(name, None)
            if life is not None:
                await self._end(life)

    def crash(self, life: Life, backup: Backup | None = None) -> None:
        """A process ends without warning, and the node comes up again after `down_s`, with what
        was on its disk, or with `backup`."""
        if life.dead:
            return
        disk = self.disks[life.name]
        disk.armed = ""
        disk.snapshot()
        if backup is not None:
            disk.set_back(backup)
        life.die()
        self.lives.pop(life.name, None)
        self.loop.create_task(self._again(life), context=contextvars.Context())

    async def _again(self, life: Life) -> None:
        async with self._locks[life.name]:
            await self._end(life)
            self.disks[life.name].swap()
        await asyncio.sleep(self.down_s.get(life.name, 0.0))
        await self.start(life.name)

    async def replace(self, name: str) -> Life | None:
        """Start a new process while the old one, without its disk, still has its links; the old
        one."""
        async with self._locks[name]:
            life = self.lives.pop(name, None)
            if life is None:
                return None
            disk = self.disks[name]
            disk.snapshot()
            life.die(silent=False)
            life.virtual_disk.hurry()
            await self._cancel_work(life)
            with contextlib.suppress(Exception):  # it may find that its disk is gone
                await life.node.services.close()
            disk.close()
            disk.swap()
        await self.start(name)
        return life

    async def stop_replaced(self, life: Life) -> None:
        """End an old process that `replace` has left."""
        life.die()
        await self._end(life)

    async def _end(self, life: Life) -> None:
        if life.dead:
            life.virtual_disk.hurry()
        await self._cancel_work(life)
        leaving = self.loop.create_task(self._leave(life), context=life.context)
        done, _ = await asyncio.wait([leaving], timeout=STOP_S)
        if not done:
            self.problem("stuck", f"{life.name} does not stop")
            leaving.cancel()

    async def _leave(self, life: Life) -> None:
        try:
            await life.node.__aexit__()
        except Exception as error:
            if not life.dead:
                self.problem("error", f"{life.name} stops with {error!r}")

    async def _cancel_work(self, life: Life) -> None:
        if life.work is not None:
            life.work.cancel()
            await asyncio.wait([life.work])
            if not life.work.cancelled() and not life.dead and life.work.exception() is not None:
                self.problem("error", f"the application of {life.name}: {life.work.exception()!r}")

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        life = _LIFE.get(None)
        for key in ("handle", "task", "future"):
            holder = context.get(key)
            if life is None and isinstance(holder, LifeTask):
                life = holder.life
            elif life is None and isinstance(holder, asyncio.Handle):
                life = holder._context.get(_LIFE)  # type: ignore[attr-defined]
        if life is not None and life.dead:
            return
        error = context.get("exception")
        who = "?" if life is None else life.name
        self.problem("error", f"{who}: {context.get('message')}: {_words(error)}")

    # ---- configuration -------------------------------------------------------------------

    def write_keys(self, name: str, sending: int) -> None:
        """Write a node's key file: it accepts both keys, and sends with one."""
        lines = []
        for number in (sending, 1 - sending):
            for kind, secret in self._keys[number].items():
                lines.append(
                    f'[[key]]\nid = "{kind}-{number}"\nkind = "{kind}"\nsecret = "{secret}"\n'
                    f"send = {'true' if number == sending else 'false'}\n"
                )
        path = self.root / f"{name}.keys"
        path.touch(0o600)
        path.write_text("".join(lines))

    def _directory(self, name: str) -> Path:
        return self.root / f"{name}.directory"

    def _node(self, life: Life) -> Node:
        name, options = life.name, self.options
        disk = self.disks[name]
        damaged: set[int] = set()
        config = node_config(
            options,
            name,
            section=self.section,
            data_dir=disk.directory,
            key_file=self.root / f"{name}.keys",
            directory=self._directory(name),
        )

        async def open_port(link: LinkConfig) -> DatagramPort:
            port = LinkPort(self.ends[name, link.name], life.context, life.heard)
            life.ports.append(port)
            return port

        def open_store(
            config: NodeConfig, trace: Callable[[str, dict[str, Any]], None]
        ) -> DiskStore:
            return disk.open(life, trace)

        def virtual_disk() -> VirtualDisk:
            life.virtual_disk = VirtualDisk(disk, self.loop)
            return life.virtual_disk

        def trace(event: str, fields: dict[str, Any]) -> None:
            if life.dead:
                return
            self.events[event] += 1
            self.trace.note(self.loop.now_ns, name, event)
            if event == "bundle_damaged" and not options.parity:
                damaged.add(fields["ref"])  # a bit flipped at rest: it fails, and need not arrive
            disk.chronicle.hears(event, fields)
            if event in ERRORS and fields.get("ref") not in damaged:
                self.problem("error", f"{name}: {event} {fields}")

        return Node(
            config,
            handlers=self.handlers if name.startswith("sat") else {},
            environment=Environment(
                clock=self.clocks[name],
                entropy=Entropy(f"{options.seed}/{name}/{life.number}"),
                open_port=open_port,
                threads=False,
                open_store=open_store,
                disk=virtual_disk,
            ),
            plan=self.plans[name],
            trace=trace,
        )


def _bernoulli(share: float) -> LossFactory:
    if not share:
        return no_loss

    def make(rng: Rng) -> LossModel:
        return Bernoulli(rng, share)

    return make


def _words(error: BaseException | None) -> str:
    if error is None:
        return ""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = ""
    if place is not None:
        code = place.tb_frame.f_code
        where = f" in {Path(code.co_filename).name}:{place.tb_lineno} {code.co_name}"
    return f"{error!r}{where}"


def _neighbours(options: Options) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {name: set() for name in options.nodes}
    for link in options.links:
        found[link.a].add(link.b)
        found[link.b].add(link.a)
    return {name: tuple(sorted(near)) for name, near in found.items()}
