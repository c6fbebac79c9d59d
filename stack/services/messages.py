"""Messages: one application data unit, one bundle, handed over exactly once.

The simplest service.  The payload is the application's own octets, without any framing, so that
other implementations' senders and receivers interoperate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stack.core.arguments import check_number
from stack.core.eid import Eid
from stack.core.errors import LocalError
from stack.core.limits import BUNDLE_BYTES_MAX, LIFETIME_MS_MAX
from stack.core.train import Buffer
from stack.policy import DataPolicy
from stack.ports.application import CRITICAL_PRIORITY, AppPort, BundleId, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.names import MESSAGES, service_of

LIFETIME_MS: Final = 86_400_000
"""One day: a handful of passes, so that one missed pass loses nothing."""

PRIORITY_MAX: Final = CRITICAL_PRIORITY

HEADERS_BYTES_MAX: Final = 64 * 1024
"""What a bundle's blocks, security and CRCs may take beside the payload."""


async def send_message(
    port: AppPort,
    destination: Eid | str,
    payload: Buffer,
    *,
    service: str = MESSAGES,
    lifetime_ms: int = LIFETIME_MS,
    priority: int = 1,
    report_flags: int = 0,
    report_to: Eid | str | None = None,
    policy: DataPolicy | None = None,
    wait_for_path: bool = False,
) -> BundleId:
    """Send `payload` to the endpoint `destination`; returns once it is stored durably.

    `service` is the sending endpoint (answers go there).  `report_flags` ask for status reports,
    which go to `report_to` or else to this node (`stack.services.reports`).  `policy` says who may
    read, hold and carry it; where it leaves no path within `lifetime_ms`, while there is one, the
    message is refused, unless it is to `wait_for_path`.

    Raises `LocalError` for what is no EID, no octets or no policy, a payload that no bundle can
    carry, or a value out of range; `PolicyError` for what `policy` forbids; `StoreError` when the
    store has no room.
    """
    outgoing = Outgoing(
        destination,
        payload,
        lifetime_ms,
        service_of(port.node_id, service),
        priority=priority,
        report_to=report_to,
        report_flags=report_flags,
        policy=policy,
    )
    if len(payload) > BUNDLE_BYTES_MAX - HEADERS_BYTES_MAX:
        raise LocalError(
            f"{len(payload)} octets do not fit one bundle; send them as a file, which is segmented"
        )
    check_number("lifetime_ms", lifetime_ms, 1, LIFETIME_MS_MAX)
    check_number("priority", priority, 0, PRIORITY_MAX)
    if policy is not None and not wait_for_path:
        where = outgoing.destination
        port.check_path(where, policy, len(payload), lifetime_ms, priority)
    (sent,) = await port.commit(send=[outgoing])
    return sent


class Mailbox:
    """The receiving end: iterate over it, or take deliveries one by one.

        async with Mailbox(port) as mailbox:
            async for delivery in mailbox:
                print(delivery.id.source, bytes(delivery.payload))

    A delivery counts as handled when the loop comes back for the next one; what was not handled
    comes again after a restart.  To tie it to other durable effects instead, use `receive` and
    `done`, which puts them into one transaction.
    """

    def __init__(self, port: AppPort, service: str = MESSAGES) -> None:
        """Registers `service`; raises `LocalError` when it is taken."""
        self._port = port
        self._endpoint = port.register(service_of(port.node_id, service))
        self._open: Delivery | None = None

    @property
    def eid(self) -> Eid:
        """Where peers send to."""
        return self._endpoint.eid

    async def receive(self) -> Delivery:
        """The next message, waiting for it if need be.  Administrative records are dropped."""
        while True:
            delivery = await self._endpoint.receive()
            if not delivery.admin:
                return delivery
            await self._port.commit(consume=[delivery])

    async def done(
        self, delivery: Delivery, write: Sequence[Write] = (), send: Sequence[Outgoing] = ()
    ) -> None:
        """Consume `delivery` together with what it caused, in one transaction."""
        await self._port.commit(consume=[delivery], write=write, send=send)

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> Delivery:
        if self._open is not None:
            await self.done(self._open)
            self._open = None
        self._open = await self.receive()
        return self._open

    def close(self) -> None:
        """End the registration."""
        self._endpoint.close()

    async def __aenter__(self) -> Mailbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
