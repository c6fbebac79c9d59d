"""Disturbances as a file says them: one tagged class for each kind.

    [[disturbances]]
    kind = "gilbert-elliott"
    good_s = 4.0
    bad_s = 0.08

`Disturbance` is a field type for msgspec, so a configuration class may hold a tuple of them;
`build_rules` makes the rules of a channel of them, `fades` what the weather takes from a link
budget.

Each rule draws from substreams that carry its name: `name` where given, otherwise its kind (and a
number from the second of a kind on).  Outages, slots and scintillation are functions of their name
and of time; built with the same `scope` (a station, a pair) they are the same for each direction.
Clouds are one field over the Earth for the whole run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from link_models.disturbances.datagram_kinds import (
    BitErrorLoss,
    BurstLoss,
    Corruption,
    DelayJitter,
    Duplication,
    GivenBlackouts,
    LinkFlapping,
    NetemGemodel,
    NetemState,
    PacketBurstLoss,
    RandomLoss,
    RecordedTrace,
    Reordering,
    SlotChanges,
    TimeDivision,
    VolumeLimit,
)
from link_models.disturbances.disturbance import FOREVER_S, RandomSource, StationPlace
from link_models.disturbances.weather_kinds import (
    Clouds,
    Jamming,
    Rain,
    Scintillating,
    StationOutage,
)
from link_models.loss.rules import FadeModel, Rule, RuleFactory, between
from link_models.noise import Times, Values
from link_models.rng import Streams
from stack.core import toml
from stack.core.clock import SECOND
from stack.core.errors import ConfigError

__all__ = [
    "Disturbance",
    "StationPlace",
    "applies",
    "build_rules",
    "fades",
    "parse_disturbances",
]

DISTURBANCES_MAX = 1000
"""Rules of one list; every datagram asks each of them."""

Disturbance = (
    RandomLoss
    | BitErrorLoss
    | BurstLoss
    | PacketBurstLoss
    | NetemGemodel
    | NetemState
    | GivenBlackouts
    | StationOutage
    | LinkFlapping
    | RecordedTrace
    | SlotChanges
    | TimeDivision
    | DelayJitter
    | Reordering
    | Duplication
    | Corruption
    | VolumeLimit
    | Clouds
    | Rain
    | Scintillating
    | Jamming
)
"""Any of them; `kind` in a file tells which."""


def parse_disturbances(data: Any, key: str = "disturbances") -> tuple[Disturbance, ...]:
    """Disturbances from a list of mappings.  Raises `ConfigError` that names the place."""
    found: tuple[Disturbance, ...] = toml.convert(data, tuple[Disturbance, ...], key)
    _named(found)
    return found


def applies(
    disturbance: Disturbance, *, station: str = "", satellite: str = "", direction: str = "both"
) -> bool:
    """Whether a disturbance is meant for a link: of this station, this satellite, "up" or
    "down"."""
    return (
        (not disturbance.stations or station in disturbance.stations)
        and (not disturbance.satellites or satellite in disturbance.satellites)
        and (disturbance.direction == "both" or direction in ("both", disturbance.direction))
    )


def build_rules(
    disturbances: Sequence[Disturbance],
    *,
    scope: str = "",
    place: StationPlace | None = None,
    folder: Path = Path(),
    weather: bool = True,
) -> tuple[RuleFactory, ...]:
    """The rules of a channel (`ChannelConfig.rules`).

    `scope` names what the directions share that are built with it (empty: nothing).  `place` is
    where the station stands, `folder` where traces are.  With `weather` False those that can be
    given to a link budget as a fade are left out (see `fades`).  Raises `ConfigError`, also when
    the channel is made.
    """
    return tuple(
        _Factory(one, name, scope, place, folder)
        for one, name in _named(disturbances)
        if weather or not _fades(one)
    )


def fades(
    disturbances: Sequence[Disturbance], streams: Streams, *, scope: str = "", place: StationPlace
) -> FadeModel:
    """What the weather takes from the links of a place, in decibels over time: the sum of clouds,
    rain fronts and jamming with `fade_db`.  It is 0 where there is none."""
    parts = []
    for one, name in _named(disturbances):
        source = RandomSource(streams, f"{scope}/{name}", f"{scope}/{name}", place, Path())
        fade = one.fade(source)
        if fade is not None:
            parts.append((fade, one.from_s * SECOND, one.until_s * SECOND))
    return _SumOfFades(tuple(parts))


def _fades(disturbance: Disturbance) -> bool:
    return isinstance(disturbance, Clouds | Rain) or (
        isinstance(disturbance, Jamming) and disturbance.fade_db is not None
    )


def _named(disturbances: Sequence[Disturbance]) -> Iterator[tuple[Disturbance, str]]:
    """Each with the name of its substream.  Raises `ConfigError` for a name that is there twice."""
    if len(disturbances) > DISTURBANCES_MAX:
        raise ConfigError("disturbances", f"more than {DISTURBANCES_MAX}")
    kinds: Counter[str] = Counter()
    names: set[str] = set()
    found = []
    for one in disturbances:
        kind = str(one.__struct_config__.tag)
        name = one.name
        if not name:
            kinds[kind] += 1
            name = kind if kinds[kind] == 1 else f"{kind}-{kinds[kind]}"
        if name in names:
            raise ConfigError(
                "disturbances", f"{name!r} names two of them", "give each its own name"
            )
        names.add(name)
        found.append((one, name))
    return iter(found)


@dataclass(frozen=True, slots=True)
class _Factory:
    """Makes the rule of one disturbance for a direction: a `RuleFactory`."""

    disturbance: Disturbance
    name: str
    scope: str
    place: StationPlace | None
    folder: Path

    def __call__(self, streams: Streams, direction: str) -> Rule:
        one = self.disturbance
        own, shared = (
            f"{direction}/rules/{self.name}",
            f"{self.scope or direction}/rules/{self.name}",
        )
        rule = one.rule(RandomSource(streams, own, shared, self.place, self.folder))
        if one.from_s > 0 or one.until_s < FOREVER_S:
            rule = between(rule, one.from_s * SECOND, one.until_s * SECOND)
        return rule._replace(cause=self.name)


class _SumOfFades(NamedTuple):
    parts: tuple[tuple[FadeModel, float, float], ...]

    def fade_db(self, times_ns: Times) -> Values:
        total = np.zeros(len(times_ns))
        for fade, start_ns, end_ns in self.parts:
            total += fade.fade_db(times_ns) * ((times_ns >= start_ns) & (times_ns < end_ns))
        return total
