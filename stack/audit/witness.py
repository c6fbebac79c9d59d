"""What a node attests of the logs of others: that each checkpoint which it has seen continues the
one before (C2SP tlog-witness, tlog-cosignature).

A log that shows one history here and another one there is found out wherever the two meet: at a
witness that has cosigned one of them, or when exports of both are read together.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from stack.audit.merkle import verify_consistency
from stack.audit.note import LogCheckpoint, NoteKey, NoteSigner, SignedNote, open_checkpoint
from stack.core.errors import DecodeError, SecurityError

CHECKPOINT_BYTES_MAX: Final = 4096
"""Of a checkpoint that is cosigned: whatever a log has signed is kept, and goes into exports."""


class WitnessFinding(enum.Enum):
    """What a witness makes of a checkpoint."""

    COSIGNED = "cosigned"
    OLDER = "older"
    """It begins elsewhere than at the last one seen, or is older: no reason to suspect anybody."""

    FORKED = "forked"
    """It contradicts one that the same log has signed before: two histories are shown."""

    REFUSED = "refused"
    """It is not signed by the log's key, or is none."""


class Verdict(NamedTuple):
    """A finding, and what is remembered of the log from now on."""

    finding: WitnessFinding
    note: bytes
    """The checkpoint, with our cosignature where it is cosigned; else the last one that was."""

    size: int
    """How far the log is known: where the next proof has to begin."""

    why: str = ""


def consider(
    seen: bytes, key: NoteKey, octets: bytes, path: Sequence[bytes], by: NoteSigner, seconds: int
) -> Verdict:
    """Judge a checkpoint of the log of `key`, of which `seen` is the last note that was cosigned
    here (empty: none), with the proof that it continues that one; one that was cosigned here after
    `seen` needs none: we know less than we have signed, from a backup.  Raises `DecodeError`,
    `SecurityError` when `seen` is none."""
    last, old = open_checkpoint(seen, key) if seen else (None, None)
    size = old.size if old else 0
    if len(octets) > CHECKPOINT_BYTES_MAX:
        return Verdict(WitnessFinding.REFUSED, seen, size, f"a checkpoint of {len(octets)} octets")
    try:
        note, new = open_checkpoint(octets, key)
    except (DecodeError, SecurityError) as error:
        return Verdict(WitnessFinding.REFUSED, seen, size, str(error))
    if old is not None and old.size == new.size and old.root != new.root:
        return Verdict(WitnessFinding.FORKED, seen, size, _forked(old, new))
    if new.size < size:
        return Verdict(WitnessFinding.OLDER, seen, size, f"{size} entries are known here")
    if old is not None and not (new.size > size and _signed_since(last, note, by.key)):
        try:
            verify_consistency(size, new.size, old.root, new.root, path)
        except SecurityError as error:
            return Verdict(WitnessFinding.OLDER, seen, size, str(error))
    # Of other lines that stand under it nothing is known: they might fill it beyond reading.
    mine = next(each for each in note.signatures if (each.name, each.key_id) == (key.name, key.id))
    signed = SignedNote(note.text, (mine, by.sign(note.text, seconds)))
    return Verdict(WitnessFinding.COSIGNED, signed.encode(), new.size)


def _signed_since(last: SignedNote | None, note: SignedNote, key: NoteKey) -> bool:
    """Whether a witness has signed a note after the last one that it knows to have signed.  What it
    has signed before that, and does not know, may be of another history."""
    try:
        before, at = (None if each is None else key.time_of(each) for each in (last, note))
    except SecurityError:
        return False
    return before is not None and at is not None and before <= at


def _forked(old: LogCheckpoint, new: LogCheckpoint) -> str:
    return (
        f"{new.origin} has signed two histories of {new.size} entries: {old.root.hex()[:16]} and"
        f" {new.root.hex()[:16]}"
    )
