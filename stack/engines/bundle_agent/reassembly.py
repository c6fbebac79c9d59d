"""Which fragments of which data units are here (RFC 9171 §5.9), without their octets.

Anybody can send a fragment of anything.  Those that say different things of their unit are units of
their own; those that say the same stand beside one another until a whole is verified
(`stack.engines.bundle_agent.joining`).  What that costs is bounded: the first attempt at a unit is
free, since whoever provoked it had to send a whole unit; what comes after failures is paid out of
one purse, which `retry` fills again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stack.core.errors import DecodeError
from stack.core.ranges import RangeSet
from stack.engines.bundle_agent.joining import Joining
from stack.engines.bundle_agent.notes import Note
from stack.ports.security import Opened
from stack.wire.bundle import Bundle, PrimaryBlock, adu_key, check_bundle

PURSE_BYTES: Final = 256 * 1024 * 1024
"""Octets loaded and verified in vain between two calls of `retry`: some 0.3 s of work."""

TRY_BYTES: Final = 64 * 1024 * 1024
"""Octets of candidates verified in one attempt, if more than one."""

TRIES_MAX: Final = 1024
"""Candidates verified in one attempt: two fragments to choose from at ten places."""

LOAD_BYTES: Final = 16 * 1024 * 1024
"""Octets loaded for one attempt, beside three times those of the unit: the rest has its turn in
the next."""

LOAD_FRAGMENTS: Final = 8192
"""Fragments loaded for one attempt, unless they fit together without overlap."""

LOAD_COST_BYTES: Final = 4096
"""What loading a fragment costs beside the octets."""

TRY_COST_BYTES: Final = 262_144
"""What a try costs beside the octets: some 0.3 ms to put blocks together and verify them."""

RETRY_UNITS: Final = 64
"""Units tried again by one `retry`."""

REST_MAX: Final = 256
"""Calls of `retry` that a unit misses at most before it is tried with what it has: twice as many
after each attempt in vain, since the same fragments seldom give another result."""

_Kind = tuple[object, ...]


class Joined(NamedTuple):
    """What has become of an attempt."""

    bundle: Bundle | None
    """The whole; None when it was in vain."""

    opened: Opened | None
    """What security has made of it, where it has a say."""

    used: list[int]
    """Refs of the fragments that it was put together from."""

    parts: list[int]
    """Of all fragments that were looked at and are parts of it."""

    culprits: list[int]
    """Of those that are proven wrong."""

    why: str = ""


@dataclass(slots=True)
class _Unit:
    key: tuple[bytes, _Kind]
    total: int
    pieces: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(start, end) of each fragment, by ref."""

    have: RangeSet = field(default_factory=RangeSet)
    """What they cover together."""

    lost: bool = False
    """Some have gone since: they may cover less."""

    attempts: int = 0
    rest: int = 0
    """Calls of `retry` until it is tried again with what it has."""

    def add(self, ref: int, start: int, end: int) -> None:
        self.rest = 0
        self.pieces[ref] = (start, end)
        self.have.add(start, end)

    def whole(self) -> bool:
        if self.lost and self.have.covers(0, self.total):
            self.have = RangeSet(sorted(self.pieces.values()))
            self.lost = False
        return self.have.covers(0, self.total)

    def chosen(self) -> list[int]:
        """The refs to load for an attempt: all, or another part of them each time."""
        pieces = self.pieces
        octets = sum(end - start for start, end in pieces.values())
        most = max(LOAD_BYTES, 3 * self.total)
        refs = list(pieces)
        if octets == self.total or (octets <= most and len(refs) <= LOAD_FRAGMENTS):
            return refs
        turn = self.attempts * LOAD_FRAGMENTS // 2 % len(refs)
        found: list[int] = []
        for ref in refs[turn:] + refs[:turn]:
            start, end = pieces[ref]
            most -= end - start
            if most < 0 or len(found) == LOAD_FRAGMENTS:
                break
            found.append(ref)
        return found


