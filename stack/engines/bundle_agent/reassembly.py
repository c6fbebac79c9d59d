"""Which fragments of which data units are here (RFC 9171 §5.9), without their octets.

Anybody can send a fragment of anything.  Those that say different things of their unit are units of
their own; those that say the same stand beside one another until a whole is verified
(`stack.engines.bundle_agent.joining`).  Who forges is behind some neighbour: so what one neighbour
brought is tried by itself, as is what all but one brought.  What that costs is bounded: the first
attempt at a unit, and at what is whole by itself, is free, since whoever provoked it had to send a
whole unit; what comes after failures is paid out of one purse, which `retry` fills again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from stack.core.errors import DecodeError
from stack.core.ranges import RangeSet
from stack.engines.bundle_agent.joining import Joining
from stack.engines.bundle_agent.notes import Note
from stack.policy import DataPolicy
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
after each cycle of attempts in vain, since the same fragments seldom give another result."""

NEIGHBOURS_MAX: Final = 8
"""Neighbours of one unit that are told apart; the others count as one."""

VIEW_TRIES: Final = 32
"""Candidates verified in the free attempt at what some of the neighbours brought."""

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

    retry: list[int] | None = None
    """The refs of those to join now instead."""


@dataclass(slots=True)
class _View:
    """The fragments that some of the neighbours brought."""

    neighbour: str
    """A neighbour."""

    only: bool
    """What it brought; else what the others did."""

    have: RangeSet = field(default_factory=RangeSet)
    """What they cover together."""

    lost: bool = False
    """Some have gone since: they may cover less."""

    tried: bool = False

    def shows(self, neighbours: Set[str]) -> bool:
        """Whether a fragment that came by these ways is one of them."""
        return self.neighbour in neighbours if self.only else bool(neighbours - {self.neighbour})

    def whole(self, unit: _Unit) -> bool:
        """Whether they may make up the unit."""
        if self.lost and self.have.covers(0, unit.total):
            self.have = RangeSet(sorted(unit.pieces[ref] for ref in unit.shown(self)))
            self.lost = False
        return self.have.covers(0, unit.total)


_EVERYTHING: Final = ""
"""No neighbour: what all but this one brought is all there is."""

_NOBODY: Final = "?"
"""In place of a neighbour that is not known: no node has this name."""


