"""Bundles that go in parts, and come together again (RFC 9171 §5.8, §5.9)."""

from __future__ import annotations

from collections.abc import Sequence

from stack.core.errors import LocalError
from stack.core.train import Buffer
from stack.engines.bundle_agent.blocks import Refused
from stack.engines.bundle_agent.dispatch import WHOLE, Dispatch
from stack.engines.bundle_agent.trail import GONE, happens, name_of
from stack.ports.store import Op, Put, Release
from stack.wire.bundle import (
    Bundle,
    decode_bundle,
    fragment_bundle,
)


class Parts(Dispatch):
    """Puts parts in the place of a bundle, and a bundle in the place of its parts."""

    def split(self, ref: int, encoded: Buffer, bytes_max: int) -> list[Op] | None:
        """Operations that replace a stored bundle by fragments of at most `bytes_max` octets
        (§5.8), or None when it must or can not be fragmented: it waits for a larger contact.
        Raises `DecodeError` for damaged octets."""
        entry = self.entries[ref]
        bundle = self._decode(encoded)
        try:
            fragments = fragment_bundle(bundle, bytes_max)
        except LocalError:
            return None
        self.counters["fragmented"] += 1
        successor = self._admission.successor
        gone = happens(entry, GONE, why="it goes in parts")
        parts = (successor(fragment, [entry]) for fragment in fragments)
        return [Release(ref, event=gone), *parts]

    def reassemble(self, refs: Sequence[int], octets: Sequence[Buffer], now_ms: int) -> list[Op]:
        """Operations that put one bundle in the place of the fragments that make it up (§5.9), if
        that can be proven; of the others only those go that are proven wrong.  None where the
        sender of that bundle would keep it: so do we its parts, and `retry` tries again."""
        fragments = {ref: self._decode(encoded) for ref, encoded in zip(refs, octets, strict=True)}
        joined = self._fragments.join(fragments, self._admission.open)
        whole: Put | Refused | None = None
        if joined.bundle is not None:
            used = [self.entries[ref] for ref in joined.used]
            opened = joined.opened if joined.opened and joined.opened.proven else None
            whole = self._whole(self._admission.successor(joined.bundle, used, opened), now_ms)
            if isinstance(whole, Refused) and not whole.intact:
                self._fragments.again(refs)
                return []
        self.counters["fragments_contradicted"] += len(joined.culprits)
        ops: list[Op] = [
            Release(ref, event=happens(self.entries[ref], GONE, why=WHOLE)) for ref in joined.parts
        ]
        for ref in joined.culprits:
            gone = happens(self.entries[ref], GONE, why="it contradicts the others")
            ops.append(Release(ref, 0, gone))
        if joined.bundle is None:
            self.counters["reassembly_failed"] += 1
            bundle = name_of(next(iter(fragments.values())).primary)
            self._trace("reassembly_failed", {"bundle": bundle, "detail": joined.why})
            self._join(joined.retry)
            return ops
        self.counters["reassembled"] += 1
        return ops if whole is None or isinstance(whole, Refused) else [*ops, whole]

    def _whole(self, put: Put, now_ms: int) -> Put | Refused | None:
        """What is stored of a whole, if anything."""
        return put

    def _proved(self, ref: int, known: bool, now_ms: int) -> None:
        """A bundle that came before its key goes, if the store knows now what it was proven to be:
        else there was no room, and `retry` tries again."""
        if not known:
            self.postpone(ref, now_ms)
        elif (entry := self._forget(ref, now_ms)) is not None:
            self._ops.append(Release(ref, 0, happens(entry, GONE, why="it is proven")))

    def _decode(self, encoded: Buffer) -> Bundle:
        """A bundle out of the store, as it was read when it came."""
        return decode_bundle(encoded, mode=self._mode)[0]
