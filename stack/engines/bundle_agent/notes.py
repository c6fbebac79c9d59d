"""What the agent must know again of a stored bundle without loading it.

Most bundles need no note.  Fragments do (to know what they cover), and so do bundles that asked
for status reports (to report their end, RFC 9171 §5.1, when their octets may already be gone),
those that came from outside although they name us as their source, those that carry others through
a tunnel (they are known as what they carry), and those that count to somebody's share of the store
(`stack.engines.bundle_agent.shares`).  A data policy stands before
all that.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from stack.core.train import Buffer
from stack.policy import DataPolicy
from stack.policy.label import decode_label
from stack.wire.bundle import IS_FRAGMENT, LENIENT, REPORT_ANY, Bundle, PrimaryBlock, decode_primary

_LENGTH = struct.Struct(">Q")
_RETURNED = 1 << 63
"""Set in the length of a bundle with our node as its source that a link brought."""

_SHARED = 1 << 62
"""Set in the length of a bundle that counts to the share of whom the note names last."""

_BARE = b"\x20"
"""What a note begins with of which that is all there is to say."""


NOTED = IS_FRAGMENT | REPORT_ANY
"""Flags of bundles that need more than that."""

_ASIDE = b"\0"
_LABELLED = b"\x21"
"""What a note begins with where the label of a data policy precedes the rest."""

_LABEL_LENGTH = struct.Struct(">H")


class Note(NamedTuple):
    """A bundle's primary block, the length of its payload in octets, and of a fragment the
    neighbour that brought it (empty if not known), of another whose share it counts to."""

    primary: PrimaryBlock
    payload_length: int
    neighbour: str = ""


def note_of(
    bundle: Bundle,
    encoded: Buffer,
    *,
    returned: bool = False,
    carries: bool = False,
    neighbour: str = "",
    owner: str = "",
) -> bytes:
    """The note that a bundle (whose octets are `encoded`) needs, or nothing.

    `returned` marks one from outside that names this node as its source, `carries` one that is
    known by the key of what it carries; `neighbour` is who brought
    a fragment, `owner` to whose share it counts (that of a fragment is this neighbour, if any).
    """
    primary = bundle.primary
    if not (primary.flags & NOTED or returned or carries):
        return bare(owner)
    head = primary.encoded
    if head is None:
        head = decode_primary(encoded, 1, mode=LENIENT)[0].encoded or b""
    return (
        _LENGTH.pack(
            len(bundle.payload.data) | (_RETURNED if returned else 0) | (_SHARED if owner else 0)
        )
        + head
        + (owner or neighbour).encode()
    )


def bare(owner: str) -> bytes:
    """The note of a bundle of which only the owner is to be known, if that."""
    return _BARE + owner.encode() if owner else b""


def labelled(note: bytes, label: bytes) -> bytes:
    """A note with the label of the bundle's data policy, if it has one, before it."""
    return label_alone(label) + note if label else note


@lru_cache(maxsize=1024)
def label_alone(label: bytes) -> bytes:
    """The note of a bundle of which nothing else is to be known."""
    return _LABELLED + _LABEL_LENGTH.pack(len(label)) + label


def unlabelled(note: bytes) -> tuple[bytes, bytes]:
    """Inverse of `labelled`: the label, or nothing, and the note."""
    if note[:1] != _LABELLED:
        return b"", note
    (length,) = _LABEL_LENGTH.unpack_from(note, 1)
    start = 1 + _LABEL_LENGTH.size
    return note[start : start + length], note[start + length :]


@lru_cache(maxsize=1024)
def policy_and_rest(note: bytes) -> tuple[DataPolicy | None, bytes]:
    """The data policy that a note of a stored bundle begins with, if any, and the rest: mostly
    nothing, so that the note is the same for all bundles of the policy."""
    label, rest = unlabelled(note)
    return decode_label(label) if label else None, rest


def policy_in(note: bytes) -> DataPolicy | None:
    """The data policy that a note of a stored bundle begins with, if any."""
    return policy_and_rest(note)[0]


def parse_note(note: bytes) -> Note:
    """Inverse of `note_of`."""
    primary, end = decode_primary(note, _LENGTH.size, mode=LENIENT)
    neighbour = note[end:].decode(errors="replace")
    return Note(primary, _LENGTH.unpack_from(note)[0] & ~(_RETURNED | _SHARED), neighbour)


def aside(why: bytes, name: str) -> bytes:
    """The note of a bundle in quarantine: why it is there, and under which name the node's log
    knows it, if it does, as its key does not tell a part from the whole."""
    why = why.replace(_ASIDE, b"?")
    return why + _ASIDE + name.encode() if name else why


def why_and_name(note: bytes) -> tuple[bytes, str]:
    """Inverse of `aside`."""
    why, _, name = note.partition(_ASIDE)
    return why, name.decode(errors="replace")


def is_bare(note: bytes) -> bool:
    """Whether a note says no more than whose share its bundle counts to."""
    return note[:1] == _BARE


def owner_of(note: bytes) -> str:
    """Whose share a bundle counts to; empty for nobody's."""
    if is_bare(note):
        return note[1:].decode(errors="replace")
    return parse_note(note).neighbour if note and note[0] & 0x40 else ""


def is_returned(note: bytes) -> bool:
    """Whether a bundle came from outside although it names this node as its source."""
    return note[:1] >= b"\x80"
