"""Checkpoints of logs go to witnesses, and come back cosigned: bundles of low priority.

    ["audit-checkpoint", vkey, note, [*hash]]   a log's node to a witness; the proof that the log
                                                continues the last checkpoint cosigned there
    ["audit-cosigned", note]                    back, with the witness's signature under it
    ["audit-known", origin, size]               or: how far the log is known there

A witness believes nobody: a checkpoint is cosigned when it is signed by the log's key, which is
that of the first one seen, and when it continues the last one (`stack.audit.witness`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from stack.audit.log import FORKED, SEEN, WITNESS, node_of, read_hashes
from stack.audit.note import (
    WITNESS_KEY,
    NoteKey,
    NoteSigner,
)
from stack.audit.witness import WitnessFinding, consider
from stack.core.clock import DTN_EPOCH_UNIX_S
from stack.core.eid import Eid
from stack.core.errors import DecodeError, SecurityError
from stack.ports.application import AppPort, Delivery, Outgoing
from stack.ports.store import Write
from stack.services.batch import Batch
from stack.services.names import AUDIT, endpoint_of, service_of
from stack.wire import cbor

CHECKPOINT, COSIGNED, KNOWN = "audit-checkpoint", "audit-cosigned", "audit-known"
PRIORITY: Final = 0
LIFETIME_MS: Final = 7 * 86_400_000
BATCH: Final = 64
PINNED: Final = "audit-pinned"
"""Space of the store: the key of each log that is known here."""

LOGS_MAX: Final = 4096
LOGS_OF_NODE_MAX: Final = 16
_SECTION: Final = "docs/audit.md"


class Closed(Protocol):
    """The log of this node, as its keeper has it."""

    def cosigned(self, witness: str, note: bytes) -> Sequence[Write]:
        """What is to be kept when a witness has cosigned a checkpoint.  Raises `DecodeError`,
        `SecurityError` for one that is none of this log."""
        ...

    def known(self, witness: str, origin: str, size: int) -> Sequence[Write]:
        """What is to be kept when a witness knows the log up to `size`, and has not cosigned what
        it was sent.  Raises `SecurityError`."""
        ...


def checkpoint_message(vkey: str, note: bytes, path: Sequence[bytes]) -> bytes:
    """The octets with which a log's node asks for a cosignature."""
    parts = (cbor.tstr(CHECKPOINT), cbor.tstr(vkey), cbor.bstr(note))
    return cbor.array((*parts, cbor.array(map(cbor.bstr, path))))


def to_witness(port: AppPort, witness: str, payload: bytes) -> Outgoing:
    """A bundle for the audit service of a node."""
    to = endpoint_of(Eid.parse(witness), AUDIT)
    return Outgoing(to, payload, LIFETIME_MS, service_of(port.node_id, AUDIT), priority=PRIORITY)


