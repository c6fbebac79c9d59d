"""Carries out what the bundle agent decides: store operations, loads, and telling who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from stack.core.clock import Clock
from stack.core.errors import StoreError, words_of
from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.engines.bundle_agent import BundleAgent, Deliverable, Echo, TooLarge
from stack.node.octets import Octets
from stack.ports.store import BundleStore, Committed, Op, Put, Stored

EXPIRE_BATCH = 1000
"""Bundles expired in one transaction, so that traffic does not wait for a large clean-up."""

LOAD_BATCH = 64
"""Bundles loaded from the store in one go when a link has room."""

TOLD_MAX = 256
"""Failures of different kinds that are remembered, so as not to be told again."""

Done = Callable[[Committed | StoreError], object]


class Writer(Protocol):
    """Commits to the store, now or later: see `stack.storage.writer.StoreWriter`."""

    def submit(
        self,
        ops: Sequence[Op],
        done: Callable[[list[int], list[int]], object],
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        """Commit `ops` as one, then call `done(refs, evicted)` or `failed(error)`."""
        ...

    async def expire(self, limit: int) -> list[Stored]:
        """`BundleStore.expire`, in its turn."""
        ...


class Outlet(Protocol):
    """What takes bundles towards one neighbour: a link."""

    @property
    def unit_bytes(self) -> int:
        """Bundles larger than this should go in parts, if they can be divided; 0 for any size."""
        ...

    @property
    def unit_bytes_max(self) -> int:
        """Octets of the largest bundle that it can carry."""
        ...

    def room(self, now: int) -> int:
        """Octets that it takes now; any one bundle while this is above 0."""
        ...

    def submit(self, encoded: Buffer, ref: int, now: int, *, alone: bool) -> None:
        """Carry a bundle, in the company of others unless it is to go `alone`."""
        ...


def ignore(refs: Sequence[int]) -> object:
    """Give back nothing."""


def unheard(service: str) -> None:
    """Nobody is registered."""


class BundleDriver:
    """Between the agent, which decides, and the store, which is slow.

    Knows no event loop: whoever waits is called back.  So the same driver serves a node, a swarm
    of agents on a bare event heap, and tests.
    """

    def __init__(
        self,
        agent: BundleAgent,
        store: BundleStore,
        writer: Writer,
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
        self.octets = Octets(store, self._lost, self._failed, trace)
        self._owed: list[Op] = []
        """What the store is to forget, but could not when it was told to."""
        self.on_deliverable: Callable[[str], None] = unheard
        """Called with a service for which a bundle waits."""
        self._told: set[tuple[str, str]] = set()
        self._on_change: list[Callable[[], None]] = []
        self._links: dict[Callable[[], None], None] = {}
        """Those of the links that are up: of a thousand links few are at a time."""

    # ---- who waits -------------------------------------------------------------------------

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back whenever something has changed."""
        self._on_change.append(callback)

    def subscribe(self, callback: Callable[[], None], *, first: bool = False) -> None:
        """Call back, last or `first`, when bundles may be ready to leave, until `unsubscribe`."""
        self._links = {callback: None} | self._links if first else self._links | {callback: None}

    def unsubscribe(self, callback: Callable[[], None]) -> None:
        """A link that is down wants nothing."""
        self._links.pop(callback, None)

    # ---- the store -------------------------------------------------------------------------

    def submit(self, ops: Sequence[Op], done: Done | None = None) -> None:
        """Commit `ops`, tell the agent, then `done`; on failure nothing of `ops` has happened."""

        def stored(refs: list[int], evicted: list[int]) -> None:
            outcome = Committed(refs, evicted)
            attempt, now_ms = self.attempt, self.clock.dtn_ms()
            attempt("release", self.retry_releases)
            attempt("remember", self.octets.remember, ops, outcome)
            attempt("expiry", self._note_expiry, ops)
            attempt("commit", self.agent.committed, ops, outcome, now_ms)
            if done is not None:  # it is in the store, whatever else has failed
                attempt("answer", done, outcome)
            self.run_pending()

        def failed(error: Exception) -> None:
            self.agent.counters["store_errors"] += 1
            self._trace("store_error", {"why": str(error)})
            self._owed += self.agent.refused(ops)
            if done is not None:
                why = error if isinstance(error, StoreError) else StoreError(str(error))
                self.attempt("answer", done, why)
            self.run_pending()

        self._writer.submit(ops, stored, failed)

    @property
    def has_pending(self) -> bool:
        """Whether the store is still to forget something."""
        return bool(self._owed)

    def retry_releases(self) -> None:
        """Let the store forget what it could not forget before, if it works again."""
        if self._owed:
            owed, self._owed = self._owed, []
            for op in owed:  # each by itself: one that fails again keeps no other
                self.submit([op])

    def run_pending(self) -> None:
        """Carry out what the agent has decided since, and wake those who can go on."""
        agent, attempt = self.agent, self.attempt
        while (event := agent.next_event()) is not None:
            if isinstance(event, Deliverable):
                attempt("deliverable", self.on_deliverable, event.service)
            elif isinstance(event, TooLarge):
                attempt("too_large", self._too_large, event)
            elif isinstance(event, Echo):
                attempt("echo", self._echo, event)
            else:
                attempt("reassemble", self._reassemble, event.refs)
        ops = agent.take_ops()
        if ops:
            self.submit(ops)
        for callback in tuple(self._links):
            attempt("link", callback)
        for callback in self._on_change:
            attempt("change", callback)

    def _note_expiry(self, ops: Iterable[Op]) -> None:
        earliest_ms = min([op.expires_ms for op in ops if type(op) is Put], default=0)
        if earliest_ms and self.on_expiry is not None:
            self.on_expiry(earliest_ms)

    def _echo(self, event: Echo) -> None:
        held = self.store.held(event.key)
        if held is not None:
            self.agent.echoed(held, event.neighbour)

    # ---- one of many -----------------------------------------------------------------------

    def attempt(self, what: str, work: Callable[..., object], *args: Any) -> bool:
        """Do one of several pieces of work, none of which holds up the others when it fails:
        that is counted, and traced the first time.  Whether it was done."""
        try:
            work(*args)
        except Exception as error:  # whatever it is, it concerns this piece alone
            self.agent.counters["failures"] += 1
            told = what, words_of(error)
            if told not in self._told:  # a port that fails does so many times a second
                if len(self._told) >= TOLD_MAX:
                    self._told.clear()
                self._told.add(told)
                self._trace("work_failed", {"what": what, "why": told[1]})
            return False
        return True

    def give_back(self, refs: Sequence[int], neighbour: str, *, failed: bool = False) -> list[int]:
        """What was taken for a neighbour waits again, in front.  `failed`: the link has tried, and
        those that it has tried too often are given (see `Forwarder.returned`)."""
        forwarder = self.agent.forwarder
        aside: list[int] = []
        for ref in reversed(refs):
            try:
                if failed:
                    aside += forwarder.returned((ref,), neighbour)
                else:
                    forwarder.withdrawn((ref,), neighbour)
            except Exception as error:  # whatever it is, it concerns this bundle alone
                self._failed(ref, error)
        return aside

    def each(
        self,
        refs: Sequence[int],
        work: Callable[[int, Buffer], bool],
        give_back: Callable[[Sequence[int]], object],
    ) -> None:
        """Take, try, give back: all work on one of many bundles goes through here.

        Calls `work(ref, octets)` for each of `refs`, which were taken from some queue, in order.
        One on which it fails holds up no other (see `_failed`).  When it returns False it takes no
        more for now: that one and those behind it are given back as they were.
        """
        troubled = False
        try:
            octets = self.octets.load(refs)
        except Exception:
            give_back(refs)
            raise
        for index, (ref, encoded) in enumerate(zip(refs, octets, strict=True)):
            if encoded is None:
                troubled = True
                continue
            try:
                more = work(ref, encoded)
            except Exception as error:  # whatever it is, it concerns this bundle alone
                troubled = True
                more = self._reread(ref, work, error)
            if not more:
                give_back(refs[index:])
                break
        if troubled:
            self.run_pending()

    def _reread(self, ref: int, work: Callable[[int, Buffer], bool], error: Exception) -> bool:
        """Work on a bundle has failed: a bit may have flipped in memory, so that it is tried again
        with the octets that the store has."""
        if ref in self.octets.cache:
            self.octets.forget(ref)
            (encoded,) = self.octets.load_stored([ref])
            if encoded is None:
                return True
            try:
                return work(ref, encoded)
            except Exception as again:  # as before
                error = again
        self._failed(ref, error)
        return True

    def _failed(self, ref: int, error: Exception) -> None:
        self.agent.fail(ref, error, self.clock.dtn_ms())

    def _lost(self, ref: int, why: str, gone: bool) -> None:
        if ref not in self.agent.entries:
            return
        self._trace("bundle_damaged", {"ref": ref, "why": why})
        if gone:
            self.agent.lost(ref, self.clock.dtn_ms())
        else:
            now_ms = self.clock.dtn_ms()
            self.attempt("damaged", self.agent.damaged, ref, StoreError(why), now_ms)

    def send(self, neighbour: str, outlet: Outlet, now: int) -> None:
        """Give a link what waits for its neighbour, as much as it has room for."""
        agent = self.agent
        forwarder, entries = agent.forwarder, agent.entries
        now_ms = self.clock.dtn_ms()
        limit = min(filter(None, (outlet.unit_bytes, agent.config.fragment_bytes)), default=0)
        largest = outlet.unit_bytes_max
        full = False

        def offer(ref: int, encoded: Buffer) -> bool:
            nonlocal full
            if outlet.room(now) <= 0:  # what departs is longer than what was stored
                full = True
                return False
            entry = entries.get(ref)
            if entry is None:
                return True
            if limit and entry.size > limit and self._split(ref, encoded, limit, neighbour):
                return True
            departing = agent.departing(entry, encoded, now_ms)
            if len(departing) > largest:
                if not self._split(ref, encoded, largest, neighbour):
                    agent.postpone(ref, now_ms)
                return True
            # What failed before goes alone, so that it takes no others down with it.
            outlet.submit(departing, ref, now, alone=forwarder.failures(ref) > 0)
            return True

        while not full and (room := outlet.room(now)) > 0:
            refs = agent.take(neighbour, room, LOAD_BATCH, now_ms)
            if not refs:
                return
            self.each(refs, offer, lambda back: self.give_back(back, neighbour))

    def _split(self, ref: int, encoded: Buffer, bytes_max: int, neighbour: str = "") -> bool:
        """Put parts in the place of a bundle (RFC 9171 §5.8), if it may be divided."""
        ops = self.agent.split(ref, encoded, bytes_max)
        if ops is None:
            return False

        def done(outcome: Committed | StoreError) -> None:
            if isinstance(outcome, StoreError):
                self.give_back((ref,), neighbour, failed=True)

        self.submit(ops, done)
        return True

    def _too_large(self, event: TooLarge) -> None:
        """A bundle goes in parts, as no contact can carry it whole."""
        if event.ref not in self.agent.entries:
            return

        def split(ref: int, encoded: Buffer) -> bool:
            self._split(ref, encoded, event.bytes_max)
            return True

        self.each([event.ref], split, ignore)

    def _reassemble(self, refs: Sequence[int]) -> None:
        """Put a unit in the place of its fragments: those of the store, which are checked."""
        agent = self.agent
        if any(ref not in agent.entries for ref in refs):
            return
        whole = [encoded for encoded in self.octets.load_stored(refs) if encoded is not None]
        if len(whole) < len(refs):
            return

        def done(outcome: Committed | StoreError) -> None:
            if isinstance(outcome, StoreError):
                for ref in refs:
                    self._failed(ref, outcome)

        try:
            ops = agent.reassemble(refs, whole, self.clock.dtn_ms())
        except Exception as error:  # whatever it is, it concerns this unit alone
            for ref in refs:
                self._failed(ref, error)
            return
        self.submit(ops, done)

    async def expire(self) -> None:
        """Let go of bundles whose lifetime has ended (RFC 9171 §5.5)."""
        now_ms = self.clock.dtn_ms()
        while True:
            gone = await self._writer.expire(EXPIRE_BATCH)
            for old in gone:
                self.octets.forget(old.ref)
            self.agent.expired(gone, now_ms)
            self.run_pending()
            if len(gone) < EXPIRE_BATCH:
                return
