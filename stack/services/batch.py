"""What one step of a service does, gathered until it is committed as one transaction.

A step mostly deals with several things that have nothing to do with one another (deliveries,
timers), and calls code of others (handlers, listeners): what fails of it concerns that one alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

from stack.core.errors import DecodeError, StoreError, words_of
from stack.ports.application import AppPort, Delivery, Happening, Outgoing
from stack.ports.store import Write
from stack.services.waiting import RETRY_FIRST_S, RETRY_MOST_S, NamedTimers

T = TypeVar("T")

Value: TypeAlias = bytes | Callable[[], bytes | None] | None
"""Of a durable record; None deletes it."""


def attempt(port: AppPort, what: str, work: Callable[..., object], *args: Any) -> bool:
    """Do one of several pieces of work, and say whether it was done: what fails is told in the log
    (`service_work_failed`), and the others follow."""
    try:
        work(*args)
    except Exception as error:  # whatever it is, it concerns this piece alone
        port.trace("service_work_failed", {"what": what, "why": words_of(error)})
        return False
    return True


class Batch:
    """Deliveries consumed, records written (the last write of a key counts), bundles sent, and what
    the node's log is told of that."""

    def __init__(self) -> None:
        self.consumed: list[Delivery] = []
        self.sends: list[Outgoing] = []
        self.tells: list[Happening] = []
        self._writes: dict[tuple[str, str], Value] = {}
        self._after: list[Callable[[], object]] = []

    def write(self, space: str, key: str, value: Value) -> None:
        """Set or delete one durable record.  A function is asked for its value at each attempt to
        commit: what waits for room does not undo what somebody else has committed meanwhile."""
        self._writes[space, key] = value

    def add(self, write: Write) -> None:
        """Include a write that somebody else has made."""
        self._writes[write.space, write.key] = write.value

    def after(self, call: Callable[[], object]) -> None:
        """Run `call` when the transaction is durable: events never announce what may vanish."""
        self._after.append(call)

    def each(
        self, port: AppPort, deliveries: Iterable[Delivery], work: Callable[[Delivery], object]
    ) -> None:
        """Deal with deliveries one by one, and consume them.  One on which that fails stays in the
        store: it comes again with the next start of the service."""
        for delivery in deliveries:
            if self.attempt(port, f"bundle {delivery.id}", work, delivery):
                self.consumed.append(delivery)

    def attempt(self, port: AppPort, what: str, work: Callable[..., object], *args: Any) -> bool:
        """Do one piece of the step; if it fails, what it has put in here is taken out again."""
        sends, after, before = len(self.sends), len(self._after), self._writes
        tells = len(self.tells)
        self._writes = {}  # of this piece alone: a step may have thousands, and none is copied
        done = attempt(port, what, work, *args)
        if done:
            before |= self._writes
        else:
            del self.sends[sends:], self.tells[tells:], self._after[after:]
        self._writes = before
        return done

    @property
    def writes(self) -> list[Write]:
        """The records as port operations, as they are now."""
        return [
            Write(space, key, value() if callable(value) else value)
            for (space, key), value in self._writes.items()
        ]

    async def commit(self, port: AppPort) -> None:
        """Make it all durable, waiting while the store has no room.

        A store that is full of what we are about to consume must not wait for us to send: when
        the whole does not fit, everything but the bundles is committed.  So only bundles that
        the protocol repeats by itself may be sent through a batch.  For the same reason a bundle
        that cannot be made (no key, too large) keeps nothing else from being committed.
        """
        delay = RETRY_FIRST_S
        while self.consumed or self._writes or self.sends or self.tells:
            try:
                await port.commit(
                    consume=self.consumed, write=self.writes, send=self.sends, tell=self.tells
                )
                break
            except StoreError as error:
                port.trace("services.store_full", {"error": str(error), "unsent": len(self.sends)})
            except Exception:  # one of the bundles cannot be made: which, is seen one by one
                if not self.sends:
                    raise
                await self._commit_one_by_one(port)
                continue
            if self.consumed or self._writes or self.tells:
                with contextlib.suppress(StoreError):
                    await port.commit(consume=self.consumed, write=self.writes, tell=self.tells)
                    break
            await port.sleep(delay)
            delay = min(2 * delay, RETRY_MOST_S)
        for call in self._after:
            attempt(port, "after a commit", call)

    async def _commit_one_by_one(self, port: AppPort) -> None:
        """Send what can be sent, and leave the rest of the batch to be committed."""
        sends, self.sends = self.sends, []
        for one in sends:
            try:
                await port.commit(send=[one])
            except Exception as error:  # whatever it is, it concerns this bundle alone
                what = f"send to {one.destination}"
                port.trace("service_work_failed", {"what": what, "why": words_of(error)})


@contextlib.asynccontextmanager
async def transaction(port: AppPort, lock: asyncio.Lock) -> AsyncIterator[Batch]:
    """One step of a service under its lock, committed when it ends."""
    async with lock:
        batch = Batch()
        yield batch
        await batch.commit(port)


async def each_due(
    port: AppPort,
    lock: asyncio.Lock,
    timers: NamedTimers,
    work: Callable[[str, str, Batch], object],
) -> None:
    """Do what is due by kind and key, until cancelled."""
    while True:
        keys = await timers.wait()
        async with transaction(port, lock) as batch:
            for kind, key in keys:
                batch.attempt(port, f"{kind}/{key}", work, kind, key, batch)


def records(
    port: AppPort, service: str, space: str, decode: Callable[[str, bytes], T]
) -> Iterator[T]:
    """The durable records of a space; one that cannot be read is told in the log."""
    for key, value in port.read_all(space):
        try:
            record = decode(key, value)
        except DecodeError as error:
            port.trace(f"{service}.bad_record", {"key": key, "error": str(error)})
            continue
        yield record
