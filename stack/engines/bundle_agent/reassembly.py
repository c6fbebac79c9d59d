"""Which fragments of which data units are here (RFC 9171 §5.9), without their octets."""

from __future__ import annotations

from dataclasses import dataclass, field

from stack.core.ranges import RangeSet
from stack.wire.bundle import PrimaryBlock, adu_key


@dataclass(slots=True)
class _Unit:
    total: int
    have: RangeSet = field(default_factory=RangeSet)
    refs: list[int] = field(default_factory=list)


class FragmentLedger:
    """Keeps, for each data unit, which octets its stored fragments cover."""

    def __init__(self, units_max: int) -> None:
        self._units: dict[bytes, _Unit] = {}
        self._unit_of: dict[int, bytes] = {}
        self._units_max = units_max
        self.inconsistent = 0

    def add(self, ref: int, primary: PrimaryBlock, payload_length: int) -> list[int] | None:
        """Note a stored fragment; the refs of all fragments once they cover the whole unit.

        A fragment that contradicts its siblings' total length is left alone until it expires: it
        cannot be told which of them is wrong (counted in `inconsistent`).
        """
        assert primary.fragment_offset is not None
        assert primary.total_adu_length is not None
        unit_key = adu_key(primary)
        unit = self._units.get(unit_key)
        if unit is None:
            if len(self._units) >= self._units_max:
                return None
            unit = self._units[unit_key] = _Unit(primary.total_adu_length)
        if unit.total != primary.total_adu_length:
            self.inconsistent += 1
            return None
        unit.have.add(primary.fragment_offset, primary.fragment_offset + payload_length)
        unit.refs.append(ref)
        self._unit_of[ref] = unit_key
        return list(unit.refs) if unit.have.covers(0, unit.total) else None

    def forget(self, ref: int) -> None:
        """A fragment has left the store: without it, its unit has to begin anew with the rest."""
        unit_key = self._unit_of.pop(ref, None)
        if unit_key is None:
            return
        unit = self._units.pop(unit_key)
        for sibling in unit.refs:
            self._unit_of.pop(sibling, None)

    def __len__(self) -> int:
        return len(self._units)
