"""Key distribution as a service of a node: an engine over the application port, and its file.

Its bundles go without BPSec, as a node that has missed everything has no key in common with
anybody.  Each is signed by who made it, and what is secret in it is sealed for one node; `Unsealed`
lets these alone past BPSec, before anything of them is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

from stack.audit.event import Act
from stack.core.arguments import eid_of
from stack.core.eid import SCHEME_IPN, Eid
from stack.core.errors import DecodeError, LocalError, SecurityError
from stack.core.train import Buffer
from stack.ports.application import AppPort, Delivery, Happening, Outgoing
from stack.ports.security import Opened, Security
from stack.security.epochs import GONE_MAX, Epochs
from stack.security.reasons import FAILED
from stack.security.sealed_file import SealedFile
from stack.services.batch import Batch
from stack.services.codec import decode, encode
from stack.services.keys.messages import MESSAGE_BYTES_MAX, NUMBER_MAX
from stack.services.names import KEY_AUTHORITY, KEYS, NUMBERS, endpoint_of, service_of
from stack.services.waiting import cancel_all
from stack.wire.bundle import IS_ADMIN, IS_FRAGMENT, Bundle

PRIORITY: Final = 2
"""Keys go before what they are for."""

LIFETIME_MS_MAX: Final = 30 * 86_400_000

WAKE_S_MAX: Final = 3600.0
"""The wall clock is looked at this often at least."""

RETRY_S: Final = 60.0

BATCH: Final = 64

MISSING: Final = 12
"""Reason of RFC 9172 §7.1."""


_NAMES: Final = frozenset((KEYS, KEY_AUTHORITY))
_NUMBERS: Final = frozenset(str(NUMBERS[name]) for name in _NAMES)
"""The services whose bundles to one another go without BPSec, on nodes of the ipn scheme."""

SPACE: Final = "keys"
"""Of the store: of which destroyed epochs the log was told last, by engine."""


class Engine(Protocol):
    """What `Member` and `KeyAuthority` are to the service."""

    domain: str
    epochs: Epochs

    def check(self, octets: Buffer, source: str) -> object:
        """Raises `DecodeError`, `SecurityError` for what `receive` would not take."""
        ...

    def receive(self, octets: Buffer, source: str, now_ms: int) -> bool:
        """Take a message; raises as `check` does."""
        ...

    def poll(self, now_ms: int) -> list[tuple[str, bytes, int]]:
        """To which node, what, and how long it is good for (ms)."""
        ...

    def next_ms(self, now_ms: int) -> int:
        """When `poll` is to be called, at the latest."""
        ...

    def encode(self) -> bytes:
        """All of it, for the disk."""
        ...


class KeyService:
    """One engine of key distribution on a node; `run` it as a task."""

    def __init__(
        self,
        port: AppPort,
        engine: Engine,
        file: SealedFile,
        *,
        authority: bool = False,
        on_step: Callable[[int], None] = lambda _: None,
        on_gone: Callable[[Mapping[int, str]], Mapping[int, str]] = lambda gone: gone,
    ) -> None:
        """`file`: where the engine's state lies.  `on_step` is called with the DTN time (ms) before
        the engine is asked what to send, and it is not asked if that fails; `on_gone` with the
        epochs that are gone from there, and says of which nothing is left elsewhere either.  Raises
        `LocalError` when the service is registered."""
        self._port = port
        self._engine = engine
        self._file = file
        self._on_step = on_step
        self._on_gone = on_gone
        own, self._other = (KEY_AUTHORITY, KEYS) if authority else (KEYS, KEY_AUTHORITY)
        self._service = service_of(port.node_id, own)
        self._endpoint = port.register(self._service)
        self._saved = b""
        self._woken = asyncio.Event()
        self._settling: list[asyncio.Future[None]] = []
        self._ended = False
        engine.epochs.told(_numbers(port.read(SPACE, own) or b""))
        self._name = own
        self.refused = 0

    def wake(self) -> None:
        """The engine has been given something to do."""
        self._woken.set()

    async def settle(self) -> None:
        """Return when what the engine has now is on the disk, and in the log.  Raises `LocalError`
        when that cannot be any more: the service has ended."""
        if self._ended:
            raise self._unsettled()
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settling.append(settled)
        self.wake()
        await settled

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            deliveries: list[Delivery] = []
            while True:
                deliveries = await self._step(deliveries)
        finally:
            self._ended = True
            for settled in self._settling:
                if not settled.done():
                    settled.set_exception(self._unsettled())
            self._endpoint.close()

    def _unsettled(self) -> LocalError:
        words = f"the service {self._name} of domain {self._engine.domain} has ended"
        return LocalError(f"{words}: what was asked of it may not be on the disk; restart the node")

    async def _step(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Deal with what has come, say what is to be said, and wait for more.  What came counts as
        dealt with, and what is said leaves, when what it is about is on the disk."""
        batch, settling = Batch(), list(self._settling)
        batch.each(self._port, deliveries, self._take)
        now_ms = self._port.dtn_ms()
        # In this order: while nobody knows who is to hear something, nothing is said or ended.
        done = all(
            batch.attempt(self._port, self._name, work, now_ms)
            for work in (self._on_step, partial(self._say, batch))
        )
        while not self._save(batch):
            await self._port.sleep(RETRY_S)
        gone = list(self._engine.epochs.gone)
        await batch.commit(self._port)
        self._engine.epochs.told(gone)
        for settled in settling:
            self._settling.remove(settled)
            if not settled.done():
                settled.set_result(None)
        return await self._wait(None if done else RETRY_S)

    def _say(self, batch: Batch, now_ms: int) -> None:
        for node, octets, good_ms in self._engine.poll(now_ms):
            batch.sends.append(self._outgoing(node, octets, good_ms))

    def _take(self, delivery: Delivery) -> None:
        source = str(delivery.id.source.node)
        try:
            self._engine.receive(delivery.payload, source, self._port.dtn_ms())
        except (DecodeError, SecurityError) as error:
            self.refused += 1
            self._port.trace("keys_refused", {"source": source, "why": str(error)})

    def _outgoing(self, node: str, octets: bytes, good_ms: int) -> Outgoing:
        to = endpoint_of(eid_of("node", node), self._other)
        return Outgoing(to, octets, min(good_ms, LIFETIME_MS_MAX), self._service, priority=PRIORITY)

    def _save(self, batch: Batch) -> bool:
        state = self._engine.encode()
        if state == self._saved:
            return True
        gone = dict(self._engine.epochs.gone)
        try:
            self._file.write(state)
            nowhere = self._on_gone(gone)
        except OSError as error:
            self._port.trace("keys_not_saved", {"path": str(self._file.path), "why": str(error)})
            return False
        self._saved = state
        if gone:
            self._tell(nowhere, gone, batch)
        return True

    def _tell(self, nowhere: Mapping[int, str], gone: Iterable[int], batch: Batch) -> None:
        """That keys are destroyed stands in the log behind their end on the disk.  It stands there
        once: with it goes which they were, as the file has them until it is written again."""
        for number, why in nowhere.items():
            name = f"key:{self._engine.domain}-epoch-{number}"
            batch.tells.append(Happening(Act.KEY_DESTROYED, name, f"{self._name}: {why}"))
        batch.write(SPACE, self._name, encode([[[number] for number in gone]]))

    async def _wait(self, due_s: float | None) -> list[Delivery]:
        """What comes before something is due; None: when the engine says."""
        if due_s is None:
            now_ms = self._port.dtn_ms()
            due_s = max(0, self._engine.next_ms(now_ms) - now_ms) / 1000 + 0.001
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._endpoint.receive_many(BATCH)),
            loop.create_task(self._port.sleep(min(due_s, WAKE_S_MAX))),
            loop.create_task(self._woken.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._woken.clear()
            return tasks[0].result() if tasks[0].done() else []  # type: ignore[return-value]
        finally:
            await cancel_all(tasks)


def _numbers(octets: bytes) -> list[int]:
    """Inverse of what `KeyService` writes into its space; nothing for nothing."""
    if not octets:
        return []
    fields = decode(octets, "docs/keys.md, what was told")
    return [row.uint(NUMBER_MAX) for row in fields.array(GONE_MAX)]


Check = Callable[[Buffer, str], object]
"""`check(payload, source)` raises `DecodeError` or `SecurityError` for what an engine would not
take."""


class Unsealed:
    """BPSec, but for the bundles of key distribution between nodes: these carry protection of their
    own, which is checked here.  Implements `stack.ports.security.Security`."""

    def __init__(
        self,
        inner: Security,
        checks: Mapping[str, Check],
        awaits: Callable[[int], bool] = lambda _: False,
    ) -> None:
        """`checks` by service (`checks_of`); `awaits` says whether a bundle of a creation time (DTN
        milliseconds) may be under an epoch that has not come yet."""
        self._inner = inner
        self._checks = checks
        self._awaits = awaits

    def protect(self, bundle: Bundle) -> Bundle:
        """As BPSec does; what the key service here sends another stays as it is."""
        if bundle.primary.source.service in self._checks and _between(bundle):
            return bundle
        return self._inner.protect(bundle)

    def verify(self, bundle: Bundle) -> Opened:
        """As BPSec does; what key services send one another passes, if it is small: the node that
        it is for judges it."""
        if _between(bundle) and len(bundle.payload.data) <= MESSAGE_BYTES_MAX:
            return Opened(True, None)
        return self._judged(bundle, self._inner.verify(bundle))

    def secure(self, bundle: Bundle) -> Opened:
        """As BPSec does; what key services send one another stays as it is."""
        return Opened(True, None) if _between(bundle) else self._inner.secure(bundle)

    def open(self, bundle: Bundle) -> Opened:
        """As BPSec does; what is for a key service here has to be a message that its engine takes:
        else it goes, before it is stored.  Nothing proves the bundle that it came in: somebody may
        send a recorded one under any identity, so it is nobody else's that is known by that, nor
        does it count as this node's own."""
        primary = bundle.primary
        check = self._checks.get(primary.destination.service)
        if check is None:
            return self._judged(bundle, self._inner.open(bundle))
        payload = bundle.payload.data
        if primary.flags & (IS_FRAGMENT | IS_ADMIN) or len(payload) > MESSAGE_BYTES_MAX:
            return Opened(False, None, "no message of key distribution", MISSING)
        try:
            check(payload, str(primary.source.node))
        except (DecodeError, SecurityError) as error:
            return Opened(False, None, str(error), MISSING)
        return Opened(True, bundle, proven=False)

    def _judged(self, bundle: Bundle, opened: Opened) -> Opened:
        failed = not opened.ok and opened.reason == FAILED
        later = failed and self._awaits(bundle.primary.creation_ms)
        return opened._replace(later=True) if later else opened


def _between(bundle: Bundle) -> bool:
    return _serves_keys(bundle.primary.destination) and _serves_keys(bundle.primary.source)


def _serves_keys(eid: Eid) -> bool:
    """Whether it names a key service: what on one scheme is their number is a name like others on
    the other."""
    return eid.service in (_NUMBERS if eid.scheme == SCHEME_IPN else _NAMES)


def checks_of(node: Eid, member: Engine, authority: Engine | None) -> dict[str, Check]:
    """What judges the bundles for each key service of a node."""
    checks: dict[str, Check] = {service_of(node, KEYS): member.check}
    if authority is not None:
        checks[service_of(node, KEY_AUTHORITY)] = authority.check
    return checks