class FragmentLedger:
    """Keeps, for each data unit, which octets its stored fragments cover, and says when it is
    worth while to load and join them."""

    def __init__(self) -> None:
        self._units: dict[bytes, dict[_Kind, _Unit]] = {}
        self._unit_of: dict[int, _Unit] = {}
        self._due: dict[tuple[bytes, _Kind], _Unit] = {}
        """Units that are to be tried, those first that have waited longest."""
        self._purse = PURSE_BYTES

    def add(self, ref: int, note: Note) -> list[int] | None:
        """Note a stored fragment; the refs of those to join now, if its unit may be complete."""
        primary, length = note
        start, total = primary.fragment_offset or 0, primary.total_adu_length or 0
        if not 0 < length <= total - start:
            return None  # it belongs to nothing: older programs took such
        adu, kind = adu_key(primary), _kind(primary)
        kinds = self._units.setdefault(adu, {})
        unit = kinds.get(kind)
        if unit is None:
            unit = kinds[kind] = _Unit((adu, kind), total)
        unit.add(ref, start, start + length)
        self._unit_of[ref] = unit
        if not unit.whole():
            return None
        if unit.attempts and self._purse <= 0:
            self._due[unit.key] = unit
            return None
        return self._attempt(unit)

    def _attempt(self, unit: _Unit) -> list[int]:
        refs = unit.chosen()
        unit.attempts += 1
        self._due[unit.key] = unit  # until it is joined: one of them may be gone by then
        return refs

    def join(
        self, fragments: Mapping[int, Bundle], verify: Callable[[Bundle], Opened | None]
    ) -> Joined:
        """Make one bundle of some of these fragments (by ref), which an attempt has named: the
        first candidate that `verify` does not refuse (None: it has no say)."""
        refs = list(fragments)
        unit = self._unit_of.get(refs[0])
        if unit is None:
            return Joined(None, None, [], [], [], "they have been put aside")
        self._due.pop(unit.key, None)
        joining = Joining(list(fragments.values()))
        total = next(iter(fragments.values())).primary.total_adu_length or 0
        limit = tries(total)
        culprits: list[int] = []
        why = "no fragments fit together"
        tried = 0
        for tried, candidate in enumerate(joining.candidates(), 1):
            try:
                check_bundle(candidate.bundle)
                opened = verify(candidate.bundle)
            except DecodeError as error:
                opened = Opened(False, None, str(error))
            if opened is None or opened.ok:
                others = {
                    each for kind in self._units[unit.key[0]].values() for each in kind.pieces
                }
                parts = [
                    ref for index, ref in enumerate(refs) if joining.agrees(index, candidate.bundle)
                ]
                used = [refs[index] for index in candidate.used]
                return Joined(candidate.bundle, opened, used, parts, sorted(others - {*parts}))
            why = opened.failure
            if len(candidate.used) == 1:
                culprits.append(refs[candidate.used[0]])  # nobody else can be
            if tried == limit:
                break
        self._purse -= sum(len(each.payload.data) + LOAD_COST_BYTES for each in fragments.values())
        self._purse -= tried * (total + TRY_COST_BYTES)
        if tried == limit or joining.exhausted or len(refs) < len(unit.pieces):
            self._due[unit.key] = unit
        return Joined(None, None, [], [], culprits, why)

    def forget(self, ref: int) -> None:
        """A fragment has left the store."""
        unit = self._unit_of.pop(ref, None)
        if unit is None:
            return
        del unit.pieces[ref]
        unit.lost = True
        if not unit.pieces:
            adu, kind = unit.key
            self._due.pop(unit.key, None)
            del self._units[adu][kind]
            if not self._units[adu]:
                del self._units[adu]

    def retry(self) -> Iterator[list[int]]:
        """Fill the purse, and name again what is to be joined."""
        self._purse = PURSE_BYTES
        purse = PURSE_BYTES
        for unit in list(self._due.values())[:RETRY_UNITS]:
            if unit.rest or purse <= 0:
                unit.rest = max(0, unit.rest - 1)
                continue
            if unit.attempts:  # in vain so far: as much again
                purse -= tries(unit.total) * (unit.total + TRY_COST_BYTES)
            unit.rest = min(1 << unit.attempts, REST_MAX)
            del self._due[unit.key]
            if unit.whole():
                yield self._attempt(unit)

    @property
    def due(self) -> int:
        """Units that wait for `retry`."""
        return len(self._due)

    def __len__(self) -> int:
        return sum(len(kinds) for kinds in self._units.values())


def tries(total: int) -> int:
    """How many candidates of a unit of `total` octets one attempt may verify."""
    return max(1, min(TRIES_MAX, TRY_BYTES // max(1, total)))


def _kind(primary: PrimaryBlock) -> _Kind:
    """What the fragments of one data unit say alike in their primary blocks (§5.8)."""
    return (
        primary.total_adu_length,
        primary.destination,
        primary.report_to,
        primary.lifetime_ms,
        primary.flags,
    )
