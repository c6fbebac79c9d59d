"""Looks at a run while it goes on, at times that are known beforehand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from link_models.channel import Window
from link_models.network import VirtualPort
from stack.core.clock import SECOND
from stack.node.link import Link
from stack.simulator.loopback.results import Direction, DirectionRow, PassResult, Series, Volume
from stack.simulator.loopback.series import Floats, Looks, Sampled
from stack.simulator.loopback.world import LoopbackWorld, short_name
from stack.simulator.sky import SkyPass

IDLE_STEP_S = 300.0
"""Time between samples while no satellite is in view, and between looks at every node."""

AFTER_PASS_S = 3.0
"""A pass is looked at this long after its end: what left in time has then arrived."""

LOOKS_MAX = 20_000
"""Most looks at pairs in view, beside those at the edges of passes.  Each costs 20 microseconds and
200 octets: in large scenarios samples are farther apart than asked for."""

EDGE_NS = 1000.0
"""Times of samples are seconds in floating point: this close is the same moment."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run is, for those who watch it."""

    now_s: float
    duration_s: float
    contacts: tuple[str, ...]
    """Passes under way, as `station-satellite`."""

    up_bytes: int
    down_bytes: int
    """Octets that have arrived on the links of satellites and stations."""

    queue_bytes: int
    """Octets that wait in all nodes."""

    arrived: int
    expected: int
    """Objects and bundles of generated traffic."""


Watch = Callable[[Moment], None]
"""Called at each sample; must be quick.  It sees the run and cannot change it, but end it by
raising something."""


class _SeenDirection:
    """One direction of a pair, and what was seen of it."""

    __slots__ = ("air", "data", "held", "kind", "port", "receiver", "repaired", "sender")

    def __init__(self, world: LoopbackWorld, source: str, destination: str) -> None:
        self.port: VirtualPort = world.channels[destination, source]
        self.sender: Link = world.link(source, destination)
        self.receiver: Link = world.link(destination, source)
        flying = [node in world.sky.satellites for node in (source, destination)]
        self.kind: Direction = "across" if all(flying) else "up" if flying[1] else "down"
        self.air = Looks()
        self.data = Looks()
        self.held = Looks()
        self.repaired = Looks()

    def look(self, place: int, now_ns: int) -> int:
        """Note the state of this moment; octets that have arrived since the last."""
        sender = self.sender
        arrived = self.port.received_bytes
        new = arrived - self.air.last
        self.air.note(place, arrived)
        self.data.note(place, self.receiver.engine.count("data_bytes_received"))
        self.held.note(place, sender.engine.held_bytes)
        coder = self.receiver.shim
        if coder is not None:
            self.repaired.note(place, coder.counters()["rx_recovered"])
        return new


