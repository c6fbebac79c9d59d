"""What is to be done in a run: jobs, files, messages, traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from stack.core.bounds import Priority, Share
from stack.core.checks import check, check_bounds

TASKS_MAX = 1000
"""Most jobs, files and messages of a run, each."""

TRAFFIC_BUNDLES_MAX = 1_000_000
"""Most bundles of one traffic task."""

TRAFFIC_BYTES_MAX = 16 * 1024 * 1024
"""Largest payload of generated traffic: contents are cut out of a pool of this order."""

TrafficBytes = Annotated[int, Meta(ge=1, le=TRAFFIC_BYTES_MAX)]

RunS = Annotated[float, Meta(ge=0, le=31 * 86_400)]
"""Seconds of a run, which lasts 31 days at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTask:
    """A job: a share of the input goes up, its results come down."""

    name: str
    """What reports call it."""

    at_s: RunS
    """When it is submitted, seconds after the start."""

    source: str
    """Node id of the station that submits it and gets the results."""

    destination: str
    """Node id of the satellite that runs it."""

    handler: str
    """The handler's name in `code`."""

    args: dict[str, str] = field(default_factory=dict)
    """The handler's arguments."""

    part: Annotated[int, Meta(ge=1, le=TASKS_MAX)] = 1
    """Which part of the input files this job takes, 1 to `parts`."""

    parts: Annotated[int, Meta(ge=1, le=TASKS_MAX)] = 1
    """Into how many equal parts the sorted list of input files is cut."""

    files_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Take only this many files of the part; 0 takes all."""

    priority: Priority = 1
    """0 bulk, 1 normal, 2 expedited; for the inputs, and for results without one of their own."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check("part, parts", self.part <= self.parts, "part is above parts")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """A file or folder to deliver."""

    name: str
    """What reports call it."""

    at_s: RunS
    """When it is handed over, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    path: str = ""
    """File or folder, relative to the scenario; empty: all input files."""

    priority: Priority = 1
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTask:
    """A message of one bundle."""

    name: str
    """What reports call it."""

    at_s: RunS
    """When it is sent, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    text: str
    """Its content."""

    priority: Priority = 2
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        check_bounds(self)
        check("text", 0 < len(self.text) <= 65_536, "1 to 65 536 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTask:
    """Many bundles between many nodes, with random contents that are compared on arrival."""

    name: str
    """What reports call it."""

    count: Annotated[int, Meta(ge=1, le=TRAFFIC_BUNDLES_MAX)]
    """Bundles, 1 to 1 000 000."""

    size_bytes: tuple[TrafficBytes, TrafficBytes]
    """Least and largest payload; between them, each factor of two is as likely as the others."""

    source: str
    """Who sends: `stations`, `satellites`, `all`, the id of a constellation or of a node; drawn
    anew for each bundle."""

    destination: str
    """Who receives, likewise, and never the sender itself."""

    at_s: RunS = 0.0
    """When the first bundles may be handed over, seconds after the start."""

    over_s: RunS = 0.0
    """The bundles are handed over at random times within so many seconds; 0: all at once."""

    priority: Priority = 1
    """0 bulk, 1 normal, 2 expedited."""

    lifetime_s: Annotated[float, Meta(ge=1, le=31 * 86_400)] = 86_400.0
    """Lifetime of the bundles."""

    share_min: Share = 1.0
    """The share of the bundles that must arrive before the run ends for it to count as good; the
    run goes on until all have."""

    def __post_init__(self) -> None:
        least, largest = self.size_bytes
        check_bounds(self)
        check("size_bytes", 1 <= least <= largest <= TRAFFIC_BYTES_MAX, "1 to 16 777 216, rising")


Task = JobTask | FileTask | MessageTask
