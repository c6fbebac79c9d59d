"""Everything that a run consists of, written down so that it can be replayed, edited and made
smaller."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stack.core import toml
from stack.core.bounds import DayMs, DayS, Octets, OctetsOrNone, Priority, Share
from stack.core.checks import check, check_bounds
from stack.core.errors import ConfigError
from stack.simulator.swarm.faults import HOSTILE, UPSET, Fault

DAY_S = 86_400.0
NODES_MIN = 3
NODES_MAX = 8
"""Three are two stations and the satellite between them; eight keep a run below a second."""

LONG_S = 7 * DAY_S
"""Lifetime of what must arrive: no clock error of a run brings its end near."""

FILE_BYTES_MAX = 16 * 1024 * 1024
"""Of a file with options: larger is something else."""

LinkBps = Annotated[float, Meta(ge=1, le=1e12)]
Number = Annotated[int, Meta(ge=0, le=1_000_000)]
Contents = Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)]
"""Octets of a message or a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """A link between two nodes."""

    a: str
    b: str
    rate_bps: LinkBps
    """From `a` to `b`, bit/s."""

    back_bps: LinkBps
    """From `b` to `a`: uplinks are often a thousandth of downlinks."""

    owlt_ms: DayMs
    """One-way light time, milliseconds."""

    loss: Share = 0.0
    """Share of datagrams lost at all times, faults or none."""

    always: bool = False
    """Up at all times (a line on the ground); otherwise only during its passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassOptions:
    """A time in which a link is up."""

    a: str
    b: str
    start_s: DayS
    end_s: DayS


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOptions:
    """A data policy: jurisdictions whose nodes may read, hold and carry it."""

    readers: tuple[str, ...]
    rest: tuple[str, ...]
    transit: tuple[str, ...]
    expires_s: DayS = 0.0
    """Virtual seconds from the start of the run; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOptions:
    """One message: one bundle."""

    number: Number
    source: str
    destination: str
    at_s: DayS
    octets: Contents
    priority: Priority = 1
    lifetime_s: Annotated[float, Meta(ge=0.001, le=366 * DAY_S)] = LONG_S
    policy: PolicyOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """One file."""

    number: Number
    source: str
    destination: str
    at_s: DayS
    octets: Contents
    priority: Priority = 1
    policy: PolicyOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """One job with one input and one result."""

    number: Number
    source: str
    destination: str
    at_s: DayS
    octets: Contents
    run_s: DayS
    """Virtual seconds that the handler works."""

    policy: PolicyOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run.  `draw` makes them from a seed; each list may be shortened by hand.  Raises
    `ConfigError` for what does not fit together."""

    seed: int
    """Also the seed of all that happens while it runs (losses, keys, ids, contents)."""

    day_s: DayS = DAY_S
    """Virtual seconds in all."""

    faults_s: DayS
    """The safety phase: faults strike before this time.  Then everything must converge."""

    nodes: tuple[str, ...]
    """Names: gs... are stations, sat... satellites, which run jobs."""

    links: tuple[LinkOptions, ...]
    passes: tuple[PassOptions, ...]
    store: Literal["memory", "sqlite"] = "memory"
    quota_bytes: Octets = 64 * 1024 * 1024
    """Of each node's store."""

    protect: bool = True
    """BPSec; without it the plaintext is not looked for."""

    authenticate: bool = False
    """LTP authentication (RFC 5327) on every link, with one key for all nodes."""

    fec: bool = False
    fragment_bytes: OctetsOrNone = 0
    """Proactive fragmentation (see `AgentConfig`)."""

    block_bytes: Annotated[int, Meta(ge=1, le=1 << 34)] = 16_384
    """LTP's aggregation (see `LtpConfig`)."""

    queue_bytes: Annotated[int, Meta(ge=1, le=10**12)] = 64 * 1024 * 1024
    """Of each LTP engine; the least is some blocks."""

    clockless: tuple[str, ...] = ()
    """Nodes that do not trust their clocks: creation time 0, and bundle age."""

    jurisdictions: dict[str, str] = field(default_factory=dict)
    """Under whose law each node stands; none: nobody knows, and nothing has a data policy."""

    outdated: dict[str, str] = field(default_factory=dict)
    """What was so before, and what the nodes of `mistaken` still take for true."""

    mistaken: tuple[str, ...] = ()
    messages: tuple[MessageOptions, ...] = ()
    files: tuple[FileOptions, ...] = ()
    jobs: tuple[JobOptions, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self)
        known = set(self.nodes)
        if not NODES_MIN - 1 <= len(self.nodes) <= NODES_MAX or len(known) != len(self.nodes):
            raise ConfigError(
                "nodes", f"{len(self.nodes)} names", f"2 to {NODES_MAX}, all different"
            )
        pairs = {(link.a, link.b) for link in self.links}
        for key, ends in (
            ("links", [(one.a, one.b) for one in self.links]),
            ("messages", [(one.source, one.destination) for one in self.messages]),
            ("files", [(one.source, one.destination) for one in self.files]),
            ("jobs", [(one.source, one.destination) for one in self.jobs]),
        ):
            for a, b in ends:
                if a not in known or b not in known or a == b:
                    raise ConfigError(key, f"{a!r} and {b!r} are not two of the nodes")
        for key, names in (("clockless", self.clockless), ("mistaken", self.mistaken)):
            if stranger := set(names) - known:
                raise ConfigError(key, f"{min(stranger)!r} is none of the nodes")
        for key, laws in (("jurisdictions", self.jurisdictions), ("outdated", self.outdated)):
            if laws and set(laws) != known:
                raise ConfigError(key, "names other nodes", "name each of the nodes, or none")
        for index, one in enumerate(self.passes):
            check(f"passes[{index}].a, b", (one.a, one.b) in pairs, "is of no link")
            later = one.start_s < one.end_s
            check(f"passes[{index}].end_s, start_s", later, "ends before it starts")
        for fault in self.faults:
            joined = {(fault.node, fault.peer), (fault.peer, fault.node)} & pairs
            if fault.node not in known or (fault.peer and not joined):
                raise ConfigError("faults", f"{fault.node} {fault.peer}: no such node or link")
        fits = 0 < self.faults_s <= self.day_s
        check("faults_s, day_s", fits, "faults_s must end within day_s")

    @property
    def parity(self) -> bool:
        """Whether stores keep parity."""
        return any(fault.kind == UPSET for fault in self.faults)

    @property
    def hostile(self) -> bool:
        """Whether somebody is on a link who has no keys."""
        return any(fault.kind == HOSTILE for fault in self.faults)

    def line(self) -> str:
        """What it is, in one line."""
        struck = Counter(fault.kind for fault in self.faults)
        marks = [self.store] + [
            name for name in ("protect", "authenticate", "fec") if getattr(self, name)
        ]
        if self.jurisdictions:
            marks.append(
                "laws=" + ",".join(map("{0[0]}:{0[1]}".format, self.jurisdictions.items()))
            )
        if self.clockless:
            marks.append(f"clockless={','.join(self.clockless)}")
        if self.fragment_bytes:
            marks.append(f"fragments<={self.fragment_bytes}")
        return (
            f"seed={self.seed} nodes={','.join(self.nodes)} passes={len(self.passes)} "
            f"messages={len(self.messages)} files={len(self.files)} jobs={len(self.jobs)} "
            f"{' '.join(marks)} faults="
            + (",".join(f"{kind}x{count}" for kind, count in sorted(struck.items())) or "none")
        )

    def dumps(self) -> str:
        """As JSON text, one entry of a list on a line or more."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def load_options(path: Path) -> Options:
    """Read options from a .json or .toml file.  Raises `ConfigError`."""
    return toml.load(
        path,
        lambda data: toml.convert(data, Options),
        what="options of a swarm",
        bytes_max=FILE_BYTES_MAX,
        json=True,
    )
