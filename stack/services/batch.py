"""What one step of a service does, gathered until it is committed as one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from stack.core.errors import StoreError
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.waiting import RETRY_FIRST_S, RETRY_MOST_S


class Batch:
    """Deliveries consumed, records written (the last write of a key counts) and bundles sent."""

    def __init__(self) -> None:
        self.consumed: list[Delivery] = []
        self.sends: list[Outgoing] = []
        self._writes: dict[tuple[str, str], bytes | None] = {}
        self._after: list[Callable[[], None]] = []

    def write(self, space: str, key: str, value: bytes | None) -> None:
        """Set or delete one durable record."""
        self._writes[space, key] = value

    def add(self, write: Write) -> None:
        """Include a write that somebody else has made."""
        self._writes[write.space, write.key] = write.value

    def after(self, call: Callable[[], None]) -> None:
        """Run `call` when the transaction is durable: events never announce what may vanish."""
        self._after.append(call)

    @property
    def writes(self) -> list[Write]:
        """The records as port operations."""
        return [Write(space, key, value) for (space, key), value in self._writes.items()]

    async def commit(self, port: AppPort) -> None:
        """Make it all durable, waiting while the store has no room.

        A store that is full of what we are about to consume must not wait for us to send: when
        the whole does not fit, everything but the bundles is committed.  So only bundles that
        the protocol repeats by itself may be sent through a batch.
        """
        delay = RETRY_FIRST_S
        while self.consumed or self._writes or self.sends:
            try:
                await port.commit(consume=self.consumed, write=self.writes, send=self.sends)
                break
            except StoreError as error:
                port.trace("services.store_full", {"error": str(error), "unsent": len(self.sends)})
            if self.consumed or self._writes:
                with contextlib.suppress(StoreError):
                    await port.commit(consume=self.consumed, write=self.writes)
                    break
            await port.sleep(delay)
            delay = min(2 * delay, RETRY_MOST_S)
        for call in self._after:
            call()