@dataclass(slots=True)
class _Unit:
    key: tuple[bytes, _Kind]
    total: int
    pieces: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(start, end) of each fragment, by ref."""

    neighbours: dict[int, Set[str]] = field(default_factory=dict)
    """The neighbours that brought each."""

    known: set[str] = field(default_factory=set)
    """All of these."""

    views: list[_View] = field(default_factory=lambda: [_View(_EVERYTHING, False)])
    """First that of everything."""

    asked: bool = False
    """An attempt is under way."""

    more: bool = False
    """Fragments have come since."""

    attempts: int = 0
    limit: int = 0
    """Candidates that the attempt under way may verify."""

    turn: int = 0
    """Which first fragment it begins with."""

    cycle: int = 1
    """Attempts after which all that may come first was tried so."""

    rounds: int = 0
    """Calls of `retry` that have had it tried."""

    rest: int = 0
    """Calls of `retry` until it is tried again with what it has."""

    def add(self, ref: int, start: int, end: int, neighbour: str) -> None:
        """Another fragment, or the same one by another way."""
        if neighbour not in self.known and len(self.known) == NEIGHBOURS_MAX:
            neighbour = min(self.known)
        self.rest = 0
        self.pieces[ref] = (start, end)
        neighbours = self.neighbours.get(ref, frozenset()) | {neighbour}
        self.neighbours[ref] = neighbours
        if neighbour not in self.known:
            self._new_neighbour(neighbour)
        for view in self.views:
            if view.shows(neighbours):
                view.have.add(start, end)

    def _new_neighbour(self, neighbour: str) -> None:
        """From the second neighbour on it matters who brought what."""
        self.known.add(neighbour)
        if len(self.known) == 1:
            return
        old = {(view.neighbour, view.only): view for view in self.views}
        sides = (True, False) if len(self.known) > 2 else (True,)
        keys = [
            (_EVERYTHING, False),
            *((neighbour, only) for only in sides for neighbour in self.known),
        ]
        self.views = [old.get(key) or self._seen(_View(*key)) for key in keys]

    def _seen(self, view: _View) -> _View:
        view.have = RangeSet(sorted(self.pieces[ref] for ref in self.shown(view)))
        return view

    def shown(self, view: _View) -> list[int]:
        """The refs of a view, as they arrived."""
        return [ref for ref, neighbours in self.neighbours.items() if view.shows(neighbours)]

    def forget(self, ref: int) -> None:
        """A fragment has gone."""
        del self.pieces[ref]
        del self.neighbours[ref]
        for view in self.views:
            view.lost = True

    def whole(self) -> bool:
        """Whether all together may make up the unit."""
        return self.views[0].whole(self)

    def fresh(self) -> _View | None:
        """What may make up the unit by itself, and was not tried yet."""
        views = (*self.views[1:], self.views[0])  # the others cost less
        return next((view for view in views if not view.tried and view.whole(self)), None)

    def chosen(self) -> list[int]:
        """The refs to load for an attempt, another part of them each time: in turn each view, of it
        as much as may be loaded at once, and of that all that may come first."""
        views = [view for view in self.views if view.whole(self)]
        visit, at = divmod(self.attempts, len(views))
        view = self.fresh() or views[at]
        most = tries(self.total)
        self.limit = most if view.tried or view is self.views[0] else min(most, VIEW_TRIES)
        view.tried = True
        refs = self.shown(view)
        pieces = self.pieces
        octets = sum(end - start for start, end in map(pieces.__getitem__, refs))
        room = max(LOAD_BYTES, 3 * self.total)
        windows = 1
        if octets != self.total and (octets > room or len(refs) > LOAD_FRAGMENTS):
            refs, windows = self._window(refs, visit, room)
        firsts = sum(not pieces[ref][0] for ref in refs)
        step = max(1, self.limit // 2)
        self.turn = visit // windows * step
        self.cycle = max(1, len(views) * windows * -(-firsts // step))
        self.attempts += 1
        return refs

    def _window(self, refs: list[int], visit: int, room: int) -> tuple[list[int], int]:
        """As many fragments that arrived one after the other as may be loaded at once, and how
        many such windows there are."""
        size = sum(self.pieces[ref][1] - self.pieces[ref][0] for ref in refs) // len(refs)
        step = max(1, min(LOAD_FRAGMENTS, room // max(1, size)) // 2)
        turn = visit * step % len(refs)
        found: list[int] = []
        for ref in refs[turn:] + refs[:turn]:
            start, end = self.pieces[ref]
            room -= end - start
            if room < 0 or len(found) == LOAD_FRAGMENTS:
                break
            found.append(ref)
        return sorted(found), -(-len(refs) // step)


class FragmentLedger:
    """Keeps, for each data unit, which octets its stored fragments cover, and says when it is
    worth while to load and join them."""

    def __init__(self) -> None:
        self.units: dict[bytes, dict[_Kind, _Unit]] = {}
        self._unit_of: dict[int, _Unit] = {}
        self._due: dict[tuple[bytes, _Kind], _Unit] = {}
        """Units that are to be tried, those first that have waited longest."""
        self._late: dict[tuple[bytes, _Kind], _Unit] = {}
        """Units whose key may be on its way."""
        self._purse = PURSE_BYTES

    def add(self, ref: int, note: Note, policy: DataPolicy | None = None) -> list[int] | None:
        """Note a stored fragment; the refs of those to join now, if its unit may be complete.  What
        is under one data policy is no part of what is under another, or none."""
        primary, length, neighbour = note
        start, total = primary.fragment_offset or 0, primary.total_adu_length or 0
        if not 0 < length <= total - start:
            return None  # it belongs to nothing: older programs took such
        adu, kind = adu_key(primary), (*_kind(primary), policy)
        kinds = self.units.setdefault(adu, {})
        unit = kinds.get(kind)
        if unit is None:
            unit = kinds[kind] = _Unit((adu, kind), total)
        self._unit_of[ref] = unit
        return self._came(unit, ref, start, start + length, neighbour)

    def confirm(self, ref: int, neighbour: str) -> list[int] | None:
        """Another neighbour has brought a fragment too: as `add`."""
        unit = self._unit_of.get(ref)
        if unit is None or not neighbour or neighbour in unit.neighbours[ref]:
            return None
        return self._came(unit, ref, *unit.pieces[ref], neighbour)

    def _came(
        self, unit: _Unit, ref: int, start: int, end: int, neighbour: str
    ) -> list[int] | None:
        unit.add(ref, start, end, neighbour or _NOBODY)
        return self._next(unit) if unit.whole() else None

    def _next(self, unit: _Unit) -> list[int] | None:
        """The next attempt at a unit that may be whole, if it need not wait."""
        if not unit.asked and (self._purse > 0 or unit.fresh()):
            return self._attempt(unit)
        unit.more = True
        self._due[unit.key] = unit
        return None

    def _attempt(self, unit: _Unit) -> list[int]:
        refs = unit.chosen()
        unit.asked, unit.more = True, False
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
        unit.asked = False
        joining = Joining(list(fragments.values()), unit.turn)
        total, limit = unit.total, unit.limit
        culprits: list[int] = []
        why = "no fragments fit together"
        tried = 0
        late = False
        for tried, candidate in enumerate(joining.candidates(), 1):
            try:
                check_bundle(candidate.bundle)
                opened = verify(candidate.bundle)
            except DecodeError as error:
                opened = Opened(False, None, str(error))
            if opened is None or opened.ok:
                others = {each for kind in self.units[unit.key[0]].values() for each in kind.pieces}
                parts = [
                    ref for index, ref in enumerate(refs) if joining.agrees(index, candidate.bundle)
                ]
                used = [refs[index] for index in candidate.used]
                return Joined(candidate.bundle, opened, used, parts, sorted(others - {*parts}))
            why = opened.failure
            late |= opened.later
            if len(candidate.used) == 1 and not opened.later:
                culprits.append(refs[candidate.used[0]])  # nobody else can be
            if tried == limit:
                break
        self._purse -= sum(len(each.payload.data) + LOAD_COST_BYTES for each in fragments.values())
        self._purse -= tried * (total + TRY_COST_BYTES)
        if tried == limit or joining.exhausted or len(refs) < len(unit.pieces):
            self._due[unit.key] = unit
        if late:
            self._late[unit.key] = unit
        again = self._next(unit) if unit.whole() and (unit.more or unit.fresh()) else None
        return Joined(None, None, [], [], culprits, why, again)

    def keys_changed(self) -> None:
        """`retry` names, with the next that are due, what no key has opened yet."""
        for unit in self._late.values():
            unit.rounds = unit.rest = 0
        self._due |= self._late
        self._late.clear()

    def again(self, refs: Sequence[int]) -> None:
        """What was joined of these cannot be taken yet: `retry` names them again, soon."""
        unit = self._unit_of[refs[0]]
        unit.rounds = 0
        self._due[unit.key] = unit

    def parts_of(self, primary: PrimaryBlock) -> list[int]:
        """The fragments that say that they are of this data unit."""
        kinds = self.units.get(adu_key(primary), {})
        return [ref for unit in kinds.values() for ref in unit.pieces]

    def forget(self, ref: int) -> None:
        """A fragment has left the store."""
        unit = self._unit_of.pop(ref, None)
        if unit is None:
            return
        unit.forget(ref)
        if not unit.pieces:
            adu, kind = unit.key
            self._due.pop(unit.key, None)
            self._late.pop(unit.key, None)
            del self.units[adu][kind]
            if not self.units[adu]:
                del self.units[adu]

    def retry(self) -> Iterator[list[int]]:
        """Fill the purse, and name again what is to be joined."""
        self._purse = PURSE_BYTES
        purse = PURSE_BYTES
        for unit in list(self._due.values())[:RETRY_UNITS]:
            if not unit.fresh():
                if purse <= 0:
                    continue
                if unit.rest:
                    unit.rest -= 1
                    self._due[unit.key] = self._due.pop(unit.key)  # behind those that do not rest
                    continue
                if unit.attempts:  # in vain so far: as much again
                    purse -= tries(unit.total) * (unit.total + TRY_COST_BYTES)
            del self._due[unit.key]
            unit.asked = False  # some of those that were to be joined have gone
            if unit.whole():
                refs = self._attempt(unit)
                unit.rounds += 1
                cycles = unit.rounds // unit.cycle
                unit.rest = min(1 << cycles, REST_MAX) if cycles else 0
                yield refs

    @property
    def due(self) -> int:
        """Units that wait for `retry`."""
        return len(self._due)

    def __len__(self) -> int:
        return sum(len(kinds) for kinds in self.units.values())


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
