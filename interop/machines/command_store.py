"""A bundle store in another process as the machine sees it: a command, asked line by line.

    class TestTheirs(StoreMachine):
        adapter = CommandStoreAdapter("python shim.py")

The command is a shim around the store, as `interop.machines.lines` says; the folder is where the
store is.  Times are DTN times in milliseconds.  An answer has what stands behind the arrow.

    start        quota_bytes, quota_bundles   ->
    commit       ops, now_ms                  -> refs, evicted
    expire       now_ms, limit                -> stored
    next_expiry                               -> at_ms, or null
    scan                                      -> stored
    load         refs                         -> octets, or null for what is gone
    read         space, key                   -> value: octets, or null
    read_all     space, prefix                -> entries: pairs of a key and octets
    usage                                     -> bundles, bytes

What ``op`` of an operation is has the fields of `stack.ports.store`: ``put`` (``key``, ``encoded``,
``place``, ``destination``, ``source``, ``priority``, ``expires_ms``, ``received_ms``, ``note``),
``release`` (``ref``, ``known_until_ms``), ``move`` (``ref``, ``place``, ``note``), ``write``
(``space``, ``key``, ``value``); so has what is ``stored`` those of `Stored`.  Refs are 0 for a
duplicate, and -1 where there is no room.

At its end the standard input ends, and the shim closes the store.  A crash is SIGKILL, while a
commit is under way or after it; then the command runs again in the same folder.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from interop.machines.asked import CommandAdapter
from interop.machines.lines import AskedPeer, Done, Hex
from stack.core.train import Buffer
from stack.ports.store import Committed, Move, Op, Place, Put, Release, Stored, Usage, Write

_SENT: Final = ("key", "encoded", "place", "destination", "source", "priority", "expires_ms",
                "received_ms", "note")  # fmt: skip

KILLED_AFTER_S: Final = (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008)
"""How long after it was told of a commit it is killed, in turn."""


class _Stored(msgspec.Struct):
    """As `Stored`."""

    ref: int
    key: Hex
    place: Place
    destination: str
    source: str
    priority: int
    size: int
    expires_ms: int
    received_ms: int
    note: Hex = Hex()


class _Listed(msgspec.Struct):
    stored: list[_Stored]

    def all(self) -> Iterator[Stored]:
        """What is stored."""
        return (Stored(**msgspec.structs.asdict(one)) for one in self.stored)


class _Due(msgspec.Struct):
    at_ms: int | None


class _Loaded(msgspec.Struct):
    octets: list[Hex | None]


class _Value(msgspec.Struct):
    value: Hex | None


class _Entries(msgspec.Struct):
    entries: list[tuple[str, Hex]]


class _Used(msgspec.Struct):
    bundles: int
    bytes: int


class CommandStore:
    """The store behind a process (see `StoreUnderTest`)."""

    def __init__(self, process: AskedPeer, quota_bytes: int) -> None:
        self._process = process
        self._quota_bytes = quota_bytes

    def commit(self, ops: Sequence[Op], now_ms: int) -> Committed:
        """See `BundleStore`."""
        return self._process.ask(Committed, "commit", ops=_lines(ops), now_ms=now_ms)

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """See `BundleStore`."""
        return [*self._process.ask(_Loaded, "load", refs=refs).octets]

    def scan(self) -> Iterator[Stored]:
        """See `BundleStore`."""
        return self._process.ask(_Listed, "scan").all()

    def expire(self, now_ms: int, limit: int) -> list[Stored]:
        """See `BundleStore`."""
        return list(self._process.ask(_Listed, "expire", now_ms=now_ms, limit=limit).all())

    def next_expiry(self) -> int | None:
        """See `BundleStore`."""
        return self._process.ask(_Due, "next_expiry").at_ms

    def read(self, space: str, key: str) -> bytes | None:
        """See `BundleStore`."""
        return self._process.ask(_Value, "read", space=space, key=key).value

    def read_all(self, space: str, prefix: str = "") -> list[tuple[str, bytes]]:
        """See `BundleStore`."""
        return [*self._process.ask(_Entries, "read_all", space=space, prefix=prefix).entries]

    def usage(self) -> Usage:
        """See `BundleStore`."""
        used = self._process.ask(_Used, "usage")
        return Usage(used.bundles, used.bytes, self._quota_bytes)


def _lines(ops: Sequence[Op]) -> list[dict[str, Any]]:
    """Operations as a line has them."""
    lines: list[dict[str, Any]] = []
    for op in ops:
        match op:
            case Put():
                fields = {name: value for name, value in op._asdict().items() if name in _SENT}
                lines.append({"op": "put", **fields})
            case Release(ref, until_ms):
                lines.append({"op": "release", "ref": ref, "known_until_ms": until_ms})
            case Move(ref, place, note):
                lines.append({"op": "move", "ref": ref, "place": place, "note": note})
            case Write(space, key, value):
                lines.append({"op": "write", "space": space, "key": key, "value": value})
            case _:
                raise ValueError(f"{type(op).__name__} is nothing that the machine does")
    return [{name: _hex(value) for name, value in line.items()} for line in lines]


def _hex(value: Any) -> Any:
    return Hex(value) if isinstance(value, bytes | memoryview | bytearray) else value


class CommandStorePeer:
    """One case with it (see `StorePeer`).  Raises `ConfigError` for a command that cannot be
    run."""

    def __init__(self, adapter: CommandStoreAdapter, quota_bytes: int, quota_bundles: int) -> None:
        self._process = adapter.asked()
        self._quotas = {"quota_bytes": quota_bytes, "quota_bundles": quota_bundles}
        self._after_s = itertools.cycle(KILLED_AFTER_S)
        self.store = CommandStore(self._process, quota_bytes)
        self._process.launch(Done, **self._quotas)

    def reopen(self) -> None:
        """See `StorePeer`."""
        self._process.end()
        self._process.launch(Done, **self._quotas)

    def crash(self) -> None:
        """See `StorePeer`."""
        self._process.kill()
        self._process.launch(Done, **self._quotas)

    def crash_in_commit(self, ops: Sequence[Op], now_ms: int) -> None:
        """See `StorePeer`."""
        self._process.tell("commit", ops=_lines(ops), now_ms=now_ms)
        time.sleep(next(self._after_s))
        self.crash()

    def close(self) -> None:
        """See `StorePeer`."""
        self._process.close()


class CommandStoreAdapter(CommandAdapter):
    """An adapter for `StoreMachine`: the store behind a command."""

    def __call__(self, quota_bytes: int, quota_bundles: int, /) -> CommandStorePeer:
        """The store, for one case.  Raises `ConfigError` for a command that cannot be run."""
        return CommandStorePeer(self, quota_bytes, quota_bundles)
