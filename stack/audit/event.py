"""What happened to data at a node: an entry of its log, in deterministic CBOR (RFC 8949 §4.2.1).

    [acts, time, node, object, label, peer, detail, policy]

acts    what was done in one transaction, bits of `Act`
time    DTN milliseconds, by the node's clock
node    node id
object  the bundle, as `source@creation time.sequence number`, and of a fragment `+offset/octets`;
        or what else has a digest or a name, as `sha256:...`, `key:...`
label   the first 16 octets of the SHA-256 of its data policy's label, or none
peer    from whom it came, to whom it went, who opened it
detail  over which contact, or why; for people
policy  the label itself, where the data came into being or to the node
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from stack.core.errors import DecodeError, LocalError
from stack.wire import cbor

EVENT_BYTES_MAX: Final = 16 * 1024
TEXT_BYTES_MAX: Final = 2048
LABEL_BYTES_MAX: Final = 4096
LABEL_DIGEST_BYTES: Final = 16
DETAIL_CHARS_MAX: Final = 256
SKEW_MS: Final = 60_000
"""Clocks of nodes may differ by so much without anything being wrong."""

WITHIN: Final = "within "
"""Begins the detail of what goes on within another bundle, and is let go of: of which, follows."""

_SECTION: Final = "docs/audit.md"
_FIELDS: Final = cbor.head(cbor.ARRAY, 8)


class Act(enum.IntFlag):
    """What is done with data.  The bits are on the wire: new ones go to the end."""

    MADE = 1
    SEALED = 2
    RECEIVED = 4
    STORED = 8
    OPENED = 16
    RUN = 32
    FORWARDED = 64
    DELETED = 128
    EXPIRED = 256
    REFUSED = 512
    KEY_DESTROYED = 1024


ACTS_MAX: Final = 2047
NAMES: Final = {int(act): (act.name or "").lower().replace("_", " ") for act in Act}


class AuditEvent(NamedTuple):
    """An entry of a log."""

    acts: int
    time_ms: int
    node: str
    object: str
    label: bytes = b""
    peer: str = ""
    detail: str = ""
    policy: bytes = b""

    def has(self, *acts: Act) -> bool:
        """Whether one of these was done."""
        return any(self.acts & act for act in acts)

    @property
    def names(self) -> list[str]:
        """What was done, in words."""
        return [name for act, name in NAMES.items() if self.acts & act]

    @property
    def carrier(self) -> str:
        """The bundle within which it goes on; else nothing."""
        inside = self.acts == Act.DELETED and self.peer and self.detail.startswith(WITHIN)
        return self.detail.removeprefix(WITHIN) if inside else ""

    @property
    def happened(self) -> Happened:
        """The same as it is handed to a store, which has its time from the transaction."""
        acts, _, node, name, label, peer, detail, policy = self
        return Circumstance(acts, node, label, peer, detail, policy), name


class Circumstance(NamedTuple):
    """What events of one transaction have in common that differ in their object alone."""

    acts: int
    node: str
    label: bytes
    peer: str
    detail: str
    policy: bytes


Happened = tuple[Circumstance, str]
"""An event that is to be written down: what many have in common, and the object of this one."""


@lru_cache(maxsize=1024)
def label_digest(label: bytes) -> bytes:
    """What stands for the label of a data policy; nothing for none."""
    return sha256(label).digest()[:LABEL_DIGEST_BYTES] if label else b""


def encode_event(event: AuditEvent) -> bytes:
    """The octets of an entry.  Raises `LocalError` for what `decode_event` would not take."""
    return encode_alike((event.happened,), event.time_ms)[0].events[0]


class Alike(NamedTuple):
    """Events that follow one another and differ in their object alone, as octets."""

    before: bytes
    """What comes before the object in each of them."""

    after: bytes
    objects: Sequence[str]

    @property
    def events(self) -> list[bytes]:
        """Each of them."""
        before, after, objects = self
        return [b"".join((before, cbor.tstr(each), after)) for each in objects]


_circumstance, _object = itemgetter(0), itemgetter(1)


def encode_alike(events: Sequence[Happened], time_ms: int) -> list[Alike]:
    """Entries of one transaction, all of `time_ms`, those together that are alike: this is done for
    each bundle.  Raises `LocalError` for what `decode_event` would not take."""
    if not events:
        return []
    first = events[0][0]
    if [*map(_circumstance, events)].count(first) == len(events):  # as they mostly are
        return [_alike(first, time_ms, [*map(_object, events)])]
    groups = groupby(events, _circumstance)
    return [_alike(common, time_ms, [*map(_object, some)]) for common, some in groups]


def _alike(common: Circumstance, time_ms: int, objects: Sequence[str]) -> Alike:
    acts, node, *rest = common
    before, after = _begin(acts, time_ms, node), _rest(*rest)
    room = EVENT_BYTES_MAX - len(before) - len(after)
    if max(map(len, objects)) > room // 8:  # else they fit, whatever they take in UTF-8
        octets = max(len(cbor.tstr(each)) for each in objects)
        if octets > room:
            octets += EVENT_BYTES_MAX - room
            raise LocalError(f"an event of {octets} octets, where {EVENT_BYTES_MAX} fit")
    return Alike(before, after, objects)


def encode_texts(texts: Sequence[str]) -> bytes:
    """Texts with their heads, one behind the other: quickly where they are ASCII and of one length,
    as most names are that come together."""
    size = len(texts[0])
    if 24 <= size < 128:
        head = f"\x78{chr(size)}"  # a text, and one octet that says how long it is
        octets = head + head.join(texts)
        alike = len(octets) == len(texts) * (2 + size) and max(map(len, texts)) == size
        if alike and octets.isascii():
            return octets.encode()
    return b"".join(map(cbor.tstr, texts))


@lru_cache(maxsize=1024)
def _begin(acts: int, time_ms: int, node: str) -> bytes:
    """What the events of one transaction have in common, but for the object."""
    if not 0 < acts <= ACTS_MAX:
        raise LocalError(f"an event with acts {acts}")
    return b"".join((_FIELDS, cbor.uint(acts), cbor.uint(time_ms), cbor.tstr(node)))


@lru_cache(maxsize=1024)
def _rest(label: bytes, peer: str, detail: str, policy: bytes) -> bytes:
    detail = detail[:DETAIL_CHARS_MAX]
    return b"".join((cbor.bstr(label), cbor.tstr(peer), cbor.tstr(detail), cbor.bstr(policy)))


def decode_event(data: bytes) -> AuditEvent:
    """Inverse of `encode_event`.  Raises `DecodeError`."""
    if len(data) > EVENT_BYTES_MAX or data[:1] != _FIELDS:
        raise DecodeError("no event of a log", _SECTION)
    acts, at = cbor.read_uint(data, 1)
    time_ms, at = cbor.read_uint(data, at)
    node, at = _read_text(data, at)
    name, at = _read_text(data, at)
    label, at = _read_string(data, at, cbor.BSTR)
    peer, at = _read_text(data, at)
    detail, at = _read_text(data, at)
    policy, at = _read_string(data, at, cbor.BSTR)
    if at != len(data):
        raise DecodeError("octets after an event", _SECTION, at)
    if not 0 < acts <= ACTS_MAX or len(label) not in (0, LABEL_DIGEST_BYTES):
        raise DecodeError("acts that are none, or a label that is no digest", _SECTION)
    if policy and (len(policy) > LABEL_BYTES_MAX or label_digest(policy) != label):
        raise DecodeError("a policy that is not the one of the label", _SECTION)
    return AuditEvent(acts, time_ms, node, name, label, peer, detail, policy)


def _read_string(data: bytes, at: int, major: int) -> tuple[bytes, int]:
    """A string of octets or of text, mostly a short one: a checked read of the head for each would
    take most of the time in which a log is read."""
    size = data[at] - (major << 5) if at < len(data) else -1
    start = at + 1
    if size == 24 and at + 1 < len(data):
        size = data[start] if data[start] >= 24 else -1
        start += 1
    elif not 0 <= size < 24:
        kind, size, start = cbor.read_head(data, at)
        size = size if kind == major else -1
    if not 0 <= size <= len(data) - start:
        raise DecodeError("an event has a string there", _SECTION, at)
    return data[start : start + size], start + size


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    octets, end = _read_string(data, at, cbor.TSTR)
    if len(octets) > TEXT_BYTES_MAX:
        raise DecodeError("a text that is too long", _SECTION, at)
    try:
        return octets.decode(), end
    except UnicodeDecodeError:
        raise DecodeError("text that is no UTF-8", _SECTION, at) from None
