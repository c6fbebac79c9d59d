"""Status reports (RFC 9171 §6.1): asking for them, and who is told when they come back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from stack.core.eid import Eid
from stack.core.errors import DecodeError, LocalError
from stack.ports.application import AppPort, BundleId, Delivery
from stack.services.batch import Batch, attempt
from stack.wire.bundle import (
    REPORT_DELETION,
    REPORT_DELIVERY,
    REPORT_FORWARDING,
    REPORT_RECEPTION,
    StatusReport,
    decode_admin,
    reason_words,
)

STATUS_FLAGS: Final = MappingProxyType(
    {
        "received": REPORT_RECEPTION,
        "forwarded": REPORT_FORWARDING,
        "delivered": REPORT_DELIVERY,
        "deleted": REPORT_DELETION,
    }
)
"""What a node may report of a bundle, and the flag that asks for it (RFC 9171 §4.2.3)."""

RECORDS_BATCH: Final = 64
"""Administrative records taken in one transaction."""


def report_flags(names: Iterable[str]) -> int:
    """The flags that ask for these reports.  Raises `LocalError` for a name that is none."""
    flags = 0
    for name in names:
        if name not in STATUS_FLAGS:
            raise LocalError(f"{name!r} is no status; there are {', '.join(STATUS_FLAGS)}")
        flags |= STATUS_FLAGS[name]
    return flags


@dataclass(frozen=True, slots=True)
class Reported:
    """What a node reported of a bundle.  It is secured as other bundles are: who it is from is as
    certain as that."""

    reporter: Eid
    bundle: BundleId
    status: tuple[str, ...]
    """Names out of `STATUS_FLAGS`."""

    time_ms: int | None
    """DTN milliseconds of when it happened; None: not told."""

    reason: int
    """A reason code (RFC 9171 §6.1.1); 0: no information."""

    fragment_offset: int | None = None


RecordHandler = Callable[[Delivery, Batch], object]
"""What deals with an administrative record of its type, in a transaction."""


class StatusReports:
    """Takes the administrative records for this node; `run` it as a task."""

    def __init__(self, port: AppPort) -> None:
        self._port = port
        self._listeners: list[Callable[[Reported], None]] = []
        self._handlers: dict[int, RecordHandler] = {}

    def handle(self, kind: int, handler: RecordHandler) -> None:
        """Records of this other type are for `handler` from now on."""
        self._handlers[kind] = handler

    @contextlib.contextmanager
    def following(self, listener: Callable[[Reported], None]) -> Iterator[None]:
        """`listener` is called for every report that comes, whatever bundle it is about."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    async def run(self) -> None:
        """Take records until cancelled; status reports go to the log too."""
        endpoint = self._port.register(self._port.node_id.service)
        try:
            while True:
                deliveries = await endpoint.receive_many(RECORDS_BATCH)
                batch = Batch()
                batch.each(self._port, deliveries, partial(self._record, batch))
                await batch.commit(self._port)
        finally:
            endpoint.close()

    def _record(self, batch: Batch, delivery: Delivery) -> None:
        try:
            record = decode_admin(delivery.payload)
        except DecodeError as error:
            self._port.trace("admin_record_malformed", {"why": str(error)})
            return
        if not isinstance(record, StatusReport):
            if handler := self._handlers.get(record.type):
                handler(delivery, batch)
            else:
                self._port.trace("admin_record_unknown", {"type": record.type})
            return
        reported = Reported(
            delivery.id.source,
            BundleId(record.source, record.creation_ms, record.sequence),
            tuple(name for name in STATUS_FLAGS if getattr(record, name)),
            record.time_ms,
            record.reason,
            record.fragment_offset,
        )
        self._port.trace(
            "status_report",
            {
                "bundle": str(reported.bundle),
                "from": str(reported.reporter),
                "status": ",".join(reported.status),
                "why": reason_words(record.reason),
            },
        )
        for listener in tuple(self._listeners):
            attempt(self._port, "listener to reports", listener, reported)
