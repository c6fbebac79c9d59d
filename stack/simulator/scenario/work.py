"""What is to be done in a run: jobs, files, messages, traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from stack.core.checks import check

TASKS_MAX = 1000
"""Most jobs, files and messages of a run, each."""

TRAFFIC_BUNDLES_MAX = 1_000_000
"""Most bundles of one traffic task."""

TRAFFIC_BYTES_MAX = 16 * 1024 * 1024
"""Largest payload of generated traffic: contents are cut out of a pool of this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTask:
    """A job: a share of the input goes up, its results come down."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is submitted, seconds after the start."""

    source: str
    """Node id of the station that submits it and gets the results."""

    destination: str
    """Node id of the satellite that runs it."""

    handler: str
    """The handler's name in `code`."""

    args: dict[str, str] = field(default_factory=dict)
    """The handler's arguments."""

    part: int = 1
    """Which part of the input files this job takes, 1 to `parts`."""

    parts: int = 1
    """Into how many equal parts the sorted list of input files is cut."""

    files_max: int = 0
    """Take only this many files of the part; 0 takes all."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited; for the inputs, and for results without one of their own."""

    def __post_init__(self) -> None:
        check("parts", 1 <= self.part <= self.parts <= TASKS_MAX, "1 <= part <= parts <= 1000")
        check("priority", 0 <= self.priority <= 2, "0, 1 or 2")
        check("files_max", self.files_max >= 0, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """A file or folder to deliver."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is handed over, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    path: str = ""
    """File or folder, relative to the scenario; empty: all input files."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        check("priority", 0 <= self.priority <= 2, "0, 1 or 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTask:
    """A message of one bundle."""

    name: str
    """What reports call it."""

    at_s: float
    """When it is sent, seconds after the start."""

    source: str
    """Node id of the sender."""

    destination: str
    """Node id of the receiver."""

    text: str
    """Its content."""

    priority: int = 2
    """0 bulk, 1 normal, 2 expedited."""

    def __post_init__(self) -> None:
        check("priority", 0 <= self.priority <= 2, "0, 1 or 2")
        check("text", 0 < len(self.text) <= 65_536, "1 to 65 536 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTask:
    """Many bundles between many nodes, with random contents that are compared on arrival."""

    name: str
    """What reports call it."""

    count: int
    """Bundles, 1 to 1 000 000."""

    size_bytes: tuple[int, int]
    """Least and largest payload; between them, each factor of two is as likely as the others."""

    source: str
    """Who sends: `stations`, `satellites`, `all`, the id of a constellation or of a node; drawn
    anew for each bundle."""

    destination: str
    """Who receives, likewise, and never the sender itself."""

    at_s: float = 0.0
    """When the first bundles may be handed over, seconds after the start."""

    over_s: float = 0.0
    """The bundles are handed over at random times within so many seconds; 0: all at once."""

    priority: int = 1
    """0 bulk, 1 normal, 2 expedited."""

    lifetime_s: float = 86_400.0
    """Lifetime of the bundles."""

    share_min: float = 1.0
    """The share of the bundles that must arrive before the run ends for it to count as good; the
    run goes on until all have."""

    def __post_init__(self) -> None:
        least, largest = self.size_bytes
        check("count", 1 <= self.count <= TRAFFIC_BUNDLES_MAX, "1 to 1 000 000")
        check("size_bytes", 1 <= least <= largest <= TRAFFIC_BYTES_MAX, "1 to 16 777 216, rising")
        check("over_s", 0 <= self.over_s < math.inf, "seconds, 0 or more")
        check("priority", 0 <= self.priority <= 2, "0, 1 or 2")
        check("lifetime_s", 1 <= self.lifetime_s <= 31 * 86_400, "1 second to 31 days")
        check("share_min", 0 <= self.share_min <= 1, "a share from 0 to 1")


Task = JobTask | FileTask | MessageTask
