"""Has the checkpoints of this node's log cosigned by others, each as it can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from stack.audit.log import ClosedLog
from stack.audit.merkle import MerkleTree
from stack.audit.note import COSIGNATURE_BYTES, NoteKey, SignedNote, open_checkpoint
from stack.core.errors import DecodeError, SecurityError
from stack.ports.application import AppPort
from stack.ports.store import BundleStore, Write
from stack.services.audit import checkpoint_message, to_witness
from stack.storage.audit_log import NOTES
from stack.wire import cbor

ASKED: Final = "audit-asked"
"""Space of the store: of each witness what it has cosigned last, and what it was asked about."""

AGAIN_MS: Final = 86_400_000
"""A witness that has not answered for so long is asked again."""

BATCH: Final = 2048
_SECTION: Final = "docs/audit.md"


class WitnessAsked(NamedTuple):
    """How it stands with one witness."""

    cosigned: ClosedLog
    """Empty where it has cosigned nothing of this log."""

    offered: ClosedLog | None
    """What it was asked about, and has not answered."""

    at_ms: int
    note: bytes = b""
    """What it has cosigned, with its signature."""

    @property
    def reminded(self) -> bool:
        """Whether it is shown what it has cosigned, as it knew less."""
        offered = self.offered
        return offered is not None and offered.peaks.size == self.cosigned.peaks.size


class Witnesses:
    """The witnesses of one log (`stack.services.audit.Closed`)."""

    def __init__(
        self,
        node: str,
        names: Sequence[str],
        port: AppPort,
        store: BundleStore,
        again: Callable[[], None],
    ) -> None:
        """`again()` when there is more to ask about."""
        self._node = node
        self._names = names
        self._port = port
        self._store = store
        self._again = again
        self._log: ClosedLog | None = None
        self._key: NoteKey | None = None

    def pruned_before(self) -> int | None:
        """The number of the first event that some witness has not attested; None without one."""
        asked = [self._asked(name, self._log) for name in self._names if self._log is not None]
        return min((each.cosigned.next for each in asked), default=None)

    async def ask(self, log: ClosedLog, key: NoteKey, note: bytes) -> None:
        """Have a checkpoint cosigned.  Raises `StoreError`."""
        self._log, self._key = ClosedLog.decode(self._node, log.encode()), key
        now_ms = self._port.dtn_ms()
        for name in self._names:
            asked = self._asked(name, log)
            # A clock that was ahead when it was asked may have been set back since.
            waits = asked.offered is not None and 0 <= now_ms - asked.at_ms < AGAIN_MS
            if waits or asked.cosigned.peaks.size >= log.peaks.size:
                continue
            if asked.reminded:
                new = asked._replace(at_ms=now_ms)
                payload = checkpoint_message(str(key), asked.note, [])
            else:
                path = await self._path(asked.cosigned, self._log)
                if path is None:
                    self._port.trace("audit_witness_behind", {"witness": name})
                    continue
                new = asked._replace(offered=self._log, at_ms=now_ms)
                payload = checkpoint_message(str(key), note, path)
            send = [to_witness(self._port, name, payload)]
            await self._port.commit(write=[self._written(name, new)], send=send)

    async def _path(self, old: ClosedLog, new: ClosedLog) -> list[bytes] | None:
        """The proof that one continues the other; None where the events for it are gone."""
        if not old.peaks.size:
            return []
        at = ClosedLog.decode(self._node, old.encode())
        tree = MerkleTree(old.peaks)
        while at.next < new.next:
            events = self._store.events(at.next, min(BATCH, new.next - at.next))
            count = at.extend(events)
            if not count:
                return None
            tree.add(event for _, event in events[:count])
            await asyncio.sleep(0)
        return tree.consistency(old.peaks.size, new.peaks.size)

    def cosigned(self, witness: str, note: bytes) -> list[Write]:
        """See `stack.services.audit.Closed`."""
        log, key = self._log, self._key
        asked = self._asked(witness, log) if log is not None and witness in self._names else None
        if asked is None or asked.offered is None or key is None:
            raise SecurityError("a cosignature that nobody has asked for")
        offered = asked.offered
        signed, checkpoint = open_checkpoint(note, key)
        if (checkpoint.size, checkpoint.root) != (offered.peaks.size, offered.peaks.root()):
            raise SecurityError("a cosignature of another checkpoint than was asked for")
        mine = f"{witness.rstrip('/')}/audit"
        lines = [line for line in signed.signatures if line.name == mine]
        if len(lines) != 1 or len(lines[0].octets) != COSIGNATURE_BYTES:
            # Whatever a witness sends, the checkpoint stays one that can be read.
            raise SecurityError("one cosignature was asked for")
        place = f"{checkpoint.size:020d}"
        kept = SignedNote.parse(self._store.read(NOTES, place) or note)
        # In older stores there may be more of this witness under it than its signature.
        others = tuple(line for line in kept.signatures if line.name != mine)
        kept = SignedNote(kept.text, others).with_signatures(lines)
        self._port.trace("audit_cosigned", {"witness": witness, "size": checkpoint.size})
        ours = tuple(line for line in signed.signatures if line.key_id == key.id)
        alone = SignedNote(signed.text, (ours[0], *lines)).encode()
        return [
            Write(NOTES, place, kept.encode()),
            self._answered(witness, WitnessAsked(offered, None, 0, alone)),
        ]

    def known(self, witness: str, origin: str, size: int) -> list[Write]:
        """See `stack.services.audit.Closed`."""
        log = self._log
        if log is None or witness not in self._names or origin != log.origin:
            raise SecurityError("an answer that nobody has asked for")
        asked = self._asked(witness, log)
        cosigned, shown = asked.cosigned, None
        if asked.offered is not None and size == asked.offered.peaks.size:
            cosigned = asked.offered  # what came of it was lost on its way
        elif size == 0:
            cosigned = log.begun()
        elif size < cosigned.peaks.size and asked.note and not asked.reminded:
            shown = cosigned  # it was restored from a backup
        elif size != cosigned.peaks.size:
            fields = {"witness": witness, "knows": size, "we": cosigned.peaks.size}
            self._port.trace("audit_witness_differs", fields)
            return []  # asked again after `AGAIN_MS`
        note = asked.note if cosigned is asked.cosigned else b""
        return [self._answered(witness, WitnessAsked(cosigned, shown, 0, note))]

    def _answered(self, witness: str, asked: WitnessAsked) -> Write:
        if self._log is not None and self._log.peaks.size > asked.cosigned.peaks.size:
            self._again()
        return self._written(witness, asked)

    def _written(self, witness: str, asked: WitnessAsked) -> Write:
        offered = b"" if asked.offered is None else asked.offered.encode()
        parts = (asked.cosigned.encode(), offered)
        at_ms, note = cbor.uint(asked.at_ms), cbor.bstr(asked.note)
        octets = cbor.array((*map(cbor.bstr, parts), at_ms, note))
        return Write(ASKED, witness, octets)

    def _asked(self, witness: str, log: ClosedLog | None) -> WitnessAsked:
        assert log is not None
        octets = self._store.read(ASKED, witness)
        if octets is None:
            return WitnessAsked(log.begun(), None, 0)
        count, at = cbor.read_array(octets, 0)
        first, at = cbor.read_bstr(octets, at)
        second, at = cbor.read_bstr(octets, at)
        at_ms, at = cbor.read_uint(octets, at)
        note, at = cbor.read_bstr(octets, at) if count == 4 else (b"", at)  # of older stores
        if count not in (3, 4):
            raise DecodeError("not what a witness was asked", _SECTION)
        cosigned = ClosedLog.decode(self._node, bytes(first))
        if cosigned.origin != log.origin:  # another log has begun since
            return WitnessAsked(log.begun(), None, 0)
        offered = ClosedLog.decode(self._node, bytes(second)) if second else None
        return WitnessAsked(cosigned, offered, at_ms, bytes(note))