class Observer:
    """Samples counters of a world: pairs while they are in view, nodes with them, and every node
    now and then."""

    def __init__(
        self, world: LoopbackWorld, watch: Watch | None, objects: Callable[[], tuple[int, int]]
    ) -> None:
        """`objects` tells how many objects have arrived, and how many should."""
        self._world = world
        self._watch = watch
        self._objects = objects
        self._passes = world.sky.passes
        self._served = [one for one in world.sky.passes if one.planned]
        duration_s, step_s = world.scenario.duration_h * 3600, world.scenario.sample_s
        self._step_s = step_of(self._served, step_s)
        self._planned_s = sample_times(self._served, duration_s, self._step_s)
        self._all_in_view_s = 0.0
        self._coming = 0
        self._in_view: list[SkyPass] = []
        self._pairs: list[Pair] = [
            direction
            for link in world.sky.links
            for direction in ((link.a, link.b), (link.b, link.a))
        ]
        self._across = [pair for pair in self._pairs if set(pair) <= world.sky.satellites.keys()]
        self._names = {node: short_name(node) for node in world.nodes}
        self._directions: dict[Pair, _SeenDirection] = {}
        self._queue: dict[str, Looks] = {node: Looks() for node in world.nodes}
        self._times: list[float] = []
        self._all_nodes_s = 0.0
        self._arrived: Counter[Direction] = Counter()
        """Octets on all links so far."""

    async def run(self) -> None:
        """Sample until the end of the scenario."""
        world = self._world
        for at_s in self._planned_s:
            if at_s > world.now_s():
                await asyncio.sleep(at_s - world.now_s())
            self.sample()

    def sample(self, *, everything: bool = False) -> None:
        """Note the state of this moment, of what may have changed or of `everything`."""
        world = self._world
        now_s = world.now_s()
        if self._times and self._times[-1] == now_s:
            if not everything:
                return
        else:
            self._times.append(now_s)
        place = len(self._times) - 1
        if everything:
            pairs: dict[Pair, None] = dict.fromkeys(self._pairs)
        else:
            pairs = self._seen(now_s)
            if now_s >= self._all_nodes_s:
                pairs |= dict.fromkeys(self._across)
        for source, destination in pairs:
            direction = self._directions.get((source, destination))
            if direction is None:
                direction = self._directions[source, destination] = _SeenDirection(
                    world, source, destination
                )
            self._arrived[direction.kind] += direction.look(place, world.loop.now_ns)
        if everything or now_s >= self._all_nodes_s:
            self._all_nodes_s = now_s + IDLE_STEP_S
            nodes = list(world.nodes)
        else:
            nodes = list(dict.fromkeys(source for source, _ in pairs))
        for node_id in nodes:
            self._queue[node_id].note(place, world.nodes[node_id].waiting_bytes)
        if self._watch is not None:
            self._watch(self._moment(now_s))

    def _seen(self, now_s: float) -> dict[Pair, None]:
        """Directions to look at: once in a step all whose pass is under way, and at the edges of
        a pass its own."""
        passes, now_ns = self._served, now_s * SECOND + 1
        while self._coming < len(passes) and passes[self._coming].rise_ns <= now_ns:
            self._in_view.append(passes[self._coming])
            self._coming += 1
        whole = now_s >= self._all_in_view_s
        if whole:
            self._all_in_view_s = now_s - now_s % self._step_s + self._step_s - 1e-6
        end_ns = now_ns - AFTER_PASS_S * SECOND
        found: dict[Pair, None] = {}
        for one in self._in_view:
            # Of a pass that has ended, the first look after its end is the last.
            edges = (one.rise_ns - now_ns, one.set_ns - now_ns, one.set_ns - end_ns)
            if whole or any(-EDGE_NS <= edge <= 0 for edge in edges):
                found[one.station, one.satellite] = None
                found[one.satellite, one.station] = None
        self._in_view = [one for one in self._in_view if one.set_ns > end_ns]
        return found

    def _moment(self, now_s: float) -> Moment:
        now_ns = now_s * SECOND
        arrived, expected = self._objects()
        return Moment(
            now_s=now_s,
            duration_s=self._world.scenario.duration_h * 3600,
            contacts=tuple(
                f"{self._names[one.station]} - {self._names[one.satellite]}"
                for one in self._in_view
                if now_ns < one.set_ns
            ),
            up_bytes=self._arrived["up"],
            down_bytes=self._arrived["down"],
            queue_bytes=sum(looks.last for looks in self._queue.values()),
            arrived=arrived,
            expected=expected,
        )

    # ---- afterwards; `sample(everything=True)` goes before -----------------------------------

    def series(self) -> Series:
        """All samples."""
        times = len(self._times)
        return Series(
            np.array(self._times),
            Sampled({pair: direction.air for pair, direction in self._directions.items()}, times),
            Sampled({pair: direction.data for pair, direction in self._directions.items()}, times),
            Sampled(self._queue, times),
            Sampled(
                {pair: direction.repaired for pair, direction in self._directions.items()}, times
            ),
        )

    def pass_rows(self) -> tuple[PassResult, ...]:
        """Each pass with what went through it."""
        seen = {pair: _Seen(direction, self._times) for pair, direction in self._directions.items()}
        windows = {pair: self._world.channels[pair].channel.config.windows for pair in seen}
        rows = []
        for one in self._passes:
            up, down = (one.station, one.satellite), (one.satellite, one.station)
            rows.append(
                PassResult(
                    station=one.station,
                    satellite=one.satellite,
                    rise_s=one.rise_ns / SECOND,
                    set_s=one.set_ns / SECOND,
                    max_elevation_deg=round(one.max_elevation_deg, 3),
                    planned=one.planned,
                    blackouts=len(one.blackouts_ns),
                    blackout_s=sum(end - start for start, end in one.blackouts_ns) / SECOND,
                    up=seen[up].volume(one, windows[up]),
                    down=seen[down].volume(one, windows[down]),
                )
            )
        return tuple(rows)

    def direction_rows(self, passes: tuple[PassResult, ...]) -> tuple[DirectionRow, ...]:
        """Totals of each direction."""
        own: dict[Pair, list[Volume]] = {pair: [] for pair in self._pairs}
        for one in passes:
            own[one.station, one.satellite].append(one.up)
            own[one.satellite, one.station].append(one.down)
        for pair in self._across:
            windows = self._world.channels[pair].channel.config.windows
            own[pair] = [_Seen(self._directions[pair], self._times).total(windows)]
        return tuple(self._direction(pair, own[pair]) for pair in self._pairs)

    def _direction(self, pair: Pair, own: list[Volume]) -> DirectionRow:
        direction = self._directions[pair]
        sent, received = direction.sender.figures(), direction.receiver.figures()
        air = self._world.channels[pair].channel.counters()
        return DirectionRow(
            source=pair[0],
            destination=pair[1],
            kind=direction.kind,
            passes=len(own),
            passes_used=sum(volume.on_air > 0 for volume in own),
            capacity=sum(volume.capacity for volume in own),
            capacity_wanted=sum(volume.wanted for volume in own),
            wanted_s=sum(volume.wanted_s for volume in own),
            offered=air["offered_bytes"],
            delivered=air["delivered_bytes"],
            lost=air["lost_bytes"],
            dropped=air["dropped_queue_bytes"] + air["dropped_window_bytes"],
            data_sent=sent["ltp.data_bytes_sent"],
            data_resent=sent["ltp.data_bytes_resent"],
            data_received=received["ltp.data_bytes_received"],
            data_duplicate=received["ltp.data_bytes_duplicate"],
            fec_source_packets=sent.get("fec.tx_source_packets", 0),
            fec_repair_packets=sent.get("fec.tx_repair_packets", 0),
            fec_recovered_packets=received.get("fec.rx_recovered", 0),
            fec_blocks_decoded=received.get("fec.rx_blocks_decoded", 0),
            fec_blocks_lost=sum(
                received.get(f"fec.rx_blocks_{how}", 0)
                for how in ("failed", "unfinished", "evicted")
            ),
            sessions=sent["ltp.export_sessions"],
            sessions_failed=sent["ltp.export_failed"],
            checkpoints_repeated=sent["ltp.checkpoints_repeated"],
        )


