"""Several logs of one node, as witnesses have seen them.

A node that has lost its disk begins another log, and nobody cosigns the one before any more.  One
that keeps two at once can show either of them, and write into the other what is not to be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from stack.audit.event import SKEW_MS
from stack.audit.log import node_of
from stack.audit.note import COSIGNATURE_BYTES, TIME_BYTES, LogCheckpoint, NoteKey, SignedNote
from stack.core.clock import DTN_EPOCH_UNIX_S, dtn_to_iso
from stack.core.errors import DecodeError, SecurityError


class LogSeen(NamedTuple):
    """A log was cosigned."""

    at_ms: int
    """DTN milliseconds, by the clock of who did."""

    witness: str
    origin: str

    def __str__(self) -> str:
        node, when = node_of(self.origin), dtn_to_iso(self.at_ms)
        return f"{node} has another log, {self.origin}, which {self.witness} has cosigned at {when}"


def seen_by(note: SignedNote, origin: str, witnesses: Iterable[NoteKey]) -> Iterator[LogSeen]:
    """Who of these has cosigned a checkpoint of a log, and when."""
    for key in witnesses:
        with contextlib.suppress(SecurityError):
            seconds = key.time_of(note)
            if seconds is not None:
                yield _seen(seconds, key.name, origin)


def said_of(note: SignedNote, origin: str) -> Iterator[LogSeen]:
    """Who is said to have cosigned it: nothing is known of their keys."""
    for line in note.signatures:
        if len(line.octets) == COSIGNATURE_BYTES:
            yield _seen(int.from_bytes(line.octets[:TIME_BYTES], "big"), line.name, origin)


def said_of_others(here: Collection[str], notes: Iterable[bytes]) -> Iterator[LogSeen]:
    """What is said to have been cosigned of other logs than those that are here, by the same
    nodes."""
    nodes = {node_of(origin) for origin in here}
    for octets in dict.fromkeys(notes):
        with contextlib.suppress(DecodeError):
            note = SignedNote.parse(octets)
            origin = LogCheckpoint.parse(note.text).origin
            if origin not in here and node_of(origin) in nodes:
                yield from said_of(note, origin)


def said_beside(
    note: SignedNote, origin: str, begun: Mapping[str, int], witnesses: Collection[str]
) -> list[str]:
    """What is wrong with a log that is not here, if it was cosigned after one of its node that is
    here has begun; that `witnesses` have, is told of that one."""
    since = [at_ms for each, at_ms in begun.items() if node_of(each) == node_of(origin)]
    words = "after one that is here has begun: it is withheld, or kept beside that"
    return [
        f"{said}, {words}; or that is made up (--witness)"
        for said in said_of(note, origin)
        if since and said.at_ms > min(since) + SKEW_MS and said.witness not in witnesses
    ]


def at_once(
    origin: str, begun: Mapping[str, int], seen: Iterable[LogSeen]
) -> tuple[list[str], list[str]]:
    """What is wrong with a log, as another one of its node was cosigned after it has begun; and
    which others have ended before.  `begun`: when each log begins, as far as it is here."""
    wrong, before = [], []
    last: dict[str, LogSeen] = {}
    for each in sorted(seen):
        if each.origin != origin and node_of(each.origin) == node_of(origin):
            last[each.origin] = each
    for other, each in last.items():
        if each.at_ms <= begun[origin] + SKEW_MS:
            before.append(
                f"{each} at last, before this one begins: what was in between is not known"
            )
        elif other not in begun:
            wrong.append(
                f"{each}, after this one has begun: it is withheld, or kept beside this one"
            )
        elif begun[other] <= begun[origin]:
            wrong.append(
                f"{each}, after this one has begun: two logs at once, or its clock went back"
            )
    return wrong, before


def _seen(seconds: int, witness: str, origin: str) -> LogSeen:
    return LogSeen((seconds - DTN_EPOCH_UNIX_S) * 1000, witness, origin)
