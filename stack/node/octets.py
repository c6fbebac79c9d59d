"""The octets of stored bundles: in memory while they flow through, else in the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from stack.core.sansio import Trace
from stack.core.train import Buffer
from stack.ports.security import Opened
from stack.ports.store import BundleStore, Committed, Op, Put, Release
from stack.wire.crc import crc32c

CACHE_BYTES_MAX = 64 * 1024 * 1024
"""Octets of bundles kept in memory between store and link: what flows through quickly is never
read back.  Bundles that wait longer are read from the store when their turn comes."""

CACHE_BUNDLE_BYTES_MAX = 4 * 1024 * 1024
"""A bundle larger than this would push too many others out of the cache."""


class Octets:
    """Loads bundles.  One that cannot be had is given as None, and `lost(ref, why, gone)` is called
    when it is damaged (`gone`: nothing is left, not even in quarantine), `failed(ref, error)` when
    it is there and cannot be read."""

    def __init__(
        self,
        store: BundleStore,
        lost: Callable[[int, str, bool], None],
        failed: Callable[[int, Exception], None],
        trace: Trace,
    ) -> None:
        self._store = store
        self._tell = lost
        self._failed = failed
        self._trace = trace
        self.cache: OrderedDict[int, Put] = OrderedDict()
        self._checks: dict[int, int] = {}
        """CRC-32C of what is in the cache and is to leave: an encrypted payload has no other that
        is seen here (RFC 9173 §4.8.1), and memory in orbit flips bits.  What is for here has been
        opened, and is not read again."""

        self._cache_bytes = 0
        """What has been opened is in memory a second time, in plain, and counts twice."""

    def load(self, refs: Sequence[int]) -> list[Buffer | None]:
        """From memory, else from the store."""
        octets = [self._cached(ref) for ref in refs]
        missing = [ref for ref, encoded in zip(refs, octets, strict=True) if encoded is None]
        if missing:
            loaded = dict(zip(missing, self.load_stored(missing), strict=True))
            octets = [
                loaded[ref] if encoded is None else encoded
                for ref, encoded in zip(refs, octets, strict=True)
            ]
        return octets

    def _cached(self, ref: int) -> Buffer | None:
        put = self.cache.get(ref)
        if put is None:
            return None
        check = self._checks.get(ref)
        if check is not None and crc32c(put.encoded) != check:
            self.forget(ref)  # the store has what it was
            self._trace("bundle_reread", {"ref": ref, "why": "its octets changed in memory"})
            return None
        return put.encoded

    def load_stored(self, refs: Sequence[int]) -> list[Buffer | None]:
        """From the store, which checks them."""
        try:
            octets = self._store.load(refs)
        except Exception as error:  # one is damaged, and gone now: all are asked for one by one
            return [self._load(ref, error) for ref in refs]
        for ref, encoded in zip(refs, octets, strict=True):
            if encoded is None:
                self._lost(ref, "it is not in the store any more")
        return octets

    def _load(self, ref: int, why: Exception) -> Buffer | None:
        for _ in range(2):  # a damaged one is gone the second time
            try:
                (encoded,) = self._store.load([ref])
            except Exception as error:  # whatever it is, it concerns this bundle alone
                why = error
                continue
            if encoded is None:
                self._lost(ref, str(why))
            return encoded
        self._failed(ref, why)
        return None

    def damaged(self, refs: Sequence[int]) -> None:
        """The store has found these bundles damaged, beyond repair."""
        for ref in refs:
            self.forget(ref)
            self._lost(ref, "damaged at rest, beyond repair")

    def _lost(self, ref: int, why: str) -> None:
        try:
            gone = self._store.remains(ref) is None
        except Exception:  # whatever it is, what is left cannot be read
            gone = True
        self._tell(ref, why, gone)

    def remember(self, ops: Iterable[Op], outcome: Committed) -> None:
        """Keep what has just been stored, and forget what has left the store."""
        refs = iter(outcome.refs)
        cache, checks = self.cache, self._checks
        for op in ops:
            if type(op) is Put:
                ref = next(refs)
                size = len(op.encoded)
                if ref > 0 and size <= CACHE_BUNDLE_BYTES_MAX:
                    cache[ref] = op
                    if op.known is None:
                        checks[ref] = crc32c(op.encoded)
                    self._cache_bytes += size if op.known.__class__ is not Opened else 2 * size
            elif type(op) is Release:
                self.forget(op.ref)
        for ref in outcome.evicted:
            self.forget(ref)
        while self._cache_bytes > CACHE_BYTES_MAX:
            self.forget(next(iter(cache)))

    def forget(self, ref: int) -> None:
        """Load it from the store when it is asked for next."""
        put = self.cache.pop(ref, None)
        if put is not None:
            self._checks.pop(ref, None)
            size = len(put.encoded)
            self._cache_bytes -= size if put.known.__class__ is not Opened else 2 * size
