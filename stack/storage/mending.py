"""What is done, within a transaction, about bundles that are damaged."""

from __future__ import annotations

import numpy as np

from stack.audit.event import Act
from stack.ports.store import Place
from stack.storage import sql
from stack.storage.parity import PartsVerdict
from stack.storage.reading import Damaged
from stack.storage.rows import BundleRow
from stack.storage.staging import Staging

SPOILED_WHY = "damaged at rest: it is in quarantine"
LOST_WHY = "damaged at rest: nothing is left of it"


def mend(staging: Staging, ref: int, wire_check: int, verdict: PartsVerdict) -> None:
    """Put right what an examination of a bundle has found."""
    for found in sql.select(staging.db, sql.SELECT_BUNDLE, [ref]):
        row = BundleRow(*found)
        if row.wire_check != wire_check:
            continue
        if not row.segment:
            _mend_body(staging, row, verdict)
        else:
            for first, places, octets in verdict.patches:
                there = (row.start + first + places).tolist()
                staging.log.patch(row.segment, there, octets.tobytes())
        renewed = [(ref, part, octets) for part, octets in verdict.parity]
        staging.db.executemany(sql.RENEW_PARITY, renewed)


def _mend_body(staging: Staging, row: BundleRow, verdict: PartsVerdict) -> None:
    if not verdict.patches:
        return
    encoded = next(staging.db.execute(sql.SELECT_BODY, (row.ref,)), (b"",))[0]
    found = encoded if isinstance(encoded, bytes) else b""
    whole = np.frombuffer(found[: row.size].ljust(row.size, b"\0"), np.uint8).copy()
    for first, places, octets in verdict.patches:
        whole[first + places] = octets
    staging.db.execute(sql.RENEW_BODY, (row.ref, whole.tobytes()))


def set_aside(staging: Staging, damaged: Damaged) -> list[int]:
    """Damaged bundles go to quarantine as they were found, and their keys are forgotten, so that
    copies are taken when they come; the refs of those of which nothing is left that could be
    kept."""
    left = [ref for ref, found in damaged if len(found)]
    rows = [BundleRow(*each) for each in sql.select(staging.db, sql.SELECT_BUNDLE, left)]
    rows = [row for row in rows if row.intact() and row.place != Place.QUARANTINE]
    kept = {row.ref for row in rows}
    staging.journal.left([row.stored() for row in rows], Act.STORED, SPOILED_WHY)
    gone = [ref for ref, _ in damaged if ref not in kept]
    lost = sql.select(staging.db, sql.SELECT_BUNDLE, gone)
    keys = [row[1] for row in lost]
    whole = [row for row in (BundleRow(*each) for each in lost) if row.intact()]
    staging.journal.left([row.stored() for row in whole], Act.DELETED, LOST_WHY)
    staging.drop(gone)
    staging.forget_damaged(keys + [row.key for row in rows], gone + list(kept))
    for row in rows:
        new = row.spoiled()
        fields = (new.key, new.place, new.note, new.priority, new.row_check, new.ref)
        staging.db.execute(sql.UPDATE_SPOILED, fields)
        known = (new.key, new.expires_ms, new.ref)
        staging.change.keys += staging.db.execute(sql.MEND_SEEN, known).rowcount
        staging.change.count(-1, -row.size, row.priority, row.place, row.segment)
        staging.change.count(1, row.size, new.priority, new.place, row.segment)
    return gone
