"""Carries out what the bundle agent decides: store operations, loads, and telling who waits."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from stack.core.clock import Clock
from stack.core.errors import StoreError
from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.engines.bundle_agent import BundleAgent, Deliverable, TooLarge
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
        self._store = store
        self._writer = writer
        self._clock = clock
        self._trace = trace
        self._cache: OrderedDict[int, Put] = OrderedDict()
        self._cache_bytes = 0
        self._endpoints: dict[str, asyncio.Event] = {}
        self._progress: list[Callable[[], None]] = []
        self._room: list[asyncio.Future[None]] = []

    # ---- who waits -------------------------------------------------------------------------

    def on_progress(self, callback: Callable[[], None]) -> None:
        """Call back whenever bundles may have become ready to leave."""
        self._progress.append(callback)

    def endpoint_event(self, service: str) -> asyncio.Event:
        """The event that is set when a bundle waits for `service`."""
        return self._endpoints.setdefault(service, asyncio.Event())

    # ---- the store -------------------------------------------------------------------------

    def submit(self, ops: Sequence[Op], done: Done | None = None) -> None:
        """Commit `ops`, tell the agent, then `done`; on failure nothing of `ops` has happened."""

        def stored(refs: list[int], evicted: list[int]) -> None:
            outcome = Committed(refs, evicted)
            self._remember(ops, outcome)
            self.agent.committed(ops, outcome, self._clock.dtn_ms())
            if done is not None:
                done(outcome)
            self.settle()

        def failed(error: Exception) -> None:
            self.agent.counters["store_errors"] += 1
            self._trace("store_error", {"why": str(error)})
            if done is not None:
                done(error if isinstance(error, StoreError) else StoreError(str(error)))
            self.settle()

        self._writer.submit(ops, stored, failed)

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
            else:
                refs = [ref for ref in event.refs if ref in agent.entries]
                wires = self.load(refs)
                if len(refs) == len(event.refs) and None not in wires:
                    whole = [wire for wire in wires if wire is not None]
                    self.submit(agent.reassemble(refs, whole))
        ops = agent.take_ops()
        if ops:
            self.submit(ops)
        for callback in self._progress:
            callback()

    def _split(self, event: TooLarge) -> None:
        """Put parts in the place of a bundle that no contact can carry whole (RFC 9171 §5.8)."""
        if event.ref not in self.agent.entries:
            return
        (wire,) = self.load([event.ref])
        ops = None if wire is None else self.agent.split(event.ref, wire, event.bytes_max)
        if ops is not None:
            self.submit(ops)

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """The octets of stored bundles: from memory, else from the store, else None (and the
        bundle is given up: it is damaged or gone)."""
        cache = self._cache
        wires: list[Buffer | None] = [
            put.wire if (put := cache.get(ref)) is not None else None for ref in refs
        ]
        missing = [ref for ref, wire in zip(refs, wires, strict=True) if wire is None]
        if missing:
            loaded = dict(zip(missing, self._load(missing), strict=True))
            wires = [
                loaded[ref] if wire is None else wire for ref, wire in zip(refs, wires, strict=True)
            ]
        return wires

    def memo(self, ref: int) -> object:
        """What was known of a bundle when it was stored, if it is still in memory."""
        put = self._cache.get(ref)
        return None if put is None else put.memo

    def _load(self, refs: list[int]) -> list[Buffer | None]:
        try:
            return self._store.load(refs)
        except StoreError as error:
            if len(refs) == 1:
                self.agent.lost(refs[0], self._clock.dtn_ms())
                self._trace("bundle_damaged", {"ref": refs[0], "why": str(error)})
                return [None]
        return [self._load([ref])[0] for ref in refs]

    def _remember(self, ops: Sequence[Op], outcome: Committed) -> None:
        refs = iter(outcome.refs)
        cache = self._cache
        for op in ops:
            if isinstance(op, Put):
                ref = next(refs)
                if ref > 0 and len(op.wire) <= CACHE_BUNDLE_BYTES_MAX:
                    cache[ref] = op
                    self._cache_bytes += len(op.wire)
            elif isinstance(op, Release):
                self._drop(op.ref)
        for ref in outcome.evicted:
            self._drop(ref)
        while self._cache_bytes > CACHE_BYTES_MAX:
            _, oldest = cache.popitem(last=False)
            self._cache_bytes -= len(oldest.wire)

    def _drop(self, ref: int) -> None:
        put = self._cache.pop(ref, None)
        if put is not None:
            self._cache_bytes -= len(put.wire)

    async def expire(self) -> None:
        """Let go of bundles whose lifetime has ended (RFC 9171 §5.5)."""
        now_ms = self._clock.dtn_ms()
        while True:
            gone = await self._writer.expire(EXPIRE_BATCH)
            for old in gone:
                self._drop(old.ref)
            self.agent.expired(gone, now_ms)
            self.settle()
            if len(gone) < EXPIRE_BATCH:
                return
