"""Closes a node's log: at intervals a checkpoint of all that was written into it since, signed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from stack.audit.log import ID_BYTES, ClosedLog
from stack.audit.note import NoteKey, NoteSigner
from stack.core.errors import DecodeError, OrbitferryError, SecurityError, StoreError
from stack.core.sansio import Entropy, Trace
from stack.node.application import LocalPort
from stack.node.config import AuditConfig
from stack.node.witnesses import Witnesses
from stack.ports.store import Committed, Op, PruneEvents, Write
from stack.storage.audit_log import BASE, KEY, LOG, NOTE, NOTES, SPACE, VKEY, VOUCHER, WAYS

NOTES_KEPT: Final = 64
"""Checkpoints kept, so that proofs can say how the log has grown."""

BATCH: Final = 2048
"""Events hashed in one go: some 5 ms."""


WAYS_MAX: Final = 64
"""Earlier states of the log that are kept: where one would be too many, every second goes.  As one
is added after each 32nd part of the events that are kept, no more than two such parts go with an
event that is damaged."""


class LogKeeper:
    """The log of one node.  It does nothing while nothing is written down."""

    def __init__(
        self,
        node: str,
        port: LocalPort,
        config: AuditConfig,
        entropy: Entropy,
        trace: Trace,
        vouch: Callable[[NoteKey], bytes] | None = None,
    ) -> None:
        """`vouch` gives the word of the node's identity that a log is its own.  Raises `StoreError`
        when its state is damaged."""
        self._node = node
        driver = self._driver = port.driver
        store = self._store = driver.store
        self._config = config
        self._entropy = entropy
        self._trace = trace
        self._vouch = vouch
        self._vouched = ""
        """Origin of the log for which the word was given since the start."""
        self._told: dict[str, str] = {}
        """Of what keeps it from being given: once, however often it is asked."""
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._closed = False
        self._writes: list[Op] = []
        """What of its state is still to be written down."""
        self._skipped: list[tuple[int, int]] = []
        """Entries that go as one of them is damaged: from which number on, and how many."""
        self._secret = store.read(SPACE, KEY) or b""
        self._log = self._found()
        self._signed = 0 if self._log is None else self._log.next
        """Up to which event the log is signed."""
        self._unvouched = self._log is not None and self._lacks_voucher()
        """It is signed, and nothing says whose it is."""
        self.witnesses = Witnesses(node, config.witnesses, port, store, self._again)
        driver.on_change(self._arm)
        self._arm()

    def _found(self) -> ClosedLog | None:
        """The log as it was closed last, unless what follows is not there."""
        octets, note = self._store.read(SPACE, LOG), self._store.read(SPACE, NOTE)
        if octets is None or not self._secret:
            return None
        try:
            log = ClosedLog.decode(self._node, octets)
            if note is not None and not log.agrees(note, self._signer(log)):
                raise SecurityError("the last checkpoint is not that of the log")
        except (DecodeError, SecurityError) as error:
            self._trace("audit_log_lost", {"why": str(error)})
            return None
        if log.next > self._store.events_end:
            self._trace("audit_log_lost", {"why": "the store has lost the end of it"})
            return None
        return log

    def _begun(self, events: Sequence[tuple[int, bytes]]) -> ClosedLog:
        """A log that begins with these, or with the next event if there are none."""
        start = events[0][0] if events else self._store.events_end
        if not self._secret:
            self._secret = self._entropy(32)
            self._writes.append(Write(SPACE, KEY, self._secret))
        self._writes.append(Write(SPACE, VOUCHER, None))  # it is for another log, as these are
        self._writes += [Write(WAYS, key, None) for key, _ in self._store.read_all(WAYS)]
        self._unvouched = False
        return ClosedLog(self._node, self._entropy(ID_BYTES), start)

    def _lacks_voucher(self) -> bool:
        """Whether there is nobody's word for the log, or none that can be read."""
        try:
            return self._vouch is not None and not self._store.read(SPACE, VOUCHER)
        except StoreError:
            return True

    def _signer(self, log: ClosedLog) -> NoteSigner:
        return NoteSigner(log.origin, self._secret)

    # ---- when -----------------------------------------------------------------------------

    @property
    def _behind(self) -> bool:
        return self._signed != self._store.events_end or self._unvouched

    def _arm(self) -> None:
        if self._behind:
            self._again()

    def _again(self) -> None:
        """There is something to do, if only to ask witnesses once more."""
        if self._timer is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._config.checkpoint_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._close_log())
            self._work.add_done_callback(self._over)

    def _over(self, work: asyncio.Task[None]) -> None:
        self._work = None
        if not work.cancelled() and (error := work.exception()) is not None:
            self._trace("audit_failed", {"why": str(error)})
        self._arm()

    async def close(self) -> None:
        """Close the log once more, and stop."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        if self._behind:
            with contextlib.suppress(OrbitferryError):
                await self._close_log()

    # ---- what -----------------------------------------------------------------------------

    async def _close_log(self) -> None:
        """Take in what was written down, and sign it.  Raises `StoreError`."""
        store = self._store
        log = self._log = self._log or self._begun(store.events(0, 1))
        while log.next < store.events_end:
            events = store.events(log.next, BATCH)
            if not log.extend(events):
                self._trace("audit_log_lost", {"why": f"event {log.next} is not there any more"})
                log = self._log = self._begun(events)
            await asyncio.sleep(0)
        signer = self._signer(log)
        if log.peaks.size and log.next != self._signed:
            await self._sign(log, signer)
        elif self._unvouched and (voucher := self._voucher(log, signer.key)):
            await self._commit([Write(SPACE, VOUCHER, voucher)])
            self._vouched, self._unvouched = log.origin, False
        self._signed = log.next
        if log.peaks.size and self._config.witnesses and not self._closed:
            await self.witnesses.ask(log, signer.key, store.read(SPACE, NOTE) or b"")

    async def _sign(self, log: ClosedLog, signer: NoteSigner) -> None:
        store = self._store
        note, notes = log.close(signer).encode(), store.read_all(NOTES)
        own = [key for key, each in notes if each.startswith(f"{log.origin}\n".encode())]
        kept = set(own[-NOTES_KEPT + 1 :])  # a log that was lost may have been longer
        ops: list[Op] = [
            *self._writes,
            *(Write(NOTES, key, None) for key, _ in notes if key not in kept),
            Write(SPACE, LOG, log.encode()),
            Write(SPACE, VKEY, str(signer.key).encode()),
            Write(SPACE, NOTE, note),
            Write(NOTES, f"{log.peaks.size:020d}", note),
        ]
        voucher = self._voucher(log, signer.key)
        if voucher:
            ops.append(Write(SPACE, VOUCHER, voucher))
        ops += await self._pruned(log)
        await self._commit(ops)
        self._writes.clear()
        self._tell_skipped(log.origin)
        if voucher:
            self._vouched = log.origin
        self._unvouched = self._vouched != log.origin and self._lacks_voucher()
        self._trace("audit_checkpoint", {"origin": log.origin, "size": log.peaks.size})

    def _voucher(self, log: ClosedLog, key: NoteKey) -> bytes:
        """The word of the node's identity for this log, unless that is written down.  Its key may
        be out of reach (on a token that was pulled out): the log is closed without, and it is asked
        again when the next checkpoint would be due, also where nothing has happened since."""
        if self._vouch is None or self._vouched == log.origin:
            return b""
        try:
            return self._vouch(key)
        except Exception as error:  # whatever keeps it from signing, the log goes on
            told = {"origin": log.origin, "why": str(error)}
            if told != self._told:
                self._trace("audit_unvouched", told)
                self._told = told
            return b""

    async def _pruned(self, log: ClosedLog) -> list[Op]:
        """Let go of the oldest events, in portions; what stands for them is kept."""
        store, before = self._store, log.next - self._config.keep_events
        base = ClosedLog.decode(self._node, store.read(SPACE, BASE) or log.begun().encode())
        if base.origin != log.origin:
            base = log.begun()
        attested = self.witnesses.pruned_before()
        if attested is not None and before < 2 * self._config.keep_events:
            before = min(before, attested)  # but not for ever
        ways = self._ways(log)
        self._skipped.clear()
        first, ops = base.next, list[Op]()
        if log.next - max((*ways, first)) >= 2 * (log.next - first) // WAYS_MAX:
            ops.append(Write(WAYS, f"{log.next:020d}", log.encode()))
            if len(ways) == WAYS_MAX:
                ops += [Write(WAYS, f"{way:020d}", None) for way in sorted(ways)[::2]]
        while before - base.next >= BATCH:
            if not base.extend(store.events(base.next, BATCH)):
                way = min((each for each in ways if base.next < each <= before), default=None)
                if way is None:
                    break
                self._skipped.append((base.peaks.size, way - base.next))
                base = ways[way]
            await asyncio.sleep(0)
        if base.next > first:
            ops += [Write(SPACE, BASE, base.encode()), PruneEvents(base.next)]
            ops += [Write(WAYS, f"{way:020d}", None) for way in ways if way <= base.next]
        return ops

    def _ways(self, log: ClosedLog) -> dict[int, ClosedLog]:
        """Earlier states of this log, by the first event that is not in each."""
        found = (ClosedLog.decode(self._node, octets) for _, octets in self._store.read_all(WAYS))
        return {each.next: each for each in found if each.origin == log.origin}

    def _tell_skipped(self, origin: str) -> None:
        """Where an entry is damaged, nothing says how the log went on but what was noted then."""
        for first, count in self._skipped:
            self._driver.agent.counters["audit_damaged"] += count
            why = "an entry is damaged: these can be told and proven no more"
            fields = {"origin": origin, "first": first, "count": count, "why": why}
            self._trace("audit_entries_damaged", fields)
        self._skipped.clear()

    async def _commit(self, ops: list[Op]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(outcome: Committed | StoreError) -> None:
            if future.done():
                return
            if isinstance(outcome, StoreError):
                future.set_exception(outcome)
            else:
                future.set_result(None)

        self._driver.submit(ops, done)
        await future
