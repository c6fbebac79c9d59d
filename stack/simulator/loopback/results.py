"""What came of a run: plain rows that the report, the command line and tests read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Direction = Literal["up", "down", "across"]
"""Of a link: from a station, to a station, or between satellites."""


CSV_CELLS_MAX = 2_000_000
"""Most numbers of the table of a run: some 20 MB, which spreadsheets still open."""


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """Something that was to arrive: an input, a result, a file or a message."""

    task: str
    kind: str
    """``input``, ``result``, ``file`` or ``message``."""

    name: str
    source: str
    destination: str
    bytes: int
    priority: int
    sent_s: float
    arrived_s: float | None
    """When it was whole and verified at its destination, seconds after the start; None: never."""

    sha256_expected: str
    """Of what was sent; for results, of what the same handler computes on the ground."""

    sha256_arrived: str
    """Of the file as it lies at the destination; empty when it did not arrive."""

    @property
    def ok(self) -> bool:
        """Whether it arrived as it should."""
        return self.arrived_s is not None and self.sha256_expected == self.sha256_arrived


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job from end to end; times are seconds after the start, None for what never came."""

    name: str
    handler: str
    source: str
    destination: str
    priority: int
    submitted_s: float
    inputs: int
    input_bytes: int
    inputs_there_s: float | None
    """The last input was verified on the satellite."""

    started_s: float | None
    finished_s: float | None
    """The handler's run."""

    first_result_s: float | None
    done_s: float | None
    """The last result was verified on the ground."""

    results: int
    result_bytes: int
    state: str
    text: str

    @property
    def latency_s(self) -> float | None:
        """From submission to the last result."""
        return None if self.done_s is None else self.done_s - self.submitted_s


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """A traffic task from end to end."""

    task: str
    count: int
    share_min: float
    """The share that had to arrive."""

    handed_over: int
    refused: int
    """Not taken: the sender's store was full."""

    arrived: int
    wrong: int
    """Bundles that arrived twice, altered or at the wrong node."""

    bytes_sent: int
    bytes_arrived: int
    p50_s: float | None
    """Half of what arrived took no longer than this from handing over to delivery, seconds."""

    p90_s: float | None
    p99_s: float | None
    max_s: float | None

    @property
    def ok(self) -> bool:
        """Whether enough arrived, and nothing that should not have."""
        return not self.wrong and self.arrived >= self.share_min * self.count


@dataclass(frozen=True, slots=True)
class Volume:
    """Octets of one direction in a time."""

    capacity: float
    """What the contact plan holds."""

    wanted: float
    """The part of it in which the sender's link had data in hand, to the nearest samples."""

    wanted_s: float
    """Seconds of that."""

    on_air: int
    """Octets of datagrams that arrived, UDP and IP headers excluded."""

    data: int
    """Octets of LTP blocks that became complete: bundles, without repetition, parity, headers."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """A pass and what went through it."""

    station: str
    satellite: str
    rise_s: float
    set_s: float
    max_elevation_deg: float
    planned: bool
    """Whether an antenna was given to it."""

    blackouts: int
    blackout_s: float
    up: Volume
    down: Volume

    @property
    def used(self) -> bool:
        """Whether anything arrived in it, either way."""
        return bool(self.up.on_air or self.down.on_air)


@dataclass(frozen=True, slots=True)
class DirectionRow:
    """Totals of one direction of a pair.  Octets, unless the name says otherwise."""

    source: str
    destination: str
    kind: Direction
    passes: int
    """Passes; for a link between satellites 1, the whole run."""

    passes_used: int
    capacity: float
    capacity_wanted: float
    """The part of it in which the sender's link had data in hand, to the nearest samples."""

    wanted_s: float
    """Seconds of that."""

    offered: int
    delivered: int
    lost: int
    dropped: int
    """Dropped by the transmitter's queue, or because the contact was over."""

    data_sent: int
    data_resent: int
    data_received: int
    data_duplicate: int
    fec_source_packets: int
    fec_repair_packets: int
    fec_recovered_packets: int
    fec_blocks_decoded: int
    fec_blocks_lost: int
    sessions: int
    sessions_failed: int
    checkpoints_repeated: int

    @property
    def efficiency(self) -> float | None:
        """Bundles received as a share of the capacity while there was something to send; None
        where transfers are too short for the samples to tell."""
        return share_of(self.data_received, self.capacity_wanted, self.wanted_s)


MEASURED_S_MIN = 60.0
"""Shares over less than this say more about the samples than about the link."""


def share_of(data: int, wanted: float, wanted_s: float) -> float | None:
    """A share of capacity, or None where it would mean nothing."""
    return data / wanted if wanted_s >= MEASURED_S_MIN else None