class _Seen:
    """The samples of one direction as arrays."""

    def __init__(self, direction: _SeenDirection, times: list[float]) -> None:
        self._times = np.array(times)[direction.air.places()]
        self._air = direction.air.values()
        self._data = direction.data.values()
        self._held = direction.held.values()

    def volume(self, one: SkyPass, windows: Sequence[Window]) -> Volume:
        """What went through a pass."""
        own = [window for window in windows if one.rise_ns <= window.start_ns < one.set_ns]
        first = self._place(one.rise_ns / SECOND)
        last = self._place(one.set_ns / SECOND + AFTER_PASS_S)
        return self._volume(own, first, last)

    def total(self, windows: Sequence[Window]) -> Volume:
        """What went through a link in the whole run."""
        return self._volume(windows, 0, len(self._times) - 1)

    def _volume(self, windows: Sequence[Window], first: int, last: int) -> Volume:
        edges, so_far = _capacity(windows)
        times = self._times[first : last + 1]
        parts = np.diff(np.interp(times, edges, so_far))
        parts[self._held[first:last] <= 0] = 0.0
        return Volume(
            capacity=float(so_far[-1]),
            wanted=float(parts.sum()),
            wanted_s=float(np.diff(times)[parts > 0].sum()),
            on_air=round(self._air[last] - self._air[first]),
            data=round(self._data[last] - self._data[first]),
        )

    def _place(self, at_s: float) -> int:
        place = int(np.searchsorted(self._times, at_s - 1e-6))
        return min(place, len(self._times) - 1)


def _capacity(windows: Sequence[Window]) -> tuple[Floats, Floats]:
    """Times, in seconds, and the octets that fit into the windows until then."""
    times, octets = [0.0], [0.0]
    for window in windows:
        start_s, end_s = window.start_ns / SECOND, window.end_ns / SECOND
        times += (start_s, end_s)
        octets += (octets[-1], octets[-1] + (end_s - start_s) * window.rate_bps / 8)
    return np.array(times), np.array(octets)


def step_of(passes: Sequence[SkyPass], step_s: float) -> float:
    """Seconds between looks within passes: as asked, or more where there would be too many."""
    in_view_s = sum(one.set_ns - one.rise_ns for one in passes) / SECOND
    return max(step_s, in_view_s / LOOKS_MAX)


def sample_times(passes: Sequence[SkyPass], duration_s: float, step_s: float) -> list[float]:
    """When to look: at the edges of passes, every `step_s` within, seldom between."""
    rises = np.array([one.rise_ns for one in passes]) / SECOND
    sets = np.array([one.set_ns for one in passes]) / SECOND
    # Within passes at multiples of the step, so that one look serves all that are in view.
    steps = np.zeros(int(duration_s / step_s) + 3, np.int64)
    np.add.at(steps, np.ceil(np.clip(rises, 0, duration_s) / step_s).astype(np.int64), 1)
    np.add.at(steps, np.floor(np.clip(sets, 0, duration_s) / step_s).astype(np.int64) + 1, -1)
    within = np.flatnonzero(np.cumsum(steps) > 0) * step_s
    idle = np.arange(0.0, duration_s, IDLE_STEP_S)
    times = np.concatenate((within, idle, rises, sets, sets + AFTER_PASS_S, [duration_s]))
    return np.unique(times[(times >= 0) & (times <= duration_s)]).tolist()  # type: ignore[no-any-return]
