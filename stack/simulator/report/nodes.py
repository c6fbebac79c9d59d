"""What maps of nodes are made of: what each is to data under a policy, and where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from stack.policy.permissions import Permissions
from stack.simulator.report.page import table

if TYPE_CHECKING:
    from link_models.orbit.geometry import Station
    from link_models.orbit.mean_elements import Satellite


class NodeKind(NamedTuple):
    """What nodes of one kind look like: a colour and a form, of which either tells them apart."""

    words: str
    colour: str
    form: str
    """Of matplotlib's markers."""


class MapHop(NamedTuple):
    """Data goes from one node to another."""

    giver: str
    taker: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class MapPath:
    """A path of data, in the order of its hops."""

    words: str
    hops: Sequence[MapHop]
    refused: bool = False
    """It is one that data did or may not take."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where nodes are."""

    stations: Mapping[str, Station] = field(default_factory=dict)
    satellites: Mapping[str, Satellite] = field(default_factory=dict)

    @property
    def nodes(self) -> Set[str]:
        """All whose place is known."""
        return self.stations.keys() | self.satellites.keys()


def load_places(path: Path) -> Places:
    """Those of a scenario.  Raises `ConfigError`."""
    from stack.simulator.scenario import load_scenario
    from stack.simulator.sky.craft import load_satellites

    scenario = load_scenario(path)
    return Places({one.id: one.station() for one in scenario.stations}, load_satellites(scenario))


# Colours of Okabe and Ito, which readers with any colour vision can tell apart.
REFUSED: Final = NodeKind("refused: may not even hold it", "#D55E00", "X")
_KINDS: Final = {
    (True, True): NodeKind("may read, hold and carry it", "#0072B2", "o"),
    (True, False): NodeKind("may read and hold it", "#CC79A7", "s"),
    (False, True): NodeKind("may hold and carry it", "#009E73", "D"),
    (False, False): NodeKind("may hold it only", "#E69F00", "v"),
}
"""By whether it may read, and carry."""


def kind_of(found: Permissions) -> tuple[NodeKind, str]:
    """How a map shows a node, and in a word why: under whose law it is."""
    return _KINDS[found.reads, found.carries] if found.holds else REFUSED, place_of(found)


def place_of(found: Permissions) -> str:
    """Under whose law a node is."""
    return found.known_as.partition(", domain:")[0] or "unknown"


def permissions_table(nodes: Sequence[Permissions], had: Collection[str], head: str) -> str:
    """What nodes may do, and why not more; `head` is said of those that are in `had`."""
    words = {True: "yes", False: "no"}
    rows = [
        (
            one.node,
            one.known_as or "nobody",
            *(words[may] for may in (one.reads, one.holds, one.carries, one.node in had)),
            one.why,
        )
        for one in nodes
    ]
    return table(("node", "known as", "reads", "holds", "carries", head, "why not"), rows)
