"""Carries out what the bundle agent decides: store operations, loads, and telling who waits."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from stack.core.clock import Clock
from stack.core.errors import DecodeError, StoreError
from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.engines.bundle_agent import BundleAgent, Deliverable, Echo, TooLarge
from stack.ports.security import Opened
from stack.ports.store import BundleStore, Committed, Op, Put, Release
from stack.storage.writer import StoreWriter

CACHE_BYTES_MAX = 64 * 1024 * 1024
"""Octets of bundles kept in memory between store and link: what flows through quickly is never
read back.  Bundles that wait longer are read from the store when their turn comes."""

CACHE_BUNDLE_BYTES_MAX = 4 * 1024 * 1024
"""A bundle larger than this would push too many others out of the cache."""

EXPIRE_BATCH = 1000
"""Bundles expired in one transaction, so that traffic does not wait for a large clean-up."""

Done = Callable[[Committed | StoreError], None]
T = TypeVar("T")


class Effects:
    """Between the agent, which decides, and the store, which is slow."""

    def __init__(
        self,
        agent: BundleAgent,
        store: BundleStore,
        writer: StoreWriter,
        clock: Clock,
        trace: Trace,
    ) -> None:
        self.agent = agent
        self.store = store
        self.clock = clock
        self.on_expiry: Callable[[int], None] | None = None
        """Called with the DTN time at which something expires that has just been stored."""
        self._writer = writer
        self._trace = trace
        self._cache: OrderedDict[int, Put] = OrderedDict()
        self._cache_bytes = 0
        self._owed: list[Op] = []
        """What the store is to forget, but could not when it was told to."""
        self._endpoints: dict[str, asyncio.Event] = {}
        self._settled: list[Callable[[], None]] = []
        self._links: dict[Callable[[], None], None] = {}
        """Those of the links that are up: of a thousand links few are at a time."""
        self._waiters: list[asyncio.Future[None]] = []

    # ---- who waits -------------------------------------------------------------------------

    def on_settled(self, callback: Callable[[], None]) -> None:
        """Call back whenever something has changed."""
        self._settled.append(callback)

    def feed(self, callback: Callable[[], None]) -> None:
        """Call back whenever bundles may have become ready to leave, until `starve`."""
        self._links[callback] = None

    def starve(self, callback: Callable[[], None]) -> None:
        """A link that is down wants nothing."""
        self._links.pop(callback, None)

    async def change(self) -> None:
        """Return when something has been stored, sent or let go of."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def endpoint_event(self, service: str) -> asyncio.Event:
        """The event that is set when a bundle waits for `service`."""
        return self._endpoints.setdefault(service, asyncio.Event())

    # ---- the store -------------------------------------------------------------------------

    def submit(self, ops: Sequence[Op], done: Done | None = None) -> None:
        """Commit `ops`, tell the agent, then `done`; on failure nothing of `ops` has happened."""

        def stored(refs: list[int], evicted: list[int]) -> None:
            outcome = Committed(refs, evicted)
            self.pay()
            self._remember(ops, outcome)
            self.agent.committed(ops, outcome, self.clock.dtn_ms())
            if done is not None:
                done(outcome)
            self.settle()

        def failed(error: Exception) -> None:
            self.agent.counters["store_errors"] += 1
            self._trace("store_error", {"why": str(error)})
            self._owed += self.agent.refused(ops)
            if done is not None:
                done(error if isinstance(error, StoreError) else StoreError(str(error)))
            self.settle()

        self._writer.submit(ops, stored, failed)

    @property
    def owes(self) -> bool:
        """Whether the store is still to forget something."""
        return bool(self._owed)

    def pay(self) -> None:
        """Let the store forget what it could not forget before, if it works again."""
        if self._owed:
            ops, self._owed = self._owed, []
            self.submit(ops)

    def settle(self) -> None:
        """Carry out what the agent has decided since, and wake those who can go on."""
        agent = self.agent
        while (event := agent.next_event()) is not None:
            if isinstance(event, Deliverable):
                waiter = self._endpoints.get(event.service)
                if waiter is not None:
                    waiter.set()
            elif isinstance(event, TooLarge):
                self._split(event)
            elif isinstance(event, Echo):
                held = self.store.held(event.key)
                if held is not None:
                    agent.echoed(held, event.neighbour)
            else:
                self._reassemble(event.refs)
        ops = agent.take_ops()
        if ops:
            self.submit(ops)
        for callback in self._links:
            callback()
        for callback in self._settled:
            callback()
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for future in waiters:
                if not future.done():
                    future.set_result(None)

    def _split(self, event: TooLarge) -> None:
        """Put parts in the place of a bundle that no contact can carry whole (RFC 9171 §5.8)."""
        if event.ref not in self.agent.entries:
            return
        ops = self.again(event.ref, lambda wire: self.agent.split(event.ref, wire, event.bytes_max))
        if ops is not None:
            self.submit(ops)

    def _reassemble(self, refs: Sequence[int]) -> None:
        """Put a unit in the place of its fragments: those of the store, which are checked."""
        agent = self.agent
        if any(ref not in agent.entries for ref in refs):
            return
        whole = [wire for wire in self._load_all(refs) if wire is not None]
        if len(whole) < len(refs):
            return

        def done(outcome: Committed | StoreError) -> None:
            if isinstance(outcome, StoreError):
                agent.not_reassembled(refs)

        self.submit(agent.reassemble(refs, whole), done)

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """The octets of stored bundles: from memory, else from the store, else None (and the
        bundle is given up: it is damaged or gone)."""
        cache = self._cache
        wires: list[Buffer | None] = [
            put.wire if (put := cache.get(ref)) is not None else None for ref in refs
        ]
        missing = [ref for ref, wire in zip(refs, wires, strict=True) if wire is None]
        if missing:
            loaded = dict(zip(missing, self._load_all(missing), strict=True))
            wires = [
                loaded[ref] if wire is None else wire for ref, wire in zip(refs, wires, strict=True)
            ]
            if None in loaded.values():
                self.settle()
        return wires

    def remembers(self, ref: int) -> bool:
        """Whether a bundle's octets are in memory."""
        return ref in self._cache

    def memo(self, ref: int) -> object:
        """What was known of a bundle when it was stored, if it is still in memory."""
        put = self._cache.get(ref)
        return None if put is None else put.memo

    def again(self, ref: int, work: Callable[[Buffer], T]) -> T | None:
        """`work` on the octets that the store has, after those in memory could not be read.  When
        it raises `DecodeError` on these too, the bundle is given up."""
        self._drop(ref)
        (wire,) = self._load_all([ref])
        if wire is None:
            return None
        try:
            return work(wire)
        except DecodeError as error:
            self._lost(ref, str(error))
            return None

    def forget(self, refs: Iterable[int]) -> None:
        """Load these from the store when they are asked for next."""
        for ref in refs:
            self._drop(ref)

    def _load_all(self, refs: Sequence[int]) -> list[Buffer | None]:
        try:
            wires = self.store.load(refs)
        except StoreError:  # one is damaged, and gone now: the others are asked for one by one
            wires = [self._load(ref) for ref in refs]
        for ref, wire in zip(refs, wires, strict=True):
            if wire is None and ref in self.agent.entries:
                self._lost(ref, "it is not in the store any more")
        return wires

    def _load(self, ref: int) -> Buffer | None:
        try:
            return self.store.load([ref])[0]
        except StoreError as error:
            self._lost(ref, str(error))
            return None

    def _lost(self, ref: int, why: str) -> None:
        self.agent.lost(ref, self.clock.dtn_ms())
        self._trace("bundle_damaged", {"ref": ref, "why": why})

    def _remember(self, ops: Sequence[Op], outcome: Committed) -> None:
        refs = iter(outcome.refs)
        cache = self._cache
        expires_ms = 0
        for op in ops:
            if isinstance(op, Put):
                ref = next(refs)
                if ref <= 0:
                    continue
                if not 0 < expires_ms <= op.expires_ms:
                    expires_ms = op.expires_ms
                if len(op.wire) <= CACHE_BUNDLE_BYTES_MAX:
                    cache[ref] = op
                    self._cache_bytes += _weight(op)
            elif isinstance(op, Release):
                self._drop(op.ref)
        for ref in outcome.evicted:
            self._drop(ref)
        while self._cache_bytes > CACHE_BYTES_MAX:
            _, oldest = cache.popitem(last=False)
            self._cache_bytes -= _weight(oldest)
        if expires_ms and self.on_expiry is not None:
            self.on_expiry(expires_ms)

    def _drop(self, ref: int) -> None:
        put = self._cache.pop(ref, None)
        if put is not None:
            self._cache_bytes -= _weight(put)

    async def expire(self) -> None:
        """Let go of bundles whose lifetime has ended (RFC 9171 §5.5)."""
        now_ms = self.clock.dtn_ms()
        while True:
            gone = await self._writer.expire(EXPIRE_BATCH)
            for old in gone:
                self._drop(old.ref)
            self.agent.expired(gone, now_ms)
            self.settle()
            if len(gone) < EXPIRE_BATCH:
                return


def _weight(put: Put) -> int:
    """Octets of a bundle in memory: what has been opened is there a second time, in plain."""
    return len(put.wire) * (2 if isinstance(put.memo, Opened) else 1)