class AuditService:
    """Cosigns the checkpoints of others, and takes the cosignatures for ours."""

    def __init__(self, port: AppPort, log: Closed, *, serves: bool) -> None:
        """Registers the service; raises `LocalError` when it is taken.  `serves`: cosigns for
        others."""
        self._serves = serves
        self._port = port
        self._log = log
        self._endpoint = port.register(service_of(port.node_id, AUDIT))
        self.malformed = 0

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                deliveries = await self._endpoint.receive_many(BATCH)
                for delivery in deliveries:  # one by one: each judges by what the last has written
                    batch = Batch()
                    batch.each(self._port, [delivery], partial(self._take, batch=batch))
                    await batch.commit(self._port)
        finally:
            self._endpoint.close()

    def _take(self, delivery: Delivery, batch: Batch) -> None:
        octets, node = bytes(delivery.payload), str(delivery.id.source.node)
        try:
            count, at = cbor.read_array(octets, 0)
            kind, at = cbor.read_tstr(octets, at)
            if (kind, count) == (CHECKPOINT, 4) and self._serves:
                self._checkpoint(octets, at, node, batch)
            elif (kind, count) == (COSIGNED, 2):
                note, at = cbor.read_bstr(octets, at)
                _ends(octets, at)
                self._add(batch, self._log.cosigned(node, bytes(note)))
            elif (kind, count) == (KNOWN, 3):
                origin, at = cbor.read_tstr(octets, at)
                size, at = cbor.read_uint(octets, at)
                _ends(octets, at)
                self._add(batch, self._log.known(node, origin, size))
            else:
                raise DecodeError("no message of this service", _SECTION)
        except (DecodeError, SecurityError) as error:
            self.malformed += 1
            self._port.trace("audit_message_dropped", {"node": node, "why": str(error)})

    def _add(self, batch: Batch, writes: Sequence[Write]) -> None:
        for write in writes:
            batch.add(write)

    def _checkpoint(self, octets: bytes, at: int, node: str, batch: Batch) -> None:
        vkey, at = cbor.read_tstr(octets, at)
        note, at = cbor.read_bstr(octets, at)
        path, at = read_hashes(octets, at)
        _ends(octets, at)
        key = NoteKey.parse(vkey)
        origin = key.name
        if node_of(origin) != node:
            raise SecurityError(f"a log of {node_of(origin)}, shown by {node}")
        pinned = self._pin(origin, node, key)
        seen = self._port.read(SEEN, origin) or b""
        seconds = self._port.dtn_ms() // 1000 + DTN_EPOCH_UNIX_S
        verdict = consider(seen, key, bytes(note), path, self._signer(batch), seconds)
        if verdict.finding is WitnessFinding.COSIGNED:
            self._add(batch, [*pinned, Write(SEEN, origin, verdict.note)])
            answer = cbor.array((cbor.tstr(COSIGNED), cbor.bstr(verdict.note)))
        elif verdict.finding is WitnessFinding.REFUSED:
            raise SecurityError(verdict.why)
        else:
            if verdict.finding is WitnessFinding.FORKED:
                self._forked(origin, (seen, bytes(note)), verdict.why, batch)
            parts = (cbor.tstr(KNOWN), cbor.tstr(origin), cbor.uint(verdict.size))
            answer = cbor.array(parts)
        batch.sends.append(to_witness(self._port, node, answer))

    def _pin(self, origin: str, node: str, key: NoteKey) -> list[Write]:
        """The key of a log is that of its first checkpoint: what is to be kept once it has signed
        one."""
        known = self._port.read(PINNED, origin)
        if known is not None:
            if known != str(key).encode():
                raise SecurityError(f"{origin} comes with another key than before")
            return []
        pinned = [name for name, _ in self._port.read_all(PINNED)]
        own = [name for name in pinned if node_of(name) == node]
        if len(pinned) >= LOGS_MAX or len(own) >= LOGS_OF_NODE_MAX:
            raise SecurityError(f"{node} has {len(own)} logs already, of {len(pinned)} here")
        return [Write(PINNED, origin, str(key).encode())]

    def _forked(self, origin: str, notes: Sequence[bytes], why: str, batch: Batch) -> None:
        """Keep what convicts the log: two notes that carry its signature.  The last one that was
        cosigned is not kept otherwise, once the log goes on from it."""
        self._port.trace("audit_log_forked", {"origin": origin, "why": why})
        if self._port.read(FORKED, f"{origin} 0") is None:
            for number, note in enumerate(notes):
                batch.add(Write(FORKED, f"{origin} {number}", note))

    def _signer(self, batch: Batch) -> NoteSigner:
        secret = self._port.read(*WITNESS)
        if secret is None:
            secret = self._port.entropy(32)
            batch.add(Write(*WITNESS, secret))
        return witness_signer(str(self._port.node_id), secret)


def _ends(octets: bytes, at: int) -> None:
    """Nothing stands behind a message.  Raises `DecodeError`."""
    if at != len(octets):
        raise DecodeError("octets after a message", _SECTION, at)


def witness_signer(node: str, secret: bytes) -> NoteSigner:
    """Who cosigns at a node."""
    return NoteSigner(f"{node.rstrip('/')}/audit", secret, WITNESS_KEY)
