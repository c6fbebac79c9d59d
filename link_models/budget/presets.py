"""Ready links: each a budget whose terms are sourced or named as an assumption (`presets.toml`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import msgspec

from link_models.budget.optical import OpticalLink
from link_models.budget.radio import RadioLink
from link_models.budget.rates import RateTable
from link_models.budget.tables import read
from stack.core.errors import ConfigError

PRESET_ALTITUDE_M: Final = 800_000.0
"""The rate tables of presets are for orbits up to here (Earth observation flies at 500 to 800 km).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset(RateTable):
    """A ready link: its rates by elevation, for orbits up to `PRESET_ALTITUDE_M`, and the budget
    that they come from.  A link between spacecraft has one rate, that at its distance."""

    name: str
    description: str
    link: RadioLink | OpticalLink
    range_m: float
    """Distance for which a link between spacecraft is meant; 0 for links through the air."""

    sources: tuple[str, ...]
    """Where its numbers come from; "assumed" where nobody published them."""


class BudgetFile(msgspec.Struct, frozen=True, kw_only=True):
    """A link budget in a file: one of two tables."""

    radio: RadioLink | None = None
    optical: OpticalLink | None = None

    @property
    def link(self) -> RadioLink | OpticalLink:
        """The one there is.  Raises `ConfigError` for none, or two."""
        links = [one for one in (self.radio, self.optical) if one is not None]
        if len(links) != 1:
            raise ConfigError("", "has one table, [radio] or [optical]", "see docs/link-budget.md")
        return links[0]


class _Described(BudgetFile, frozen=True, kw_only=True):
    """What the file of presets has of each."""

    description: str
    sources: tuple[str, ...]
    range_m: float = 0.0


@cache
def _described() -> dict[str, _Described]:
    return read("presets.toml", dict[str, _Described])


def presets() -> tuple[Preset, ...]:
    """All ready links."""
    return tuple(_made(name) for name in _described())


def preset(name: str) -> Preset:
    """A ready link: ``s-band-up`` has 256 kbit/s, ``x-band-down`` 74, 112 and 149 Mbit/s; see
    `presets` for the others.

    Raises `ConfigError` for another name.
    """
    if name not in _described():
        raise ConfigError("preset", f"{name!r} is unknown", "use " + ", ".join(_described()))
    return _made(name)


@cache
def _made(name: str) -> Preset:
    found = _described()[name]
    link = found.link
    if found.range_m:
        table = RateTable(((-10.0, float(link.series(found.range_m).rate_bps[0])),))
    else:
        table = link.rate_table(PRESET_ALTITUDE_M)
    return Preset(
        table.steps,
        name=name,
        description=found.description,
        link=link,
        range_m=found.range_m,
        sources=found.sources,
    )