@dataclass(frozen=True, slots=True)
class Series:
    """Samples in virtual time: more within passes, fewer between."""

    time_s: Floats
    on_air: Mapping[tuple[str, str], Floats]
    """Octets that have arrived so far, by (from, to)."""

    data: Mapping[tuple[str, str], Floats]
    """Octets of complete LTP blocks so far, by (from, to)."""

    queue: Mapping[str, Floats]
    """Octets that wait in each node to be forwarded, those under way included."""

    repaired: Mapping[tuple[str, str], Floats]
    """Packets that erasure coding has repaired so far, by (from, to)."""

    latency_s: dict[str, Floats] = field(default_factory=dict)
    """Seconds from handing over to delivery of each bundle that arrived, by traffic task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run.  Everything in it follows from scenario, seed and input, but for `wall_s`."""

    title: str
    seed: int
    start: str
    """ISO 8601."""

    duration_s: float
    """Length that the scenario gives."""

    ended_s: float
    """When there was nothing more to do, or the end."""

    objects: tuple[ObjectRow, ...]
    jobs: tuple[JobRow, ...]
    passes: tuple[PassResult, ...]
    directions: tuple[DirectionRow, ...]
    counters: dict[str, dict[str, int]]
    """Counters of each node."""

    events: dict[str, dict[str, int]]
    """How often each kind of trace event happened, by node."""

    problems: tuple[str, ...]
    """What did not arrive or was wrong, and why; empty when all is well."""

    series: Series
    traffic: tuple[TrafficRow, ...] = ()
    doubts: tuple[str, ...] = field(default=(), compare=False)
    """What is to be said of the satellites' elements; not in the files."""

    wall_s: float = field(default=0.0, compare=False)
    """Seconds of computing; never written to a file."""

    @property
    def ok(self) -> bool:
        """Whether everything arrived as it should."""
        return not self.problems

    @property
    def speed(self) -> float:
        """Simulated seconds per second of computing."""
        return self.ended_s / self.wall_s if self.wall_s else 0.0

    def totals(self) -> dict[str, Any]:
        """The summary figures."""
        directions: dict[Direction, list[DirectionRow]] = {"up": [], "down": [], "across": []}
        for row in self.directions:
            directions[row.kind].append(row)
        return {
            "objects": len(self.objects),
            "objects_ok": sum(row.ok for row in self.objects),
            "passes": len(self.passes),
            "passes_planned": sum(row.planned for row in self.passes),
            "passes_used": sum(row.used for row in self.passes),
            "bundles": sum(row.count for row in self.traffic),
            "bundles_arrived": sum(row.arrived for row in self.traffic),
        } | {kind: self._direction(rows, kind) for kind, rows in directions.items()}

    def _direction(self, rows: list[DirectionRow], kind: Direction) -> dict[str, Any]:
        # What a satellite sends goes down in the end, over however many others.
        sources = {row.source for row in rows} if kind != "across" else set()
        moved = [one for one in self.objects if one.source in sources]
        wanted = sum(row.capacity_wanted for row in rows)
        wanted_s = sum(row.wanted_s for row in rows)
        data = sum(row.data_received for row in rows)
        return {
            "offered_bytes": sum(one.bytes for one in moved),
            "delivered_bytes": sum(one.bytes for one in moved if one.ok),
            "capacity_bytes": round(sum(row.capacity for row in rows)),
            "capacity_wanted_bytes": round(wanted),
            "on_air_bytes": sum(row.delivered for row in rows),
            "lost_bytes": sum(row.lost for row in rows),
            "bundle_bytes": data,
            "efficiency": rounded(share_of(data, wanted, wanted_s)),
            "resent_bytes": sum(row.data_resent for row in rows),
            "fec_recovered_packets": sum(row.fec_recovered_packets for row in rows),
        }

    def to_json(self) -> str:
        """Everything but the series, deterministic to the octet."""
        rows = {
            "title": self.title,
            "ok": self.ok,
            "problems": list(self.problems),
            "seed": self.seed,
            "start": self.start,
            "duration_s": self.duration_s,
            "ended_s": round(self.ended_s, 6),
            "totals": self.totals(),
            "jobs": [_plain(row) | {"latency_s": _short(row.latency_s)} for row in self.jobs],
            "objects": [_plain(row) | {"ok": row.ok} for row in self.objects],
            "traffic": [_plain(row) | {"ok": row.ok} for row in self.traffic],
            "passes": [_plain(row) | {"used": row.used} for row in self.passes],
            "directions": [
                _plain(row) | {"efficiency": rounded(row.efficiency)} for row in self.directions
            ],
            "counters": self.counters,
            "events": self.events,
        }
        return json.dumps(rows, indent=1, sort_keys=True) + "\n"

    def to_csv(self) -> str:
        """The series as a table; in large runs every so many samples, and the last."""
        series = self.series
        count = 1 + len(series.on_air) + len(series.data) + len(series.queue)
        step = -(-count * len(series.time_s) // CSV_CELLS_MAX)
        rows = np.unique(np.r_[0 : len(series.time_s) : step, len(series.time_s) - 1])
        columns = {"time_s": series.time_s[rows]}
        for kind, found in (("on_air", series.on_air), ("bundles", series.data)):
            for (source, destination), values in found.items():
                columns[f"{kind}_bytes {source} {destination}"] = values[rows]
        for node, values in series.queue.items():
            columns[f"queue_bytes {node}"] = values[rows]
        lines = [",".join(columns)]
        lines += [
            ",".join(
                f"{value:.3f}" if place == 0 else f"{value:.0f}" for place, value in enumerate(row)
            )
            for row in zip(*(values.tolist() for values in columns.values()), strict=True)
        ]
        return "\n".join(lines) + "\n"


def rounded(share: float | None) -> float | None:
    """A share to a hundredth of a percent."""
    return None if share is None else round(share, 4)


def _short(value: Any) -> Any:
    """Floats to the microsecond, which is beyond what any figure here means."""
    return round(value, 6) if isinstance(value, float) else value


def _plain(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in dataclasses.asdict(row).items():
        nested = isinstance(value, dict)
        found[key] = {k: _short(v) for k, v in value.items()} if nested else _short(value)
    return found
