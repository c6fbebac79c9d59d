"""Bundles on which work has failed: out of the way, and kept for the operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

from stack.core.errors import words_of
from stack.core.train import Buffer
from stack.engines.bundle_agent.entry import Entry
from stack.engines.bundle_agent.ingress import Arrival
from stack.engines.bundle_agent.notes import aside, labelled
from stack.engines.bundle_agent.trail import AuditTrail
from stack.policy import DataPolicy
from stack.policy.label import encode_label, label_of
from stack.ports.store import QUARANTINE_PRIORITY, Move, Place, Put
from stack.wire.bundle import Bundle, Mode, bundle_key, decode_bundle

REASON_BYTES_MAX = 400
"""Octets of the reason that are kept with a bundle."""

DIGEST_BYTES = 16

KEPT_MS = 7 * 86_400_000
"""How long a bundle is kept at most that failed before anybody knew its lifetime's end."""


def reason_of(error: Exception) -> bytes:
    """Why a bundle is in quarantine: the note of its row in the store."""
    return words_of(error).encode(errors="replace")[:REASON_BYTES_MAX]


def quarantined(entry: Entry, error: Exception) -> Entry:
    """A stored bundle's entry in quarantine."""
    return replace(
        entry, place=Place.QUARANTINE, priority=QUARANTINE_PRIORITY, note=reason_of(error)
    )


def moved(ref: int, entry: Entry | None, error: Exception) -> Move:
    """The operation that puts a stored bundle, of which `entry` says what is known, out of the
    way."""
    label = encode_label(entry.policy) if entry is not None and entry.policy else b""
    name = entry.told[1] if entry is not None and entry.told else ""
    return Move(ref, Place.QUARANTINE, labelled(aside(reason_of(error), name), label))


def end_of(data: Buffer, offset: int, mode: Mode) -> int:
    """Where a bundle ends on which reading has failed once: if it fails again, with `data`."""
    try:
        return decode_bundle(data, offset=offset, mode=mode)[1]
    except Exception:  # as before: it concerns this bundle alone
        return len(data)


def set_aside(
    arrival: Arrival,
    mode: Mode,
    now_ms: int,
    error: Exception,
    permitted: Callable[[Bundle], DataPolicy | None],
    owner: str = "",
    spare: tuple[int, int] = (0, 0),
    trail: AuditTrail | None = None,
    peer: str = "",
) -> Put | None:
    """Keep a bundle that arrived from `peer` and could not be judged, as `Put` says, in `owner`'s
    share; what cannot even be read, or may not be here, was never received, nor what comes behind
    it.  `permitted` gives the policy under which one may be here, and raises for what may not."""
    data, offset = arrival.data, arrival.offset
    try:
        bundle, end = decode_bundle(data, offset=offset, mode=mode)
        primary, encoded = bundle.primary, memoryview(data)[offset:end]
        policy = permitted(bundle)
        expires_ms = now_ms + min(primary.lifetime_ms, KEPT_MS)
        if policy is not None and policy.expires_ms:
            expires_ms = min(expires_ms, policy.expires_ms)
        label = label_of(bundle.blocks)
        _, name, event = (b"", "", None) if trail is None else trail.set_aside(bundle, peer)
        return Put(
            # What stands in quarantine must not pass for the genuine bundle of this identity.
            key=bundle_key(primary, len(bundle.payload.data))
            + blake2b(encoded, digest_size=DIGEST_BYTES).digest(),
            encoded=encoded,
            place=Place.QUARANTINE,
            destination=str(primary.destination),
            source=str(primary.source),
            priority=QUARANTINE_PRIORITY,
            expires_ms=expires_ms,
            received_ms=now_ms,
            note=labelled(aside(reason_of(error), name), label),
            spare=spare,
            owner=owner,
            event=event,
        )
    except Exception:  # as before: it concerns this bundle alone
        return None
