"""Which fragments of which data units are here (RFC 9171 §5.9), without their octets."""

from __future__ import annotations

from dataclasses import dataclass, field

from stack.core.ranges import RangeSet
from stack.wire.bundle import PrimaryBlock, adu_key


@dataclass(slots=True)
class _Unit:
    total: int
    pieces: dict[int, tuple[int, int]] = field(default_factory=dict)
    """(start, end) of each fragment, by ref."""

    have: RangeSet | None = field(default_factory=RangeSet)
    """What they cover together; None when that must be worked out anew."""


class FragmentLedger:
    """Keeps, for each data unit, which octets its stored fragments cover."""

    def __init__(self, units_max: int) -> None:
        self._units: dict[bytes, _Unit] = {}
        self._unit_of: dict[int, bytes] = {}
        self._aside: dict[int, tuple[PrimaryBlock, int]] = {}
        self._units_max = units_max
        self.inconsistent = 0

    def add(self, ref: int, primary: PrimaryBlock, payload_length: int) -> list[int] | None:
        """Note a stored fragment; the refs of all fragments once they cover the whole unit.

        A fragment that contradicts its siblings' total length is left alone until it expires: it
        cannot be told which of them is wrong (counted in `inconsistent`).  When too many units
        are open, those of further ones wait for `retry`.
        """
        assert primary.fragment_offset is not None
        assert primary.total_adu_length is not None
        unit_key = adu_key(primary)
        unit = self._units.get(unit_key)
        if unit is None:
            if len(self._units) >= self._units_max:
                self._aside[ref] = (primary, payload_length)
                return None
            unit = self._units[unit_key] = _Unit(primary.total_adu_length)
        if unit.total != primary.total_adu_length:
            self.inconsistent += 1
            return None
        start = primary.fragment_offset
        unit.pieces[ref] = (start, start + payload_length)
        self._unit_of[ref] = unit_key
        if unit.have is None:
            unit.have = RangeSet(sorted(unit.pieces.values()))
        else:
            unit.have.add(start, start + payload_length)
        return list(unit.pieces) if unit.have.covers(0, unit.total) else None

    def forget(self, ref: int) -> None:
        """A fragment has left the store."""
        self._aside.pop(ref, None)
        unit_key = self._unit_of.pop(ref, None)
        if unit_key is None:
            return
        unit = self._units[unit_key]
        del unit.pieces[ref]
        unit.have = None
        if not unit.pieces:
            del self._units[unit_key]

    def wait(self, ref: int, primary: PrimaryBlock, payload_length: int) -> None:
        """Put a fragment aside until `retry`."""
        self.forget(ref)
        self._aside[ref] = (primary, payload_length)

    def retry(self) -> list[list[int]]:
        """Note what had to wait, as far as there is room now; the units that are complete."""
        waiting, self._aside = self._aside, {}
        found = (self.add(ref, primary, length) for ref, (primary, length) in waiting.items())
        return [refs for refs in found if refs is not None]

    @property
    def aside(self) -> int:
        """Fragments that wait for `retry`."""
        return len(self._aside)

    def __len__(self) -> int:
        return len(self._units)
