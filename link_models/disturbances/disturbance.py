"""What every kind of disturbance has, and from where its rule draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from link_models.loss.rules import FadeModel, Rule
from link_models.noise import Rng
from link_models.rng import Streams
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError

FOREVER_S = 4e9
"""The end of a rule that has none: 126 years, in the range of nanoseconds as 64-bit integers."""

Moment = Annotated[float, Meta(ge=-FOREVER_S, le=FOREVER_S)]
"""Seconds from the start of the run."""

Duration = Annotated[float, Meta(ge=1e-6, le=FOREVER_S)]
"""Seconds that something lasts."""

_KEYS = {"intervals_ns": "spans_s"}
"""What models call their parameters, and how files call them, where a value can be within its
bounds and be refused by the model all the same."""


class StationPlace(NamedTuple):
    """Where a station stands: what weather needs to know of a link."""

    latitude_deg: float
    longitude_deg: float


class RandomSource(NamedTuple):
    """From where a rule draws."""

    streams: Streams
    own: str
    """The name of the rule in its direction."""

    shared: str
    """The name of the rule in its scope."""

    place: StationPlace | None
    """Where the station of the link stands."""

    folder: Path
    """Where files are looked for."""

    def stream(self) -> Rng:
        """Numbers for the datagrams of this direction."""
        return self.streams.stream(self.own)

    def key(self) -> int:
        """The key of what all directions of the scope have in common."""
        return self.streams.key(self.shared)

    def world(self, name: str) -> int:
        """The key of what the whole run has in common."""
        return self.streams.key(f"weather/{name}")


class Base(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True):
    """What every disturbance has.  Raises `ConfigError` for times that make no sense."""

    name: str = ""
    """Names its random substream; empty: its kind.  Give one to keep a rule's luck when rules of
    the same kind are added before it."""

    from_s: Moment = 0.0
    """When it begins, in seconds from the start of the run."""

    until_s: Moment = FOREVER_S
    """When it ends; by default never."""

    stations: tuple[str, ...] = ()
    """Only for links of these stations; empty: of all.  Scenarios heed this; a channel by itself
    does not."""

    satellites: tuple[str, ...] = ()
    """Only for links of these satellites; empty: of all."""

    direction: Literal["both", "up", "down"] = "both"
    """Only for the uplink, only for the downlink, or for both."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check("from_s, until_s", self.from_s < self.until_s, "until_s is not after from_s")
        try:
            self._check()
        except ConfigError as error:
            key = ", ".join(self._own(one) for one in error.key.split(", "))
            raise ConfigError(key, error.message, error.remedy) from None
        except ArithmeticError:
            raise ConfigError("kind", "the numbers are too large or too small together") from None

    def _own(self, name: str) -> str:
        """The key by which a file gives what a model calls `name`."""
        key = _KEYS.get(name, name)
        return key if key in self.__struct_fields__ else "kind"

    def parameters(self) -> dict[str, Any]:
        """What this kind has beyond its base: the arguments of a model that names them alike."""
        common = type(self).__mro__[1].__struct_fields__  # type: ignore[attr-defined]
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in common}

    def _check(self) -> None:
        """Raise `ConfigError` for values that do not fit together, each within its bounds: making
        the models checks that."""
        self.rule(RandomSource(Streams(0), "", "", StationPlace(0.0, 0.0), Path()))

    def rule(self, source: RandomSource) -> Rule:
        """The rule for one direction.  Every kind has one; a struct cannot be abstract."""
        raise NotImplementedError

    def fade(self, source: RandomSource) -> FadeModel | None:
        """What it takes from a link budget, for weather."""
        return None
